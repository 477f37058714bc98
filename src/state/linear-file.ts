// The file or block device behind a linear store: opened, read whole, written at places, synced.
import nodeFs from "node:fs";
import path from "node:path";
import { BLOCK_SIZE, HEADER_SIZE, parseHeader } from "./linear-layout.ts";
import {
  BLOB_FILE_NAMES,
  DEFAULT_MODE,
  errorCode,
  ioError,
  type PositionedIo,
  verifyContent,
  writeAll,
} from "./state-files.ts";
import { BLOB_TYPES, StateError } from "./store.ts";

/** The part of node:fs that a linear store uses; tests give one that fails at a chosen call. */
export type LinearFileSystem = PositionedIo &
  Pick<
    typeof nodeFs,
    "openSync" | "fstatSync" | "statSync" | "ftruncateSync" | "fchmodSync" | "fdatasyncSync" | "fsyncSync" | "closeSync"
  >;

/** No store is larger than this; of a larger device the rest is not looked at. */
const MAX_SIZE = 64 * 1024 * 1024;

/**
 * How often to look whether the file still has its name. Linux gives a write that follows an fstat(2) a time of its own, which costs a turn
 * of the journal: asking before every write made commits a fifth slower.
 */
const LOOK_INTERVAL_MS = 1000;

const { O_RDONLY, O_RDWR, O_CREAT, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = nodeFs.constants;

/** An open file. Reading throws StateErrors; writing throws what the system says. */
export class LinearFile {
  readonly #fs: LinearFileSystem;
  readonly #fd: number;
  readonly #path: string;
  readonly #fsync: boolean;
  /** What was read last, kept because every commit reads as much. */
  readonly #block = new Uint8Array(BLOCK_SIZE);
  #readBack = Buffer.alloc(0);
  /** How far it reaches at least, and when to look again. */
  #size = 0;
  #nextLook = 0;

  private constructor(fileSystem: LinearFileSystem, fd: number, file: string, fsync: boolean) {
    this.#fs = fileSystem;
    this.#fd = fd;
    this.#path = file;
    this.#fsync = fsync;
  }

  /** For reading; undefined when there is none. @throws StateError "io" */
  static read(file: string, fileSystem: LinearFileSystem): LinearFile | undefined {
    try {
      return new LinearFile(fileSystem, fileSystem.openSync(file, O_RDONLY | O_NONBLOCK), file, false);
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw ioError(`cannot read the state: ${file}`, error);
    }
  }

  /** For writing; it is made if there is none. @throws StateError "io" */
  static write(
    file: string,
    options: { readonly mode: number | undefined; readonly fsync: boolean; readonly fileSystem: LinearFileSystem },
  ): LinearFile {
    const { mode, fsync, fileSystem } = options;
    let fd: number | undefined;
    try {
      // Device nodes have names that are links; a file that is one could be anybody's.
      const device = fileSystem.statSync(file, { throwIfNoEntry: false })?.isBlockDevice() ?? false;
      fd = fileSystem.openSync(file, O_RDWR | O_CREAT | (device ? 0 : O_NOFOLLOW), mode ?? DEFAULT_MODE);
      if (mode !== undefined && !device) fileSystem.fchmodSync(fd, mode);
      return new LinearFile(fileSystem, fd, file, fsync);
    } catch (error) {
      if (fd !== undefined) fileSystem.closeSync(fd);
      throw ioError(`cannot open the state: ${file}`, error);
    }
  }

  close(): void {
    this.#fs.closeSync(this.#fd);
  }

  /** The first block, until the next one is read. */
  block(): Uint8Array {
    const block = this.#block;
    const size = this.#reading(() => this.#fs.readSync(this.#fd, block, 0, BLOCK_SIZE, 0));
    return block.fill(0, size);
  }

  /** All of it. */
  image(): Uint8Array {
    return this.#reading(() => {
      const image = Buffer.alloc(this.size());
      let size = 0;
      while (size < image.length) {
        const more = this.#fs.readSync(this.#fd, image, size, image.length - size, size);
        if (more === 0) break;
        size += more;
      }
      return image.subarray(0, size);
    });
  }

  /** How many bytes there are: a block device does not say, so it is read where its end may be. */
  size(): number {
    const stat = this.#fs.fstatSync(this.#fd);
    if (stat.isFile()) return Math.min(stat.size, MAX_SIZE);
    if (!stat.isBlockDevice())
      throw new StateError("damaged", `${this.#path} is neither a regular file nor a block device`);
    const byte = new Uint8Array(1);
    let [low, high] = [0, MAX_SIZE];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#fs.readSync(this.#fd, byte, 0, 1, middle - 1) === 1) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Makes it reach so far. */
  makeRoom(end: number): void {
    const now = performance.now();
    if (end <= this.#size && now < this.#nextLook) return;
    const stat = this.#fs.fstatSync(this.#fd);
    // What is written to a file without a name is lost with the process.
    if (stat.isFile() && stat.nlink === 0) throw new Error("the file was deleted");
    if (stat.isFile() && stat.size < end) this.#fs.ftruncateSync(this.#fd, end);
    if (!stat.isFile() && this.size() < end)
      throw new Error(`ENOSPC: the device has no room for the new state beside the old one (${end} bytes)`);
    this.#size = end;
    this.#nextLook = now + LOOK_INTERVAL_MS;
  }

  write(bytes: Uint8Array, offset: number): void {
    writeAll(this.#fs, this.#fd, bytes, offset);
  }

  /** Reads what was written, unless that is left to the system. @throws Error when it is something else */
  verify(bytes: Uint8Array, offset: number): void {
    if (!this.#fsync) return;
    if (this.#readBack.length !== bytes.length) this.#readBack = Buffer.alloc(bytes.length);
    verifyContent(this.#fs, this.#fd, bytes, offset, this.#readBack);
  }

  /** Lets what was written reach the disk, unless that is left to the system. */
  sync(): void {
    if (this.#fsync) this.#fs.fdatasyncSync(this.#fd);
  }

  /** Makes the name of a new file durable. */
  syncName(): void {
    if (!this.#fsync || process.platform === "win32") return;
    const fd = this.#fs.openSync(path.dirname(this.#path), O_RDONLY);
    try {
      this.#fs.fsyncSync(fd);
    } finally {
      this.#fs.closeSync(fd);
    }
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof StateError) throw error;
      throw ioError(`cannot read the state: ${this.#path}`, error);
    }
  }
}

/** Which blobs a linear store has, and the size of their containers in bytes: what --print-states prints. */
export function listLinearStates(name: string): { name: string; size: number }[] {
  const file = LinearFile.read(name, nodeFs);
  if (!file) return [];
  try {
    const sections = parseHeader(file.block().subarray(0, HEADER_SIZE), name) ?? {};
    return BLOB_TYPES.flatMap((type) => {
      const section = sections[type];
      return section ? { name: BLOB_FILE_NAMES[type], size: section.size } : [];
    });
  } finally {
    file.close();
  }
}
