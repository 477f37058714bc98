// Ownership of a store that lives in files: the fencing number, and the lock behind it.
import { type FileLock, type LockMeans, lockFile } from "../platform/file-lock.ts";
import { ioError } from "./state-files.ts";
import { StateError } from "./store.ts";

export interface StoreLockOptions {
  /** The file that is locked. */
  readonly file: string;
  /** Lock it at all: without that, ownership is only counted. */
  readonly wanted: boolean;
  /** What to say when another process has the lock. */
  readonly inUse: string;
  /** What the lock protects, for the warning. */
  readonly place: string;
  readonly means?: LockMeans;
  readonly warn?: ((sentence: string) => void) | undefined;
}

/** Who may write to a store in files. */
export class StoreLock {
  readonly #options: StoreLockOptions;
  #fence = 0;
  #owned = false;
  #lock: FileLock | undefined;

  constructor(options: StoreLockOptions) {
    this.#options = options;
  }

  get owned(): boolean {
    return this.#owned;
  }

  /** Whether other processes are kept away. */
  get held(): boolean {
    return this.#lock !== undefined;
  }

  /** @throws StateError "locked", "io" when the file cannot be opened. */
  acquire(): number {
    if (this.#owned) return this.#fence;
    if (this.#options.wanted) this.#take();
    this.#owned = true;
    return ++this.#fence;
  }

  release(): void {
    this.#lock?.release();
    this.#lock = undefined;
    this.#owned = false;
  }

  /** @throws StateError "conflict" for any number but the present owner's. */
  check(fence: number, store: string): void {
    if (!this.#owned || fence !== this.#fence)
      throw new StateError("conflict", `${store}: another owner has taken the state`);
  }

  #take(): void {
    const { file, inUse, place, warn } = this.#options;
    let lock: FileLock | undefined;
    try {
      lock = lockFile(file, this.#options.means);
    } catch (error) {
      throw ioError(`cannot lock the state: ${file}`, error);
    }
    if (!lock) throw new StateError("locked", inUse);
    if (!lock.foreignSafe)
      warn?.(
        `no perl, python3 or flock --fcntl was found: a swtpm started later on ${place} would not notice that it is in use`,
      );
    this.#lock = lock;
  }
}
