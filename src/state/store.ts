// Where a TPM's state is kept. A store knows whole generations of state and one way to write: compare and swap.
import type { Awaitable, StateBlobType } from "../backend/backend.ts";

/** The state blobs in the order in which swtpm numbers them (PTM_BLOB_TYPE_*). */
export const BLOB_TYPES: readonly StateBlobType[] = ["permanent", "volatile", "savestate"];

/** All blobs of one TPM, as libtpms writes them, without the store's own container. A missing one does not exist. */
export type StateBlobs = { readonly [type in StateBlobType]?: Uint8Array };

/** One whole state. The number counts up by one with every commit; 0 is the state of a store that was never written. */
export interface Generation {
  readonly number: number;
  readonly blobs: StateBlobs;
}

/**
 * A place that holds the state of one TPM.
 *
 * Reading needs no ownership; writing does. A store that can do so answers without a promise, because every command that
 * changes the TPM waits for its commit.
 */
export interface StateStore {
  /** Where it is, for messages: "dir:///var/lib/tpm". */
  readonly name: string;

  /**
   * Makes the caller the only one who may write, until `release` or the end of the process. Calling it again as the owner
   * answers the same number.
   *
   * @returns the fencing number: greater than that of every earlier owner this store knows of.
   * @throws StateError "locked" when another owner is there.
   */
  acquire(): Awaitable<number>;

  /** Gives ownership up. Without it nothing happens. */
  release(): Awaitable<void>;

  /**
   * The newest whole generation.
   *
   * @throws StateError "damaged", "too-new", "encrypted" or "io".
   */
  load(): Awaitable<Generation>;

  /**
   * The generation before the one that `load` gave, where the store keeps it for the case that the newest is of no use to the TPM. From
   * then on it counts as the stored one.
   */
  loadPrevious?(): Awaitable<Generation | undefined>;

  /**
   * Stores a whole generation durably, if the stored one is still `next.number - 1` and `fence` is the newest owner's. A blob that is
   * the same object as in the generation before is taken as unchanged.
   *
   * A commit that failed with "unknown" may be there or not: the owner repeats it identically until the outcome is known. If it is
   * there already, repeating it succeeds and changes nothing.
   *
   * @throws StateError "conflict" (another generation or owner is there), "io" (not stored), "unknown" (stored or not).
   */
  commit(next: Generation, fence: number): Awaitable<void>;

  /** Releases ownership and everything else. */
  close(): Awaitable<void>;
}

export type StateErrorKind =
  /** Another process owns the state. */
  | "locked"
  /** The stored generation is not the expected one, or the fencing number is an old one. */
  | "conflict"
  /** Reading or writing failed, and nothing was changed. */
  | "io"
  /** Writing failed, and whether the state changed is not known. */
  | "unknown"
  /** What is stored is not a state. */
  | "damaged"
  /** What is stored was written by a newer version. */
  | "too-new"
  /** What is stored is encrypted and no key was given. */
  | "encrypted";

/** A store's failure; the message says what to do where anything can be done. */
export class StateError extends Error {
  readonly kind: StateErrorKind;
  constructor(kind: StateErrorKind, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "StateError";
    this.kind = kind;
  }
}
