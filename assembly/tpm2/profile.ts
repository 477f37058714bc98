// The profile of this TPM: what libtpms' JSON profiles select, in the form the engine asks for. profile-text.ts reads and
// writes the JSON.
import { TPM_ALG_HMAC } from "./generated/constants";
import { FIRST_COMMAND, STATE_FORMAT_LEVEL_CURRENT } from "./generated/profile-tables";

/** Bytes of a bit map by command code - 0x11F, and of one by TPM_ALG_ID or TPM_ECC_CURVE. */
const COMMAND_BITS: u32 = 24;
const ALGORITHM_BITS: u32 = 16;
const CURVE_BITS: u32 = 8;
const ALGORITHM_END: u32 = 128;
const CURVE_END: u32 = 64;

@unmanaged
export class Profile {
  /**
   * 1 writes the state as libtpms 0.9 did, 2 stores the profile; higher levels enable newer features, and with them need a newer
   * libtpms to read the state.
   */
  stateFormatLevel: u32;
  /** PROFILE_*. */
  attributes: u32;
  /** Which words of "Attributes" and which families of curves were named (bit: index of the word). */
  namedAttributes: u32;
  namedFamilies: u32;

  @inline
  get commands(): usize {
    return changetype<usize>(this) + offsetof<Profile>();
  }
  @inline
  get algorithms(): usize {
    return this.commands + COMMAND_BITS;
  }
  @inline
  get curves(): usize {
    return this.algorithms + ALGORITHM_BITS;
  }
  /** UINT16 bits by TPM_ALG_ID: no smaller keys. */
  @inline
  get minSizes(): usize {
    return this.curves + CURVE_BITS;
  }
  /** HMAC keys may not be shorter than this, in bits. */
  @inline
  get hmacMinKeySize(): u32 {
    return minKeySize(TPM_ALG_HMAC);
  }
}

const LIMITS_SIZE: u32 = ALGORITHM_BITS + CURVE_BITS + 2 * ALGORITHM_END;
const SIZEOF_PROFILE: u32 = 16 + COMMAND_BITS + LIMITS_SIZE;

export const profile = changetype<Profile>(memory.data(SIZEOF_PROFILE, 16));

// Attributes of a profile, as libtpms numbers them: things that this TPM refuses or does in addition.
export const PROFILE_NO_UNPADDED_ENCRYPTION: u32 = 1 << 0;
export const PROFILE_NO_SHA1_SIGNING: u32 = 1 << 1;
export const PROFILE_NO_SHA1_VERIFICATION: u32 = 1 << 2;
export const PROFILE_NO_SHA1_HMAC_CREATION: u32 = 1 << 3;
export const PROFILE_NO_SHA1_HMAC_VERIFICATION: u32 = 1 << 4;
export const PROFILE_DRBG_CONTINUOUS_TEST: u32 = 1 << 5;
export const PROFILE_PAIRWISE_CONSISTENCY_TEST: u32 = 1 << 6;
export const PROFILE_NO_ECC_KEY_DERIVATION: u32 = 1 << 7;

/** Whether the profile has an attribute (PROFILE_*). */
@inline
export function profileRequires(attribute: u32): bool {
  return (profile.attributes & attribute) != 0;
}

/** The newest level this engine knows. */
export { STATE_FORMAT_LEVEL_CURRENT };

/** Nothing is enabled, and there are no lower bounds. */
export function clearProfile(): void {
  memory.fill(changetype<usize>(profile), 0, SIZEOF_PROFILE);
}

@inline
function testBit(bits: usize, index: u32): bool {
  return ((load<u8>(bits + (index >> 3)) >> (index & 7)) & 1) != 0;
}
function setBit(bits: usize, index: u32): void {
  const at = bits + (index >> 3);
  store<u8>(at, load<u8>(at) | <u8>((<u32>1) << (index & 7)));
}

export function enableCommand(code: u32): void {
  setBit(profile.commands, code - FIRST_COMMAND);
}
export function commandEnabled(code: u32): bool {
  const index = code - FIRST_COMMAND;
  return index < 8 * COMMAND_BITS && testBit(profile.commands, index);
}

/** How many commands are enabled: only implemented ones can be. */
export function enabledCommandNumber(): u32 {
  let number: u64 = 0;
  for (let at: usize = 0; at < COMMAND_BITS; at += 8) number += popcnt<u64>(load<u64>(profile.commands + at));
  return <u32>number;
}

export function enableAlgorithm(alg: u32): void {
  setBit(profile.algorithms, alg);
}
/** Whether the profile names the algorithm. */
export function algorithmSelected(alg: u32): bool {
  return alg < ALGORITHM_END && testBit(profile.algorithms, alg);
}

export function enableCurve(curve: u32): void {
  setBit(profile.curves, curve);
}
export function disableCurve(curve: u32): void {
  const at = profile.curves + (curve >> 3);
  store<u8>(at, load<u8>(at) & ~(<u8>((<u32>1) << (curve & 7))));
}
export function curveSelected(curve: u32): bool {
  return curve < CURVE_END && testBit(profile.curves, curve);
}

export function minKeySize(alg: u32): u32 {
  return load<u16>(profile.minSizes + 2 * <usize>alg);
}
export function setMinKeySize(alg: u32, bits: u32): void {
  store<u16>(profile.minSizes + 2 * <usize>alg, <u16>bits);
}

const LIMITS: usize = memory.data(LIMITS_SIZE, 8);

/** Keeps what the profile says of algorithms, curves and sizes for restoreLimits. */
export function keepLimits(): void {
  memory.copy(LIMITS, profile.algorithms, LIMITS_SIZE);
}
export function restoreLimits(): void {
  memory.copy(profile.algorithms, LIMITS, LIMITS_SIZE);
}
