// A guest moves between QEMUs, each with its own emulator, and finds its TPM as it left it.
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../support/emulator.ts";
import { BOOT_LIMIT_MS } from "../support/guest.ts";
import { CREATE_RSA_KEY, type Host, type HostOptions, MovingGuest } from "../support/migration.ts";
import { TpmContents } from "../support/migration-contents.ts";
import { until } from "../support/process.ts";
import { parametersOf } from "../support/tpm-client.ts";

/** A device that QEMU takes after the TPM, and that only a machine which is to fail lacks. */
const LATER_DEVICE = ["-device", "virtio-rng-pci"];
const SHARED = ["--migration", "incoming,release-lock-outgoing"];

const TIS_STS = "0xfed40018";
const STS_VALID = 0x80;
const STS_COMMAND_READY = 0x40;
const STS_DATA_AVAILABLE = 0x10;
const STS_EXPECT = 0x08;

describe("a guest with its TPM", () => {
  const shared = temporaryFolder();
  let moving: MovingGuest;
  let contents: TpmContents;
  const prepared: Host[] = [];

  beforeAll(async () => {
    moving = await MovingGuest.boot({ emulator: "swtpm", args: LATER_DEVICE }, "tpm-tis");
    contents = await TpmContents.make(moving.client);
  }, 2 * BOOT_LIMIT_MS);

  afterAll(async () => {
    await moving?.dispose();
    for (const host of prepared) await host.dispose();
    rmSync(shared, { recursive: true, force: true });
  });

  async function prepare(options: HostOptions): Promise<Host> {
    const host = await moving.prepare({ args: LATER_DEVICE, ...options });
    prepared.push(host);
    return host;
  }

  /** Everything is there, and goes on from there. */
  async function checkAll(): Promise<void> {
    await contents.check();
    await contents.change();
    await contents.check();
  }

  test("moves from Debian's swtpm to wtpm", async () => {
    expect(await moving.moveTo(await prepare({ emulator: "wtpm" }))).toBe(true);
    await checkAll();
  });

  test("stays, when the other TPM cannot have the state because the lock on it is not given up", async () => {
    const { stateDir } = moving.host;
    const target = await prepare({ emulator: "wtpm", stateDir, emulatorArgs: ["--migration", "incoming"] });
    expect(await moving.moveTo(target)).toBe(false);
    expect((await target.guest.ended()).stderr).toContain(
      "Setting the stateblob (type 1) failed with a TPM error 0x1f",
    );
    await checkAll();
  });

  test("is saved to a file and restored by another process with another folder", async () => {
    await moving.moveThroughFile(await prepare({ emulator: "wtpm", stateDir: shared, emulatorArgs: SHARED }));
    await checkAll();
  });

  test("stays, when the other TPM dies on the way", async () => {
    const target = await prepare({ emulator: "wtpm", stateDir: shared, emulatorArgs: SHARED });
    await target.emulator.kill();
    expect(await moving.moveTo(target)).toBe(false);
    expect((await target.guest.ended()).status).not.toBe(0);
    await checkAll();
  });

  test("stays, when the other machine fails after its TPM has taken over the state that both share", async () => {
    const target = await prepare({ emulator: "wtpm", stateDir: shared, emulatorArgs: SHARED, args: [] });
    expect(await moving.moveTo(target)).toBe(false);
    expect((await target.guest.ended()).stderr).toContain("virtio-rng");
    await checkAll();
  });

  test("moves to a process that shares its state, while a key is being made", async () => {
    const target = await prepare({ emulator: "wtpm", stateDir: shared, emulatorArgs: SHARED });
    const { emulator, guest } = moving.host;
    emulator.signal("SIGSTOP");
    const response = await guest.beginTransmit(CREATE_RSA_KEY);
    await until("the TIS to execute the command", async () => {
      const status = Number(/0x\w+$/.exec((await guest.humanMonitor(`xp /1wx ${TIS_STS}`)).trim())?.[0]);
      return (status & (STS_VALID | STS_COMMAND_READY | STS_DATA_AVAILABLE | STS_EXPECT)) === STS_VALID;
    });
    const moved = await moving.moveTo(target, async () => {
      // QEMU has stopped the guest and waits for the TPM.
      await guest.event("STOP");
      emulator.signal("SIGCONT");
    });
    expect(moved).toBe(true);
    expect(parametersOf(await response(moving.guest)).length).toBeGreaterThan(256);
    await moving.client.command("FlushContext", { parameters: { flushHandle: 0x8000_0002 } });
    await checkAll();
  });

  test("moves from wtpm to Debian's swtpm, and back", async () => {
    expect(await moving.moveTo(await prepare({ emulator: "swtpm" }))).toBe(true);
    await checkAll();
    expect(await moving.moveTo(await prepare({ emulator: "wtpm" }))).toBe(true);
    await checkAll();
  });
});
