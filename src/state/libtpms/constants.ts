// PA_COMPILE_CONSTANTS: the limits and algorithms that a libtpms was built with. They stand in its states, and a reader refuses a state
// whose constants do not fit its own.

/** In the order of libtpms' table. A "<" marks those of which the writer may have had less than the reader; the others are equal. */
const TABLE = `
  ALG_RSA ALG_SHA1 ALG_HMAC ALG_TDES< ALG_AES ALG_MGF1 ALG_XOR ALG_KEYEDHASH ALG_SHA256 ALG_SHA384 ALG_SHA512
  ALG_SM3_256 ALG_SM4 ALG_RSASSA ALG_RSAES ALG_RSAPSS ALG_OAEP ALG_ECC ALG_ECDH ALG_ECDSA ALG_ECDAA ALG_SM2<
  ALG_ECSCHNORR ALG_ECMQV< ALG_SYMCIPHER ALG_KDF1_SP800_56A ALG_KDF2< ALG_KDF1_SP800_108 ALG_CMAC< ALG_CTR ALG_OFB
  ALG_CBC ALG_CFB ALG_ECB MAX_RSA_KEY_BITS< MAX_TDES_KEY_BITS MAX_AES_KEY_BITS MAX_SM4_KEY_BITS MAX_CAMELLIA_KEY_BITS
  ECC_NIST_P192< ECC_NIST_P224< ECC_NIST_P256< ECC_NIST_P384< ECC_NIST_P521< ECC_BN_P256< ECC_BN_P638< ECC_SM2_P256<
  MAX_ECC_KEY_BITS< HASH_ALIGNMENT SYM_ALIGNMENT IMPLEMENTATION_PCR PLATFORM_PCR DRTM_PCR HCRTM_PCR NUM_LOCALITIES
  MAX_HANDLE_NUM MAX_ACTIVE_SESSIONS MAX_LOADED_SESSIONS MAX_SESSION_NUM MAX_LOADED_OBJECTS MIN_EVICT_OBJECTS<
  NUM_POLICY_PCR_GROUP NUM_AUTHVALUE_PCR_GROUP MAX_CONTEXT_SIZE< MAX_DIGEST_BUFFER MAX_NV_INDEX_SIZE
  MAX_NV_BUFFER_SIZE MAX_CAP_BUFFER NV_MEMORY_SIZE< MIN_COUNTER_INDICES NUM_STATIC_PCR MAX_ALG_LIST_SIZE
  PRIMARY_SEED_SIZE CONTEXT_ENCRYPT_ALGORITHM_ NV_CLOCK_UPDATE_INTERVAL NUM_POLICY_PCR ORDERLY_BITS MAX_SYM_DATA
  MAX_RNG_ENTROPY_SIZE RAM_INDEX_SPACE RSA_DEFAULT_PUBLIC_EXPONENT ENABLE_PCR_NO_INCREMENT CRT_FORMAT_RSA
  VENDOR_COMMAND_COUNT MAX_VENDOR_BUFFER_SIZE TPM_MAX_DERIVATION_BITS PROOF_SIZE HASH_COUNT AES_128< AES_192< AES_256<
  SM4_128< ALG_CAMELLIA< CAMELLIA_128< CAMELLIA_192< CAMELLIA_256< ALG_SHA3_256< ALG_SHA3_384< ALG_SHA3_512< RSA_1024<
  RSA_2048< RSA_3072< RSA_4096< RSA_16384< RH_ACT_0< RH_ACT_1< RH_ACT_2< RH_ACT_3< RH_ACT_4< RH_ACT_5< RH_ACT_6<
  RH_ACT_7< RH_ACT_8< RH_ACT_9< RH_ACT_A< RH_ACT_B< RH_ACT_C< RH_ACT_D< RH_ACT_E< RH_ACT_F<
`;

export interface CompileConstant {
  readonly name: string;
  /** A state with a smaller value can be read too. */
  readonly mayBeSmaller: boolean;
}

/** Versions 1 and 2 of the structure have the first 88 of them. */
export const compileConstants: readonly CompileConstant[] = TABLE.trim()
  .split(/\s+/)
  .map((word) => ({ name: word.replace("<", ""), mayBeSmaller: word.endsWith("<") }));

/** Which constants of a state do not fit the reader's own, in words. */
export function unfitConstants(stored: readonly number[], own: readonly number[]): string[] {
  return stored.flatMap((value, i) => {
    const { name, mayBeSmaller } = compileConstants[i] ?? { name: `constant ${i}`, mayBeSmaller: false };
    const limit = own[i] ?? 0;
    const fits = mayBeSmaller ? value <= limit : value === limit;
    return fits ? [] : [`${name} is ${value} instead of ${mayBeSmaller ? "at most " : ""}${limit}`];
  });
}
