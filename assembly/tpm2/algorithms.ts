// Which algorithms, key sizes and curves are enabled: those implemented, less what the profile takes away (libtpms' profiles;
// StateFormatLevel says which newer key sizes exist at all).
import { TPM_ALG_AES, TPM_ALG_CAMELLIA, TPM_ALG_NULL, TPM_ALG_RSA, TPM_ALG_TDES } from "./generated/constants";
import { profile } from "./profile";

export function algorithmEnabled(alg: u32): bool {
  if (alg == TPM_ALG_NULL) return true;
  return alg < 128 && ((load<u8>(profile.disabledAlgorithms + (alg >> 3)) >> (alg & 7)) & 1) == 0;
}

export function curveEnabled(curve: u32): bool {
  return curve < 64 && ((profile.disabledCurves >> curve) & 1) == 0;
}

export function keyBitsEnabled(alg: u32, bits: u32): bool {
  switch (alg) {
    case TPM_ALG_RSA:
      return bits >= profile.rsaMinSize && (bits != 4096 || profile.stateFormatLevel >= 8);
    case TPM_ALG_AES:
      return bits >= profile.aesMinSize && (bits != 192 || profile.stateFormatLevel >= 4);
    case TPM_ALG_CAMELLIA:
      return bits >= profile.camelliaMinSize && (bits != 192 || profile.stateFormatLevel >= 4);
    case TPM_ALG_TDES:
      return bits >= profile.tdesMinSize;
  }
  return true;
}
