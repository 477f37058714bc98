// Changes that vanish: a state that is read, and what becomes of it in memory.
import { chain } from "../backend/awaitable.ts";
import type { Awaitable } from "../backend/backend.ts";
import { MemoryStore } from "./memory-store.ts";
import type { Generation, StateStore } from "./store.ts";

/**
 * A TPM that starts from another store's state and leaves it as it is, like a machine under QEMU's `-snapshot`.
 *
 * The base is read once, before the first use. It is not locked: what is read is a whole generation, also while another process goes on
 * writing, and what that writes later is not seen. Every store over the same base has changes of its own.
 */
export class OverlayStore implements StateStore {
  readonly name: string;
  readonly #base: StateStore;
  #memory: MemoryStore | undefined;

  /** @param base a store that is only read from. */
  constructor(base: StateStore) {
    this.name = `${base.name} (ephemeral)`;
    this.#base = base;
  }

  acquire(): Awaitable<number> {
    return chain(this.#opened(), (memory) => memory.acquire());
  }

  release(): void {
    this.#memory?.release();
  }

  load(): Awaitable<Generation> {
    return chain(this.#opened(), (memory) => memory.load());
  }

  commit(next: Generation, fence: number): Awaitable<void> {
    return chain(this.#opened(), (memory) => memory.commit(next, fence));
  }

  close(): Awaitable<void> {
    this.release();
    return this.#base.close();
  }

  #opened(): Awaitable<MemoryStore> {
    if (this.#memory) return this.#memory;
    return chain(this.#base.load(), ({ blobs }) => {
      this.#memory ??= new MemoryStore(blobs, this.name);
      return this.#memory;
    });
  }
}
