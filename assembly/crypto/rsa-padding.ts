// The encodings of PKCS #1 (RFC 8017) that a TPM uses. `em` is the encoded message: k bytes, as long as the modulus.
//
// Decoders of encryption schemes tell nothing but "wrong": no time, access or error says what is wrong, and the message only
// moves once everything is known to be right.
import { bnNonZeroMask } from "./bn";
import { ctEqual } from "./ct";
import { HASH_STATE_SIZE, hashDigestSize, hashFinal, hashInit, hashOnce, hashUpdate } from "./hash";
import { mgf1 } from "./kdf";
import { RSA_ERROR_RANGE, RSA_ERROR_VALUE, RSA_OK } from "./rsa-key";

/** The DigestInfo that precedes a digest (RFC 8017, 9.2, note 1): SHA-1, then the others, of which two bytes differ. */
const SHA1_INFO: usize = memory.data<u8>([
  0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14,
]);
const NIST_INFO: usize = memory.data<u8>([
  0x30, 0, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0, 0x05, 0x00, 0x04, 0,
]);
/** Last arc of the object identifier 2.16.840.1.101.3.4.2.x, by hash id; 0 for SHA-1. */
const OID_ARC: usize = memory.data<u8>([0, 1, 2, 3, 8, 9, 10]);
const MAX_INFO: u32 = 19;

const INFO: usize = memory.data(19);
const BLOCK: usize = memory.data(512);
const DIGEST: usize = memory.data(64);
const STATE: usize = memory.data(336, 16);
const ZEROS: usize = memory.data(8);

/** Writes hash h's DigestInfo prefix to INFO; answers its length. */
function digestInfo(h: u32): u32 {
  const arc = load<u8>(OID_ARC + h);
  if (arc == 0) {
    memory.copy(INFO, SHA1_INFO, 15);
    return 15;
  }
  const size = <u8>hashDigestSize(h);
  memory.copy(INFO, NIST_INFO, MAX_INFO);
  store<u8>(INFO, 17 + size, 1);
  store<u8>(INFO, arc, 14);
  store<u8>(INFO, size, 18);
  return MAX_INFO;
}

/**
 * EMSA-PKCS1-v1_5 (9.2) of a digest by hash h.
 *
 * @returns RSA_ERROR_VALUE when the digest's length is not the hash's, RSA_ERROR_RANGE when k is too short
 */
export function rsaEncodeSsa(em: usize, k: u32, h: u32, digest: usize, length: u32): u32 {
  if (length != hashDigestSize(h)) return RSA_ERROR_VALUE;
  const info = digestInfo(h);
  if (k < info + length + 11) return RSA_ERROR_RANGE;
  const fill = k - info - length - 3;
  store<u8>(em, 0);
  store<u8>(em, 1, 1);
  memory.fill(em + 2, 0xff, fill);
  store<u8>(em + 2 + fill, 0);
  memory.copy(em + 3 + fill, INFO, info);
  memory.copy(em + 3 + fill + info, digest, length);
  return RSA_OK;
}

/** Whether em is exactly the encoding of the digest: RSA_OK or RSA_ERROR_VALUE. */
export function rsaCheckSsa(em: usize, k: u32, h: u32, digest: usize, length: u32): u32 {
  if (rsaEncodeSsa(BLOCK, k, h, digest, length) != RSA_OK) return RSA_ERROR_VALUE;
  return ctEqual(em, BLOCK, k) != 0 ? RSA_OK : RSA_ERROR_VALUE;
}

/** Bytes of salt in a new PSS signature: as many as the digest has, fewer where the modulus leaves less room. */
export function rsaPssSaltSize(k: u32, h: u32): u32 {
  const size = hashDigestSize(h);
  return k < size + 2 ? 0 : min(size, k - size - 2);
}

/** H = Hash(eight zeros || digest || salt) (9.1.1, step 5 and 6). */
function pssHash(h: u32, digest: usize, length: u32, salt: usize, saltLength: u32, out: usize): void {
  hashInit(h, STATE);
  hashUpdate(h, STATE, ZEROS, 8);
  hashUpdate(h, STATE, digest, length);
  hashUpdate(h, STATE, salt, saltLength);
  hashFinal(h, STATE, out);
  memory.fill(STATE, 0, HASH_STATE_SIZE);
}

/**
 * EMSA-PSS (9.1.1) of a digest by hash h with MGF1 on the same hash; rsaPssSaltSize(k, h) random bytes at `salt`.
 *
 * @returns RSA_ERROR_VALUE when the digest's length is not the hash's, RSA_ERROR_RANGE when k is too short
 */
export function rsaEncodePss(em: usize, k: u32, h: u32, digest: usize, length: u32, salt: usize): u32 {
  if (length != hashDigestSize(h)) return RSA_ERROR_VALUE;
  if (k < length + 2) return RSA_ERROR_RANGE;
  const saltLength = rsaPssSaltSize(k, h);
  const dbLength = k - length - 1;
  pssHash(h, digest, length, salt, saltLength, DIGEST);
  memory.fill(em, 0, dbLength);
  store<u8>(em + dbLength - saltLength - 1, 1);
  memory.copy(em + dbLength - saltLength, salt, saltLength);
  memory.copy(em + dbLength, DIGEST, length);
  mgf1(h, DIGEST, length, em, dbLength);
  // The encoding has one bit less than the modulus.
  store<u8>(em, load<u8>(em) & 0x7f);
  store<u8>(em + k - 1, 0xbc);
  return RSA_OK;
}

/**
 * Whether em is a PSS encoding of the digest with a salt of any length (9.1.2; libtpms lets OpenSSL find the length): RSA_OK or
 * RSA_ERROR_VALUE. All inputs are public.
 */
export function rsaCheckPss(em: usize, k: u32, h: u32, digest: usize, length: u32): u32 {
  if (length != hashDigestSize(h) || k < length + 2) return RSA_ERROR_VALUE;
  const dbLength = k - length - 1;
  if (load<u8>(em + k - 1) != 0xbc || load<u8>(em) > 0x7f) return RSA_ERROR_VALUE;
  memory.copy(BLOCK, em, dbLength);
  mgf1(h, em + dbLength, length, BLOCK, dbLength);
  store<u8>(BLOCK, load<u8>(BLOCK) & 0x7f);
  let at: u32 = 0;
  while (at < dbLength && load<u8>(BLOCK + at) == 0) at++;
  if (at == dbLength || load<u8>(BLOCK + at) != 1) return RSA_ERROR_VALUE;
  at++;
  pssHash(h, digest, length, BLOCK + at, dbLength - at, DIGEST);
  return ctEqual(DIGEST, em + dbLength, length) != 0 ? RSA_OK : RSA_ERROR_VALUE;
}

/**
 * EME-OAEP (7.1.1, step 1 and 2) with hash h for label and MGF1; hashDigestSize(h) random bytes at `seed`.
 *
 * @returns RSA_ERROR_RANGE when k is too short for the hash, RSA_ERROR_VALUE when the message is too long
 */
export function rsaEncodeOaep(
  em: usize,
  k: u32,
  h: u32,
  label: usize,
  labelLength: u32,
  message: usize,
  length: u32,
  seed: usize,
): u32 {
  const size = hashDigestSize(h);
  if (k < 2 * size + 2) return RSA_ERROR_RANGE;
  if (length > k - 2 * size - 2) return RSA_ERROR_VALUE;
  const db = em + 1 + size;
  const dbLength = k - size - 1;
  hashOnce(h, label, labelLength, db);
  memory.fill(db + size, 0, dbLength - size - length);
  store<u8>(db + dbLength - length - 1, 1);
  memory.copy(db + dbLength - length, message, length);
  mgf1(h, seed, size, db, dbLength);
  store<u8>(em, 0);
  memory.copy(em + 1, seed, size);
  mgf1(h, db, dbLength, em + 1, size);
  return RSA_OK;
}

/**
 * EME-OAEP decoding (7.1.2, step 3). em is overwritten and wiped.
 *
 * @param out receives the message, at most `room` bytes
 * @returns the message's length, or -1: wrong, or longer than room
 */
export function rsaDecodeOaep(em: usize, k: u32, h: u32, label: usize, labelLength: u32, out: usize, room: u32): i32 {
  const size = hashDigestSize(h);
  if (k < 2 * size + 2) return -1;
  const db = em + 1 + size;
  const dbLength = k - size - 1;
  mgf1(h, db, dbLength, em + 1, size);
  mgf1(h, em + 1, size, db, dbLength);
  hashOnce(h, label, labelLength, DIGEST);
  let wrong = bnNonZeroMask(load<u8>(em)) | ~ctEqual(DIGEST, db, size);
  // The first byte that is not zero behind the digest must be 1: `found` once there was one, `start` the index behind it.
  let found: u32 = 0;
  let start: u32 = 0;
  for (let i = size; i < dbLength; i++) {
    const byte: u32 = load<u8>(db + i);
    const first = bnNonZeroMask(byte) & ~found;
    wrong |= first & bnNonZeroMask(byte ^ 1);
    start |= first & (i + 1);
    found |= first;
  }
  wrong |= ~found;
  return finish(em, k, db + start, dbLength - start, wrong, out, room);
}

/**
 * EME-PKCS1-v1_5 (7.2.1, step 2): k - 3 - length random bytes at `random`, of which zeros become 0x55.
 *
 * @returns RSA_ERROR_VALUE when the message is too long
 */
export function rsaEncodeEs(em: usize, k: u32, message: usize, length: u32, random: usize): u32 {
  if (length > k - 11) return RSA_ERROR_VALUE;
  const fill = k - 3 - length;
  store<u8>(em, 0);
  store<u8>(em, 2, 1);
  for (let i: u32 = 0; i < fill; i++) {
    const byte: u32 = load<u8>(random + i);
    store<u8>(em + 2 + i, <u8>(byte | (~bnNonZeroMask(byte) & 0x55)));
  }
  store<u8>(em + 2 + fill, 0);
  memory.copy(em + 3 + fill, message, length);
  return RSA_OK;
}

/** EME-PKCS1-v1_5 decoding (7.2.2, step 3); parameters and result as rsaDecodeOaep. */
export function rsaDecodeEs(em: usize, k: u32, out: usize, room: u32): i32 {
  let wrong = bnNonZeroMask(load<u8>(em)) | bnNonZeroMask(load<u8>(em, 1) ^ 2);
  let found: u32 = 0;
  let start: u32 = 0;
  for (let i: u32 = 2; i < k; i++) {
    const first = ~bnNonZeroMask(load<u8>(em + i)) & ~found;
    // Eight bytes of padding at least.
    if (i < 10) wrong |= first;
    start |= first & (i + 1);
    found |= first;
  }
  wrong |= ~found;
  return finish(em, k, em + start, k - start, wrong, out, room);
}

/** Ends a decoding: the only branch on its outcome. */
function finish(em: usize, k: u32, message: usize, length: u32, wrong: u32, out: usize, room: u32): i32 {
  const ok = wrong == 0 && length <= room;
  if (ok) memory.copy(out, message, length);
  memory.fill(em, 0, k);
  memory.fill(DIGEST, 0, 64);
  return ok ? <i32>length : -1;
}

/**
 * The null scheme's number from a message of any length: the bytes right-aligned, what is too much must be zero.
 *
 * @returns RSA_ERROR_VALUE when it is not
 */
export function rsaEncodeRaw(em: usize, k: u32, message: usize, length: u32): u32 {
  const extra = length > k ? length - k : 0;
  let any: u32 = 0;
  for (let i: u32 = 0; i < extra; i++) any |= load<u8>(message + i);
  if (any != 0) return RSA_ERROR_VALUE;
  const kept = length - extra;
  memory.fill(em, 0, k - kept);
  memory.copy(em + k - kept, message + extra, kept);
  return RSA_OK;
}
