// Sequence objects (Part 1, 32.4): hashes and HMACs that take their data in pieces, in an object slot.
import { TPM2B, copy2B } from "./cursor";
import { cryptMacStart } from "./crypt-mac";
import { g, gr } from "./data";
import { FATAL_ERROR_INTERNAL, fail } from "./failure";
import {
  HASH_COUNT,
  MAX_LOADED_OBJECTS,
  TPMA_OBJECT_noDA,
  TPM_ALG_NULL,
  TPM_RC_FAILURE,
  TPM_RC_OBJECT_MEMORY,
  TPM_RH_UNASSIGNED,
  TRANSIENT_FIRST,
} from "./generated/constants";
import { HASH_OBJECT, OBJECT } from "./generated/engine-records";
import { HASH_RECORD_SIZE, cryptHashEnd, cryptHashStart, cryptHashUpdate, hashAlgByIndex } from "./hash";
import {
  OBJECT_EVENT_SEQ,
  OBJECT_HASH_SEQ,
  OBJECT_HMAC_SEQ,
  OBJECT_TEMPORARY,
  allocateObjectSlot,
  asSequence,
  flushObject,
  objectIsPresent,
  objectOf,
} from "./object";
import { DRTM_PCR, HCRTM_PCR, pcrDrtm, pcrResetDynamics } from "./pcr";

const EMPTY = changetype<TPM2B>(memory.data(4, 4));
const FAIL_HASH_START: u32 = 0x5301;

/** The n-th hash of a sequence; an HMAC sequence has one. */
@inline
export function sequenceState(sequence: HASH_OBJECT, index: u32): usize {
  return sequence.states + index * HASH_RECORD_SIZE;
}

function create(attribute: u32, auth: TPM2B, handleOut: usize): HASH_OBJECT | null {
  const object = allocateObjectSlot(handleOut);
  if (object == null) return null;
  const sequence = asSequence(object);
  sequence.attributes |= attribute | OBJECT_TEMPORARY;
  sequence.objectAttributes = TPMA_OBJECT_noDA;
  sequence.type = TPM_ALG_NULL;
  sequence.nameAlg = TPM_ALG_NULL;
  // With its trailing zeros, if it has any: they are left out where it is used.
  copy2B(sequence.auth, auth);
  return sequence;
}

export function createHashSequence(hashAlg: u32, auth: TPM2B, handleOut: usize): u32 {
  const sequence = create(OBJECT_HASH_SEQ, auth, handleOut);
  if (sequence == null) return TPM_RC_OBJECT_MEMORY;
  cryptHashStart(sequenceState(sequence, 0), hashAlg);
  return 0;
}

/** One hash per bank. */
export function createEventSequence(auth: TPM2B, handleOut: usize): u32 {
  const sequence = create(OBJECT_EVENT_SEQ, auth, handleOut);
  if (sequence == null) return TPM_RC_OBJECT_MEMORY;
  for (let i: u32 = 0; i < HASH_COUNT; i++) cryptHashStart(sequenceState(sequence, i), hashAlgByIndex(i));
  return 0;
}

/** HMAC or CMAC with a loaded key; `scheme` is what cryptSelectMac selected. */
export function createMacSequence(scheme: u32, key: OBJECT, auth: TPM2B, handleOut: usize): u32 {
  const sequence = create(OBJECT_HMAC_SEQ, auth, handleOut);
  if (sequence == null) return TPM_RC_OBJECT_MEMORY;
  if (cryptMacStart(sequenceState(sequence, 0), key, scheme) != 0) return 0;
  flushObject(load<u32>(handleOut));
  return TPM_RC_FAILURE;
}

const HANDLE: usize = memory.data(4, 4);

/** _TPM_Hash_Start: an event sequence of the interface, which takes a slot from whoever has it. */
export function hashStart(): void {
  if (g.drtmHandle != TPM_RH_UNASSIGNED) flushObject(g.drtmHandle);
  g.drtmHandle = TPM_RH_UNASSIGNED;
  if (createEventSequence(EMPTY, HANDLE) != 0) {
    for (let slot: u32 = 0; slot < MAX_LOADED_OBJECTS; slot++) {
      if (!objectIsPresent(TRANSIENT_FIRST + slot)) continue;
      flushObject(TRANSIENT_FIRST + slot);
      break;
    }
    if (createEventSequence(EMPTY, HANDLE) != 0) {
      fail(FAIL_HASH_START, FATAL_ERROR_INTERNAL);
      return;
    }
  }
  g.drtmHandle = load<u32>(HANDLE);
}

/** _TPM_Hash_Data. */
export function hashData(data: usize, length: u32): void {
  const object = objectOf(g.drtmHandle);
  if (object == null) return;
  for (let i: u32 = 0; i < HASH_COUNT; i++) cryptHashUpdate(sequenceState(asSequence(object), i), data, length);
}

const DIGEST: usize = memory.data(64, 8);

/** _TPM_Hash_End: before TPM2_Startup the H-CRTM measurement of PCR 0, after it a D-RTM event. */
export function hashEnd(): void {
  const object = objectOf(g.drtmHandle);
  if (object == null) return;
  let pcr = HCRTM_PCR;
  if (g.started) {
    pcrResetDynamics();
    pcr = DRTM_PCR;
    gr.restartCount++;
  } else g.drtmPreStartup = true;
  for (let i: u32 = 0; i < HASH_COUNT; i++) {
    cryptHashEnd(sequenceState(asSequence(object), i), DIGEST);
    pcrDrtm(pcr, hashAlgByIndex(i), DIGEST);
  }
  flushObject(g.drtmHandle);
  g.drtmHandle = TPM_RH_UNASSIGNED;
}
