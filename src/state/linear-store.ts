// swtpm's linear backend, crash-safe: all states of a TPM in one file or on one block device.
import nodeFs from "node:fs";
import path from "node:path";
import { plainFormat } from "./container.ts";
import type { StateFormat } from "./format.ts";
import {
  type EncodedStates,
  BLOCK_SIZE,
  EMPTY_HEADER,
  equal,
  HEADER_SIZE,
  isMixture,
  layOut,
  parseHeader,
  type Region,
} from "./linear-layout.ts";
import { type LinearState, readLinear } from "./linear-recovery.ts";
import {
  BLOB_FILE_NAMES,
  DEFAULT_MODE,
  errorCode,
  ioError,
  type PositionedIo,
  verifyContent,
  writeAll,
} from "./state-files.ts";
import { StoreLock } from "./store-lock.ts";
import { BLOB_TYPES, type Generation, StateError, type StateStore } from "./store.ts";

/** The part of node:fs that a LinearStore uses; tests give one that fails at a chosen call. */
export type LinearFileSystem = PositionedIo &
  Pick<
    typeof nodeFs,
    "openSync" | "fstatSync" | "statSync" | "ftruncateSync" | "fchmodSync" | "fdatasyncSync" | "fsyncSync" | "closeSync"
  >;

export interface LinearStoreOptions {
  /** What is put around the blobs. Default: swtpm's container, unencrypted. */
  readonly format?: StateFormat;
  /** Permission bits of the file, set on an existing one too. Without it a new file gets 0640 and the umask. */
  readonly mode?: number;
  /** Hold a lock on the file while owning the state. Default false, as in swtpm: the file may be on something shared that has no locks. */
  readonly lock?: boolean;
  /** Let every commit reach the disk before it is done. Default true. */
  readonly fsync?: boolean;
  /** Never write; `acquire` fails. Default false. */
  readonly readOnly?: boolean;
  /** Told what the user should know: that a state was recovered. */
  readonly warn?: (sentence: string) => void;
  /** Told what swtpm says in its log too: that the file was formatted. */
  readonly inform?: (sentence: string) => void;
  readonly fileSystem?: LinearFileSystem;
}

/** A commit that is ready to be written. */
interface Attempt {
  readonly next: Generation;
  readonly states: EncodedStates;
  readonly region: Region;
}

/** No store is larger than this; of a larger device the rest is not looked at. */
const MAX_SIZE = 64 * 1024 * 1024;
const READ_ATTEMPTS = 5;

const { O_RDONLY, O_RDWR, O_CREAT, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = nodeFs.constants;

/**
 * State in one file, or on a block device, in swtpm's layout (linear-layout.ts). A commit writes everything into free space, and then the
 * header; the generation before stays whole until the next commit but one.
 *
 * Without a lock the header is compared before every commit with what this store wrote last.
 */
export class LinearStore implements StateStore {
  readonly name: string;
  readonly #path: string;
  readonly #options: LinearStoreOptions;
  readonly #fs: LinearFileSystem;
  readonly #format: StateFormat;
  readonly #lock: StoreLock;
  #fd: number | undefined;
  #state: LinearState = readLinear(new Uint8Array(0), plainFormat, "");
  #current: Generation = { number: 0, blobs: {} };
  #sequence = 0;
  /** A commit whose header was written and not synced for certain. */
  #pending: Attempt | undefined;
  #verified = false;
  #told = "";

  /** @param file the file, which need not exist, or the block device. */
  constructor(file: string, options: LinearStoreOptions = {}) {
    this.name = `file://${file}`;
    this.#path = file;
    this.#options = options;
    this.#fs = options.fileSystem ?? nodeFs;
    this.#format = options.format ?? plainFormat;
    this.#lock = new StoreLock({
      file,
      wanted: options.lock ?? false,
      // SQLite locks files of its own only.
      means: { sqlite: false },
      warn: options.warn,
      inUse: `the state in ${file} is in use by another process; stop it first, or give this TPM a file of its own`,
      place: file,
    });
  }

  /** Creates and formats the file if that is due, as swtpm does when it starts. */
  acquire(): number {
    if (this.#options.readOnly) throw new StateError("io", `${this.name} was opened for reading only`);
    if (this.#lock.owned) return this.#lock.acquire();
    this.#verified = false;
    const fd = this.#open();
    try {
      const fence = this.#lock.acquire();
      this.#formatIfEmpty(fd);
      this.#fd = fd;
      return fence;
    } catch (error) {
      this.#lock.release();
      this.#fs.closeSync(fd);
      throw error;
    }
  }

  release(): void {
    this.#lock.release();
    if (this.#fd !== undefined) this.#fs.closeSync(this.#fd);
    this.#fd = undefined;
  }

  load(): Generation {
    const state = this.#read();
    const before = this.#state;
    this.#state = state;
    this.#sequence = Math.max(this.#sequence, state.sequence);
    const same = BLOB_TYPES.every((type) => sameBytes(state.states[type], before.states[type]));
    // What is unchanged keeps its objects.
    if (same) this.#state = { ...state, states: before.states, blobs: before.blobs };
    else this.#current = { number: Math.max(state.generation, this.#current.number + 1), blobs: state.blobs };
    this.#pending = undefined;
    this.#verified = this.#lock.owned;
    if (state.note) this.#tell(state.note);
    return this.#current;
  }

  commit(next: Generation, fence: number): void {
    this.#lock.check(fence, this.name);
    if (next === this.#current) return;
    const fd = this.#fd!;
    this.#verify(fd);
    if (next.number !== this.#current.number + 1) {
      throw new StateError(
        "conflict",
        `${this.name}: generation ${this.#current.number} is there, not ${next.number - 1}`,
      );
    }
    // A commit of unknown outcome may be live already: it is repeated byte for byte.
    const attempt = this.#pending?.next === next ? this.#pending : this.#prepare(next);
    const { start, end, block } = attempt.region;
    this.#writeRegion(fd, attempt.region);
    this.#pending = attempt;
    // Where swtpm wrote, its states may begin right behind the header.
    this.#switchTo(fd, this.#state.foreign ? block.subarray(0, HEADER_SIZE) : block);
    if (this.#state.foreign) this.#wipe(fd, attempt.region);
    this.#pending = undefined;
    this.#state = {
      ...{ block, empty: false, own: true, foreign: false, states: attempt.states, blobs: next.blobs },
      ...{ live: { start, end }, generation: next.number, sequence: this.#sequence },
    };
    this.#current = next;
  }

  close(): void {
    this.release();
  }

  #prepare(next: Generation): Attempt {
    const states = this.#encode(next);
    const { live, block, foreign } = this.#state;
    const other = this.#pending?.region ?? live;
    const occupied = { start: Math.min(live.start, other.start), end: Math.max(live.end, other.end) };
    const commit = {
      sequence: ++this.#sequence,
      generation: next.number,
      before: block.subarray(0, HEADER_SIZE),
      tookOver: foreign,
    };
    return { next, states, region: layOut(states, occupied, commit) };
  }

  /** The states as they are stored; what is unchanged is not encoded again. */
  #encode(next: Generation): EncodedStates {
    const states: { -readonly [type in keyof EncodedStates]: Uint8Array } = {};
    for (const type of BLOB_TYPES) {
      const blob = next.blobs[type];
      if (!blob) continue;
      const known = blob === this.#state.blobs[type] ? this.#state.states[type] : undefined;
      states[type] = known ?? this.#format.encode(type, blob, next.number);
    }
    return states;
  }

  /**
   * Until this is done, and when it fails, the store holds what it held: that or, if `#pending`, one of two. Where there is no commit before
   * that could take the place of one that did not reach the disk as a whole, the region is synced before the header points to it.
   */
  #writeRegion(fd: number, region: Region): void {
    try {
      const stat = this.#fs.fstatSync(fd);
      if (stat.isFile()) {
        // What is written to a file without a name is lost with the process.
        if (stat.nlink === 0) throw new Error("the file was deleted");
        if (stat.size < region.end) this.#fs.ftruncateSync(fd, region.end);
      } else if (this.#sizeOf(fd, stat) < region.end) {
        throw new Error(`ENOSPC: the device has no room for the new state beside the old one (${region.end} bytes)`);
      }
      writeAll(this.#fs, fd, region.bytes, region.start);
      if (!this.#state.own) this.#sync(fd);
      if (this.#options.fsync ?? true) verifyContent(this.#fs, fd, region.bytes, region.start);
    } catch (error) {
      const failure = ioError(`cannot write the state: ${this.#path}`, error);
      throw this.#pending ? new StateError("unknown", failure.message, { cause: failure }) : failure;
    }
  }

  #switchTo(fd: number, block: Uint8Array): void {
    try {
      writeAll(this.#fs, fd, block, 0);
      this.#sync(fd);
    } catch (error) {
      throw this.#notDurable(error);
    }
  }

  /** Removes what another program wrote, so that nothing of it can ever be taken for what a commit did not bring to the disk. */
  #wipe(fd: number, { start, end, block }: Region): void {
    try {
      const size = Math.min(this.#sizeOf(fd, this.#fs.fstatSync(fd)), MAX_SIZE);
      writeAll(this.#fs, fd, block.subarray(HEADER_SIZE), HEADER_SIZE);
      writeAll(this.#fs, fd, new Uint8Array(start - BLOCK_SIZE), BLOCK_SIZE);
      writeAll(this.#fs, fd, new Uint8Array(Math.max(0, size - end)), end);
      this.#sync(fd);
    } catch (error) {
      throw this.#notDurable(error);
    }
  }

  #notDurable(error: unknown): StateError {
    const message = `cannot make the state durable: ${this.#path}: ${(error as Error).message}`;
    return new StateError("unknown", message, { cause: error });
  }

  #sync(fd: number): void {
    if (this.#options.fsync ?? true) this.#fs.fdatasyncSync(fd);
  }

  /** Somebody may have written since the header was read: before the lock was taken, or at any time without one. */
  #verify(fd: number): void {
    if (this.#verified && this.#lock.held) return;
    const changed = this.#verified ? !this.#isKnown(this.#readBlock(fd)) : this.#contentChanged();
    if (changed)
      throw new StateError("conflict", `${this.name}: the state was changed by another process after it was read`);
    this.#verified = true;
  }

  /** The block written last, or one that is on its way to that of a commit of unknown outcome. */
  #isKnown(block: Uint8Array): boolean {
    if (equal(block, this.#state.block)) return true;
    return this.#pending !== undefined && isMixture(block, this.#state.block, this.#pending.region.block);
  }

  #contentChanged(): boolean {
    const { states } = this.#read();
    return !BLOB_TYPES.every((type) => sameBytes(states[type], this.#state.states[type]));
  }

  #read(): LinearState {
    if (this.#fd !== undefined) return readLinear(this.#readImage(this.#fd), this.#format, this.name);
    let fd: number;
    try {
      fd = this.#fs.openSync(this.#path, O_RDONLY | O_NONBLOCK);
    } catch (error) {
      if (errorCode(error) === "ENOENT") return readLinear(new Uint8Array(0), this.#format, this.name);
      throw ioError(`cannot read the state: ${this.#path}`, error);
    }
    try {
      return this.#readShared(fd);
    } finally {
      this.#fs.closeSync(fd);
    }
  }

  /** Reads while another process may write: what was read while the header changed is read again. */
  #readShared(fd: number): LinearState {
    for (let attempt = 1; ; attempt++) {
      try {
        const state = readLinear(this.#readImage(fd), this.#format, this.name);
        if (equal(this.#readBlock(fd), state.block) || attempt === READ_ATTEMPTS) return state;
      } catch (error) {
        if (!(error instanceof StateError) || error.kind !== "damaged" || attempt === READ_ATTEMPTS) throw error;
      }
    }
  }

  #readBlock(fd: number): Uint8Array {
    const block = new Uint8Array(BLOCK_SIZE);
    try {
      this.#fs.readSync(fd, block, 0, BLOCK_SIZE, 0);
    } catch (error) {
      throw ioError(`cannot read the state: ${this.#path}`, error);
    }
    return block;
  }

  #readImage(fd: number): Uint8Array {
    try {
      const image = Buffer.alloc(Math.min(this.#sizeOf(fd, this.#fs.fstatSync(fd)), MAX_SIZE));
      let size = 0;
      while (size < image.length) {
        const more = this.#fs.readSync(fd, image, size, image.length - size, size);
        if (more === 0) break;
        size += more;
      }
      return image.subarray(0, size);
    } catch (error) {
      if (error instanceof StateError) throw error;
      throw ioError(`cannot read the state: ${this.#path}`, error);
    }
  }

  /** How many bytes there are: a block device does not say, so it is read where its end may be. */
  #sizeOf(fd: number, stat: nodeFs.Stats): number {
    if (stat.isFile()) return stat.size;
    if (!stat.isBlockDevice())
      throw new StateError("damaged", `${this.#path} is neither a regular file nor a block device`);
    const byte = new Uint8Array(1);
    let [low, high] = [0, MAX_SIZE];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#fs.readSync(fd, byte, 0, 1, middle - 1) === 1) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #open(): number {
    const { mode } = this.#options;
    let fd: number | undefined;
    try {
      // Device nodes have names that are links; a file that is one could be anybody's.
      const device = this.#fs.statSync(this.#path, { throwIfNoEntry: false })?.isBlockDevice() ?? false;
      fd = this.#fs.openSync(this.#path, O_RDWR | O_CREAT | (device ? 0 : O_NOFOLLOW), mode ?? DEFAULT_MODE);
      if (mode !== undefined && !device) this.#fs.fchmodSync(fd, mode);
      return fd;
    } catch (error) {
      if (fd !== undefined) this.#fs.closeSync(fd);
      if (error instanceof StateError) throw error;
      throw ioError(`cannot open the state: ${this.#path}`, error);
    }
  }

  /** Makes a linear store of what holds nothing yet. */
  #formatIfEmpty(fd: number): void {
    try {
      if (!this.#isEmpty(fd)) return;
      writeAll(this.#fs, fd, EMPTY_HEADER, 0);
      this.#sync(fd);
      if (this.#options.fsync ?? true) this.#syncDirectory();
    } catch (error) {
      throw ioError(`cannot write the state: ${this.#path}`, error);
    }
    this.#options.inform?.(`Formatting '${this.name}' as new linear NVRAM store`);
  }

  #isEmpty(fd: number): boolean {
    try {
      return readLinear(this.#readImage(fd), this.#format, this.name).empty;
    } catch (error) {
      // What is wrong with it, `load` tells.
      if (error instanceof StateError) return false;
      throw error;
    }
  }

  #syncDirectory(): void {
    if (process.platform === "win32") return;
    const fd = this.#fs.openSync(path.dirname(this.#path), O_RDONLY);
    try {
      this.#fs.fsyncSync(fd);
    } finally {
      this.#fs.closeSync(fd);
    }
  }

  #tell(sentence: string): void {
    if (sentence === this.#told) return;
    this.#told = sentence;
    this.#options.warn?.(sentence);
  }
}

function sameBytes(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one && other ? equal(one, other) : one === other;
}

/** Which blobs a linear store has, and the size of their containers in bytes: what --print-states prints. */
export function listLinearStates(file: string): { name: string; size: number }[] {
  let bytes: Buffer;
  try {
    const fd = nodeFs.openSync(file, O_RDONLY | O_NONBLOCK);
    try {
      bytes = Buffer.alloc(HEADER_SIZE);
      nodeFs.readSync(fd, bytes, 0, HEADER_SIZE, 0);
    } finally {
      nodeFs.closeSync(fd);
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw ioError(`cannot read the state: ${file}`, error);
  }
  const sections = parseHeader(bytes) ?? {};
  return BLOB_TYPES.flatMap((type) => {
    const section = sections[type];
    return section ? { name: BLOB_FILE_NAMES[type], size: section.size } : [];
  });
}
