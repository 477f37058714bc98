// TPM2_ECC_Encrypt and TPM2_ECC_Decrypt (Part 1, Annex C): ElGamal on a curve with KDF2. C1 = [k]G; (x2, y2) = [k]Q; C2 = M xor
// KDF2(x2 || y2); C3 = H(x2 || M || y2). Byte strings as in ec.ts, hashes as in hash.ts.
import { ctEqual } from "./ct";
import { DRAW_EXTRA_BYTES, ecMultiply, ecPrivateFromDraw, ecPublic } from "./ec";
import { curveFieldBytes } from "./ec-curve";
import { hashDigestSize, hashFinal, hashInit, hashUpdate } from "./hash";
import { kdf2 } from "./kdf";

const K: usize = memory.data(80, 16);
/** x2 || y2 */
const SHARED: usize = memory.data(160, 16);
const CHECK: usize = memory.data(64, 16);
const HASH: usize = memory.data(336, 16);

/**
 * Encrypts `length` bytes to the key (x, y). `draw` is curveOrderBytes(id) + DRAW_EXTRA_BYTES random bytes; c2 has `length` bytes
 * and may be `message`, c3 a digest of hash `h`.
 *
 * @returns 1, or 0 when (x, y) is not on the curve; then nothing is written
 */
export function eccEncrypt(
  id: u32,
  h: u32,
  x: usize,
  y: usize,
  draw: usize,
  message: usize,
  length: u32,
  c1x: usize,
  c1y: usize,
  c2: usize,
  c3: usize,
): u32 {
  const bytes = curveFieldBytes(id);
  ecPrivateFromDraw(id, draw, bytes + DRAW_EXTRA_BYTES, K);
  const valid = ecMultiply(id, K, x, y, SHARED, SHARED + bytes);
  if (valid) {
    ecPublic(id, K, c1x, c1y);
    check(h, bytes, message, length, c3);
    if (c2 != message) memory.copy(c2, message, length);
    kdf2(h, SHARED, 2 * bytes, c2, length);
  }
  wipe();
  return valid;
}

/**
 * Decrypts what eccEncrypt made, with private key d. `message` has `length` bytes and may be c2; when the check fails it is
 * zeroed.
 *
 * @returns 1; 0 when C1 or d is refused (TPM_RC_ECC_POINT); -1 when C3 is not right (TPM_RC_VALUE)
 */
export function eccDecrypt(
  id: u32,
  h: u32,
  d: usize,
  c1x: usize,
  c1y: usize,
  c2: usize,
  length: u32,
  c3: usize,
  message: usize,
): i32 {
  const bytes = curveFieldBytes(id);
  if (!ecMultiply(id, d, c1x, c1y, SHARED, SHARED + bytes)) return 0;
  if (c2 != message) memory.copy(message, c2, length);
  kdf2(h, SHARED, 2 * bytes, message, length);
  check(h, bytes, message, length, CHECK);
  const right = ctEqual(CHECK, c3, hashDigestSize(h));
  if (!right) memory.fill(message, 0, length);
  wipe();
  return right ? 1 : -1;
}

/** H(x2 || M || y2) */
function check(h: u32, bytes: u32, message: usize, length: u32, out: usize): void {
  hashInit(h, HASH);
  hashUpdate(h, HASH, SHARED, bytes);
  hashUpdate(h, HASH, message, length);
  hashUpdate(h, HASH, SHARED + bytes, bytes);
  hashFinal(h, HASH, out);
}

function wipe(): void {
  memory.fill(K, 0, 80);
  memory.fill(SHARED, 0, 160);
  memory.fill(CHECK, 0, 64);
}
