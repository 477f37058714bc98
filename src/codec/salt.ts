// Secrets that only one key of a TPM can read (Part 1, annexes B.10.2 and C.6.1), as the salt of a session. The runtime's
// Web Crypto does the public-key part.
import { concatBytes, toBase64Url, uintBytes } from "./bytes.ts";
import { digestLength, type HashName, hashName, kdfe, randomBytes } from "./crypto.ts";
import type { TPMS_ECC_POINT, TPMT_PUBLIC } from "./generated/values.ts";
import { encodeStructure } from "./structure.ts";

export interface SharedSecret {
  readonly secret: Uint8Array;
  /** What the TPM gets: the content of a TPM2B_ENCRYPTED_SECRET. */
  readonly encrypted: Uint8Array;
}

/** Web Crypto's names of the hashes it has. */
const webHashes: Readonly<Partial<Record<HashName, string>>> = {
  TPM_ALG_SHA1: "SHA-1",
  TPM_ALG_SHA256: "SHA-256",
  TPM_ALG_SHA384: "SHA-384",
  TPM_ALG_SHA512: "SHA-512",
};

/** The curves that Web Crypto has, with the bytes of a coordinate. */
const webCurves: Readonly<Record<string, readonly [name: string, bytes: number]>> = {
  TPM_ECC_NIST_P256: ["P-256", 32],
  TPM_ECC_NIST_P384: ["P-384", 48],
  TPM_ECC_NIST_P521: ["P-521", 66],
};

/**
 * A new secret for the TPM that has the private part of this key, of the size of the key's nameAlg. `label` is the purpose as the
 * specification names it ("SECRET" for the salt of a session). Throws RangeError for a key that Web Crypto cannot use.
 */
export async function shareSecret(key: TPMT_PUBLIC, label: string): Promise<SharedSecret> {
  const algorithm = hashName(String(key.nameAlg));
  switch (key.type) {
    case "TPM_ALG_RSA":
      return encryptSecret(key.unique, key.parameters.exponent, algorithm, label);
    case "TPM_ALG_ECC":
      return agreeOnSecret(key.unique, String(key.parameters.curveID), algorithm, label);
    default:
      throw new RangeError(`a ${key.type} key cannot share a secret`);
  }
}

async function encryptSecret(
  modulus: Uint8Array,
  exponent: number,
  algorithm: HashName,
  label: string,
): Promise<SharedSecret> {
  const webHash = webHashes[algorithm];
  if (!webHash) throw new RangeError(`RSA-OAEP with ${algorithm} is not supported`);
  // TPMS_RSA_PARMS has 0 for the usual exponent.
  const e = uintBytes(exponent || 65537, 4);
  const jwk = { kty: "RSA", n: toBase64Url(modulus), e: toBase64Url(e.subarray(e.findIndex((byte) => byte !== 0))) };
  const publicKey = await crypto.subtle.importKey("jwk", jwk, { name: "RSA-OAEP", hash: webHash }, false, ["encrypt"]);
  const secret = randomBytes(digestLength(algorithm));
  const parameters = { name: "RSA-OAEP", label: new TextEncoder().encode(`${label}\0`) };
  const encrypted = await crypto.subtle.encrypt(parameters, publicKey, secret as Uint8Array<ArrayBuffer>);
  return { secret, encrypted: new Uint8Array(encrypted) };
}

async function agreeOnSecret(
  point: TPMS_ECC_POINT,
  curveID: string,
  algorithm: HashName,
  label: string,
): Promise<SharedSecret> {
  const curve = webCurves[curveID];
  if (!curve) throw new RangeError(`ECDH on ${curveID} is not supported`);
  const [namedCurve, size] = curve;
  const parameters = { name: "ECDH", namedCurve };
  const padded = (coordinate: Uint8Array): Uint8Array =>
    concatBytes(new Uint8Array(size - coordinate.length), coordinate);
  const x = padded(point.x);
  const raw = concatBytes(Uint8Array.of(4), x, padded(point.y)) as Uint8Array<ArrayBuffer>;
  const publicKey = await crypto.subtle.importKey("raw", raw, parameters, false, []);
  const ephemeral = await crypto.subtle.generateKey(parameters, true, ["deriveBits"]);
  const own = new Uint8Array(await crypto.subtle.exportKey("raw", ephemeral.publicKey));
  const ownX = own.slice(1, 1 + size);
  const z = await crypto.subtle.deriveBits({ name: "ECDH", public: publicKey }, ephemeral.privateKey, 8 * size);
  const bits = digestLength(algorithm) * 8;
  return {
    secret: kdfe(algorithm, new Uint8Array(z), label, ownX, x, bits),
    encrypted: encodeStructure("TPMS_ECC_POINT", { x: ownX, y: own.slice(1 + size) }),
  };
}
