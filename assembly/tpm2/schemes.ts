// Which schemes and modes belong to which keys (Part 2, 11.2).
import {
  TPM_ALG_CBC,
  TPM_ALG_CFB,
  TPM_ALG_CTR,
  TPM_ALG_ECB,
  TPM_ALG_ECC,
  TPM_ALG_ECDAA,
  TPM_ALG_ECDH,
  TPM_ALG_ECDSA,
  TPM_ALG_ECMQV,
  TPM_ALG_ECSCHNORR,
  TPM_ALG_HMAC,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_NULL,
  TPM_ALG_OAEP,
  TPM_ALG_OFB,
  TPM_ALG_RSA,
  TPM_ALG_RSAES,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  TPM_ALG_SM2,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { TPMT_SIG_SCHEME } from "./generated/structures";
import { digestSizeOf } from "./hash";

@inline
export function isAsymAlgorithm(type: u32): bool {
  return type == TPM_ALG_RSA || type == TPM_ALG_ECC;
}

export function isAsymSignScheme(type: u32, scheme: u32): bool {
  if (type == TPM_ALG_RSA) return scheme == TPM_ALG_RSASSA || scheme == TPM_ALG_RSAPSS;
  if (type != TPM_ALG_ECC) return false;
  return scheme == TPM_ALG_ECDSA || scheme == TPM_ALG_ECDAA || scheme == TPM_ALG_ECSCHNORR || scheme == TPM_ALG_SM2;
}

export function isAsymDecryptScheme(type: u32, scheme: u32): bool {
  if (type == TPM_ALG_RSA) return scheme == TPM_ALG_RSAES || scheme == TPM_ALG_OAEP;
  if (type != TPM_ALG_ECC) return false;
  return scheme == TPM_ALG_ECDH || scheme == TPM_ALG_SM2 || scheme == TPM_ALG_ECMQV;
}

/** A mode of encryption; TPM_ALG_NULL too if `allowNull`. */
export function isSymMode(mode: u32, allowNull: bool): bool {
  switch (mode) {
    case TPM_ALG_CTR:
    case TPM_ALG_OFB:
    case TPM_ALG_CBC:
    case TPM_ALG_CFB:
    case TPM_ALG_ECB:
      return true;
  }
  return allowNull && mode == TPM_ALG_NULL;
}

/** Signing takes two commands: TPM2_Commit, then the signature. */
@inline
export function isSplitSign(scheme: u32): bool {
  return scheme == TPM_ALG_ECDAA;
}

/**
 * The scheme that a key and a command's scheme together select, written to `scheme` (Part 1, 11.4.5.5). `key` null stands
 * for TPM_RH_NULL, which signs nothing. @returns false when they do not agree or select nothing
 */
export function cryptSelectSignScheme(key: OBJECT | null, scheme: TPMT_SIG_SCHEME): bool {
  if (key == null) {
    scheme.scheme = TPM_ALG_NULL;
    scheme.details.rsassa.hashAlg = TPM_ALG_NULL;
    return true;
  }
  const area = key.publicArea;
  let objectScheme: TPMT_SIG_SCHEME;
  if (isAsymAlgorithm(area.type)) objectScheme = changetype<TPMT_SIG_SCHEME>(area.parameters.rsaDetail.scheme);
  else if (area.type == TPM_ALG_KEYEDHASH)
    objectScheme = changetype<TPMT_SIG_SCHEME>(area.parameters.keyedHashDetail.scheme);
  else return false;
  if (objectScheme.scheme == TPM_ALG_NULL) {
    if (scheme.scheme == TPM_ALG_NULL) return false;
  } else if (scheme.scheme == TPM_ALG_NULL) {
    if (isSplitSign(objectScheme.scheme)) return false;
    scheme.scheme = objectScheme.scheme;
    scheme.details.ecdaa.hashAlg = objectScheme.details.ecdaa.hashAlg;
    scheme.details.ecdaa.count = objectScheme.details.ecdaa.count;
  } else if (
    objectScheme.scheme != scheme.scheme ||
    objectScheme.details.rsassa.hashAlg != scheme.details.rsassa.hashAlg
  ) {
    return false;
  }
  const fits =
    area.type == TPM_ALG_KEYEDHASH ? scheme.scheme == TPM_ALG_HMAC : isAsymSignScheme(area.type, scheme.scheme);
  return fits && digestSizeOf(scheme.details.rsassa.hashAlg) != 0;
}
