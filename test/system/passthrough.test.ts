// The passthrough backend on a real /dev/tpm0: Node runs it in a Linux guest whose TPM is wtpm on this machine.
import { rmSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectEmulator } from "../../src/backend/emulator.ts";
import { TpmClient } from "../../src/codec/client.ts";
import { startEmulator, temporaryFolder } from "../support/emulator.ts";
import { type Report, runInGuest } from "../support/node-guest.ts";
import { SlowTpm12 } from "../support/slow-tpm12.ts";

describe("in a Linux guest, the /dev/tpm0 of wtpm", () => {
  const stateDir = temporaryFolder();
  let report: Report;

  beforeAll(async () => {
    const emulator = await startEmulator({ stateDir, server: false, flags: "" });
    try {
      report = await runInGuest("test/support/passthrough-guest.mjs", emulator.controlSocket);
      expect((await emulator.process.ended()).status).toBe(0);
    } finally {
      await emulator.dispose();
    }
  });
  afterAll(() => rmSync(stateDir, { recursive: true, force: true }));

  test("is used to the program's end", () => {
    expect(report.error).toBeUndefined();
    console.info(`in the guest: an RSA key in ${report.keyMilliseconds} ms, all in ${report.end} ms`);
  });

  test("is a TPM 2.0 of 4096 bytes, and one program's", () => {
    expect(report.family).toBe("2.0");
    expect(report.bufferSize).toEqual({ current: 4096, min: 4096, max: 4096 });
    expect(report.secondOpen).toBe("io: the TPM device '/dev/tpm0' cannot be opened: another program has it open");
  });

  test("was started by the host, so that another TPM2_Startup is refused with TPM_RC_INITIALIZE", () => {
    expect(report.startup).toBe("80010000000a00000100");
  });

  test("answers commands; a PCR that was extended shows in the kernel's own view of it", () => {
    expect(report.random).toMatch(/^80010000001c000000000010.{32}$/);
    // SHA-256 of 32 zero bytes and 32 bytes 0xcd.
    expect(report.pcr).toBe("bbdaacd7e9dab4c992e5e941c69d3a35b57c349ab01ec673af95b3df9dd8aa34");
    expect(report.sysfs).toBe(report.pcr);
  });

  test("runs one command at a time; a driver of a TPM 2.0 cannot cancel one", () => {
    expect(report.busy).toBe("state: the TPM is executing a command already");
    expect([report.cancelFile, report.cancelable]).toEqual([false, false]);
    expect(report.cancel).toMatch(/^unsupported: .*cannot be canceled$/);
  });

  test("has our own TIS in front of it", () => {
    expect(report.tis).toMatch(/^80010000001c000000000010.{32}$/);
  });

  test("is shared as /dev/tpmrm0", () => {
    const response = expect.stringMatching(/^80010000001c000000000010.{32}$/);
    expect(report.shared).toEqual([response, response]);
  });

  test("refuses what the backend answers itself, as the fake device of the unit tests does", () => {
    expect(report.driver).toEqual({ short: "EINVAL", long: "E2BIG", second: "EBUSY" });
  });

  test("wrote to the state of the TPM on this machine", async () => {
    const emulator = await startEmulator({ stateDir });
    try {
      const backend = await connectEmulator({
        control: { path: emulator.controlSocket },
        data: { path: emulator.dataSocket },
        shutdown: false,
      });
      const client = new TpmClient((command) => backend.execute(command, 0));
      const { data } = await client.command("NV_Read", {
        handles: { authHandle: "OWNER", nvIndex: 0x1500016 },
        parameters: { size: 5, offset: 0 },
      });
      expect(Buffer.from(data).toString()).toBe("hello");
      await backend.close();
    } finally {
      await emulator.dispose();
    }
  });
});

describe("in a Linux guest, the /dev/tpm0 of a TPM 1.2", () => {
  const folder = temporaryFolder();
  let report: Report;
  let canceled: readonly string[];

  beforeAll(async () => {
    const control = path.join(folder, "ctrl");
    const tpm = await SlowTpm12.listen(control);
    try {
      report = await runInGuest("test/support/passthrough12-guest.mjs", control);
      canceled = tpm.canceled;
    } finally {
      tpm.close();
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("is known as one, with its buffer of 1280 bytes", () => {
    expect(report.error).toBeUndefined();
    expect(report.family).toBe("1.2");
    expect(report.bufferSize).toEqual({ current: 1280, min: 1280, max: 1280 });
    expect(report.pcr).toBe(`00c40000001e00000000${"00".repeat(20)}`);
  });

  test("has a file to cancel commands with, which this kernel heeds after the command only, and nothing waits for it", () => {
    expect([report.cancelFile, report.cancelable]).toEqual([true, true]);
    // The event loop came round all the time.
    expect(report.turns).toBeGreaterThan(10);
    // The driver gives the command up after its second, cancels it by itself, and goes on.
    expect(report.slow).toBe("io: the TPM device '/dev/tpm0' failed: it did not answer in time");
    expect(canceled).toEqual(["00c10000000a00000054"]);
    expect(report.after).toBe(report.pcr);
  });
});
