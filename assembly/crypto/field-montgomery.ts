// Montgomery arithmetic modulo any odd m of at most 638 bits, and the conversion between its two representations:
//   words   little-endian 32-bit words, canonical (0 <= x < m)
//   limbs   signed 64-bit limbs of `width` bits, loose: any number congruent to x*R, R = 2^(width*limbs)
// Limbs that a product leaves are balanced, in [-2^(width-1), 2^(width-1)) but for the highest; a factor may be the sum of
// three such numbers without carrying. The values stay below a few m, R is at least 2^5*m: nothing needs a final subtraction.
import { bnNegativeInverse64, bnReduceOnce } from "./bn";

/** Bytes of an element in limbs: up to 24 limbs. */
export const ELEMENT_SIZE: u32 = 192;
/** Bytes of a number in words: up to 20 words, and one more where a function says so. */
export const WORDS_SIZE: u32 = 96;

/** A modulus ready for use; the numbers that belong to it follow the record. */
@unmanaged
export class Modulus {
  bits: u32;
  /** Words of a number below m. */
  words: u32;
  limbs: u32;
  /** Bits of a limb, 28 or 29. */
  width: u32;
  /** -m^-1 mod 2^width */
  negativeInverse: u32;
  /** m^-1 mod 2^30 */
  inverse30: u32;
}

/** m in words. */
export const MODULUS_WORDS: usize = 32;
/** m in limbs. */
const MODULUS_LIMBS: usize = MODULUS_WORDS + WORDS_SIZE;
/** R mod m, which stands for 1. */
export const MODULUS_ONE: usize = MODULUS_LIMBS + ELEMENT_SIZE;
/** R^2 mod m: multiplication by it brings a number into Montgomery form. */
export const MODULUS_SQUARE: usize = MODULUS_ONE + ELEMENT_SIZE;
export const MODULUS_SIZE: usize = MODULUS_SQUARE + ELEMENT_SIZE;

const ZERO: usize = memory.data(192, 16);
/** The limbs of 1, not in Montgomery form. */
const UNIT: usize = memory.data<i64>([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 16);
/** Sums of products by column, not yet carried. */
const COLUMNS: usize = memory.data(192, 16);
const PRODUCT: usize = memory.data(192, 16);
const REDUCED: usize = memory.data(96, 16);

/** Fills the record at `m` (MODULUS_SIZE bytes): the modulus and R^2 mod m are given in words. */
export function modulusLoad(m: usize, bits: u32, limbs: u32, width: u32, words: usize, square: usize): void {
  const modulus = changetype<Modulus>(m);
  const n = (bits + 31) >> 5;
  const inverse = bnNegativeInverse64(load<u64>(words));
  modulus.bits = bits;
  modulus.words = n;
  modulus.limbs = limbs;
  modulus.width = width;
  modulus.negativeInverse = <u32>inverse & ((1 << width) - 1);
  modulus.inverse30 = (0 - <u32>inverse) & 0x3fffffff;
  memory.copy(m + MODULUS_WORDS, words, n << 2);
  limbsFromWords(m + MODULUS_LIMBS, words, n, m);
  limbsFromWords(m + MODULUS_SQUARE, square, n, m);
  montgomeryMul(m + MODULUS_ONE, m + MODULUS_SQUARE, UNIT, m);
}

/** d = a*b/R mod m, all in limbs. */
export function montgomeryMul(d: usize, a: usize, b: usize, m: usize): void {
  montgomeryMulSub(d, a, b, ZERO, m);
}

/**
 * d = a*b/R - c mod m, all in limbs. d may be any of the operands.
 *
 * One limb of a after another: its row of products and the multiple of m that clears the lowest column are added to the column
 * sums, which then move down by one column; carries wait until the end.
 */
export function montgomeryMulSub(d: usize, a: usize, b: usize, c: usize, m: usize): void {
  const modulus = changetype<Modulus>(m);
  const end = (<usize>modulus.limbs) << 3;
  const width: i64 = modulus.width;
  const mask: i64 = (1 << width) - 1;
  const half: i64 = 1 << (width - 1);
  const negativeInverse: i64 = modulus.negativeInverse;
  const p = m + MODULUS_LIMBS;
  const b0 = load<i64>(b);
  const p0 = load<i64>(p);
  memory.fill(COLUMNS, 0, end);
  for (let i: usize = 0; i < end; i += 8) {
    const digit = load<i64>(a + i);
    const lowest = load<i64>(COLUMNS) + digit * b0;
    const q = (lowest * negativeInverse) & mask;
    let column = load<i64>(COLUMNS, 8) + digit * load<i64>(b, 8) + q * load<i64>(p, 8);
    store<i64>(COLUMNS, column + ((lowest + q * p0) >> width));
    let j: usize = 16;
    for (; j + 8 < end; j += 16) {
      column = load<i64>(COLUMNS + j) + digit * load<i64>(b + j) + q * load<i64>(p + j);
      store<i64>(COLUMNS + j - 8, column);
      column = load<i64>(COLUMNS + j, 8) + digit * load<i64>(b + j, 8) + q * load<i64>(p + j, 8);
      store<i64>(COLUMNS + j, column);
    }
    if (j < end) {
      column = load<i64>(COLUMNS + j) + digit * load<i64>(b + j) + q * load<i64>(p + j);
      store<i64>(COLUMNS + j - 8, column);
    }
    store<i64>(COLUMNS + end - 8, 0);
  }
  let carry: i64 = half;
  const highest = end - 8;
  for (let i: usize = 0; i < highest; i += 8) {
    carry += load<i64>(COLUMNS + i) - load<i64>(c + i);
    store<i64>(d + i, (carry & mask) - half);
    carry = (carry >> width) + half;
  }
  store<i64>(d + highest, carry - half + load<i64>(COLUMNS + highest) - load<i64>(c + highest));
}

/** The `width` (at most 31) bits from bit `at` on of a number of n words, or of the zeros beyond. */
@inline
export function wordBits(words: usize, n: u32, at: u32, width: u32): u32 {
  const k = at >> 5;
  let bits: u64 = 0;
  if (k < n) bits = load<u32>(words + (k << 2));
  if (k + 1 < n) bits |= (<u64>load<u32>(words + (k << 2), 4)) << 32;
  return <u32>(bits >> (at & 31)) & ((1 << width) - 1);
}

/** Limbs of the number in `words` (n of them), as it is. */
export function limbsFromWords(d: usize, words: usize, n: u32, m: usize): void {
  const modulus = changetype<Modulus>(m);
  const width = modulus.width;
  for (let i: u32 = 0; i < modulus.limbs; i++) store<i64>(d + (i << 3), wordBits(words, n, i * width, width));
  if (modulus.limbs & 1) store<i64>(d + (modulus.limbs << 3), 0);
}

/** Canonical words of limbs that hold, not in Montgomery form, a number from 0 to 2m - 1. */
export function wordsFromLimbs(words: usize, a: usize, m: usize): void {
  const modulus = changetype<Modulus>(m);
  const n = modulus.words;
  let carry: i64 = 0;
  let bits: u32 = 0;
  let limb: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    while (bits < 32 && limb < modulus.limbs) {
      carry += load<i64>(a + (limb++ << 3)) << bits;
      bits += modulus.width;
    }
    store<u32>(words + (i << 2), <u32>carry);
    carry >>= 32;
    bits = max(bits, 32) - 32;
  }
  if (limb < modulus.limbs) carry += load<i64>(a + (limb << 3)) << bits;
  bnReduceOnce(words, words, <u32>carry, m + MODULUS_WORDS, REDUCED, n);
}

/** Canonical words of x from its Montgomery form. */
export function montgomeryToWords(words: usize, a: usize, m: usize): void {
  // |a| < R, so that (a + q*m)/R with 0 <= q < R lies between 0 and m.
  montgomeryMul(PRODUCT, a, UNIT, m);
  wordsFromLimbs(words, PRODUCT, m);
}

/** Montgomery form of the number in m's words. */
export function montgomeryFromWords(d: usize, words: usize, m: usize): void {
  limbsFromWords(d, words, changetype<Modulus>(m).words, m);
  montgomeryMul(d, d, m + MODULUS_SQUARE, m);
}

/** Removes what may be left of secret operands. */
export function montgomeryWipe(): void {
  memory.fill(COLUMNS, 0, ELEMENT_SIZE);
  memory.fill(PRODUCT, 0, ELEMENT_SIZE);
  memory.fill(REDUCED, 0, WORDS_SIZE);
}
