// The user part of the non-volatile memory: NV Indexes and persistent objects, entry after entry as they were added, and the
// orderly indexes' table in RAM (libtpms: USER_NVRAM and INDEX_ORDERLY_RAM). What an entry costs is counted as libtpms counts
// it, so that space ends where its space ends.
import { NV_INDEX, SIZEOF_NV_INDEX_RECORD } from "./generated/engine-records";
import { RAM_INDEX_SPACE } from "./generated/constants";
import { profile } from "./profile";

/** An entry: bytes in all, handle, bytes as libtpms counts them, and then the content. */
@unmanaged
export class NvEntry {
  size: u32;
  handle: u32;
  counted: u32;

  /** Address of the content: NV_INDEX and data, or a marshalled object. */
  @inline
  get content(): usize {
    return changetype<usize>(this) + NV_ENTRY_HEADER;
  }
  /** Bytes of the content. */
  @inline
  get contentSize(): u32 {
    return this.size - NV_ENTRY_HEADER;
  }
  @inline
  get index(): NV_INDEX {
    return changetype<NV_INDEX>(this.content);
  }
  /** Address of the data of an ordinary index. */
  @inline
  get data(): usize {
    return this.content + SIZEOF_NV_INDEX_RECORD;
  }
}

export const NV_ENTRY_HEADER: u32 = 12;
const CAPACITY: u32 = 262144;
/** What libtpms has for entries: less in states of StateFormatLevel 1, which version 0.9 must be able to read. */
const USER_SPACE: u32 = 171200;
const USER_SPACE_NULL_PROFILE: u32 = 171200;

const USER: usize = memory.data(CAPACITY, 16);
let userEnd: u32 = 0;
let counted: u32 = 0;

export function userSpace(): u32 {
  return profile.stateFormatLevel == 1 ? USER_SPACE_NULL_PROFILE : USER_SPACE;
}

/** Bytes not yet taken. */
@inline
export function nvFreeBytes(): u32 {
  return userSpace() - counted;
}

export function nvClearMemory(): void {
  memory.fill(USER, 0, userEnd);
  userEnd = 0;
  counted = 0;
  memory.fill(ORDERLY_RAM, 0, RAM_INDEX_SPACE);
}

// All entries: for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry))
@inline
export function nvFirst(): NvEntry {
  return changetype<NvEntry>(USER);
}
@inline
export function nvNext(entry: NvEntry): NvEntry {
  return changetype<NvEntry>(changetype<usize>(entry) + entry.size);
}
/** False behind the last entry. */
@inline
export function nvIs(entry: NvEntry): bool {
  return changetype<usize>(entry) < USER + userEnd;
}

/** The entry of a handle, or null. */
export function nvFind(handle: u32): NvEntry | null {
  for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry)) if (entry.handle == handle) return entry;
  return null;
}

/** Adds an entry of `contentSize` bytes, which are zero; null when the memory itself is full. */
export function nvAdd(handle: u32, contentSize: u32, countedSize: u32): NvEntry | null {
  const size = (NV_ENTRY_HEADER + contentSize + 3) & ~3;
  if (userEnd + size > CAPACITY) return null;
  const entry = changetype<NvEntry>(USER + userEnd);
  entry.size = size;
  entry.handle = handle;
  entry.counted = countedSize;
  memory.fill(entry.content, 0, size - NV_ENTRY_HEADER);
  userEnd += size;
  counted += countedSize;
  return entry;
}

/** Takes an entry out; the ones behind it move up. What it held is wiped. */
export function nvRemove(entry: NvEntry): void {
  const at = changetype<usize>(entry);
  const size = entry.size;
  counted -= entry.counted;
  memory.copy(at, at + size, USER + userEnd - at - size);
  userEnd -= size;
  memory.fill(USER + userEnd, 0, size);
}

/** UINT32 size (with this header; 0 ends the table), handle, attributes, data. */
@unmanaged
export class RamEntry {
  size: u32;
  handle: u32;
  attributes: u32;

  @inline
  get data(): usize {
    return changetype<usize>(this) + RAM_ENTRY_HEADER;
  }
}

export const RAM_ENTRY_HEADER: u32 = 12;

/** The orderly indexes while the TPM runs, and what of them is in NV. */
export const ORDERLY_RAM: usize = memory.data(RAM_INDEX_SPACE, 16);
export const SAVED_ORDERLY_RAM: usize = memory.data(RAM_INDEX_SPACE, 16);

// All entries of the running table: for (let entry = ramFirst(); ramIs(entry); entry = ramNext(entry))
@inline
export function ramFirst(): RamEntry {
  return changetype<RamEntry>(ORDERLY_RAM);
}
@inline
export function ramNext(entry: RamEntry): RamEntry {
  return changetype<RamEntry>(changetype<usize>(entry) + entry.size);
}
/** False behind the last entry. */
@inline
export function ramIs(entry: RamEntry): bool {
  return changetype<usize>(entry) + RAM_ENTRY_HEADER <= ORDERLY_RAM + RAM_INDEX_SPACE && entry.size != 0;
}

export function ramFind(handle: u32): RamEntry | null {
  for (let entry = ramFirst(); ramIs(entry); entry = ramNext(entry)) {
    if (entry.handle == handle) return entry;
  }
  return null;
}

function ramEnd(): usize {
  let entry = ramFirst();
  while (ramIs(entry)) entry = ramNext(entry);
  return changetype<usize>(entry);
}

/** Bytes left for headers and data. */
export function ramFreeBytes(): u32 {
  return <u32>(ORDERLY_RAM + RAM_INDEX_SPACE - ramEnd());
}

/** Adds an entry; the caller has asked `ramFreeBytes`. */
export function ramAdd(handle: u32, attributes: u32, dataSize: u32): void {
  const entry = changetype<RamEntry>(ramEnd());
  entry.size = RAM_ENTRY_HEADER + dataSize;
  entry.handle = handle;
  entry.attributes = attributes;
  memory.fill(entry.data, 0, dataSize);
}

export function ramRemove(handle: u32): void {
  const entry = ramFind(handle);
  if (entry == null) return;
  const at = changetype<usize>(entry);
  const end = ramEnd();
  const size = entry.size;
  memory.copy(at, at + size, end - at - size);
  memory.fill(end - size, 0, size);
}
