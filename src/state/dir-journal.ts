// What makes a change of the permanent and the volatile file of a directory one change: for the time in which the two do not fit, a file beside
// them has the volatile state that belongs to each of the two permanent ones.
//
//   16 bytes magic  then for the state before and the one after:
//   32 bytes SHA-256 of the permanent file (zeros: none)  u32 size of the volatile file (0: none)  the volatile file
//   then 32 bytes SHA-256 of all of that
import { equalBytes } from "../codec/bytes.ts";
import { concat } from "./encryption/bytes.ts";
import { sha256 } from "./sha256.ts";

/** Two files as they are in the directory; a missing one does not exist. */
export interface FilePair {
  readonly permanent?: Uint8Array | undefined;
  readonly volatile?: Uint8Array | undefined;
}

const MAGIC = new TextEncoder().encode("wtpm volatile 1\n");
const HASH_SIZE = 32;
const NO_FILE = new Uint8Array(HASH_SIZE);

/** The bytes of the file. */
export function encodeJournal(before: FilePair, after: FilePair): Uint8Array {
  const content = concat(MAGIC, ...[before, after].flatMap(entryOf));
  return concat(content, sha256(content));
}

/** The volatile file that belongs to a permanent one; undefined when there is none, or the journal is about others or not whole. */
export function volatileIn(journal: Uint8Array, permanent: Uint8Array | undefined): Uint8Array | undefined {
  const content = journal.subarray(0, Math.max(0, journal.length - HASH_SIZE));
  if (
    !equalBytes(content.subarray(0, MAGIC.length), MAGIC) ||
    !equalBytes(sha256(content), journal.subarray(content.length))
  )
    return undefined;
  const wanted = permanent ? sha256(permanent) : NO_FILE;
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  for (let at = MAGIC.length; at < content.length; ) {
    const start = at + HASH_SIZE + 4;
    const end = start + view.getUint32(at + HASH_SIZE);
    if (equalBytes(content.subarray(at, at + HASH_SIZE), wanted))
      return end > start ? content.slice(start, end) : undefined;
    at = end;
  }
  return undefined;
}

function entryOf({ permanent, volatile = new Uint8Array(0) }: FilePair): Uint8Array[] {
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, volatile.length);
  return [permanent ? sha256(permanent) : NO_FILE, size, volatile];
}
