// The engine's own records, in the notation of the structures: what libtpms keeps in OBJECT, SESSION and its global data, field
// by field, so that the state formats have a place for everything. "BYTES(n)" is n raw bytes.
import type { FieldDefinition, StructureDefinition } from "./types.ts";

/** Buffers that only the engine uses. */
export const engineStructures: Record<string, StructureDefinition> = {
  TPM2B_SEED: { kind: "buffer", max: "PRIMARY_SEED_SIZE" },
  TPM2B_PROOF: { kind: "buffer", max: "PROOF_SIZE" },
  TPM2B_HMAC_KEY: { kind: "buffer", max: "MAX_HMAC_BLOCK_SIZE" },
  TPM2B_PRIME: { kind: "buffer", max: "MAX_RSA_PRIME_BYTES" },
};

export const engineRecords: Record<string, readonly FieldDefinition[]> = {
  /** The private exponent of an RSA key beside its prime P: big-endian numbers. */
  PRIVATE_EXPONENT: [
    ["Q", "TPM2B_PRIME"],
    ["dP", "TPM2B_PRIME"],
    ["dQ", "TPM2B_PRIME"],
    ["qInv", "TPM2B_PRIME"],
  ],
  /** A loaded object. */
  OBJECT: [
    ["attributes", "UINT32"],
    ["publicArea", "TPMT_PUBLIC"],
    ["sensitive", "TPMT_SENSITIVE"],
    ["privateExponent", "PRIVATE_EXPONENT"],
    ["qualifiedName", "TPM2B_NAME"],
    ["evictHandle", "TPM_HANDLE"],
    ["name", "TPM2B_NAME"],
    ["seedCompatLevel", "UINT8"],
    ["hierarchy", "TPM_HANDLE"],
  ],
  /** A loaded sequence object: the same slot, the same attributes word. `states`: HASH_COUNT hash states, or one HMAC state. */
  HASH_OBJECT: [
    ["attributes", "UINT32"],
    ["type", "TPM_ALG_ID"],
    ["nameAlg", "TPM_ALG_ID"],
    ["objectAttributes", "UINT32"],
    ["auth", "TPM2B_AUTH"],
    ["states", "BYTES(1400)"],
  ],
  SESSION: [
    ["attributes", "UINT32"],
    ["pcrCounter", "UINT32"],
    ["startTime", "UINT64"],
    ["timeout", "UINT64"],
    ["epoch", "UINT32"],
    ["commandCode", "UINT32"],
    ["authHashAlg", "TPM_ALG_ID"],
    ["commandLocality", "UINT8"],
    ["symmetric", "TPMT_SYM_DEF"],
    ["sessionKey", "TPM2B_AUTH"],
    ["nonceTPM", "TPM2B_NONCE"],
    /** boundEntity, cpHash, nameHash, templateHash or parameters hash. */
    ["u1", "TPM2B_NAME"],
    /** policyDigest or auditDigest. */
    ["u2", "TPM2B_DIGEST"],
  ],
  /** What survives everything (libtpms: gp). */
  PERSISTENT_DATA: [
    ["disableClear", "UINT8"],
    ["ownerAlg", "TPM_ALG_ID"],
    ["endorsementAlg", "TPM_ALG_ID"],
    ["lockoutAlg", "TPM_ALG_ID"],
    ["ownerPolicy", "TPM2B_DIGEST"],
    ["endorsementPolicy", "TPM2B_DIGEST"],
    ["lockoutPolicy", "TPM2B_DIGEST"],
    ["ownerAuth", "TPM2B_AUTH"],
    ["endorsementAuth", "TPM2B_AUTH"],
    ["lockoutAuth", "TPM2B_AUTH"],
    ["EPSeed", "TPM2B_SEED"],
    ["SPSeed", "TPM2B_SEED"],
    ["PPSeed", "TPM2B_SEED"],
    ["phProof", "TPM2B_PROOF"],
    ["shProof", "TPM2B_PROOF"],
    ["ehProof", "TPM2B_PROOF"],
    ["totalResetCount", "UINT64"],
    ["resetCount", "UINT32"],
    ["pcrPolicyAlg", "TPM_ALG_ID"],
    ["pcrPolicy", "TPM2B_DIGEST"],
    /** The banks after the next TPM Reset, and those in force. */
    ["pcrAllocated", "TPML_PCR_SELECTION"],
    ["pcrActive", "TPML_PCR_SELECTION"],
    ["ppList", "BYTES(16)"],
    ["failedTries", "UINT32"],
    ["maxTries", "UINT32"],
    ["recoveryTime", "UINT32"],
    ["lockoutRecovery", "UINT32"],
    ["lockOutAuthEnabled", "UINT8"],
    ["orderlyState", "UINT16"],
    ["auditCommands", "BYTES(16)"],
    ["auditHashAlg", "TPM_ALG_ID"],
    ["auditCounter", "UINT64"],
    ["algorithmSet", "UINT32"],
    ["firmwareV1", "UINT32"],
    ["firmwareV2", "UINT32"],
    ["timeEpoch", "UINT32"],
    ["EPSeedCompatLevel", "UINT8"],
    ["SPSeedCompatLevel", "UINT8"],
    ["PPSeedCompatLevel", "UINT8"],
  ],
  /** Written at an orderly shutdown, lost otherwise (libtpms: go). */
  ORDERLY_DATA: [
    ["clock", "UINT64"],
    ["clockSafe", "UINT8"],
    ["drbgState", "BYTES(88)"],
    ["selfHealTimer", "UINT64"],
    ["lockoutTimer", "UINT64"],
    ["time", "UINT64"],
  ],
  /** Set to defaults at TPM Restart, kept at TPM Resume (libtpms: gc). */
  STATE_CLEAR: [
    ["shEnable", "UINT8"],
    ["ehEnable", "UINT8"],
    ["phEnableNV", "UINT8"],
    ["platformAlg", "TPM_ALG_ID"],
    ["platformPolicy", "TPM2B_DIGEST"],
    ["platformAuth", "TPM2B_AUTH"],
    /** PCR 0-15 as TPM2_Shutdown(STATE) saved them: 16 digests of each bank, one bank after another. */
    ["pcrSave", "BYTES(2624)"],
    ["pcrAuthValue", "TPM2B_AUTH"],
  ],
  /** Set to defaults at TPM Reset, kept at TPM Restart (libtpms: gr). */
  STATE_RESET: [
    ["nullProof", "TPM2B_PROOF"],
    ["nullSeed", "TPM2B_SEED"],
    ["nullSeedCompatLevel", "UINT8"],
    ["clearCount", "UINT32"],
    ["objectContextID", "UINT64"],
    ["contextArray", "BYTES(128)"],
    ["contextSlotMask", "UINT16"],
    ["contextCounter", "UINT64"],
    ["commandAuditDigest", "TPM2B_DIGEST"],
    ["restartCount", "UINT32"],
    ["pcrCounter", "UINT32"],
    ["commitCounter", "UINT64"],
    ["commitNonce", "TPM2B_NONCE"],
    ["commitArray", "BYTES(16)"],
  ],
  /** An NV Index: its public area and authorization; the data follows in the NV memory. */
  NV_INDEX: [
    ["publicArea", "TPMS_NV_PUBLIC"],
    ["authValue", "TPM2B_AUTH"],
  ],
};
