// Which algorithms, key sizes and curves are enabled: those implemented, less what the profile takes away (libtpms' profiles;
// StateFormatLevel says which newer key sizes exist at all).
import { TPM_ALG_ECC, TPM_ALG_NULL } from "./generated/constants";
import { CURVE_WORDS, CURVE_WORD_COUNT, KEY_SIZES, KEY_SIZE_COUNT, WORD_SIZE } from "./generated/profile-tables";
import { algorithmSelected, curveSelected, minKeySize, profile } from "./profile";

export function algorithmEnabled(alg: u32): bool {
  return alg == TPM_ALG_NULL || algorithmSelected(alg);
}

export function curveEnabled(curve: u32): bool {
  return curveSelected(curve) && curveBits(curve) >= minKeySize(TPM_ALG_ECC);
}

/** Key size of a curve, 0 if it is none. */
function curveBits(curve: u32): u32 {
  for (let i: u32 = 0; i < CURVE_WORD_COUNT; i++) {
    const word = CURVE_WORDS + WORD_SIZE * i;
    if (load<u16>(word) == curve) return load<u16>(word, 2);
  }
  return 0;
}

export function keyBitsEnabled(alg: u32, bits: u32): bool {
  if (!algorithmEnabled(alg) || bits < minKeySize(alg)) return false;
  for (let i: u32 = 0; i < KEY_SIZE_COUNT; i++) {
    const entry = KEY_SIZES + 6 * <usize>i;
    if (load<u16>(entry) == alg && load<u16>(entry, 2) == bits) return profile.stateFormatLevel >= load<u16>(entry, 4);
  }
  return true;
}
