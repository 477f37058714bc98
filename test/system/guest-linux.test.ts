// Real machines: SeaBIOS with the TIS and OVMF with the CRB, and Debian's kernel on each.
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Emulator, startEmulator, temporaryFolder } from "../support/emulator.ts";
import { parseEventLog, replay } from "../support/eventlog.ts";
import { BOOT_LIMIT_MS, Guest } from "../support/guest.ts";
import { getRandom, nvData, nvDefineSpace, nvRead, nvWrite, pcrExtend, TPM } from "../support/tpm-client.ts";

const FIRMWARE_PCRS = [0, 1, 2, 3, 4, 5, 6, 7];
const INDEX = 0x0180_0011;
const DATA = Buffer.from("kept over a reboot");

const responseCode = (response: Uint8Array): number => Buffer.from(response).readUInt32BE(6);

describe.each([
  { firmware: "seabios", device: "tpm-tis", driver: "tpm_tis" },
  { firmware: "ovmf", device: "tpm-crb", driver: "tpm_crb" },
] as const)("$firmware with $device", ({ firmware, device, driver }) => {
  let folder: string;
  let emulator: Emulator;
  let guest: Guest;

  beforeAll(async () => {
    folder = temporaryFolder();
    emulator = await startEmulator({ server: false, flags: "" });
    guest = await Guest.boot({ folder, firmware, device, controlSocket: emulator.controlSocket });
  }, 2 * BOOT_LIMIT_MS);

  afterAll(async () => {
    await guest?.dispose();
    await emulator?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Compares every active bank with what the firmware's event log says. */
  async function checkEventLog(): Promise<void> {
    const log = parseEventLog(await guest.read("/sys/kernel/security/tpm0/binary_bios_measurements"));
    expect(log.events.length).toBeGreaterThan(5);
    const banks = (await guest.shell("ls -1d /sys/class/tpm/tpm0/pcr-*")).trim().split("\n");
    const active = banks.map((bank) => bank.replace(/.*pcr-/, "")).sort();
    expect(active).toEqual([...log.algorithms].sort());
    for (const algorithm of active) {
      const values = replay(log, algorithm);
      for (const pcr of FIRMWARE_PCRS) {
        const actual = (await guest.shell(`cat /sys/class/tpm/tpm0/pcr-${algorithm}/${pcr}`)).trim().toLowerCase();
        expect(actual, `PCR ${pcr} in the ${algorithm} bank`).toBe(values.get(pcr));
      }
    }
  }

  test("Linux binds its driver to a TPM 2.0", async () => {
    expect((await guest.shell("cat /sys/class/tpm/tpm0/tpm_version_major")).trim()).toBe("2");
    expect(await guest.shell("readlink /sys/class/tpm/tpm0/device/driver")).toContain(driver);
    expect((await guest.shell("ls -1 /sys/firmware/acpi/tables")).split("\n")).toContain("TPM2");
  });

  test("the firmware's event log replays to the PCRs of every active bank", checkEventLog);

  test("IMA extends PCR 10, and the kernel takes random numbers", async () => {
    const pcr = (await guest.shell("cat /sys/class/tpm/tpm0/pcr-sha256/10")).trim();
    expect(pcr).toMatch(/^[0-9A-F]{64}$/);
    expect(pcr).not.toMatch(/^0+$/);
    expect(await guest.shell("cat /sys/class/misc/hw_random/rng_available")).toContain("tpm-rng");
    expect(responseCode(await guest.tpm(getRandom(16)))).toBe(0);
  });

  test(
    "a reboot keeps the NV memory and resets the PCRs",
    async () => {
      expect(responseCode(await guest.tpm(nvDefineSpace(INDEX, DATA.length)))).toBe(0);
      expect(responseCode(await guest.tpm(nvWrite(INDEX, DATA)))).toBe(0);
      expect(responseCode(await guest.tpm(pcrExtend(TPM.ALG_SHA256, 16, Buffer.alloc(32, 1))))).toBe(0);
      expect(await guest.shell("cat /sys/class/tpm/tpm0/pcr-sha256/16")).not.toMatch(/^0+$/m);
      await guest.reset();
      expect((await guest.shell("cat /sys/class/tpm/tpm0/pcr-sha256/16")).trim()).toBe("0".repeat(64));
      const read = Buffer.from(await guest.tpm(nvRead(INDEX, DATA.length)));
      expect(nvData(read).toString()).toBe(DATA.toString());
      await checkEventLog();
    },
    2 * BOOT_LIMIT_MS,
  );

  test("the emulator ends by itself when QEMU does", async () => {
    expect((await guest.quit()).status).toBe(0);
    const exit = await emulator.process.ended();
    expect(exit.status, exit.stderr).toBe(0);
  });
});
