// swtpm's linear NVRAM store: the states of a TPM one behind the other in a file or on a block device. Little-endian.
//
//   u64 magic  u8 version (1)  u8 0  u16 header size (192)
//   then 15 entries: u32 offset (0: no such state)  u32 size of the state  u32 size of its section
//
// Entries 0, 1 and 2 are the permanent, the volatile and the save state. swtpm writes a state that fits into its section in place; else it
// moves the sections behind down by the section's size, and puts the state at the end: there must be no gap between two sections.
//
// This program never touches a live section. A commit writes all states into a free region, then the header, and syncs both at once:
//
//   0      header, and behind it what swtpm leaves alone: sequence number, generation, SHA-256 of the states, SHA-256 of all of that
//   512k   a region: 512 bytes of record, then the sections
//
// If only a part of that reaches the disk, the digest does not fit, and the region of the commit before is still there as it was: its record
// tells what its header was. A header without the digest of its own was written by swtpm, and counts as it is.
import type { StateBlobType } from "../backend/backend.ts";
import { putSha256, sha256 } from "./sha256.ts";
import { BLOB_TYPES, StateError } from "./store.ts";

export const HEADER_SIZE = 192;
/** The header and what this program keeps behind it: what a disk writes at once. */
export const BLOCK_SIZE = 512;
export const RECORD_SIZE = 512;
/** Where regions begin: multiples of what disks write at once. A small state is so near the header that both go to the disk together. */
const REGION_ALIGNMENT = BLOCK_SIZE;

const MAGIC = 0x7377_7470_6d6c_696en;
const VERSION = 1;
const MAGIC_AND_VERSION = Uint8Array.of(...ascii("nilmptws"), VERSION, 0, HEADER_SIZE, 0);
const ENTRIES_AT = 12;
const ENTRY_SIZE = 12;
const ENTRY_COUNT = (HEADER_SIZE - ENTRIES_AT) / ENTRY_SIZE;
const NO_SECTION: Section = { offset: 0, size: 0, room: 0 };

/** Where a state is, in bytes from the start. */
export interface Section {
  readonly offset: number;
  /** The state's size. */
  readonly size: number;
  /** How much the state may grow in place. */
  readonly room: number;
}

export type Sections = { readonly [type in StateBlobType]?: Section };

/**
 * The sections of a header; undefined when it is none.
 *
 * @param name the store's, for messages.
 * @throws StateError "too-new" for a newer version, and for entries of more than one TPM.
 */
export function parseHeader(header: Uint8Array, name = "the linear store"): Sections | undefined {
  const view = viewOf(header);
  if (header.length < HEADER_SIZE || view.getBigUint64(0, true) !== MAGIC) return undefined;
  if (header[8]! > VERSION)
    throw new StateError("too-new", `${name} has version ${header[8]}; this program knows version ${VERSION}`);
  const sections: { [type in StateBlobType]?: Section } = {};
  for (let entry = 0; entry < ENTRY_COUNT; entry++) {
    const at = ENTRIES_AT + entry * ENTRY_SIZE;
    const offset = view.getUint32(at, true);
    if (offset === 0) continue;
    const type = BLOB_TYPES[entry];
    if (!type) throw new StateError("too-new", `${name} holds more states than those of one TPM`);
    sections[type] = { offset, size: view.getUint32(at + 4, true), room: view.getUint32(at + 8, true) };
  }
  return sections;
}

export function encodeHeader(sections: Sections): Uint8Array {
  const header = new Uint8Array(HEADER_SIZE);
  putHeader(header, sections);
  return header;
}

/** Writes a header to the first bytes given, over zeros or over another header. */
function putHeader(bytes: Uint8Array, sections: Sections): void {
  bytes.set(MAGIC_AND_VERSION);
  for (let entry = 0; entry < BLOB_TYPES.length; entry++) {
    const section = sections[BLOB_TYPES[entry]!] ?? NO_SECTION;
    const at = ENTRIES_AT + entry * ENTRY_SIZE;
    putUint32(bytes, at, section.offset);
    putUint32(bytes, at + 4, section.size);
    putUint32(bytes, at + 8, section.room);
  }
}

/** The header of a store that holds nothing. */
export const EMPTY_HEADER: Uint8Array = encodeHeader({});

/** What identifies a commit. */
export interface Commit {
  /** Counts attempts to commit: what is newer. */
  readonly sequence: number;
  readonly generation: number;
  /** SHA-256 of the states, one behind the other. */
  readonly digest: Uint8Array;
}

const SEAL_MAGIC = ascii("wtpm-hdr");
const SEAL_AT = HEADER_SIZE;
const SEAL_DIGEST_AT = SEAL_AT + 24;
const SEAL_CHECKSUM_AT = SEAL_DIGEST_AT + 32;

/** Makes a header the first block of a store: puts behind it which commit wrote it. */
function putSeal(block: Buffer, commit: Commit): void {
  block.set(SEAL_MAGIC, SEAL_AT);
  putUint64(block, SEAL_AT + 8, commit.sequence);
  putUint64(block, SEAL_AT + 16, commit.generation);
  block.set(commit.digest, SEAL_DIGEST_AT);
  putSha256(block, SEAL_CHECKSUM_AT, block.subarray(0, SEAL_CHECKSUM_AT));
}

/** The commit that wrote a block; undefined when another program wrote its header, or only a part of it was written. */
export function sealOf(block: Uint8Array): Commit | undefined {
  const checksum = block.subarray(SEAL_CHECKSUM_AT, SEAL_CHECKSUM_AT + 32);
  if (!equal(block.subarray(SEAL_AT, SEAL_AT + 8), SEAL_MAGIC)) return undefined;
  if (!equal(sha256(block.subarray(0, SEAL_CHECKSUM_AT)), checksum)) return undefined;
  const view = viewOf(block);
  return {
    sequence: Number(view.getBigUint64(SEAL_AT + 8, true)),
    generation: Number(view.getBigUint64(SEAL_AT + 16, true)),
    digest: block.slice(SEAL_DIGEST_AT, SEAL_CHECKSUM_AT),
  };
}

/** What a commit says of itself in front of its sections. */
export interface LinearRecord extends Commit {
  /** The header that the commit found. */
  readonly before: Uint8Array;
  /** The header that it writes. */
  readonly after: Uint8Array;
  /** What it found was written by another program. */
  readonly tookOver: boolean;
}

const RECORD_MAGIC = ascii("wtpm-lin");
const [SEQUENCE_AT, GENERATION_AT, BEFORE_AT] = [8, 16, 24];
const AFTER_AT = BEFORE_AT + HEADER_SIZE;
const DIGEST_AT = AFTER_AT + HEADER_SIZE;
const TOOK_OVER_AT = DIGEST_AT + 32;
const CHECKSUM_AT = TOOK_OVER_AT + 1;

/** Writes a record to the first bytes given, with the digest of the states. */
function putRecord(bytes: Buffer, record: Omit<LinearRecord, "digest">, states: readonly Uint8Array[]): void {
  bytes.set(RECORD_MAGIC);
  putUint64(bytes, SEQUENCE_AT, record.sequence);
  putUint64(bytes, GENERATION_AT, record.generation);
  bytes.set(record.before, BEFORE_AT);
  bytes.set(record.after, AFTER_AT);
  putSha256(bytes, DIGEST_AT, ...states);
  bytes[TOOK_OVER_AT] = record.tookOver ? 1 : 0;
  putSha256(bytes, CHECKSUM_AT, bytes.subarray(0, CHECKSUM_AT));
}

/** All records in an image whose checksum is right, the newest first. */
export function findRecords(image: Uint8Array): LinearRecord[] {
  const records: LinearRecord[] = [];
  for (let at = REGION_ALIGNMENT; at + RECORD_SIZE <= image.length; at += REGION_ALIGNMENT) {
    const bytes = image.subarray(at, at + RECORD_SIZE);
    if (!equal(bytes.subarray(0, SEQUENCE_AT), RECORD_MAGIC)) continue;
    if (!equal(sha256(bytes.subarray(0, CHECKSUM_AT)), bytes.subarray(CHECKSUM_AT, CHECKSUM_AT + 32))) continue;
    const view = viewOf(bytes);
    records.push({
      sequence: Number(view.getBigUint64(SEQUENCE_AT, true)),
      generation: Number(view.getBigUint64(GENERATION_AT, true)),
      before: bytes.slice(BEFORE_AT, AFTER_AT),
      after: bytes.slice(AFTER_AT, DIGEST_AT),
      digest: bytes.slice(DIGEST_AT, TOOK_OVER_AT),
      tookOver: bytes[TOOK_OVER_AT] === 1,
    });
  }
  return records.sort((a, b) => b.sequence - a.sequence);
}

/** Whether every byte is that of one or the other: what a write in place leaves that did not come to its end. */
export function isMixture(bytes: Uint8Array, one: Uint8Array, other: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== one[i] && bytes[i] !== other[i]) return false;
  return true;
}

/** A region that is ready to be written, and the block that makes it the live one. */
export interface Region {
  readonly start: number;
  /** Where it ends, with what sections have in spare. */
  readonly end: number;
  /** Record and sections, up to the end of the last state. */
  readonly bytes: Buffer;
  readonly block: Buffer;
}

export type EncodedStates = { readonly [type in StateBlobType]?: Uint8Array };

/**
 * What a commit writes where: the lowest free region, below what is live or behind it.
 *
 * @param spare a region that nobody needs any more: its memory is used again, if it has the size.
 */
export function layOut(
  states: EncodedStates,
  live: { readonly start: number; readonly end: number },
  commit: Omit<LinearRecord, "after" | "digest">,
  spare?: Region,
): Region {
  const sections: { [type in StateBlobType]?: Section } = {};
  const pieces: Uint8Array[] = [];
  let length = RECORD_SIZE;
  let needed = RECORD_SIZE;
  for (const type of BLOB_TYPES) {
    const state = states[type];
    if (!state) continue;
    pieces.push(state);
    length = needed + state.length;
    needed += roomFor(state.length);
  }
  const below = REGION_ALIGNMENT + needed <= live.start;
  const start = below ? REGION_ALIGNMENT : Math.max(REGION_ALIGNMENT, alignUp(live.end));
  const bytes = spare?.bytes.length === length ? spare.bytes : Buffer.alloc(length);
  const block = spare?.block ?? Buffer.alloc(BLOCK_SIZE);
  let offset = RECORD_SIZE;
  for (const type of BLOB_TYPES) {
    const state = states[type];
    if (!state) continue;
    const size = state.length;
    const room = roomFor(size);
    sections[type] = { offset: start + offset, size, room };
    bytes.set(state, offset);
    bytes.fill(0, offset + size, Math.min(offset + room, length));
    offset += room;
  }
  putHeader(block, sections);
  const { sequence, generation, before, tookOver } = commit;
  putRecord(bytes, { sequence, generation, before, after: block.subarray(0, HEADER_SIZE), tookOver }, pieces);
  putSeal(block, { sequence, generation, digest: bytes.subarray(DIGEST_AT, TOOK_OVER_AT) });
  return { start, end: start + needed, bytes, block };
}

/** What is not to be overwritten: the sections, and the record in front of them. */
export function extentOf(sections: Sections): { start: number; end: number } {
  const all = Object.values(sections);
  if (all.length === 0) return { start: 0, end: 0 };
  const start = Math.max(0, Math.min(...all.map(({ offset }) => offset)) - RECORD_SIZE);
  return { start: start - (start % REGION_ALIGNMENT), end: Math.max(...all.map(({ offset, room }) => offset + room)) };
}

export function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** swtpm's size of a section: the next power of two. */
function roomFor(size: number): number {
  return size <= 1 ? size : 1 << (32 - Math.clz32(size - 1));
}

function alignUp(offset: number): number {
  return Math.ceil(offset / REGION_ALIGNMENT) * REGION_ALIGNMENT;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function putUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function putUint64(bytes: Uint8Array, at: number, value: number): void {
  putUint32(bytes, at, value >>> 0);
  putUint32(bytes, at + 4, (value / 2 ** 32) >>> 0);
}
