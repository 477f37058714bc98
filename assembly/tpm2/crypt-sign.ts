// Signatures by any key (Part 1, 11.4.5; libtpms: CryptSign and CryptValidateSignature). How a key and a command's scheme select
// one: schemes.ts.
import { ctEqual } from "../crypto/ct";
import { TPM2B } from "./cursor";
import { cryptEccSign, cryptEccValidateSignature } from "./crypt-ecc-sign";
import { cryptRsaSign, cryptRsaValidateSignature } from "./crypt-rsa";
import {
  MAX_DIGEST_SIZE,
  TPM_ALG_ECC,
  TPM_ALG_ECDAA,
  TPM_ALG_HMAC,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_SHA1,
  TPM_RC_HANDLE,
  TPM_RC_HASH,
  TPM_RC_KEY_SIZE,
  TPM_RC_SCHEME,
  TPM_RC_SIGNATURE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { TPMT_SIGNATURE, TPMT_SIG_SCHEME } from "./generated/structures";
import { HASH_RECORD_SIZE, cryptHmacEnd, cryptHmacStart, cryptHmacUpdate2B, digestSizeOf } from "./hash";
import { OBJECT_PUBLIC_ONLY } from "./object";
import {
  PROFILE_NO_SHA1_HMAC_CREATION,
  PROFILE_NO_SHA1_HMAC_VERIFICATION,
  PROFILE_NO_SHA1_SIGNING,
  profile,
  profileRequires,
} from "./profile";

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);
const COMPARE: usize = memory.data(MAX_DIGEST_SIZE, 8);

/**
 * Signs a digest with a scheme that cryptSelectSignScheme selected; a null key or scheme gives the null signature.
 * @returns TPM_RC_HASH, TPM_RC_KEY_SIZE for what the profile refuses, TPM_RC_SCHEME, TPM_RC_VALUE (no commitment), ...
 */
export function cryptSign(key: OBJECT | null, scheme: TPMT_SIG_SCHEME, digest: TPM2B, signature: TPMT_SIGNATURE): u32 {
  signature.sigAlg = scheme.scheme;
  if (scheme.scheme == TPM_ALG_NULL || key == null) {
    signature.sigAlg = TPM_ALG_NULL;
    return 0;
  }
  const hashAlg = scheme.details.rsassa.hashAlg;
  // All signatures begin with their hash.
  signature.signature.rsassa.hash = hashAlg;
  const type = key.publicArea.type;
  const sha1Refused = type == TPM_ALG_KEYEDHASH ? PROFILE_NO_SHA1_HMAC_CREATION : PROFILE_NO_SHA1_SIGNING;
  if (hashAlg == TPM_ALG_SHA1 && profileRequires(sha1Refused)) return TPM_RC_HASH;
  if (type == TPM_ALG_RSA) return cryptRsaSign(signature, key, digest);
  if (type == TPM_ALG_ECC) return cryptEccSign(signature, key, digest, scheme);
  if (type != TPM_ALG_KEYEDHASH || scheme.scheme != TPM_ALG_HMAC) return TPM_RC_SCHEME;
  if (!hmacKeyLongEnough(key)) return TPM_RC_KEY_SIZE;
  hmac(key, hashAlg, digest, signature.signature.hmac.digest.buffer);
  return 0;
}

function hmacKeyLongEnough(key: OBJECT): bool {
  return key.sensitive.sensitive.bits.size * 8 >= profile.hmacMinKeySize;
}

function hmac(key: OBJECT, hashAlg: u32, digest: TPM2B, out: usize): void {
  const bits = key.sensitive.sensitive.bits;
  cryptHmacStart(WORK, hashAlg, bits.buffer, bits.size);
  cryptHmacUpdate2B(WORK, digest);
  cryptHmacEnd(WORK, out);
}

/**
 * Checks a signature over a digest.
 * @returns 0, TPM_RC_SCHEME when the key has no such signatures, TPM_RC_SIGNATURE when it is not valid, TPM_RC_HANDLE for an
 *   HMAC key of which only the public part is loaded
 */
export function cryptValidateSignature(key: OBJECT, digest: TPM2B, signature: TPMT_SIGNATURE): u32 {
  if (signature.sigAlg == TPM_ALG_NULL) return TPM_RC_SIGNATURE;
  switch (key.publicArea.type) {
    case TPM_ALG_RSA:
      return cryptRsaValidateSignature(signature, key, digest);
    case TPM_ALG_ECC:
      return cryptEccValidateSignature(signature, key, digest);
    case TPM_ALG_KEYEDHASH:
      return key.attributes & OBJECT_PUBLIC_ONLY ? TPM_RC_HANDLE : validateHmac(key, digest, signature);
  }
  return TPM_RC_SCHEME;
}

function validateHmac(key: OBJECT, digest: TPM2B, signature: TPMT_SIGNATURE): u32 {
  if (!hmacKeyLongEnough(key)) return TPM_RC_KEY_SIZE;
  const given = signature.signature.hmac;
  if (signature.sigAlg != TPM_ALG_HMAC || given.hashAlg == TPM_ALG_NULL) return TPM_RC_SCHEME;
  const scheme = key.publicArea.parameters.keyedHashDetail.scheme;
  if (scheme.scheme != TPM_ALG_NULL) {
    if (scheme.scheme != signature.sigAlg || scheme.details.hmac.hashAlg != given.hashAlg) return TPM_RC_SIGNATURE;
  }
  if (given.hashAlg == TPM_ALG_SHA1 && profileRequires(PROFILE_NO_SHA1_HMAC_VERIFICATION)) return TPM_RC_HASH;
  hmac(key, given.hashAlg, digest, COMPARE);
  const same = ctEqual(COMPARE, given.digest.buffer, digestSizeOf(given.hashAlg));
  memory.fill(COMPARE, 0, MAX_DIGEST_SIZE);
  return same != 0 ? 0 : TPM_RC_SIGNATURE;
}

/** The hash of a signature; TPM_ALG_NULL of those that do not say (ECDAA). */
export function cryptGetSignHashAlg(signature: TPMT_SIGNATURE): u32 {
  if (signature.sigAlg == TPM_ALG_NULL || signature.sigAlg == TPM_ALG_ECDAA) return TPM_ALG_NULL;
  return signature.signature.rsassa.hash;
}
