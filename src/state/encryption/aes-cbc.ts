// swtpm's encryption of state: AES-CBC, and an HMAC-SHA256 with the same key over ciphertext and IV.
//
//   field "encrypted data"   the blob, padded as PKCS#7 does, but to the size of the key
//   field HMAC               32 bytes
//   field "IV"               as many random bytes as the key has; CBC uses the first 16
//
// Version 1 has no fields: CBC with an IV of zeros over SHA-256(blob) and the blob.
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { CONTAINER_RESULT, ContainerError, damaged, field, findField, hasFields, TAG } from "../container-fields.ts";
import { concat, wipe } from "./bytes.ts";

const AES_BLOCK_SIZE = 16;
const SHA256_SIZE = 32;
const NOT_ENCRYPTED =
  "a key was given, and the state is not encrypted: leave --key out, or encrypt it with wtpm state convert --to-key";
const GENERATION_LABEL = new TextEncoder().encode("wtpm generation");

/** A key of swtpm's: 16 or 32 bytes for AES-CBC. */
export class AesCbcKey {
  readonly #bytes: Uint8Array;

  /** Takes the bytes over: `wipe` clears them. @throws RangeError for another size than 16 or 32 */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== 16 && bytes.length !== 32)
      throw new RangeError(`The key has ${bytes.length} bytes; 16 or 32 are needed.`);
    this.#bytes = bytes;
  }

  /** In bytes. */
  get size(): 16 | 32 {
    return this.#bytes.length as 16 | 32;
  }

  get cipherName(): "aes-128-cbc" | "aes-256-cbc" {
    return this.size === 16 ? "aes-128-cbc" : "aes-256-cbc";
  }

  /** HMAC-SHA256 over the pieces. */
  hmac(...pieces: readonly Uint8Array[]): Uint8Array {
    const hmac = createHmac("sha256", this.#bytes);
    for (const piece of pieces) hmac.update(piece);
    return hmac.digest();
  }

  /**
   * A MAC that nobody can take for swtpm's, which lets bytes move between ciphertext and IV: its key is another one.
   */
  hmacOfGeneration(...pieces: readonly Uint8Array[]): Uint8Array {
    const key = this.hmac(GENERATION_LABEL);
    const hmac = createHmac("sha256", key);
    wipe(key);
    for (const piece of pieces) hmac.update(piece);
    return hmac.digest();
  }

  /** What is padded already. */
  encrypt(padded: Uint8Array, iv: Uint8Array): Uint8Array {
    const cipher = createCipheriv(this.cipherName, this.#bytes, iv.subarray(0, AES_BLOCK_SIZE)).setAutoPadding(false);
    return concat(cipher.update(padded), cipher.final());
  }

  /** With the padding. The ciphertext is a whole number of blocks. */
  decrypt(ciphertext: Uint8Array, iv: Uint8Array): Uint8Array {
    const cipher = createDecipheriv(this.cipherName, this.#bytes, iv.subarray(0, AES_BLOCK_SIZE)).setAutoPadding(false);
    return concat(cipher.update(ciphertext), cipher.final());
  }

  wipe(): void {
    wipe(this.#bytes);
  }
}

/** The tags of what is encrypted with a file key, and with a migration key. */
export interface CbcTags {
  readonly data: number;
  readonly iv: number;
}

export const FILE_KEY_TAGS: CbcTags = { data: TAG.ENCRYPTED_DATA, iv: TAG.IV_ENCRYPTED_DATA };
export const MIGRATION_KEY_TAGS: CbcTags = {
  data: TAG.ENCRYPTED_MIGRATION_DATA,
  iv: TAG.IV_ENCRYPTED_MIGRATION_DATA,
};

/** The three fields that hold the data encrypted. */
export function encryptFields(key: AesCbcKey, tags: CbcTags, data: Uint8Array): Uint8Array {
  const padding = key.size - (data.length % key.size);
  const padded = new Uint8Array(data.length + padding).fill(padding);
  padded.set(data);
  const iv = randomBytes(key.size);
  const ciphertext = key.encrypt(padded, iv);
  wipe(padded);
  return concat(field(tags.data, ciphertext), field(TAG.HMAC, key.hmac(ciphertext, iv)), field(tags.iv, iv));
}

/**
 * The data in the fields of a container.
 *
 * @param version of the container.
 * @param wide the header says that the key has 256 bits.
 * @throws ContainerError with swtpm's results: BAD_KEY_PROPERTY for a key of another size, FAIL when the fields are not there,
 *   DECRYPT_ERROR when the HMAC is not the key's: another key, or changed bytes.
 */
export function decryptFields(
  key: AesCbcKey,
  tags: CbcTags,
  container: { readonly version: number; readonly wide: boolean; readonly fields: Uint8Array },
): Uint8Array {
  const { version, wide, fields } = container;
  if (!hasFields(version)) return decryptVersion1(key, fields);
  const ciphertext = findField(fields, tags.data);
  const notEncrypted = !ciphertext && findField(fields, TAG.DATA) !== undefined;
  const needed = wide ? 32 : 16;
  if (key.size !== needed) {
    const why = `the state needs a key of ${8 * needed} bits, and the one given has ${8 * key.size}`;
    throw new ContainerError("encrypted", CONTAINER_RESULT.BAD_KEY_PROPERTY, notEncrypted ? NOT_ENCRYPTED : why);
  }
  if (notEncrypted) throw new ContainerError("encrypted", CONTAINER_RESULT.FAIL, NOT_ENCRYPTED);
  const mac = findField(fields, TAG.HMAC);
  if (!ciphertext || !mac) throw damaged("its container holds no encrypted data with an HMAC");
  if (mac.length < SHA256_SIZE) throw damaged("its HMAC is too short");
  const iv = findField(fields, tags.iv);
  const expected = key.hmac(ciphertext, iv ?? new Uint8Array(0));
  if (!timingSafeEqual(expected, mac.subarray(0, SHA256_SIZE))) throw wrongKey();
  if (iv && iv.length < AES_BLOCK_SIZE) throw wrongKey();
  return unpadded(key, ciphertext, iv ?? new Uint8Array(AES_BLOCK_SIZE));
}

function decryptVersion1(key: AesCbcKey, ciphertext: Uint8Array): Uint8Array {
  const content = unpadded(key, ciphertext, new Uint8Array(AES_BLOCK_SIZE));
  if (content.length < SHA256_SIZE) throw damaged("it is too short for its checksum");
  const data = content.subarray(SHA256_SIZE);
  const hash = createHash("sha256").update(data).digest();
  if (!timingSafeEqual(hash, content.subarray(0, SHA256_SIZE)))
    throw damaged("its checksum is not the one it was stored with");
  return data;
}

function unpadded(key: AesCbcKey, ciphertext: Uint8Array, iv: Uint8Array): Uint8Array {
  if (ciphertext.length < key.size) throw wrongKey();
  if (ciphertext.length % AES_BLOCK_SIZE !== 0) throw damaged("its encrypted data is no whole number of blocks");
  const padded = key.decrypt(ciphertext, iv);
  const padding = padded[padded.length - 1]!;
  const size = padded.length - padding;
  const regular = padding > 0 && padding <= key.size && padded.subarray(size).every((byte) => byte === padding);
  if (!regular) throw wrongKey();
  return padded.subarray(0, size);
}

function wrongKey(): ContainerError {
  return new ContainerError(
    "encrypted",
    CONTAINER_RESULT.DECRYPT_ERROR,
    "the state cannot be decrypted: the key is another one, or the state was changed",
  );
}
