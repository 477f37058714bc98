// Persistent objects: kept in NV in libtpms' format, loaded into a slot while a command uses them (Part 1, 30.4.4). An entry's
// content is UINT32 length and the bytes of ANY_OBJECT.
import { command } from "./command";
import { rsaForgetAll } from "./crypt-rsa-keys";
import { inputAt, inputLeft, loadBE16, loadBE32, setInput } from "./cursor";
import { g, gc, nvChanged } from "./data";
import {
  PLATFORM_PERSISTENT,
  TPMA_NV_PLATFORMCREATE,
  TPM_CC_EvictControl,
  TPM_HT_NV_INDEX,
  TPM_RC_FAILURE,
  TPM_RC_HANDLE,
  TPM_RC_NV_SPACE,
  TPM_RC_OBJECT_MEMORY,
  TPM_RH_ENDORSEMENT,
  TPM_RH_OWNER,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { handleType, setHandleAt } from "./handles";
import { nvAttributes, nvDeleteIndex, nvTestSpace } from "./nv";
import { NvEntry, nvAdd, nvFind, nvFirst, nvIs, nvNext, nvRemove } from "./nv-memory";
import {
  OBJECT_EPS_HIERARCHY,
  OBJECT_EVICT,
  OBJECT_PPS_HIERARCHY,
  OBJECT_SPS_HIERARCHY,
  allocateObjectSlot,
  objectHierarchy,
} from "./object";
import { profile } from "./profile";
import { MAX_MARSHALLED_OBJECT, marshalObject, unmarshalObject } from "./state/object-transfer";

/** What libtpms counts for an entry beside the object: size field and handle. */
const ENTRY_OVERHEAD: u32 = 8;
/** libtpms' structure of an object up to 3072 bits, which is what it stores with StateFormatLevel 1. */
const RSA3072_OBJECT_SIZE: u32 = 2600;

const HANDLE: usize = memory.data(4, 4);
const MARSHALLED: usize = memory.data(MAX_MARSHALLED_OBJECT, 8);

/** Bytes that libtpms takes for an object whose ANY_OBJECT has `length` bytes. */
function storedSize(length: u32): u32 {
  return profile.stateFormatLevel >= 2 ? length : RSA3072_OBJECT_SIZE;
}

/** Bytes that the entry of such an object counts. */
export function evictCountedSize(length: u32): u32 {
  return ENTRY_OVERHEAD + storedSize(length);
}

/**
 * Loads the object of a persistent handle into a slot and replaces the command's handle by the slot's.
 * @returns TPM_RC_HANDLE when there is none or its hierarchy is disabled, TPM_RC_OBJECT_MEMORY without a free slot
 */
export function loadEvictObject(handle: u32, index: u32): u32 {
  if (handle >= PLATFORM_PERSISTENT ? !g.phEnable : gc.shEnable == 0) return TPM_RC_HANDLE;
  const object = allocateObjectSlot(HANDLE);
  if (object == null) return TPM_RC_OBJECT_MEMORY;
  // Until the command's end, also when it fails.
  object.attributes |= OBJECT_EVICT;
  const entry = nvFind(handle);
  if (entry == null) return TPM_RC_HANDLE;
  const at = inputAt();
  const left = inputLeft();
  const rc = unmarshalObject(entry.content + 4, load<u32>(entry.content), object);
  setInput(at, left);
  object.attributes |= OBJECT_EVICT;
  if (rc) return TPM_RC_FAILURE;
  setHandleAt(index, load<u32>(HANDLE));
  const hidden =
    objectHierarchy(object) == TPM_RH_ENDORSEMENT && gc.ehEnable == 0 && command.code != TPM_CC_EvictControl;
  return hidden ? TPM_RC_HANDLE : 0;
}

/** Stores a copy of a loaded object as a persistent one. @returns TPM_RC_NV_SPACE when it does not fit */
export function addEvictObject(handle: u32, object: OBJECT): u32 {
  object.attributes |= OBJECT_EVICT;
  object.evictHandle = handle;
  const length = marshalObject(object, MARSHALLED);
  object.attributes &= ~OBJECT_EVICT;
  object.evictHandle = 0;
  let entry: NvEntry | null = null;
  if (nvTestSpace(storedSize(length) + 4, false, false)) entry = nvAdd(handle, 4 + length, evictCountedSize(length));
  if (entry != null) {
    store<u32>(entry.content, length);
    memory.copy(entry.content + 4, MARSHALLED, length);
    nvChanged();
  }
  memory.fill(MARSHALLED, 0, length);
  return entry == null ? TPM_RC_NV_SPACE : 0;
}

export function deleteEvictObject(handle: u32): void {
  const entry = nvFind(handle);
  if (entry == null) return;
  nvRemove(entry);
  nvChanged();
}

/** OBJECT attributes of a stored object: behind the header, which has a minimum version from version 2 on. */
function storedAttributes(entry: NvEntry): u32 {
  const at = entry.content + 4;
  return loadBE32(at + (loadBE16(at) >= 2 ? 8 : 6));
}

function hierarchyAttribute(hierarchy: u32): u32 {
  if (hierarchy == TPM_RH_OWNER) return OBJECT_SPS_HIERARCHY;
  return hierarchy == TPM_RH_ENDORSEMENT ? OBJECT_EPS_HIERARCHY : OBJECT_PPS_HIERARCHY;
}

/** Removes the indexes and objects of a hierarchy (TPM2_Clear, TPM2_ChangePPS, TPM2_ChangeEPS). */
export function nvFlushHierarchy(hierarchy: u32): void {
  let entry = nvFirst();
  while (nvIs(entry)) {
    const isIndex = handleType(entry.handle) == TPM_HT_NV_INDEX;
    // What is deleted is replaced by what stood behind it.
    if (isIndex && hierarchy == TPM_RH_OWNER && (nvAttributes(entry) & TPMA_NV_PLATFORMCREATE) == 0)
      nvDeleteIndex(entry);
    else if (!isIndex && (storedAttributes(entry) & hierarchyAttribute(hierarchy)) != 0) {
      nvRemove(entry);
      nvChanged();
    } else entry = nvNext(entry);
  }
  rsaForgetAll();
}
