// What need not be on the disk before it is acknowledged gets there soon after.
import nodeFs from "node:fs";
import { promisify } from "node:util";

/** How long what was written may be in memory alone. */
const DELAY_MS = 1000;

/**
 * Lets files reach the disk some time after they were written, while nobody waits. A failure is left to the system, which writes them
 * sooner or later.
 */
export class BackgroundSync {
  readonly #paths: readonly string[];
  readonly #delay: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #changed = false;
  #busy = false;

  /** @param paths files and directories, in the order in which they are to be synced. */
  constructor(paths: readonly string[], delay = DELAY_MS) {
    this.#paths = paths;
    this.#delay = delay;
  }

  /** They were written. */
  touch(): void {
    this.#changed = true;
    if (this.#timer || this.#busy) return;
    this.#timer = setTimeout(() => void this.#sync(), this.#delay);
    // Who ends before that calls `finish`, or is killed.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  /** Syncs now what is still to be synced. */
  finish(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#changed && !this.#busy) return;
    this.#changed = false;
    for (const file of this.#paths) {
      try {
        const fd = nodeFs.openSync(file, "r");
        try {
          nodeFs.fsyncSync(fd);
        } finally {
          nodeFs.closeSync(fd);
        }
      } catch {
        // It was removed, or the system does not sync what is open for reading.
      }
    }
  }

  async #sync(): Promise<void> {
    this.#timer = undefined;
    this.#changed = false;
    this.#busy = true;
    for (const file of this.#paths) await syncPath(file).catch(() => {});
    this.#busy = false;
    if (this.#changed) this.touch();
  }
}

async function syncPath(file: string): Promise<void> {
  const fd = await promisify(nodeFs.open)(file, "r");
  try {
    await promisify(nodeFs.fsync)(fd);
  } finally {
    await promisify(nodeFs.close)(fd);
  }
}
