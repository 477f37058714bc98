// A file system in memory that can lose power: what was written is in the cache, and on the medium only once it was synced.
import type fs from "node:fs";
import { constants } from "node:fs";
import path from "node:path";
import type { LinearFileSystem } from "../../src/state/linear-file.ts";
import type { DirectoryFileSystem } from "../../src/state/state-files.ts";

/** Names and contents: what a disk has after a crash. Two names with the same object are names of one file. */
export type DiskImage = ReadonlyMap<string, Buffer>;

/** A call that changes something, before it is done. */
export interface DiskCall {
  readonly name: "create" | "write" | "truncate" | "sync" | "syncDirectory" | "rename" | "link" | "unlink";
  readonly number: number;
  /** Does a part of it, as a process that is killed in the middle; only a write has parts. */
  readonly part?: (share: number) => void;
}

/** What of a write is on the medium: sectors of 512 bytes, or halves of it. */
type Arrived = "all" | "nothing" | "first half" | "second half" | "every other sector";

/** How much of what was written to a file, and not synced, is on the medium: of its last write, and of those before. */
interface DataLoss {
  readonly last: Arrived;
  readonly others: Arrived;
  /** Not even the file's length is. */
  readonly lengthToo?: boolean;
}

const DATA_LOSSES: readonly DataLoss[] = [
  { last: "nothing", others: "nothing", lengthToo: true },
  ...(["all", "nothing", "first half", "second half"] as const).flatMap((last) =>
    (["all", "nothing", "first half", "every other sector"] as const).map((others) => ({ last, others })),
  ),
];

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
    const inodes = new Map<Buffer, Inode>();
    for (const [name, content] of image) {
      const inode = inodes.get(content) ?? {
        cached: Buffer.from(content),
        durable: Buffer.from(content),
        writes: [],
        mode: 0o640,
        directory: false,
      };
      inodes.set(content, inode);
      this.#names.set(name, inode);
      this.#durableNames.set(name, inode);
    }
  }

  /** What a process that is started now finds. */
  image(): DiskImage {
    return imageOf(this.#names, (inode) => Buffer.from(inode.cached));
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
      const mostWrites = Math.max(0, ...[...names.values()].map(({ writes }) => writes.length));
      for (const loss of mostWrites > 0 ? DATA_LOSSES : DATA_LOSSES.slice(0, 1))
        if (mostWrites > 1 || loss.others === "all" || loss.lengthToo)
          yield imageOf(names, (inode) => contentAfter(inode, loss));
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
    return this.#statOf(this.#inode(fd)) as never;
  }

  statSync(name: fs.PathLike): never {
    this.onRead("stat");
    const inode = this.#names.get(String(name));
    return (inode && this.#statOf(inode)) as never;
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

  #statOf(inode: Inode) {
    return {
      size: inode.cached.length,
      mode: 0o100000 | inode.mode,
      nlink: [...this.#names.values()].filter((each) => each === inode).length,
      isFile: () => !inode.directory,
      isBlockDevice: () => false,
      isDirectory: () => inode.directory,
    };
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

/** The names with their contents; a file with several names has one content. */
function imageOf(names: ReadonlyMap<string, Inode>, contentOf: (inode: Inode) => Buffer): DiskImage {
  const contents = new Map<Inode, Buffer>();
  for (const inode of names.values()) if (!contents.has(inode)) contents.set(inode, contentOf(inode));
  return new Map([...names].map(([name, inode]) => [name, contents.get(inode)!]));
}

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

function contentAfter(inode: Inode, { last, others, lengthToo }: DataLoss): Buffer {
  const content = Buffer.alloc(lengthToo ? inode.durable.length : inode.cached.length);
  inode.durable.copy(content);
  for (const [i, { offset, bytes }] of inode.writes.entries())
    for (const [from, to] of piecesOf(i === inode.writes.length - 1 ? last : others, bytes.length))
      bytes.copy(content, offset + from, from, to);
  return content;
}

function* piecesOf(arrived: Arrived, size: number): Generator<readonly [from: number, to: number]> {
  const half = size >> 1;
  if (arrived === "all") yield [0, size];
  if (arrived === "first half") yield [0, half];
  if (arrived === "second half") yield [half, size];
  if (arrived === "every other sector") for (let at = 0; at < size; at += 1024) yield [at, Math.min(at + 512, size)];
}
