// Snapshots of a TPM that is served: what a restored TPM holds, who has to wait, and what happens when something fails.
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { TpmClient } from "../../src/codec/client.ts";
import { ManagementError } from "../../src/server/management-client.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { createSnapshot, restoreSnapshot, withStoredTpm } from "../../src/state/snapshot/operations.ts";
import { StateError, type StateStore } from "../../src/state/store.ts";
import { temporaryFolder } from "../support/emulator.ts";
import { rsa } from "../support/engine-templates.ts";
import { ManagedTpm, type ManagedOptions, repositoryIn } from "../support/managed-tpm.ts";
import { TpmContents } from "../support/migration-contents.ts";

let directory: string;
const started: ManagedTpm[] = [];
beforeEach(() => {
  directory = temporaryFolder();
});
afterEach(async () => {
  for (const tpm of started.splice(0)) await tpm.stop();
  fs.rmSync(directory, { recursive: true, force: true });
});

async function start(options: ManagedOptions = {}): Promise<ManagedTpm> {
  const tpm = await ManagedTpm.start(directory, options);
  started.push(tpm);
  return tpm;
}

/** The same without a server. */
function stored<T>(work: Parameters<typeof withStoredTpm<T>>[1]): Promise<T> {
  return withStoredTpm(new DirStore(path.join(directory, "state")), work);
}

async function kindOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ManagementError) return error.kind;
    throw error;
  }
  return "no error";
}

const pcr23 = async (client: TpmClient): Promise<string> => {
  const { pcrValues } = await client.command("PCR_Read", {
    parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [23] }] },
  });
  return Buffer.from(pcrValues[0]!).toString("hex");
};
const NOTHING = "00".repeat(32);

const restore = (tpm: ManagedTpm, name: string, options = {}) =>
  tpm.ask("snapshot-restore", { name, running: true, ...options });

describe("a running TPM", () => {
  test("goes on in each of two branches with PCRs, NV, keys, contexts and sessions", async () => {
    const tpm = await start();
    const client = await tpm.client();
    const contents = await TpmContents.make(client);
    const first = contents.values;
    expect(await tpm.ask("snapshot-create", { name: "a", description: "first" })).toEqual({
      snapshot: expect.objectContaining({ name: "a", description: "first", running: true, version: "1.2.3" }),
    });
    await contents.change();
    const second = contents.values;
    await tpm.ask("snapshot-create", { name: "b" });
    expect(await restore(tpm, "a")).toMatchObject({ resumes: true, kept: expect.stringMatching(/^auto-/) });
    await contents.check(first);
    await contents.change();
    const third = contents.values;
    await tpm.ask("snapshot-create", { name: "c" });
    for (const [name, values] of [
      ["b", second],
      ["a", first],
      ["c", third],
      ["a", first],
    ] as const) {
      await restore(tpm, name, { undo: false });
      await contents.check(values);
    }
    expect(tpm.repository.index()?.snapshots.map(({ name, parent }) => [name, parent])).toEqual([
      ["a", undefined],
      ["b", "a"],
      [expect.stringMatching(/^auto-/), "b"],
      ["c", "a"],
    ]);
  });

  test("is not changed by being kept, and what it does later does not change a snapshot", async () => {
    const tpm = await start();
    const contents = await TpmContents.make(await tpm.client());
    const values = contents.values;
    await tpm.ask("snapshot-create", { name: "a" });
    const before = tpm.repository.load("a").blobs;
    await contents.check();
    await contents.change();
    await restore(tpm, "a");
    await contents.check(values);
    await contents.change();
    await contents.check();
    expect(tpm.repository.load("a").blobs).toEqual(before);
  });

  test("a mistaken restore is undone by the snapshot it made", async () => {
    const tpm = await start();
    const contents = await TpmContents.make(await tpm.client());
    await tpm.ask("snapshot-create", { name: "a" });
    await contents.change();
    const { kept } = await restore(tpm, "a");
    await restore(tpm, String(kept));
    await contents.check(contents.values);
  });

  test("is forgotten as it was before its restores, if that is wanted", async () => {
    const tpm = await start();
    const contents = await TpmContents.make(await tpm.client());
    await tpm.ask("snapshot-create", { name: "a" });
    const kept: unknown[] = [];
    for (let at = 0; at < 3; at++) kept.push((await restore(tpm, "a")).kept);
    expect(await tpm.ask("snapshot-prune", { keep: 1 })).toEqual({ deleted: kept.slice(0, 2) });
    expect(await tpm.ask("snapshot-prune")).toEqual({ deleted: kept.slice(2) });
    expect(tpm.repository.index()?.snapshots.map(({ name }) => name)).toEqual(["a"]);
    await contents.check();
  });

  test("is left alone unless it is said that it may be running", async () => {
    const tpm = await start();
    const contents = await TpmContents.make(await tpm.client());
    await tpm.ask("snapshot-create", { name: "a" });
    await contents.change();
    expect(await kindOf(tpm.ask("snapshot-restore", { name: "a" }))).toBe("running");
    await contents.check();
    expect(tpm.repository.index()?.snapshots).toHaveLength(1);
  });

  test("starts anew, with the startup of its server, from a snapshot of a stopped one or if that is wanted", async () => {
    const tpm = await start();
    const client = await tpm.client();
    const contents = await TpmContents.make(client);
    await tpm.ask("snapshot-create", { name: "a" });
    expect(await restore(tpm, "a", { cold: true })).toMatchObject({ resumes: false });
    expect(await pcr23(client)).toBe(NOTHING);
    await restore(tpm, "a");
    await contents.check();
  });

  test("comes from the snapshot that was restored, also if the startup stores something at once", async () => {
    const tpm = await start();
    await tpm.ask("snapshot-create", { name: "a" });
    await TpmContents.make(await tpm.client());
    await tpm.ask("snapshot-create", { name: "b" });
    expect(await restore(tpm, "a", { cold: true })).toMatchObject({ resumes: false });
    expect(tpm.repository.index()?.head).toBe("a");
    await tpm.ask("snapshot-create", { name: "c" });
    expect(tpm.repository.index()?.snapshots.find(({ name }) => name === "c")).toMatchObject({ parent: "a" });
  });

  test("does not repeat its random numbers: signatures of two branches would give the key away", async () => {
    const tpm = await start();
    const client = await tpm.client();
    await tpm.ask("snapshot-create", { name: "a" });
    const seen = new Set<string>();
    for (let branch = 0; branch < 3; branch++) {
      const { randomBytes } = await client.command("GetRandom", { parameters: { bytesRequested: 16 } });
      seen.add(Buffer.from(randomBytes).toString("hex"));
      await restore(tpm, "a", { undo: false });
    }
    expect(seen.size).toBe(3);
  });

  test("that was not started yet is not started either when it is restored", async () => {
    const tpm = await start({ serve: { powerOn: true } });
    const client = await tpm.client();
    await tpm.ask("snapshot-create", { name: "a" });
    for (let branch = 0; branch < 2; branch++) {
      await client.command("Startup", { parameters: { startupType: "CLEAR" } });
      await client.command("SelfTest", { parameters: { fullTest: true } });
      await client.command("GetRandom", { parameters: { bytesRequested: 16 } });
      await restore(tpm, "a");
    }
  });

  test("finishes the command it is at first, and lets the next ones wait", async () => {
    const tpm = await start();
    const client = await tpm.client();
    const key = client.command("CreatePrimary", {
      handles: { primaryHandle: "OWNER" },
      parameters: {
        inSensitive: { userAuth: "", data: "" },
        inPublic: rsa({ attributes: { sign: true } }, undefined, 2048),
        outsideInfo: "",
        creationPCR: [],
      },
    });
    const order: string[] = [];
    const noted = <T>(name: string, work: Promise<T>): Promise<T> => work.finally(() => order.push(name));
    const creation = noted("key", key);
    const snapshot = noted("snapshot", tpm.ask("snapshot-create", { name: "a" }));
    const [{ objectHandle }] = await Promise.all([creation, snapshot]);
    expect(order).toEqual(["key", "snapshot"]);
    await client.command("FlushContext", { parameters: { flushHandle: objectHandle } });
    await restore(tpm, "a");
    await client.command("ReadPublic", { handles: { objectHandle } });
  });

  test("whose shutdown came before the snapshot is shut down once more when it ends", async () => {
    const tpm = await start();
    const client = await tpm.client();
    await tpm.ask("snapshot-create", { name: "a" });
    await client.command("Shutdown", { parameters: { shutdownType: "CLEAR" } });
    await restore(tpm, "a");
    await tpm.stop();
    const again = await start();
    // A start without a shutdown before would have made the clock unsafe.
    const { currentTime } = await (await again.client()).command("ReadClock");
    expect(currentTime.clockInfo.safe).toBe(true);
  });

  test("goes on as it was when a snapshot cannot be used", async () => {
    const tpm = await start();
    const contents = await TpmContents.make(await tpm.client());
    const permanent = (await tpm.store.load()).blobs.permanent!;
    const damaged = { blobs: { permanent, volatile: Uint8Array.of(1, 2, 3) }, running: true };
    tpm.repository.create(damaged, { name: "bad" });
    expect(await kindOf(restore(tpm, "bad"))).toBe("bad-state");
    await contents.check();
    expect(tpm.repository.index()?.restoring).toBeUndefined();
    const useless = { blobs: { permanent: Uint8Array.of(9) }, running: false };
    tpm.repository.create(useless, { name: "useless" });
    expect(await kindOf(restore(tpm, "useless"))).toBe("bad-state");
    await contents.check();
    await contents.change();
    await contents.check();
  });

  /** A store that fails so many of the next commits. */
  function failing(): { wrap: (store: StateStore) => StateStore; fail: (times: number) => void } {
    let left = 0;
    const wrap = (store: StateStore): StateStore => ({
      name: store.name,
      acquire: () => store.acquire(),
      release: () => store.release(),
      load: () => store.load(),
      close: () => store.close(),
      commit: (next, fence) => {
        if (left-- > 0) throw new StateError("io", "the disk is full");
        return store.commit(next, fence);
      },
    });
    return {
      wrap,
      fail: (times) => {
        left = times;
      },
    };
  }

  test("goes on as it was when its state cannot be stored", async () => {
    const { wrap, fail } = failing();
    const tpm = await start({ wrap });
    const contents = await TpmContents.make(await tpm.client());
    await tpm.ask("snapshot-create", { name: "a" });
    await contents.change();
    fail(1);
    await expect(restore(tpm, "a")).rejects.toMatchObject({ kind: "storage", message: "the disk is full" });
    await contents.check();
    expect(tpm.repository.index()?.head).toBe("a");
  });

  test("is stopped, and starts as it was, when that cannot be stored either", async () => {
    const { wrap, fail } = failing();
    const tpm = await start({ wrap });
    const client = await tpm.client();
    const contents = await TpmContents.make(client);
    await tpm.ask("snapshot-create", { name: "a" });
    await contents.change();
    fail(2);
    expect(await kindOf(restore(tpm, "a"))).toBe("storage");
    expect(await tpm.ask("status")).toMatchObject({ running: false });
    expect(await (await tpm.control()).ask("0000000200000000")).toBe("00000000"); // CMD_INIT
    await contents.check();
    expect((await tpm.store.load()).blobs.volatile).toBeUndefined();
  });

  test("in failure mode, because its state could not be stored, is well again after a restore", async () => {
    const { wrap, fail } = failing();
    const tpm = await start({ wrap });
    const contents = await TpmContents.make(await tpm.client());
    const first = contents.values;
    await tpm.ask("snapshot-create", { name: "a" });
    fail(1);
    await expect(contents.change()).rejects.toThrow("TPM_RC_FAILURE");
    await expect(contents.check(first)).rejects.toThrow("TPM_RC_FAILURE");
    await restore(tpm, "a", { undo: false });
    await contents.check(first);
  });
});

describe("a stopped TPM", () => {
  test("goes on once where a snapshot of a running one was made", async () => {
    let tpm = await start();
    let client = await tpm.client();
    const contents = await TpmContents.make(client);
    await tpm.ask("snapshot-create", { name: "a" });
    await contents.change();
    await tpm.stop();
    const restored = await stored((subject) => restoreSnapshot(repositoryIn(directory), subject, "a"));
    expect(restored).toMatchObject({ resumes: true });
    expect(restored.kept).toBeDefined();
    tpm = await start();
    client = await tpm.client();
    expect(await pcr23(client)).not.toBe(NOTHING);
    expect(tpm.lines).toEqual([]);
    await tpm.stop();
    tpm = await start();
    expect(await pcr23(await tpm.client())).toBe(NOTHING);
  });

  test("starts anew if that is wanted", async () => {
    let tpm = await start();
    await TpmContents.make(await tpm.client());
    await tpm.ask("snapshot-create", { name: "a" });
    await tpm.stop();
    await stored((subject) => restoreSnapshot(repositoryIn(directory), subject, "a", { cold: true }));
    tpm = await start();
    expect(await pcr23(await tpm.client())).toBe(NOTHING);
  });

  test("keeps what QEMU stored: a volatile state that no restore put there is not for one start", async () => {
    let tpm = await start();
    await TpmContents.make(await tpm.client());
    await (await tpm.control()).ask("0000000a"); // CMD_STORE_VOLATILE
    await tpm.stop();
    await stored((subject) => createSnapshot(repositoryIn(directory), subject, { name: "a" }));
    for (let start_ = 0; start_ < 2; start_++) {
      tpm = await start();
      expect(await pcr23(await tpm.client())).not.toBe(NOTHING);
      await tpm.stop();
    }
  });

  test("whose server goes on is kept and restored by that", async () => {
    const tpm = await start();
    const client = await tpm.client();
    const contents = await TpmContents.make(client);
    const first = contents.values;
    await tpm.ask("snapshot-create", { name: "a" });
    await contents.change();
    const control = await tpm.control();
    expect(await control.ask("0000000e")).toBe("00000000"); // CMD_STOP
    expect(await tpm.ask("snapshot-create", { name: "b" })).toMatchObject({ snapshot: { running: false } });
    expect(await tpm.ask("snapshot-restore", { name: "a" })).toMatchObject({ resumes: true });
    expect(await tpm.ask("status")).toMatchObject({ running: false });
    expect(await control.ask("0000000200000000")).toBe("00000000"); // CMD_INIT
    expect(await tpm.ask("status")).toMatchObject({ running: true });
    await contents.check(first);
    await control.ask("0000000e");
    await control.ask("0000000200000000");
    await client.startup();
    expect(await pcr23(client)).toBe(NOTHING);
  });

  test("of which a restore broke off before it could note what it did knows it at the next start", async () => {
    const tpm = await start();
    await tpm.ask("snapshot-create", { name: "a" });
    await tpm.ask("snapshot-create", { name: "b" });
    await tpm.stop();
    const { blobs } = repositoryIn(directory).load("a");
    repositoryIn(directory).beginRestore("a");
    await stored(async (subject) => subject.replace({ permanent: blobs.permanent! }));
    expect(repositoryIn(directory).index()?.restoring).toBe("a");
    const again = await start();
    await again.ask("status");
    expect(repositoryIn(directory).index()).toMatchObject({ head: "a" });
    expect(repositoryIn(directory).index()).not.toHaveProperty("restoring");
  });

  test("starts also if the list of its snapshots is damaged, and says so; the list stays as it is", async () => {
    let tpm = await start();
    await tpm.ask("snapshot-create", { name: "a" });
    await tpm.stop();
    const index = path.join(directory, "state/snapshots/index.json");
    fs.writeFileSync(index, "nonsense");
    tpm = await start();
    expect(tpm.lines).toEqual([
      expect.stringMatching(/^Warning: the snapshots cannot be read: .*index.json: .* damaged$/),
    ]);
    await (await tpm.client()).command("GetRandom", { parameters: { bytesRequested: 8 } });
    expect(await kindOf(tpm.ask("snapshot-create", { name: "b" }))).toBe("damaged");
    expect(fs.readFileSync(index, "utf8")).toBe("nonsense");
  });

  test("cannot be touched by two", async () => {
    await start();
    await expect(stored(async () => {})).rejects.toMatchObject({ kind: "locked" });
  });
});
