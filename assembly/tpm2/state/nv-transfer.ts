// The non-volatile memory in libtpms' format: INDEX_ORDERLY_RAM and USER_NVRAM.
import { evictCountedSize } from "../evict";
import {
  MAX_DIGEST_SIZE,
  MAX_NV_INDEX_SIZE,
  RAM_INDEX_SPACE,
  TPMA_NV_ORDERLY,
  TPM_HT_NV_INDEX,
  TPM_HT_PERSISTENT,
  TPM_RC_NV_SPACE,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
} from "../generated/constants";
import { NV_INDEX, OBJECT, SIZEOF_NV_INDEX_RECORD, SIZEOF_OBJECT_RECORD } from "../generated/engine-records";
import { marshal_TPMS_NV_PUBLIC, unmarshal_TPMS_NV_PUBLIC } from "../generated/structures";
import { handleType } from "../handles";
import { nvMaxCounter, setNvMaxCounter } from "../nv";
import {
  NvEntry,
  RAM_ENTRY_HEADER,
  RamEntry,
  nvAdd,
  nvFind,
  nvFirst,
  nvFreeBytes,
  nvIs,
  nvNext,
  userSpace,
} from "../nv-memory";
import { anyObjectTransfer } from "./object-transfer";
import {
  bytesField,
  extensionBlock,
  header,
  isReading,
  lendCursor,
  reclaimCursor,
  transferAt,
  transferError,
  transferFail,
  twoB,
  u16Value,
  u32Value,
  u64Value,
} from "./transfer";

const INDEX_ORDERLY_RAM_MAGIC: u32 = 0x5346feab;
const USER_NVRAM_MAGIC: u32 = 0x094f22c3;
const NV_INDEX_MAGIC: u32 = 0x2547265a;
const VERSION: u32 = 2;
/** What libtpms counts for an entry beside its content: the pointer to the next. */
const LIST_POINTER: u32 = 4;

/** The orderly indexes' table at `table` (RAM_INDEX_SPACE bytes). */
export function orderlyRamTransfer(table: usize): void {
  const version = header(VERSION, INDEX_ORDERLY_RAM_MAGIC, 1);
  const space = u32Value(RAM_INDEX_SPACE);
  if (transferError() == 0 && space > RAM_INDEX_SPACE) transferFail(TPM_RC_SIZE);
  if (isReading()) memory.fill(table, 0, RAM_INDEX_SPACE);
  let offset: u32 = 0;
  while (transferError() == 0 && offset + RAM_ENTRY_HEADER <= space) {
    const entry = changetype<RamEntry>(table + offset);
    const size = u32Value(entry.size);
    if (size == 0 || transferError() != 0) break;
    if (size < RAM_ENTRY_HEADER || size > RAM_INDEX_SPACE - offset) {
      transferFail(TPM_RC_SIZE);
      break;
    }
    entry.size = size;
    entry.handle = u32Value(entry.handle);
    entry.attributes = u32Value(entry.attributes);
    const data = u16Value(size - RAM_ENTRY_HEADER);
    if (data != size - RAM_ENTRY_HEADER) transferFail(TPM_RC_SIZE);
    else bytesField(entry.data, data);
    offset += size;
  }
  extensionBlock(version);
}

/** The indexes and persistent objects, in the order in which they were added, and the floor of new counters. */
export function userNvramTransfer(): void {
  const version = header(VERSION, USER_NVRAM_MAGIC, 1);
  u64Value(userSpace());
  if (isReading()) readEntries();
  else {
    for (let entry = nvFirst(); nvIs(entry); entry = nvNext(entry)) writeEntry(entry);
    u32Value(0);
  }
  setNvMaxCounter(u64Value(nvMaxCounter()));
  extensionBlock(version);
}

function writeEntry(entry: NvEntry): void {
  u32Value(entry.counted);
  u32Value(entry.handle);
  if (handleType(entry.handle) == TPM_HT_NV_INDEX) {
    nvIndexTransfer(entry.index);
    const size = entry.index.publicArea.attributes & TPMA_NV_ORDERLY ? 0 : entry.index.publicArea.dataSize;
    u32Value(size);
    bytesField(entry.data, size);
  } else bytesField(entry.content + 4, load<u32>(entry.content));
}

function nvIndexTransfer(index: NV_INDEX): void {
  const version = header(VERSION, NV_INDEX_MAGIC, 1);
  lendCursor();
  let rc: u32 = 0;
  if (isReading()) rc = unmarshal_TPMS_NV_PUBLIC(changetype<usize>(index.publicArea));
  else marshal_TPMS_NV_PUBLIC(changetype<usize>(index.publicArea));
  reclaimCursor(rc);
  twoB(index.authValue, MAX_DIGEST_SIZE);
  extensionBlock(version);
}

function readEntries(): void {
  while (transferError() == 0 && u32Value(0) != 0) {
    const handle = u32Value(0);
    if (transferError() != 0) return;
    if (nvFind(handle) != null) {
      transferFail(TPM_RC_VALUE);
      return;
    }
    const type = handleType(handle);
    if (type == TPM_HT_NV_INDEX) readIndex(handle);
    else if (type == TPM_HT_PERSISTENT) readObject(handle);
    else transferFail(TPM_RC_VALUE);
  }
}

const INDEX: usize = memory.data(SIZEOF_NV_INDEX_RECORD, 8);

function readIndex(handle: u32): void {
  const index = changetype<NV_INDEX>(INDEX);
  memory.fill(INDEX, 0, SIZEOF_NV_INDEX_RECORD);
  nvIndexTransfer(index);
  const size = u32Value(0);
  if (transferError() != 0) return;
  const area = index.publicArea;
  const expected = area.attributes & TPMA_NV_ORDERLY ? 0 : area.dataSize;
  if (area.nvIndex != handle || size != expected || size > MAX_NV_INDEX_SIZE) {
    transferFail(TPM_RC_VALUE);
    return;
  }
  const entry = add(handle, SIZEOF_NV_INDEX_RECORD + size, LIST_POINTER + SIZEOF_NV_INDEX_RECORD + size);
  if (entry == null) return;
  memory.copy(entry.content, INDEX, SIZEOF_NV_INDEX_RECORD);
  bytesField(entry.data, size);
}

function add(handle: u32, contentSize: u32, counted: u32): NvEntry | null {
  const entry = counted <= nvFreeBytes() ? nvAdd(handle, contentSize, counted) : null;
  if (entry == null) transferFail(TPM_RC_NV_SPACE);
  return entry;
}

const OBJECT_RECORD: usize = memory.data(SIZEOF_OBJECT_RECORD, 8);

/** An object is kept as it is written: UINT32 length and the bytes of ANY_OBJECT. */
function readObject(handle: u32): void {
  const from = transferAt();
  anyObjectTransfer(changetype<OBJECT>(OBJECT_RECORD));
  if (transferError() != 0) return;
  const length = <u32>(transferAt() - from);
  const entry = add(handle, 4 + length, evictCountedSize(length));
  if (entry == null) return;
  store<u32>(entry.content, length);
  memory.copy(entry.content + 4, from, length);
  memory.fill(OBJECT_RECORD, 0, SIZEOF_OBJECT_RECORD);
}
