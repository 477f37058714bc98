// The repository of snapshots: what it keeps, what it gives back, and what damage does.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { plainFormat } from "../../src/state/container.ts";
import type { StateFormat } from "../../src/state/format.ts";
import { SnapshotError, type SnapshotErrorKind } from "../../src/state/snapshot/record.ts";
import { SnapshotRepository } from "../../src/state/snapshot/repository.ts";
import { StateError, type StateErrorKind } from "../../src/state/store.ts";
import { Disk } from "../support/snapshot-disk.ts";
import {
  capture,
  FOLDER,
  repositoryOn,
  restore,
  shape,
  stateOf,
  text,
  textOf,
} from "../support/snapshot-repository.ts";

function kindOf(work: () => unknown): SnapshotErrorKind | StateErrorKind | "no error" {
  try {
    work();
  } catch (error) {
    if (error instanceof SnapshotError || error instanceof StateError) return error.kind;
    throw error;
  }
  return "no error";
}

describe("a repository", () => {
  let disk: Disk;
  let repository: SnapshotRepository;
  beforeEach(() => {
    disk = new Disk("/state");
    repository = repositoryOn(disk);
  });

  test("has no snapshots and no files before the first", () => {
    expect(repository.index()).toBeUndefined();
    expect(kindOf(() => repository.load("a"))).toBe("not-found");
    expect(kindOf(() => repository.delete("a"))).toBe("not-found");
    expect(disk.usage("/state")).toEqual({ files: 0, bytes: 0 });
  });

  test("gives back what it was given", () => {
    const snapshot = repository.create(capture("p", "v"), { name: "a", description: "with a word" });
    expect(snapshot).toMatchObject({
      name: "a",
      description: "with a word",
      created: "1970-01-01T00:00:00Z",
      family: "2.0",
      running: true,
      automatic: false,
      version: "1.2.3",
    });
    expect(textOf(repository.load("a").blobs)).toEqual(["p", "v"]);
    expect(repositoryOn(disk).index()?.snapshots).toEqual([snapshot]);
  });

  test("equal states are stored once, and leave with the last that names them", () => {
    const objects = `${FOLDER}/objects`;
    repository.create(capture("same"), { name: "a" });
    const once = disk.usage(objects);
    expect(once.files).toBe(1);
    for (const name of ["b", "c", "d"]) repository.create(capture("same"), { name });
    expect(disk.usage(objects)).toEqual(once);
    repository.create(capture("same", "and more"), { name: "e" });
    expect(disk.usage(objects).files).toBe(2);
    for (const name of ["a", "b", "c", "e"]) repository.delete(name);
    expect(disk.usage(objects)).toEqual(once);
    repository.delete("d");
    expect(disk.usage(objects)).toEqual({ files: 0, bytes: 0 });
  });

  test("a snapshot's parent is the one last made or restored", () => {
    repository.create(capture("1"), { name: "a" });
    repository.create(capture("2"), { name: "b" });
    restore(repository, "a");
    repository.create(capture("3"), { name: "c" });
    expect(shape(repository.index())).toEqual({ head: "c", snapshots: [">a", "a>b", "a>c"] });
  });

  test("children of a deleted snapshot come from its parent, and so does the state", () => {
    for (const name of ["a", "b", "c"]) repository.create(capture(name), { name });
    restore(repository, "b");
    expect(repository.delete("b")).toEqual(["b"]);
    expect(shape(repository.index())).toEqual({ head: "a", snapshots: [">a", "a>c"] });
    expect(repository.delete("a")).toEqual(["a"]);
    expect(shape(repository.index())).toEqual({ head: undefined, snapshots: [">c"] });
    expect(textOf(repository.load("c").blobs)).toEqual(["c", undefined]);
  });

  test("or leave with it", () => {
    for (const name of ["a", "b", "c", "d"]) repository.create(capture(name), { name });
    restore(repository, "a");
    repository.create(capture("e"), { name: "e" });
    restore(repository, "c");
    expect(repository.delete("b", { descendants: true })).toEqual(["b", "c", "d"]);
    expect(shape(repository.index())).toEqual({ head: "a", snapshots: [">a", "a>e"] });
    expect(disk.usage(`${FOLDER}/objects`).files).toBe(2);
  });

  test("what a restore replaces is kept, once", () => {
    repository.create(capture("1"), { name: "a" });
    expect(restore(repository, "a", stateOf("2"))).toBe("auto-19700101-000000");
    expect(shape(repository.index())).toEqual({ head: "a", snapshots: [">a", "a>auto-19700101-000000"] });
    expect(repository.index()?.snapshots[1]).toMatchObject({ automatic: true, description: "before the restore of a" });
    expect(restore(repository, "a", stateOf("2"))).toBe("auto-19700101-000000");
    expect(restore(repository, "auto-19700101-000000", stateOf("1"))).toBe("a");
    expect(restore(repository, "a", stateOf("3"))).toBe("auto-19700101-000000-2");
    expect(restore(repository, "a")).toBeUndefined();
    expect(repository.index()?.snapshots).toHaveLength(3);
  });

  test("undo snapshots are forgotten together, but for the newest and the one that the state comes from", () => {
    repository.create(capture("0"), { name: "mine" });
    const undo = ["1", "2", "3", "4"].map((state) => restore(repository, "mine", stateOf(state))!);
    restore(repository, undo[1]!);
    repository.create(capture("5"), { name: "child" });
    restore(repository, undo[2]!);
    expect(repository.prune(4)).toEqual([]);
    expect(repository.prune(2)).toEqual([undo[0]]);
    expect(repository.prune()).toEqual([undo[1], undo[3]]);
    expect(shape(repository.index())).toEqual({ head: undo[2], snapshots: [">mine", `mine>${undo[2]}`, "mine>child"] });
    expect(disk.usage(`${FOLDER}/objects`).files).toBe(3);
    expect(repository.prune()).toEqual([]);
    restore(repository, "mine");
    expect(repository.prune()).toEqual([undo[2]]);
  });

  test("where there was never a snapshot there is none to forget", () => {
    expect(repository.prune()).toEqual([]);
    expect(disk.usage("/state")).toEqual({ files: 0, bytes: 0 });
  });

  test("a restore that broke off counts if the state says so", () => {
    for (const name of ["a", "b"]) repository.create(capture(name), { name });
    repository.beginRestore("a");
    expect(repository.index()?.restoring).toBe("a");
    repository.settle(stateOf("b"));
    expect(repository.index()).not.toHaveProperty("restoring");
    expect(repository.index()?.head).toBe("b");
    repository.beginRestore("a");
    repository.settle(stateOf("a"));
    expect(repository.index()?.head).toBe("a");
    repository.beginRestore("b");
    repository.settle({});
    expect(repository.index()?.head).toBe("a");
  });

  test("a volatile state is for one start only if a restore stored it", () => {
    const { objects } = repository.create(capture("p", "v"), { name: "a" });
    expect(repository.resumes(stateOf("p", "v"))).toBe(false);
    repository.beginRestore("a", { resume: objects.volatile });
    repository.settle(stateOf("p", "v"));
    expect(repository.resumes(stateOf("p", "v"))).toBe(true);
    expect(repository.resumes(stateOf("p", "another"))).toBe(false);
    expect(repository.resumes(stateOf("p"))).toBe(false);
    restore(repository, "a");
    expect(repository.resumes(stateOf("p", "v"))).toBe(false);
  });

  test("names are made of the time, and never taken twice", () => {
    const names = [1, 2, 3].map((n) => repository.create(capture(`${n}`)).name);
    expect(names).toEqual(["19700101-000000", "19700101-000000-2", "19700101-000000-3"]);
    expect(kindOf(() => repository.create(capture("x"), { name: names[0]! }))).toBe("exists");
  });

  test.each(["", ".", "..", "-x", "a/b", "a\\b", "a b", "a\n", "é", "\0", "x".repeat(101)])("%j is no name", (name) => {
    expect(kindOf(() => repository.create(capture("p"), { name }))).toBe("bad-name");
    expect(disk.usage("/state").files).toBe(0);
  });

  test.each(["a", "_", "A.b:c+d-e", "9", "constructor", "__proto__", "x".repeat(100)])("%j is a name", (name) => {
    repository.create(capture("p"), { name });
    expect(repository.load(name).snapshot.name).toBe(name);
    expect(disk.usage(FOLDER).files).toBe(1);
  });

  test("a description has no control characters and an end", () => {
    for (const description of ["a\u001b[2J", "a\nb", "x".repeat(1001)])
      expect(kindOf(() => repository.create(capture("p"), { description }))).toBe("bad-name");
    repository.create(capture("p"), { description: "é ✓ \"'" });
  });

  test("there is nothing to keep of a TPM without a state", () => {
    expect(kindOf(() => repository.create({ blobs: {}, running: false }))).toBe("unsuitable");
    repository.create(capture("p"), { name: "a" });
    expect(repository.beginRestore("a", { keep: { blobs: {}, running: false } })).toBeUndefined();
  });
});

describe("damage", () => {
  let disk: Disk;
  let repository: SnapshotRepository;
  const indexFile = `${FOLDER}/index.json`;
  beforeEach(() => {
    disk = new Disk("/state");
    repository = repositoryOn(disk);
    repository.create(capture("one state"), { name: "a", description: "d" });
    repository.create(capture("another state"), { name: "b" });
  });

  test("every changed, missing and added byte of the index is noticed, unless it says the same", () => {
    const whole = repository.index();
    let size = 0;
    disk.damage(indexFile, (data) => {
      size = data.length;
      return data;
    });
    const original: Buffer[] = [];
    for (let at = 0; at < size; at++) {
      for (const change of [
        (data: Buffer) => data.fill(data[at]! ^ 1, at, at + 1),
        (data: Buffer) => data.subarray(0, at),
        (data: Buffer) => Buffer.concat([data.subarray(0, at), data.subarray(at + 1)]),
      ]) {
        disk.damage(indexFile, (data) => {
          original[0] = Buffer.from(data);
          return change(data);
        });
        const kind = kindOf(() => expect(repository.index()).toEqual(whole));
        expect(["damaged", "too-new", "no error"], `byte ${at}`).toContain(kind);
        disk.damage(indexFile, () => original[0]!);
      }
    }
    expect(repository.index()).toEqual(whole);
  });

  test("a damaged or exchanged object is refused, and made whole by the next equal state", () => {
    const [a, b] = repository.index()!.snapshots.map(({ objects }) => `${FOLDER}/objects/${objects.permanent}`);
    let other = Buffer.alloc(0);
    disk.damage(b!, (data) => {
      other = Buffer.from(data);
      return data;
    });
    disk.damage(a!, () => other);
    expect(kindOf(() => repository.load("a"))).toBe("damaged");
    disk.damage(a!, (data) => data.subarray(0, 20));
    expect(kindOf(() => repository.load("a"))).toBe("damaged");
    repository.create(capture("one state"), { name: "c" });
    expect(textOf(repository.load("a").blobs)).toEqual(["one state", undefined]);
  });

  test("a missing object is said to be missing", () => {
    const address = repository.index()!.snapshots[0]!.objects.permanent!;
    disk.fileSystem.unlinkSync(`${FOLDER}/objects/${address}`);
    expect(() => repository.load("a")).toThrow(`${address} is missing`);
  });

  test("an index of a newer version is named as such", () => {
    disk.damage(indexFile, (data) => Buffer.from(data.toString().replace("wtpm-snapshots-1", "wtpm-snapshots-2")));
    expect(kindOf(() => repository.index())).toBe("too-new");
    expect(kindOf(() => repository.create(capture("x")))).toBe("too-new");
  });

  test("nothing that JSON can say is more than an error", () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.constantFrom("snapshots", "head", "key", "restoring", "resume", "check"),
        (json, field) => {
          const damaged = new Disk("/state");
          repositoryOn(damaged).create(capture("p"), { name: "a" });
          damaged.damage(indexFile, (data) =>
            Buffer.from(JSON.stringify({ ...JSON.parse(data.toString()), [field]: JSON.parse(json) })),
          );
          const kind = kindOf(() => repositoryOn(damaged).index(false));
          expect(["damaged", "no error"]).toContain(kind);
          expect(kindOf(() => repositoryOn(damaged).index())).toBe("damaged");
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** Puts a key into every blob and refuses any other. */
function keyed(key: string): StateFormat {
  const prefix = text(`${key}:`);
  return {
    name: "keyed",
    encode: (type, blob, generation) =>
      plainFormat.encode(type, Uint8Array.from([...prefix, ...blob.map((byte) => byte ^ 0x55)]), generation),
    decode: (type, bytes) => {
      const { blob, generation } = plainFormat.decode(type, bytes);
      if (!prefix.every((byte, i) => blob[i] === byte)) throw new StateError("encrypted", "another key is needed");
      return { blob: blob.slice(prefix.length).map((byte) => byte ^ 0x55), generation };
    },
  };
}

describe("an encrypted state", () => {
  test("has encrypted snapshots; who has no key can read their list and nothing else", () => {
    const disk = new Disk("/state");
    const repository = repositoryOn(disk, { format: keyed("right") });
    repository.create(capture("secret"), { name: "a" });
    for (const format of [keyed("wrong"), plainFormat]) {
      const stranger = repositoryOn(disk, { format });
      expect(stranger.index(false)?.snapshots.map(({ name }) => name)).toEqual(["a"]);
      for (const work of [
        () => stranger.index(),
        () => stranger.load("a"),
        () => stranger.create(capture("x")),
        () => stranger.delete("a"),
        () => stranger.beginRestore("a"),
      ])
        expect(["encrypted", "damaged"]).toContain(kindOf(work));
    }
    expect(textOf(repository.load("a").blobs)).toEqual(["secret", undefined]);
  });

  test("addresses of equal states differ between repositories", () => {
    const [one, other] = [new Disk("/state"), new Disk("/state")].map((disk) =>
      repositoryOn(disk).create(capture("p")),
    );
    expect(one!.objects).not.toEqual(other!.objects);
  });

  test("gets another key with all its snapshots", () => {
    const disk = new Disk("/state");
    const before = repositoryOn(disk);
    const { objects } = before.create(capture("p", "v"), { name: "a" });
    before.create(capture("q"), { name: "b" });
    before.beginRestore("a", { resume: objects.volatile });
    before.settle(stateOf("p", "v"));
    const after = before.convert(keyed("new"));
    expect(kindOf(() => before.index())).not.toBe("no error");
    expect(shape(after.index())).toEqual({ head: "a", snapshots: [">a", "a>b"] });
    expect(textOf(after.load("a").blobs)).toEqual(["p", "v"]);
    expect(after.resumes(stateOf("p", "v"))).toBe(true);
    expect(disk.usage(`${FOLDER}/objects`).files).toBe(3);
  });
});

describe("real files", () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-snapshots-"));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));
  const modeOf = (...names: string[]) => fs.statSync(path.join(dir, "snapshots", ...names)).mode & 0o777;

  test.each([
    [0o600, 0o700],
    [0o640, 0o750],
    [0o660, 0o770],
  ])("with mode %o are in folders with mode %o", (mode, folderMode) => {
    const repository = new SnapshotRepository(path.join(dir, "snapshots"), { mode });
    const { objects } = repository.create(capture("p"));
    expect([modeOf(), modeOf("objects")]).toEqual([folderMode, folderMode]);
    expect([modeOf("index.json"), modeOf("objects", objects.permanent!)]).toEqual([mode, mode]);
  });

  test("follow the umask without a mode", () => {
    const umask = process.umask();
    const repository = new SnapshotRepository(path.join(dir, "snapshots"));
    repository.create(capture("p"));
    expect([modeOf(), modeOf("index.json")]).toEqual([0o750 & ~umask, 0o640 & ~umask]);
  });

  test("a symbolic link in place of a temporary file is not followed", () => {
    const repository = new SnapshotRepository(path.join(dir, "snapshots"));
    repository.create(capture("p"));
    const victim = path.join(dir, "victim");
    fs.writeFileSync(victim, "unharmed");
    fs.symlinkSync(victim, path.join(dir, "snapshots/index.json.tmp"));
    expect(kindOf(() => repository.create(capture("q")))).toBe("io");
    expect(fs.readFileSync(victim, "utf8")).toBe("unharmed");
  });

  test("what is not a file is damaged", () => {
    fs.mkdirSync(path.join(dir, "snapshots/index.json"), { recursive: true });
    expect(kindOf(() => new SnapshotRepository(path.join(dir, "snapshots")).index())).toBe("damaged");
  });
});
