// Files that are replaced atomically and durably: what a repository needs of a file system.
import nodeFs from "node:fs";
import path from "node:path";
import { StateError } from "../store.ts";

/** The part of node:fs that is used; tests give one that fails or forgets. */
export type SnapshotFileSystem = Pick<
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
  | "mkdirSync"
  | "chmodSync"
  | "readdirSync"
>;

export interface FileOptions {
  /** Permission bits of the files, as the state's; a folder gets the search bits that belong to them. Without it 0640 and the umask count. */
  readonly mode?: number;
  /** Let every change reach the disk before it is done. Default true. */
  readonly fsync?: boolean;
  readonly fileSystem?: SnapshotFileSystem;
}

/** Ends the name of a file that is being written. */
export const TEMPORARY = ".tmp";
const DEFAULT_MODE = 0o640;
const MAX_FILE_SIZE = 64 * 1024 * 1024;

/** Every method throws StateError "io" when nothing was changed, "unknown" when the change may or may not last. */
export class Files {
  readonly #fs: SnapshotFileSystem;
  readonly #mode: number | undefined;
  readonly #fsync: boolean;

  constructor(options: FileOptions = {}) {
    this.#fs = options.fileSystem ?? nodeFs;
    this.#mode = options.mode;
    this.#fsync = options.fsync ?? true;
  }

  /** Undefined when there is none. @throws StateError "damaged" for what is no plain file or larger than any can be. */
  read(file: string): Uint8Array | undefined {
    const { O_RDONLY, O_NONBLOCK } = nodeFs.constants;
    try {
      const fd = this.#fs.openSync(file, O_RDONLY | O_NONBLOCK);
      try {
        const stat = this.#fs.fstatSync(fd);
        if (!stat.isFile() || stat.size > MAX_FILE_SIZE)
          throw new StateError("damaged", `${file} is no file of a snapshot`);
        return this.#fs.readFileSync(fd);
      } finally {
        this.#fs.closeSync(fd);
      }
    } catch (error) {
      if (error instanceof StateError) throw error;
      if (codeOf(error) === "ENOENT") return undefined;
      throw ioError(`cannot read ${file}`, error);
    }
  }

  /** Puts a file in place of another, or none; its folder is yet to be synced. */
  write(file: string, content: Uint8Array): void {
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW = 0 } = nodeFs.constants;
    const temporary = file + TEMPORARY;
    try {
      const fd = this.#fs.openSync(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, this.#mode ?? DEFAULT_MODE);
      try {
        if (this.#mode !== undefined) this.#fs.fchmodSync(fd, this.#mode);
        for (let at = 0; at < content.length; ) at += this.#fs.writeSync(fd, content, at);
        if (this.#fsync) this.#fs.fsyncSync(fd);
      } finally {
        this.#fs.closeSync(fd);
      }
      this.#fs.renameSync(temporary, file);
    } catch (error) {
      throw ioError(`cannot write ${file}`, error);
    }
  }

  /** Removes a file, if it is there; that it is gone need not last. */
  remove(file: string): void {
    try {
      this.#fs.unlinkSync(file);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw ioError(`cannot remove ${file}`, error);
    }
  }

  /** The names in a folder; none when it does not exist. */
  list(folder: string): string[] {
    try {
      return this.#fs.readdirSync(folder);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw ioError(`cannot read ${folder}`, error);
    }
  }

  /** Makes a folder, if it is not there, in one that exists, and makes that durable. */
  makeFolder(folder: string): void {
    const mode = this.#mode ?? DEFAULT_MODE;
    const searchable = mode | ((mode & 0o444) >> 2) | 0o700;
    try {
      this.#fs.mkdirSync(folder, searchable);
      if (this.#mode !== undefined) this.#fs.chmodSync(folder, searchable);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw ioError(`cannot make ${folder}`, error);
    }
    this.sync(path.dirname(folder));
  }

  /** Makes what was written and removed in a folder durable. */
  sync(folder: string): void {
    if (!this.#fsync || process.platform === "win32") return;
    try {
      const fd = this.#fs.openSync(folder, nodeFs.constants.O_RDONLY);
      try {
        this.#fs.fsyncSync(fd);
      } finally {
        this.#fs.closeSync(fd);
      }
    } catch (error) {
      const message = `cannot make the snapshots durable: ${folder}: ${(error as Error).message}`;
      throw new StateError("unknown", message, { cause: error });
    }
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function ioError(what: string, error: unknown): StateError {
  return new StateError("io", `${what}: ${(error as Error).message}`, { cause: error });
}
