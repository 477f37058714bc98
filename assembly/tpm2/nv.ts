// NV Indexes (Part 1, 37): lookup, attributes, data, and what becomes of them at startup.
import { TPM2B, copy2B, loadBE64, storeBE64 } from "./cursor";
import { SU_NONE_VALUE, SU_RESET, SU_RESUME, clearOrderly, g, gc, nvChanged } from "./data";
import {
  MAX_CAP_HANDLES,
  MAX_ORDERLY_COUNT,
  MIN_EVICT_OBJECTS,
  RAM_INDEX_SPACE,
  TPMA_NV_CLEAR_STCLEAR,
  TPMA_NV_GLOBALLOCK,
  TPMA_NV_ORDERLY,
  TPMA_NV_PLATFORMCREATE,
  TPMA_NV_READLOCKED,
  TPMA_NV_TPM_NT,
  TPMA_NV_TPM_NT_SHIFT,
  TPMA_NV_WRITEDEFINE,
  TPMA_NV_WRITELOCKED,
  TPMA_NV_WRITTEN,
  TPM_HT_NV_INDEX,
  TPM_HT_PERSISTENT,
  TPM_NT_BITS,
  TPM_NT_COUNTER,
  TPM_NT_EXTEND,
  TPM_NT_ORDINARY,
  TPM_NT_PIN_FAIL,
  TPM_NT_PIN_PASS,
  TPM_RC_HANDLE,
  TPM_RC_NV_SPACE,
} from "./generated/constants";
import { NV_INDEX, SIZEOF_NV_INDEX_RECORD } from "./generated/engine-records";
import {
  SIZEOF_TPMS_NV_PUBLIC_RECORD,
  TPML_HANDLE,
  TPMS_NV_PUBLIC,
  marshal_TPMS_NV_PUBLIC,
} from "./generated/structures";
import { outputAt, setOutput } from "./cursor";
import { handleType } from "./handles";
import { cryptHashBlock, cryptHashUpdate } from "./hash";
import {
  NvEntry,
  ORDERLY_RAM,
  RAM_ENTRY_HEADER,
  SAVED_ORDERLY_RAM,
  nvAdd,
  nvFind,
  nvFirst,
  nvFreeBytes,
  nvIs,
  nvNext,
  nvRemove,
  ramAdd,
  ramFind,
  ramFirst,
  ramFreeBytes,
  ramIs,
  ramNext,
  ramRemove,
} from "./nv-memory";

const MIN_COUNTER_INDICES: u32 = 8;
const LIST_TERMINATOR: u32 = 12;
const LIST_POINTER: u32 = 4;
/** What libtpms reserves for one object: its record in memory and the entry's header. */
export const NV_EVICT_OBJECT_SIZE: u32 = 4 + 4 + 3312;
const NV_INDEX_COUNTER_SIZE: u32 = 4 + SIZEOF_NV_INDEX_RECORD + 8;
const NV_RAM_INDEX_COUNTER_SIZE: u32 = RAM_ENTRY_HEADER + 8;

/** The largest count that a deleted counter had: a new one goes on from there. */
let maxCounter: u64 = 0;

@inline
export function nvMaxCounter(): u64 {
  return maxCounter;
}

export function setNvMaxCounter(value: u64): void {
  maxCounter = value;
}

@inline
export function nvIndexType(attributes: u32): u32 {
  return (attributes & TPMA_NV_TPM_NT) >> TPMA_NV_TPM_NT_SHIFT;
}
@inline
export function isNvCounter(attributes: u32): bool {
  return nvIndexType(attributes) == TPM_NT_COUNTER;
}
@inline
export function isNvOrdinary(attributes: u32): bool {
  return nvIndexType(attributes) == TPM_NT_ORDINARY;
}
@inline
export function isNvBits(attributes: u32): bool {
  return nvIndexType(attributes) == TPM_NT_BITS;
}
@inline
export function isNvExtend(attributes: u32): bool {
  return nvIndexType(attributes) == TPM_NT_EXTEND;
}
@inline
export function isNvPinFail(attributes: u32): bool {
  return nvIndexType(attributes) == TPM_NT_PIN_FAIL;
}
@inline
export function isNvPinPass(attributes: u32): bool {
  return nvIndexType(attributes) == TPM_NT_PIN_PASS;
}

/** The index of a handle, or null. Its attributes are read and written by the functions below. */
export function nvIndexEntry(handle: u32): NvEntry | null {
  return nvFind(handle);
}

/** TPMA_NV as they are in force: an orderly index keeps them in RAM. */
export function nvAttributes(entry: NvEntry): u32 {
  const attributes = entry.index.publicArea.attributes;
  if ((attributes & TPMA_NV_ORDERLY) == 0) return attributes;
  const ram = ramFind(entry.handle);
  return ram == null ? attributes : ram.attributes;
}

export function nvSetAttributes(entry: NvEntry, attributes: u32): void {
  if (attributes & TPMA_NV_ORDERLY) {
    const ram = ramFind(entry.handle);
    if (ram != null) ram.attributes = attributes;
    return;
  }
  if (entry.index.publicArea.attributes == attributes) return;
  entry.index.publicArea.attributes = attributes;
  nvChanged();
}

/** Address of an index's data, in RAM or in NV. */
export function nvData(entry: NvEntry): usize {
  if (entry.index.publicArea.attributes & TPMA_NV_ORDERLY) {
    const ram = ramFind(entry.handle);
    if (ram != null) return ram.data;
  }
  return entry.data;
}

/** The public area as it is reported: with the attributes in force. */
export function nvPublic(entry: NvEntry, out: TPMS_NV_PUBLIC): void {
  memory.copy(changetype<usize>(out), changetype<usize>(entry.index.publicArea), SIZEOF_TPMS_NV_PUBLIC_RECORD);
  out.attributes = nvAttributes(entry);
}

/** Whether the index may be seen at all: TPM_RC_HANDLE if it is not there or its hierarchy is off. */
export function nvIndexIsAccessible(handle: u32): u32 {
  const entry = nvFind(handle);
  if (entry == null) return TPM_RC_HANDLE;
  if (gc.shEnable == 0 || gc.phEnableNV == 0) {
    const platform = (nvAttributes(entry) & TPMA_NV_PLATFORMCREATE) != 0;
    if (!platform && gc.shEnable == 0) return TPM_RC_HANDLE;
    if (platform && gc.phEnableNV == 0) return TPM_RC_HANDLE;
  }
  return 0;
}

/** Writes data; the first write sets WRITTEN, and clears the rest of an ordinary index. The caller has checked the range. */
export function nvWriteData(entry: NvEntry, offset: u32, data: usize, size: u32): void {
  const attributes = nvAttributes(entry);
  const dataSize = entry.index.publicArea.dataSize;
  const orderly = (attributes & TPMA_NV_ORDERLY) != 0;
  const at = nvData(entry);
  if ((attributes & TPMA_NV_WRITTEN) == 0) {
    nvSetAttributes(entry, attributes | TPMA_NV_WRITTEN);
    // What is not written reads as erased memory does: ones in NV, zeros in RAM.
    if (isNvOrdinary(attributes) && (orderly || dataSize > size)) memory.fill(at, orderly ? 0 : 0xff, dataSize);
    if (orderly && isNvCounter(attributes)) nvUpdateOrderly();
  }
  if (orderly) {
    memory.copy(at + offset, data, size);
    clearOrderly();
  } else if (memory.compare(at + offset, data, size) != 0) {
    memory.copy(at + offset, data, size);
    nvChanged();
  }
}

/** The orderly indexes go to NV with this command. */
export function nvUpdateOrderly(): void {
  orderlyUpdate = true;
  nvChanged();
}

let orderlyUpdate = false;

/** At the end of a command that asked for it. */
export function nvCommitOrderly(): void {
  if (!orderlyUpdate) return;
  orderlyUpdate = false;
  nvSaveOrderlyRam();
}

export function nvSaveOrderlyRam(): void {
  memory.copy(SAVED_ORDERLY_RAM, ORDERLY_RAM, RAM_INDEX_SPACE);
}

const NUMBER: usize = memory.data(8, 8);

/** The data of a counter, bit field or PIN index. */
export function nvGetUint64(entry: NvEntry): u64 {
  return loadBE64(nvData(entry));
}

export function nvWriteUint64(entry: NvEntry, value: u64): void {
  storeBE64(NUMBER, value);
  nvWriteData(entry, 0, NUMBER, 8);
}

export function nvHashData(record: usize, entry: NvEntry, offset: u32, size: u32): void {
  const dataSize = entry.index.publicArea.dataSize;
  if (offset > dataSize) return;
  cryptHashUpdate(record, nvData(entry) + offset, min(size, dataSize - offset));
}

const PUBLIC: usize = memory.data(SIZEOF_TPMS_NV_PUBLIC_RECORD, 8);
const MARSHALLED: usize = memory.data(96, 8);

/** Name of an index: nameAlg || H(TPMS_NV_PUBLIC). */
export function nvIndexName(entry: NvEntry, name: TPM2B): void {
  const area = changetype<TPMS_NV_PUBLIC>(PUBLIC);
  nvPublic(entry, area);
  nvPublicName(area, name);
}

export function nvPublicName(area: TPMS_NV_PUBLIC, name: TPM2B): void {
  const was = outputAt();
  setOutput(MARSHALLED);
  marshal_TPMS_NV_PUBLIC(changetype<usize>(area));
  const length = <u32>(outputAt() - MARSHALLED);
  setOutput(was);
  store<u8>(name.buffer, <u8>(area.nameAlg >> 8));
  store<u8>(name.buffer + 1, <u8>area.nameAlg);
  name.size = 2 + cryptHashBlock(area.nameAlg, MARSHALLED, length, name.buffer + 2);
}

function persistentNumber(): u32 {
  let n: u32 = 0;
  for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry))
    if (handleType(entry.handle) == TPM_HT_PERSISTENT) n++;
  return n;
}

/** Room for an entity of `size` bytes, keeping back what libtpms keeps for objects and counters. */
export function nvTestSpace(size: u32, isIndex: bool, isCounter: bool): bool {
  const remaining = nvFreeBytes();
  let reserved = LIST_POINTER + LIST_TERMINATOR;
  if (isIndex) {
    const objects = persistentNumber();
    if (objects < MIN_EVICT_OBJECTS) reserved += (MIN_EVICT_OBJECTS - objects) * NV_EVICT_OBJECT_SIZE;
  }
  if (!isIndex || !isCounter) {
    const counters = nvCounterNumber();
    if (counters < MIN_COUNTER_INDICES) reserved += (MIN_COUNTER_INDICES - counters) * NV_INDEX_COUNTER_SIZE;
  }
  return reserved < remaining && size <= remaining && size + reserved <= remaining;
}

/** Adds an index. @returns TPM_RC_NV_SPACE when it does not fit */
export function nvDefineIndex(area: TPMS_NV_PUBLIC, auth: TPM2B): u32 {
  const orderly = (area.attributes & TPMA_NV_ORDERLY) != 0;
  const inNv = SIZEOF_NV_INDEX_RECORD + (orderly ? 0 : area.dataSize);
  if (!nvTestSpace(inNv, true, isNvCounter(area.attributes))) return TPM_RC_NV_SPACE;
  if (orderly && ramFreeBytes() < RAM_ENTRY_HEADER + area.dataSize) return TPM_RC_NV_SPACE;
  const entry = nvAdd(area.nvIndex, inNv, LIST_POINTER + inNv);
  if (entry == null) return TPM_RC_NV_SPACE;
  memory.copy(changetype<usize>(entry.index.publicArea), changetype<usize>(area), SIZEOF_TPMS_NV_PUBLIC_RECORD);
  copy2B(entry.index.authValue, auth);
  if (orderly) {
    ramAdd(area.nvIndex, area.attributes, area.dataSize);
    nvUpdateOrderly();
  }
  nvChanged();
  return 0;
}

/** Removes an index; a counter leaves its value as the floor of the next one. */
export function nvDeleteIndex(entry: NvEntry): void {
  const attributes = nvAttributes(entry);
  if (isNvCounter(attributes) && attributes & TPMA_NV_WRITTEN) {
    const value = nvGetUint64(entry);
    if (value > maxCounter) maxCounter = value;
  }
  const handle = entry.handle;
  nvRemove(entry);
  if (attributes & TPMA_NV_ORDERLY) {
    ramRemove(handle);
    nvUpdateOrderly();
  }
  nvChanged();
}

/** TPM2_NV_GlobalWriteLock. */
export function nvSetGlobalLock(): void {
  for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry)) {
    if (handleType(entry.handle) != TPM_HT_NV_INDEX) continue;
    const attributes = nvAttributes(entry);
    if (attributes & TPMA_NV_GLOBALLOCK) nvSetAttributes(entry, attributes | TPMA_NV_WRITELOCKED);
  }
}

function startupAttributes(attributes: u32, type: u32): u32 {
  attributes &= ~TPMA_NV_READLOCKED;
  if (!isNvCounter(attributes)) {
    if (attributes & TPMA_NV_CLEAR_STCLEAR || (attributes & TPMA_NV_ORDERLY && type == SU_RESET))
      attributes &= ~TPMA_NV_WRITTEN;
  }
  if ((attributes & TPMA_NV_WRITTEN) == 0 || (attributes & TPMA_NV_WRITEDEFINE) == 0)
    attributes &= ~TPMA_NV_WRITELOCKED;
  return attributes;
}

/** TPM2_Startup: locks fall, STCLEAR data goes, and orderly counters jump after a pulled plug. */
export function nvEntityStartup(type: u32): void {
  memory.copy(ORDERLY_RAM, SAVED_ORDERLY_RAM, RAM_INDEX_SPACE);
  if (type == SU_RESUME) return;
  for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry)) {
    if (handleType(entry.handle) != TPM_HT_NV_INDEX) continue;
    const attributes = entry.index.publicArea.attributes;
    if ((attributes & TPMA_NV_ORDERLY) == 0) nvSetAttributes(entry, startupAttributes(attributes, type));
  }
  for (let entry = ramFirst(); ramIs(entry); entry = ramNext(entry)) {
    entry.attributes = startupAttributes(entry.attributes, type);
    if (isNvCounter(entry.attributes) && g.prevOrderlyState == SU_NONE_VALUE) {
      storeBE64(entry.data, loadBE64(entry.data) | MAX_ORDERLY_COUNT);
    }
  }
}

/** Inserts a handle into a sorted list of at most `max` handles; the largest falls out when it is full. */
function insertSorted(list: TPML_HANDLE, max: u32, handle: u32): void {
  if (max == 0) return;
  let n = list.count;
  if (n == max) {
    if (handle > list.handle(n - 1)) return;
    n--;
  }
  let at = n;
  while (at > 0 && list.handle(at - 1) > handle) {
    list.set_handle(at, list.handle(at - 1));
    at--;
  }
  list.set_handle(at, handle);
  list.count = n + 1;
}

/** For TPM2_GetCapability: handles of one type from `first` on; true if there are more. */
export function nvCapGetHandles(first: u32, count: u32, list: TPML_HANDLE): bool {
  const type = handleType(first);
  const max = min(count, MAX_CAP_HANDLES);
  let found: u32 = 0;
  list.count = 0;
  for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry)) {
    if (handleType(entry.handle) != type || entry.handle < first) continue;
    found++;
    insertSorted(list, max, entry.handle);
  }
  return found > max;
}

export function nvIndexNumber(): u32 {
  let n: u32 = 0;
  for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry)) if (handleType(entry.handle) == TPM_HT_NV_INDEX) n++;
  return n;
}

export function nvCounterNumber(): u32 {
  let n: u32 = 0;
  for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry)) {
    if (handleType(entry.handle) == TPM_HT_NV_INDEX && isNvCounter(entry.index.publicArea.attributes)) n++;
  }
  return n;
}

export function nvPersistentNumber(): u32 {
  return persistentNumber();
}

/** How many more objects certainly fit. */
export function nvPersistentAvailable(): u32 {
  const counters = nvCounterNumber();
  let reserved = LIST_TERMINATOR;
  if (counters < MIN_COUNTER_INDICES) reserved += (MIN_COUNTER_INDICES - counters) * NV_INDEX_COUNTER_SIZE;
  const free = nvFreeBytes();
  return reserved > free ? 0 : (free - reserved) / NV_EVICT_OBJECT_SIZE;
}

/** How many more orderly counters certainly fit. */
export function nvCounterAvailable(): u32 {
  const objects = persistentNumber();
  let reserved = LIST_TERMINATOR;
  if (objects < MIN_EVICT_OBJECTS) reserved += (MIN_EVICT_OBJECTS - objects) * NV_EVICT_OBJECT_SIZE;
  const free = nvFreeBytes();
  const inNv = reserved > free ? 0 : (free - reserved) / NV_INDEX_COUNTER_SIZE;
  return min(inNv, ramFreeBytes() / NV_RAM_INDEX_COUNTER_SIZE);
}
