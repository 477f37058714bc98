// TPM 2.0 library specification, Part 2: the structures, through version 1.84, in the order of its tables.
// The maxima are names: each implementation has its own numbers (implementation.ts).
import type { StructureDefinition } from "./types.ts";

export const structures: Record<string, StructureDefinition> = {
  TPM2B_NONCE: { kind: "alias", of: "TPM2B_DIGEST" },
  TPM2B_AUTH: { kind: "alias", of: "TPM2B_DIGEST" },
  TPM2B_OPERAND: { kind: "alias", of: "TPM2B_DIGEST" },
  TPMU_HA: { kind: "digest" },
  PCR_SELECT: { kind: "bitmap", min: "PCR_SELECT_MIN", max: "PCR_SELECT_MAX", error: "TPM_RC_VALUE" },
  TPMS_ALGORITHM_DESCRIPTION: {
    kind: "structure",
    fields: [
      ["alg", "TPM_ALG_ID"],
      ["attributes", "TPMA_ALGORITHM"],
    ],
  },
  TPMT_HA: {
    kind: "structure",
    fields: [
      ["hashAlg", "+TPMI_ALG_HASH"],
      ["digest", "TPMU_HA", "hashAlg"],
    ],
  },
  TPM2B_DIGEST: { kind: "buffer", max: "MAX_DIGEST_SIZE" },
  TPM2B_DATA: { kind: "buffer", max: "SIZEOF_TPMT_HA" },
  TPM2B_EVENT: { kind: "buffer", max: "MAX_EVENT_SIZE" },
  TPM2B_MAX_BUFFER: { kind: "buffer", max: "MAX_DIGEST_BUFFER" },
  TPM2B_MAX_NV_BUFFER: { kind: "buffer", max: "MAX_NV_BUFFER_SIZE" },
  TPM2B_TIMEOUT: { kind: "buffer", max: "SIZEOF_TIMEOUT" },
  TPM2B_IV: { kind: "buffer", max: "MAX_SYM_BLOCK_SIZE" },
  TPM2B_NAME: { kind: "buffer", max: "SIZEOF_TPMU_NAME" },
  TPMS_PCR_SELECTION: {
    kind: "structure",
    fields: [
      ["hash", "TPMI_ALG_HASH"],
      ["pcrSelect", "PCR_SELECT"],
    ],
  },
  TPMT_TK_CREATION: {
    kind: "structure",
    fields: [
      ["tag", "TPMI_ST_TK_CREATION"],
      ["hierarchy", "TPMI_RH_HIERARCHY+"],
      ["digest", "TPM2B_DIGEST"],
    ],
  },
  TPMT_TK_VERIFIED: {
    kind: "structure",
    fields: [
      ["tag", "TPMI_ST_TK_VERIFIED"],
      ["hierarchy", "TPMI_RH_HIERARCHY+"],
      ["digest", "TPM2B_DIGEST"],
    ],
  },
  TPMT_TK_AUTH: {
    kind: "structure",
    fields: [
      ["tag", "TPMI_ST_TK_AUTH"],
      ["hierarchy", "TPMI_RH_HIERARCHY+"],
      ["digest", "TPM2B_DIGEST"],
    ],
  },
  TPMT_TK_HASHCHECK: {
    kind: "structure",
    fields: [
      ["tag", "TPMI_ST_TK_HASHCHECK"],
      ["hierarchy", "TPMI_RH_HIERARCHY+"],
      ["digest", "TPM2B_DIGEST"],
    ],
  },
  TPMS_ALG_PROPERTY: {
    kind: "structure",
    fields: [
      ["alg", "TPM_ALG_ID"],
      ["algProperties", "TPMA_ALGORITHM"],
    ],
  },
  TPMS_TAGGED_PROPERTY: {
    kind: "structure",
    fields: [
      ["property", "TPM_PT"],
      ["value", "UINT32"],
    ],
  },
  TPMS_TAGGED_PCR_SELECT: {
    kind: "structure",
    fields: [
      ["tag", "TPM_PT_PCR"],
      ["pcrSelect", "PCR_SELECT"],
    ],
  },
  TPMS_TAGGED_POLICY: {
    kind: "structure",
    fields: [
      ["handle", "TPM_HANDLE"],
      ["policyHash", "TPMT_HA"],
    ],
  },
  TPMS_ACT_DATA: {
    kind: "structure",
    fields: [
      ["handle", "TPM_HANDLE"],
      ["timeout", "UINT32"],
      ["attributes", "TPMA_ACT"],
    ],
  },
  TPML_CC: { kind: "list", name: "commandCodes", element: "TPM_CC", max: "MAX_CAP_CC", error: "TPM_RC_SIZE" },
  TPML_CCA: { kind: "list", name: "commandAttributes", element: "TPMA_CC", max: "MAX_CAP_CC", error: "TPM_RC_SIZE" },
  TPML_ALG: { kind: "list", name: "algorithms", element: "TPM_ALG_ID", max: "MAX_ALG_LIST_SIZE", error: "TPM_RC_SIZE" },
  TPML_HANDLE: { kind: "list", name: "handle", element: "TPM_HANDLE", max: "MAX_CAP_HANDLES", error: "TPM_RC_SIZE" },
  TPML_DIGEST: {
    kind: "list",
    name: "digests",
    element: "TPM2B_DIGEST",
    min: 2,
    max: "MAX_DIGEST_LIST",
    error: "TPM_RC_SIZE",
  },
  TPML_DIGEST_VALUES: { kind: "list", name: "digests", element: "TPMT_HA", max: "HASH_COUNT", error: "TPM_RC_SIZE" },
  TPML_PCR_SELECTION: {
    kind: "list",
    name: "pcrSelections",
    element: "TPMS_PCR_SELECTION",
    max: "HASH_COUNT",
    error: "TPM_RC_SIZE",
  },
  TPML_ALG_PROPERTY: {
    kind: "list",
    name: "algProperties",
    element: "TPMS_ALG_PROPERTY",
    max: "MAX_CAP_ALGS",
    error: "TPM_RC_SIZE",
  },
  TPML_TAGGED_TPM_PROPERTY: {
    kind: "list",
    name: "tpmProperty",
    element: "TPMS_TAGGED_PROPERTY",
    max: "MAX_TPM_PROPERTIES",
    error: "TPM_RC_SIZE",
  },
  TPML_TAGGED_PCR_PROPERTY: {
    kind: "list",
    name: "pcrProperty",
    element: "TPMS_TAGGED_PCR_SELECT",
    max: "MAX_PCR_PROPERTIES",
    error: "TPM_RC_SIZE",
  },
  TPML_ECC_CURVE: {
    kind: "list",
    name: "eccCurves",
    element: "TPM_ECC_CURVE",
    max: "MAX_ECC_CURVES",
    error: "TPM_RC_SIZE",
  },
  TPML_TAGGED_POLICY: {
    kind: "list",
    name: "policies",
    element: "TPMS_TAGGED_POLICY",
    max: "MAX_TAGGED_POLICIES",
    error: "TPM_RC_SIZE",
  },
  TPML_ACT_DATA: { kind: "list", name: "actData", element: "TPMS_ACT_DATA", max: "MAX_ACT_DATA", error: "TPM_RC_SIZE" },
  TPMU_CAPABILITIES: {
    kind: "union",
    arms: {
      TPM_CAP_ALGS: ["algorithms", "TPML_ALG_PROPERTY"],
      TPM_CAP_HANDLES: ["handles", "TPML_HANDLE"],
      TPM_CAP_COMMANDS: ["command", "TPML_CCA"],
      TPM_CAP_PP_COMMANDS: ["ppCommands", "TPML_CC"],
      TPM_CAP_AUDIT_COMMANDS: ["auditCommands", "TPML_CC"],
      TPM_CAP_PCRS: ["assignedPCR", "TPML_PCR_SELECTION"],
      TPM_CAP_TPM_PROPERTIES: ["tpmProperties", "TPML_TAGGED_TPM_PROPERTY"],
      TPM_CAP_PCR_PROPERTIES: ["pcrProperties", "TPML_TAGGED_PCR_PROPERTY"],
      TPM_CAP_ECC_CURVES: ["eccCurves", "TPML_ECC_CURVE"],
      TPM_CAP_AUTH_POLICIES: ["authPolicies", "TPML_TAGGED_POLICY"],
      TPM_CAP_ACT: ["actData", "TPML_ACT_DATA"],
      TPM_CAP_PUB_KEYS: ["pubKeys", "TPML_PUB_KEY"],
      TPM_CAP_SPDM_SESSION_INFO: ["spdmSessionInfo", "TPML_SPDM_SESSION_INFO"],
    },
  },
  TPMS_CAPABILITY_DATA: {
    kind: "structure",
    fields: [
      ["capability", "TPM_CAP"],
      ["data", "TPMU_CAPABILITIES", "capability"],
    ],
  },
  TPMS_CLOCK_INFO: {
    kind: "structure",
    fields: [
      ["clock", "UINT64"],
      ["resetCount", "UINT32"],
      ["restartCount", "UINT32"],
      ["safe", "TPMI_YES_NO"],
    ],
  },
  TPMS_TIME_INFO: {
    kind: "structure",
    fields: [
      ["time", "UINT64"],
      ["clockInfo", "TPMS_CLOCK_INFO"],
    ],
  },
  TPMS_TIME_ATTEST_INFO: {
    kind: "structure",
    fields: [
      ["time", "TPMS_TIME_INFO"],
      ["firmwareVersion", "UINT64"],
    ],
  },
  TPMS_CERTIFY_INFO: {
    kind: "structure",
    fields: [
      ["name", "TPM2B_NAME"],
      ["qualifiedName", "TPM2B_NAME"],
    ],
  },
  TPMS_QUOTE_INFO: {
    kind: "structure",
    fields: [
      ["pcrSelect", "TPML_PCR_SELECTION"],
      ["pcrDigest", "TPM2B_DIGEST"],
    ],
  },
  TPMS_COMMAND_AUDIT_INFO: {
    kind: "structure",
    fields: [
      ["auditCounter", "UINT64"],
      ["digestAlg", "TPM_ALG_ID"],
      ["auditDigest", "TPM2B_DIGEST"],
      ["commandDigest", "TPM2B_DIGEST"],
    ],
  },
  TPMS_SESSION_AUDIT_INFO: {
    kind: "structure",
    fields: [
      ["exclusiveSession", "TPMI_YES_NO"],
      ["sessionDigest", "TPM2B_DIGEST"],
    ],
  },
  TPMS_CREATION_INFO: {
    kind: "structure",
    fields: [
      ["objectName", "TPM2B_NAME"],
      ["creationHash", "TPM2B_DIGEST"],
    ],
  },
  TPMS_NV_CERTIFY_INFO: {
    kind: "structure",
    fields: [
      ["indexName", "TPM2B_NAME"],
      ["offset", "UINT16"],
      ["nvContents", "TPM2B_MAX_NV_BUFFER"],
    ],
  },
  TPMS_NV_DIGEST_CERTIFY_INFO: {
    kind: "structure",
    fields: [
      ["indexName", "TPM2B_NAME"],
      ["nvDigest", "TPM2B_DIGEST"],
    ],
  },
  TPMU_ATTEST: {
    kind: "union",
    arms: {
      TPM_ST_ATTEST_CERTIFY: ["certify", "TPMS_CERTIFY_INFO"],
      TPM_ST_ATTEST_CREATION: ["creation", "TPMS_CREATION_INFO"],
      TPM_ST_ATTEST_QUOTE: ["quote", "TPMS_QUOTE_INFO"],
      TPM_ST_ATTEST_COMMAND_AUDIT: ["commandAudit", "TPMS_COMMAND_AUDIT_INFO"],
      TPM_ST_ATTEST_SESSION_AUDIT: ["sessionAudit", "TPMS_SESSION_AUDIT_INFO"],
      TPM_ST_ATTEST_TIME: ["time", "TPMS_TIME_ATTEST_INFO"],
      TPM_ST_ATTEST_NV: ["nv", "TPMS_NV_CERTIFY_INFO"],
      TPM_ST_ATTEST_NV_DIGEST: ["nvDigest", "TPMS_NV_DIGEST_CERTIFY_INFO"],
    },
  },
  TPMS_ATTEST: {
    kind: "structure",
    fields: [
      ["magic", "TPM_GENERATED"],
      ["type", "TPMI_ST_ATTEST"],
      ["qualifiedSigner", "TPM2B_NAME"],
      ["extraData", "TPM2B_DATA"],
      ["clockInfo", "TPMS_CLOCK_INFO"],
      ["firmwareVersion", "UINT64"],
      ["attested", "TPMU_ATTEST", "type"],
    ],
  },
  TPM2B_ATTEST: { kind: "buffer", max: "SIZEOF_TPMS_ATTEST" },
  TPMS_AUTH_COMMAND: {
    kind: "structure",
    fields: [
      ["sessionHandle", "TPMI_SH_AUTH_SESSION+"],
      ["nonce", "TPM2B_NONCE"],
      ["sessionAttributes", "TPMA_SESSION"],
      ["hmac", "TPM2B_AUTH"],
    ],
  },
  TPMS_AUTH_RESPONSE: {
    kind: "structure",
    fields: [
      ["nonce", "TPM2B_NONCE"],
      ["sessionAttributes", "TPMA_SESSION"],
      ["hmac", "TPM2B_AUTH"],
    ],
  },
  TPMT_SYM_DEF: {
    kind: "structure",
    fields: [
      ["algorithm", "+TPMI_ALG_SYM"],
      ["keyBits", "TPMU_SYM_KEY_BITS", "algorithm"],
      ["mode", "TPMU_SYM_MODE", "algorithm"],
    ],
  },
  TPMT_SYM_DEF_OBJECT: {
    kind: "structure",
    fields: [
      ["algorithm", "+TPMI_ALG_SYM_OBJECT"],
      ["keyBits", "TPMU_SYM_KEY_BITS", "algorithm"],
      ["mode", "TPMU_SYM_MODE", "algorithm"],
    ],
  },
  TPM2B_SYM_KEY: { kind: "buffer", max: "MAX_SYM_KEY_BYTES" },
  TPMS_SYMCIPHER_PARMS: {
    kind: "structure",
    fields: [["sym", "TPMT_SYM_DEF_OBJECT"]],
  },
  TPM2B_LABEL: { kind: "buffer", max: "LABEL_MAX_BUFFER" },
  TPMS_DERIVE: {
    kind: "structure",
    fields: [
      ["label", "TPM2B_LABEL"],
      ["context", "TPM2B_LABEL"],
    ],
  },
  TPM2B_SENSITIVE_DATA: { kind: "buffer", max: "SIZEOF_TPMU_SENSITIVE_CREATE" },
  TPMS_SENSITIVE_CREATE: {
    kind: "structure",
    fields: [
      ["userAuth", "TPM2B_AUTH"],
      ["data", "TPM2B_SENSITIVE_DATA"],
    ],
  },
  TPM2B_SENSITIVE_CREATE: { kind: "sized", field: ["sensitive", "TPMS_SENSITIVE_CREATE"] },
  TPMS_SCHEME_HASH: {
    kind: "structure",
    fields: [["hashAlg", "TPMI_ALG_HASH"]],
  },
  TPMS_SCHEME_ECDAA: {
    kind: "structure",
    fields: [
      ["hashAlg", "TPMI_ALG_HASH"],
      ["count", "UINT16"],
    ],
  },
  TPMS_SCHEME_XOR: {
    kind: "structure",
    fields: [
      ["hashAlg", "TPMI_ALG_HASH"],
      ["kdf", "TPMI_ALG_KDF+"],
    ],
  },
  TPMU_SCHEME_KEYEDHASH: {
    kind: "union",
    arms: {
      TPM_ALG_HMAC: ["hmac", "TPMS_SCHEME_HMAC"],
      TPM_ALG_XOR: ["xor", "TPMS_SCHEME_XOR"],
      TPM_ALG_NULL: null,
    },
  },
  TPMT_KEYEDHASH_SCHEME: {
    kind: "structure",
    fields: [
      ["scheme", "+TPMI_ALG_KEYEDHASH_SCHEME"],
      ["details", "TPMU_SCHEME_KEYEDHASH", "scheme"],
    ],
  },
  TPMT_SIG_SCHEME: {
    kind: "structure",
    fields: [
      ["scheme", "+TPMI_ALG_SIG_SCHEME"],
      ["details", "TPMU_SIG_SCHEME", "scheme"],
    ],
  },
  TPMT_KDF_SCHEME: {
    kind: "structure",
    fields: [
      ["scheme", "+TPMI_ALG_KDF"],
      ["details", "TPMU_KDF_SCHEME", "scheme"],
    ],
  },
  TPMT_ASYM_SCHEME: {
    kind: "structure",
    fields: [
      ["scheme", "+TPMI_ALG_ASYM_SCHEME"],
      ["details", "TPMU_ASYM_SCHEME", "scheme"],
    ],
  },
  TPMT_RSA_SCHEME: {
    kind: "structure",
    fields: [
      ["scheme", "+TPMI_ALG_RSA_SCHEME"],
      ["details", "TPMU_ASYM_SCHEME", "scheme"],
    ],
  },
  TPMT_RSA_DECRYPT: {
    kind: "structure",
    fields: [
      ["scheme", "+TPMI_ALG_RSA_DECRYPT"],
      ["details", "TPMU_ASYM_SCHEME", "scheme"],
    ],
  },
  TPM2B_PUBLIC_KEY_RSA: { kind: "buffer", max: "MAX_RSA_KEY_BYTES" },
  TPM2B_PRIVATE_KEY_RSA: { kind: "buffer", max: "RSA_PRIVATE_SIZE" },
  TPM2B_ECC_PARAMETER: { kind: "buffer", max: "MAX_ECC_KEY_BYTES" },
  TPMS_ECC_POINT: {
    kind: "structure",
    fields: [
      ["x", "TPM2B_ECC_PARAMETER"],
      ["y", "TPM2B_ECC_PARAMETER"],
    ],
  },
  TPM2B_ECC_POINT: { kind: "sized", field: ["point", "TPMS_ECC_POINT"] },
  TPMT_ECC_SCHEME: {
    kind: "structure",
    fields: [
      ["scheme", "+TPMI_ALG_ECC_SCHEME"],
      ["details", "TPMU_ASYM_SCHEME", "scheme"],
    ],
  },
  TPMS_ALGORITHM_DETAIL_ECC: {
    kind: "structure",
    fields: [
      ["curveID", "TPM_ECC_CURVE"],
      ["keySize", "UINT16"],
      ["kdf", "TPMT_KDF_SCHEME+"],
      ["sign", "TPMT_ECC_SCHEME+"],
      ["p", "TPM2B_ECC_PARAMETER"],
      ["a", "TPM2B_ECC_PARAMETER"],
      ["b", "TPM2B_ECC_PARAMETER"],
      ["gX", "TPM2B_ECC_PARAMETER"],
      ["gY", "TPM2B_ECC_PARAMETER"],
      ["n", "TPM2B_ECC_PARAMETER"],
      ["h", "TPM2B_ECC_PARAMETER"],
    ],
  },
  TPMS_SIGNATURE_RSA: {
    kind: "structure",
    fields: [
      ["hash", "TPMI_ALG_HASH"],
      ["sig", "TPM2B_PUBLIC_KEY_RSA"],
    ],
  },
  TPMS_SIGNATURE_ECC: {
    kind: "structure",
    fields: [
      ["hash", "TPMI_ALG_HASH"],
      ["signatureR", "TPM2B_ECC_PARAMETER"],
      ["signatureS", "TPM2B_ECC_PARAMETER"],
    ],
  },
  TPMT_SIGNATURE: {
    kind: "structure",
    fields: [
      ["sigAlg", "+TPMI_ALG_SIG_SCHEME"],
      ["signature", "TPMU_SIGNATURE", "sigAlg"],
    ],
  },
  TPM2B_ENCRYPTED_SECRET: { kind: "buffer", max: "SIZEOF_TPMU_ENCRYPTED_SECRET" },
  TPMU_PUBLIC_ID: {
    kind: "union",
    arms: {
      TPM_ALG_KEYEDHASH: ["keyedHash", "TPM2B_DIGEST"],
      TPM_ALG_SYMCIPHER: ["sym", "TPM2B_DIGEST"],
      TPM_ALG_RSA: ["rsa", "TPM2B_PUBLIC_KEY_RSA"],
      TPM_ALG_ECC: ["ecc", "TPMS_ECC_POINT"],
    },
  },
  TPMS_KEYEDHASH_PARMS: {
    kind: "structure",
    fields: [["scheme", "TPMT_KEYEDHASH_SCHEME+"]],
  },
  TPMS_RSA_PARMS: {
    kind: "structure",
    fields: [
      ["symmetric", "TPMT_SYM_DEF_OBJECT+"],
      ["scheme", "TPMT_RSA_SCHEME+"],
      ["keyBits", "TPMI_RSA_KEY_BITS"],
      ["exponent", "UINT32"],
    ],
  },
  TPMS_ECC_PARMS: {
    kind: "structure",
    fields: [
      ["symmetric", "TPMT_SYM_DEF_OBJECT+"],
      ["scheme", "TPMT_ECC_SCHEME+"],
      ["curveID", "TPMI_ECC_CURVE"],
      ["kdf", "TPMT_KDF_SCHEME+"],
    ],
  },
  TPMU_PUBLIC_PARMS: {
    kind: "union",
    arms: {
      TPM_ALG_KEYEDHASH: ["keyedHashDetail", "TPMS_KEYEDHASH_PARMS"],
      TPM_ALG_SYMCIPHER: ["symDetail", "TPMS_SYMCIPHER_PARMS"],
      TPM_ALG_RSA: ["rsaDetail", "TPMS_RSA_PARMS"],
      TPM_ALG_ECC: ["eccDetail", "TPMS_ECC_PARMS"],
    },
  },
  TPMT_PUBLIC_PARMS: {
    kind: "structure",
    fields: [
      ["type", "TPMI_ALG_PUBLIC"],
      ["parameters", "TPMU_PUBLIC_PARMS", "type"],
    ],
  },
  TPMT_PUBLIC: {
    kind: "structure",
    fields: [
      ["type", "TPMI_ALG_PUBLIC"],
      ["nameAlg", "+TPMI_ALG_HASH"],
      ["objectAttributes", "TPMA_OBJECT"],
      ["authPolicy", "TPM2B_DIGEST"],
      ["parameters", "TPMU_PUBLIC_PARMS", "type"],
      ["unique", "TPMU_PUBLIC_ID", "type"],
    ],
  },
  TPM2B_PUBLIC: { kind: "sized", field: ["publicArea", "+TPMT_PUBLIC"] },
  TPM2B_TEMPLATE: { kind: "buffer", max: "SIZEOF_TPMT_PUBLIC" },
  TPMU_SENSITIVE_COMPOSITE: {
    kind: "union",
    arms: {
      TPM_ALG_RSA: ["rsa", "TPM2B_PRIVATE_KEY_RSA"],
      TPM_ALG_ECC: ["ecc", "TPM2B_ECC_PARAMETER"],
      TPM_ALG_KEYEDHASH: ["bits", "TPM2B_SENSITIVE_DATA"],
      TPM_ALG_SYMCIPHER: ["sym", "TPM2B_SYM_KEY"],
    },
  },
  TPMT_SENSITIVE: {
    kind: "structure",
    fields: [
      ["sensitiveType", "TPMI_ALG_PUBLIC"],
      ["authValue", "TPM2B_AUTH"],
      ["seedValue", "TPM2B_DIGEST"],
      ["sensitive", "TPMU_SENSITIVE_COMPOSITE", "sensitiveType"],
    ],
  },
  TPM2B_SENSITIVE: { kind: "sized", field: ["sensitiveArea", "TPMT_SENSITIVE"], mayBeEmpty: true },
  TPM2B_PRIVATE: { kind: "buffer", max: "SIZEOF__PRIVATE" },
  TPMS_ID_OBJECT: {
    kind: "structure",
    fields: [
      ["integrityHMAC", "TPM2B_DIGEST"],
      ["encIdentity", "TPM2B_DIGEST"],
    ],
  },
  TPM2B_ID_OBJECT: { kind: "buffer", max: "SIZEOF_TPMS_ID_OBJECT" },
  TPMS_NV_PIN_COUNTER_PARAMETERS: {
    kind: "structure",
    fields: [
      ["pinCount", "UINT32"],
      ["pinLimit", "UINT32"],
    ],
  },
  TPMS_NV_PUBLIC: {
    kind: "structure",
    fields: [
      ["nvIndex", "TPMI_RH_NV_INDEX"],
      ["nameAlg", "TPMI_ALG_HASH"],
      ["attributes", "TPMA_NV"],
      ["authPolicy", "TPM2B_DIGEST"],
      ["dataSize", "NV_DATA_SIZE"],
    ],
  },
  TPM2B_NV_PUBLIC: { kind: "sized", field: ["nvPublic", "TPMS_NV_PUBLIC"] },
  TPM2B_CONTEXT_SENSITIVE: { kind: "buffer", max: "MAX_CONTEXT_SIZE" },
  TPMS_CONTEXT_DATA: {
    kind: "structure",
    fields: [
      ["integrity", "TPM2B_DIGEST"],
      ["encrypted", "TPM2B_CONTEXT_SENSITIVE"],
    ],
  },
  TPM2B_CONTEXT_DATA: { kind: "buffer", max: "SIZEOF_TPMS_CONTEXT_DATA" },
  TPMS_CONTEXT: {
    kind: "structure",
    fields: [
      ["sequence", "UINT64"],
      ["savedHandle", "TPMI_DH_SAVED"],
      ["hierarchy", "TPMI_RH_HIERARCHY+"],
      ["contextBlob", "TPM2B_CONTEXT_DATA"],
    ],
  },
  TPMS_CREATION_DATA: {
    kind: "structure",
    fields: [
      ["pcrSelect", "TPML_PCR_SELECTION"],
      ["pcrDigest", "TPM2B_DIGEST"],
      ["locality", "TPMA_LOCALITY"],
      ["parentNameAlg", "TPM_ALG_ID"],
      ["parentName", "TPM2B_NAME"],
      ["parentQualifiedName", "TPM2B_NAME"],
      ["outsideInfo", "TPM2B_DATA"],
    ],
  },
  TPM2B_CREATION_DATA: { kind: "sized", field: ["creationData", "TPMS_CREATION_DATA"] },
  TPMS_AC_OUTPUT: {
    kind: "structure",
    fields: [
      ["tag", "TPM_AT"],
      ["data", "UINT32"],
    ],
  },
  TPML_AC_CAPABILITIES: {
    kind: "list",
    name: "acCapabilities",
    element: "TPMS_AC_OUTPUT",
    max: "MAX_AC_CAPABILITIES",
    error: "TPM_RC_SIZE",
  },

  // Unions whose arms the specification writes as "one for each algorithm of a class".
  TPMU_SYM_KEY_BITS: {
    kind: "union",
    arms: {
      TPM_ALG_TDES: ["tdes", "TPMI_TDES_KEY_BITS"],
      TPM_ALG_AES: ["aes", "TPMI_AES_KEY_BITS"],
      TPM_ALG_SM4: ["sm4", "TPMI_SM4_KEY_BITS"],
      TPM_ALG_CAMELLIA: ["camellia", "TPMI_CAMELLIA_KEY_BITS"],
      TPM_ALG_XOR: ["xor", "TPMI_ALG_HASH"],
      TPM_ALG_NULL: null,
    },
  },
  TPMU_SYM_MODE: {
    kind: "union",
    arms: {
      TPM_ALG_TDES: ["tdes", "TPMI_ALG_SYM_MODE+"],
      TPM_ALG_AES: ["aes", "TPMI_ALG_SYM_MODE+"],
      TPM_ALG_SM4: ["sm4", "TPMI_ALG_SYM_MODE+"],
      TPM_ALG_CAMELLIA: ["camellia", "TPMI_ALG_SYM_MODE+"],
      TPM_ALG_XOR: null,
      TPM_ALG_NULL: null,
    },
  },
  TPMS_SCHEME_HMAC: { kind: "alias", of: "TPMS_SCHEME_HASH" },
  TPMU_SIG_SCHEME: {
    kind: "union",
    arms: {
      TPM_ALG_RSASSA: ["rsassa", "TPMS_SCHEME_HASH"],
      TPM_ALG_RSAPSS: ["rsapss", "TPMS_SCHEME_HASH"],
      TPM_ALG_ECDSA: ["ecdsa", "TPMS_SCHEME_HASH"],
      TPM_ALG_ECDAA: ["ecdaa", "TPMS_SCHEME_ECDAA"],
      TPM_ALG_SM2: ["sm2", "TPMS_SCHEME_HASH"],
      TPM_ALG_ECSCHNORR: ["ecschnorr", "TPMS_SCHEME_HASH"],
      TPM_ALG_HMAC: ["hmac", "TPMS_SCHEME_HASH"],
      TPM_ALG_NULL: null,
    },
  },
  TPMU_KDF_SCHEME: {
    kind: "union",
    arms: {
      TPM_ALG_MGF1: ["mgf1", "TPMS_SCHEME_HASH"],
      TPM_ALG_KDF1_SP800_56A: ["kdf1_sp800_56a", "TPMS_SCHEME_HASH"],
      TPM_ALG_KDF2: ["kdf2", "TPMS_SCHEME_HASH"],
      TPM_ALG_KDF1_SP800_108: ["kdf1_sp800_108", "TPMS_SCHEME_HASH"],
      TPM_ALG_NULL: null,
    },
  },
  TPMU_ASYM_SCHEME: {
    kind: "union",
    arms: {
      TPM_ALG_ECDH: ["ecdh", "TPMS_SCHEME_HASH"],
      TPM_ALG_ECMQV: ["ecmqv", "TPMS_SCHEME_HASH"],
      TPM_ALG_RSASSA: ["rsassa", "TPMS_SCHEME_HASH"],
      TPM_ALG_RSAPSS: ["rsapss", "TPMS_SCHEME_HASH"],
      TPM_ALG_ECDSA: ["ecdsa", "TPMS_SCHEME_HASH"],
      TPM_ALG_ECDAA: ["ecdaa", "TPMS_SCHEME_ECDAA"],
      TPM_ALG_SM2: ["sm2", "TPMS_SCHEME_HASH"],
      TPM_ALG_ECSCHNORR: ["ecschnorr", "TPMS_SCHEME_HASH"],
      TPM_ALG_RSAES: null,
      TPM_ALG_OAEP: ["oaep", "TPMS_SCHEME_HASH"],
      TPM_ALG_NULL: null,
    },
  },
  TPMU_SIGNATURE: {
    kind: "union",
    arms: {
      TPM_ALG_RSASSA: ["rsassa", "TPMS_SIGNATURE_RSA"],
      TPM_ALG_RSAPSS: ["rsapss", "TPMS_SIGNATURE_RSA"],
      TPM_ALG_ECDSA: ["ecdsa", "TPMS_SIGNATURE_ECC"],
      TPM_ALG_ECDAA: ["ecdaa", "TPMS_SIGNATURE_ECC"],
      TPM_ALG_SM2: ["sm2", "TPMS_SIGNATURE_ECC"],
      TPM_ALG_ECSCHNORR: ["ecschnorr", "TPMS_SIGNATURE_ECC"],
      TPM_ALG_HMAC: ["hmac", "TPMT_HA"],
      TPM_ALG_NULL: null,
    },
  },

  // Version 1.83 and 1.84.
  TPMS_NV_PUBLIC_EXP_ATTR: {
    kind: "structure",
    fields: [
      ["nvIndex", "TPMI_RH_NV_EXP_INDEX"],
      ["nameAlg", "TPMI_ALG_HASH"],
      ["attributes", "TPMA_NV_EXP"],
      ["authPolicy", "TPM2B_DIGEST"],
      ["dataSize", "NV_DATA_SIZE"],
    ],
  },
  TPMU_NV_PUBLIC_2: {
    kind: "union",
    arms: {
      TPM_HT_NV_INDEX: ["nvIndex", "TPMS_NV_PUBLIC"],
      TPM_HT_EXTERNAL_NV: ["externalNV", "TPMS_NV_PUBLIC_EXP_ATTR"],
      TPM_HT_PERMANENT_NV: ["permanentNV", "TPMS_NV_PUBLIC"],
    },
  },
  TPMT_NV_PUBLIC_2: {
    kind: "structure",
    fields: [
      ["handleType", "TPM_HT"],
      ["nvPublic2", "TPMU_NV_PUBLIC_2", "handleType"],
    ],
  },
  TPM2B_NV_PUBLIC_2: { kind: "sized", field: ["nvPublic2", "TPMT_NV_PUBLIC_2"] },
  TPM2B_SET_CAPABILITY_DATA: { kind: "buffer", max: "MAX_CAP_BUFFER" },
  TPMS_SPDM_SESSION_INFO: {
    kind: "structure",
    fields: [
      ["reqKeyName", "TPM2B_NAME"],
      ["tpmKeyName", "TPM2B_NAME"],
    ],
  },
  TPML_SPDM_SESSION_INFO: {
    kind: "list",
    name: "spdmSessionInfo",
    element: "TPMS_SPDM_SESSION_INFO",
    max: "MAX_SPDM_SESS_INFO",
    error: "TPM_RC_SIZE",
  },
  TPML_PUB_KEY: { kind: "list", name: "pubKeys", element: "TPM2B_PUBLIC", max: "MAX_PUB_KEYS", error: "TPM_RC_SIZE" },
};
