// Our TIS in front of Debian's swtpm, as a VMM without QEMU would have it.
import { rmSync } from "node:fs";
import path from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { connectEmulator, type EmulatorBackend } from "../../src/backend/emulator.ts";
import { BackendPort, TisDevice } from "../../src/frontend/index.ts";
import { listeningSockets, temporaryFolder } from "../support/emulator.ts";
import { type Program, start, until } from "../support/process.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

const ACCESS = 0x00;
const STS = 0x18;
const FIFO = 0x24;
const INTF_CAPABILITY = 0x14;
const DATA_AVAILABLE = 0x10;

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A new swtpm, connected to by its control socket alone. */
async function swtpm(...args: string[]): Promise<EmulatorBackend> {
  const folder = temporaryFolder();
  const control = path.join(folder, "ctrl");
  const program: Program = start("swtpm", [
    "socket",
    ...args,
    ...["--tpmstate", `dir=${folder}`, "--ctrl", `type=unixio,path=${control}`],
  ]);
  cleanups.push(async () => {
    await program.kill();
    rmSync(folder, { recursive: true });
  });
  await until("swtpm to listen", () => listeningSockets().has(control) || program.hasExited());
  if (program.hasExited()) throw new Error(`swtpm ended: ${(await program.exited).stderr}`);
  const backend = await connectEmulator({ control: { path: control } });
  // A swtpm that was killed cannot be told that this is the end.
  cleanups.push(() => backend.close().catch(() => {}));
  return backend;
}

/** Sends a command through the registers of a locality and polls for its response. */
async function transmit(tis: TisDevice, command: string, locality = 0): Promise<string> {
  const at = locality << 12;
  tis.write(at + ACCESS, 1, 0x02);
  tis.write(at + STS, 1, 0x40);
  for (const byte of unhex(command)) tis.write(at + FIFO, 1, byte);
  tis.write(at + STS, 1, 0x20);
  await until("the response", () => (tis.read(at + STS, 1) & DATA_AVAILABLE) !== 0);
  const bytes: number[] = [];
  while (tis.read(at + STS, 1) & DATA_AVAILABLE) bytes.push(tis.read(at + FIFO, 1));
  tis.write(at + STS, 1, 0x40);
  tis.write(at + ACCESS, 1, 0x20);
  return hex(Uint8Array.from(bytes));
}

const STARTUP = "80010000000c000001440000";
const PCR_READ_16 = "8001000000140000017e00000001000b03000001";
/** TPM2_PCR_Reset of PCR 21, which only locality 2 may. */
const PCR_RESET_21 = "80020000001b0000013d0000001500000009400000090000010000";
const PCR_EXTEND_16 = `80020000004100000182000000100000000940000009000000000000000001000b${"cd".repeat(32)}`;

describe("a TIS on swtpm", () => {
  it("carries the commands of a TPM 2.0, with their localities", async () => {
    const tis = new TisDevice(new BackendPort(await swtpm("--tpm2")));
    await tis.reset();
    expect(tis.read(INTF_CAPABILITY, 4)).toBe(0x30000697);
    expect(await transmit(tis, STARTUP)).toBe("80010000000a00000000");
    expect(await transmit(tis, "80010000000c0000017b0010")).toMatch(/^80010000001c000000000010.{32}$/);
    expect(await transmit(tis, PCR_RESET_21, 0)).toBe("80010000000a00000907");
    expect(await transmit(tis, PCR_RESET_21, 2)).toMatch(/^8002.{8}00000000/);
    await tis.reset();
    expect(await transmit(tis, PCR_READ_16)).toBe("80010000000a00000100");
  });

  it("carries the commands of a TPM 1.2", async () => {
    const tis = new TisDevice(new BackendPort(await swtpm()));
    await tis.reset();
    expect(tis.read(INTF_CAPABILITY, 4)).toBe(0x20000697);
    expect(await transmit(tis, "00c10000000c000000990001")).toBe("00c40000000a00000000");
    expect(await transmit(tis, "00c10000000e0000001500000000")).toBe(`00c40000001e00000000${"00".repeat(20)}`);
    expect(tis.read(STS, 4)).toBe(0xffffffff);
    expect(await transmit(tis, "00c10000000a00000053")).toBe("00c40000000a00000000");
    tis.write(ACCESS, 1, 0x02);
    expect(tis.read(STS, 4) & 0x04).toBe(0x04);
  });

  it("moves to another swtpm in the middle of a command", async () => {
    const first = await swtpm("--tpm2");
    const source = new TisDevice(new BackendPort(first));
    await source.reset();
    await transmit(source, STARTUP);
    await transmit(source, PCR_EXTEND_16);
    const pcr = await transmit(source, PCR_READ_16);
    source.write(ACCESS, 1, 0x02);
    source.write(STS, 1, 0x40);
    const command = unhex(PCR_READ_16);
    for (const byte of command.subarray(0, 9)) source.write(FIFO, 1, byte);
    const state = await source.save();
    const permanent = await first.getState("permanent");
    const volatile = await first.getState("volatile");

    const second = await swtpm("--tpm2");
    const destination = new TisDevice(new BackendPort(second));
    await second.powerOff();
    await second.setState("permanent", permanent);
    await second.setState("volatile", volatile);
    await destination.restore(state);
    for (const byte of command.subarray(9)) destination.write(FIFO, 1, byte);
    destination.write(STS, 1, 0x20);
    await until("the response", () => (destination.read(STS, 1) & DATA_AVAILABLE) !== 0);
    const bytes = Uint8Array.from({ length: pcr.length / 2 }, () => destination.read(FIFO, 1));
    expect(hex(bytes)).toBe(pcr);
  });

  it("tells the guest of a failure when swtpm dies, and the host of its error", async () => {
    const backend = await swtpm("--tpm2");
    const errors: unknown[] = [];
    const tis = new TisDevice(new BackendPort(backend, { onError: (error) => errors.push(error) }));
    await tis.reset();
    await transmit(tis, STARTUP);
    await cleanups[0]!();
    cleanups.shift();
    expect(await transmit(tis, PCR_READ_16)).toBe("00c40000000a00000009");
    expect(`${errors[0]}`).toMatch(/BackendError/);
    await expect(tis.reset()).rejects.toThrow();
    expect(tis.read(ACCESS, 4)).toBe(0);
  });
});
