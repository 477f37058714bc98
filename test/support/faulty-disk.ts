// A file system in memory that can lose power: what was written is in the cache, and on the medium only once it was synced.
import type fs from "node:fs";
import { constants } from "node:fs";
import path from "node:path";
import type { LinearFileSystem } from "../../src/state/linear-store.ts";
import type { DirectoryFileSystem } from "../../src/state/state-files.ts";

/** Names and contents: what a disk has after a crash. */
export type DiskImage = ReadonlyMap<string, Buffer>;

/** A call that changes something, before it is done. */
export interface DiskCall {
  readonly name: "create" | "write" | "truncate" | "sync" | "syncDirectory" | "rename" | "link" | "unlink";
  readonly number: number;
  /** Does a part of it, as a process that is killed in the middle; only a write has parts. */
  readonly part?: (share: number) => void;
}

/** How much of what was written to a file, and not synced, is on the medium. */
const DATA_LOSSES = ["all of it", "nothing", "half of the last write", "the second half", "its length only"] as const;
type DataLoss = (typeof DATA_LOSSES)[number];

interface Inode {
  cached: Buffer;
  /** What a power loss leaves. */
  durable: Buffer;
  /** Since it was synced. */
  readonly writes: { readonly offset: number; readonly bytes: Buffer }[];
  mode: number;
  readonly directory: boolean;
}

/** Names that one call sets or removes. */
type NameChange = ReadonlyMap<string, Inode | undefined>;

export class SimulatedDisk implements DirectoryFileSystem, LinearFileSystem {
  /** Called before every call that changes something; what it throws is the call's error. */
  onCall: (call: DiskCall) => void = () => {};
  /** Called before every call that only reads. */
  onRead: (name: string) => void = () => {};
  /** How many bytes one write takes at most. */
  longestWrite = Number.POSITIVE_INFINITY;
  readonly #root: string;
  readonly #names = new Map<string, Inode>();
  readonly #durableNames = new Map<string, Inode>();
  readonly #pendingNames: NameChange[] = [];
  readonly #open = new Map<number, Inode>();
  #nextFd = 100;
  #calls = 0;

  /** @param root its only directory. */
  constructor(root: string, image: DiskImage = new Map()) {
    this.#root = root;
    for (const [name, content] of image) {
      const inode = {
        cached: Buffer.from(content),
        durable: Buffer.from(content),
        writes: [],
        mode: 0o640,
        directory: false,
      };
      this.#names.set(name, inode);
      this.#durableNames.set(name, inode);
    }
  }

  /** What a process that is started now finds. */
  image(): DiskImage {
    return new Map([...this.#names].map(([name, inode]) => [name, Buffer.from(inode.cached)]));
  }

  /** Every state in which the medium may be if power is lost now; those that are alike may be there twice. */
  *imagesAfterPowerLoss(): Generator<DiskImage> {
    const changes = this.#pendingNames;
    // Every subset, as a file system may write its directories in any order; with many changes only the first so many of them.
    const subsets = changes.length <= 4 ? 2 ** changes.length : changes.length + 1;
    for (let subset = 0; subset < subsets; subset++) {
      const done = changes.filter((_, i) => (changes.length <= 4 ? (subset >> i) & 1 : i < subset));
      const names = new Map(this.#durableNames);
      for (const change of done) applyNames(names, change);
      for (const loss of DATA_LOSSES)
        yield new Map([...names].map(([name, inode]) => [name, contentAfter(inode, loss)]));
    }
  }

  openSync(name: fs.PathLike, flags: fs.OpenMode = 0, mode: fs.Mode | null = 0o666): number {
    const [file, bits] = [String(name), Number(flags)];
    if (file === this.#root) {
      this.onRead("open");
      return this.#opened({ cached: EMPTY, durable: EMPTY, writes: [], mode: 0o700, directory: true });
    }
    let inode = this.#names.get(file);
    if (!inode) {
      if (!(bits & constants.O_CREAT)) throw systemError("ENOENT", file);
      this.#check(file);
      this.#call("create");
      inode = { cached: EMPTY, durable: EMPTY, writes: [], mode: Number(mode), directory: false };
      this.#rename(new Map([[file, inode]]));
    } else if (bits & constants.O_TRUNC) {
      this.#call("truncate");
      this.#setSize(inode, 0);
    } else this.onRead("open");
    return this.#opened(inode);
  }

  closeSync(fd: number): void {
    if (!this.#open.delete(fd)) throw systemError("EBADF", "close");
  }

  fstatSync(fd: number): never {
    this.onRead("fstat");
    return statOf(this.#inode(fd)) as never;
  }

  statSync(name: fs.PathLike): never {
    this.onRead("stat");
    const inode = this.#names.get(String(name));
    return (inode && statOf(inode)) as never;
  }

  readFileSync(fd: fs.PathOrFileDescriptor): never {
    this.onRead("readFile");
    return Buffer.from(this.#inode(fd as number).cached) as never;
  }

  readSync(fd: number, target: Uint8Array, at: number, length: number, position: number): number {
    this.onRead("read");
    const bytes = this.#inode(fd).cached.subarray(position, position + length);
    target.set(bytes, at);
    return bytes.length;
  }

  writeSync(fd: number, source: Uint8Array, at: number, length: number, position: number): number {
    const inode = this.#inode(fd);
    const bytes = Buffer.from(source.subarray(at, at + Math.min(length, this.longestWrite)));
    const write = (size: number) => {
      const part = bytes.subarray(0, size);
      if (part.length === 0) return;
      const end = position + part.length;
      if (inode.cached.length < end)
        inode.cached = Buffer.concat([inode.cached, Buffer.alloc(end - inode.cached.length)]);
      part.copy(inode.cached, position);
      inode.writes.push({ offset: position, bytes: part });
    };
    this.#call("write", (share) => write(Math.floor(share * bytes.length)));
    write(bytes.length);
    return bytes.length;
  }

  ftruncateSync(fd: number, size = 0): void {
    this.#call("truncate");
    this.#setSize(this.#inode(fd), Number(size));
  }

  fchmodSync(fd: number, mode: fs.Mode): void {
    this.#inode(fd).mode = Number(mode);
  }

  fsyncSync(fd: number): void {
    const inode = this.#inode(fd);
    this.#call(inode.directory ? "syncDirectory" : "sync");
    if (!inode.directory) sync(inode);
    else for (const change of this.#pendingNames.splice(0)) applyNames(this.#durableNames, change);
  }

  fdatasyncSync(fd: number): void {
    this.fsyncSync(fd);
  }

  linkSync(from: fs.PathLike, to: fs.PathLike): void {
    const inode = this.#named(from);
    this.#call("link");
    if (this.#names.has(String(to))) throw systemError("EEXIST", String(to));
    this.#rename(new Map([[String(to), inode]]));
  }

  renameSync(from: fs.PathLike, to: fs.PathLike): void {
    const inode = this.#named(from);
    this.#call("rename");
    // POSIX: nothing happens when both names are of the same file.
    if (this.#names.get(String(to)) === inode) return;
    this.#rename(
      new Map<string, Inode | undefined>([
        [String(from), undefined],
        [String(to), inode],
      ]),
    );
  }

  unlinkSync(name: fs.PathLike): void {
    this.#named(name);
    this.#call("unlink");
    this.#rename(new Map([[String(name), undefined]]));
  }

  #call(name: DiskCall["name"], part?: (share: number) => void): void {
    this.onCall({ name, number: this.#calls++, ...(part ? { part } : {}) });
  }

  #rename(change: NameChange): void {
    applyNames(this.#names, change);
    this.#pendingNames.push(change);
  }

  #setSize(inode: Inode, size: number): void {
    const cached = Buffer.alloc(size);
    inode.cached.copy(cached);
    inode.cached = cached;
    // A length is on the medium before the data is: the worst case.
    const durable = Buffer.alloc(size);
    inode.durable.copy(durable);
    inode.durable = durable;
    inode.writes.length = 0;
  }

  #opened(inode: Inode): number {
    this.#open.set(this.#nextFd, inode);
    return this.#nextFd++;
  }

  #inode(fd: number): Inode {
    const inode = this.#open.get(fd);
    if (!inode) throw systemError("EBADF", String(fd));
    return inode;
  }

  #named(name: fs.PathLike): Inode {
    const inode = this.#names.get(String(name));
    if (!inode) throw systemError("ENOENT", String(name));
    return inode;
  }

  #check(file: string): void {
    if (path.dirname(file) !== this.#root) throw systemError("ENOENT", file);
  }
}

/** An error as the system gives it. */
export function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}

const EMPTY = Buffer.alloc(0);

function applyNames(names: Map<string, Inode>, change: NameChange): void {
  for (const [name, inode] of change) {
    if (inode) names.set(name, inode);
    else names.delete(name);
  }
}

function sync(inode: Inode): void {
  inode.durable = Buffer.from(inode.cached);
  inode.writes.length = 0;
}

function contentAfter(inode: Inode, loss: DataLoss): Buffer {
  const content = Buffer.alloc(loss === "nothing" ? inode.durable.length : inode.cached.length);
  inode.durable.copy(content);
  if (loss === "nothing" || loss === "its length only") return content;
  for (const [i, { offset, bytes }] of inode.writes.entries()) {
    const half = bytes.length >> 1;
    const last = i === inode.writes.length - 1;
    if (!last || loss === "all of it") bytes.copy(content, offset);
    else if (loss === "half of the last write") bytes.copy(content, offset, 0, half);
    else bytes.copy(content, offset + half, half);
  }
  return content;
}

function statOf(inode: Inode) {
  return {
    size: inode.cached.length,
    mode: 0o100000 | inode.mode,
    nlink: 1,
    isFile: () => !inode.directory,
    isBlockDevice: () => false,
    isDirectory: () => inode.directory,
  };
}
