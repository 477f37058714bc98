// The examples of docs/frontends.md, and all interfaces with the engine behind them.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { linkTable, PpiMemory, ssdt, tpmFirmware } from "../../src/firmware/index.ts";
import { BackendPort, CrbDevice, I2cTisDevice, SpaprDevice, SpaprVio, TisDevice } from "../../src/frontend/index.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

const STARTUP = unhex("80010000000c000001440000");
const PCR_READ = unhex("8001000000140000017e00000001000b03010000");
/** TPM2_PCR_Extend of PCR 1, SHA-256, authorised by an empty password. */
const EXTEND = unhex(`80020000004100000182000000010000000940000009000000000000000001000b${"ab".repeat(32)}`);
const SUCCESS = "80010000000a00000000";

describe("docs/frontends.md", () => {
  it("shows code that this file runs", () => {
    const strip = (text: string) => text.replace(/^\s+/gm, "");
    const own = strip(readFileSync(new URL(import.meta.url), "utf8"));
    const text = readFileSync(new URL("../../docs/frontends.md", import.meta.url), "utf8");
    const blocks = [...text.matchAll(/```ts\n(.*?)```/gs)];
    expect(blocks).toHaveLength(3);
    for (const [, block] of blocks) for (const part of block!.split("\n\n")) expect(own).toContain(strip(part));
  });

  it("connects a device, saves it and continues it elsewhere", async () => {
    const lines: string[] = [];
    const log = (line: string) => lines.push(line);
    const levels: [number, boolean][] = [];
    const setInterruptLine = (line: number, level: boolean) => levels.push([line, level]);
    const backend = createEngineBackend({ store: new MemoryStore() });
    const port = new BackendPort(backend, { onError: (error) => log(`${error}`) });
    const tis = new TisDevice(port, { irq: 5, onInterrupt: (level) => setInterruptLine(5, level) });
    await tis.reset();

    const value = tis.read(0x18, 4);
    tis.write(0x0000, 1, 0x02);
    expect(value).toBe(0xffffffff);
    tis.write(0x08, 4, 0x80000080);
    expect(throughFifo(tis, STARTUP)).toBe(SUCCESS);
    expect(levels).toEqual([[5, true]]);
    expect(throughFifo(tis, EXTEND)).toMatch(/^8002.{8}00000000/);
    const pcr = throughFifo(tis, PCR_READ);

    const state = await tis.save();
    const blobs = { permanent: await backend.getState("permanent"), volatile: await backend.getState("volatile") };

    const elsewhere = createEngineBackend({ store: new MemoryStore() });
    await elsewhere.setState("permanent", blobs.permanent);
    await elsewhere.setState("volatile", blobs.volatile);
    const continued = new TisDevice(new BackendPort(elsewhere));
    await continued.restore(state);
    expect(await continued.save()).toEqual(state);
    expect(throughFifo(continued, PCR_READ)).toBe(pcr);
    expect(lines).toEqual([]);
  });

  it("tells a machine's firmware of the TPM", async () => {
    const guestMemory = new Uint8Array(64).fill(0xaa);
    const logAddress = 0x7ff0000;
    const port = new BackendPort(createEngineBackend({ store: new MemoryStore() }));
    const ppi = new PpiMemory(() => guestMemory.fill(0));
    const crb = new CrbDevice(port, { ppi });
    const { files, table, device } = tpmFirmware({ machine: "q35", device: "crb", family: "2.0" });
    const linked = linkTable(table!.bytes, logAddress);
    const secondary = ssdt([device!.aml]);
    expect([...files.keys()]).toEqual(["etc/tpm/config", "etc/tpm/log"]);
    expect(hex(linked)).toContain("0000ff0700000000");
    expect(hex(secondary)).toContain(hex(device!.aml));
    await crb.reset();
    crb.window.fill(0xaa);
    await crb.reset();
    expect([guestMemory[0], crb.window[0]]).toEqual([0xaa, 0xaa]);
    ppi.bytes[0x15a] = 1;
    await crb.reset();
    expect([guestMemory[0], crb.window[0]]).toEqual([0, 0]);
  });
});

function throughFifo(tis: TisDevice, command: Uint8Array): string {
  tis.write(0x18, 1, 0x40);
  for (const byte of command) tis.write(0x24, 1, byte);
  tis.write(0x18, 1, 0x20);
  const bytes: number[] = [];
  while (tis.read(0x18, 1) & 0x10) bytes.push(tis.read(0x24, 1));
  return hex(Uint8Array.from(bytes));
}

function throughCrb(crb: CrbDevice, command: Uint8Array): string {
  crb.write(0x08, 4, 1);
  crb.write(0x40, 4, 1);
  command.forEach((byte, i) => {
    crb.write(0x80 + i, 1, byte);
  });
  crb.write(0x4c, 4, 1);
  expect(crb.read(0x4c, 4)).toBe(0);
  const size = (crb.read(0x84, 1) << 8) | crb.read(0x85, 1);
  return hex(crb.window.subarray(0, size));
}

function throughI2c(i2c: I2cTisDevice, command: Uint8Array): string {
  const write = (register: number, ...bytes: number[]) => {
    i2c.start(false);
    expect([register, ...bytes].every((byte) => i2c.send(byte))).toBe(true);
    i2c.stop();
  };
  const read = (register: number, length: number) => {
    write(register);
    i2c.start(true);
    const bytes = Uint8Array.from({ length }, () => i2c.receive());
    i2c.stop();
    return bytes;
  };
  write(0x04, 0x02);
  write(0x18, 0x40);
  write(0x24, ...command);
  write(0x18, 0x20);
  const sts = read(0x18, 4);
  return hex(read(0x24, sts[1]! | (sts[2]! << 8)));
}

/** A PAPR guest of eight pages mapped one to one, the last its queue. */
function paprGuest(backend: Backend) {
  const memory = new Uint8Array(0x8000);
  const vio = new SpaprVio(
    {
      read: (at, into) => into.set(memory.subarray(at, at + into.length)),
      write: (at, bytes) => memory.set(bytes, at),
    },
    { unit: 1 },
  );
  const device = new SpaprDevice(new BackendPort(backend), vio);
  vio.attach(device);
  for (let at = 0; at < memory.length; at += 0x1000) vio.hypercall(0x20, [1n, BigInt(at), BigInt(at + 3)]);
  vio.hypercall(0xfc, [1n, 0x7000n, 0x1000n]);
  let slot = 0x7000;
  const send = (command: Uint8Array) => {
    memory.set(command, 0x200);
    expect(vio.hypercall(0x108, [1n, 0x8002000000000200n, 0n])).toBe(0);
    const reply = new DataView(memory.buffer, slot, 16);
    slot += 16;
    expect(reply.getUint16(0)).toBe(0x8082);
    return hex(memory.subarray(0x200, 0x200 + reply.getUint16(2)));
  };
  return { device, send };
}

describe("every interface carries the engine's commands", () => {
  const engine = () => createEngineBackend({ store: new MemoryStore() });
  const papr = paprGuest(engine());
  const tis = new TisDevice(new BackendPort(engine()));
  const crb = new CrbDevice(new BackendPort(engine()));
  const i2c = new I2cTisDevice(new BackendPort(engine()));
  it.each([
    [
      "TIS",
      tis,
      (command: Uint8Array) => {
        tis.write(0, 1, 2);
        return throughFifo(tis, command);
      },
    ],
    ["CRB", crb, (command: Uint8Array) => throughCrb(crb, command)],
    ["I2C", i2c, (command: Uint8Array) => throughI2c(i2c, command)],
    ["SPAPR", papr.device, papr.send],
  ])("%s", async (_name, device, send) => {
    await device.reset();
    expect(send(PCR_READ)).toBe("80010000000a00000100");
    expect(send(STARTUP)).toBe(SUCCESS);
    expect(send(PCR_READ)).toMatch(/^80010000003e00000000.{8}00000001000b03010000000000010020(00){32}$/);
    expect(send(unhex("80010000000a0000ffff"))).toBe("80010000000a00000143");
    await device.reset();
    expect(send(PCR_READ)).toBe("80010000000a00000100");
  });

  it("also a CRB's command that says it is empty", async () => {
    const device = new CrbDevice(new BackendPort(engine()));
    await device.reset();
    expect(throughCrb(device, new Uint8Array(10))).toMatch(/^8001/);
  });
});
