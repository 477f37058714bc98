// Commits of several files of a directory: wherever they stop, what is found is the generation before or after, the volatile state included.
import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { encryptedFormat, plainFormat } from "../../src/state/container.ts";
import { encodeJournal, volatileIn } from "../../src/state/dir-journal.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { AesCbcKey } from "../../src/state/encryption/aes-cbc.ts";
import { StateKeeper } from "../../src/state/keeper.ts";
import { type StateBlobs, StateError } from "../../src/state/store.ts";
import { type DiskImage, SimulatedDisk, systemError } from "../support/faulty-disk.ts";

const ROOT = "/tpm";
const FORMATS = { plain: () => plainFormat, encrypted: () => encryptedFormat(new AesCbcKey(Buffer.alloc(32, 5))) };

/** "p1 v1": what a generation holds; nothing for a directory without a state. */
type State = string;
const stateOf = ({ permanent, volatile }: StateBlobs): State =>
  [permanent, volatile].flatMap((blob) => (blob ? Buffer.from(blob).toString().slice(0, 2) : [])).join(" ");
const blobOf = (name: string | undefined) => (name === undefined ? undefined : Buffer.from(name.repeat(400)));

/** Changes from one state to another that touch the volatile one, or follow such. */
const CHANGES: readonly (readonly [State, State])[] = [
  ["p1 v1", "p2 v2"],
  ["p1 v1", "p2"],
  ["p1", "p2 v2"],
  ["", "p1 v1"],
  ["p1 v1", "p1"],
  ["p1 v1", "p1 v2"],
  ["p1 v1", "p2 v1"],
];
const AFTERWARDS: readonly State[] = ["p1", "p2", "p2 v2", "p3", "p3 v3"];

describe.each(Object.entries(FORMATS))("%s", (_name, format) => {
  const open = (fileSystem: SimulatedDisk) => new DirStore(ROOT, { lock: false, fileSystem, format: format() });
  const found = (image: DiskImage) => stateOf(open(new SimulatedDisk(ROOT, image)).load().blobs);

  /** Brings the state that is there to another one, in one commit; what stays is not written again. */
  async function change(disk: SimulatedDisk, to: State): Promise<void> {
    const keeper = new StateKeeper(open(disk));
    const before = await keeper.open();
    const [permanent, volatile] = [/p\d/, /v\d/].map((pattern) => pattern.exec(to)?.[0]);
    const kept = (type: "permanent" | "volatile", name: string | undefined) =>
      before[type] && stateOf({ [type]: before[type] }) === name ? before[type] : blobOf(name);
    try {
      await keeper.save({ permanent: kept("permanent", permanent), volatile: kept("volatile", volatile) });
    } finally {
      await keeper.close();
    }
  }

  async function at(state: State): Promise<DiskImage> {
    const disk = new SimulatedDisk(ROOT);
    if (state) await change(disk, state);
    return disk.image();
  }

  /** Every medium on which a change may stop. */
  async function* stops(image: DiskImage, to: State): AsyncGenerator<{ image: DiskImage; done: boolean }> {
    const disk = new SimulatedDisk(ROOT, image);
    const images = new Map<string, DiskImage>();
    const note = (found: DiskImage) =>
      images.set([...found].map(([name, bytes]) => `${name} ${bytes.toString("base64")}`).join("\n"), found);
    const look = () => {
      note(disk.image());
      for (const lost of disk.imagesAfterPowerLoss()) note(lost);
    };
    disk.onCall = ({ part }) => {
      look();
      if (part) part(0.5);
      look();
    };
    await change(disk, to);
    for (const image of images.values()) yield { image, done: false };
    images.clear();
    look();
    for (const image of images.values()) yield { image, done: true };
  }

  test.each(CHANGES)("from '%s' to '%s'", async (from, to) => {
    const seen = new Set<State>();
    for await (const { image, done } of stops(await at(from), to)) {
      const state = found(image);
      expect(done ? [to] : [from, to]).toContain(state);
      seen.add(state);
      // Whatever is left of that does no harm to what comes.
      for (const next of AFTERWARDS)
        for await (const { image: later, done } of stops(image, next))
          expect(done ? [next] : [state, next], `then to '${next}'`).toContain(found(later));
    }
    expect(seen).toEqual(new Set([from, to]));
  });

  test.each(CHANGES)("from '%s' to '%s', with a call that fails, and the next commit", async (from, to) => {
    for (let failing = 0; ; failing++) {
      const disk = new SimulatedDisk(ROOT, await at(from));
      let keeper = new StateKeeper(open(disk), { commitAttempts: 1 });
      await keeper.open();
      let calls = 0;
      disk.onCall = ({ name }) => {
        if (calls++ === failing) throw systemError("EIO", name);
      };
      const [permanent, volatile] = [/p\d/, /v\d/].map((pattern) => blobOf(pattern.exec(to)?.[0]));
      let kind: string | undefined;
      try {
        await keeper.save({ permanent, volatile });
      } catch (error) {
        expect(error).toBeInstanceOf(StateError);
        ({ kind } = error as StateError);
      }
      const reached = calls > failing;
      const state = found(disk.image());
      if (kind === "io") expect(state).toBe(from);
      else if (kind === "unknown") expect([from, to]).toContain(state);
      else expect(state).toBe(to);
      disk.onCall = () => {};
      if (kind === "unknown") {
        keeper = new StateKeeper(open(disk));
        await keeper.open();
      }
      // The volatile state goes, as it does when a TPM starts with it once.
      await keeper.save({ volatile: undefined });
      for (const image of disk.imagesAfterPowerLoss()) expect(found(image)).toMatch(/^(p\d)?$/);
      await keeper.close();
      if (!reached) break;
    }
  });
});

test("a journal of other files, or one that is not whole, says nothing", () => {
  const [one, other, volatile] = [Buffer.from("one"), Buffer.from("other"), Buffer.from("volatile")];
  const journal = encodeJournal({ permanent: one, volatile }, { permanent: other });
  expect(volatileIn(journal, one)).toEqual(new Uint8Array(volatile));
  for (const permanent of [other, Buffer.from("third"), undefined])
    expect(volatileIn(journal, permanent)).toBeUndefined();
  for (let at = 0; at < journal.length; at++) {
    expect(volatileIn(journal.subarray(0, at), one)).toBeUndefined();
    const changed = Buffer.from(journal);
    changed[at]! ^= 1;
    expect(volatileIn(changed, one)).toBeUndefined();
  }
});
