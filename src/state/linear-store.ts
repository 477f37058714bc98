// swtpm's linear backend, crash-safe: all states of a TPM in one file or on one block device.
import nodeFs from "node:fs";
import { BackgroundSync } from "./background-sync.ts";
import { plainFormat } from "./container.ts";
import type { StateFormat } from "./format.ts";
import { LinearFile, type LinearFileSystem } from "./linear-file.ts";
import {
  BLOCK_SIZE,
  EMPTY_HEADER,
  type EncodedStates,
  equal,
  HEADER_SIZE,
  isMixture,
  layOut,
  type Region,
} from "./linear-layout.ts";
import { type LinearState, readLinear } from "./linear-recovery.ts";
import { ioError } from "./state-files.ts";
import { StoreLock } from "./store-lock.ts";
import { BLOB_TYPES, type Generation, StateError, type StateStore } from "./store.ts";

export interface LinearStoreOptions {
  /** What is put around the blobs. Default: swtpm's container, unencrypted. */
  readonly format?: StateFormat;
  /** Permission bits of the file, set on an existing one too. Without it a new file gets 0640 and the umask. */
  readonly mode?: number;
  /** Hold a lock on the file while owning the state. Default false, as in swtpm: the file may be on something shared that has no locks. */
  readonly lock?: boolean;
  /** Let every commit reach the disk before it is done; without it that follows within about a second. Default true. */
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

const READ_ATTEMPTS = 5;

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
  readonly #syncLater: BackgroundSync | undefined;
  #file: LinearFile | undefined;
  #state: LinearState = readLinear(new Uint8Array(0), plainFormat, "");
  #current: Generation = { number: 0, blobs: {} };
  #sequence = 0;
  /** The region of the last commit, and that of the one before, whose memory the next one may have. */
  #newest: Region | undefined;
  #spare: Region | undefined;
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
    if (!(options.fsync ?? true) && !options.fileSystem) this.#syncLater = new BackgroundSync([file]);
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
    const { mode, fsync = true } = this.#options;
    const file = LinearFile.write(this.#path, { mode, fsync, fileSystem: this.#fs });
    try {
      const fence = this.#lock.acquire();
      this.#formatIfEmpty(file);
      this.#file = file;
      return fence;
    } catch (error) {
      this.#lock.release();
      file.close();
      throw error;
    }
  }

  release(): void {
    this.#syncLater?.finish();
    this.#lock.release();
    this.#file?.close();
    this.#file = undefined;
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
    const file = this.#file!;
    this.#verify(file);
    if (next.number !== this.#current.number + 1) {
      throw new StateError(
        "conflict",
        `${this.name}: generation ${this.#current.number} is there, not ${next.number - 1}`,
      );
    }
    // A commit of unknown outcome may be live already: it is repeated byte for byte.
    const attempt = this.#pending?.next === next ? this.#pending : this.#prepare(next);
    const { start, end, block } = attempt.region;
    this.#writeRegion(file, attempt.region);
    this.#pending = attempt;
    // Where swtpm wrote, its states may begin right behind the header.
    this.#switchTo(file, this.#state.foreign ? block.subarray(0, HEADER_SIZE) : block);
    if (this.#state.foreign) this.#wipe(file, attempt.region);
    this.#pending = undefined;
    this.#state = {
      block,
      empty: false,
      own: true,
      foreign: false,
      states: attempt.states,
      blobs: next.blobs,
      live: { start, end },
      generation: next.number,
      sequence: this.#sequence,
    };
    this.#current = next;
    this.#syncLater?.touch();
    this.#spare = this.#newest;
    this.#newest = attempt.region;
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
    const spare = this.#spare;
    // Whatever becomes of this attempt, nothing else may write to its memory.
    this.#spare = undefined;
    return { next, states, region: layOut(states, occupied, commit, spare) };
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
  #writeRegion(file: LinearFile, region: Region): void {
    try {
      file.makeRoom(region.end);
      file.write(region.bytes, region.start);
      if (!this.#state.own) file.sync();
      file.verify(region.bytes, region.start);
    } catch (error) {
      const failure = ioError(`cannot write the state: ${this.#path}`, error);
      throw this.#pending ? new StateError("unknown", failure.message, { cause: failure }) : failure;
    }
  }

  #switchTo(file: LinearFile, block: Uint8Array): void {
    try {
      file.write(block, 0);
      file.sync();
    } catch (error) {
      throw this.#notDurable(error);
    }
  }

  /** Removes what another program wrote, so that nothing of it can ever be taken for what a commit did not bring to the disk. */
  #wipe(file: LinearFile, { start, end, block }: Region): void {
    try {
      file.write(block.subarray(HEADER_SIZE), HEADER_SIZE);
      file.write(new Uint8Array(start - BLOCK_SIZE), BLOCK_SIZE);
      file.write(new Uint8Array(Math.max(0, file.size() - end)), end);
      file.sync();
    } catch (error) {
      throw this.#notDurable(error);
    }
  }

  #notDurable(error: unknown): StateError {
    const message = `cannot make the state durable: ${this.#path}: ${(error as Error).message}`;
    return new StateError("unknown", message, { cause: error });
  }

  /** Somebody may have written since the header was read: before the lock was taken, or at any time without one. */
  #verify(file: LinearFile): void {
    if (this.#verified && this.#lock.held) return;
    const changed = this.#verified ? !this.#isKnown(file.block()) : this.#contentChanged();
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
    if (this.#file) return readLinear(this.#file.image(), this.#format, this.name);
    const file = LinearFile.read(this.#path, this.#fs);
    if (!file) return readLinear(new Uint8Array(0), this.#format, this.name);
    try {
      return this.#readShared(file);
    } finally {
      file.close();
    }
  }

  /** Reads while another process may write: what was read while the header changed is read again. */
  #readShared(file: LinearFile): LinearState {
    for (let attempt = 1; ; attempt++) {
      try {
        const state = readLinear(file.image(), this.#format, this.name);
        if (equal(file.block(), state.block) || attempt === READ_ATTEMPTS) return state;
      } catch (error) {
        if (!(error instanceof StateError) || error.kind !== "damaged" || attempt === READ_ATTEMPTS) throw error;
      }
    }
  }

  /** Makes a linear store of what holds nothing yet. */
  #formatIfEmpty(file: LinearFile): void {
    try {
      if (!this.#isEmpty(file)) return;
      file.write(EMPTY_HEADER, 0);
      file.sync();
      file.syncName();
    } catch (error) {
      throw error instanceof StateError ? error : ioError(`cannot write the state: ${this.#path}`, error);
    }
    this.#options.inform?.(`Formatting '${this.name}' as new linear NVRAM store`);
  }

  #isEmpty(file: LinearFile): boolean {
    try {
      return readLinear(file.image(), this.#format, this.name).empty;
    } catch (error) {
      // What is wrong with it, `load` tells.
      if (error instanceof StateError && error.kind !== "io") return false;
      throw error;
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
