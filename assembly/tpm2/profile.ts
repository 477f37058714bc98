// The profile of this TPM: what libtpms' JSON profiles select, in the form the engine asks for. profile-text.ts reads and
// writes the JSON.

/** libtpms' names: 1 writes the state as version 0.9 did, 2 stores the profile; higher levels enable newer features. */
@unmanaged
export class Profile {
  stateFormatLevel: u32;
  rsaMinSize: u32;
  aesMinSize: u32;
  camelliaMinSize: u32;
  tdesMinSize: u32;
  eccMinSize: u32;
  hmacMinKeySize: u32;
  /** PROFILE_*. */
  attributes: u32;
  /** Bit n: TPM_ECC_CURVE n. */
  disabledCurves: u64;
  algorithmBits0: u64;
  algorithmBits1: u64;
  commandBits0: u64;
  commandBits1: u64;

  /** Bit map by TPM_ALG_ID below 128. */
  @inline
  get disabledAlgorithms(): usize {
    return changetype<usize>(this) + offsetof<Profile>("algorithmBits0");
  }
  /** Bit map by command code - 0x11F. */
  @inline
  get disabledCommands(): usize {
    return changetype<usize>(this) + offsetof<Profile>("commandBits0");
  }
}

export const profile = changetype<Profile>(memory.data(128, 16));

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
export const STATE_FORMAT_LEVEL_CURRENT: u32 = 8;

/** The profile of a TPM made without one: "null", everything that libtpms 0.9 had. */
export function setNullProfile(): void {
  memory.fill(changetype<usize>(profile), 0, offsetof<Profile>());
  profile.stateFormatLevel = 1;
  profile.rsaMinSize = 1024;
  profile.aesMinSize = 128;
  profile.camelliaMinSize = 128;
  profile.tdesMinSize = 128;
  profile.eccMinSize = 192;
  // TPM2_ECC_Encrypt, ECC_Decrypt, PolicyCapability, PolicyParameters came later.
  for (let code: u32 = 0x199; code <= 0x19c; code++) disableCommand(code);
}

export function disableCommand(code: u32): void {
  const index = code - 0x11f;
  const at = profile.disabledCommands + (index >> 3);
  store<u8>(at, load<u8>(at) | <u8>((<u32>1) << (index & 7)));
}

export function commandEnabled(code: u32): bool {
  const index = code - 0x11f;
  return index < 128 && ((load<u8>(profile.disabledCommands + (index >> 3)) >> (index & 7)) & 1) == 0;
}
