// libtpms' profiles: what a profile can select, and the profiles that are built in. As of libtpms 0.11.

/** The newest StateFormatLevel: a level says which newer features a TPM may use, and so which libtpms can read its state. */
export const stateFormatLevelCurrent = 8;

export interface ProfileAlgorithm {
  /** The word in a profile's "Algorithms". */
  readonly word: string;
  /** TPM_ALG_ID. */
  readonly id: string;
  /** A profile may leave it out. */
  readonly optional: boolean;
  /** Key sizes in bits, each with the StateFormatLevel that has it: WORD-min-size=BITS sets a lower bound. */
  readonly keySizes?: Readonly<Record<number, number>>;
  /** WORD-min-key-size=BITS sets a lower bound; needs this StateFormatLevel. */
  readonly minKeySizeLevel?: number;
}

const required = (word: string, id: string, rest: Partial<ProfileAlgorithm> = {}): ProfileAlgorithm => ({
  word,
  id: `TPM_ALG_${id}`,
  optional: false,
  ...rest,
});
const optional = (word: string, id: string, rest: Partial<ProfileAlgorithm> = {}): ProfileAlgorithm => ({
  ...required(word, id, rest),
  optional: true,
});

/** In the order of the identifiers. All need StateFormatLevel 1 only, apart from some key sizes. */
export const profileAlgorithms: readonly ProfileAlgorithm[] = [
  required("rsa", "RSA", { keySizes: { 1024: 1, 2048: 1, 3072: 1, 4096: 8 } }),
  optional("tdes", "TDES", { keySizes: { 128: 1, 192: 1 } }),
  optional("sha1", "SHA1"),
  required("hmac", "HMAC", { minKeySizeLevel: 7 }),
  required("aes", "AES", { keySizes: { 128: 1, 192: 4, 256: 1 } }),
  required("mgf1", "MGF1"),
  required("keyedhash", "KEYEDHASH"),
  required("xor", "XOR"),
  required("sha256", "SHA256"),
  required("sha384", "SHA384"),
  optional("sha512", "SHA512"),
  required("null", "NULL"),
  optional("rsassa", "RSASSA"),
  optional("rsaes", "RSAES"),
  optional("rsapss", "RSAPSS"),
  required("oaep", "OAEP"),
  required("ecdsa", "ECDSA"),
  required("ecdh", "ECDH"),
  optional("ecdaa", "ECDAA"),
  optional("sm2", "SM2"),
  optional("ecschnorr", "ECSCHNORR"),
  optional("ecmqv", "ECMQV"),
  required("kdf1-sp800-56a", "KDF1_SP800_56A"),
  required("kdf2", "KDF2"),
  required("kdf1-sp800-108", "KDF1_SP800_108"),
  required("ecc", "ECC", { keySizes: { 192: 1, 224: 1, 256: 1, 384: 1, 521: 1, 638: 1 } }),
  required("symcipher", "SYMCIPHER"),
  optional("camellia", "CAMELLIA", { keySizes: { 128: 1, 192: 4, 256: 1 } }),
  optional("cmac", "CMAC"),
  optional("ctr", "CTR"),
  optional("ofb", "OFB"),
  optional("cbc", "CBC"),
  required("cfb", "CFB"),
  optional("ecb", "ECB"),
];

export interface ProfileCurve {
  readonly word: string;
  /** TPM_ECC_CURVE. */
  readonly id: string;
  /** Key size in bits. */
  readonly size: number;
  readonly optional: boolean;
}

/** In the order of the identifiers. */
export const profileCurves: readonly ProfileCurve[] = [
  { word: "ecc-nist-p192", id: "TPM_ECC_NIST_P192", size: 192, optional: true },
  { word: "ecc-nist-p224", id: "TPM_ECC_NIST_P224", size: 224, optional: true },
  { word: "ecc-nist-p256", id: "TPM_ECC_NIST_P256", size: 256, optional: false },
  { word: "ecc-nist-p384", id: "TPM_ECC_NIST_P384", size: 384, optional: false },
  { word: "ecc-nist-p521", id: "TPM_ECC_NIST_P521", size: 521, optional: true },
  { word: "ecc-bn-p256", id: "TPM_ECC_BN_P256", size: 256, optional: true },
  { word: "ecc-bn-p638", id: "TPM_ECC_BN_P638", size: 638, optional: true },
  { word: "ecc-sm2-p256", id: "TPM_ECC_SM2_P256", size: 256, optional: true },
];

/** Words for all curves whose words begin with WORD-p. */
export const profileCurveFamilies: readonly string[] = ["ecc-nist", "ecc-bn"];

/** Commands that no profile can leave out. */
export const requiredCommands: readonly number[] = [
  0x120, 0x129, 0x12b, 0x131, 0x13c, 0x143, 0x144, 0x145, 0x148, 0x14e, 0x153, 0x156, 0x157, 0x158, 0x15c, 0x165, 0x169,
  0x173, 0x176, 0x17a, 0x17c, 0x17d, 0x17e, 0x182, 0x185, 0x186,
];

/** Command codes that a profile can select, by the StateFormatLevel they need: first and last of each range. */
export const selectableCommands: readonly (readonly [level: number, first: number, last: number])[] = [
  [1, 0x11f, 0x122],
  [1, 0x124, 0x12e],
  [1, 0x130, 0x140],
  [1, 0x142, 0x159],
  [1, 0x15b, 0x15e],
  [1, 0x160, 0x165],
  [1, 0x167, 0x174],
  [1, 0x176, 0x178],
  [1, 0x17a, 0x193],
  [1, 0x197, 0x197],
  [3, 0x199, 0x19a],
  [5, 0x19b, 0x19c],
];

/** The StateFormatLevel that attributes need. */
export const attributesLevel = 7;

/** "Attributes" of a profile, and the bits of the engine's PROFILE_* constants that each of them sets. */
export const profileAttributes: Readonly<Record<string, number>> = {
  "no-unpadded-encryption": 1,
  "no-sha1-signing": 2,
  "no-sha1-verification": 4,
  "no-sha1-hmac-creation": 8,
  "no-sha1-hmac-verification": 16,
  "no-sha1-hmac": 8 | 16,
  "fips-host": 1 | 2 | 4,
  "drbg-continous-test": 32,
  pct: 64,
  "no-ecc-key-derivation": 128,
};

const commandsOf09 =
  "0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x159,0x15b-0x15e,0x160-0x165,0x167-0x174,0x176-0x178,0x17a-0x193,0x197";
const allCommands = `${commandsOf09},0x199-0x19c`;

/** The "Algorithms" of all built-in profiles. */
export const builtInAlgorithms =
  "rsa,rsa-min-size=1024,tdes,tdes-min-size=128,sha1,hmac,aes,aes-min-size=128,mgf1,keyedhash,xor,sha256,sha384,sha512," +
  "null,rsassa,rsaes,rsapss,oaep,ecdsa,ecdh,ecdaa,sm2,ecschnorr,ecmqv,kdf1-sp800-56a,kdf2,kdf1-sp800-108,ecc," +
  "ecc-min-size=192,ecc-nist,ecc-bn,ecc-sm2-p256,symcipher,camellia,camellia-min-size=128,cmac,ctr,ofb,cbc,cfb,ecb";

export interface BuiltInProfile {
  readonly name: string;
  /** Of a profile that may be changed it is the least. */
  readonly stateFormatLevel: number;
  readonly commands: string;
  /** Part of the TPM's stored state, so libtpms' to the letter. */
  readonly description: string;
  /** Commands, algorithms, attributes and the level are the user's choice; names may go on after "NAME:". */
  readonly modifiable: boolean;
}

/** In the order in which libtpms lists them. */
export const builtInProfiles: readonly BuiltInProfile[] = [
  {
    name: "default-v2",
    stateFormatLevel: stateFormatLevelCurrent,
    commands: allCommands,
    description:
      "This profile enables all libtpms v0.11-supported commands and algorithms. This profile is compatible with " +
      "libtpms >= v0.11.",
    modifiable: false,
  },
  {
    name: "default-v1",
    stateFormatLevel: 7,
    commands: allCommands,
    description:
      "This profile enables all libtpms v0.10-supported commands and algorithms. This profile is compatible with " +
      "libtpms >= v0.10.",
    modifiable: false,
  },
  {
    name: "null",
    stateFormatLevel: 1,
    commands: commandsOf09,
    description:
      "The profile enables the commands and algorithms that were enabled in libtpms v0.9. This profile is automatically " +
      "used when the state does not have a profile, for example when it was created by libtpms v0.9 or before. This " +
      "profile enables compatibility with libtpms >= v0.9.",
    modifiable: false,
  },
  {
    name: "custom",
    stateFormatLevel: 2,
    commands: allCommands,
    description:
      "This profile allows customization of enabled algorithms and commands. This profile requires at least libtpms " +
      "v0.10.",
    modifiable: true,
  },
];
