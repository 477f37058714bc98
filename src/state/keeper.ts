// What a backend does with its store: own it, know the current generation, write the next one.
import { attempt, chain } from "../backend/awaitable.ts";
import type { Awaitable, StateBlobType } from "../backend/backend.ts";
import { BLOB_TYPES, type Generation, type StateBlobs, StateError, type StateStore } from "./store.ts";

/** What changes in the state; an empty blob or `undefined` removes the stored one. */
export type StateChange = { readonly [type in StateBlobType]?: Uint8Array | undefined };

export interface KeeperOptions {
  /** How often a commit of unknown outcome is repeated before `save` gives up. Default 3. */
  readonly commitAttempts?: number;
}

const LOCK_RETRY_INTERVAL_MS = 10;

/**
 * One TPM's hold on its store. It remembers the generation that the TPM runs on, so that every save is the store's
 * compare-and-swap against it.
 *
 *     const blobs = await keeper.open();          // lock and read
 *     await keeper.save({ permanent: newBlob });  // before the response that depends on it leaves
 *     await keeper.close();
 *
 * With a synchronous store no call returns a promise, except a lock that is retried.
 */
export class StateKeeper {
  readonly store: StateStore;
  readonly #commitAttempts: number;
  #generation: Generation = { number: 0, blobs: {} };
  #fence: number | undefined;

  constructor(store: StateStore, options: KeeperOptions = {}) {
    this.store = store;
    this.#commitAttempts = options.commitAttempts ?? 3;
  }

  /** The blobs of the current generation, as last read or saved. */
  get blobs(): StateBlobs {
    return this.#generation.blobs;
  }

  get locked(): boolean {
    return this.#fence !== undefined;
  }

  /**
   * Locks the store, unless told not to, and reads the newest generation.
   *
   * @throws StateError "locked", "damaged", "too-new", "encrypted" or "io".
   */
  open(options: { deferLock?: boolean } = {}): Awaitable<StateBlobs> {
    return chain(options.deferLock ? undefined : this.lock(0), () =>
      chain(this.store.load(), (generation) => {
        this.#generation = generation;
        return generation.blobs;
      }),
    );
  }

  /**
   * Takes ownership, if it is not held. While another owner is there it tries again every 10 ms, `retries` times.
   *
   * @throws StateError "locked".
   */
  lock(retries: number): Awaitable<void> {
    if (this.#fence !== undefined) return;
    return attempt<void>(
      () =>
        chain(this.store.acquire(), (fence) => {
          this.#fence = fence;
        }),
      (error) => {
        if (retries <= 0 || !(error instanceof StateError) || error.kind !== "locked") throw error;
        return new Promise<void>((resolve) => setTimeout(resolve, LOCK_RETRY_INTERVAL_MS)).then(() =>
          this.lock(retries - 1),
        );
      },
    );
  }

  /** Lets another owner have the store. */
  unlock(): Awaitable<void> {
    this.#fence = undefined;
    return this.store.release();
  }

  /**
   * Stores the change durably as the next generation. When it fails, what the store holds is the current generation or the
   * next; a TPM whose save fails must not answer as if it had succeeded.
   *
   * @throws StateError "conflict" when the store is not owned or somebody else wrote, "io", "unknown".
   */
  save(change: StateChange): Awaitable<void> {
    if (this.#fence === undefined) throw new StateError("conflict", `${this.store.name}: the state is not locked`);
    const blobs: { [type in StateBlobType]?: Uint8Array } = { ...this.#generation.blobs };
    for (const type of BLOB_TYPES) {
      if (!(type in change)) continue;
      const blob = change[type];
      if (blob && blob.length > 0) blobs[type] = blob;
      else delete blobs[type];
    }
    return this.#commit({ number: this.#generation.number + 1, blobs }, this.#fence, this.#commitAttempts);
  }

  /** Gives the store up. */
  close(): Awaitable<void> {
    this.#fence = undefined;
    return this.store.close();
  }

  #commit(next: Generation, fence: number, attempts: number): Awaitable<void> {
    return attempt<void>(
      () =>
        chain(this.store.commit(next, fence), () => {
          this.#generation = next;
        }),
      (error) => {
        if (attempts <= 1 || !(error instanceof StateError) || error.kind !== "unknown") throw error;
        return this.#commit(next, fence, attempts - 1);
      },
    );
  }
}
