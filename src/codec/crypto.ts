// The cryptography of sessions and names (Part 1, 11.4 and annexes B and C), for any runtime.
import { cfb } from "@noble/ciphers/aes.js";
import { hmac as nobleHmac } from "@noble/hashes/hmac.js";
import { sha1 } from "@noble/hashes/legacy.js";
import { sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { sha3_256, sha3_384, sha3_512 } from "@noble/hashes/sha3.js";
import { concatBytes, uintBytes } from "./bytes.ts";

const hashes = {
  TPM_ALG_SHA1: sha1,
  TPM_ALG_SHA256: sha256,
  TPM_ALG_SHA384: sha384,
  TPM_ALG_SHA512: sha512,
  TPM_ALG_SHA3_256: sha3_256,
  TPM_ALG_SHA3_384: sha3_384,
  TPM_ALG_SHA3_512: sha3_512,
} as const;

/** A hash algorithm that a session can have here, by its full name. */
export type HashName = keyof typeof hashes;

/** The hash algorithm of this name, with or without "TPM_ALG_". Throws RangeError for one that is not there. */
export function hashName(name: string): HashName {
  const full = name.startsWith("TPM_ALG_") ? name : `TPM_ALG_${name}`;
  if (!(full in hashes)) throw new RangeError(`the hash algorithm ${name} is not supported`);
  return full as HashName;
}

/** Bytes of a digest. */
export function digestLength(algorithm: HashName): number {
  return hashes[algorithm].outputLen;
}

export function hash(algorithm: HashName, ...parts: Uint8Array[]): Uint8Array {
  return hashes[algorithm](concatBytes(...parts));
}

export function hmac(algorithm: HashName, key: Uint8Array, ...parts: Uint8Array[]): Uint8Array {
  return nobleHmac(hashes[algorithm], key, concatBytes(...parts));
}

/** A label as the key derivation functions take it: ASCII and a zero byte. */
const labelBytes = (label: string): Uint8Array => Uint8Array.from(`${label}\0`, (char) => char.charCodeAt(0));

/** KDFa (Part 1, 11.4.10.2): `bits` of key material, a multiple of 8, from a key, a label and two contexts. */
export function kdfa(
  algorithm: HashName,
  key: Uint8Array,
  label: string,
  contextU: Uint8Array,
  contextV: Uint8Array,
  bits: number,
): Uint8Array {
  const fixed = concatBytes(labelBytes(label), contextU, contextV, uintBytes(bits, 4));
  return derive(bits / 8, (counter) => hmac(algorithm, key, counter, fixed));
}

/** KDFe (Part 1, 11.4.10.3): `bits` of key material, a multiple of 8, from the shared x-coordinate of an ECDH. */
export function kdfe(
  algorithm: HashName,
  z: Uint8Array,
  label: string,
  partyU: Uint8Array,
  partyV: Uint8Array,
  bits: number,
): Uint8Array {
  const fixed = concatBytes(z, labelBytes(label), partyU, partyV);
  return derive(bits / 8, (counter) => hash(algorithm, counter, fixed));
}

/** The first `length` bytes of block(1) block(2) …, the counters as four bytes. */
function derive(length: number, block: (counter: Uint8Array) => Uint8Array): Uint8Array {
  const blocks: Uint8Array[] = [];
  let have = 0;
  for (let counter = 1; have < length; counter++) {
    const next = block(uintBytes(counter, 4));
    blocks.push(next);
    have += next.length;
  }
  return concatBytes(...blocks).slice(0, length);
}

/** AES in CFB mode, as parameter encryption uses it (Part 1, 21.3). The key is 16, 24 or 32 bytes, the IV 16. */
export function aesCfb(
  direction: "encrypt" | "decrypt",
  key: Uint8Array,
  iv: Uint8Array,
  data: Uint8Array,
): Uint8Array {
  // An empty parameter stays empty; the cipher would refuse it.
  return data.length === 0 ? data : cfb(key, iv)[direction](data);
}

/** Random bytes of the runtime's cryptographic source. */
export function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}
