// The RSA schemes of a TPM (Part 1, B.4 to B.8): encoding and primitive together. Hashes are the ids of hash.ts; MGF1 and label
// use the scheme's own hash.
import { hashDigestSize } from "./hash";
import { rsaPrivate, rsaPublic } from "./rsa";
import { RSA_ERROR_VALUE, RSA_OK } from "./rsa-key";
import {
  rsaCheckPss,
  rsaCheckSsa,
  rsaDecodeEs,
  rsaDecodeOaep,
  rsaEncodeEs,
  rsaEncodeOaep,
  rsaEncodePss,
  rsaEncodeRaw,
  rsaEncodeSsa,
  rsaPssSaltSize,
} from "./rsa-padding";

export const RSA_SCHEME_NULL: u32 = 0;
export const RSA_SCHEME_RSASSA: u32 = 1;
export const RSA_SCHEME_RSAPSS: u32 = 2;
export const RSA_SCHEME_RSAES: u32 = 3;
export const RSA_SCHEME_OAEP: u32 = 4;

const EM: usize = memory.data(512);

/** Random bytes that rsaSign (length ignored) or rsaEncrypt of a message of `length` bytes takes, k = modulus bytes. */
export function rsaRandomSize(scheme: u32, h: u32, k: u32, length: u32): u32 {
  if (scheme == RSA_SCHEME_RSAPSS) return rsaPssSaltSize(k, h);
  if (scheme == RSA_SCHEME_OAEP) return hashDigestSize(h);
  if (scheme == RSA_SCHEME_RSAES) return length + 3 < k ? k - 3 - length : 0;
  return 0;
}

/**
 * Signs a digest.
 *
 * @param key record of rsaKeyLoad
 * @param scheme RSA_SCHEME_RSASSA or RSA_SCHEME_RSAPSS
 * @param random rsaRandomSize bytes
 * @param signature receives bits/8 bytes
 * @returns RSA_OK; RSA_ERROR_VALUE for a digest of the wrong length, RSA_ERROR_RANGE for a key too short, and the errors of
 *   rsaPrivate
 */
export function rsaSign(
  key: usize,
  scheme: u32,
  h: u32,
  digest: usize,
  length: u32,
  random: usize,
  signature: usize,
): u32 {
  const k = load<u32>(key) >> 3;
  let result = RSA_ERROR_VALUE;
  if (scheme == RSA_SCHEME_RSASSA) result = rsaEncodeSsa(EM, k, h, digest, length);
  else if (scheme == RSA_SCHEME_RSAPSS) result = rsaEncodePss(EM, k, h, digest, length, random);
  return result == RSA_OK ? rsaPrivate(key, EM, signature) : result;
}

/**
 * Verifies a signature of bits/8 bytes over a digest.
 *
 * @param n big-endian modulus of bits/8 bytes
 * @returns RSA_OK or RSA_ERROR_VALUE
 */
export function rsaVerify(
  n: usize,
  bits: u32,
  e: u32,
  scheme: u32,
  h: u32,
  digest: usize,
  length: u32,
  signature: usize,
): u32 {
  if (rsaPublic(n, bits, e, signature, EM) != RSA_OK) return RSA_ERROR_VALUE;
  if (scheme == RSA_SCHEME_RSASSA) return rsaCheckSsa(EM, bits >> 3, h, digest, length);
  if (scheme == RSA_SCHEME_RSAPSS) return rsaCheckPss(EM, bits >> 3, h, digest, length);
  return RSA_ERROR_VALUE;
}

/**
 * Encrypts a message.
 *
 * @param scheme RSA_SCHEME_NULL, RSA_SCHEME_RSAES or RSA_SCHEME_OAEP
 * @param label of OAEP, with its terminating zero where the specification wants one
 * @param random rsaRandomSize bytes
 * @param out receives bits/8 bytes
 * @returns RSA_OK; RSA_ERROR_VALUE for a message too long (null scheme: or not below the modulus), RSA_ERROR_RANGE for a key
 *   too short for the hash
 */
export function rsaEncrypt(
  n: usize,
  bits: u32,
  e: u32,
  scheme: u32,
  h: u32,
  label: usize,
  labelLength: u32,
  message: usize,
  length: u32,
  random: usize,
  out: usize,
): u32 {
  const k = bits >> 3;
  let result = RSA_ERROR_VALUE;
  if (scheme == RSA_SCHEME_NULL) result = rsaEncodeRaw(EM, k, message, length);
  else if (scheme == RSA_SCHEME_RSAES) result = rsaEncodeEs(EM, k, message, length, random);
  else if (scheme == RSA_SCHEME_OAEP) {
    result = rsaEncodeOaep(EM, k, h, label, labelLength, message, length, random);
  }
  if (result == RSA_OK && rsaPublic(n, bits, e, EM, out) != RSA_OK) result = RSA_ERROR_VALUE;
  memory.fill(EM, 0, 512);
  return result;
}

/**
 * Decrypts bits/8 bytes.
 *
 * @param out receives the message, at most `room` bytes
 * @returns the message's length, or minus an error: RSA_ERROR_RANGE for a cipher text not below the modulus, RSA_ERROR_VALUE
 *   for wrong padding, a message longer than room or an unknown scheme, and the errors of rsaPrivate
 */
export function rsaDecrypt(
  key: usize,
  scheme: u32,
  h: u32,
  label: usize,
  labelLength: u32,
  input: usize,
  out: usize,
  room: u32,
): i32 {
  const k = load<u32>(key) >> 3;
  if (scheme != RSA_SCHEME_NULL && scheme != RSA_SCHEME_RSAES && scheme != RSA_SCHEME_OAEP) {
    return -(<i32>RSA_ERROR_VALUE);
  }
  const result = rsaPrivate(key, input, EM);
  if (result != RSA_OK) return -(<i32>result);
  let length: i32 = -1;
  if (scheme == RSA_SCHEME_OAEP) length = rsaDecodeOaep(EM, k, h, label, labelLength, out, room);
  else if (scheme == RSA_SCHEME_RSAES) length = rsaDecodeEs(EM, k, out, room);
  else if (k <= room) {
    memory.copy(out, EM, k);
    length = k;
  }
  memory.fill(EM, 0, 512);
  return length < 0 ? -(<i32>RSA_ERROR_VALUE) : length;
}
