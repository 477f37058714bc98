// A TPM put into a machine of v86: its files, its resets, its saved states.
import { describe, expect, test } from "vitest";
import { attachTpm, type MachineState } from "../../bindings/v86/index.ts";
import { BackendError } from "../../src/backend/backend.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import { FakeEmulator, withMember } from "../support/v86-fake.ts";

const BASE = 0xfed40000;
const REQUEST_USE = 0x02;
const STARTUP = "80010000000c000001440000";
/** TPM2_PCR_Read of PCR 1, SHA-256, and TPM2_PCR_Extend of it, authorised by an empty password. */
const PCR_READ = "8001000000140000017e00000001000b03020000";
const EXTEND = `80020000004100000182000000010000000940000009000000000000000001000b${"ab".repeat(32)}`;

/** A command through the FIFO, as a guest does it. */
function throughFifo(emulator: FakeEmulator, command: string): string {
  emulator.store(BASE, 1, REQUEST_USE);
  emulator.store(BASE + 0x18, 1, 0x40);
  for (const byte of Buffer.from(command, "hex")) emulator.store(BASE + 0x24, 1, byte);
  emulator.store(BASE + 0x18, 1, 0x20);
  const bytes: number[] = [];
  while (emulator.load(BASE + 0x18, 1) & 0x10) bytes.push(emulator.load(BASE + 0x24, 1));
  return Buffer.from(bytes).toString("hex");
}

const pcr = (emulator: FakeEmulator) => throughFifo(emulator, PCR_READ).slice(-64);

/** Waits until the resets asked for are done. */
async function settled(emulator: FakeEmulator, runs: number): Promise<void> {
  await expect.poll(() => emulator.events.filter((event) => event === "run").length).toBe(runs);
}

describe("what the guest's firmware finds", () => {
  test("a TPM2 table that points to the log's memory, and an SSDT", async () => {
    const emulator = new FakeEmulator();
    await attachTpm(emulator);
    expect(emulator.files.map(({ name }) => name)).toEqual(["acpi/table0", "acpi/table1"]);
    const [tpm2, ssdt] = emulator.files.map(({ data }) => Buffer.from(data));
    expect(tpm2!.toString("latin1", 0, 4)).toBe("TPM2");
    expect(tpm2!.readBigUInt64LE(68)).toBe(0xfed60000n);
    expect(ssdt!.toString("latin1")).toContain("MSFT0101");
    for (const table of [tpm2!, ssdt!]) expect(table.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
  });

  test("tables of others keep their names", async () => {
    const emulator = new FakeEmulator();
    emulator.files.push({ name: "acpi/table0", data: Uint8Array.of(1) });
    await attachTpm(emulator);
    expect(emulator.files.map(({ name }) => name)).toEqual(["acpi/table0", "acpi/table1", "acpi/table2"]);
  });
});

describe("attaching", () => {
  test("waits for an emulator that is not ready", async () => {
    const emulator = new FakeEmulator(false);
    const attached = attachTpm(emulator);
    emulator.becomeReady();
    expect((await attached).backend.running).toBe(true);
  });

  test("refuses a machine that runs, and another version of v86", async () => {
    const running = new FakeEmulator();
    running.running = true;
    await expect(attachTpm(running)).rejects.toThrow("autostart: false");
    const other = new FakeEmulator();
    (other.cpu as Partial<typeof other.cpu>).reboot_internal = undefined as never;
    await expect(attachTpm(other)).rejects.toThrow("this v86 has no place for a TPM");
  });

  test("refuses a second TPM, and takes one after the first was taken out", async () => {
    const emulator = new FakeEmulator();
    const tpm = await attachTpm(emulator);
    await expect(attachTpm(emulator)).rejects.toThrow("has a TPM already");
    await tpm.close();
    expect((await attachTpm(emulator)).backend.running).toBe(true);
  });

  test("leaves the machine as it was when the TPM does not start", async () => {
    const emulator = new FakeEmulator();
    const reboot = emulator.cpu.reboot_internal;
    const failure = new BackendError("storage", "in use");
    const backend = withMember(createEngineBackend({ store: new MemoryStore() }), "powerOn", () => () => {
      throw failure;
    });
    await expect(attachTpm(emulator, { backend })).rejects.toBe(failure);
    expect(emulator.files).toEqual([]);
    expect(emulator.cpu.reboot_internal).toBe(reboot);
    expect((await attachTpm(emulator)).backend.running).toBe(true);
  });

  test("ends with everything as before", async () => {
    const emulator = new FakeEmulator();
    const reboot = emulator.cpu.reboot_internal;
    const tpm = await attachTpm(emulator);
    await tpm.close();
    expect(tpm.backend.running).toBe(false);
    expect(emulator.files).toEqual([]);
    expect(emulator.load(BASE, 4)).toBe(-1);
    expect(emulator.cpu.reboot_internal).toBe(reboot);
  });
});

describe("the guest's commands", () => {
  test("are seen by the observer with their responses", async () => {
    const emulator = new FakeEmulator();
    const seen: string[] = [];
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    await attachTpm(emulator, { observe: (command, response) => seen.push(hex(command), hex(response!)) });
    expect(throughFifo(emulator, STARTUP)).toBe("80010000000a00000000");
    expect(seen).toEqual([STARTUP, "80010000000a00000000"]);
  });

  test("end with an interrupt if the guest wants one", async () => {
    const emulator = new FakeEmulator();
    await attachTpm(emulator, { irq: 7 });
    emulator.store(BASE, 1, REQUEST_USE);
    emulator.store(BASE + 0x08, 4, 0x80000001);
    throughFifo(emulator, STARTUP);
    expect(emulator.events).toEqual(["irq 7 up"]);
    emulator.store(BASE + 0x10, 4, 0x87);
    expect(emulator.events).toEqual(["irq 7 up", "irq 7 down"]);
  });
});

describe("a reset of the machine", () => {
  test("starts the TPM anew, before the guest goes on", async () => {
    const emulator = new FakeEmulator();
    await attachTpm(emulator);
    await emulator.run();
    throughFifo(emulator, STARTUP);
    throughFifo(emulator, EXTEND);
    expect(pcr(emulator)).not.toBe("00".repeat(32));
    emulator.cpu.reboot_internal();
    await settled(emulator, 2);
    expect(emulator.events).toEqual(["run", "processor reset", "stop", "run"]);
    expect(throughFifo(emulator, PCR_READ)).toBe("80010000000a00000100");
  });

  test("leaves a machine that stands standing", async () => {
    const emulator = new FakeEmulator();
    const tpm = await attachTpm(emulator);
    throughFifo(emulator, STARTUP);
    emulator.cpu.reboot_internal();
    await tpm.saveState();
    expect(emulator.events).toEqual(["processor reset", "save while standing"]);
    expect(throughFifo(emulator, PCR_READ)).toBe("80010000000a00000100");
  });

  test("clears the memory before the processor starts, when the guest asked for that", async () => {
    const emulator = new FakeEmulator();
    await attachTpm(emulator);
    emulator.memory.fill(0xaa);
    emulator.cpu.reboot_internal();
    expect(emulator.memory[0]).toBe(0xaa);
    emulator.store(BASE + 0x515a, 1, 1);
    emulator.cpu.reboot_internal();
    expect(emulator.memory[0]).toBe(0);
  });

  test("tells of a TPM that does not start, and the guest goes on without", async () => {
    const emulator = new FakeEmulator();
    const errors: unknown[] = [];
    const failure = new BackendError("storage", "the disk is gone");
    let gone = false;
    const backend = withMember(createEngineBackend({ store: new MemoryStore() }), "powerOn", (powerOn) => () => {
      if (gone) throw failure;
      return powerOn();
    });
    await attachTpm(emulator, { backend, onError: (error) => errors.push(error) });
    await emulator.run();
    gone = true;
    emulator.cpu.reboot_internal();
    await settled(emulator, 2);
    expect(errors).toEqual([failure]);
    expect(emulator.load(BASE, 1)).toBe(0);
  });
});

describe.each(["tis", "crb"] as const)("a saved machine with a %s", (device) => {
  /** What does not change with time. */
  const still = ({ device, window, presence, log, machine }: MachineState) => ({
    device,
    window,
    presence,
    log,
    machine,
  });

  test("goes on in another emulator", async () => {
    const emulator = new FakeEmulator();
    const tpm = await attachTpm(emulator, { device });
    await emulator.run();
    for (let i = 0; i < 16; i++) emulator.store(BASE + 0x5000 + i, 1, i);
    tpm.log.set([1, 2, 3]);
    if (device === "crb") emulator.store(BASE + 0x80, 4, 0x11223344);
    else for (const command of [STARTUP, EXTEND]) throughFifo(emulator, command);
    const state = structuredClone(await tpm.saveState());
    expect(emulator.events).toEqual(["run", "stop", "save while standing", "run"]);

    const other = new FakeEmulator();
    const continued = await attachTpm(other, { device });
    await other.run();
    await continued.restoreState(state);
    expect(other.events).toEqual(["run", "stop", "restore while standing", "run"]);
    expect(still(await continued.saveState())).toEqual(still(state));
    expect(other.load(BASE + 0x5000, 4)).toBe(0x03020100);
    if (device === "crb") expect(other.load(BASE + 0x80, 4)).toBe(0x11223344);
    else expect([pcr(other), pcr(emulator)]).toEqual([pcr(emulator), expect.not.stringMatching(/^(00)+$/)]);
  });

  test("is refused by a machine with another device, and when the TPM's state cannot be had", async () => {
    const tpm = await attachTpm(new FakeEmulator(), { device });
    const other = await attachTpm(new FakeEmulator(), { device: device === "tis" ? "crb" : "tis" });
    await expect(other.restoreState(await tpm.saveState())).rejects.toMatchObject({ kind: "bad-state" });

    const stuck = withMember(
      createEngineBackend({ store: new MemoryStore() }),
      "migrationBlocker",
      () => "it is a chip",
    );
    const chip = await attachTpm(new FakeEmulator(), { device, backend: stuck });
    await expect(chip.saveState()).rejects.toThrow("it is a chip");
  });
});
