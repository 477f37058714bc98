// The protection of saved contexts (Part 1, 30.3): encrypted and with an HMAC, under the proof of the hierarchy that the context
// belongs to, so that it dies with it. A context blob is TPM2B integrity || encrypted(fingerprint || data).
import { ctEqual } from "../crypto/ct";
import { TPM2B, inputAt, inputLeft, loadBE16, setInput, storeBE16, unmarshalTPM2B } from "./cursor";
import { cryptCfb } from "./cipher";
import { gp, gr } from "./data";
import { FATAL_ERROR_INTERNAL, fail } from "./failure";
import {
  MAX_DIGEST_SIZE,
  SAVED_TRANSIENT_STCLEAR,
  TPM_ALG_AES,
  TPM_RC_1,
  TPM_RC_FAILURE,
  TPM_RC_INTEGRITY,
  TPM_RC_P,
  TPM_RC_SIZE,
} from "./generated/constants";
import { TPMS_CONTEXT } from "./generated/structures";
import {
  HASH_RECORD_SIZE,
  cryptHmacEnd2B,
  cryptHmacStart,
  cryptHmacUpdate,
  cryptHmacUpdateInt,
  digestSizeOf,
} from "./hash";
import { hierarchyProof } from "./hierarchy";
import { LABEL_CONTEXT, cryptKdfa } from "./kdf";
import { MAX_OBJECT_CONTEXT } from "./properties";
import { CONTEXT_INTEGRITY_HASH_ALG } from "./tickets";

const KEY_BITS: u32 = 256;
const KEY_SIZE: u32 = 32;
const IV_SIZE: u32 = 16;
const FINGERPRINT_SIZE: u32 = 8;
const P1: u32 = TPM_RC_P + TPM_RC_1;
const FAIL_FINGERPRINT: u32 = 0x5601;

const SEQUENCE: usize = memory.data(2 + 8, 4);
const HANDLE: usize = memory.data(2 + 4, 4);
const KEYS: usize = memory.data(48, 16);
const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);
const INTEGRITY: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);
const COMPARE: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);

/** Bytes of a context blob in front of the data: integrity and fingerprint. */
export function contextOverhead(): u32 {
  return 2 + digestSizeOf(CONTEXT_INTEGRITY_HASH_ALG) + FINGERPRINT_SIZE;
}

/** En- or decrypts with the key of this context. Sequence and handle enter the KDF as a little-endian machine has them in memory. */
function cipher(context: TPMS_CONTEXT, data: usize, length: u32, encrypt: bool): void {
  const sequence = changetype<TPM2B>(SEQUENCE);
  const handle = changetype<TPM2B>(HANDLE);
  sequence.size = 8;
  store<u64>(sequence.buffer, context.sequence);
  handle.size = 4;
  store<u32>(handle.buffer, context.savedHandle);
  const proof = hierarchyProof(context.hierarchy);
  const bits = (KEY_SIZE + IV_SIZE) * 8;
  cryptKdfa(CONTEXT_INTEGRITY_HASH_ALG, proof, LABEL_CONTEXT, sequence, handle, bits, KEYS);
  cryptCfb(TPM_ALG_AES, KEY_BITS, KEYS, KEYS + KEY_SIZE, data, length, encrypt);
  memory.fill(KEYS, 0, 48);
}

/** HMAC over reset count, for stClear objects clear count, sequence, handle and the encrypted part. */
function integrityOf(context: TPMS_CONTEXT, data: usize, length: u32, out: TPM2B): void {
  const proof = hierarchyProof(context.hierarchy);
  cryptHmacStart(WORK, CONTEXT_INTEGRITY_HASH_ALG, proof.buffer, proof.size);
  cryptHmacUpdateInt(WORK, 8, gp.totalResetCount);
  if (context.savedHandle == SAVED_TRANSIENT_STCLEAR) cryptHmacUpdateInt(WORK, 4, gr.clearCount);
  cryptHmacUpdateInt(WORK, 8, context.sequence);
  cryptHmacUpdateInt(WORK, 4, context.savedHandle);
  cryptHmacUpdate(WORK, data, length);
  cryptHmacEnd2B(WORK, out);
}

/** Protects `length` bytes that stand behind contextOverhead() bytes of the blob; the other fields are set. */
export function contextProtect(context: TPMS_CONTEXT, length: u32): void {
  const blob = context.contextBlob;
  const overhead = contextOverhead();
  const encrypted = blob.buffer + overhead - FINGERPRINT_SIZE;
  blob.size = overhead + length;
  store<u64>(encrypted, context.sequence);
  cipher(context, encrypted, FINGERPRINT_SIZE + length, true);
  const integrity = changetype<TPM2B>(INTEGRITY);
  integrityOf(context, encrypted, FINGERPRINT_SIZE + length, integrity);
  storeBE16(blob.buffer, integrity.size);
  memory.copy(blob.buffer + 2, integrity.buffer, integrity.size);
}

/**
 * Checks and decrypts a context in place; the input cursor is left on the data.
 * @returns unmarshalling errors, TPM_RC_SIZE and TPM_RC_INTEGRITY of parameter 1
 */
export function contextUnprotect(context: TPMS_CONTEXT): u32 {
  setInput(context.contextBlob.buffer, context.contextBlob.size);
  const given = changetype<TPM2B>(COMPARE);
  const rc = unmarshalTPM2B(COMPARE, MAX_DIGEST_SIZE);
  if (rc) return rc;
  if (given.size != digestSizeOf(CONTEXT_INTEGRITY_HASH_ALG)) return TPM_RC_SIZE + P1;
  const length = inputLeft();
  const encrypted = inputAt();
  if (length < FINGERPRINT_SIZE) return TPM_RC_SIZE + P1;
  const integrity = changetype<TPM2B>(INTEGRITY);
  integrityOf(context, encrypted, length, integrity);
  if (ctEqual(given.buffer, integrity.buffer, given.size) == 0) return TPM_RC_INTEGRITY + P1;
  cipher(context, encrypted, length, false);
  if (load<u64>(encrypted) != context.sequence) {
    fail(FAIL_FINGERPRINT, FATAL_ERROR_INTERNAL);
    return TPM_RC_FAILURE;
  }
  setInput(encrypted + FINGERPRINT_SIZE, length - FINGERPRINT_SIZE);
  return 0;
}

/** Bytes of TPMS_CONTEXT in front of the blob's size field. */
const BLOB_OFFSET: u32 = 16;

/**
 * Some versions of Windows pad a context to TPM_PT_MAX_OBJECT_CONTEXT bytes: of parameters of just this size, what stands behind the
 * context is dropped, as libtpms does.
 */
export function dropContextPadding(): void {
  if (inputLeft() != MAX_OBJECT_CONTEXT) return;
  const used = BLOB_OFFSET + 2 + loadBE16(inputAt() + BLOB_OFFSET);
  if (used < MAX_OBJECT_CONTEXT) setInput(inputAt(), used);
}
