// TCG Algorithm Registry: identifiers, and what each algorithm is (its "Type" column).
// A asymmetric, S symmetric, H hash, X signing, N anonymous signing, E encryption, M method, O object.

export interface AlgorithmDefinition {
  /** TPM_ALG_ID. */
  readonly id: number;
  /** The letters of the registry. */
  readonly type: string;
}

export const algorithms: Record<string, AlgorithmDefinition> = {
  TPM_ALG_RSA: { id: 0x0001, type: "AO" },
  TPM_ALG_TDES: { id: 0x0003, type: "S" },
  TPM_ALG_SHA1: { id: 0x0004, type: "H" },
  TPM_ALG_HMAC: { id: 0x0005, type: "HX" },
  TPM_ALG_AES: { id: 0x0006, type: "S" },
  TPM_ALG_MGF1: { id: 0x0007, type: "HM" },
  TPM_ALG_KEYEDHASH: { id: 0x0008, type: "HOS" },
  TPM_ALG_XOR: { id: 0x000a, type: "HS" },
  TPM_ALG_SHA256: { id: 0x000b, type: "H" },
  TPM_ALG_SHA384: { id: 0x000c, type: "H" },
  TPM_ALG_SHA512: { id: 0x000d, type: "H" },
  TPM_ALG_SHA256_192: { id: 0x000e, type: "H" },
  TPM_ALG_NULL: { id: 0x0010, type: "" },
  TPM_ALG_SM3_256: { id: 0x0012, type: "H" },
  TPM_ALG_SM4: { id: 0x0013, type: "S" },
  TPM_ALG_RSASSA: { id: 0x0014, type: "AX" },
  TPM_ALG_RSAES: { id: 0x0015, type: "AE" },
  TPM_ALG_RSAPSS: { id: 0x0016, type: "AX" },
  TPM_ALG_OAEP: { id: 0x0017, type: "AEH" },
  TPM_ALG_ECDSA: { id: 0x0018, type: "AX" },
  TPM_ALG_ECDH: { id: 0x0019, type: "AM" },
  TPM_ALG_ECDAA: { id: 0x001a, type: "AXN" },
  TPM_ALG_SM2: { id: 0x001b, type: "AX" },
  TPM_ALG_ECSCHNORR: { id: 0x001c, type: "AX" },
  TPM_ALG_ECMQV: { id: 0x001d, type: "AM" },
  TPM_ALG_KDF1_SP800_56A: { id: 0x0020, type: "HM" },
  TPM_ALG_KDF2: { id: 0x0021, type: "HM" },
  TPM_ALG_KDF1_SP800_108: { id: 0x0022, type: "HM" },
  TPM_ALG_ECC: { id: 0x0023, type: "AO" },
  TPM_ALG_SYMCIPHER: { id: 0x0025, type: "OS" },
  TPM_ALG_CAMELLIA: { id: 0x0026, type: "S" },
  TPM_ALG_SHA3_256: { id: 0x0027, type: "H" },
  TPM_ALG_SHA3_384: { id: 0x0028, type: "H" },
  TPM_ALG_SHA3_512: { id: 0x0029, type: "H" },
  TPM_ALG_SHAKE128: { id: 0x002a, type: "H" },
  TPM_ALG_SHAKE256: { id: 0x002b, type: "H" },
  TPM_ALG_SHAKE256_192: { id: 0x002c, type: "H" },
  TPM_ALG_CMAC: { id: 0x003f, type: "SX" },
  TPM_ALG_CTR: { id: 0x0040, type: "SE" },
  TPM_ALG_OFB: { id: 0x0041, type: "SE" },
  TPM_ALG_CBC: { id: 0x0042, type: "SE" },
  TPM_ALG_CFB: { id: 0x0043, type: "SE" },
  TPM_ALG_ECB: { id: 0x0044, type: "SE" },
};
