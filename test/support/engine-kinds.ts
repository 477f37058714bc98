// Kinds of objects and policies for random sequences, as tables of the bytes that a TPM is sent.
import { createECDH, createHash } from "node:crypto";
import { RH, sized, u16, u32 } from "./engine-steps.ts";

export interface ObjectKind {
  readonly name: string;
  /** What can be done with it: see `object` and `key` of UserMemory. */
  readonly uses: readonly string[];
  /** TPMI_ALG_PUBLIC. */
  readonly type: number;
  /** TPMA_OBJECT without those that any object may have. */
  readonly attributes: number;
  /** TPMU_PUBLIC_PARMS and an empty TPMU_PUBLIC_ID, or one with what a template has there. */
  readonly parameters: string;
  readonly unique: string;
  /** A scheme for what the key signs or encrypts; TPM_ALG_NULL if the key has its own. */
  readonly scheme?: string;
  /** Its sensitive data is the caller's. */
  readonly data?: readonly string[];
}

export const ATTRIBUTE = {
  fixedTPM: 2,
  stClear: 4,
  fixedParent: 16,
  sensitiveDataOrigin: 32,
  userWithAuth: 64,
  adminWithPolicy: 128,
  noDA: 1024,
  encryptedDuplication: 2048,
  restricted: 0x10000,
  decrypt: 0x20000,
  sign: 0x40000,
  x509sign: 0x80000,
} as const;

const { restricted, decrypt, sign, x509sign } = ATTRIBUTE;
const [RSA, KEYEDHASH, ECC, SYMCIPHER] = [1, 8, 0x23, 0x25];
const AES128CFB = "000600800043";
const [NULL, SHA1, SHA256, SHA384] = ["0010", "0004", "000b", "000c"];
const P256 = "0003";
const NO_POINT = "00000000";

const ecc = (name: string, uses: string, attributes: number, parameters: string, scheme?: string): ObjectKind => ({
  name,
  uses: ["any", "ecc", ...uses.split(" ")],
  type: ECC,
  attributes,
  parameters,
  unique: NO_POINT,
  ...(scheme ? { scheme } : {}),
});
const rsa = (name: string, uses: string, attributes: number, parameters: string, scheme?: string): ObjectKind => ({
  name,
  uses: ["any", "rsa", ...uses.split(" ")],
  type: RSA,
  attributes,
  parameters: `${parameters}040000000000`,
  unique: "0000",
  ...(scheme ? { scheme } : {}),
});

/** What takes next to no time to make. */
export const CHEAP_KINDS: readonly ObjectKind[] = [
  ecc("storage key", "parent dh", restricted | decrypt, `${AES128CFB}${NULL}${P256}${NULL}`),
  ecc("storage key with AES-256", "parent dh", restricted | decrypt, `000601000043${NULL}${P256}${NULL}`),
  ecc("ECDSA key", "sign", sign, `${NULL}0018${SHA256}${P256}${NULL}`, NULL),
  ecc("ECC key without scheme", "sign dh commit", sign | decrypt, `${NULL}${NULL}${P256}${NULL}`, `0018${SHA256}`),
  ecc("attestation key", "sign attest", sign | restricted, `${NULL}0018${SHA256}${P256}${NULL}`, NULL),
  ecc("ECSchnorr key", "sign", sign, `${NULL}001c${SHA256}${P256}${NULL}`, NULL),
  ecc("ECDAA key", "commit ecdaa", sign, `${NULL}001a${SHA256}0000${P256}${NULL}`, NULL),
  ecc("x509 key", "sign x509", sign | x509sign, `${NULL}0018${SHA256}${P256}${NULL}`, NULL),
  ecc("ECDH key", "dh exchange", decrypt, `${NULL}0019${SHA256}${P256}${NULL}`),
  ecc("ECC decryption key", "dh exchange eccDecrypt", decrypt, `${NULL}${NULL}${P256}${NULL}`),
  ecc("P-192 key", "sign dh", sign | decrypt, `${NULL}${NULL}0001${NULL}`, `0018${SHA1}`),
  {
    name: "symmetric parent",
    uses: ["any", "parent"],
    type: SYMCIPHER,
    attributes: restricted | decrypt,
    parameters: AES128CFB,
    unique: "0000",
  },
  ...[
    ["AES-CFB key", "000600800043"],
    ["AES-CBC key", "000600800042"],
    ["AES-CTR key", "000601000040"],
    ["AES key without mode", "000600800010"],
    ["Camellia key", "002600800043"],
  ].map(([name, parameters]) => ({
    name: name!,
    uses: ["any", "cipher"],
    type: SYMCIPHER,
    attributes: sign | decrypt,
    parameters: parameters!,
    unique: "0000",
  })),
  {
    name: "CMAC key",
    uses: ["any", "mac"],
    type: SYMCIPHER,
    attributes: sign,
    parameters: "00060080003f",
    unique: "0000",
  },
  {
    name: "HMAC key",
    uses: ["any", "mac", "hmac"],
    type: KEYEDHASH,
    attributes: sign,
    parameters: `0005${SHA256}`,
    unique: "0000",
  },
  {
    name: "HMAC attestation key",
    uses: ["any", "attest", "hmac"],
    type: KEYEDHASH,
    attributes: sign | restricted,
    parameters: `0005${SHA384}`,
    unique: "0000",
  },
  {
    name: "derivation parent",
    uses: ["any", "derive"],
    type: KEYEDHASH,
    attributes: restricted | decrypt,
    parameters: `000a${SHA256}0022`,
    unique: "0000",
  },
  {
    name: "sealed data",
    uses: ["any", "seal"],
    type: KEYEDHASH,
    attributes: 0,
    parameters: NULL!,
    unique: "0000",
    data: ["00", "736563726574", "aa".repeat(32), "bb".repeat(128)],
  },
];

/** What takes tens of milliseconds to make. */
export const RSA_KINDS: readonly ObjectKind[] = [
  rsa("RSA storage key", "parent", restricted | decrypt, `${AES128CFB}${NULL}`),
  rsa("RSASSA key", "sign", sign, `${NULL}0014${SHA256}`, NULL),
  rsa("RSA key without scheme", "sign rsaDecrypt", sign | decrypt, `${NULL}${NULL}`, `0014${SHA256}`),
  rsa("RSAPSS attestation key", "sign attest", sign | restricted, `${NULL}0016${SHA256}`, NULL),
  rsa("OAEP key", "rsaDecrypt", decrypt, `${NULL}0017${SHA1}`),
];

/** A curve that takes milliseconds. */
export const SLOW_CURVES: readonly ObjectKind[] = ["0004", "0005", "0010", "0011", "0020"].map((curve) =>
  ecc(`key on curve ${curve}`, "sign dh", sign | decrypt, `${NULL}${NULL}${curve}${NULL}`, `0018${SHA256}`),
);

/** TPMT_PUBLIC. */
export function publicArea(
  kind: ObjectKind,
  attributes: number,
  nameAlg = 11,
  policy = "",
  unique = kind.unique,
): string {
  return u16(kind.type) + u16(nameAlg) + u32(kind.attributes | attributes) + sized(policy) + kind.parameters + unique;
}

/** A key that its user has: what TPM2_LoadExternal takes. */
export interface ExternalKey {
  readonly kind: ObjectKind;
  readonly unique: string;
  /** TPMU_SENSITIVE_COMPOSITE, without its size. */
  readonly sensitive: string;
  readonly seed: string;
}

/** A prime and the modulus of an RSA key of 1024 bits, made for these tests. */
const RSA_PRIME =
  "d6fa729a5db845ad35751f59cc34232807da2a7689c70d0d170c670759a7697597306abbb0dd1867fc008d903b71ce58f9e1cabc448a143cf77a6adfc92941fd";
const RSA_MODULUS =
  "b203b14b465a9c6bc138ff0e778f04e36a560e0e889e74c2a43953f8a1fa85c539b103da588c0b913c169c849239ac72235a9b1b9c5938ad47713ad89f476e5891ae5c3b3f15bbec3c97f597891b4c995804edab7c5fc43e151a6765571da83a83882ab7d0261ed025c15b99abff368f23de7ce496edec6a5857d5d03b4a382f";

const byName = (name: string) => [...CHEAP_KINDS, ...RSA_KINDS].find((kind) => kind.name === name)!;
const sha256 = (...parts: string[]) =>
  createHash("sha256")
    .update(Buffer.from(parts.join(""), "hex"))
    .digest("hex");

function externalEcc(name: string): ExternalKey {
  const pair = createECDH("prime256v1");
  const sensitive = sha256(Buffer.from(name).toString("hex"));
  pair.setPrivateKey(sensitive, "hex");
  const point = pair.getPublicKey("hex", "uncompressed").slice(2);
  return { kind: byName(name), unique: sized(point.slice(0, 64)) + sized(point.slice(64)), sensitive, seed: "" };
}

const externalRsa = (name: string): ExternalKey => ({
  kind: byName(name),
  unique: sized(RSA_MODULUS),
  sensitive: RSA_PRIME,
  seed: "",
});

function externalSecret(name: string, size: number): ExternalKey {
  const [seed, sensitive] = ["5e".repeat(32), "c3".repeat(size)];
  return { kind: byName(name), unique: sized(sha256(seed, sensitive)), sensitive, seed };
}

export const EXTERNAL_KEYS: readonly ExternalKey[] = [
  ...["ECDSA key", "ECC key without scheme", "ECDH key", "ECC decryption key", "ECDAA key", "ECSchnorr key"].map(
    externalEcc,
  ),
  ...["RSASSA key", "RSA key without scheme", "OAEP key"].map(externalRsa),
  ...["AES-CFB key", "AES-CBC key", "CMAC key"].map((name) => externalSecret(name, 16)),
  externalSecret("HMAC key", 20),
  externalSecret("sealed data", 40),
];

/** A policy that a session can be made to fulfil. */
export interface Policy {
  /** Commands on the session: name, code, parameters. */
  readonly commands: readonly (readonly [name: string, code: number, parameters: string])[];
  /** With SHA-256. */
  readonly digest: string;
  readonly proof: "authValue" | "password" | "none";
}

const CC = { PolicyAuthValue: 0x16b, PolicyPassword: 0x18c, PolicyCommandCode: 0x16c, PolicyLocality: 0x16f } as const;

function policyOf(...commands: (readonly [name: keyof typeof CC, parameters: string])[]): Policy {
  let digest = "00".repeat(32);
  let proof: Policy["proof"] = "none";
  for (const [name, parameters] of commands) {
    // TPM2_PolicyPassword leaves the digest that TPM2_PolicyAuthValue leaves.
    digest = sha256(digest, u32(name === "PolicyPassword" ? CC.PolicyAuthValue : CC[name]), parameters);
    if (name === "PolicyAuthValue") proof = "authValue";
    if (name === "PolicyPassword") proof = "password";
  }
  return { commands: commands.map(([name, parameters]) => [name, CC[name], parameters]), digest, proof };
}

const DUPLICATE = u32(0x14b);
export const POLICIES: readonly Policy[] = [
  policyOf(["PolicyAuthValue", ""]),
  policyOf(["PolicyPassword", ""]),
  policyOf(["PolicyCommandCode", DUPLICATE]),
  policyOf(["PolicyAuthValue", ""], ["PolicyCommandCode", DUPLICATE]),
  policyOf(["PolicyLocality", "01"]),
  // Certify, ObjectChangeAuth, NV_ChangeAuth, NV_UndefineSpaceSpecial, ActivateCredential: what an ADMIN role is needed for.
  ...[0x148, 0x150, 0x13b, 0x11f, 0x147].map((code) => policyOf(["PolicyCommandCode", u32(code)])),
];

/** The policy that allows one of these commands, and nothing else. */
export const policyFor = (code: number): Policy =>
  POLICIES.find(({ commands }) => commands.length === 1 && commands[0]![2] === u32(code)) ?? POLICIES[0]!;

/** Hierarchies in which a primary object can be made. */
export const PRIMARY_HIERARCHIES = [RH.OWNER, RH.OWNER, RH.ENDORSEMENT, RH.PLATFORM, RH.NULL] as const;
