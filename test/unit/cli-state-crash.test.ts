// `wtpm state convert` of a suspended TPM where it is: wherever it stops, nothing of the state is lost, the volatile part included.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { eitherFormat } from "../../src/cli/state-formats.ts";
import { toHex } from "../../src/codec/bytes.ts";
import { encryptedFormat, plainFormat } from "../../src/state/container.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { AesCbcKey } from "../../src/state/encryption/aes-cbc.ts";
import { fileProvider } from "../../src/state/encryption/key-provider.ts";
import { sealedFormat } from "../../src/state/encryption/sealed-format.ts";
import type { StateFormat } from "../../src/state/format.ts";
import { StateKeeper } from "../../src/state/keeper.ts";
import { decodePermanent, encodePermanent } from "../../src/state/libtpms/permanent.ts";
import { LinearStore } from "../../src/state/linear-store.ts";
import { SnapshotRepository } from "../../src/state/snapshot/repository.ts";
import { type StateBlobs, StateError, type StateStore } from "../../src/state/store.ts";
import { EngineTpm } from "../support/engine-tpm.ts";
import { type DiskImage, SimulatedDisk } from "../support/faulty-disk.ts";
import { type CommandResult, loadFrom, storeIn, usePlaces, wtpmState } from "../support/state-command.ts";
import { asLibtpms07 } from "../support/state-versions.ts";

const KEYS = { first: Buffer.alloc(32, 1), second: Buffer.alloc(16, 2), sealing: Buffer.alloc(32, 3) };

/** New format objects, as a process has them that starts. */
const FORMATS: Readonly<Record<string, () => StateFormat>> = {
  plain: () => plainFormat,
  "swtpm's key": () => encryptedFormat(new AesCbcKey(KEYS.first)),
  "another key of swtpm's": () => encryptedFormat(new AesCbcKey(KEYS.second)),
  "a sealing key": () => sealedFormat([fileProvider(KEYS.sealing, "key")]),
};
const CHANGES = [
  ["plain", "swtpm's key"],
  ["swtpm's key", "plain"],
  ["swtpm's key", "another key of swtpm's"],
  ["plain", "a sealing key"],
  ["a sealing key", "plain"],
  ["a sealing key", "swtpm's key"],
  ["plain", "plain"],
  ["swtpm's key", "swtpm's key"],
  ["a sealing key", "a sealing key"],
] as const;

const text = (blobs: StateBlobs): string =>
  [blobs.permanent, blobs.volatile].map((blob) => (blob ? toHex(blob) : "-")).join(" ");

describe("on a simulated disk", () => {
  const ROOT = "/tpm";
  const STORES: Readonly<Record<string, (fileSystem: SimulatedDisk, format: StateFormat) => StateStore>> = {
    "a directory": (fileSystem, format) => new DirStore(ROOT, { lock: false, fileSystem, format }),
    "a single file": (fileSystem, format) => new LinearStore(`${ROOT}/nvram`, { fileSystem, format }),
  };
  /** The permanent state comes out in another form, the volatile one does not. */
  const OLD: StateBlobs = { permanent: Buffer.alloc(3000, "old"), volatile: Buffer.alloc(2000, "volatile") };
  const NEW: StateBlobs = { ...OLD, permanent: Buffer.alloc(3100, "new") };

  describe.each(Object.entries(STORES))("in %s", (where, open) => {
    async function stored(change: readonly [string, string]): Promise<DiskImage> {
      const disk = new SimulatedDisk(ROOT);
      const keeper = new StateKeeper(open(disk, FORMATS[change[0]]!()));
      await keeper.open();
      await keeper.save(OLD);
      await keeper.close();
      return disk.image();
    }

    async function convert(disk: SimulatedDisk, [from, to]: readonly [string, string]): Promise<void> {
      const [before, after] = [FORMATS[from]!(), FORMATS[to]!()];
      const reading = eitherFormat(before, after);
      const keeper = new StateKeeper(open(disk, { ...after, decode: reading.decode.bind(reading) }));
      await keeper.open();
      await keeper.save({ permanent: NEW.permanent!.slice(), volatile: NEW.volatile!.slice() });
      await keeper.close();
    }

    /** What a process finds that starts with a format; the kind of the error when it does not start. */
    async function found(image: DiskImage, format: string): Promise<string> {
      try {
        const { blobs } = await open(new SimulatedDisk(ROOT, image), FORMATS[format]!()).load();
        return text(blobs);
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        return error.kind;
      }
    }

    test.each(CHANGES)("from %s to %s", async (...change) => {
      const before = await stored(change);
      const disk = new SimulatedDisk(ROOT, before);
      const images = new Map<string, DiskImage>();
      const note = (image: DiskImage) => {
        const key = [...image].map(([name, content]) => `${name} ${content.toString("base64")}`).join("\n");
        images.set(key, image);
      };
      const look = () => {
        note(disk.image());
        for (const image of disk.imagesAfterPowerLoss()) note(image);
      };
      disk.onCall = ({ part }) => {
        look();
        for (const share of part ? [0.3, 0.9] : []) {
          part!(share);
          look();
        }
      };
      await convert(disk, change);
      look();
      const seen = { old: 0, between: 0, new: 0 };
      for (const image of images.values()) {
        const [from, to] = [await found(image, change[0]), await found(image, change[1])];
        if (change[0] === change[1]) expect([text(OLD), text(NEW)]).toContain(from);
        else
          expect([`${text(OLD)}|encrypted`, `encrypted|${text(NEW)}`, "encrypted|encrypted"]).toContain(
            `${from}|${to}`,
          );
        seen[from === text(OLD) ? "old" : to === text(NEW) ? "new" : "between"]++;
        if (to === text(NEW)) continue;
        const again = new SimulatedDisk(ROOT, image);
        await convert(again, change);
        expect(await found(again.image(), change[1])).toBe(text(NEW));
      }
      expect(seen.old).toBeGreaterThan(2);
      expect(seen.new).toBeGreaterThan(0);
      // In a file nobody but a reader of both sees that the newest commit is not whole, and which one is.
      expect(seen.between > 0).toBe(where === "a single file" && change[0] !== change[1]);
    });
  });
});

describe("as a command", () => {
  const places = usePlaces();
  const suspended: { permanent: Uint8Array; volatile: Uint8Array } = {
    permanent: new Uint8Array(),
    volatile: new Uint8Array(),
  };
  const words: Record<string, string> = {};
  beforeAll(() => {
    Object.assign(suspended, new EngineTpm().save());
    for (const [name, key] of Object.entries(KEYS))
      fs.writeFileSync(path.join(path.dirname(places.passphrase), name), key.toString("hex"));
    const folder = path.dirname(places.passphrase);
    fs.writeFileSync(path.join(folder, "sealing"), KEYS.sealing);
    Object.assign(words, {
      "swtpm's key": `file=${folder}/first,format=hex,mode=aes-256-cbc`,
      "another key of swtpm's": `file=${folder}/second,format=hex,mode=aes-128-cbc`,
      "a sealing key": `provider=file,file=${folder}/sealing,slot=key`,
    });
  });
  afterEach(() => void vi.restoreAllMocks());

  const convert = (dir: string, from: string, to: string) => {
    const key = from === "plain" ? [] : ["--key", words[from]!];
    return wtpmState("convert", dir, ...key, ...(to === "plain" ? ["--decrypt"] : ["--to-key", words[to]!]));
  };

  test.each([CHANGES[0], CHANGES[2], CHANGES[4]])("from %s to %s, broken off and repeated", async (from, to) => {
    const stops = await atEveryStop(async (dir, broken) => {
      storeIn(dir, suspended, FORMATS[from]!());
      new SnapshotRepository(path.join(dir, "snapshots"), { format: FORMATS[from]!() }).create(
        { blobs: suspended, running: true },
        { name: "kept" },
      );
      const done = await broken(() => convert(dir, from, to));
      if (!done) expect(await convert(dir, from, to)).toMatchObject({ status: 0 });
      expect(loadFrom(dir, FORMATS[to]!())).toEqual(suspended);
      const { blobs } = new SnapshotRepository(path.join(dir, "snapshots"), { format: FORMATS[to]!() }).load("kept");
      expect(text(blobs)).toBe(text(suspended));
      return done;
    });
    expect(stops).toBeGreaterThan(20);
  });

  test("a state that takes the place of one with the same volatile part never lacks that", async () => {
    const old = { ...suspended, permanent: encodePermanent(asLibtpms07(decodePermanent(suspended.permanent))) };
    const other = places.fresh();
    storeIn(other, suspended);
    const archive = `${other}.tar`;
    await wtpmState("export", other, "--archive", archive);
    const stops = await atEveryStop(async (dir, broken) => {
      storeIn(dir, old);
      const done = await broken(() => wtpmState("import", dir, "--archive", archive, "--replace"));
      expect([text(suspended), ...(done ? [] : [text(old)])]).toContain(text(loadFrom(dir)));
      return done;
    });
    expect(stops).toBeGreaterThan(2);
  });

  /** Runs a trial with a new directory for each of the calls at which a command can stop, until it is done. @returns how many there were */
  async function atEveryStop(
    trial: (dir: string, broken: (command: () => Promise<CommandResult>) => Promise<boolean>) => Promise<boolean>,
  ): Promise<number> {
    for (let first = 0; ; first++) {
      const dir = places.fresh();
      const done = await trial(dir, async (command) => {
        const calls = failFrom(first);
        const { status } = await command();
        vi.restoreAllMocks();
        return status === 0 && calls() <= first;
      });
      fs.rmSync(dir, { recursive: true });
      if (done) return first;
    }
  }
});

/** Lets every call that changes files fail from the given one on. @returns what tells how many there were */
function failFrom(first: number): () => number {
  let calls = 0;
  const names = ["writeSync", "renameSync", "linkSync", "unlinkSync", "fsyncSync", "fdatasyncSync"] as const;
  for (const name of names) {
    const real = fs[name] as (...values: unknown[]) => unknown;
    vi.spyOn(fs, name).mockImplementation(((...values: unknown[]) => {
      if (calls++ >= first) throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
      return real(...values);
    }) as never);
  }
  return () => calls;
}
