// Part 3, 17: hash, HMAC and event sequences (TPM2_MAC_Start stands with the keyed commands).
import { cryptMacEnd2B, cryptMacUpdate2B, macIsLost } from "../crypt-mac";
import { clearOrderly } from "../data";
import {
  HASH_COUNT,
  TPM_ALG_NULL,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_FAILURE,
  TPM_RC_H,
  TPM_RC_LOCALITY,
  TPM_RC_MODE,
  TPM_RH_NULL,
  TPM_ST_HASHCHECK,
} from "../generated/constants";
import {
  EventSequenceComplete_In,
  EventSequenceComplete_Out,
  HashSequenceStart_In,
  HashSequenceStart_Out,
  SequenceComplete_In,
  SequenceComplete_Out,
  SequenceUpdate_In,
} from "../generated/records";
import { HASH_OBJECT, OBJECT } from "../generated/engine-records";
import { cryptHashEnd, cryptHashEnd2B, cryptHashUpdate2B, digestSizeOf, hashAlgByIndex } from "../hash";
import {
  OBJECT_EVENT_SEQ,
  OBJECT_EVICT,
  OBJECT_FIRST_BLOCK,
  OBJECT_HASH_SEQ,
  OBJECT_HMAC_SEQ,
  OBJECT_TICKET_SAFE,
  asSequence,
  objectIsSequence,
  objectOf,
} from "../object";
import { pcrExtend, pcrIsExtendAllowed, pcrIsStateSaved } from "../pcr";
import { createEventSequence, createHashSequence, sequenceState } from "../sequence";
import { ticketComputeHashCheck, ticketIsSafe } from "../tickets";

@inline
function loaded(handle: u32): OBJECT {
  return changetype<OBJECT>(changetype<usize>(objectOf(handle)));
}

export function HashSequenceStart(input: HashSequenceStart_In, output: HashSequenceStart_Out): u32 {
  const handle = changetype<usize>(output);
  if (input.hashAlg == TPM_ALG_NULL) return createEventSequence(input.auth, handle);
  return createHashSequence(input.hashAlg, input.auth, handle);
}

export function SequenceUpdate(input: SequenceUpdate_In): u32 {
  const object = loaded(input.sequenceHandle);
  if (!objectIsSequence(object)) return TPM_RC_MODE + TPM_RC_H + TPM_RC_1;
  const sequence = asSequence(object);
  const attributes = sequence.attributes;
  if (attributes & OBJECT_EVENT_SEQ) {
    for (let i: u32 = 0; i < HASH_COUNT; i++) cryptHashUpdate2B(sequenceState(sequence, i), input.buffer);
  } else if (attributes & OBJECT_HASH_SEQ) {
    if ((attributes & OBJECT_FIRST_BLOCK) == 0) {
      sequence.attributes |= OBJECT_FIRST_BLOCK | (ticketIsSafe(input.buffer) ? OBJECT_TICKET_SAFE : 0);
    }
    cryptHashUpdate2B(sequenceState(sequence, 0), input.buffer);
  } else {
    if (macIsLost(sequenceState(sequence, 0))) return TPM_RC_FAILURE;
    cryptMacUpdate2B(sequenceState(sequence, 0), input.buffer);
  }
  return 0;
}

export function SequenceComplete(input: SequenceComplete_In, output: SequenceComplete_Out): u32 {
  const object = loaded(input.sequenceHandle);
  if ((object.attributes & (OBJECT_HASH_SEQ | OBJECT_HMAC_SEQ)) == 0) return TPM_RC_MODE + TPM_RC_H + TPM_RC_1;
  const sequence = asSequence(object);
  const state = sequenceState(sequence, 0);
  output.validation.tag = TPM_ST_HASHCHECK;
  output.validation.hierarchy = TPM_RH_NULL;
  output.validation.digest.size = 0;
  if (sequence.attributes & OBJECT_HASH_SEQ) completeHash(sequence, state, input, output);
  else {
    if (macIsLost(state)) return TPM_RC_FAILURE;
    cryptMacUpdate2B(state, input.buffer);
    cryptMacEnd2B(state, output.result);
  }
  // Gone once the response, whose HMAC may need the authValue, is built.
  object.attributes |= OBJECT_EVICT;
  return 0;
}

function completeHash(
  sequence: HASH_OBJECT,
  state: usize,
  input: SequenceComplete_In,
  output: SequenceComplete_Out,
): void {
  const hashAlg = hashAlgByIndex(load<u32>(state));
  cryptHashUpdate2B(state, input.buffer);
  cryptHashEnd2B(state, output.result);
  let safe = (sequence.attributes & OBJECT_TICKET_SAFE) != 0;
  if ((sequence.attributes & OBJECT_FIRST_BLOCK) == 0) safe = ticketIsSafe(input.buffer);
  if (safe && input.hierarchy != TPM_RH_NULL) {
    ticketComputeHashCheck(input.hierarchy, hashAlg, output.result, output.validation);
  }
}

export function EventSequenceComplete(input: EventSequenceComplete_In, output: EventSequenceComplete_Out): u32 {
  const object = loaded(input.sequenceHandle);
  if ((object.attributes & OBJECT_EVENT_SEQ) == 0) return TPM_RC_MODE + TPM_RC_H + TPM_RC_2;
  const pcr = input.pcrHandle;
  if (pcr != TPM_RH_NULL) {
    if (!pcrIsExtendAllowed(pcr)) return TPM_RC_LOCALITY;
    if (pcrIsStateSaved(pcr)) clearOrderly();
  }
  const sequence = asSequence(object);
  output.results.count = HASH_COUNT;
  for (let i: u32 = 0; i < HASH_COUNT; i++) {
    const alg = hashAlgByIndex(i);
    const digest = output.results.digests(i);
    digest.hashAlg = alg;
    cryptHashUpdate2B(sequenceState(sequence, i), input.buffer);
    cryptHashEnd(sequenceState(sequence, i), digest.digest.buffer);
    if (pcr != TPM_RH_NULL) pcrExtend(pcr, alg, digest.digest.buffer, digestSizeOf(alg));
  }
  object.attributes |= OBJECT_EVICT;
  return 0;
}
