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
 * With a synchronous store no call returns a promise, except a lock that is retried. With another, calls wait for those before them.
 *
 * A save that ends "unknown" is neither lost nor stored: before anything else is done it is repeated as it was, until its outcome is known.
 * A save that ends "conflict" ends the ownership too: somebody else has the store, and what this TPM runs on is no longer what counts.
 */
export class StateKeeper {
  readonly store: StateStore;
  readonly #commitAttempts: number;
  #generation: Generation = { number: 0, blobs: {} };
  #fence: number | undefined;
  /** What was committed with an outcome that is not known. */
  #unsettled: Generation | undefined;
  /** Settles when what is under way is done. */
  #work: Promise<void> | undefined;

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
    return this.#inTurn(() =>
      chain(this.#settle(), () =>
        chain(options.deferLock ? undefined : this.#acquire(0), () =>
          chain(this.store.load(), (generation) => this.#take(generation)),
        ),
      ),
    );
  }

  /**
   * Takes ownership, if it is not held. While another owner is there it tries again every 10 ms, `retries` times.
   *
   * @throws StateError "locked".
   */
  lock(retries: number): Awaitable<void> {
    return this.#inTurn(() => this.#acquire(retries));
  }

  /**
   * Waits for what is under way, and finds out what became of a save whose outcome was not known. Afterwards `blobs` are what the store
   * holds, or `locked` is false: then another owner has written, and `open` is due.
   *
   * @throws StateError "unknown" when it cannot be found out yet.
   */
  settle(): Awaitable<void> {
    return this.#inTurn(() => this.#settle());
  }

  /**
   * The generation before, where the store keeps one: for a TPM that cannot be started with the newest. The next save replaces the newest.
   *
   * @returns undefined when there is none.
   */
  openPrevious(): Awaitable<StateBlobs | undefined> {
    return this.#inTurn(() =>
      chain(this.store.loadPrevious?.(), (generation) => (generation ? this.#take(generation) : undefined)),
    );
  }

  /** Lets another owner have the store. */
  unlock(): Awaitable<void> {
    return this.#inTurn(() =>
      chain(this.#settle(), () => {
        this.#fence = undefined;
        return this.store.release();
      }),
    );
  }

  /**
   * Stores the change durably as the next generation. When it fails, what the store holds is the current generation or the
   * next; a TPM whose save fails must not answer as if it had succeeded.
   *
   * @throws StateError "conflict" when the store is not owned or somebody else wrote, "io", "unknown".
   */
  save(change: StateChange): Awaitable<void> {
    return this.#inTurn(() =>
      chain(this.#settle(), () => {
        const fence = this.#fence;
        if (fence === undefined) throw new StateError("conflict", `${this.store.name}: the state is not locked`);
        const blobs: { [type in StateBlobType]?: Uint8Array } = { ...this.#generation.blobs };
        for (const type of BLOB_TYPES) {
          if (!(type in change)) continue;
          const blob = change[type];
          if (blob && blob.length > 0) blobs[type] = blob;
          else delete blobs[type];
        }
        return this.#commit({ number: this.#generation.number + 1, blobs }, fence, this.#commitAttempts);
      }),
    );
  }

  /** Gives the store up. */
  close(): Awaitable<void> {
    return this.#inTurn(() => {
      this.#fence = undefined;
      this.#unsettled = undefined;
      return this.store.close();
    });
  }

  /** Does something when what is under way is done. */
  #inTurn<T>(work: () => Awaitable<T>): Awaitable<T> {
    const result = this.#work ? this.#work.then(work) : work();
    if (!(result instanceof Promise)) return result;
    const settled = result.then(
      () => {},
      () => {},
    );
    const turn = settled.then(() => {
      if (this.#work === turn) this.#work = undefined;
    });
    this.#work = turn;
    return result;
  }

  #take(generation: Generation): StateBlobs {
    this.#generation = generation;
    return generation.blobs;
  }

  #acquire(retries: number): Awaitable<void> {
    if (this.#fence !== undefined) return;
    return attempt<void>(
      () =>
        chain(this.store.acquire(), (fence) => {
          this.#fence = fence;
        }),
      (error) => {
        if (retries <= 0 || !(error instanceof StateError) || error.kind !== "locked") throw error;
        return new Promise<void>((resolve) => setTimeout(resolve, LOCK_RETRY_INTERVAL_MS)).then(() =>
          this.#acquire(retries - 1),
        );
      },
    );
  }

  #settle(): Awaitable<void> {
    const [unsettled, fence] = [this.#unsettled, this.#fence];
    if (!unsettled || fence === undefined) return;
    return attempt<void>(
      () => this.#commit(unsettled, fence, this.#commitAttempts),
      (error) => {
        if (!(error instanceof StateError) || error.kind !== "conflict") throw error;
      },
    );
  }

  #commit(next: Generation, fence: number, attempts: number): Awaitable<void> {
    return attempt<void>(
      () =>
        chain(this.store.commit(next, fence), () => {
          this.#generation = next;
          this.#unsettled = undefined;
        }),
      (error) => {
        const kind = error instanceof StateError ? error.kind : undefined;
        if (kind === "unknown") this.#unsettled = next;
        if (kind === "unknown" && attempts > 1) return this.#commit(next, fence, attempts - 1);
        if (kind !== "conflict") throw error;
        this.#unsettled = undefined;
        this.#fence = undefined;
        return chain(this.store.release(), () => {
          throw error;
        });
      },
    );
  }
}
