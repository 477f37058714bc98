// Which states of a linear store's image are the newest whole ones.
import type { StateBlobType } from "../backend/backend.ts";
import { CONTAINER_RESULT, ContainerError } from "./container-fields.ts";
import { decodeFile, isDamage } from "./dir-recovery.ts";
import type { StateFormat } from "./format.ts";
import {
  BLOCK_SIZE,
  EMPTY_HEADER,
  type EncodedStates,
  equal,
  extentOf,
  findRecords,
  HEADER_SIZE,
  isMixture,
  type LinearRecord,
  parseHeader,
  type Section,
  sealOf,
} from "./linear-layout.ts";
import { sha256 } from "./sha256.ts";
import { BLOB_TYPES, type StateBlobs, StateError } from "./store.ts";

/** What a linear store holds. */
export interface LinearState {
  /** The first bytes of the store as they are: what the next commit replaces. */
  readonly block: Uint8Array;
  /** The store has no header yet. */
  readonly empty: boolean;
  /** Written by a commit of this program that is there as a whole: the next one need not be afraid of what it finds. */
  readonly own: boolean;
  /** Some state was written by another program. */
  readonly foreign: boolean;
  readonly states: EncodedStates;
  readonly blobs: StateBlobs;
  /** What must not be overwritten. */
  readonly live: { readonly start: number; readonly end: number };
  readonly generation: number;
  /** The highest sequence number of any commit that was begun. */
  readonly sequence: number;
  /** What is to be told about a recovery, in a sentence. */
  readonly note?: string;
}

/** What is where a header points to. */
interface Stored {
  readonly states: EncodedStates;
  readonly live: LinearState["live"];
  readonly digest: Uint8Array;
}

/** The states in that. */
interface Found extends Stored {
  readonly blobs: StateBlobs;
  /** The generation that the permanent state was stored with; 0 for one of swtpm's. */
  readonly permanentGeneration: number;
  readonly foreign: boolean;
}

/**
 * Reads a store. If the header or what it points to is damaged, the newest commit that is there as a whole takes its place.
 *
 * @param image the store from its first byte; not kept.
 * @throws StateError "damaged" when nothing whole is left, "too-new", "encrypted".
 */
export function readLinear(image: Uint8Array, format: StateFormat, name: string): LinearState {
  const block = new Uint8Array(BLOCK_SIZE);
  block.set(image.subarray(0, BLOCK_SIZE));
  return new Reader(image, format, name, block).read();
}

class Reader {
  readonly #image: Uint8Array;
  readonly #format: StateFormat;
  readonly #name: string;
  readonly #block: Uint8Array;
  readonly #header: Uint8Array;
  readonly #records: readonly LinearRecord[];

  constructor(image: Uint8Array, format: StateFormat, name: string, block: Uint8Array) {
    this.#image = image;
    this.#format = format;
    this.#name = name;
    this.#block = block;
    this.#header = block.subarray(0, HEADER_SIZE);
    this.#records = findRecords(image);
  }

  read(): LinearState {
    const seal = sealOf(this.#block);
    let failure: StateError;
    let sealed = false;
    try {
      const stored = this.#storedAt(this.#header);
      sealed = seal !== undefined && equal(stored.digest, seal.digest);
      const found = this.#decoded(stored);
      if (sealed) return this.#state(found, { own: true });
      if (!seal) return this.#unsealed(found);
      // swtpm writes in place, and leaves the header and what is behind it as it is.
      if (found.foreign) return this.#state(found, {});
      failure = new StateError("damaged", `${this.#name}: what was stored last did not reach the disk as a whole`);
    } catch (error) {
      if (!isDamage(error) && !(isUndecipherable(error) && !sealed)) throw error;
      failure = error;
    }
    const { found, record } = this.#newestWhole() ?? {};
    if (found)
      return this.#state(found, { note: `${failure.message}; generation ${record!.generation} is taken instead` });
    if (this.#isNew()) return this.#state(this.#decoded(this.#storedAt(EMPTY_HEADER)), { empty: true });
    throw failure;
  }

  /**
   * What a header points to that no commit vouches for: swtpm wrote it, or it was written in part. In the latter case there is a commit that
   * is as new, or one that was about to take a state of swtpm's over.
   */
  #unsealed(found: Found): LinearState {
    const newest = this.#newestWhole();
    if (!newest) return this.#state(found, {});
    const { before, after, tookOver } = newest.record;
    const interrupted = found.foreign
      ? tookOver && !equal(before, this.#header) && isMixture(this.#header, before, after)
      : newest.found.permanentGeneration >= found.permanentGeneration;
    if (!interrupted) return this.#state(found, {});
    return this.#state(newest.found, { note: `${this.#name}: the header was written in part, and is completed` });
  }

  #newestWhole(): { found: Found; record: LinearRecord } | undefined {
    for (const record of this.#records) {
      const found = this.#findWhole(record);
      if (found) return { found, record };
    }
    return undefined;
  }

  /** The states of a commit, if they are those that it wrote. */
  #findWhole(record: LinearRecord): Found | undefined {
    try {
      const stored = this.#storedAt(record.after);
      return equal(stored.digest, record.digest) ? this.#decoded(stored) : undefined;
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  }

  /** @throws StateError "damaged" for a header that points to nothing. */
  #storedAt(header: Uint8Array): Stored {
    const sections = this.#sectionsOf(header);
    const states: { [type in StateBlobType]?: Uint8Array } = {};
    for (const type of BLOB_TYPES) if (sections[type]) states[type] = this.#contentOf(sections[type]);
    const digest = sha256(...BLOB_TYPES.flatMap((type) => states[type] ?? []));
    return { states, live: extentOf(sections), digest };
  }

  /** @throws StateError "damaged" when a state is not whole; "encrypted" for another key, and where a key cannot tell that from damage. */
  #decoded(stored: Stored): Found {
    const blobs: { [type in StateBlobType]?: Uint8Array } = {};
    let [foreign, permanentGeneration] = [false, 0];
    for (const type of BLOB_TYPES) {
      const bytes = stored.states[type];
      if (!bytes) continue;
      const { blob, generation } = decodeFile(`${this.#name} (${type} state)`, () => this.#format.decode(type, bytes));
      blobs[type] = blob;
      foreign ||= generation === undefined;
      if (type === "permanent") permanentGeneration = generation ?? 0;
    }
    return { ...stored, blobs, permanentGeneration, foreign };
  }

  #sectionsOf(header: Uint8Array) {
    const sections = parseHeader(header, this.#name);
    if (sections) return sections;
    throw new StateError(
      "damaged",
      `${this.#name} is no linear store, and not empty; wipe it if a new TPM is to be kept there`,
    );
  }

  #contentOf({ offset, size, room }: Section): Uint8Array {
    if (offset < HEADER_SIZE || size > room || offset + size > this.#image.length)
      throw new StateError("damaged", `${this.#name}: the header points to where nothing can be`);
    return this.#image.slice(offset, offset + size);
  }

  /** Nothing was ever written, or a part of the first header. */
  #isNew(): boolean {
    return isMixture(this.#header, new Uint8Array(HEADER_SIZE), EMPTY_HEADER);
  }

  #state(found: Found, { own = false, empty = false, note = "" }): LinearState {
    const { states, blobs, live, foreign } = found;
    const begun = this.#records.map(({ generation }) => generation);
    const newest = Math.max(0, sealOf(this.#block)?.generation ?? 0, found.permanentGeneration, ...begun);
    return {
      ...{ block: this.#block, empty, own, foreign, states, blobs, live },
      // What swtpm wrote counts as one generation.
      generation: foreign ? newest + 1 : newest,
      sequence: this.#records[0]?.sequence ?? 0,
      ...(note ? { note } : {}),
    };
  }
}

/** With the key that was given: another one is needed, or what is there is not whole. */
function isUndecipherable(error: unknown): error is StateError {
  if (!(error instanceof StateError) || !(error.cause instanceof ContainerError)) return false;
  return error.cause.result === CONTAINER_RESULT.DECRYPT_ERROR;
}
