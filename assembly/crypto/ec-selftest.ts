// Known-answer self-tests of the elliptic curves, one call for each curve and scheme, for TPM2_SelfTest and
// TPM2_IncrementalSelfTest. Inputs and answers: scripts/curves/selftest.mjs.
import { ctEqual } from "./ct";
import { DRAW_EXTRA_BYTES, SIGNED, ecMultiply, ecPrivateFromDraw, ecPublic } from "./ec";
import { CURVE_COUNT, curveOrderBytes } from "./ec-curve";
import { ecmqvExchange } from "./ec-exchange";
import { ecdaaSign } from "./ecdaa";
import { ecdsaSign, ecdsaVerify } from "./ecdsa";
import { ecschnorrSign, ecschnorrVerify } from "./ecschnorr";
import { ANSWERS } from "./generated/curve-answers";
import { HASH_SHA256, hashOnce } from "./hash";
import { sm2Sign, sm2Verify } from "./sm2";

export const SELF_TEST_ECDSA: u32 = 0;
export const SELF_TEST_ECDH: u32 = 1;
export const SELF_TEST_ECDAA: u32 = 2;
export const SELF_TEST_ECSCHNORR: u32 = 3;
export const SELF_TEST_SM2: u32 = 4;
export const SELF_TEST_ECMQV: u32 = 5;
/** How many there are for each curve. */
export const SELF_TEST_ECC_COUNT: u32 = 6;

const ANSWER_SIZE: u32 = 32;
const DIGEST_SIZE: u32 = 32;

const D: usize = memory.data(80, 16);
const OTHER: usize = memory.data(80, 16);
const DRAW: usize = memory.data(88, 16);
const DIGEST: usize = memory.data(32, 16);
/** Up to four numbers: x and y of the public key or a product, r and s or k and s. */
const RESULT: usize = memory.data(320, 16);
const HASH: usize = memory.data(32, 16);

/** Whether `scheme` (a SELF_TEST_...) works on curve `id`: 1 or 0. */
export function ecSelfTest(id: u32, scheme: u32): u32 {
  if (id >= CURVE_COUNT || scheme >= SELF_TEST_ECC_COUNT) return 0;
  const bytes = curveOrderBytes(id);
  scalar(id, 1, bytes, D);
  scalar(id, 3, bytes, OTHER);
  pattern(2, bytes + DRAW_EXTRA_BYTES, DRAW);
  pattern(4, DIGEST_SIZE, DIGEST);
  const numbers = run(id, scheme, bytes);
  hashOnce(HASH_SHA256, RESULT, numbers * bytes, HASH);
  const answer = ANSWERS + (id * SELF_TEST_ECC_COUNT + scheme) * ANSWER_SIZE;
  return ctEqual(HASH, answer, ANSWER_SIZE) & 1;
}

/** Fills RESULT; answers how many numbers it holds, 0 when something failed. */
function run(id: u32, scheme: u32, bytes: u32): u32 {
  const x = RESULT;
  const y = x + bytes;
  if (scheme == SELF_TEST_ECDAA) {
    return ecdaaSign(id, HASH_SHA256, D, OTHER, DIGEST, DIGEST_SIZE, DRAW, x, y) == SIGNED ? 2 : 0;
  }
  if (scheme == SELF_TEST_ECDH || scheme == SELF_TEST_ECMQV) {
    if (!ecPublic(id, OTHER, x, y)) return 0;
    if (scheme == SELF_TEST_ECDH) return ecMultiply(id, D, x, y, x, y) ? 2 : 0;
    const ephemeral = y + bytes;
    ecPrivateFromDraw(id, DRAW, bytes + DRAW_EXTRA_BYTES, ephemeral);
    return ecmqvExchange(id, D, ephemeral, x, y, x, y, x, y) ? 2 : 0;
  }
  if (!ecPublic(id, D, x, y)) return 0;
  const r = y + bytes;
  const s = r + bytes;
  if (sign(id, scheme, r, s) != SIGNED || !verify(id, scheme, x, y, r, s)) return 0;
  // A change in the digest's first byte counts on every curve.
  store<u8>(DIGEST, load<u8>(DIGEST) ^ 0x80);
  return verify(id, scheme, x, y, r, s) ? 0 : 4;
}

function sign(id: u32, scheme: u32, r: usize, s: usize): i32 {
  if (scheme == SELF_TEST_ECDSA) return ecdsaSign(id, D, DIGEST, DIGEST_SIZE, DRAW, r, s);
  if (scheme == SELF_TEST_SM2) return sm2Sign(id, D, DIGEST, DIGEST_SIZE, DRAW, r, s);
  return ecschnorrSign(id, HASH_SHA256, D, DIGEST, DIGEST_SIZE, DRAW, r, s);
}

function verify(id: u32, scheme: u32, x: usize, y: usize, r: usize, s: usize): u32 {
  if (scheme == SELF_TEST_ECDSA) return ecdsaVerify(id, x, y, DIGEST, DIGEST_SIZE, r, s);
  if (scheme == SELF_TEST_SM2) return sm2Verify(id, x, y, DIGEST, DIGEST_SIZE, r, s);
  return ecschnorrVerify(id, HASH_SHA256, x, y, DIGEST, DIGEST_SIZE, r, s);
}

function scalar(id: u32, seed: u32, bytes: u32, out: usize): void {
  pattern(seed, bytes + DRAW_EXTRA_BYTES, DRAW);
  ecPrivateFromDraw(id, DRAW, bytes + DRAW_EXTRA_BYTES, out);
}

/** The bytes seed, seed + 89, seed + 2*89... */
function pattern(seed: u32, length: u32, out: usize): void {
  for (let i: u32 = 0; i < length; i++) store<u8>(out + i, <u8>(seed + 89 * i));
}
