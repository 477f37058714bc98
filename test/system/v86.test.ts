// A TPM in the v86 emulator, in Node: SeaBIOS starts it and measures, Debian's 686 kernel binds its driver to it.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { V86Tpm } from "../../bindings/v86/index.ts";
import { TpmClient } from "../../src/codec/client.ts";
import { describeCommand } from "../../src/codec/index.ts";
import { parseEventLog, replay } from "../support/eventlog.ts";
import { BOOT_LIMIT_MS, V86Machine } from "../support/v86-machine.ts";

const FIRMWARE_PCRS = [0, 1, 2, 3, 4, 5, 6, 7];
const BANKS = ["sha1", "sha256", "sha384", "sha512"];

/** The firmware's PCRs, as the TPM itself has them. */
async function readPcrs(tpm: V86Tpm, bank: string): Promise<Map<number, string>> {
  const client = new TpmClient((command) => tpm.backend.execute(command, 0));
  const values = new Map<number, string>();
  for (const pcr of FIRMWARE_PCRS) {
    const selection = [{ hash: bank.toUpperCase() as "SHA256", pcrSelect: [pcr] }];
    const { pcrValues } = await client.command("PCR_Read", { parameters: { pcrSelectionIn: selection } });
    values.set(pcr, Buffer.from(pcrValues[0]!).toString("hex"));
  }
  return values;
}

const sorted = (values: ReadonlyMap<number, string>) => new Map([...values].sort(([a], [b]) => a - b));

describe.each(["tis", "crb"] as const)("SeaBIOS and a %s", (device) => {
  const machines: V86Machine[] = [];
  const make = async () => {
    const machine = await V86Machine.make({ linux: false, device });
    machines.push(machine);
    return machine;
  };
  afterEach(async () => {
    await Promise.all(machines.splice(0).map((machine) => machine.dispose()));
  });

  async function checkLog({ tpm }: V86Machine): Promise<void> {
    const { size, events } = tpm.eventLog();
    const log = parseEventLog(tpm.log.subarray(0, size));
    expect(events.map(({ pcr, type }) => [pcr, type])).toEqual(log.events.map(({ pcr, type }) => [pcr, type]));
    expect(log.events.length).toBeGreaterThan(10);
    expect(log.algorithms).toEqual(BANKS);
    for (const bank of BANKS) expect(await readPcrs(tpm, bank)).toEqual(sorted(replay(log, bank)));
  }

  test(
    "start, measurements and event log, again after a reset, and in a machine that was saved",
    async () => {
      const machine = await make();
      await machine.emulator.run();
      await machine.measured(1);
      const names = machine.commands.map(({ command }) => describeCommand(command).split(" ")[0]);
      expect(names.slice(0, 2)).toEqual(["TPM2_Startup", "TPM2_SelfTest"]);
      await checkLog(machine);
      const before = await readPcrs(machine.tpm, "sha256");

      machine.emulator.restart();
      await machine.measured(2);
      await checkLog(machine);
      expect(await readPcrs(machine.tpm, "sha256")).toEqual(before);

      const state = await machine.tpm.saveState();
      const other = await make();
      await other.tpm.restoreState(state);
      await checkLog(other);
      await other.emulator.run();
      other.emulator.restart();
      await other.measured(1);
      await checkLog(other);
      expect([...machine.errors, ...other.errors]).toEqual([]);
    },
    BOOT_LIMIT_MS,
  );

  test("instructions of any width at the TPM's addresses do not end the machine", async () => {
    const { emulator } = await make();
    const cpu = (emulator as unknown as { v86: { cpu: Record<string, (...words: number[]) => number> } }).v86.cpu;
    for (const base of [0xfed40000, 0xfed44ff0, 0xfed45ff0, 0xfed5fff0, 0xfed60000, 0xfed7fff0]) {
      for (let at = base; at < base + 13; at++) {
        cpu.mmap_write8!(at | 0, 0xff);
        cpu.mmap_write16!(at | 0, 0xffff);
        cpu.mmap_write32!(at | 0, -1);
        cpu.mmap_write64!(at | 0, -1, -1);
        cpu.mmap_write128!(at | 0, -1, -1, -1, -1);
        expect([cpu.mmap_read8!(at | 0), cpu.mmap_read32!(at | 0)].every(Number.isInteger)).toBe(true);
      }
    }
  });
});

describe.each([
  { device: "tis", driver: "tpm_tis" },
  { device: "crb", driver: "tpm_crb" },
] as const)("Linux and a $device", ({ device, driver }) => {
  let machine: V86Machine;

  beforeAll(async () => {
    machine = await V86Machine.make({ linux: true, device });
    await machine.boot();
  }, BOOT_LIMIT_MS);

  afterAll(() => machine?.dispose());

  test("finds the TPM through the ACPI tables", async () => {
    expect(await machine.shell("ls /sys/firmware/acpi/tables")).toContain("TPM2");
    expect(await machine.shell("readlink -f /sys/class/tpm/tpm0/device")).toContain("MSFT0101:00");
    expect(await machine.shell("readlink /sys/class/tpm/tpm0/device/driver")).toContain(`/${driver}\n`);
    expect((await machine.shell("cat /sys/class/tpm/tpm0/tpm_version_major")).trim()).toBe("2");
    expect((await machine.shell("cat /sys/class/tpm/tpm0/ppi/version")).trim()).toBe("1.3");
  });

  test("has the firmware's event log, which replays to the PCRs of every bank", async () => {
    const log = parseEventLog(await machine.read("/sys/kernel/security/tpm0/binary_bios_measurements"));
    expect(log.events.length).toBeGreaterThan(10);
    for (const bank of BANKS) {
      const values = replay(log, bank);
      const lines = await machine.shell(`cd /sys/class/tpm/tpm0/pcr-${bank} && cat ${FIRMWARE_PCRS.join(" ")}; cd /`);
      expect(lines.trim().toLowerCase().split("\n")).toEqual(FIRMWARE_PCRS.map((pcr) => values.get(pcr)));
    }
  });

  test("gets random numbers from its shell, and uses the TPM itself", async () => {
    const random = [await machine.shell("tpm-random"), await machine.shell("tpm-random")];
    for (const line of random) expect(line.trim()).toMatch(/^([0-9a-f]{2} ){15}[0-9a-f]{2}$/);
    expect(random[0]).not.toBe(random[1]);
    expect(await machine.shell("cat /sys/class/misc/hw_random/rng_current")).toContain("tpm-rng");
    expect(await machine.shell("head -1 /sys/kernel/security/ima/ascii_runtime_measurements")).toContain(
      "boot_aggregate",
    );
  });

  test(
    "goes on in another emulator after it was saved, with the same TPM",
    async () => {
      const pcr10 = "cat /sys/class/tpm/tpm0/pcr-sha256/10";
      await machine.shell("echo here >/tmp/kept");
      const before = await machine.shell(pcr10);
      const other = await V86Machine.make({ linux: true, device });
      try {
        await other.tpm.restoreState(await machine.tpm.saveState());
        await other.emulator.run();
        expect(await other.shell("cat /tmp/kept")).toBe("here\n");
        expect(await other.shell(pcr10)).toBe(before);
        expect(await other.shell("tpm-random")).toMatch(/^([0-9a-f]{2} ){15}/);
        expect(other.errors).toEqual([]);
      } finally {
        await other.dispose();
      }
      expect(await machine.shell("cat /tmp/kept")).toBe("here\n");
    },
    BOOT_LIMIT_MS,
  );

  test("the TPM had no errors", () => expect(machine.errors).toEqual([]));
});
