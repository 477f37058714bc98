// Authenticated encryption with a key of its own for every message: AES-256-GCM, key and nonce from HKDF-SHA256 over a random salt.
//
//   32 bytes salt  ciphertext  16 bytes tag
//
// The salt makes the nonce unnecessary as an input, so that a key may encrypt any number of messages.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { concat, wipe } from "./bytes.ts";

export const KEY_SIZE = 32;
const SALT_SIZE = 32;
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
/** By how much a box is larger than what is in it, in bytes. */
export const BOX_OVERHEAD = SALT_SIZE + TAG_SIZE;

/**
 * @param key 32 bytes.
 * @param purpose what keeps boxes of one kind from being taken for those of another.
 * @param context authenticated and not in the box.
 */
export function seal(key: Uint8Array, purpose: string, context: Uint8Array, content: Uint8Array): Uint8Array {
  const salt = randomBytes(SALT_SIZE);
  const derived = derive(key, salt, purpose);
  const cipher = createCipheriv("aes-256-gcm", derived.subarray(0, KEY_SIZE), derived.subarray(KEY_SIZE));
  cipher.setAAD(context);
  const box = concat(salt, cipher.update(content), cipher.final(), cipher.getAuthTag());
  wipe(derived);
  return box;
}

/** What is in the box; undefined when key, purpose, context or box are others than those of `seal`. */
export function unseal(key: Uint8Array, purpose: string, context: Uint8Array, box: Uint8Array): Uint8Array | undefined {
  if (box.length < BOX_OVERHEAD) return undefined;
  const derived = derive(key, box.subarray(0, SALT_SIZE), purpose);
  const cipher = createDecipheriv("aes-256-gcm", derived.subarray(0, KEY_SIZE), derived.subarray(KEY_SIZE), {
    authTagLength: TAG_SIZE,
  });
  cipher.setAAD(context);
  cipher.setAuthTag(box.subarray(box.length - TAG_SIZE));
  const content = cipher.update(box.subarray(SALT_SIZE, box.length - TAG_SIZE));
  try {
    return concat(content, cipher.final());
  } catch {
    return undefined;
  } finally {
    wipe(derived, content);
  }
}

function derive(key: Uint8Array, salt: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, salt, purpose, KEY_SIZE + NONCE_SIZE));
}
