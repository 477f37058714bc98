// swtpm's two ways from a passphrase to a key.
import { createHash, pbkdf2Sync } from "node:crypto";
import { wipe } from "./bytes.ts";

const SALT = "swtpm";
const ROUNDS = 1000;

export type Kdf = "pbkdf2" | "sha512";

/**
 * The key that swtpm makes of a passphrase: PBKDF2-HMAC-SHA512 with 1000 rounds and the salt "swtpm", or the beginning of the SHA-512.
 *
 * @param passphrase the whole file, with the newline at its end.
 * @param size in bytes: 16 or 32.
 */
export function keyFromPassphrase(passphrase: Uint8Array, kdf: Kdf, size: 16 | 32): Uint8Array {
  if (kdf === "pbkdf2") return pbkdf2Sync(passphrase, SALT, ROUNDS, size, "sha512");
  const hash = createHash("sha512").update(passphrase).digest();
  const key = new Uint8Array(hash.subarray(0, size));
  wipe(hash);
  return key;
}
