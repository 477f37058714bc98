// The protection of sensitive data outside the TPM (Part 1, 23): encryption and an HMAC, both with keys from a seed that only
// the protector (a parent, or the key of a credential) knows.
//
// A wrapped blob is TPM2B integrity || [TPM2B iv] || data. The functions work in place: the data is where it belongs when they
// begin.
import { ctEqual } from "../crypto/ct";
import { TPM2B, inputAt, inputLeft, setInput, storeBE16, unmarshalTPM2B } from "./cursor";
import { cryptCfb, symmetricBlockSize } from "./cipher";
import {
  MAX_DIGEST_SIZE,
  MAX_SYM_BLOCK_SIZE,
  MAX_SYM_KEY_BYTES,
  TPM_RC_INTEGRITY,
  TPM_RC_VALUE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import {
  HASH_RECORD_SIZE,
  cryptHmacEnd2B,
  cryptHmacStart,
  cryptHmacUpdate,
  cryptHmacUpdate2B,
  digestSizeOf,
} from "./hash";
import { EMPTY_2B, LABEL_INTEGRITY, LABEL_STORAGE, cryptKdfa } from "./kdf";
import { objectSymmetric } from "./object";
import { cryptRandomGenerate } from "./random";

const KEY: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);
const SYM_KEY: usize = memory.data(MAX_SYM_KEY_BYTES, 16);
const IV: usize = memory.data(MAX_SYM_BLOCK_SIZE, 16);
const INTEGRITY: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);
const COMPARE: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);
const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/** Bytes of the integrity field in front. */
@inline
export function integritySizeOf(hashAlg: u32): u32 {
  return 2 + digestSizeOf(hashAlg);
}

/** Bytes of the IV with its size field. */
export function ivSizeOf(protector: OBJECT): u32 {
  return 2 + symmetricBlockSize(objectSymmetric(protector.publicArea).algorithm);
}

/** HMAC over the data behind the integrity field and the Name. */
function outerIntegrity(name: TPM2B, hashAlg: u32, seed: TPM2B, data: usize, length: u32, out: TPM2B): void {
  const key = changetype<TPM2B>(KEY);
  key.size = digestSizeOf(hashAlg);
  cryptKdfa(hashAlg, seed, LABEL_INTEGRITY, EMPTY_2B, EMPTY_2B, key.size * 8, key.buffer);
  cryptHmacStart(WORK, hashAlg, key.buffer, key.size);
  memory.fill(KEY, 0, 2 + MAX_DIGEST_SIZE);
  cryptHmacUpdate(WORK, data, length);
  cryptHmacUpdate2B(WORK, name);
  cryptHmacEnd2B(WORK, out);
}

/** En- or decrypts with the key that belongs to the Name; IV is used up. */
function outerCipher(
  protector: OBJECT,
  name: TPM2B,
  hashAlg: u32,
  seed: TPM2B,
  data: usize,
  length: u32,
  encrypt: bool,
): void {
  const symmetric = objectSymmetric(protector.publicArea);
  const keyBits = symmetric.keyBits.aes;
  cryptKdfa(hashAlg, seed, LABEL_STORAGE, name, EMPTY_2B, ((keyBits + 7) / 8) * 8, SYM_KEY);
  cryptCfb(symmetric.algorithm, keyBits, SYM_KEY, IV, data, length, encrypt);
  memory.fill(SYM_KEY, 0, MAX_SYM_KEY_BYTES);
}

/**
 * Wraps `dataSize` bytes that stand in `blob` behind the room for the integrity and, if `useIV`, a new IV.
 * @returns the size of the whole blob
 */
export function produceOuterWrap(
  protector: OBJECT,
  name: TPM2B,
  hashAlg: u32,
  seed: TPM2B,
  useIV: bool,
  dataSize: u32,
  blob: usize,
): u32 {
  const integritySize = integritySizeOf(hashAlg);
  const ivSize: u32 = useIV ? ivSizeOf(protector) : 0;
  const behind = blob + integritySize;
  memory.fill(IV, 0, MAX_SYM_BLOCK_SIZE);
  if (useIV) {
    storeBE16(behind, ivSize - 2);
    cryptRandomGenerate(behind + 2, ivSize - 2);
    memory.copy(IV, behind + 2, ivSize - 2);
  }
  outerCipher(protector, name, hashAlg, seed, behind + ivSize, dataSize, true);
  const integrity = changetype<TPM2B>(INTEGRITY);
  outerIntegrity(name, hashAlg, seed, behind, ivSize + dataSize, integrity);
  storeBE16(blob, integrity.size);
  memory.copy(blob + 2, integrity.buffer, integrity.size);
  return integritySize + ivSize + dataSize;
}

/**
 * Checks and decrypts a blob of `size` bytes in place. The input cursor is left on the decrypted data.
 * @returns unmarshalling errors, TPM_RC_INTEGRITY, or TPM_RC_VALUE for an IV that is not of the cipher's block size
 */
export function unwrapOuter(
  protector: OBJECT,
  name: TPM2B,
  hashAlg: u32,
  seed: TPM2B,
  useIV: bool,
  size: u32,
  blob: usize,
): u32 {
  setInput(blob, size);
  const given = changetype<TPM2B>(COMPARE);
  let rc = unmarshalTPM2B(COMPARE, MAX_DIGEST_SIZE);
  if (rc) return rc;
  const integrity = changetype<TPM2B>(INTEGRITY);
  outerIntegrity(name, hashAlg, seed, inputAt(), inputLeft(), integrity);
  if (given.size != integrity.size || ctEqual(given.buffer, integrity.buffer, given.size) == 0) return TPM_RC_INTEGRITY;
  memory.fill(IV, 0, MAX_SYM_BLOCK_SIZE);
  if (useIV) {
    const iv = given;
    rc = unmarshalTPM2B(COMPARE, MAX_SYM_BLOCK_SIZE);
    if (rc) return rc;
    if (iv.size + 2 != ivSizeOf(protector)) return TPM_RC_VALUE;
    memory.copy(IV, iv.buffer, iv.size);
  }
  outerCipher(protector, name, hashAlg, seed, inputAt(), inputLeft(), false);
  return 0;
}
