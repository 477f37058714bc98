// Real machines: SeaBIOS with the TIS and OVMF with the CRB, and Debian's kernel on each.
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Emulator, startEmulator, temporaryFolder } from "../support/emulator.ts";
import { parseEventLog, replay } from "../support/eventlog.ts";
import { BOOT_LIMIT_MS, Guest } from "../support/guest.ts";
import { getRandom, nvData, nvDefineSpace, nvRead, nvWrite, pcrExtend, TPM } from "../support/tpm-client.ts";

const FIRMWARE_PCRS = [0, 1, 2, 3, 4, 5, 6, 7];
const DATA = Buffer.from("kept");

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

  const pcr = async (bank: string, number: number) =>
    Buffer.from((await guest.shell(`cat /sys/class/tpm/tpm0/pcr-${bank}/${number}`)).trim(), "hex");

  test("IMA begins with the hash of the firmware's PCRs, and its list replays to PCR 10", async () => {
    const read = () => guest.shell("cat /sys/kernel/security/ima/ascii_runtime_measurements");
    await read(); // The first use of a program is measured itself.
    const entries = (await read()).trim().split("\n");
    const [, , , aggregate, name] = entries[0]!.split(" ");
    expect(name).toBe("boot_aggregate");
    const [algorithm, digest] = aggregate!.split(":") as [string, string];
    const hash = createHash(algorithm);
    for (let number = 0; number <= (algorithm === "sha1" ? 7 : 9); number++) hash.update(await pcr(algorithm, number));
    expect(hash.digest("hex")).toBe(digest);

    let value = Buffer.alloc(20);
    for (const entry of entries) {
      const extended = Buffer.from(entry.split(" ")[1]!, "hex");
      // A violation is listed as zeros and extended as ones.
      value = createHash("sha1")
        .update(value)
        .update(extended.every((byte) => byte === 0) ? Buffer.alloc(20, 0xff) : extended)
        .digest();
    }
    expect(await pcr("sha1", 10)).toEqual(value);
  });

  test("the kernel takes random numbers", async () => {
    expect(await guest.shell("cat /sys/class/misc/hw_random/rng_available")).toContain("tpm-rng");
    expect((await guest.shell("dd if=/dev/hwrng bs=32 count=1 2>/dev/null | base64")).trim()).toHaveLength(44);
    expect(responseCode(await guest.tpm(getRandom(16)))).toBe(0);
  });

  test.each([
    ["a reboot", "reboot", 0x0180_0011],
    ["a reset that the kernel knows nothing of", "reset", 0x0180_0012],
  ] as const)(
    "%s keeps the NV memory and resets the PCRs",
    async (_, how, index) => {
      expect(responseCode(await guest.tpm(nvDefineSpace(index, DATA.length)))).toBe(0);
      expect(responseCode(await guest.tpm(nvWrite(index, DATA)))).toBe(0);
      expect(responseCode(await guest.tpm(pcrExtend(TPM.ALG_SHA256, 16, Buffer.alloc(32, 1))))).toBe(0);
      expect(await pcr("sha256", 16)).not.toEqual(Buffer.alloc(32));
      await guest[how]();
      expect(await pcr("sha256", 16)).toEqual(Buffer.alloc(32));
      expect(nvData(await guest.tpm(nvRead(index, DATA.length))).toString()).toBe(DATA.toString());
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
