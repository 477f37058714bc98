// swtpm's directory backend: one file for each state blob, replaced atomically.
import nodeFs from "node:fs";
import path from "node:path";
import type { StateBlobType, TpmFamily } from "../backend/backend.ts";
import { type FileLock, lockFile } from "../platform/file-lock.ts";
import { plainFormat } from "./container.ts";
import type { StateFormat, StoredBlob } from "./format.ts";
import { BLOB_TYPES, type Generation, StateError, type StateStore } from "./store.ts";

/** The names swtpm gives the blobs in file names and in --print-states. */
export const BLOB_FILE_NAMES: Readonly<Record<StateBlobType, string>> = {
  permanent: "permall",
  volatile: "volatilestate",
  savestate: "savestate",
};

/** The part of node:fs that a DirStore uses; tests give one that fails at a chosen call. */
export type StoreFileSystem = Pick<
  typeof nodeFs,
  | "openSync"
  | "fstatSync"
  | "readFileSync"
  | "writeSync"
  | "fchmodSync"
  | "fsyncSync"
  | "closeSync"
  | "renameSync"
  | "unlinkSync"
>;

export interface DirStoreOptions {
  readonly family?: TpmFamily;
  /** What is put around the blobs. Default: swtpm's container, unencrypted. */
  readonly format?: StateFormat;
  /** Permission bits of new files, which also are put right on existing ones. Without it 0640 and the umask count. */
  readonly mode?: number;
  /** Hold a lock on `.lock` while owning the state. Default true. */
  readonly lock?: boolean;
  /** Let every commit reach the disk before it is done. Default true. */
  readonly fsync?: boolean;
  /** Told once when the lock cannot keep out a foreign swtpm that starts later. */
  readonly warn?: (sentence: string) => void;
  readonly fileSystem?: StoreFileSystem;
}

const DEFAULT_MODE = 0o640;
/** No state blob comes near this; a larger file is none. */
const MAX_FILE_SIZE = 16 * 1024 * 1024;

/** Which file was seen: a replaced one has another inode or time. */
type FileIdentity = string | undefined;

/**
 * State in a directory, in swtpm's files: `tpm2-00.permall`, `tpm2-00.volatilestate`, written as `TMP2-00.…` and renamed.
 *
 * The number of a generation is in the files' format; where another program wrote them it is counted. The identity of the files tells
 * whether somebody else wrote between an unlocked `load` and `acquire`. When several blobs change in one commit, a stored volatile state
 * that no longer fits is removed first and a new one is written last: a crash between leaves what a power loss leaves.
 */
export class DirStore implements StateStore {
  readonly name: string;
  readonly #directory: string;
  readonly #options: DirStoreOptions;
  readonly #fs: StoreFileSystem;
  readonly #format: StateFormat;
  #current: Generation = { number: 0, blobs: {} };
  #seen: Record<StateBlobType, FileIdentity> = { permanent: undefined, volatile: undefined, savestate: undefined };
  #fence = 0;
  #owned = false;
  #verified = false;
  #lock: FileLock | undefined;

  constructor(directory: string, options: DirStoreOptions = {}) {
    this.#directory = directory;
    this.name = `dir://${directory}`;
    this.#options = options;
    this.#fs = options.fileSystem ?? nodeFs;
    this.#format = options.format ?? plainFormat;
  }

  acquire(): number {
    if (this.#owned) return this.#fence;
    if (this.#options.lock ?? true) this.#takeLock();
    this.#owned = true;
    this.#verified = false;
    return ++this.#fence;
  }

  release(): void {
    this.#lock?.release();
    this.#lock = undefined;
    this.#owned = false;
  }

  load(): Generation {
    const before = this.#seen;
    const blobs: { [type in StateBlobType]?: Uint8Array } = {};
    const seen: Record<StateBlobType, FileIdentity> = {
      permanent: undefined,
      volatile: undefined,
      savestate: undefined,
    };
    let number = 0;
    for (const type of BLOB_TYPES) {
      const file = this.#read(this.#pathOf(type));
      if (!file) continue;
      seen[type] = file.identity;
      // An unchanged file keeps its object: that is how a commit knows that it need not write it.
      const known = file.identity === before[type] ? this.#current.blobs[type] : undefined;
      if (known) {
        blobs[type] = known;
        continue;
      }
      const stored = this.#decode(type, file.bytes);
      blobs[type] = stored.blob;
      number = Math.max(number, stored.generation ?? 0);
    }
    const changed = BLOB_TYPES.some((type) => seen[type] !== before[type]);
    this.#seen = seen;
    if (changed) this.#current = { number: Math.max(number, this.#current.number + 1), blobs };
    this.#verified = this.#owned;
    return this.#current;
  }

  commit(next: Generation, fence: number): void {
    if (!this.#owned || fence !== this.#fence)
      throw new StateError("conflict", `${this.name}: another owner has taken the state`);
    if (next === this.#current) return;
    if (!this.#verified) this.#verify();
    if (next.number !== this.#current.number + 1) {
      throw new StateError(
        "conflict",
        `${this.name}: generation ${this.#current.number} is there, not ${next.number - 1}`,
      );
    }
    let touched = false;
    try {
      for (const step of this.#steps(next)) {
        step();
        touched = true;
      }
    } catch (error) {
      if (touched && error instanceof StateError) throw new StateError("unknown", error.message, { cause: error });
      throw error;
    }
    this.#current = next;
  }

  close(): void {
    this.release();
  }

  /** What is to be done to the files, in the order that leaves a consistent state wherever it ends. */
  #steps(next: Generation): (() => void)[] {
    const changed = BLOB_TYPES.filter((type) => next.blobs[type] !== this.#current.blobs[type]);
    const steps: (() => void)[] = [];
    if (changed.length > 1 && changed.includes("volatile")) steps.push(() => this.#remove("volatile"));
    for (const type of ["permanent", "savestate", "volatile"] as const) {
      if (!changed.includes(type)) continue;
      const blob = next.blobs[type];
      steps.push(
        blob ? () => this.#replace(type, this.#format.encode(type, blob, next.number)) : () => this.#remove(type),
      );
    }
    return steps;
  }

  #pathOf(type: StateBlobType, temporary = false): string {
    const two = (this.#options.family ?? "2.0") === "2.0" ? "2" : "";
    return path.join(this.#directory, `${temporary ? "TMP" : "tpm"}${two}-00.${BLOB_FILE_NAMES[type]}`);
  }

  #takeLock(): void {
    const file = path.join(this.#directory, ".lock");
    let lock: FileLock | undefined;
    try {
      lock = lockFile(file);
    } catch (error) {
      throw ioError(`cannot lock the state: ${file}`, error);
    }
    if (!lock) {
      throw new StateError(
        "locked",
        `the state in ${this.#directory} is in use by another process; stop it first, or give this TPM a directory of its own`,
      );
    }
    if (!lock.foreignSafe) {
      this.#options.warn?.(
        `no perl, python3 or flock --fcntl was found: a swtpm started later on ${this.#directory} would not notice that it is in use`,
      );
    }
    this.#lock = lock;
  }

  /** Reads again what was loaded without ownership: somebody may have written since. */
  #verify(): void {
    const expected = this.#current;
    if (this.load() !== expected) {
      throw new StateError("conflict", `${this.name}: the state was changed by another process after it was read`);
    }
  }

  #read(file: string): { bytes: Uint8Array; identity: string } | undefined {
    const { O_RDONLY, O_NONBLOCK } = nodeFs.constants;
    try {
      const fd = this.#fs.openSync(file, O_RDONLY | O_NONBLOCK);
      try {
        const stat = this.#fs.fstatSync(fd, { bigint: true });
        if (!stat.isFile() || stat.size > MAX_FILE_SIZE) throw new StateError("damaged", `${file} is not a state file`);
        this.#correctMode(fd, Number(stat.mode) & 0o777);
        return { bytes: this.#fs.readFileSync(fd), identity: identityOf(stat) };
      } finally {
        this.#fs.closeSync(fd);
      }
    } catch (error) {
      if (error instanceof StateError) throw error;
      if (errorCode(error) === "ENOENT") return undefined;
      throw ioError(`cannot read the state: ${file}`, error);
    }
  }

  #decode(type: StateBlobType, bytes: Uint8Array): StoredBlob {
    try {
      return this.#format.decode(type, bytes);
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      throw new StateError(error.kind, `${this.#pathOf(type)}: ${error.message}`, { cause: error });
    }
  }

  /** swtpm gives existing files the mode asked for, and makes them writable in any case. */
  #correctMode(fd: number, mode: number): void {
    const wanted = this.#options.mode ?? (mode & 0o200 ? mode : DEFAULT_MODE | 0o200);
    if (mode !== wanted && process.platform !== "win32") this.#fs.fchmodSync(fd, wanted);
  }

  /** Writes a file beside the old one and renames it over that. */
  #replace(type: StateBlobType, content: Uint8Array): void {
    const file = this.#pathOf(type);
    const temporary = this.#pathOf(type, true);
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW = 0 } = nodeFs.constants;
    let identity: string;
    try {
      const fd = this.#fs.openSync(
        temporary,
        O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW,
        this.#options.mode ?? DEFAULT_MODE,
      );
      try {
        if (this.#options.mode !== undefined) this.#fs.fchmodSync(fd, this.#options.mode);
        for (let at = 0; at < content.length; ) at += this.#fs.writeSync(fd, content, at);
        if (this.#options.fsync ?? true) this.#fs.fsyncSync(fd);
        identity = identityOf(this.#fs.fstatSync(fd, { bigint: true }));
      } finally {
        this.#fs.closeSync(fd);
      }
      this.#fs.renameSync(temporary, file);
    } catch (error) {
      this.#discard(temporary);
      throw ioError(`cannot write the state: ${file}`, error);
    }
    this.#seen[type] = identity;
    this.#syncDirectory();
  }

  #remove(type: StateBlobType): void {
    if (this.#seen[type] === undefined) return;
    try {
      this.#fs.unlinkSync(this.#pathOf(type));
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw ioError(`cannot remove ${this.#pathOf(type)}`, error);
    }
    this.#seen[type] = undefined;
    this.#syncDirectory();
  }

  #discard(temporary: string): void {
    try {
      this.#fs.unlinkSync(temporary);
    } catch {
      // It is in the way of nobody: the next write truncates it.
    }
  }

  /** Makes a rename or removal durable. When that fails the change is there now, but may be gone after a power loss. */
  #syncDirectory(): void {
    if (!(this.#options.fsync ?? true) || process.platform === "win32") return;
    try {
      const fd = this.#fs.openSync(this.#directory, nodeFs.constants.O_RDONLY);
      try {
        this.#fs.fsyncSync(fd);
      } finally {
        this.#fs.closeSync(fd);
      }
    } catch (error) {
      throw new StateError(
        "unknown",
        `cannot make the state durable: ${this.#directory}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}

/** Which blobs a state directory has, and the size of their files in bytes: what --print-states prints. */
export function listStates(directory: string, family: TpmFamily = "2.0"): { name: string; size: number }[] {
  const found: { name: string; size: number }[] = [];
  for (const type of BLOB_TYPES) {
    const name = BLOB_FILE_NAMES[type];
    const file = path.join(directory, `tpm${family === "2.0" ? "2" : ""}-00.${name}`);
    const stat = nodeFs.statSync(file, { throwIfNoEntry: false });
    if (!stat) continue;
    if (!stat.isFile()) throw new StateError("damaged", `${file} is not a state file`);
    found.push({ name, size: stat.size });
  }
  return found;
}

function identityOf(stat: nodeFs.BigIntStats): string {
  return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}`;
}

function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function ioError(what: string, error: unknown): StateError {
  return new StateError("io", `${what}: ${(error as Error).message}`, { cause: error });
}
