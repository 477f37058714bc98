// What a public area must satisfy before an object is made or loaded with it (Part 1, 25 and Part 2, 8.3 and 12.2).
import { TPM2B } from "./cursor";
import {
  MAX_DIGEST_SIZE,
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_encryptedDuplication,
  TPMA_OBJECT_firmwareLimited,
  TPMA_OBJECT_fixedParent,
  TPMA_OBJECT_fixedTPM,
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_sensitiveDataOrigin,
  TPMA_OBJECT_sign,
  TPMA_OBJECT_svnLimited,
  TPM_ALG_ECC,
  TPM_ALG_HMAC,
  TPM_ALG_KDF1_SP800_108,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_NULL,
  TPM_ALG_SYMCIPHER,
  TPM_ALG_XOR,
  TPM_RC_ATTRIBUTES,
  TPM_RC_HASH,
  TPM_RC_KDF,
  TPM_RC_SCHEME,
  TPM_RC_SIZE,
  TPM_RC_SYMMETRIC,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { TPMT_PUBLIC, TPMT_SYM_DEF_OBJECT } from "./generated/structures";
import { removeTrailingZeros } from "./entity";
import { digestSizeOf } from "./hash";
import { OBJECT_DERIVATION, objectSymmetric } from "./object";
import { isAsymDecryptScheme, isAsymSignScheme, isSymMode } from "./schemes";

@inline
function has(area: TPMT_PUBLIC, attribute: u32): bool {
  return (area.objectAttributes & attribute) != 0;
}

/**
 * Brings an authValue to the size of nameAlg's digest: without trailing zeros it must not be longer, and it is padded with
 * zeros. `auth` has room for MAX_DIGEST_SIZE bytes. @returns false when it is too long
 */
export function adjustAuthSize(auth: TPM2B, nameAlg: u32): bool {
  const size = nameAlg == TPM_ALG_NULL ? MAX_DIGEST_SIZE : digestSizeOf(nameAlg);
  removeTrailingZeros(auth);
  if (auth.size > size) return false;
  memory.fill(auth.buffer + auth.size, 0, size - auth.size);
  auth.size = size;
  return true;
}

/** Checks of creation: `parent` is null for a primary object; the caller provided `dataSize` bytes of sensitive data. */
export function createChecks(parent: OBJECT | null, area: TPMT_PUBLIC, dataSize: u32): u32 {
  const byTpm = has(area, TPMA_OBJECT_sensitiveDataOrigin);
  if (!byTpm && dataSize == 0) return TPM_RC_ATTRIBUTES;
  if (parent != null && byTpm && dataSize != 0) return TPM_RC_ATTRIBUTES;
  const symmetric = area.type == TPM_ALG_KEYEDHASH || area.type == TPM_ALG_SYMCIPHER;
  // The secret of an asymmetric key is never given.
  if (!symmetric && !byTpm) return TPM_RC_ATTRIBUTES;
  // Nor does the TPM make the content of a data object.
  if (area.type == TPM_ALG_KEYEDHASH && byTpm && !has(area, TPMA_OBJECT_sign | TPMA_OBJECT_decrypt))
    return TPM_RC_ATTRIBUTES;
  // A parent whose key the caller knows must be a parent that can leave the TPM.
  if (
    symmetric &&
    !byTpm &&
    has(area, TPMA_OBJECT_restricted) &&
    has(area, TPMA_OBJECT_fixedParent | TPMA_OBJECT_fixedTPM)
  ) {
    return TPM_RC_ATTRIBUTES;
  }
  return publicAttributesValidation(parent, area);
}

/** Checks of an object's attributes under `parent`, null for a primary object or one that is loaded from outside. */
export function publicAttributesValidation(parent: OBJECT | null, area: TPMT_PUBLIC): u32 {
  if (area.nameAlg == TPM_ALG_NULL) return TPM_RC_HASH;
  const policySize = area.authPolicy.size;
  if (policySize != 0 && policySize != digestSizeOf(area.nameAlg)) return TPM_RC_SIZE;
  const fixedTPM = has(area, TPMA_OBJECT_fixedTPM);
  const parentFixed = parent == null || has(parent.publicArea, TPMA_OBJECT_fixedTPM);
  // A hierarchy's seed counts as a parent that is fixed.
  if (parentFixed ? has(area, TPMA_OBJECT_fixedParent) != fixedTPM : fixedTPM) return TPM_RC_ATTRIBUTES;
  if (has(area, TPMA_OBJECT_sign) == has(area, TPMA_OBJECT_decrypt)) {
    if (has(area, TPMA_OBJECT_restricted)) return TPM_RC_ATTRIBUTES;
    if (area.type != TPM_ALG_KEYEDHASH && !has(area, TPMA_OBJECT_sign)) return TPM_RC_ATTRIBUTES;
  }
  const encrypted = has(area, TPMA_OBJECT_encryptedDuplication);
  if (fixedTPM && encrypted) return TPM_RC_ATTRIBUTES;
  if (parent != null && !parentFixed && encrypted != has(parent.publicArea, TPMA_OBJECT_encryptedDuplication))
    return TPM_RC_ATTRIBUTES;
  // There are no hierarchies limited to a firmware or its security version.
  if (has(area, TPMA_OBJECT_firmwareLimited | TPMA_OBJECT_svnLimited)) return TPM_RC_ATTRIBUTES;
  if (parent != null && (parent.attributes & OBJECT_DERIVATION) != 0) {
    if (fixedTPM != parentFixed || !has(area, TPMA_OBJECT_fixedParent)) return TPM_RC_ATTRIBUTES;
  }
  return schemeChecks(parent, area);
}

/** The schemes in a public area fit its attributes (Part 1, 25.1.6 to 25.1.8, Part 2, 12.2.3). */
export function schemeChecks(parent: OBJECT | null, area: TPMT_PUBLIC): u32 {
  let rc: u32;
  switch (area.type) {
    case TPM_ALG_SYMCIPHER:
      rc = has(area, TPMA_OBJECT_decrypt) && !isSymMode(objectSymmetric(area).mode.aes, true) ? TPM_RC_SCHEME : 0;
      break;
    case TPM_ALG_KEYEDHASH:
      // A keyed hash has no symmetric algorithm.
      return keyedHashChecks(area);
    default:
      rc = asymmetricChecks(area);
  }
  if (rc) return rc;
  if (!has(area, TPMA_OBJECT_restricted) || !has(area, TPMA_OBJECT_decrypt)) return 0;
  const symmetric = objectSymmetric(area);
  if (symmetric.algorithm == TPM_ALG_NULL) return TPM_RC_SYMMETRIC;
  if (parent != null && has(area, TPMA_OBJECT_fixedParent)) {
    if (area.nameAlg != parent.publicArea.nameAlg) return TPM_RC_HASH;
    if (!sameSymmetric(symmetric, objectSymmetric(parent.publicArea))) return TPM_RC_SYMMETRIC;
  }
  return 0;
}

function keyedHashChecks(area: TPMT_PUBLIC): u32 {
  const scheme = area.parameters.keyedHashDetail.scheme;
  const sign = has(area, TPMA_OBJECT_sign);
  if (sign == has(area, TPMA_OBJECT_decrypt)) return scheme.scheme == TPM_ALG_NULL ? 0 : TPM_RC_SCHEME;
  if (sign) return scheme.scheme == TPM_ALG_HMAC ? 0 : TPM_RC_SCHEME;
  if (scheme.scheme != TPM_ALG_XOR) return TPM_RC_SCHEME;
  if (!has(area, TPMA_OBJECT_restricted)) return 0;
  // A derivation parent.
  if (scheme.details.xor.kdf != TPM_ALG_KDF1_SP800_108) return TPM_RC_SCHEME;
  return digestSizeOf(scheme.details.xor.hashAlg) == 0 ? TPM_RC_HASH : 0;
}

function asymmetricChecks(area: TPMT_PUBLIC): u32 {
  // The scheme has the same place in both kinds of asymmetric parameters.
  const asymScheme = area.parameters.rsaDetail.scheme;
  const scheme = asymScheme.scheme;
  const sign = has(area, TPMA_OBJECT_sign);
  const restricted = has(area, TPMA_OBJECT_restricted);
  if (sign == has(area, TPMA_OBJECT_decrypt)) {
    if (scheme != TPM_ALG_NULL) return TPM_RC_SCHEME;
  } else if (sign) {
    if (isAsymSignScheme(area.type, scheme)) {
      if (asymScheme.details.rsassa.hashAlg == TPM_ALG_NULL) return TPM_RC_SCHEME;
    } else if (restricted || scheme != TPM_ALG_NULL) return TPM_RC_SCHEME;
  } else if (scheme != TPM_ALG_NULL && (restricted || !isAsymDecryptScheme(area.type, scheme))) return TPM_RC_SCHEME;
  if (!restricted || !has(area, TPMA_OBJECT_decrypt)) {
    if (objectSymmetric(area).algorithm != TPM_ALG_NULL) return TPM_RC_SYMMETRIC;
  }
  if (area.type == TPM_ALG_ECC && area.parameters.eccDetail.kdf.scheme != TPM_ALG_NULL) return TPM_RC_KDF;
  return 0;
}

function sameSymmetric(a: TPMT_SYM_DEF_OBJECT, b: TPMT_SYM_DEF_OBJECT): bool {
  return a.algorithm == b.algorithm && a.keyBits.aes == b.keyBits.aes && a.mode.aes == b.mode.aes;
}
