// savevm and loadvm: the TPM goes back with its machine, wherever in a tree of snapshots that is.
import { copyFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TpmClient as CodecClient } from "../../src/codec/client.ts";
import { plainFormat } from "../../src/state/container.ts";
import { differences } from "../../src/state/libtpms/compare.ts";
import { decodePermanent } from "../../src/state/libtpms/permanent.ts";
import { launchEmulator, temporaryFolder } from "../support/emulator.ts";
import { BOOT_LIMIT_MS } from "../support/guest.ts";
import { type HostOptions, MovingGuest } from "../support/migration.ts";
import { readNv, TpmContents, type Values } from "../support/migration-contents.ts";
import { run } from "../support/process.ts";
import { startSwtpm } from "../support/swtpm.ts";

const PERMANENT = "tpm2-00.permall";
const folder = temporaryFolder();
const disk = path.join(folder, "disk.qcow2");
const HOST: HostOptions = {
  emulator: "wtpm",
  // As libvirt starts it: the lock is given up with the last blob of every snapshot.
  emulatorArgs: ["--migration", "release-lock-outgoing"],
  args: ["-drive", `if=none,id=disk,format=qcow2,file=${disk}`],
};
/** What a snapshot holds. */
const snapshots = new Map<string, { values: Values; permanent: Uint8Array }>();
let moving: MovingGuest;
let contents: TpmContents;

beforeAll(async () => {
  const made = await run("qemu-img", ["create", "-q", "-f", "qcow2", disk, "64M"]);
  expect(made.status, made.stderr).toBe(0);
  moving = await MovingGuest.boot(HOST, "tpm-crb");
  contents = await TpmContents.make(moving.client);
}, 2 * BOOT_LIMIT_MS);

afterAll(async () => {
  await moving?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const storedPermanent = () =>
  plainFormat.decode("permanent", readFileSync(path.join(moving.host.stateDir, PERMANENT))).blob;

async function save(name: string): Promise<void> {
  snapshots.set(name, { values: contents.values, permanent: storedPermanent() });
  expect(await moving.guest.humanMonitor(`savevm ${name}`)).toBe("");
}

/** Loads a snapshot and looks at everything, in the guest and on the disk. */
async function load(name: string): Promise<void> {
  const { values, permanent } = snapshots.get(name)!;
  await moving.guest.monitor("stop");
  expect(await moving.guest.humanMonitor(`loadvm ${name}`)).toBe("");
  // The volatile state has a newer clock and random generator than the permanent one beside it.
  const differing = differences(decodePermanent(permanent), decodePermanent(storedPermanent()));
  expect(differing.filter((field) => !field.startsWith("orderlyData."))).toEqual([]);
  // What a host that loses its power now will start from.
  const swtpm = await startSwtpm({ permanent: storedPermanent() });
  expect(await readNv(new CodecClient((command) => swtpm.transmit(command)))).toEqual(values.nv);
  await swtpm[Symbol.asyncDispose]();
  await moving.guest.monitor("cont");
  await contents.check(values);
}

test("snapshots, and snapshots of these, in two branches", async () => {
  await save("root");
  await contents.change();
  await save("first");
  await contents.change();
  await save("second");
  await contents.change();
  await load("root");
  await contents.change();
  await save("other");
  await contents.change();
  await load("second");
  await load("other");
  await load("first");
  await load("root");
  await load("root");
  // A branch goes on from where its snapshot was taken.
  await load("second");
  await contents.change();
  await contents.check();
});

test("the state is locked again while the guest runs on after a snapshot", async () => {
  const { stateDir } = moving.host;
  await save("last");
  const second = launchEmulator(["--tpm2", "--tpmstate", `dir=${stateDir}`, "--flags", "not-need-init"]);
  const { status, stderr } = await second.ended();
  expect([status, stderr]).toEqual([1, expect.stringContaining("in use by another process")]);
});

test("a machine that starts with a snapshot finds the TPM of it, whatever its state folder holds", async () => {
  const stateDir = path.join(folder, "state");
  mkdirSync(stateDir);
  copyFileSync(path.join(moving.host.stateDir, PERMANENT), path.join(stateDir, PERMANENT));
  await moving.startFromSnapshot("first", { ...HOST, stateDir });
  await contents.check(snapshots.get("first")!.values);
});
