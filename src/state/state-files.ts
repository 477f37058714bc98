// The files of a state directory: read whole, written beside their place, verified, and renamed into it.
import nodeFs from "node:fs";
import path from "node:path";
import type { StateBlobType, TpmFamily } from "../backend/backend.ts";
import { StateError } from "./store.ts";

/** The names swtpm gives the blobs in file names and in --print-states. */
export const BLOB_FILE_NAMES: Readonly<Record<StateBlobType, string>> = {
  permanent: "permall",
  volatile: "volatilestate",
  savestate: "savestate",
};

/**
 * The files a blob may be in: the one that counts, the one it is written to first, and for the permanent state swtpm's backup, the name
 * under which swtpm exchanges the two, and a damaged file that was put aside.
 */
export type FileRole = "current" | LeftOverRole | "damaged";
/** Files that may hold a whole state when the current one does not. */
export type LeftOverRole = "temporary" | "backup" | "exchange";

const SUFFIXES: Readonly<Record<FileRole, string>> = {
  current: "",
  temporary: "",
  backup: ".bak",
  exchange: ".tmp",
  damaged: ".damaged",
};

/** How stores read and write: a part of node:fs. */
export interface PositionedIo {
  readSync(fd: number, bytes: Uint8Array, at: number, length: number, offset: number): number;
  writeSync(fd: number, bytes: Uint8Array, at: number, length: number, offset: number): number;
}

/** The part of node:fs that a state directory takes; tests give one that fails at a chosen call. */
export type DirectoryFileSystem = PositionedIo &
  Pick<
    typeof nodeFs,
    | "openSync"
    | "fstatSync"
    | "readFileSync"
    | "fchmodSync"
    | "fsyncSync"
    | "closeSync"
    | "linkSync"
    | "renameSync"
    | "unlinkSync"
  >;

export interface StateFilesOptions {
  readonly family?: TpmFamily | undefined;
  /** Permission bits of new files, which also are put right on existing ones. Without it 0640 and the umask count. */
  readonly mode?: number | undefined;
  /** Let everything reach the disk, and read it again, before it is done. */
  readonly fsync: boolean;
  /** Change nothing, not even the mode of a file that is read. */
  readonly readOnly: boolean;
  readonly fileSystem?: DirectoryFileSystem | undefined;
}

export const DEFAULT_MODE = 0o640;
/** No state blob comes near this; a larger file is none. */
const MAX_FILE_SIZE = 16 * 1024 * 1024;

const { O_RDONLY, O_RDWR, O_CREAT, O_TRUNC, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = nodeFs.constants;

/** A directory with swtpm's state files. Every error is a StateError: "io" as long as the current files are as before, else "unknown". */
export class StateFiles {
  readonly directory: string;
  readonly #options: StateFilesOptions;
  readonly #fs: DirectoryFileSystem;
  readonly #two: string;

  constructor(directory: string, options: StateFilesOptions) {
    this.directory = directory;
    this.#options = options;
    this.#fs = options.fileSystem ?? nodeFs;
    this.#two = (options.family ?? "2.0") === "2.0" ? "2" : "";
  }

  pathOf(type: StateBlobType, role: FileRole = "current"): string {
    const name = `${role === "temporary" ? "TMP" : "tpm"}${this.#two}-00.${BLOB_FILE_NAMES[type]}${SUFFIXES[role]}`;
    return path.join(this.directory, name);
  }

  /**
   * The content of a file; undefined when there is none.
   *
   * @throws StateError "damaged" for what is no file or too large for a state, "io".
   */
  read(type: StateBlobType, role: FileRole = "current"): Buffer | undefined {
    const file = this.pathOf(type, role);
    try {
      // What another program left behind may be a link to anything.
      const fd = this.#fs.openSync(file, O_RDONLY | O_NONBLOCK | (role === "current" ? 0 : O_NOFOLLOW));
      try {
        const stat = this.#fs.fstatSync(fd);
        if (!stat.isFile() || stat.size > MAX_FILE_SIZE) throw new StateError("damaged", `${file} is not a state file`);
        if (!this.#options.readOnly) this.#correctMode(fd, stat.mode & 0o777);
        return this.#fs.readFileSync(fd);
      } finally {
        this.#fs.closeSync(fd);
      }
    } catch (error) {
      if (error instanceof StateError) throw error;
      if (errorCode(error) === "ENOENT") return undefined;
      throw ioError(`cannot read the state: ${file}`, error);
    }
  }

  /**
   * Gives a blob new content: written to the temporary file, read again, synced, and renamed.
   *
   * @param keepOld the old file becomes the backup; at every moment one of the names holds a whole state.
   */
  replace(type: StateBlobType, content: Uint8Array, keepOld: boolean): void {
    const [file, temporary] = [this.pathOf(type), this.pathOf(type, "temporary")];
    try {
      this.#write(temporary, content);
      if (keepOld) this.#linkBackup(type);
      this.#fs.renameSync(temporary, file);
    } catch (error) {
      this.#discard(temporary);
      throw ioError(`cannot write the state: ${file}`, error);
    }
    this.#syncDirectory();
  }

  remove(type: StateBlobType): void {
    try {
      this.#fs.unlinkSync(this.pathOf(type));
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw ioError(`cannot remove ${this.pathOf(type)}`, error);
    }
    this.#syncDirectory();
  }

  /** Makes a left-over file the permanent state; a damaged one that has the name is put aside. The next `replace` syncs that too. */
  adopt(role: LeftOverRole): void {
    const file = this.pathOf("permanent");
    try {
      this.#renameIfThere(file, this.pathOf("permanent", "damaged"));
      this.#fs.renameSync(this.pathOf("permanent", role), file);
    } catch (error) {
      throw ioError(`cannot rename ${this.pathOf("permanent", role)} to ${file}`, error);
    }
  }

  #write(temporary: string, content: Uint8Array): void {
    const { mode, fsync } = this.#options;
    const fd = this.#fs.openSync(temporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, mode ?? DEFAULT_MODE);
    try {
      if (mode !== undefined) this.#fs.fchmodSync(fd, mode);
      writeAll(this.#fs, fd, content, 0);
      if (!fsync) return;
      this.#fs.fsyncSync(fd);
      verifyContent(this.#fs, fd, content, 0);
    } finally {
      this.#fs.closeSync(fd);
    }
  }

  /** The current file gets the backup's name as well, which takes a link and a rename: there is no call that replaces a link. */
  #linkBackup(type: StateBlobType): void {
    const [file, exchange, backup] = [
      this.pathOf(type),
      this.pathOf(type, "exchange"),
      this.pathOf(type, "backup"),
    ] as const;
    try {
      this.#fs.linkSync(file, exchange);
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENOENT") return;
      if (code === "EEXIST") this.#fs.unlinkSync(exchange);
      if (code === "EEXIST") this.#fs.linkSync(file, exchange);
      // File systems without hard links get a copy.
      else this.#write(exchange, this.read(type) ?? new Uint8Array(0));
    }
    this.#fs.renameSync(exchange, backup);
  }

  #renameIfThere(from: string, to: string): void {
    try {
      this.#fs.renameSync(from, to);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
    }
  }

  #discard(temporary: string): void {
    try {
      this.#fs.unlinkSync(temporary);
    } catch {
      // It is in the way of nobody: the next write truncates it.
    }
  }

  /** swtpm gives existing files the mode asked for, and makes them writable in any case. */
  #correctMode(fd: number, mode: number): void {
    const wanted = this.#options.mode ?? (mode & 0o200 ? mode : DEFAULT_MODE | 0o200);
    if (mode !== wanted && process.platform !== "win32") this.#fs.fchmodSync(fd, wanted);
  }

  /** Makes a rename or removal durable. When that fails the change is there now, but may be gone after a power loss. */
  #syncDirectory(): void {
    if (!this.#options.fsync || process.platform === "win32") return;
    try {
      const fd = this.#fs.openSync(this.directory, O_RDONLY);
      try {
        this.#fs.fsyncSync(fd);
      } finally {
        this.#fs.closeSync(fd);
      }
    } catch (error) {
      const message = `cannot make the state durable: ${this.directory}: ${(error as Error).message}`;
      throw new StateError("unknown", message, { cause: error });
    }
  }
}

/** Writes all of the bytes at an offset of the file. */
export function writeAll(fileSystem: PositionedIo, fd: number, bytes: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.length; ) at += fileSystem.writeSync(fd, bytes, at, bytes.length - at, offset + at);
}

/**
 * Reads what was written.
 *
 * @throws Error when it is something else.
 */
export function verifyContent(fileSystem: PositionedIo, fd: number, bytes: Uint8Array, offset: number): void {
  const read = Buffer.allocUnsafe(bytes.length);
  const size = fileSystem.readSync(fd, read, 0, read.length, offset);
  if (size !== bytes.length || read.compare(bytes) !== 0)
    throw new Error("the file does not hold what was written to it");
}

export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

export function ioError(what: string, error: unknown): StateError {
  return new StateError("io", `${what}: ${(error as Error).message}`, { cause: error });
}
