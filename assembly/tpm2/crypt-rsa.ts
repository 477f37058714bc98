// RSA operations on objects (Part 1, B): encryption, decryption and signatures with the response codes of libtpms.
import { RSA_ERROR_BLINDING, RSA_OK } from "../crypto/rsa-key";
import {
  RSA_SCHEME_NULL,
  RSA_SCHEME_OAEP,
  RSA_SCHEME_RSAES,
  RSA_SCHEME_RSAPSS,
  RSA_SCHEME_RSASSA,
  rsaDecrypt,
  rsaEncrypt,
  rsaRandomSize,
  rsaSign,
  rsaVerify,
} from "../crypto/rsa-scheme";
import { TPM2B } from "./cursor";
import { rsaBlind, rsaExponent, rsaModulusBits, rsaPrepare } from "./crypt-rsa-keys";
import {
  MAX_RSA_KEY_BYTES,
  TPM_ALG_NULL,
  TPM_ALG_OAEP,
  TPM_ALG_RSAES,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA1,
  TPM_RC_BINDING,
  TPM_RC_FAILURE,
  TPM_RC_SCHEME,
  TPM_RC_SIGNATURE,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { TPMT_RSA_DECRYPT, TPMT_SIGNATURE } from "./generated/structures";
import { digestSizeOf, hashNumber } from "./hash";
import { PROFILE_NO_SHA1_VERIFICATION, PROFILE_NO_UNPADDED_ENCRYPTION, profileRequires } from "./profile";
import { cryptRandomGenerate } from "./random";
import { selfTestBeforeUse } from "./self-test";

const NO_SCHEME: u32 = 0xff;
const RANDOM: usize = memory.data(MAX_RSA_KEY_BYTES, 16);

/** The crypto's number of an RSA scheme; NO_SCHEME for others. */
function schemeNumber(scheme: u32): u32 {
  switch (scheme) {
    case TPM_ALG_NULL:
      return RSA_SCHEME_NULL;
    case TPM_ALG_RSASSA:
      return RSA_SCHEME_RSASSA;
    case TPM_ALG_RSAPSS:
      return RSA_SCHEME_RSAPSS;
    case TPM_ALG_RSAES:
      return RSA_SCHEME_RSAES;
    case TPM_ALG_OAEP:
      return RSA_SCHEME_OAEP;
  }
  return NO_SCHEME;
}

/** Null, RSAES and OAEP; the hash of OAEP exists. */
function encryptionScheme(scheme: TPMT_RSA_DECRYPT): u32 {
  selfTestBeforeUse(scheme.scheme);
  switch (scheme.scheme) {
    case TPM_ALG_NULL:
      return profileRequires(PROFILE_NO_UNPADDED_ENCRYPTION) ? TPM_RC_SCHEME : 0;
    case TPM_ALG_RSAES:
      return 0;
    case TPM_ALG_OAEP:
      return digestSizeOf(scheme.details.oaep.hashAlg) == 0 ? TPM_RC_VALUE : 0;
  }
  return TPM_RC_SCHEME;
}

/**
 * Encrypts `message` to the key into `out`, which has room for MAX_RSA_KEY_BYTES. `label` is of OAEP, with its terminating
 * zero.
 * @returns 0; TPM_RC_VALUE for a number too long for the null scheme or an unknown hash, TPM_RC_SCHEME, and TPM_RC_FAILURE
 *   for what the padding has no room for
 */
export function cryptRsaEncrypt(out: TPM2B, message: TPM2B, key: OBJECT, scheme: TPMT_RSA_DECRYPT, label: TPM2B): u32 {
  const rc = encryptionScheme(scheme);
  if (rc) return rc;
  const modulus = key.publicArea.unique.rsa;
  const number = schemeNumber(scheme.scheme);
  if (number == RSA_SCHEME_NULL && significantBytes(message) > modulus.size) return TPM_RC_VALUE;
  const hash = hashNumber(scheme.details.oaep.hashAlg);
  // The padding checks that there is room; random bytes are wanted only if there is.
  if (number != RSA_SCHEME_NULL && message.size + 11 > modulus.size) return TPM_RC_FAILURE;
  const random = rsaRandomSize(number, number == RSA_SCHEME_OAEP ? hash : 0, modulus.size, message.size);
  cryptRandomGenerate(RANDOM, random);
  const result = rsaEncrypt(
    modulus.buffer,
    rsaModulusBits(key),
    rsaExponent(key),
    number,
    hash,
    label.buffer,
    label.size,
    message.buffer,
    message.size,
    RANDOM,
    out.buffer,
  );
  memory.fill(RANDOM, 0, MAX_RSA_KEY_BYTES);
  if (result != RSA_OK) return TPM_RC_FAILURE;
  out.size = modulus.size;
  return 0;
}

/** Bytes without leading zeros. */
function significantBytes(number: TPM2B): u32 {
  let zeros: u32 = 0;
  while (zeros < number.size && load<u8>(number.buffer + zeros) == 0) zeros++;
  return number.size - zeros;
}

/**
 * Decrypts `cipher` into `out`, which has room for `room` bytes.
 * @returns 0; TPM_RC_SIZE for a cipher text that is not as long as the modulus, TPM_RC_SCHEME, TPM_RC_VALUE for anything
 *   wrong with it
 */
export function cryptRsaDecrypt(
  out: TPM2B,
  room: u32,
  cipher: TPM2B,
  key: OBJECT,
  scheme: TPMT_RSA_DECRYPT,
  label: TPM2B,
): u32 {
  if (cipher.size != key.publicArea.unique.rsa.size) return TPM_RC_SIZE;
  const rc = encryptionScheme(scheme);
  if (rc) return rc;
  const record = rsaPrepare(key);
  if (record == 0) return TPM_RC_BINDING;
  const number = schemeNumber(scheme.scheme);
  const hash = hashNumber(scheme.details.oaep.hashAlg);
  let length = rsaDecrypt(record, number, hash, label.buffer, label.size, cipher.buffer, out.buffer, room);
  if (length == -(<i32>RSA_ERROR_BLINDING)) {
    rsaBlind(record);
    length = rsaDecrypt(record, number, hash, label.buffer, label.size, cipher.buffer, out.buffer, room);
  }
  if (length < 0) return TPM_RC_VALUE;
  out.size = <u32>length;
  return 0;
}

/** Signs a digest as `signature.sigAlg` and its hash say. */
export function cryptRsaSign(signature: TPMT_SIGNATURE, key: OBJECT, digest: TPM2B): u32 {
  const scheme = signature.sigAlg;
  const out = signature.signature.rsassa;
  if (scheme != TPM_ALG_RSASSA && scheme != TPM_ALG_RSAPSS) return TPM_RC_SCHEME;
  selfTestBeforeUse(scheme);
  if (digestSizeOf(out.hash) == 0) return TPM_RC_VALUE;
  const record = rsaPrepare(key);
  if (record == 0) return TPM_RC_BINDING;
  const number = schemeNumber(scheme);
  const hash = hashNumber(out.hash);
  const size = key.publicArea.unique.rsa.size;
  cryptRandomGenerate(RANDOM, rsaRandomSize(number, hash, size, 0));
  let result = rsaSign(record, number, hash, digest.buffer, digest.size, RANDOM, out.sig.buffer);
  if (result == RSA_ERROR_BLINDING) {
    rsaBlind(record);
    result = rsaSign(record, number, hash, digest.buffer, digest.size, RANDOM, out.sig.buffer);
  }
  memory.fill(RANDOM, 0, MAX_RSA_KEY_BYTES);
  if (result != RSA_OK) return TPM_RC_FAILURE;
  out.sig.size = size;
  return 0;
}

/** TPM_RC_SCHEME for what is no RSA signature, TPM_RC_SIGNATURE for one that is not valid. */
export function cryptRsaValidateSignature(signature: TPMT_SIGNATURE, key: OBJECT, digest: TPM2B): u32 {
  const scheme = signature.sigAlg;
  if (scheme != TPM_ALG_RSASSA && scheme != TPM_ALG_RSAPSS) return TPM_RC_SCHEME;
  const given = signature.signature.rsassa;
  const modulus = key.publicArea.unique.rsa;
  if (given.sig.size != modulus.size) return TPM_RC_SIGNATURE;
  selfTestBeforeUse(scheme);
  if (given.hash == TPM_ALG_SHA1 && profileRequires(PROFILE_NO_SHA1_VERIFICATION)) return TPM_RC_SIGNATURE;
  if (digestSizeOf(given.hash) == 0) return TPM_RC_SIGNATURE;
  const result = rsaVerify(
    modulus.buffer,
    rsaModulusBits(key),
    rsaExponent(key),
    schemeNumber(scheme),
    hashNumber(given.hash),
    digest.buffer,
    digest.size,
    given.sig.buffer,
  );
  return result == RSA_OK ? 0 : TPM_RC_SIGNATURE;
}

/**
 * The scheme that an RSA key and a command's scheme together select for encryption; null when they do not agree
 * (CryptRsaSelectScheme).
 */
export function cryptRsaSelectScheme(key: OBJECT, scheme: TPMT_RSA_DECRYPT): TPMT_RSA_DECRYPT | null {
  const keyScheme = changetype<TPMT_RSA_DECRYPT>(key.publicArea.parameters.rsaDetail.scheme);
  if (keyScheme.scheme == TPM_ALG_NULL) return scheme;
  if (scheme.scheme == TPM_ALG_NULL) return keyScheme;
  const same = keyScheme.scheme == scheme.scheme && keyScheme.details.oaep.hashAlg == scheme.details.oaep.hashAlg;
  return same ? scheme : null;
}
