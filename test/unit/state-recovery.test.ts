// What a state directory may look like after a crash, of this program or of swtpm: the newest whole state is taken, and that is said.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { plainFormat } from "../../src/state/container.ts";
import { DirStore, type DirStoreOptions } from "../../src/state/dir-store.ts";
import { openStore } from "../../src/state/open-store.ts";
import { StateError, type StateErrorKind, type StateStore } from "../../src/state/store.ts";
import { swtpmContainer } from "../support/faulty-swtpm.ts";

let dir: string;
let said: string[];
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-recovery-"));
  said = [];
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

const open = (options: DirStoreOptions = {}) =>
  new DirStore(dir, { lock: false, warn: (sentence) => said.push(sentence), ...options });
const at = (name: string) => path.join(dir, name);
const PERMALL = "tpm2-00.permall";
const TEMPORARY = "TMP2-00.permall";

const whole = (value: number, generation: number) => plainFormat.encode("permanent", Uint8Array.of(value), generation);
const damaged = (value: number, generation: number) =>
  whole(value, generation).map((byte, i) => (i === 30 ? byte ^ 1 : byte));

/** Puts files there, by name. */
function put(files: Readonly<Record<string, Uint8Array>>): void {
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(at(name), content);
}

function kindOf(action: () => unknown): StateErrorKind | "no error" {
  try {
    action();
  } catch (error) {
    if (error instanceof StateError) return error.kind;
    throw error;
  }
  return "no error";
}

const permanentIn = (name: string) => plainFormat.decode("permanent", fs.readFileSync(at(name)));
const stored = (store: DirStore) => store.load().blobs.permanent?.[0];

describe("the permanent state is taken from", () => {
  const swtpm = (value: number) => swtpmContainer(Uint8Array.of(value));

  test.each<[string, Readonly<Record<string, Uint8Array>>, number, string | undefined]>([
    ["its file", { [PERMALL]: whole(1, 5) }, 1, undefined],
    [
      "its file, even if a newer one was never acknowledged",
      { [PERMALL]: whole(1, 5), [TEMPORARY]: whole(2, 6) },
      1,
      undefined,
    ],
    ["its file, whatever the backup is", { [PERMALL]: whole(1, 5), [`${PERMALL}.bak`]: whole(2, 9) }, 1, undefined],
    ["the backup, when swtpm stopped between its renames", { [`${PERMALL}.bak`]: swtpm(1) }, 1, "permall is missing"],
    [
      "the backup, when a power loss left an empty file",
      { [PERMALL]: new Uint8Array(0), [`${PERMALL}.bak`]: swtpm(1) },
      1,
      "0 bytes",
    ],
    [
      "the backup, when the file is damaged",
      { [PERMALL]: damaged(2, 6), [`${PERMALL}.bak`]: whole(1, 5) },
      1,
      "checksum",
    ],
    ["a temporary file, when that is all there is", { [TEMPORARY]: swtpm(1) }, 1, "permall is missing"],
    [
      "the newest left-over",
      { [TEMPORARY]: whole(2, 6), [`${PERMALL}.bak`]: whole(1, 5) },
      2,
      "TMP2-00.permall is taken",
    ],
    [
      "the newest left-over that is whole",
      { [TEMPORARY]: damaged(2, 6), [`${PERMALL}.bak`]: whole(1, 5) },
      1,
      ".bak is taken",
    ],
    ["the name under which swtpm exchanges two files", { [`${PERMALL}.tmp`]: whole(1, 5) }, 1, ".tmp is taken"],
  ])("%s", (_what, files, value, note) => {
    put(files);
    const store = open();
    const found = store.load();
    expect([...found.blobs.permanent!]).toEqual([value]);
    if (note === undefined) expect(said).toEqual([]);
    else {
      expect(said).toHaveLength(1);
      expect(said[0]).toContain(note);
      expect(said[0]).toContain("is taken instead");
    }
    // Nothing is changed by looking.
    for (const [name, content] of Object.entries(files)) expect(fs.readFileSync(at(name)).equals(content)).toBe(true);

    // The next commit puts it right, is said nothing of again, and keeps what was damaged.
    store.commit({ number: found.number + 1, blobs: { permanent: Uint8Array.of(9) } }, store.acquire());
    expect(stored(open())).toBe(9);
    expect(permanentIn(PERMALL).generation).toBe(found.number + 1);
    expect(said).toHaveLength(note === undefined ? 0 : 1);
    const old = files[PERMALL];
    if (note && old) expect(fs.readFileSync(at(`${PERMALL}.damaged`)).equals(old)).toBe(true);
    else expect(fs.existsSync(at(`${PERMALL}.damaged`))).toBe(false);
  });

  test("nowhere, when nothing is whole: the files stay as they are", () => {
    const files = { [PERMALL]: damaged(1, 5), [`${PERMALL}.bak`]: damaged(1, 4), [TEMPORARY]: new Uint8Array(0) };
    put(files);
    expect(kindOf(() => open().load())).toBe("damaged");
    expect(() => open().load()).toThrow(/tpm2-00\.permall: .*checksum/);
    for (const [name, content] of Object.entries(files)) expect(fs.readFileSync(at(name)).equals(content)).toBe(true);
  });

  test("no left-over, when its own file needs a newer version or a key", () => {
    put({ [PERMALL]: Uint8Array.from(whole(1, 5)).fill(3, 0, 2), [`${PERMALL}.bak`]: whole(2, 4) });
    expect(kindOf(() => open().load())).toBe("too-new");
    const encrypted = Buffer.from("0201000a0001000000120002000000" + "02aabb", "hex");
    put({ [PERMALL]: encrypted, [`${PERMALL}.bak`]: whole(2, 4) });
    expect(kindOf(() => open().load())).toBe("encrypted");
  });

  test("no temporary file that is a link", () => {
    fs.writeFileSync(at("elsewhere"), whole(1, 5));
    fs.symlinkSync(at("elsewhere"), at(TEMPORARY));
    expect(stored(open())).toBeUndefined();
  });

  test("a recovered file, also when the first commit changes something else", () => {
    put({ [`${PERMALL}.bak`]: whole(1, 5) });
    const store = open();
    const found = store.load();
    store.commit({ number: found.number + 1, blobs: { ...found.blobs, volatile: Uint8Array.of(7) } }, store.acquire());
    expect(stored(open())).toBe(1);
    expect(permanentIn(PERMALL).generation).toBe(5);
    expect([...open().load().blobs.volatile!]).toEqual([7]);
  });
});

describe("the option backup", () => {
  test("keeps the state before the last one, under swtpm's name", () => {
    const store = open({ backup: true });
    const fence = store.acquire();
    for (const number of [1, 2, 3]) {
      store.commit({ number, blobs: { permanent: Uint8Array.of(number) } }, fence);
      expect([...permanentIn(PERMALL).blob]).toEqual([number]);
      if (number > 1) expect([...permanentIn(`${PERMALL}.bak`).blob]).toEqual([number - 1]);
    }
    expect(fs.readdirSync(dir).sort()).toEqual([PERMALL, `${PERMALL}.bak`]);
  });

  test("is in the way of no left-over, and of no file system without hard links", () => {
    put({ [`${PERMALL}.tmp`]: Uint8Array.of(0) });
    const store = open({ backup: true });
    const fence = store.acquire();
    store.commit({ number: 1, blobs: { permanent: Uint8Array.of(1) } }, fence);
    store.commit({ number: 2, blobs: { permanent: Uint8Array.of(2) } }, fence);
    expect([...permanentIn(`${PERMALL}.bak`).blob]).toEqual([1]);
    const linkless = open({
      backup: true,
      fileSystem: {
        ...fs,
        linkSync: () => {
          throw Object.assign(new Error("EPERM: operation not permitted"), { code: "EPERM" });
        },
      },
    });
    const found = linkless.load();
    linkless.commit({ number: found.number + 1, blobs: { permanent: Uint8Array.of(3) } }, linkless.acquire());
    expect([...permanentIn(`${PERMALL}.bak`).blob]).toEqual([2]);
    expect(stored(open())).toBe(3);
  });

  test("gives the TPM the backup when it cannot be started with the newest state", () => {
    put({ [PERMALL]: whole(2, 6), [`${PERMALL}.bak`]: whole(1, 5) });
    const store = open({ backup: true });
    expect(stored(store)).toBe(2);
    const previous = store.loadPrevious()!;
    expect([...previous.blobs.permanent!]).toEqual([1]);
    expect(said).toEqual([`the state in ${at(`${PERMALL}.bak`)} is taken instead`]);
    // Once; and nothing has changed until the TPM stores something.
    expect(store.loadPrevious()).toBeUndefined();
    expect([...permanentIn(PERMALL).blob]).toEqual([2]);
    store.commit({ number: previous.number + 1, blobs: { permanent: Uint8Array.of(3) } }, store.acquire());
    expect([...permanentIn(PERMALL).blob]).toEqual([3]);
    expect([...permanentIn(`${PERMALL}.bak`).blob]).toEqual([1]);
    expect(open().loadPrevious()).toBeUndefined();
  });
});

test("a TPM that cannot be started with its state starts with the backup, if there is that option, and says so", async () => {
  const start = async (backup: boolean) => {
    const backend = createEngineBackend({ store: open({ backup }), warn: (sentence) => said.push(sentence) });
    await backend.powerOn();
    return backend;
  };
  await (await start(true)).close();
  const good = permanentIn(PERMALL);
  // Whole as a file of swtpm's, and damaged inside.
  put({ [`${PERMALL}.bak`]: fs.readFileSync(at(PERMALL)), [PERMALL]: swtpmContainer(good.blob.subarray(0, 500)) });
  await expect(start(false)).rejects.toMatchObject({ kind: "bad-state" });
  expect(said).toEqual([]);

  const backend = await start(true);
  expect(said).toHaveLength(2);
  expect(said[0]).toContain("permall.bak is taken instead");
  expect(said[1]).toContain("starts with the state before the last one");
  const STARTUP_CLEAR = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0);
  expect((await backend.execute(STARTUP_CLEAR, 0))[9]).toBe(0);
  await backend.close();
  await (await start(false)).close();

  // Without a whole backup it ends as it did.
  put({ [PERMALL]: swtpmContainer(good.blob.subarray(0, 500)), [`${PERMALL}.bak`]: new Uint8Array(0) });
  await expect(start(true)).rejects.toMatchObject({ kind: "bad-state" });
});

describe("an ephemeral state", () => {
  const openEphemeral = (uri: string): StateStore =>
    openStore(uri, {
      family: "2.0",
      ephemeral: true,
      lock: true,
      mode: 0o600,
      warn: (sentence) => said.push(sentence),
    });

  test.each(["dir", "file"])("of a %s starts from what is stored, and leaves it and its mode alone", async (kind) => {
    const uri = kind === "dir" ? `dir://${dir}` : `file://${at("nvram")}`;
    const base = openStore(uri, { family: "2.0", lock: true });
    const fence = await base.acquire();
    await base.commit({ number: 1, blobs: { permanent: Uint8Array.of(1) } }, fence);
    const file = kind === "dir" ? at(PERMALL) : at("nvram");
    fs.chmodSync(file, 0o440);
    const before = fs.readFileSync(file);

    const [one, other] = [openEphemeral(uri), openEphemeral(uri)];
    for (const [store, value] of [
      [one, 5],
      [other, 6],
    ] as const) {
      const ephemeral = await store.acquire();
      const found = await store.load();
      expect([...found.blobs.permanent!]).toEqual([1]);
      await store.commit({ number: found.number + 1, blobs: { permanent: Uint8Array.of(value) } }, ephemeral);
    }
    expect([...(await one.load()).blobs.permanent!]).toEqual([5]);
    expect([...(await other.load()).blobs.permanent!]).toEqual([6]);
    await one.close();
    await other.close();
    expect(fs.readFileSync(file).equals(before)).toBe(true);
    expect(fs.statSync(file).mode & 0o777).toBe(0o440);
    await base.close();
  });

  test("of nothing is a new TPM that leaves nothing; of a directory that is not there, an error", async () => {
    for (const uri of [`dir://${dir}`, `file://${at("nvram")}`]) {
      const store = openEphemeral(uri);
      const fence = await store.acquire();
      expect(await store.load()).toEqual({ number: 0, blobs: {} });
      await store.commit({ number: 1, blobs: { permanent: Uint8Array.of(1) } }, fence);
      await store.close();
    }
    expect(fs.readdirSync(dir)).toEqual([]);
    expect(() => openEphemeral(`dir://${at("missing")}`)).toThrow(/no such directory/);
  });

  test("of a damaged one is an error as without it", () => {
    put({ [PERMALL]: damaged(1, 5) });
    expect(kindOf(() => openEphemeral(`dir://${dir}`).load())).toBe("damaged");
  });
});
