// Hashes and HMACs by TPM algorithm identifier, on the project's crypto.
import {
  HASH_SHA1,
  HASH_SHA256,
  HASH_SHA384,
  HASH_SHA512,
  HASH_STATE_SIZE,
  hashBlockSize,
  hashDigestSize,
  hashFinal,
  hashInit,
  hashUpdate,
} from "../crypto/hash";
import { HMAC_STATE_SIZE, hmacFinal, hmacInit, hmacUpdate } from "../crypto/hmac";
import { TPM2B, storeBE16, storeBE32, storeBE64 } from "./cursor";
import { TPM_ALG_NULL, TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512 } from "./generated/constants";
import { selfTestBeforeUse } from "./self-test";

/** A running hash or HMAC: the crypto's hash number, then its state. */
export const HASH_RECORD_SIZE: u32 = 8 + (HMAC_STATE_SIZE > HASH_STATE_SIZE ? HMAC_STATE_SIZE : HASH_STATE_SIZE);

const NONE: u32 = 0xff;

/** The crypto's number of a TPM hash algorithm, which is also the order of the PCR banks; 0xff if it is none. */
export function hashNumber(alg: u32): u32 {
  switch (alg) {
    case TPM_ALG_SHA1:
      return HASH_SHA1;
    case TPM_ALG_SHA256:
      return HASH_SHA256;
    case TPM_ALG_SHA384:
      return HASH_SHA384;
    case TPM_ALG_SHA512:
      return HASH_SHA512;
  }
  return NONE;
}

/** The n-th implemented hash algorithm, TPM_ALG_NULL beyond the last. */
export function hashAlgByIndex(index: u32): u32 {
  switch (index) {
    case 0:
      return TPM_ALG_SHA1;
    case 1:
      return TPM_ALG_SHA256;
    case 2:
      return TPM_ALG_SHA384;
    case 3:
      return TPM_ALG_SHA512;
  }
  return TPM_ALG_NULL;
}

/** Digest size in bytes; 0 for what is not an implemented hash. */
export function digestSizeOf(alg: u32): u32 {
  const number = hashNumber(alg);
  return number == NONE ? 0 : hashDigestSize(number);
}

/** Block size in bytes; 0 for what is not an implemented hash. */
export function blockSizeOf(alg: u32): u32 {
  const number = hashNumber(alg);
  return number == NONE ? 0 : hashBlockSize(number);
}

/** Starts a hash in `record` (HASH_RECORD_SIZE bytes) and returns its digest size; 0 for TPM_ALG_NULL, which takes no data. */
export function cryptHashStart(record: usize, alg: u32): u32 {
  const number = hashNumber(alg);
  store<u32>(record, number);
  if (number == NONE) return 0;
  selfTestBeforeUse(alg);
  hashInit(number, record + 8);
  return hashDigestSize(number);
}

export function cryptHashUpdate(record: usize, data: usize, length: u32): void {
  const number = load<u32>(record);
  if (number != NONE) hashUpdate(number, record + 8, data, length);
}

export function cryptHashUpdate2B(record: usize, data: TPM2B): void {
  cryptHashUpdate(record, data.buffer, data.size);
}

const INTEGER: usize = memory.data(8, 8);

/** Adds a big-endian number of 1, 2, 4 or 8 bytes. */
export function cryptHashUpdateInt(record: usize, bytes: u32, value: u64): void {
  if (bytes == 1) store<u8>(INTEGER, <u8>value);
  else if (bytes == 2) storeBE16(INTEGER, <u32>value);
  else if (bytes == 4) storeBE32(INTEGER, <u32>value);
  else storeBE64(INTEGER, value);
  cryptHashUpdate(record, INTEGER, bytes);
}

/** Ends a hash: writes the digest to `out` and returns its size. */
export function cryptHashEnd(record: usize, out: usize): u32 {
  const number = load<u32>(record);
  if (number == NONE) return 0;
  hashFinal(number, record + 8, out);
  return hashDigestSize(number);
}

export function cryptHashEnd2B(record: usize, out: TPM2B): void {
  out.size = cryptHashEnd(record, out.buffer);
}

const ONCE: usize = memory.data(HASH_RECORD_SIZE, 16);

/** Hash of one block of bytes; returns the digest size. */
export function cryptHashBlock(alg: u32, data: usize, length: u32, out: usize): u32 {
  cryptHashStart(ONCE, alg);
  cryptHashUpdate(ONCE, data, length);
  return cryptHashEnd(ONCE, out);
}

/** Starts an HMAC; returns its size. */
export function cryptHmacStart(record: usize, alg: u32, key: usize, keyLength: u32): u32 {
  const number = hashNumber(alg);
  store<u32>(record, number);
  if (number == NONE) return 0;
  selfTestBeforeUse(alg);
  hmacInit(number, record + 8, key, keyLength);
  return hashDigestSize(number);
}

export function cryptHmacUpdate(record: usize, data: usize, length: u32): void {
  const number = load<u32>(record);
  if (number != NONE) hmacUpdate(number, record + 8, data, length);
}

export function cryptHmacUpdate2B(record: usize, data: TPM2B): void {
  cryptHmacUpdate(record, data.buffer, data.size);
}

export function cryptHmacUpdateInt(record: usize, bytes: u32, value: u64): void {
  if (bytes == 1) store<u8>(INTEGER, <u8>value);
  else if (bytes == 2) storeBE16(INTEGER, <u32>value);
  else if (bytes == 4) storeBE32(INTEGER, <u32>value);
  else storeBE64(INTEGER, value);
  cryptHmacUpdate(record, INTEGER, bytes);
}

export function cryptHmacEnd(record: usize, out: usize): u32 {
  const number = load<u32>(record);
  if (number == NONE) return 0;
  hmacFinal(number, record + 8, out);
  return hashDigestSize(number);
}

export function cryptHmacEnd2B(record: usize, out: TPM2B): void {
  out.size = cryptHmacEnd(record, out.buffer);
}
