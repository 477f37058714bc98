// TPM 2.0 library specification, Part 2: the interface types (TPMI_*), through version 1.84. Which of the algorithms a TPM
// implements is not said here; an engine allows the ones it has.
import type { InterfaceDefinition } from "./types.ts";

const TRANSIENT = ["TRANSIENT_FIRST", "TRANSIENT_LAST"] as const;
const PERSISTENT = ["PERSISTENT_FIRST", "PERSISTENT_LAST"] as const;
const NV_INDEX = ["NV_INDEX_FIRST", "NV_INDEX_LAST"] as const;
const PCR = ["PCR_FIRST", "PCR_LAST"] as const;
const HMAC_SESSION = ["HMAC_SESSION_FIRST", "HMAC_SESSION_LAST"] as const;
const POLICY_SESSION = ["POLICY_SESSION_FIRST", "POLICY_SESSION_LAST"] as const;
const AC = ["AC_FIRST", "AC_LAST"] as const;
const ACT = ["TPM_RH_ACT_0", "TPM_RH_ACT_F"] as const;

const HASHES = [
  "TPM_ALG_SHA1",
  "TPM_ALG_SHA256",
  "TPM_ALG_SHA384",
  "TPM_ALG_SHA512",
  "TPM_ALG_SM3_256",
  "TPM_ALG_SHA3_256",
  "TPM_ALG_SHA3_384",
  "TPM_ALG_SHA3_512",
];
const BLOCK_CIPHERS = ["TPM_ALG_TDES", "TPM_ALG_AES", "TPM_ALG_SM4", "TPM_ALG_CAMELLIA"];
const CIPHER_MODES = ["TPM_ALG_CTR", "TPM_ALG_OFB", "TPM_ALG_CBC", "TPM_ALG_CFB", "TPM_ALG_ECB"];
const KDFS = ["TPM_ALG_MGF1", "TPM_ALG_KDF1_SP800_56A", "TPM_ALG_KDF2", "TPM_ALG_KDF1_SP800_108"];
const RSA_SIGNING = ["TPM_ALG_RSASSA", "TPM_ALG_RSAPSS"];
const RSA_ENCRYPTION = ["TPM_ALG_RSAES", "TPM_ALG_OAEP"];
const ECC_SIGNING = ["TPM_ALG_ECDSA", "TPM_ALG_ECDAA", "TPM_ALG_SM2", "TPM_ALG_ECSCHNORR"];
const KEY_EXCHANGE = ["TPM_ALG_ECDH", "TPM_ALG_ECMQV"];

const HANDLE = { base: "TPM_HANDLE", error: "TPM_RC_VALUE" } as const;
const ALGORITHM = { base: "TPM_ALG_ID", nullValue: "TPM_ALG_NULL" } as const;

/** The reference implementations look for a TPM_ST first, among which libtpms does not count this one. */
const ticketTag = (...values: readonly string[]): InterfaceDefinition => ({
  base: "TPM_ST",
  values,
  error: "TPM_RC_TAG",
  otherwise: { error: "TPM_RC_VALUE", than: ["TPM_ST_ATTEST_NV_DIGEST"] },
});

export const interfaces: Record<string, InterfaceDefinition> = {
  TPMI_YES_NO: { base: "UINT8", numbers: [0, 1], error: "TPM_RC_VALUE" },

  TPMI_DH_OBJECT: { ...HANDLE, ranges: [TRANSIENT, PERSISTENT], nullValue: "TPM_RH_NULL" },
  TPMI_DH_PARENT: {
    ...HANDLE,
    values: ["TPM_RH_OWNER", "TPM_RH_PLATFORM", "TPM_RH_ENDORSEMENT"],
    ranges: [TRANSIENT, PERSISTENT],
    nullValue: "TPM_RH_NULL",
  },
  TPMI_DH_PERSISTENT: { ...HANDLE, ranges: [PERSISTENT] },
  TPMI_DH_ENTITY: {
    ...HANDLE,
    values: ["TPM_RH_OWNER", "TPM_RH_ENDORSEMENT", "TPM_RH_PLATFORM", "TPM_RH_LOCKOUT"],
    ranges: [TRANSIENT, PERSISTENT, NV_INDEX, PCR, ["TPM_RH_AUTH_00", "TPM_RH_AUTH_FF"]],
    nullValue: "TPM_RH_NULL",
  },
  TPMI_DH_PCR: { ...HANDLE, ranges: [PCR], nullValue: "TPM_RH_NULL" },
  TPMI_SH_AUTH_SESSION: { ...HANDLE, ranges: [HMAC_SESSION, POLICY_SESSION], nullValue: "TPM_RS_PW" },
  TPMI_SH_HMAC: { ...HANDLE, ranges: [HMAC_SESSION] },
  TPMI_SH_POLICY: { ...HANDLE, ranges: [POLICY_SESSION] },
  TPMI_DH_CONTEXT: { ...HANDLE, ranges: [HMAC_SESSION, POLICY_SESSION, TRANSIENT] },
  TPMI_DH_SAVED: {
    ...HANDLE,
    values: ["SAVED_TRANSIENT", "SAVED_SEQUENCE", "SAVED_TRANSIENT_STCLEAR"],
    ranges: [HMAC_SESSION, POLICY_SESSION],
  },
  TPMI_RH_HIERARCHY: {
    ...HANDLE,
    values: ["TPM_RH_OWNER", "TPM_RH_PLATFORM", "TPM_RH_ENDORSEMENT"],
    nullValue: "TPM_RH_NULL",
  },
  TPMI_RH_ENABLES: {
    ...HANDLE,
    values: ["TPM_RH_OWNER", "TPM_RH_PLATFORM", "TPM_RH_ENDORSEMENT", "TPM_RH_PLATFORM_NV"],
    nullValue: "TPM_RH_NULL",
  },
  TPMI_RH_HIERARCHY_AUTH: {
    ...HANDLE,
    values: ["TPM_RH_OWNER", "TPM_RH_PLATFORM", "TPM_RH_ENDORSEMENT", "TPM_RH_LOCKOUT"],
  },
  TPMI_RH_HIERARCHY_POLICY: {
    ...HANDLE,
    values: ["TPM_RH_OWNER", "TPM_RH_PLATFORM", "TPM_RH_ENDORSEMENT", "TPM_RH_LOCKOUT"],
    ranges: [ACT],
  },
  TPMI_RH_PLATFORM: { ...HANDLE, values: ["TPM_RH_PLATFORM"] },
  TPMI_RH_OWNER: { ...HANDLE, values: ["TPM_RH_OWNER"], nullValue: "TPM_RH_NULL" },
  TPMI_RH_ENDORSEMENT: { ...HANDLE, values: ["TPM_RH_ENDORSEMENT"], nullValue: "TPM_RH_NULL" },
  TPMI_RH_PROVISION: { ...HANDLE, values: ["TPM_RH_OWNER", "TPM_RH_PLATFORM"] },
  TPMI_RH_CLEAR: { ...HANDLE, values: ["TPM_RH_LOCKOUT", "TPM_RH_PLATFORM"] },
  TPMI_RH_NV_AUTH: { ...HANDLE, values: ["TPM_RH_PLATFORM", "TPM_RH_OWNER"], ranges: [NV_INDEX] },
  TPMI_RH_LOCKOUT: { ...HANDLE, values: ["TPM_RH_LOCKOUT"] },
  TPMI_RH_NV_INDEX: { ...HANDLE, ranges: [NV_INDEX] },
  TPMI_RH_NV_EXP_INDEX: { ...HANDLE, ranges: [["EXTERNAL_NV_FIRST", "EXTERNAL_NV_LAST"]] },
  TPMI_RH_AC: { ...HANDLE, ranges: [AC] },
  TPMI_RH_ACT: { ...HANDLE, ranges: [ACT] },

  TPMI_ALG_HASH: { ...ALGORITHM, values: HASHES, error: "TPM_RC_HASH" },
  TPMI_ALG_ASYM: { ...ALGORITHM, values: ["TPM_ALG_RSA", "TPM_ALG_ECC"], error: "TPM_RC_ASYMMETRIC" },
  TPMI_ALG_SYM: { ...ALGORITHM, values: [...BLOCK_CIPHERS, "TPM_ALG_XOR"], error: "TPM_RC_SYMMETRIC" },
  TPMI_ALG_SYM_OBJECT: { ...ALGORITHM, values: BLOCK_CIPHERS, error: "TPM_RC_SYMMETRIC" },
  TPMI_ALG_SYM_MODE: { ...ALGORITHM, values: [...CIPHER_MODES, "TPM_ALG_CMAC"], error: "TPM_RC_MODE" },
  TPMI_ALG_KDF: { ...ALGORITHM, values: KDFS, error: "TPM_RC_KDF" },
  TPMI_ALG_SIG_SCHEME: {
    ...ALGORITHM,
    values: [...RSA_SIGNING, ...ECC_SIGNING, "TPM_ALG_HMAC"],
    error: "TPM_RC_SCHEME",
  },
  TPMI_ECC_KEY_EXCHANGE: { ...ALGORITHM, values: [...KEY_EXCHANGE, "TPM_ALG_SM2"], error: "TPM_RC_SCHEME" },
  TPMI_ST_COMMAND_TAG: { base: "TPM_ST", values: ["TPM_ST_NO_SESSIONS", "TPM_ST_SESSIONS"], error: "TPM_RC_BAD_TAG" },
  TPMI_ALG_MAC_SCHEME: { ...ALGORITHM, values: ["TPM_ALG_CMAC", ...HASHES], error: "TPM_RC_SYMMETRIC" },
  TPMI_ALG_CIPHER_MODE: { ...ALGORITHM, values: CIPHER_MODES, error: "TPM_RC_MODE" },
  TPMI_ALG_KEYEDHASH_SCHEME: { ...ALGORITHM, values: ["TPM_ALG_HMAC", "TPM_ALG_XOR"], error: "TPM_RC_VALUE" },
  TPMI_ALG_ASYM_SCHEME: {
    ...ALGORITHM,
    values: [...KEY_EXCHANGE, ...RSA_SIGNING, ...ECC_SIGNING, ...RSA_ENCRYPTION],
    error: "TPM_RC_VALUE",
  },
  TPMI_ALG_RSA_SCHEME: { ...ALGORITHM, values: [...RSA_ENCRYPTION, ...RSA_SIGNING], error: "TPM_RC_VALUE" },
  TPMI_ALG_RSA_DECRYPT: { ...ALGORITHM, values: RSA_ENCRYPTION, error: "TPM_RC_VALUE" },
  TPMI_ALG_ECC_SCHEME: { ...ALGORITHM, values: [...ECC_SIGNING, ...KEY_EXCHANGE], error: "TPM_RC_SCHEME" },
  TPMI_ALG_PUBLIC: {
    base: "TPM_ALG_ID",
    values: ["TPM_ALG_RSA", "TPM_ALG_KEYEDHASH", "TPM_ALG_ECC", "TPM_ALG_SYMCIPHER"],
    error: "TPM_RC_TYPE",
  },

  TPMI_AES_KEY_BITS: { base: "TPM_KEY_BITS", numbers: [128, 192, 256], error: "TPM_RC_VALUE" },
  TPMI_SM4_KEY_BITS: { base: "TPM_KEY_BITS", numbers: [128], error: "TPM_RC_VALUE" },
  TPMI_CAMELLIA_KEY_BITS: { base: "TPM_KEY_BITS", numbers: [128, 192, 256], error: "TPM_RC_VALUE" },
  TPMI_TDES_KEY_BITS: { base: "TPM_KEY_BITS", numbers: [128, 192], error: "TPM_RC_VALUE" },
  TPMI_RSA_KEY_BITS: { base: "TPM_KEY_BITS", numbers: [1024, 2048, 3072, 4096], error: "TPM_RC_VALUE" },
  TPMI_ECC_CURVE: {
    base: "TPM_ECC_CURVE",
    values: [
      "TPM_ECC_NIST_P192",
      "TPM_ECC_NIST_P224",
      "TPM_ECC_NIST_P256",
      "TPM_ECC_NIST_P384",
      "TPM_ECC_NIST_P521",
      "TPM_ECC_BN_P256",
      "TPM_ECC_BN_P638",
      "TPM_ECC_SM2_P256",
    ],
    nullValue: "TPM_ECC_NONE",
    error: "TPM_RC_CURVE",
  },

  // The tags of the tickets are not named types in the specification; they are fixed values of their structure's first field.
  TPMI_ST_TK_CREATION: ticketTag("TPM_ST_CREATION"),
  TPMI_ST_TK_VERIFIED: ticketTag("TPM_ST_VERIFIED"),
  TPMI_ST_TK_AUTH: ticketTag("TPM_ST_AUTH_SIGNED", "TPM_ST_AUTH_SECRET"),
  TPMI_ST_TK_HASHCHECK: ticketTag("TPM_ST_HASHCHECK"),
  TPMI_ST_ATTEST: {
    base: "TPM_ST",
    values: [
      "TPM_ST_ATTEST_CERTIFY",
      "TPM_ST_ATTEST_QUOTE",
      "TPM_ST_ATTEST_SESSION_AUDIT",
      "TPM_ST_ATTEST_COMMAND_AUDIT",
      "TPM_ST_ATTEST_TIME",
      "TPM_ST_ATTEST_CREATION",
      "TPM_ST_ATTEST_NV",
      "TPM_ST_ATTEST_NV_DIGEST",
    ],
    error: "TPM_RC_SELECTOR",
  },
};
