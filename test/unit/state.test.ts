import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { lockFile } from "../../src/platform/file-lock.ts";
import { ContainerError, decodeMigrationBlob, encodeMigrationBlob, plainFormat } from "../../src/state/container.ts";
import { DirStore, listStates } from "../../src/state/dir-store.ts";
import { StateKeeper } from "../../src/state/keeper.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import type { DirectoryFileSystem } from "../../src/state/state-files.ts";
import { StateError, type StateErrorKind } from "../../src/state/store.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-state-"));
});
afterEach(() => {
  fs.chmodSync(dir, 0o700);
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

describe("swtpm's container", () => {
  test("a blob is one DATA field behind a version 2 header, generation and checksum", () => {
    const checksum = createHash("sha256").update(hex("00 0000000000000007 0001 00000002 aabb")).digest("hex");
    expect(plainFormat.encode("permanent", bytes(0xaa, 0xbb), 7)).toEqual(
      hex(`02 01 000a 0000 00000040 5754 00000028 0000000000000007 ${checksum} 0001 00000002 aabb`),
    );
    expect(plainFormat.decode("volatile", plainFormat.encode("volatile", bytes(1, 2, 3), 9))).toEqual({
      blob: bytes(1, 2, 3),
      generation: 9,
    });
  });

  test("a file of swtpm's has no generation", () => {
    expect(plainFormat.decode("permanent", hex("02 01 000a 0000 00000012 0001 00000002 aabb"))).toEqual({
      blob: bytes(0xaa, 0xbb),
      generation: undefined,
    });
  });

  test("every flipped bit of a file is noticed, and so is the file of another blob", () => {
    const whole = plainFormat.encode("permanent", hex("00112233445566778899"), 3);
    expect(kindOf(() => plainFormat.decode("volatile", whole))).toBe("damaged");
    for (let bit = 8 * 10; bit < 8 * whole.length; bit++) {
      const mutant = whole.slice();
      mutant[bit >> 3]! ^= 1 << (bit & 7);
      // Without its tag the field is one that another program wrote: nothing is left to check.
      if (bit >> 3 === 10 || bit >> 3 === 11) continue;
      expect(
        kindOf(() => plainFormat.decode("permanent", mutant)),
        `bit ${bit}`,
      ).not.toBe("no error");
    }
  });

  test("a migration blob wraps the fields once more", () => {
    expect(encodeMigrationBlob(bytes(0xaa))).toEqual(hex("02 01 000a 0004 00000017 0004 00000007 0001 00000001 aa"));
    expect(decodeMigrationBlob(encodeMigrationBlob(bytes(7, 8)))).toEqual(bytes(7, 8));
  });

  test("version 1 has no fields", () => {
    expect(plainFormat.decode("permanent", hex("01 01 000a 0000 0000000c cafe")).blob).toEqual(hex("cafe"));
    expect(decodeMigrationBlob(hex("01 01 000a 0000 0000000c cafe"))).toEqual(hex("cafe"));
  });

  test("a migration container without content removes the state", () => {
    expect(decodeMigrationBlob(hex("02 01 000a 0004 0000000a"))).toHaveLength(0);
  });

  test.each([
    ["nothing", "", "damaged", 0x03],
    ["less than a header", "02 01 000a", "damaged", 0x03],
    ["a wrong total size", "02 01 000a 0000 00000013 0001 00000002 aabb", "damaged", 0x03],
    ["a newer least version", "03 03 000a 0000 00000012 0001 00000002 aabb", "too-new", 0x2e],
    ["another header size", "02 01 000c 0000 00000012 0001 00000002 aabb", "damaged", 0x2b],
    ["the encrypted flag", "02 01 000a 0001 00000012 0002 00000002 aabb", "encrypted", 0x0d],
    ["an encrypted field without the flag", "02 01 000a 0000 00000012 0002 00000002 aabb", "encrypted", 0x0d],
    ["a field longer than the file", "02 01 000a 0000 00000012 0001 00000003 aabb", "damaged", 0x09],
    ["no field", "02 01 000a 0000 0000000a", "damaged", 0x09],
  ] as const)("a file with %s is refused", (_what, text, kind, result) => {
    const error = (() => {
      try {
        plainFormat.decode("permanent", hex(text));
      } catch (caught) {
        return caught;
      }
      return undefined;
    })();
    expect(error).toBeInstanceOf(ContainerError);
    expect(error).toMatchObject({ kind, result });
  });

  test("every truncation and every flipped header bit of a migration blob is an error or the same data", () => {
    const whole = encodeMigrationBlob(hex("00112233445566778899"));
    for (let size = 0; size < whole.length; size++)
      expect(() => decodeMigrationBlob(whole.subarray(0, size))).toThrow(ContainerError);
    for (let bit = 0; bit < 8 * (10 + 6 + 6); bit++) {
      const mutant = whole.slice();
      mutant[bit >> 3]! ^= 1 << (bit & 7);
      try {
        expect(decodeMigrationBlob(mutant).length).toBeLessThanOrEqual(whole.length);
      } catch (error) {
        expect(error).toBeInstanceOf(ContainerError);
      }
    }
  });
});

describe("DirStore", () => {
  const permall = () => path.join(dir, "tpm2-00.permall");

  test("an empty directory is generation 0 without blobs", () => {
    expect(new DirStore(dir).load()).toEqual({ number: 0, blobs: {} });
  });

  test("what was committed is in swtpm's files and is read again", () => {
    const store = new DirStore(dir);
    const fence = store.acquire();
    store.commit({ number: 1, blobs: { permanent: bytes(1), volatile: bytes(2) } }, fence);
    expect(new Uint8Array(fs.readFileSync(permall()))).toEqual(plainFormat.encode("permanent", bytes(1), 1));
    store.close();
    const again = new DirStore(dir).load();
    expect(again.number).toBe(1);
    expect(Buffer.from(again.blobs.permanent!)).toEqual(Buffer.from([1]));
    expect(Buffer.from(again.blobs.volatile!)).toEqual(Buffer.from([2]));
    expect(listStates(dir)).toEqual([
      { name: "permall", size: 63 },
      { name: "volatilestate", size: 63 },
    ]);
    expect(fs.readdirSync(dir).sort()).toEqual([".lock", "tpm2-00.permall", "tpm2-00.volatilestate"]);
  });

  test("TPM 1.2 has names of its own", () => {
    const store = new DirStore(dir, { family: "1.2", lock: false });
    store.commit({ number: 1, blobs: { permanent: bytes(1), savestate: bytes(3) } }, store.acquire());
    expect(fs.readdirSync(dir).sort()).toEqual(["tpm-00.permall", "tpm-00.savestate"]);
  });

  test("an unchanged blob is not written again and a missing one is removed", () => {
    const store = new DirStore(dir, { lock: false });
    const fence = store.acquire();
    const permanent = bytes(1);
    store.commit({ number: 1, blobs: { permanent, volatile: bytes(2) } }, fence);
    const inode = fs.statSync(permall()).ino;
    store.commit({ number: 2, blobs: { permanent } }, fence);
    expect(fs.statSync(permall()).ino).toBe(inode);
    expect(fs.existsSync(path.join(dir, "tpm2-00.volatilestate"))).toBe(false);
  });

  test("the mode is 0640 under the umask, or exactly what was asked for, on old files too", () => {
    const modeOf = () => fs.statSync(permall()).mode & 0o777;
    const umask = process.umask();
    const plain = new DirStore(dir, { lock: false });
    plain.commit({ number: 1, blobs: { permanent: bytes(1) } }, plain.acquire());
    expect(modeOf()).toBe(0o640 & ~umask);
    const open = new DirStore(dir, { lock: false, mode: 0o666 });
    open.load();
    expect(modeOf()).toBe(0o666);
    const fence = open.acquire();
    open.commit({ number: 2, blobs: { permanent: bytes(2) } }, fence);
    expect(modeOf()).toBe(0o666);
    fs.chmodSync(permall(), 0o400);
    new DirStore(dir, { lock: false }).load();
    expect(modeOf() & 0o200).toBe(0o200);
  });

  test("a symbolic link in place of a file that is to be written is not followed", () => {
    const victim = path.join(dir, "victim");
    fs.writeFileSync(victim, "unharmed");
    for (const name of ["TMP2-00.permall", "tpm2-00.permall.prev", "tpm2-00.permall.prev.tmp"])
      fs.symlinkSync(victim, path.join(dir, name));
    const backup = new DirStore(dir, { lock: false, backup: true });
    const first = { number: 1, blobs: { permanent: bytes(1) } };
    expect(kindOf(() => backup.commit(first, backup.acquire()))).toBe("io");
    const store = new DirStore(dir, { lock: false });
    const fence = store.acquire();
    store.commit(first, fence);
    store.commit({ number: 2, blobs: { permanent: bytes(2) } }, fence);
    expect(fs.readFileSync(victim, "utf8")).toBe("unharmed");
    expect(plainFormat.decode("permanent", fs.readFileSync(permall())).blob[0]).toBe(2);
  });

  describe.each([true, false])("writes over the generation before the last, fsync=%s:", (fsync) => {
    const previous = () => path.join(dir, "tpm2-00.permall.prev");
    const blobIn = (file: string) => [...plainFormat.decode("permanent", fs.readFileSync(file)).blob];
    const content = (number: number) => new Uint8Array(number % 3 === 0 ? 9000 : 200).fill(number);

    /** Stores generations up to a number, and looks at each. */
    function commitUpTo(store: DirStore, last: number, look: (number: number) => void = () => {}): void {
      const fence = store.acquire();
      for (let { number } = store.load(); number < last; ) {
        store.commit({ number: ++number, blobs: { permanent: content(number) } }, fence);
        expect(blobIn(permall())).toEqual([...content(number)]);
        look(number);
      }
    }

    test("with two files that take turns, of which one remains", () => {
      const store = new DirStore(dir, { lock: false, fsync });
      const inodes = new Set<number>();
      commitUpTo(store, 8, (number) => {
        inodes.add(fs.statSync(permall()).ino);
        if (number > 1) expect(blobIn(previous())).toEqual([...content(number - 1)]);
      });
      expect(inodes.size).toBe(2);
      store.close();
      expect(fs.readdirSync(dir)).toEqual(["tpm2-00.permall"]);
    });

    test("with the mode of new files, whatever the one that was found had", () => {
      const modeOf = (file: string) => fs.statSync(file).mode & 0o777;
      const before = process.umask(0o022);
      try {
        commitUpTo(new DirStore(dir, { lock: false, fsync }), 3);
        fs.chmodSync(permall(), 0o666);
        const modes: number[] = [];
        commitUpTo(new DirStore(dir, { lock: false, fsync }), 7, () => modes.push(modeOf(permall())));
        expect(modes).toEqual([0o640, 0o640, 0o640, 0o640]);
        expect(modeOf(previous())).toBe(0o640);
      } finally {
        process.umask(before);
      }
    });

    test("a copy made of hard links stays as it was", () => {
      const copy = (number: number) => path.join(dir, `copy-${number}`);
      const store = new DirStore(dir, { lock: false, fsync });
      commitUpTo(store, 7, (number) => fs.linkSync(permall(), copy(number)));
      for (let number = 1; number <= 7; number++) expect(blobIn(copy(number))).toEqual([...content(number)]);
    });

    test("what a killed process left is not relied on, and helps when the newest is damaged", () => {
      commitUpTo(new DirStore(dir, { lock: false, fsync }), 4);
      // Killed: nobody closes. Once more while the files have two names.
      fs.linkSync(permall(), `${previous()}.tmp`);
      commitUpTo(new DirStore(dir, { lock: false, fsync }), 6);
      expect(fs.existsSync(`${previous()}.tmp`)).toBe(false);
      fs.writeFileSync(permall(), "no state");
      const said: string[] = [];
      const store = new DirStore(dir, { lock: false, fsync, warn: (sentence) => said.push(sentence) });
      const found = store.load();
      expect([...found.blobs.permanent!]).toEqual([...content(5)]);
      expect(said).toEqual([expect.stringMatching(/permall\.prev is taken instead$/)]);
      // Not before it has a file of its own is the left-over removed.
      store.acquire();
      store.close();
      expect(blobIn(previous())).toEqual([...content(5)]);
      store.commit({ number: found.number + 1, blobs: { permanent: content(7) } }, store.acquire());
      store.close();
      expect(fs.readdirSync(dir).sort()).toEqual(["tpm2-00.permall", "tpm2-00.permall.damaged"]);
    });

    test("where there are no hard links a file is replaced by a new one", () => {
      const linkSync = () => {
        throw Object.assign(new Error("EPERM: operation not permitted"), { code: "EPERM" });
      };
      commitUpTo(new DirStore(dir, { lock: false, fsync, fileSystem: { ...fs, linkSync } }), 4);
      expect(fs.readdirSync(dir)).toEqual(["tpm2-00.permall"]);
    });

    test("who reads meanwhile finds a whole generation", () => {
      const writer = new DirStore(dir, { lock: false, fsync });
      commitUpTo(writer, 2);
      const fence = writer.acquire();
      let number = 2;
      // The file that a reader has opened is written over when it has read half of it.
      const readFileSync = (fd: number) => {
        const before = fs.readFileSync(fd);
        if (number >= 6) return before;
        for (const end = number + 2; number < end; )
          writer.commit({ number: ++number, blobs: { permanent: content(number) } }, fence);
        const after = fs.readFileSync(permall());
        return Buffer.concat([before.subarray(0, 60), after.subarray(60)]);
      };
      const reader = new DirStore(dir, { lock: false, fileSystem: { ...fs, readFileSync } as never });
      expect([...reader.load().blobs.permanent!]).toEqual([...content(6)]);
    });
  });

  test("writing needs the newest owner's number and the next generation", () => {
    const store = new DirStore(dir, { lock: false });
    const fence = store.acquire();
    expect(store.acquire()).toBe(fence);
    expect(kindOf(() => store.commit({ number: 2, blobs: {} }, fence))).toBe("conflict");
    store.release();
    expect(kindOf(() => store.commit({ number: 1, blobs: {} }, fence))).toBe("conflict");
    const second = store.acquire();
    expect(second).toBeGreaterThan(fence);
    expect(kindOf(() => store.commit({ number: 1, blobs: {} }, fence))).toBe("conflict");
    expect(kindOf(() => store.commit({ number: 1, blobs: {} }, second))).toBe("no error");
  });

  test("a state read without ownership cannot be overwritten after another wrote", () => {
    const first = new DirStore(dir);
    const second = new DirStore(dir);
    const fence = first.acquire();
    first.commit({ number: 1, blobs: { permanent: bytes(1) } }, fence);
    expect(second.load().number).toBe(1);
    first.commit({ number: 2, blobs: { permanent: bytes(2) } }, fence);
    first.release();
    const later = second.acquire();
    expect(kindOf(() => second.commit({ number: 2, blobs: { permanent: bytes(9) } }, later))).toBe("conflict");
    expect(Buffer.from(new DirStore(dir).load().blobs.permanent!)).toEqual(Buffer.from([2]));
    second.release();
  });

  test("a missing directory, a directory in place of a file, an empty and an encrypted file are told apart", () => {
    const missing = path.join(dir, "missing");
    expect(new DirStore(missing).load().blobs).toEqual({});
    expect(kindOf(() => new DirStore(missing).acquire())).toBe("io");
    fs.mkdirSync(permall());
    expect(kindOf(() => new DirStore(dir).load())).toBe("damaged");
    fs.rmdirSync(permall());
    fs.writeFileSync(permall(), "");
    expect(kindOf(() => new DirStore(dir).load())).toBe("damaged");
    fs.writeFileSync(permall(), hex("02 01 000a 0001 00000012 0002 00000002 aabb"));
    expect(() => new DirStore(dir).load()).toThrow(/tpm2-00\.permall: .*encrypted.*--key/);
  });

  describe("when the file system fails", () => {
    /** node:fs, except that the call whose number is `failAt` throws. */
    function failing(failAt: number): { fileSystem: DirectoryFileSystem; calls: () => number } {
      const state = { calls: 0 };
      const wrap = <T extends (...args: never[]) => unknown>(call: T): T =>
        ((...args: never[]) => {
          if (++state.calls === failAt)
            throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
          return call(...args);
        }) as T;
      const names = [
        "openSync",
        "fstatSync",
        "readFileSync",
        "readSync",
        "writeSync",
        "fchmodSync",
        "fsyncSync",
        "closeSync",
        "linkSync",
        "renameSync",
        "unlinkSync",
      ] as const;
      const facade = Object.fromEntries(names.map((name) => [name, wrap(fs[name] as (...args: never[]) => unknown)]));
      return { fileSystem: facade as unknown as DirectoryFileSystem, calls: () => state.calls };
    }

    test("at any call, the stored state is the old or the new one, and 'io' means the old one", () => {
      const old = new DirStore(dir, { lock: false });
      old.commit({ number: 1, blobs: { permanent: bytes(1) } }, old.acquire());
      const original = fs.readFileSync(permall());
      let outcomes = 0;
      for (let failAt = 1; ; failAt++) {
        fs.writeFileSync(permall(), original);
        const faulty = failing(failAt);
        const store = new DirStore(dir, { lock: false, fileSystem: faulty.fileSystem });
        let outcome: string;
        try {
          const loaded = store.load();
          const fence = store.acquire();
          outcome = kindOf(() => store.commit({ number: loaded.number + 1, blobs: { permanent: bytes(2) } }, fence));
        } catch (error) {
          outcome = error instanceof StateError ? error.kind : String(error);
        }
        if (faulty.calls() < failAt) break;
        outcomes++;
        const now = new DirStore(dir, { lock: false }).load().blobs.permanent![0];
        if (outcome === "io") expect(now, `call ${failAt}`).toBe(1);
        else if (outcome === "no error") expect(now, `call ${failAt}`).toBe(2);
        else expect([outcome, now], `call ${failAt}`).toEqual(["unknown", 2]);
      }
      expect(outcomes).toBeGreaterThan(8);
    });

    test.each([
      ["written", { permanent: bytes(5) }],
      ["removed", { volatile: undefined }],
    ] as const)("a commit of unknown outcome is repeated until it is known: what was %s", (_what, change) => {
      let failures = 0;
      let syncs = 0;
      const fileSystem: DirectoryFileSystem = {
        ...fs,
        // What is synced this way is the directory.
        fsyncSync(fd) {
          syncs++;
          if (failures-- > 0) throw new Error("EIO");
          fs.fsyncSync(fd);
        },
      };
      const keeper = new StateKeeper(new DirStore(dir, { lock: false, fileSystem }));
      keeper.open();
      keeper.save({ permanent: bytes(1), volatile: bytes(2) });
      [failures, syncs] = [2, 0];
      keeper.save(change);
      expect(failures).toBeLessThan(0);
      expect(syncs).toBeGreaterThan(2);
      const { permanent, volatile } = new DirStore(dir).load().blobs;
      expect(permanent?.[0]).toBe("permanent" in change ? 5 : 1);
      expect(volatile?.[0]).toBe("volatile" in change ? undefined : 2);
      keeper.save({ permanent: bytes(7) });
      expect(new DirStore(dir).load().blobs.permanent?.[0]).toBe(7);
    });
  });
});

describe("the lock", () => {
  test("is exclusive between stores and free again after release", () => {
    const first = new DirStore(dir);
    const second = new DirStore(dir);
    first.acquire();
    expect(kindOf(() => second.acquire())).toBe("locked");
    first.release();
    expect(kindOf(() => second.acquire())).toBe("no error");
    second.close();
  });

  test("is exclusive without any helper program too", () => {
    const file = path.join(dir, ".lock");
    const first = lockFile(file, { helpers: [], sqlite: false });
    expect(first?.foreignSafe).toBe(false);
    expect(lockFile(file, { helpers: [], sqlite: false })).toBeUndefined();
    first?.release();
    const again = lockFile(file, { helpers: [], sqlite: false });
    expect(again).toBeDefined();
    again?.release();
  });

  test("is exclusive by SQLite where the runtime has it, and seen by those who look", () => {
    const file = path.join(dir, ".lock");
    const first = lockFile(file, { helpers: [] });
    const hasSqlite =
      (process as { getBuiltinModule?: (name: string) => unknown }).getBuiltinModule?.("node:sqlite") !== undefined;
    expect(first?.foreignSafe).toBe(hasSqlite);
    // A lock of the last resort is seen by those only who have no better means either.
    if (hasSqlite) expect(lockFile(file)).toBeUndefined();
    expect(lockFile(file, { helpers: [] })).toBeUndefined();
    expect(lockFile(file, { helpers: [], sqlite: false })).toBeUndefined();
    expect(fs.readdirSync(dir)).toEqual([".lock"]);
    first?.release();
    const again = lockFile(file, { helpers: [] });
    expect(again).toBeDefined();
    again?.release();
  });

  test("without a helper a lock that a helper took is seen", () => {
    const file = path.join(dir, ".lock");
    const first = lockFile(file);
    expect(first?.foreignSafe).toBe(true);
    expect(lockFile(file, { helpers: [], sqlite: false })).toBeUndefined();
    first?.release();
  });

  test("honours a record lock of a foreign process, which ends with that process", async () => {
    const holder = spawn(
      "perl",
      [
        "-e",
        'open(my $f,"+>",$ARGV[0]) or die; my $l=pack("s s x4 q q l x4",1,0,0,0,0); fcntl($f,6,$l) or die; $|=1; print "held"; sleep 600',
        path.join(dir, ".lock"),
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    await new Promise((resolve, reject) => {
      holder.stdout.once("data", resolve);
      holder.once("exit", (code) => reject(new Error(`the lock holder ended: ${code}`)));
    });
    const store = new DirStore(dir);
    expect(kindOf(() => store.acquire())).toBe("locked");
    const ended = new Promise((resolve) => holder.once("exit", resolve));
    holder.kill("SIGKILL");
    await ended;
    expect(kindOf(() => store.acquire())).toBe("no error");
    store.close();
  });
});

describe("StateKeeper", () => {
  test("saves count generations up and keep what they do not name", () => {
    const store = new MemoryStore();
    const keeper = new StateKeeper(store);
    expect(keeper.open()).toEqual({});
    keeper.save({ permanent: bytes(1) });
    keeper.save({ volatile: bytes(2) });
    expect(store.load()).toEqual({ number: 2, blobs: { permanent: bytes(1), volatile: bytes(2) } });
    keeper.save({ volatile: undefined });
    expect(store.load()).toEqual({ number: 3, blobs: { permanent: bytes(1) } });
    expect(keeper.blobs).toEqual({ permanent: bytes(1) });
  });

  test("nothing is saved without the lock", () => {
    const keeper = new StateKeeper(new MemoryStore({ permanent: bytes(1) }));
    expect(keeper.open({ deferLock: true })).toEqual({ permanent: bytes(1) });
    expect(keeper.locked).toBe(false);
    expect(kindOf(() => keeper.save({ permanent: bytes(2) }))).toBe("conflict");
    keeper.lock(0);
    keeper.save({ permanent: bytes(2) });
    expect(keeper.blobs).toEqual({ permanent: bytes(2) });
  });

  test("a lock that another holds is tried again as often as asked", async () => {
    const other = new DirStore(dir);
    other.acquire();
    const keeper = new StateKeeper(new DirStore(dir));
    expect(kindOf(() => keeper.lock(0))).toBe("locked");
    const waiting = keeper.lock(1000);
    expect(waiting).toBeInstanceOf(Promise);
    other.release();
    await waiting;
    expect(keeper.locked).toBe(true);
    keeper.close();
  });
});
