// A public and a sensitive area that come from outside belong together (Part 1, 25; libtpms: CryptValidateKeys).
import { ctEqual } from "../crypto/ct";
import { TPM2B } from "./cursor";
import {
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_restricted,
  TPM_ALG_ECC,
  TPM_ALG_HMAC,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_SYMCIPHER,
  TPM_ALG_TDES,
  TPM_ALG_XOR,
  TPM_RC_BINDING,
  TPM_RC_ECC_POINT,
  TPM_RC_KEY,
  TPM_RC_KEY_SIZE,
  TPM_RC_SCHEME,
  TPM_RC_SIZE,
  TPM_RC_TYPE,
  TPM_RC_VALUE,
} from "./generated/constants";
import {
  SIZEOF_TPMS_ECC_POINT_RECORD,
  TPMS_ECC_POINT,
  TPMT_PUBLIC,
  TPMT_SENSITIVE,
  TPMT_SYM_DEF_OBJECT,
} from "./generated/structures";
import {
  eccIsPointOnCurve,
  eccIsValidPrivateKey,
  eccParameterBytes,
  eccParameterToBytes,
  eccPointMultiply,
} from "./crypt-ecc";
import { desKeyIsValid } from "./crypt-des";
import {
  HASH_RECORD_SIZE,
  blockSizeOf,
  cryptHashEnd2B,
  cryptHashStart,
  cryptHashUpdate2B,
  cryptHmacEnd2B,
  cryptHmacStart,
  cryptHmacUpdate2B,
  digestSizeOf,
} from "./hash";
import { objectSymmetric } from "./object";

/** The largest key of a keyed hash object without a scheme. */
const MAX_UNBOUND_BITS_SIZE: u32 = 128;

/**
 * Whether the areas are a valid key together; `sensitive` is null for a public key.
 * @returns a response code with `blamePublic` or `blameSensitive` added, except where libtpms adds none
 */
export function cryptValidateKeys(
  area: TPMT_PUBLIC,
  sensitive: TPMT_SENSITIVE | null,
  blamePublic: u32,
  blameSensitive: u32,
): u32 {
  const digestSize = digestSizeOf(area.nameAlg);
  if (sensitive != null) {
    if (area.type != sensitive.sensitiveType) return TPM_RC_TYPE + blameSensitive;
    if (digestSize > 0 && sensitive.authValue.size > digestSize) return TPM_RC_SIZE + blameSensitive;
  }
  let rc: u32;
  if (area.type == TPM_ALG_RSA) rc = validateRsa(area, sensitive, blamePublic, blameSensitive);
  else if (area.type == TPM_ALG_ECC) rc = validateEcc(area, sensitive, blamePublic);
  else rc = validateSymmetric(area, sensitive, digestSize, blamePublic, blameSensitive);
  if (rc) return rc;
  // What protects the children of a parent is long enough.
  const parent = TPMA_OBJECT_restricted | TPMA_OBJECT_decrypt;
  if (sensitive != null && (area.objectAttributes & parent) == parent && area.nameAlg != TPM_ALG_NULL) {
    const size = sensitive.seedValue.size;
    if (size < digestSize / 2 || size > digestSize) return TPM_RC_SIZE + blameSensitive;
  }
  return 0;
}

function validateRsa(area: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE | null, blamePublic: u32, blameSensitive: u32): u32 {
  const keySize: u32 = area.parameters.rsaDetail.keyBits / 8;
  const exponent = area.parameters.rsaDetail.exponent;
  const modulus = area.unique.rsa;
  if (modulus.size != keySize || load<u8>(modulus.buffer) < 0x80) return TPM_RC_KEY + blamePublic;
  if (exponent != 0 && exponent < 7) return TPM_RC_VALUE + blamePublic;
  if (sensitive == null) return 0;
  const prime = sensitive.sensitive.rsa;
  return prime.size * 2 == keySize && load<u8>(prime.buffer) >= 0x80 ? 0 : TPM_RC_KEY_SIZE + blameSensitive;
}

const POINT: usize = memory.data(SIZEOF_TPMS_ECC_POINT_RECORD, 8);

function validateEcc(area: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE | null, blamePublic: u32): u32 {
  const curve = area.parameters.eccDetail.curveID;
  const size = eccParameterBytes(curve);
  const point = area.unique.ecc;
  if (sensitive == null) {
    if (point.x.size != size || point.y.size != size) return TPM_RC_KEY + blamePublic;
    return area.nameAlg == TPM_ALG_NULL || eccIsPointOnCurve(curve, point) ? 0 : TPM_RC_ECC_POINT + blamePublic;
  }
  if (!eccIsValidPrivateKey(sensitive.sensitive.ecc, curve)) return TPM_RC_KEY_SIZE;
  if (area.nameAlg == TPM_ALG_NULL) return 0;
  const own = changetype<TPMS_ECC_POINT>(POINT);
  if (eccPointMultiply(own, curve, null, sensitive.sensitive.ecc) != 0) return TPM_RC_BINDING;
  return sameNumber(own.x, point.x) && sameNumber(own.y, point.y) ? 0 : TPM_RC_BINDING;
}

const NUMBER: usize = memory.data(128, 8);

/** The same number, whatever zeros are in front of it. */
function sameNumber(own: TPM2B, given: TPM2B): bool {
  return eccParameterToBytes(given, NUMBER, own.size) && ctEqual(NUMBER, own.buffer, own.size) != 0;
}

const UNIQUE: usize = memory.data(2 + 64, 8);

function validateSymmetric(
  area: TPMT_PUBLIC,
  sensitive: TPMT_SENSITIVE | null,
  digestSize: u32,
  blamePublic: u32,
  blameSensitive: u32,
): u32 {
  if (sensitive == null) return area.unique.sym.size == digestSize ? 0 : TPM_RC_KEY + blamePublic;
  if (area.type == TPM_ALG_SYMCIPHER) {
    const rc = symKeyValidate(objectSymmetric(area), sensitive.sensitive.sym);
    if (rc) return rc + blameSensitive;
  } else {
    const maxSize = keyedHashMaxSize(area);
    if (maxSize == 0) return TPM_RC_SCHEME + blamePublic;
    if (sensitive.sensitive.bits.size > maxSize) return TPM_RC_KEY_SIZE + blameSensitive;
  }
  if (area.nameAlg == TPM_ALG_NULL) return 0;
  if (sensitive.seedValue.size != digestSize) return TPM_RC_KEY_SIZE + blameSensitive;
  const unique = changetype<TPM2B>(UNIQUE);
  computeSymmetricUnique(area, sensitive, unique);
  const given = area.unique.sym;
  return given.size == unique.size && ctEqual(given.buffer, unique.buffer, unique.size) != 0 ? 0 : TPM_RC_BINDING;
}

/** The largest key that the scheme takes; 0 for a scheme that is none. */
function keyedHashMaxSize(area: TPMT_PUBLIC): u32 {
  const scheme = area.parameters.keyedHashDetail.scheme;
  switch (scheme.scheme) {
    case TPM_ALG_XOR:
      return blockSizeOf(scheme.details.xor.hashAlg);
    case TPM_ALG_HMAC:
      return blockSizeOf(scheme.details.hmac.hashAlg);
    case TPM_ALG_NULL:
      return MAX_UNBOUND_BITS_SIZE;
  }
  return 0;
}

/** A key of the size its algorithm wants, and none of DES' weak ones. */
export function symKeyValidate(symmetric: TPMT_SYM_DEF_OBJECT, key: TPM2B): u32 {
  if (key.size != (symmetric.keyBits.aes + 7) / 8) return TPM_RC_KEY_SIZE;
  return symmetric.algorithm == TPM_ALG_TDES && !desKeyIsValid(key) ? TPM_RC_KEY : 0;
}

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/**
 * The unique field of a symmetric or keyed hash object: a hash, for parents an HMAC, of the obfuscation value and the key
 * (Part 1, 27.6.3.3).
 */
export function computeSymmetricUnique(area: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE, unique: TPM2B): void {
  const parent = TPMA_OBJECT_restricted | TPMA_OBJECT_decrypt;
  const seed = sensitive.seedValue;
  if ((area.objectAttributes & parent) == parent) {
    cryptHmacStart(WORK, area.nameAlg, seed.buffer, seed.size);
    cryptHmacUpdate2B(WORK, sensitive.sensitive.bits);
    cryptHmacEnd2B(WORK, unique);
  } else {
    cryptHashStart(WORK, area.nameAlg);
    cryptHashUpdate2B(WORK, seed);
    cryptHashUpdate2B(WORK, sensitive.sensitive.bits);
    cryptHashEnd2B(WORK, unique);
  }
}
