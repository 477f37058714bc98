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
 * under which swtpm exchanges the two, the generation before, the name under which that is exchanged, and a damaged file that was put aside;
 * for the volatile state its journal.
 */
export type FileRole = "current" | LeftOverRole | "damaged" | "journal";
/** Files that may hold a whole state when the current one does not. */
export type LeftOverRole = "temporary" | "backup" | "exchange" | "previous" | "retired";

const SUFFIXES: Readonly<Record<FileRole, string>> = {
  current: "",
  temporary: "",
  backup: ".bak",
  exchange: ".tmp",
  previous: ".prev",
  retired: ".prev.tmp",
  damaged: ".damaged",
  journal: ".journal",
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
    | "ftruncateSync"
    | "fsyncSync"
    | "fdatasyncSync"
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
  /** The permanent state before the last one has a file that only that state is written to. */
  readonly backup: boolean;
  /** Change nothing, not even the mode of a file that is read. */
  readonly readOnly: boolean;
  readonly fileSystem?: DirectoryFileSystem | undefined;
}

export const DEFAULT_MODE = 0o640;
/** No state blob comes near this; a larger file is none. */
const MAX_FILE_SIZE = 16 * 1024 * 1024;

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = nodeFs.constants;

/** A directory with swtpm's state files. Every error is a StateError: "io" as long as the current files are as before, else "unknown". */
export class StateFiles {
  readonly directory: string;
  readonly #options: StateFilesOptions;
  readonly #fs: DirectoryFileSystem;
  readonly #two: string;
  /**
   * The file of the generation before: one that this object wrote, and may write over; one that it replaced, whose owner and mode are
   * another's; or something left over.
   */
  #previous: "written" | "replaced" | "left over" = "left over";
  #wroteCurrent = false;
  /** Whether files can be exchanged here, as far as is known. */
  #exchanges: boolean;

  constructor(directory: string, options: StateFilesOptions) {
    this.directory = directory;
    this.#options = options;
    this.#exchanges = !options.backup;
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
   * Gives a blob new content: written beside its place, read again, synced, and renamed.
   *
   * @param keepOld the old file becomes the backup; at every moment one of the names holds a whole state.
   */
  replace(type: StateBlobType, content: Uint8Array, keepOld: boolean): void {
    if (type !== "permanent" || !this.#exchangeWithPrevious(content)) this.#replaceByTemporary(type, content, keepOld);
    this.#syncDirectory();
  }

  remove(type: StateBlobType): void {
    if (type === "permanent") this.removePrevious();
    this.#remove(this.pathOf(type));
    this.#syncDirectory();
  }

  /** Writes the journal of the volatile state. */
  writeJournal(content: Uint8Array): void {
    this.#replaceByTemporary("volatile", content, false, "journal");
    this.#syncDirectory();
  }

  /**
   * Removes the journal.
   *
   * @param durably before anything else changes.
   */
  removeJournal(durably: boolean): void {
    this.#remove(this.pathOf("volatile", "journal"));
    if (durably) this.#syncDirectory();
  }

  #remove(file: string): void {
    try {
      this.#fs.unlinkSync(file);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw ioError(`cannot remove ${file}`, error);
    }
  }

  /** Forgets the generation before, which is of use as long as there are commits. What another process left stays. */
  removePrevious(): void {
    const owned = this.#previous !== "left over";
    this.#previous = "left over";
    this.#wroteCurrent = false;
    if (owned) this.#discard(this.pathOf("permanent", "previous"));
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

  /**
   * Writes the permanent state over the generation before the last one, and lets the two files change places. That takes no new file and no
   * new blocks, which is most of what replacing a file costs. The current file is a whole generation at every moment, and never written to.
   *
   * @returns false when it cannot be done: where there are no hard links, or something failed. Then the current file is as it was.
   */
  #exchangeWithPrevious(content: Uint8Array): boolean {
    if (!this.#exchanges) return false;
    const file = this.pathOf("permanent");
    const previous = this.pathOf("permanent", "previous");
    const retired = this.pathOf("permanent", "retired");
    if (this.#previous !== "written") {
      this.#discard(previous);
      this.#discard(retired);
    }
    let replaces: boolean;
    try {
      this.#writeOver(previous, content);
      replaces = this.#linkIfThere(file, retired);
      this.#fs.renameSync(previous, file);
    } catch {
      this.#exchanges = false;
      this.#previous = "left over";
      this.#discard(previous);
      this.#discard(retired);
      return false;
    }
    const owned = this.#wroteCurrent ? "written" : "replaced";
    this.#previous = replaces && this.#renamed(retired, previous) ? owned : "left over";
    this.#wroteCurrent = true;
    return true;
  }

  /** Gives the file of the generation before new content; a new file, unless there is one that nobody else has under another name. */
  #writeOver(previous: string, content: Uint8Array): void {
    const { mode, fsync } = this.#options;
    const old = this.#previous === "written" ? this.#openAlone(previous) : undefined;
    const fd = old?.fd ?? this.#fs.openSync(previous, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode ?? DEFAULT_MODE);
    try {
      if (!old && mode !== undefined) this.#fs.fchmodSync(fd, mode);
      writeAll(this.#fs, fd, content, 0);
      if (old && old.size > content.length) this.#fs.ftruncateSync(fd, content.length);
      if (!fsync) return;
      this.#fs.fdatasyncSync(fd);
      verifyContent(this.#fs, fd, content, 0);
    } finally {
      this.#fs.closeSync(fd);
    }
  }

  /** Opens a file for writing over it. One with further names is somebody's copy (`cp -l`): it loses this name, and is not touched. */
  #openAlone(file: string): { readonly fd: number; readonly size: number } | undefined {
    const fd = this.#fs.openSync(file, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    const stat = this.#fs.fstatSync(fd);
    if (stat.isFile() && stat.nlink === 1) return { fd, size: stat.size };
    this.#fs.closeSync(fd);
    this.#fs.unlinkSync(file);
    return undefined;
  }

  #replaceByTemporary(type: StateBlobType, content: Uint8Array, keepOld: boolean, role: FileRole = "current"): void {
    const [file, temporary] = [this.pathOf(type, role), this.pathOf(type, "temporary")];
    try {
      this.#write(temporary, content);
      if (keepOld) this.#linkBackup(type);
      this.#fs.renameSync(temporary, file);
    } catch (error) {
      this.#discard(temporary);
      throw ioError(`cannot write the state: ${file}`, error);
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
      if (!this.#linkIfThere(file, exchange)) return;
    } catch {
      // File systems without hard links get a copy.
      this.#write(exchange, this.read(type) ?? new Uint8Array(0));
    }
    this.#fs.renameSync(exchange, backup);
  }

  /** Gives a file a second name, in place of what may have it. @returns false when there is no such file */
  #linkIfThere(file: string, name: string): boolean {
    try {
      this.#fs.linkSync(file, name);
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENOENT") return false;
      if (code !== "EEXIST") throw error;
      this.#fs.unlinkSync(name);
      this.#fs.linkSync(file, name);
    }
    return true;
  }

  /** Renames what nothing depends on. */
  #renamed(from: string, to: string): boolean {
    try {
      this.#fs.renameSync(from, to);
      return true;
    } catch {
      this.#discard(from);
      return false;
    }
  }

  #renameIfThere(from: string, to: string): void {
    try {
      this.#fs.renameSync(from, to);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
    }
  }

  /** Removes what is in the way of nobody if that fails. */
  #discard(file: string): void {
    try {
      this.#fs.unlinkSync(file);
    } catch {
      // It was not there, or the next write deals with it.
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
 * @param into memory of that size, which the content is read to.
 * @throws Error when it is something else.
 */
export function verifyContent(
  fileSystem: PositionedIo,
  fd: number,
  bytes: Uint8Array,
  offset: number,
  into = Buffer.allocUnsafe(bytes.length),
): void {
  const size = fileSystem.readSync(fd, into, 0, bytes.length, offset);
  if (size !== bytes.length || !into.equals(bytes)) throw new Error("the file does not hold what was written to it");
}

export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

export function ioError(what: string, error: unknown): StateError {
  return new StateError("io", `${what}: ${(error as Error).message}`, { cause: error });
}
