// Public areas for tests of the engine: keys of every kind, and random templates of which most are nearly right.
import type { TpmClient } from "../../src/codec/client.ts";
import type { inputs } from "../../src/codec/index.ts";
import type { Seeded } from "./seeded.ts";

export type Template = inputs.TPMT_PUBLIC;
type Attributes = Exclude<inputs.TPMA_OBJECT, number>;
type Symmetric = inputs.TPMT_SYM_DEF_OBJECT;

export const HASHES = ["SHA1", "SHA256", "SHA384", "SHA512"] as const;
export const DIGEST_SIZES = { SHA1: 20, SHA256: 32, SHA384: 48, SHA512: 64 } as const;
export const CURVES = [
  ...(["NIST_P192", "NIST_P224", "NIST_P256", "NIST_P384", "NIST_P521"] as const),
  ...(["BN_P256", "BN_P638", "SM2_P256"] as const),
] as const;

const NULL = { algorithm: "NULL" } as const;
const NULL_SCHEME = { scheme: "NULL" } as const;
const AES = { algorithm: "AES", keyBits: 128, mode: "CFB" } as const;

export interface TemplateOptions {
  readonly nameAlg?: (typeof HASHES)[number];
  readonly attributes?: Attributes;
  readonly authPolicy?: string;
  readonly symmetric?: Symmetric;
}

const common = ({ nameAlg = "SHA256", attributes, authPolicy = "" }: TemplateOptions) => ({
  nameAlg,
  objectAttributes: { sensitiveDataOrigin: true, userWithAuth: true, noDA: true, ...attributes } as Attributes,
  authPolicy,
});

/** RSA of 1024 bits, which swtpm makes fast. */
export function rsa(options: TemplateOptions, scheme: inputs.TPMT_RSA_SCHEME = NULL_SCHEME, keyBits = 1024): Template {
  const parameters = { symmetric: options.symmetric ?? NULL, scheme, keyBits: keyBits as 1024, exponent: 0 };
  return { ...common(options), type: "RSA", parameters, unique: "" };
}

export function ecc(
  options: TemplateOptions,
  curveID: (typeof CURVES)[number] = "NIST_P256",
  scheme: inputs.TPMT_ECC_SCHEME = NULL_SCHEME,
): Template {
  const parameters = { symmetric: options.symmetric ?? NULL, scheme, curveID, kdf: NULL_SCHEME };
  return { ...common(options), type: "ECC", parameters, unique: { x: "", y: "" } };
}

export function keyedHash(options: TemplateOptions, scheme: inputs.TPMT_KEYEDHASH_SCHEME = NULL_SCHEME): Template {
  return { ...common(options), type: "KEYEDHASH", parameters: { scheme }, unique: "" };
}

export function symmetricCipher(options: TemplateOptions, sym: Symmetric = AES): Template {
  return { ...common(options), type: "SYMCIPHER", parameters: { sym }, unique: "" };
}

/** A parent of the type; `fixed` says whether it, and so its children, may leave the TPM. */
export function parent(type: "RSA" | "ECC" | "SYMCIPHER", fixed = true, symmetric: Symmetric = AES): Template {
  const attributes = { restricted: true, decrypt: true, fixedTPM: fixed, fixedParent: fixed };
  if (type === "SYMCIPHER") return symmetricCipher({ attributes }, symmetric);
  return type === "RSA" ? rsa({ attributes, symmetric }) : ecc({ attributes, symmetric });
}

/** Sensitive data of a TPM2_Create or TPM2_CreatePrimary. */
export interface Sensitive {
  readonly userAuth: string;
  readonly data: string;
}
export const NO_SENSITIVE: Sensitive = { userAuth: "", data: "" };

export function createPrimary(
  client: TpmClient,
  inPublic: Template,
  primaryHandle: "OWNER" | "ENDORSEMENT" | "PLATFORM" | "NULL" = "OWNER",
  inSensitive: Sensitive = NO_SENSITIVE,
) {
  return client.command("CreatePrimary", {
    handles: { primaryHandle },
    parameters: { inSensitive, inPublic, outsideInfo: "6f", creationPCR: [{ hash: "SHA256", pcrSelect: [0, 7] }] },
  });
}

export function create(client: TpmClient, parentHandle: number, inPublic: Template, inSensitive = NO_SENSITIVE) {
  return client.command("Create", {
    handles: { parentHandle },
    parameters: { inSensitive, inPublic, outsideInfo: "6f", creationPCR: [{ hash: "SHA384", pcrSelect: [16] }] },
  });
}

/** An object outside the TPM. */
export interface Blob {
  readonly outPrivate: Uint8Array;
  readonly outPublic: object;
}

export function load(client: TpmClient, parentHandle: number, { outPrivate, outPublic }: Blob) {
  return client.command("Load", {
    handles: { parentHandle },
    parameters: { inPrivate: outPrivate, inPublic: outPublic as Template },
  });
}

const PURPOSES: readonly Record<string, boolean>[] = [
  { restricted: true, decrypt: true },
  { sign: true },
  { decrypt: true },
  { sign: true, restricted: true },
  { sign: true, decrypt: true },
  {},
];
const FLIPPED = [
  ...([
    "fixedTPM",
    "stClear",
    "fixedParent",
    "sensitiveDataOrigin",
    "userWithAuth",
    "adminWithPolicy",
    "noDA",
  ] as const),
  ...(["encryptedDuplication", "restricted", "decrypt", "sign", "x509sign"] as const),
] as const;

/** A random template and sensitive data for it; a few attributes and parameters are wrong. */
export function randomTemplate(seeded: Seeded): { template: Template; sensitive: Sensitive } {
  const often = (percent: number) => seeded.below(100) < percent;
  const fixed = often(60);
  const attributes: Record<string, boolean> = {
    ...seeded.pick(PURPOSES),
    fixedTPM: fixed,
    fixedParent: fixed,
  };
  attributes.sensitiveDataOrigin = attributes.userWithAuth = true;
  for (const name of FLIPPED) if (often(7)) attributes[name] = !attributes[name];
  const isParent = Boolean(attributes.restricted && attributes.decrypt);
  const hash = () => ({ hashAlg: seeded.pick(HASHES) });
  const symmetric = (present: boolean): Symmetric =>
    present
      ? ({
          algorithm: seeded.pick(["AES", "CAMELLIA", "TDES"]),
          keyBits: seeded.pick([128, 192, 256]),
          mode: seeded.pick(["CFB", "CFB", "CFB", "CBC", "NULL", "ECB", "CTR", "OFB", "CMAC"]),
        } as Symmetric)
      : NULL;
  const options = {
    nameAlg: seeded.pick(HASHES),
    attributes: attributes as Attributes,
    authPolicy: often(10) ? "aa".repeat(seeded.pick([20, 32, 48, 64])) : "",
    symmetric: symmetric(often(isParent ? 95 : 7)),
  };
  const noScheme = isParent && often(80);
  const template = ((): Template => {
    switch (seeded.pick(["ECC", "ECC", "KEYEDHASH", "SYMCIPHER", "RSA"])) {
      case "ECC": {
        const name = noScheme
          ? "NULL"
          : seeded.pick(["NULL", "NULL", "ECDSA", "ECDH", "ECDAA", "ECSCHNORR", "SM2", "ECMQV"] as const);
        const details = name === "NULL" ? {} : { details: { ...hash(), ...(name === "ECDAA" ? { count: 5 } : {}) } };
        return ecc(options, seeded.pick(CURVES), { scheme: name, ...details } as inputs.TPMT_ECC_SCHEME);
      }
      case "RSA": {
        const name = noScheme ? "NULL" : seeded.pick(["NULL", "NULL", "RSASSA", "RSAPSS", "RSAES", "OAEP"] as const);
        const details = name === "NULL" || name === "RSAES" ? {} : { details: hash() };
        const made = rsa(options, { scheme: name, ...details } as inputs.TPMT_RSA_SCHEME);
        const exponent = seeded.pick([0, 0, 65537, 3, 65539, 257]);
        return { ...made, parameters: { ...made.parameters, exponent } } as Template;
      }
      case "KEYEDHASH": {
        const fitting = attributes.sign === attributes.decrypt ? "NULL" : attributes.sign ? "HMAC" : "XOR";
        const name = often(85) ? fitting : seeded.pick(["NULL", "HMAC", "XOR"]);
        const kdf = seeded.pick(["KDF1_SP800_108", "KDF1_SP800_108", "MGF1", "KDF2", "NULL"]);
        const details = name === "NULL" ? {} : { details: { ...hash(), ...(name === "XOR" ? { kdf } : {}) } };
        return keyedHash(options, { scheme: name, ...details } as inputs.TPMT_KEYEDHASH_SCHEME);
      }
      default:
        return symmetricCipher(options, symmetric(often(95)));
    }
  })();
  const given = attributes.sensitiveDataOrigin ? often(10) : true;
  return {
    template,
    sensitive: {
      userAuth: "61".repeat(seeded.pick([0, 0, 4, 20, 32, 48, 64])),
      data: given ? "0123456789abcdef".repeat(16).slice(0, 2 * seeded.pick([0, 16, 24, 32, 64, 65, 100, 128])) : "",
    },
  };
}
