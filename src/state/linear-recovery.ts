// Which states of a linear store's image are the newest whole ones.
import type { StateBlobType } from "../backend/backend.ts";
import { decodeFile, isDamage } from "./dir-recovery.ts";
import type { StateFormat, StoredBlob } from "./format.ts";
import {
  digestOf,
  type EncodedStates,
  EMPTY_HEADER,
  equal,
  extentOf,
  findRecords,
  HEADER_SIZE,
  isMixture,
  type LinearRecord,
  parseHeader,
  type Section,
  type Sections,
} from "./linear-layout.ts";
import { BLOB_TYPES, StateError } from "./store.ts";

/** What a linear store holds. */
export interface LinearState {
  /** The first bytes of the store as they are: what the next commit replaces. */
  readonly header: Uint8Array;
  /** The store has no header yet. */
  readonly empty: boolean;
  readonly states: EncodedStates;
  readonly blobs: { readonly [type in StateBlobType]?: Uint8Array };
  /** What must not be overwritten. */
  readonly live: { readonly start: number; readonly end: number };
  readonly generation: number;
  /** The highest sequence number of any commit that was begun. */
  readonly sequence: number;
  /** What is to be told about a recovery, in a sentence. */
  readonly note?: string;
}

/** A header that may be the one that counts. */
interface Candidate {
  readonly header: Uint8Array;
  /** The commit that it belongs to, if the states have to be exactly those of it. */
  readonly record?: LinearRecord;
  readonly note?: string;
}

/**
 * Reads a store. If the header or what it points to is damaged, the newest commit that is there as a whole takes its place.
 *
 * @param image the store from its first byte; not kept.
 * @throws StateError "damaged" when nothing whole is left, "too-new", "encrypted".
 */
export function readLinear(image: Uint8Array, format: StateFormat, name: string): LinearState {
  const header = new Uint8Array(HEADER_SIZE);
  header.set(image.subarray(0, HEADER_SIZE));
  const records = findRecords(image);
  let failure: StateError | undefined;
  for (const candidate of candidates(header, records)) {
    try {
      const sections = parseHeader(candidate.header);
      if (!sections) throw new StateError("damaged", "its header is damaged");
      const note = candidate.note && `${failure ? `${failure.message}; ` : ""}${candidate.note}`;
      return { ...decoded(image, format, name, sections, candidate, records), header, ...(note ? { note } : {}) };
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      failure ??= new StateError(
        error.kind,
        error.message.startsWith(name) ? error.message : `${name}: ${error.message}`,
      );
      if (!isDamage(error)) throw failure;
    }
  }
  if (!failure && isMixture(header, new Uint8Array(HEADER_SIZE), EMPTY_HEADER))
    return { header, empty: true, states: {}, blobs: {}, live: extentOf({}), generation: 0, sequence: 0 };
  throw (
    failure ??
    new StateError("damaged", `${name} is no linear store, and not empty; wipe it if a new TPM is to be kept there`)
  );
}

function* candidates(header: Uint8Array, records: readonly LinearRecord[]): Generator<Candidate> {
  const exact = records.find((record) => equal(record.after, header));
  const untouched = exact ?? records.find((record) => equal(record.before, header));
  const torn = untouched ? undefined : records.find((record) => isMixture(header, record.before, record.after));
  if (torn)
    yield { header: torn.after, record: torn, note: "the header was written in part, and completed from its copy" };
  else if (equal(header.subarray(0, 8), EMPTY_HEADER.subarray(0, 8))) yield { header };
  for (const record of records) {
    if (record === exact || record === torn) continue;
    yield { header: record.after, record, note: `generation ${record.generation} is taken instead` };
  }
}

function decoded(
  image: Uint8Array,
  format: StateFormat,
  name: string,
  sections: Sections,
  candidate: Candidate,
  records: readonly LinearRecord[],
): Omit<LinearState, "header" | "note"> {
  const states: { [type in StateBlobType]?: Uint8Array } = {};
  const blobs: { [type in StateBlobType]?: Uint8Array } = {};
  let generation = records.reduce((newest, record) => Math.max(newest, record.generation), 0);
  for (const type of BLOB_TYPES) {
    const section = sections[type];
    if (!section) continue;
    const bytes = contentOf(image, section);
    const stored: StoredBlob = decodeFile(`${name} (${type} state)`, () => format.decode(type, bytes));
    [states[type], blobs[type]] = [bytes, stored.blob];
    generation = Math.max(generation, stored.generation ?? 0);
  }
  const digest = digestOf(BLOB_TYPES.flatMap((type) => states[type] ?? []));
  if (candidate.record && !equal(digest, candidate.record.digest))
    throw new StateError("damaged", "the copy of the header and the states do not belong together");
  const own = records.some((record) => equal(record.after, candidate.header) && equal(record.digest, digest));
  return {
    empty: false,
    states,
    blobs,
    live: extentOf(sections),
    // What swtpm wrote counts as one generation.
    generation: own || Object.keys(states).length === 0 ? generation : generation + 1,
    sequence: records[0]?.sequence ?? 0,
  };
}

function contentOf(image: Uint8Array, { offset, size, room }: Section): Uint8Array {
  if (offset < HEADER_SIZE || size > room || offset + size > image.length)
    throw new StateError("damaged", "its header points to where nothing can be");
  return image.slice(offset, offset + size);
}
