// Object slots (Part 1, 30.4): three loaded objects or sequences; a persistent object takes one while a command uses it.
import { TPM2B, outputAt, setOutput } from "./cursor";
import { rsaForget, rsaForgetAll } from "./crypt-rsa-keys";
import { g } from "./data";
import {
  MAX_CAP_HANDLES,
  MAX_LOADED_OBJECTS,
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_sign,
  TPM_ALG_ECC,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_RC_OBJECT_MEMORY,
  TPM_RH_ENDORSEMENT,
  TPM_RH_NULL,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
  TPM_RH_UNASSIGNED,
  TRANSIENT_FIRST,
} from "./generated/constants";
import { HASH_OBJECT, OBJECT, SIZEOF_OBJECT_RECORD } from "./generated/engine-records";
import {
  SIZEOF_TPMT_PUBLIC_RECORD,
  TPML_HANDLE,
  TPMT_PUBLIC,
  TPMT_SYM_DEF_OBJECT,
  marshal_TPMT_PUBLIC,
} from "./generated/structures";
import { HASH_RECORD_SIZE, cryptHashBlock, cryptHashEnd, cryptHashStart, cryptHashUpdate } from "./hash";

// OBJECT attributes, by bit as libtpms stores them.
export const OBJECT_PUBLIC_ONLY: u32 = 1 << 0;
export const OBJECT_EPS_HIERARCHY: u32 = 1 << 1;
export const OBJECT_PPS_HIERARCHY: u32 = 1 << 2;
export const OBJECT_SPS_HIERARCHY: u32 = 1 << 3;
export const OBJECT_EVICT: u32 = 1 << 4;
export const OBJECT_PRIMARY: u32 = 1 << 5;
export const OBJECT_TEMPORARY: u32 = 1 << 6;
export const OBJECT_ST_CLEAR: u32 = 1 << 7;
export const OBJECT_HMAC_SEQ: u32 = 1 << 8;
export const OBJECT_HASH_SEQ: u32 = 1 << 9;
export const OBJECT_EVENT_SEQ: u32 = 1 << 10;
export const OBJECT_TICKET_SAFE: u32 = 1 << 11;
export const OBJECT_FIRST_BLOCK: u32 = 1 << 12;
export const OBJECT_IS_PARENT: u32 = 1 << 13;
export const OBJECT_PRIVATE_EXP: u32 = 1 << 14;
export const OBJECT_OCCUPIED: u32 = 1 << 15;
export const OBJECT_DERIVATION: u32 = 1 << 16;
export const OBJECT_EXTERNAL: u32 = 1 << 17;

const SEQUENCE: u32 = OBJECT_HMAC_SEQ | OBJECT_HASH_SEQ | OBJECT_EVENT_SEQ;

const SLOTS: usize = memory.data(3 * SIZEOF_OBJECT_RECORD, 16);

@inline
export function objectSlot(slot: u32): OBJECT {
  return changetype<OBJECT>(SLOTS + slot * SIZEOF_OBJECT_RECORD);
}

@inline
function occupied(object: OBJECT): bool {
  return (object.attributes & OBJECT_OCCUPIED) != 0;
}

/** TPM2_Startup: no object is loaded. */
export function objectStartup(): void {
  rsaForgetAll();
  memory.fill(SLOTS, 0, 3 * SIZEOF_OBJECT_RECORD);
}

/** The object of a transient handle, or null. */
export function objectOf(handle: u32): OBJECT | null {
  const slot = handle - TRANSIENT_FIRST;
  if (slot >= MAX_LOADED_OBJECTS) return null;
  const object = objectSlot(slot);
  return occupied(object) ? object : null;
}

export function objectIsPresent(handle: u32): bool {
  return objectOf(handle) != null;
}

@inline
export function objectIsSequence(object: OBJECT): bool {
  return (object.attributes & SEQUENCE) != 0;
}

@inline
export function asSequence(object: OBJECT): HASH_OBJECT {
  return changetype<HASH_OBJECT>(object);
}

/** The object of a handle that is known to be loaded. */
@inline
export function loadedObject(handle: u32): OBJECT {
  return changetype<OBJECT>(changetype<usize>(objectOf(handle)));
}

/** Takes a free slot, zeroed but occupied, and writes its handle; null when there is none (TPM_RC_OBJECT_MEMORY). */
export function allocateObjectSlot(handleOut: usize): OBJECT | null {
  for (let slot: u32 = 0; slot < MAX_LOADED_OBJECTS; slot++) {
    const object = objectSlot(slot);
    if (occupied(object)) continue;
    memory.fill(changetype<usize>(object), 0, SIZEOF_OBJECT_RECORD);
    object.attributes = OBJECT_OCCUPIED;
    object.hierarchy = TPM_RH_NULL;
    store<u32>(handleOut, TRANSIENT_FIRST + slot);
    return object;
  }
  return null;
}

const NEW_OBJECT = changetype<OBJECT>(memory.data(SIZEOF_OBJECT_RECORD, 16));

/** Where an object is made or loaded before it takes a slot; zeroed. One at a time. */
export function beginNewObject(): OBJECT {
  wipeNewObject();
  NEW_OBJECT.hierarchy = TPM_RH_NULL;
  return NEW_OBJECT;
}

/** Moves the new object to a free slot and writes its handle. @returns TPM_RC_OBJECT_MEMORY when there is none */
export function installNewObject(handleOut: usize): u32 {
  const object = allocateObjectSlot(handleOut);
  if (object == null) {
    wipeNewObject();
    return TPM_RC_OBJECT_MEMORY;
  }
  memory.copy(changetype<usize>(object), changetype<usize>(NEW_OBJECT), SIZEOF_OBJECT_RECORD);
  memory.fill(changetype<usize>(NEW_OBJECT), 0, SIZEOF_OBJECT_RECORD);
  return 0;
}

/** The new object is not to be: nothing of it stays. */
export function wipeNewObject(): void {
  rsaForget(NEW_OBJECT);
  memory.fill(changetype<usize>(NEW_OBJECT), 0, SIZEOF_OBJECT_RECORD);
}

/** Empties a slot; nothing of the object stays. The copy of a persistent object leaves its prepared key for the next one. */
export function flushObjectSlot(object: OBJECT): void {
  if (!objectIsSequence(object) && (object.attributes & OBJECT_EVICT) == 0) rsaForget(object);
  memory.fill(changetype<usize>(object), 0, SIZEOF_OBJECT_RECORD);
}

/** A storage key may protect other objects: restricted, decrypt, not sign, and asymmetric. */
export function objectIsStorage(object: OBJECT): bool {
  const area = object.publicArea;
  const wanted = TPMA_OBJECT_restricted | TPMA_OBJECT_decrypt;
  return (
    (area.objectAttributes & (wanted | TPMA_OBJECT_sign)) == wanted &&
    (area.type == TPM_ALG_RSA || area.type == TPM_ALG_ECC)
  );
}

/** The symmetric algorithm of a parent or symmetric key: the first field of asymDetail as well as of symDetail. */
@inline
export function objectSymmetric(area: TPMT_PUBLIC): TPMT_SYM_DEF_OBJECT {
  return changetype<TPMT_SYM_DEF_OBJECT>(changetype<usize>(area.parameters));
}

export function flushObject(handle: u32): void {
  const object = objectOf(handle);
  if (object != null) flushObjectSlot(object);
}

/** Flushes the loaded objects of a hierarchy. */
export function objectFlushHierarchy(hierarchy: u32): void {
  for (let slot: u32 = 0; slot < MAX_LOADED_OBJECTS; slot++) {
    const object = objectSlot(slot);
    if (occupied(object) && !objectIsSequence(object) && objectHierarchy(object) == hierarchy) flushObjectSlot(object);
  }
}

/** The hierarchy an object belongs to. */
export function objectHierarchy(object: OBJECT): u32 {
  const attributes = object.attributes;
  if (attributes & OBJECT_SPS_HIERARCHY) return TPM_RH_OWNER;
  if (attributes & OBJECT_PPS_HIERARCHY) return TPM_RH_PLATFORM;
  if (attributes & OBJECT_EPS_HIERARCHY) return TPM_RH_ENDORSEMENT;
  return TPM_RH_NULL;
}

/** The public area of a loaded object. */
@inline
export function objectNameAlg(object: OBJECT): u32 {
  return object.publicArea.nameAlg;
}

const MARSHALLED: usize = memory.data(SIZEOF_TPMT_PUBLIC_RECORD + 64, 8);

/** Marshals a public area into scratch memory; its length, and its address by `marshalledPublic`. */
export function marshalPublic(area: TPMT_PUBLIC): u32 {
  const was = outputAt();
  setOutput(MARSHALLED);
  marshal_TPMT_PUBLIC(changetype<usize>(area));
  const length = <u32>(outputAt() - MARSHALLED);
  setOutput(was);
  return length;
}

@inline
export function marshalledPublic(): usize {
  return MARSHALLED;
}

export function copyPublic(to: TPMT_PUBLIC, from: TPMT_PUBLIC): void {
  memory.copy(changetype<usize>(to), changetype<usize>(from), SIZEOF_TPMT_PUBLIC_RECORD);
}

/** Name of an object (Part 1, 16): nameAlg || H(TPMT_PUBLIC); empty without a nameAlg. */
export function publicName(area: TPMT_PUBLIC, name: TPM2B): void {
  if (area.nameAlg == TPM_ALG_NULL) {
    name.size = 0;
    return;
  }
  const length = marshalPublic(area);
  store<u8>(name.buffer, <u8>(area.nameAlg >> 8));
  store<u8>(name.buffer + 1, <u8>area.nameAlg);
  name.size = 2 + cryptHashBlock(area.nameAlg, MARSHALLED, length, name.buffer + 2);
}

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/** Qualified Name: nameAlg || H(parent's Qualified Name || Name). */
export function computeQualifiedName(parentName: TPM2B, nameAlg: u32, name: TPM2B, out: TPM2B): void {
  if (nameAlg == TPM_ALG_NULL) {
    out.size = 0;
    return;
  }
  cryptHashStart(WORK, nameAlg);
  cryptHashUpdate(WORK, parentName.buffer, parentName.size);
  cryptHashUpdate(WORK, name.buffer, name.size);
  const size = cryptHashEnd(WORK, out.buffer + 2);
  store<u8>(out.buffer, <u8>(nameAlg >> 8));
  store<u8>(out.buffer + 1, <u8>nameAlg);
  out.size = 2 + size;
}

/** The persistent objects that a command loaded go again. */
export function objectCleanupEvict(): void {
  for (let slot: u32 = 0; slot < MAX_LOADED_OBJECTS; slot++) {
    const object = objectSlot(slot);
    if (occupied(object) && object.attributes & OBJECT_EVICT) flushObjectSlot(object);
  }
}

/** For TPM2_GetCapability: handles of loaded objects from `first` on; true if there are more. */
export function objectCapGetLoaded(first: u32, count: u32, list: TPML_HANDLE): bool {
  const max = min(count, MAX_CAP_HANDLES);
  list.count = 0;
  for (let slot = first & 0x00ffffff; slot < MAX_LOADED_OBJECTS; slot++) {
    if (!occupied(objectSlot(slot))) continue;
    if (list.count == max) return true;
    list.set_handle(list.count, TRANSIENT_FIRST + slot);
    list.count++;
  }
  return false;
}

export function objectTransientAvailable(): u32 {
  let n: u32 = 0;
  for (let slot: u32 = 0; slot < MAX_LOADED_OBJECTS; slot++) if (!occupied(objectSlot(slot))) n++;
  return n;
}

/** Ends an event sequence that _TPM_Hash_Start began: any command in between does that. */
export function objectTerminateEvent(): void {
  flushObject(g.drtmHandle);
  g.drtmHandle = TPM_RH_UNASSIGNED;
}
