// Arithmetic modulo the loaded curve's order n, on canonical words. Nothing here tells its values by time, but for what the
// functions answer.
import { bnAdd, bnAddWord, bnFromBytes, bnIsZero, bnLess, bnMul, bnReduceOnce, bnSub, bnSubWord } from "./bn";
import { ORDER, loadedCurve } from "./ec-curve";
import { invertWords } from "./field-inverse";
import {
  MODULUS_SQUARE,
  MODULUS_WORDS,
  Modulus,
  limbsFromWords,
  montgomeryMul,
  montgomeryToWords,
  montgomeryWipe,
  wordBits,
  wordsFromLimbs,
} from "./field-montgomery";

const A: usize = memory.data(192, 16);
const B: usize = memory.data(192, 16);
/** Up to 96 bytes as words. */
const LONG: usize = memory.data(96, 16);
const PRODUCT: usize = memory.data(192, 16);
const QUOTIENT: usize = memory.data(192, 16);
const SCRATCH: usize = memory.data(96, 16);

/** Mask: 0 < a < n. */
export function scalarIsValid(a: usize): u32 {
  const words = changetype<Modulus>(ORDER).words;
  return bnLess(a, ORDER + MODULUS_WORDS, words) & ~bnIsZero(a, words);
}

/** Words of a scalar given as order bytes, whether it is below n or not. */
export function scalarLoad(d: usize, bytes: usize): void {
  const curve = loadedCurve();
  bnFromBytes(d, curve.words, bytes, curve.bytes);
}

/** d = a*b mod n */
export function scalarMul(d: usize, a: usize, b: usize): void {
  const words = changetype<Modulus>(ORDER).words;
  limbsFromWords(A, a, words, ORDER);
  limbsFromWords(B, b, words, ORDER);
  montgomeryMul(A, A, B, ORDER);
  montgomeryMul(A, A, ORDER + MODULUS_SQUARE, ORDER);
  wordsFromLimbs(d, A, ORDER);
}

/** d = a*b + c mod n; d must not be c. */
export function scalarMulAdd(d: usize, a: usize, b: usize, c: usize): void {
  scalarMul(d, a, b);
  scalarAdd(d, d, c);
}

/** d = a + b mod n */
export function scalarAdd(d: usize, a: usize, b: usize): void {
  const words = changetype<Modulus>(ORDER).words;
  const carry = bnAdd(d, a, b, words);
  bnReduceOnce(d, d, carry, ORDER + MODULUS_WORDS, SCRATCH, words);
}

/** d = -a mod n */
export function scalarNegate(d: usize, a: usize): void {
  const words = changetype<Modulus>(ORDER).words;
  bnSub(d, ORDER + MODULUS_WORDS, a, words);
  bnReduceOnce(d, d, 0, ORDER + MODULUS_WORDS, SCRATCH, words);
}

/** a = a^-1 mod n, 0 becomes 0. */
export function scalarInvert(a: usize): void {
  invertWords(a, ORDER);
}

/** d = the number in `length` (at most 96) big-endian bytes, mod n. */
export function scalarReduce(d: usize, bytes: usize, length: u32): void {
  const modulus = changetype<Modulus>(ORDER);
  const words = (length + 3) >> 2;
  const part = modulus.limbs * modulus.width;
  bnFromBytes(LONG, words, bytes, length);
  memory.fill(A, 0, 192);
  // Horner's rule in R: multiplication by R^2/R is one by R.
  for (let at = ((length * 8 + part - 1) / part) * part; at > 0; ) {
    at -= part;
    montgomeryMul(A, A, ORDER + MODULUS_SQUARE, ORDER);
    for (let i: u32 = 0; i < modulus.limbs; i++) {
      const limb = wordBits(LONG, words, at + i * modulus.width, modulus.width);
      store<i64>(A + (i << 3), load<i64>(A + (i << 3)) + <i64>limb);
    }
  }
  montgomeryMul(A, A, ORDER + MODULUS_SQUARE, ORDER);
  montgomeryToWords(d, A, ORDER);
}

/**
 * d = (x mod (n - 1)) + 1 for order bytes + 8 big-endian bytes of x: FIPS 186-4, B.4.1. Barrett's reduction; the constant is
 * floor(2^(64*words) / (n - 1)).
 */
export function scalarFromDraw(d: usize, draw: usize, length: u32): void {
  const curve = loadedCurve();
  const n = curve.words;
  const high = n - 1;
  const total = (length + 3) >> 2;
  bnFromBytes(LONG, total, draw, length);
  bnMul(PRODUCT, LONG + (high << 2), total - high, curve.constants + (n << 3), n + 1);
  // The quotient, floor(floor(x/2^(32(n-1)))*mu / 2^(32(n+1))), is at most one too small: cutting x and mu costs less than
  // 2^(32(n-1))/order + x/2^(64n) < 1 before the last floor.
  const quotient = PRODUCT + ((n + 1) << 2);
  const quotientWords = total - high;
  bnSubWord(SCRATCH, ORDER + MODULUS_WORDS, 1, n);
  store<u32>(SCRATCH + (n << 2), 0);
  bnMul(QUOTIENT, quotient, quotientWords, SCRATCH, n);
  bnSub(LONG, LONG, QUOTIENT, n + 1);
  bnReduceOnce(LONG, LONG, 0, SCRATCH, QUOTIENT, n + 1);
  bnAddWord(d, LONG, 1, n);
  scalarWipe();
}

/** Removes what is left of secret scalars. */
export function scalarWipe(): void {
  memory.fill(A, 0, 192);
  memory.fill(B, 0, 192);
  memory.fill(LONG, 0, 96);
  memory.fill(PRODUCT, 0, 192);
  memory.fill(QUOTIENT, 0, 192);
  memory.fill(SCRATCH, 0, 96);
  montgomeryWipe();
}
