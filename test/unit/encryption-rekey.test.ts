// `wtpm state rekey` on directories and files: every blob and every snapshot under the new keys, or nothing changed.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type RekeyOptions, rekeyCommand } from "../../src/cli/rekey.ts";
import { fileProvider } from "../../src/state/encryption/key-provider.ts";
import { sealedFormat } from "../../src/state/encryption/sealed-format.ts";
import { StateKeeper } from "../../src/state/keeper.ts";
import { openStore } from "../../src/state/open-store.ts";
import { SnapshotRepository } from "../../src/state/snapshot/repository.ts";
import { type StateBlobs, StateError } from "../../src/state/store.ts";

const BLOBS: StateBlobs = { permanent: Uint8Array.of(1, 2, 3), volatile: Uint8Array.of(4, 5) };

let dir: string;
let said: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-rekey-"));
  said = "";
  for (const stream of [process.stdout, process.stderr] as const) {
    vi.spyOn(stream, "write").mockImplementation((text) => {
      said += text as string;
      return true;
    });
  }
  for (const name of ["old", "new", "spare"]) fs.writeFileSync(path.join(dir, name), bytesOf(name));
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(dir, { recursive: true, force: true });
});

const bytesOf = (name: string) => Buffer.alloc(32, name);
const list = (name: string) => `provider=file,file=${path.join(dir, name)},slot=${name}`;
const formatOf = (...names: string[]) => sealedFormat(names.map((name) => fileProvider(bytesOf(name), name)));

const PLACES = { directory: (at: string) => `dir://${at}`, file: (at: string) => `file://${at}/state` } as const;
type PlaceKind = keyof typeof PLACES;

const uriOf = (kind: PlaceKind) => PLACES[kind](dir);
const storeOf = (kind: PlaceKind, ...keys: string[]) =>
  openStore(uriOf(kind), { family: "2.0", format: formatOf(...keys), lock: false });
const snapshotsOf = (kind: PlaceKind, ...keys: string[]) =>
  new SnapshotRepository(path.join(dir, kind === "directory" ? "snapshots" : "state.snapshots"), {
    format: formatOf(...keys),
  });
const rekey = (kind: PlaceKind, options: RekeyOptions) =>
  rekeyCommand({ tpmstate: `backend-uri=${uriOf(kind)},lock=false` }, options);

/** A state and two snapshots under the keys. */
async function make(kind: PlaceKind, ...keys: string[]): Promise<void> {
  const keeper = new StateKeeper(storeOf(kind, ...keys));
  await keeper.open();
  await keeper.save(BLOBS);
  await keeper.close();
  const snapshots = snapshotsOf(kind, ...keys);
  snapshots.create({ blobs: BLOBS, running: true }, { name: "first" });
  snapshots.create({ blobs: { permanent: Uint8Array.of(9) }, running: false }, { name: "second" });
}

/** What somebody with the keys finds; an error's kind where nothing opens. */
async function found(kind: PlaceKind, ...keys: string[]): Promise<unknown> {
  const read = async (what: () => unknown) => {
    try {
      return await what();
    } catch (error) {
      return (error as { kind?: string }).kind;
    }
  };
  const plain = ({ permanent, volatile }: StateBlobs) => [permanent, volatile].map((blob) => blob && [...blob]);
  return {
    state: await read(async () => plain((await storeOf(kind, ...keys).load()).blobs)),
    first: await read(() => plain(snapshotsOf(kind, ...keys).load("first").blobs)),
    second: await read(() => plain(snapshotsOf(kind, ...keys).load("second").blobs)),
  };
}

const WHOLE = {
  state: [
    [1, 2, 3],
    [4, 5],
  ],
  first: [
    [1, 2, 3],
    [4, 5],
  ],
  second: [[9], undefined],
};
const NOTHING = { state: "encrypted", first: "encrypted", second: "encrypted" };

test.each(Object.keys(PLACES) as PlaceKind[])("in a %s: another key for state and snapshots", async (kind) => {
  await make(kind, "old");
  expect(await rekey(kind, { key: [list("old")], add: [list("new")] })).toBe(0);
  expect(said).toContain("old, new; 2 snapshots too");
  for (const key of ["old", "new"]) expect(await found(kind, key)).toEqual(WHOLE);
  expect(await found(kind, "spare")).toEqual(NOTHING);

  await rekey(kind, { key: [list("new")], remove: ["old"], newDataKey: true });
  expect(said).toContain("new; a new data key; 2 snapshots too");
  expect(said).not.toContain("Warning");
  expect(await found(kind, "new")).toEqual(WHOLE);
  expect(await found(kind, "old")).toEqual(NOTHING);
});

test("a removed slot without a new data key is told of", async () => {
  await make("directory", "old", "new");
  const before = formatOf("old");
  before.decode("permanent", fs.readFileSync(path.join(dir, "tpm2-00.permall")));
  await rekey("directory", { key: [list("new")], remove: ["old"] });
  expect(said).toContain("Warning: the data key is the same");
  const after = formatOf("new");
  after.decode("permanent", fs.readFileSync(path.join(dir, "tpm2-00.permall")));
  expect(after.ring()!.dataKey).toEqual(before.ring()!.dataKey);
});

test("--list shows the slots, also of a state that is in use", async () => {
  await make("directory", "old", "new");
  const user = openStore(uriOf("directory"), { family: "2.0", format: formatOf("old") });
  await user.acquire();
  const where = { place: dir };
  expect(await rekeyCommand(where, { key: [list("new")], list: true })).toBe(0);
  expect(said).toBe("old\tfile\nnew\tfile\n");
  await expect(rekeyCommand(where, { key: [list("new")], newDataKey: true })).rejects.toMatchObject({ kind: "locked" });
  await user.close();
});

test.each([
  ["a key that opens nothing", { key: ["spare"], newDataKey: true }, /cannot be decrypted/],
  ["a slot that is not there", { key: ["old"], remove: ["spare"] }, /no key slot 'spare'/],
  ["a slot's key missing for a new data key", { key: ["old"], newDataKey: true }, /the slot 'new' \(file\) is needed/],
  ["no key left that was given", { key: ["old"], remove: ["old"] }, /none of the keys given/],
  ["a slot's name twice", { key: ["old"], add: ["new"] }, /already: give the new one another name/],
  ["nothing to do", { key: ["old"] }, /what is to change/],
  ["no key", { key: [], newDataKey: true }, /which key opens/],
] as const)("%s: refused, and nothing is changed", async (_what, { key, ...options }, message) => {
  await make("directory", "old", "new");
  const files = () => fs.readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const contents = () =>
    files().map((entry) => fs.readFileSync(path.join(entry.parentPath, entry.name)).toString("hex"));
  const before = contents();
  const add = "add" in options ? { add: options.add.map(list) } : {};
  await expect(rekey("directory", { ...options, ...add, key: key.map(list) })).rejects.toThrow(message);
  expect(contents()).toEqual(before);
});

test("a damaged snapshot stops the change before the state is written", async () => {
  await make("directory", "old");
  const objects = path.join(dir, "snapshots/objects");
  const object = path.join(objects, fs.readdirSync(objects)[0]!);
  const bytes = fs.readFileSync(object);
  bytes[bytes.length - 1]! ^= 1;
  fs.writeFileSync(object, bytes);
  await expect(rekey("directory", { key: [list("old")], newDataKey: true })).rejects.toMatchObject({ kind: "damaged" });
  expect((await storeOf("directory", "old").load()).blobs.permanent).toEqual(BLOBS.permanent);
});

/** Lets every call that changes files fail from the given one on. @returns how many there were */
function failFrom(first: number): () => number {
  let calls = 0;
  const names = ["writeSync", "renameSync", "unlinkSync", "fsyncSync"] as const;
  const spies = names.map((name) => {
    const real = fs[name] as (...values: unknown[]) => unknown;
    return vi.spyOn(fs, name).mockImplementation(((...values: unknown[]) => {
      if (calls++ >= first) throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
      return real(...values);
    }) as never);
  });
  return () => {
    for (const spy of spies) spy.mockRestore();
    return calls;
  };
}

test.each(Object.keys(PLACES) as PlaceKind[])(
  "in a %s: wherever a change stops, nothing is lost, and the same command makes it whole",
  async (kind) => {
    const plan = { key: [list("old")], add: [list("new")], remove: ["old"], newDataKey: true };
    let points = 0;
    for (let first = 0; ; first++) {
      await make(kind, "old");
      const restore = failFrom(first);
      const outcome = await rekey(kind, plan).catch((error: unknown) => error);
      const calls = restore();
      if (outcome !== 0) {
        points++;
        expect(outcome).toBeInstanceOf(StateError);
        expect(await found(kind, "old", "new"), `call ${first}`).toEqual(WHOLE);
        const again = await rekey(kind, plan).catch((error: unknown) => error as Error);
        // Only the last call's outcome was not known: then everything is there.
        if (again !== 0) expect((again as Error).message).toMatch(/there is a key slot 'new' already/);
      }
      expect(await found(kind, "new"), `call ${first}`).toEqual(WHOLE);
      expect(await found(kind, "old"), `call ${first}`).toEqual(NOTHING);
      for (const name of fs.readdirSync(dir))
        if (!["old", "new", "spare"].includes(name)) fs.rmSync(path.join(dir, name), { recursive: true });
      if (calls <= first) break;
    }
    expect(points).toBeGreaterThan(10);
  },
);
