// State that lives as long as the process does.
import { type Generation, type StateBlobs, StateError, type StateStore } from "./store.ts";

/** A store in memory: for throw-away TPMs, tests and examples. */
export class MemoryStore implements StateStore {
  readonly name: string;
  #current: Generation;
  #fence = 0;
  #owned = false;

  constructor(blobs: StateBlobs = {}, name = "memory") {
    this.name = name;
    this.#current = { number: 0, blobs };
  }

  acquire(): number {
    if (!this.#owned) {
      this.#owned = true;
      this.#fence++;
    }
    return this.#fence;
  }

  release(): void {
    this.#owned = false;
  }

  load(): Generation {
    return this.#current;
  }

  commit(next: Generation, fence: number): void {
    if (!this.#owned || fence !== this.#fence)
      throw new StateError("conflict", `${this.name}: another owner has taken the state`);
    if (next === this.#current) return;
    if (next.number !== this.#current.number + 1) {
      throw new StateError(
        "conflict",
        `${this.name}: generation ${this.#current.number} is stored, not ${next.number - 1}`,
      );
    }
    this.#current = next;
  }

  close(): void {
    this.release();
  }
}
