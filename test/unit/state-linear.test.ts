import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { encryptedFormat, plainFormat } from "../../src/state/container.ts";
import { AesCbcKey } from "../../src/state/encryption/aes-cbc.ts";
import {
  BLOCK_SIZE,
  EMPTY_HEADER,
  encodeHeader,
  HEADER_SIZE,
  parseHeader,
  type Sections,
} from "../../src/state/linear-layout.ts";
import { type LinearFileSystem, listLinearStates } from "../../src/state/linear-file.ts";
import { LinearStore } from "../../src/state/linear-store.ts";
import { type Generation, StateError, type StateErrorKind } from "../../src/state/store.ts";
import { swtpmContainer, swtpmLinearStore } from "../support/faulty-swtpm.ts";
import { Seeded } from "../support/seeded.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);
const random = (seed: string, size: number) => new Seeded(seed).bytes(size);

let dir: string;
let file: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-linear-"));
  file = path.join(dir, "nvram");
});
afterEach(() => {
  vi.useRealTimers();
  fs.rmSync(dir, { recursive: true, force: true });
});

function kindOf(action: () => unknown): StateErrorKind | "no error" {
  try {
    action();
  } catch (error) {
    if (error instanceof StateError) return error.kind;
    throw error;
  }
  return "no error";
}

const sectionsOf = (image: Uint8Array): Sections => parseHeader(image.subarray(0, HEADER_SIZE))!;

describe("a linear store", () => {
  test("is formatted when it is first owned, and says so as swtpm does", () => {
    const said: string[] = [];
    const store = new LinearStore(file, { inform: (sentence) => said.push(sentence) });
    expect(store.load()).toEqual({ number: 0, blobs: {} });
    expect(fs.existsSync(file)).toBe(false);
    store.acquire();
    expect(new Uint8Array(fs.readFileSync(file))).toEqual(EMPTY_HEADER);
    expect(said).toEqual([`Formatting 'file://${file}' as new linear NVRAM store`]);
    store.close();
    new LinearStore(file, { inform: (sentence) => said.push(sentence) }).acquire();
    expect(said).toHaveLength(1);
  });

  test("has swtpm's header, sections without gaps, and containers as in a directory", () => {
    const store = new LinearStore(file);
    const fence = store.acquire();
    store.commit({ number: 1, blobs: { permanent: random("p", 1000), volatile: random("v", 100) } }, fence);
    store.close();
    const image = fs.readFileSync(file);
    const { permanent, volatile, savestate } = sectionsOf(image);
    expect(permanent).toEqual({ offset: 512 + 512, size: 1062, room: 2048 });
    expect(volatile).toEqual({ offset: 512 + 512 + 2048, size: 162, room: 256 });
    expect(savestate).toBeUndefined();
    expect(image).toHaveLength(512 + 512 + 2048 + 256);
    const container = image.subarray(512 + 512, 512 + 512 + 1062);
    expect(plainFormat.decode("permanent", container)).toMatchObject({ generation: 1 });
    expect(listLinearStates(file)).toEqual([
      { name: "permall", size: 1062 },
      { name: "volatilestate", size: 162 },
    ]);
  });

  test("a commit goes where nothing live is, and the file grows to twice a state and no further", () => {
    const store = new LinearStore(file);
    const fence = store.acquire();
    const offsets = new Set<number>();
    for (let number = 1; number <= 20; number++) {
      store.commit({ number, blobs: { permanent: random(`${number}`, 3000) } }, fence);
      offsets.add(sectionsOf(fs.readFileSync(file)).permanent!.offset);
    }
    expect(offsets).toEqual(new Set([1024, 5632]));
    expect(fs.statSync(file).size).toBe(5632 + 4096);
    expect(Buffer.from(new LinearStore(file).load().blobs.permanent!)).toEqual(Buffer.from(random("20", 3000)));
  });

  test("states of all sizes come back, whatever was there before", () => {
    const store = new LinearStore(file);
    const fence = store.acquire();
    const seeded = new Seeded("sizes");
    for (let number = 1; number <= 200; number++) {
      const blobs = {
        permanent: seeded.bytes(1 + seeded.below(20_000)),
        ...(seeded.below(3) === 0 ? { volatile: seeded.bytes(1 + seeded.below(9000)) } : {}),
      };
      store.commit({ number, blobs }, fence);
      const again = new LinearStore(file).load();
      expect(again.number).toBe(number);
      expect(Buffer.from(again.blobs.permanent!).equals(blobs.permanent)).toBe(true);
      expect(Object.keys(again.blobs)).toEqual(Object.keys(blobs));
    }
  });

  test("the memory of earlier commits, used again, leaves nothing in later ones", () => {
    const seeded = new Seeded("memory");
    const store = new LinearStore(file);
    const fence = store.acquire();
    store.load();
    for (let number = 1; number <= 60; number++) {
      // Few sizes, so that regions are as long as others which are divided in another way.
      const [first, second] = [[300, 40], [40, 300], [300], [552]][seeded.below(4)]!;
      const blobs = {
        permanent: seeded.bytes(first!),
        ...(second ? { volatile: seeded.bytes(second) } : {}),
      };
      store.commit({ number, blobs }, fence);
      const fresh = new LinearStore(`${file}.fresh`);
      const owner = fresh.acquire();
      fresh.load();
      fresh.commit({ number, blobs }, owner);
      fresh.close();
      expect(fs.readFileSync(file).equals(fs.readFileSync(`${file}.fresh`))).toBe(true);
    }
  });

  test("a packed store of swtpm's is taken over, and moved out of the way of the header", () => {
    fs.writeFileSync(file, swtpmLinearStore({ permanent: random("p", 1300), volatile: random("v", 9000) }));
    const store = new LinearStore(file);
    const found = store.load();
    expect(Buffer.from(found.blobs.permanent!)).toEqual(Buffer.from(random("p", 1300)));
    expect(Buffer.from(found.blobs.volatile!)).toEqual(Buffer.from(random("v", 9000)));
    const fence = store.acquire();
    store.commit({ number: found.number + 1, blobs: { ...found.blobs, permanent: random("q", 1300) } }, fence);
    expect(sectionsOf(fs.readFileSync(file)).permanent!.offset).toBe(18944 + 512);
    const again = new LinearStore(file).load();
    expect(Buffer.from(again.blobs.permanent!)).toEqual(Buffer.from(random("q", 1300)));
    expect(Buffer.from(again.blobs.volatile!)).toEqual(Buffer.from(random("v", 9000)));
  });

  test("what swtpm writes in place, or moves, counts", () => {
    const store = new LinearStore(file);
    store.commit({ number: 1, blobs: { permanent: random("p", 1300), volatile: random("v", 50) } }, store.acquire());
    store.close();
    const image = fs.readFileSync(file);
    const { permanent, volatile } = sectionsOf(image);
    const container = swtpmContainer(random("in place", permanent!.size - 16));
    container.copy(image, permanent!.offset);
    fs.writeFileSync(file, image);
    const inPlace = new LinearStore(file).load();
    expect(Buffer.from(inPlace.blobs.permanent!)).toEqual(Buffer.from(random("in place", permanent!.size - 16)));
    expect(inPlace.number).toBeGreaterThan(1);

    // A permanent state that outgrew its section: the volatile one moves down, the permanent one to the end.
    const grown = swtpmContainer(random("grown", 3000));
    const end = permanent!.offset + volatile!.room;
    const moved = Buffer.alloc(end + 4096);
    image.copy(moved, 0, 0, permanent!.offset);
    image.copy(moved, permanent!.offset, volatile!.offset, volatile!.offset + volatile!.room);
    grown.copy(moved, end);
    const sections = {
      permanent: { offset: end, size: grown.length, room: 4096 },
      volatile: { ...volatile!, offset: permanent!.offset },
    };
    moved.set(encodeHeader(sections));
    fs.writeFileSync(file, moved);
    const after = new LinearStore(file);
    expect(Buffer.from(after.load().blobs.permanent!)).toEqual(Buffer.from(random("grown", 3000)));
    expect(Buffer.from(after.load().blobs.volatile!)).toEqual(Buffer.from(random("v", 50)));
  });

  test("a header written in part is completed, wherever the write ended", () => {
    const store = new LinearStore(file);
    const fence = store.acquire();
    store.commit({ number: 1, blobs: { permanent: bytes(1) } }, fence);
    const before = fs.readFileSync(file).subarray(0, BLOCK_SIZE);
    store.commit({ number: 2, blobs: { permanent: random("2", 700), volatile: bytes(3) } }, fence);
    store.close();
    const image = fs.readFileSync(file);
    const seen = new Set<number>();
    for (let written = 0; written <= BLOCK_SIZE; written++) {
      const torn = Buffer.from(image);
      before.copy(torn, written, written);
      fs.writeFileSync(file, torn);
      const { blobs } = new LinearStore(file).load();
      seen.add(blobs.permanent!.length);
      expect([1, 700]).toContain(blobs.permanent!.length);
      expect(blobs.volatile !== undefined).toBe(blobs.permanent!.length === 700);
    }
    expect(seen.size).toBe(2);
  });

  test("a commit of which only the header reached the disk gives way to the one before", () => {
    const store = new LinearStore(file);
    const fence = store.acquire();
    // The third goes where the first was, with sections of the same sizes: they look as if they were its own.
    for (const number of [1, 2, 3]) {
      if (number === 3) fs.copyFileSync(file, `${file}.before`);
      store.commit({ number, blobs: { permanent: bytes(number), volatile: bytes(number) } }, fence);
    }
    store.close();
    const image = fs.readFileSync(`${file}.before`);
    fs.readFileSync(file).copy(image, 0, 0, BLOCK_SIZE);
    fs.writeFileSync(file, image);
    const said: string[] = [];
    const { blobs } = new LinearStore(file, { warn: (sentence) => said.push(sentence) }).load();
    expect([blobs.permanent![0], blobs.volatile![0]]).toEqual([2, 2]);
    expect(said[0]).toMatch(/did not reach the disk as a whole; generation 2 is taken instead/);
  });

  test("when the live states are damaged the generation before is taken, and that is said", () => {
    const store = new LinearStore(file);
    const fence = store.acquire();
    store.commit({ number: 1, blobs: { permanent: bytes(1) } }, fence);
    store.commit({ number: 2, blobs: { permanent: bytes(2) } }, fence);
    store.close();
    const image = fs.readFileSync(file);
    image[sectionsOf(image).permanent!.offset + 50]! ^= 1;
    fs.writeFileSync(file, image);
    const said: string[] = [];
    const damaged = new LinearStore(file, { warn: (sentence) => said.push(sentence) });
    const found = damaged.load();
    expect([...found.blobs.permanent!]).toEqual([1]);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/nvram.*checksum.*; generation 1 is taken instead/);
    damaged.commit({ number: found.number + 1, blobs: { permanent: bytes(3) } }, damaged.acquire());
    damaged.close();
    expect([...new LinearStore(file).load().blobs.permanent!]).toEqual([3]);
  });

  test("a newest commit that is not whole gives way with a key, too, which cannot tell damage from another key", () => {
    const open = (key: number) =>
      new LinearStore(file, { format: encryptedFormat(new AesCbcKey(Buffer.alloc(32, key))) });
    const store = open(1);
    const fence = store.acquire();
    store.load();
    for (const number of [1, 2, 3]) store.commit({ number, blobs: { permanent: random(`${number}`, 3000) } }, fence);
    store.close();
    const image = fs.readFileSync(file);
    const { offset, size } = sectionsOf(image).permanent!;
    for (let sector = offset - (offset % BLOCK_SIZE); sector < offset + size; sector += BLOCK_SIZE) {
      const torn = Buffer.from(image);
      torn.fill(0, sector, sector + BLOCK_SIZE);
      fs.writeFileSync(file, torn);
      expect(Buffer.from(open(1).load().blobs.permanent!).equals(random("2", 3000)), `sector at ${sector}`).toBe(true);
      expect(kindOf(() => open(2).load())).toBe("encrypted");
    }
    fs.writeFileSync(file, image);
    expect(Buffer.from(open(1).load().blobs.permanent!).equals(random("3", 3000))).toBe(true);
    expect(kindOf(() => open(2).load())).toBe("encrypted");
  });

  test("a header that was wiped is recovered from its copy", () => {
    const store = new LinearStore(file);
    store.commit({ number: 1, blobs: { permanent: bytes(1) } }, store.acquire());
    store.close();
    const image = fs.readFileSync(file);
    fs.writeFileSync(file, image.fill(0, 0, HEADER_SIZE));
    const again = new LinearStore(file);
    again.acquire();
    expect([...again.load().blobs.permanent!]).toEqual([1]);
  });

  test.each([
    ["something else", () => Buffer.from("#!/bin/sh\necho not a TPM\n".repeat(100)), "damaged"],
    [
      "a section beyond the end",
      () => swtpmLinearStore({ permanent: bytes(1) }).subarray(0, HEADER_SIZE + 3),
      "damaged",
    ],
    ["a newer version", () => Buffer.from(swtpmLinearStore({}).fill(2, 8, 9)), "too-new"],
  ] as const)("%s is refused and left as it is", (_what, image, kind) => {
    const content = image();
    fs.writeFileSync(file, content);
    const store = new LinearStore(file);
    expect(kindOf(() => store.load())).toBe(kind);
    store.acquire();
    expect(kindOf(() => store.load())).toBe(kind);
    store.close();
    expect(fs.readFileSync(file).equals(content)).toBe(true);
  });

  test("a second TPM in the store is refused", () => {
    const image = swtpmLinearStore({ permanent: bytes(1) });
    image.writeUInt32LE(HEADER_SIZE + 1024, 12 + 3 * 12);
    fs.writeFileSync(file, image);
    expect(() => new LinearStore(file).load()).toThrow(/more states than those of one TPM/);
  });

  test("a link is not followed, the mode is the one asked for, and a missing folder is an error", () => {
    const victim = path.join(dir, "victim");
    fs.writeFileSync(victim, "");
    fs.symlinkSync(victim, file);
    expect(kindOf(() => new LinearStore(file).acquire())).toBe("io");
    fs.unlinkSync(file);
    new LinearStore(file, { mode: 0o604 }).acquire();
    expect(fs.statSync(file).mode & 0o777).toBe(0o604);
    expect(kindOf(() => new LinearStore(path.join(dir, "missing/nvram")).acquire())).toBe("io");
  });

  test("without a lock another writer is noticed before anything of its is overwritten", () => {
    const first = new LinearStore(file);
    const fence = first.acquire();
    first.commit({ number: 1, blobs: { permanent: bytes(1) } }, fence);
    const second = new LinearStore(file);
    const later = second.acquire();
    second.load();
    second.commit({ number: 2, blobs: { permanent: bytes(2) } }, later);
    expect(kindOf(() => first.commit({ number: 2, blobs: { permanent: bytes(9) } }, fence))).toBe("conflict");
    expect([...new LinearStore(file).load().blobs.permanent!]).toEqual([2]);
  });

  test("a file that was deleted or replaced takes no commit any more, within a second", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const store = new LinearStore(file, { lock: true });
    const fence = store.acquire();
    store.commit({ number: 1, blobs: { permanent: bytes(1) } }, fence);
    fs.copyFileSync(file, `${file}.copy`);
    fs.renameSync(`${file}.copy`, file);
    vi.advanceTimersByTime(1000);
    expect(() => store.commit({ number: 2, blobs: { permanent: bytes(2) } }, fence)).toThrow(/was deleted/);
    store.close();
  });

  test("with a lock a second owner is kept out", () => {
    const first = new LinearStore(file, { lock: true });
    first.acquire();
    expect(kindOf(() => new LinearStore(file, { lock: true }).acquire())).toBe("locked");
    first.close();
    const second = new LinearStore(file, { lock: true });
    expect(kindOf(() => second.acquire())).toBe("no error");
    second.close();
  });

  test.each([
    ["first", 0],
    ["fourth", 3],
  ])("a commit of unknown outcome, the %s, is repeated byte for byte, or followed by another", (_which, before) => {
    let [noSync, noWrite] = [false, false];
    const found = Buffer.alloc(BLOCK_SIZE);
    const fileSystem: LinearFileSystem = {
      ...fs,
      writeSync: ((fd: number, from: Uint8Array, at: number, length: number, offset: number) => {
        if (noWrite) throw new Error("EIO");
        return fs.writeSync(fd, from, at, length, offset);
      }) as LinearFileSystem["writeSync"],
      fdatasyncSync(fd) {
        // The first of all commits syncs its region before it writes the header.
        if (noSync && !fs.readFileSync(file).subarray(0, BLOCK_SIZE).equals(found)) throw new Error("EIO");
        fs.fdatasyncSync(fd);
      },
    };
    const store = new LinearStore(file, { fileSystem });
    const fence = store.acquire();
    const of = (number: number, byte: number) => ({ number, blobs: { permanent: bytes(byte) } });
    const commitUnsynced = (next: Generation) => {
      fs.readFileSync(file).copy(found);
      noSync = true;
      expect(kindOf(() => store.commit(next, fence))).toBe("unknown");
      noSync = false;
    };
    const stored = () => [...new LinearStore(file).load().blobs.permanent!];
    for (let number = 1; number <= before; number++) store.commit(of(number, 0), fence);

    const next = of(before + 1, 1);
    commitUnsynced(next);
    const once = fs.readFileSync(file);
    store.commit(next, fence);
    expect(fs.readFileSync(file).equals(once)).toBe(true);

    commitUnsynced(of(before + 2, 2));
    store.commit(of(before + 2, 3), fence);
    expect(stored()).toEqual([3]);

    const last = of(before + 3, 4);
    commitUnsynced(last);
    noWrite = true;
    expect(kindOf(() => store.commit(of(before + 3, 5), fence))).toBe("unknown");
    noWrite = false;
    store.commit(last, fence);
    expect(stored()).toEqual([4]);
  });
});

describe("a block device", () => {
  /** A file that says it is a block device of its size: nothing is written behind its end. */
  function device(size: number): LinearFileSystem {
    fs.writeFileSync(file, Buffer.alloc(size));
    const asDevice = (stat: fs.Stats) =>
      Object.assign(stat, { size: 0, isFile: () => false, isBlockDevice: () => true });
    return {
      ...fs,
      statSync: ((name: string) => asDevice(fs.statSync(name))) as LinearFileSystem["statSync"],
      fstatSync: ((fd: number) => asDevice(fs.fstatSync(fd))) as LinearFileSystem["fstatSync"],
      ftruncateSync: () => {
        throw new Error("EINVAL: a device has no length to set");
      },
    };
  }

  test("keeps its size, and says when a state does not fit beside the old one", () => {
    const fileSystem = device(20 * 1024);
    const store = new LinearStore(file, { fileSystem });
    const fence = store.acquire();
    for (let number = 1; number <= 5; number++)
      store.commit({ number, blobs: { permanent: random(`${number}`, 3000) } }, fence);
    expect(() => store.commit({ number: 6, blobs: { permanent: random("6", 9000) } }, fence)).toThrow(/no room/);
    store.commit({ number: 6, blobs: { permanent: random("small", 3000) } }, fence);
    store.close();
    expect(fs.statSync(file).size).toBe(20 * 1024);
    const again = new LinearStore(file, { fileSystem }).load();
    expect(Buffer.from(again.blobs.permanent!)).toEqual(Buffer.from(random("small", 3000)));
  });
});
