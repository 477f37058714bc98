// Tests of two candidates at once, in lanes 0 and 1 of the Montgomery layer, that can be done in parts: Fermat's with base 2,
// which needs squarings and shifts only, and Miller-Rabin's (FIPS 186-5, B.3.1) with given bases.
//
// Candidates are odd numbers of exactly the selected size (montSelect), as words. One test at a time; between its parts no
// other function of the Montgomery layer may be called.
import { bnBits, bnEqual, bnIsZero, bnSubWord } from "./bn";
import {
  MONT_MAX_MODULUS,
  MONT_MAX_NUMBER,
  MONT_SHIFT,
  montFromWords,
  montLeave,
  montMul,
  montOne,
  montPowRun,
  montPowStart,
  montR2,
  montSetModulus,
  montShiftLeft,
  montSqr,
  montToWords,
  montWipe,
} from "./mont";

const MODULUS: usize = memory.data(MONT_MAX_MODULUS, 16);
const ONE: usize = memory.data(MONT_MAX_NUMBER, 16);
const R2: usize = memory.data(MONT_MAX_NUMBER, 16);
const ACCUMULATOR: usize = memory.data(MONT_MAX_NUMBER, 16);
const T: usize = memory.data(MONT_MAX_NUMBER, 16);
const CANDIDATE: usize = memory.data(512);
const EXPONENT: usize = memory.data(512);
const W: usize = memory.data(256);

let words: u32 = 0;
/** Windows of the exponent still to do. */
let left: u32 = 0;
/** w - 1 = 2^twos * odd. */
let twos: u32 = 0;

/** Address of lane's copy of its candidate, and of its exponent. */
@inline
function candidate(lane: u32): usize {
  return CANDIDATE + lane * 256;
}
@inline
function exponent(lane: u32): usize {
  return EXPONENT + lane * 256;
}

function setCandidates(p: usize, q: usize, n: u32): void {
  words = n;
  for (let lane: u32 = 0; lane < 2; lane++) {
    memory.copy(candidate(lane), lane == 0 ? p : q, n << 2);
    montSetModulus(MODULUS, lane, candidate(lane));
    montOne(ONE, lane, candidate(lane));
  }
}

/** Starts Fermat's test of p and q, n words each. */
export function fermatStart(p: usize, q: usize, n: u32): void {
  setCandidates(p, q, n);
  bnSubWord(exponent(0), candidate(0), 1, n);
  bnSubWord(exponent(1), candidate(1), 1, n);
  memory.copy(ACCUMULATOR, ONE, MONT_MAX_NUMBER);
  left = ((n << 5) + MONT_SHIFT - 1) / MONT_SHIFT;
  shiftByWindow();
}

@inline
function shiftByWindow(): void {
  left--;
  const at = left * MONT_SHIFT;
  const p = bnBits(exponent(0), words, at, MONT_SHIFT);
  montShiftLeft(ACCUMULATOR, p, bnBits(exponent(1), words, at, MONT_SHIFT));
}

/** Goes on for at most `squarings` squarings; answers whether the test is done. */
export function fermatRun(squarings: u32): bool {
  for (; squarings >= MONT_SHIFT && left > 0; squarings -= MONT_SHIFT) {
    for (let i: u32 = 0; i < MONT_SHIFT; i++) montSqr(ACCUMULATOR, ACCUMULATOR, MODULUS);
    shiftByWindow();
  }
  return left == 0;
}

/** Bit 0: p may be prime; bit 1: q may be. */
export function fermatResult(): u32 {
  montLeave(T, ACCUMULATOR, MODULUS);
  return (isOne(T, 0) & 1) | (isOne(T, 1) & 2);
}

/** Mask: the lane's value is 1. */
function isOne(pair: usize, lane: u32): u32 {
  montToWords(W, pair, lane, candidate(lane));
  bnSubWord(W, W, 1, words);
  return bnIsZero(W, words);
}

/** Mask: the lane's value is the number. */
function isNumber(pair: usize, lane: u32, number: usize): u32 {
  montToWords(W, pair, lane, candidate(lane));
  return bnEqual(W, number, words);
}

/**
 * Starts two rounds of Miller-Rabin of one candidate w of n words, with bases p and q, 1 < base < w - 1; `again` when the last
 * test was of the same w.
 */
export function millerRabinStart(w: usize, p: usize, q: usize, n: u32, again: bool): void {
  if (!again) {
    setCandidates(w, w, n);
    montR2(R2, ONE, MODULUS);
    oddPart();
  }
  montFromWords(T, 0, p);
  montFromWords(T, 1, q);
  montMul(T, T, R2, MODULUS);
  left = montPowStart(ACCUMULATOR, T, ONE, exponent(0), exponent(0), MODULUS);
}

/** exponent(0) = (w - 1) >> twos. */
function oddPart(): void {
  const w = candidate(0);
  bnSubWord(W, w, 1, words);
  let k: u32 = 0;
  while (load<u32>(W + (k << 2)) == 0) k++;
  const shift = <u32>ctz(load<u32>(W + (k << 2)));
  twos = (k << 5) + shift;
  for (let i: u32 = 0; i < words; i++) {
    const low = i + k < words ? <u64>load<u32>(W + ((i + k) << 2)) : 0;
    const high = i + k + 1 < words ? <u64>load<u32>(W + ((i + k) << 2), 4) : 0;
    store<u32>(exponent(0) + (i << 2), <u32>((low | (high << 32)) >> shift));
  }
}

/** Goes on with at most `windows` windows of the exponent; answers whether millerRabinResult can be asked. */
export function millerRabinRun(windows: u32): bool {
  const count = min(windows, left);
  montPowRun(ACCUMULATOR, exponent(0), exponent(0), MODULUS, left, count);
  left -= count;
  return left == 0;
}

/** Bit 0: w passes with base p; bit 1: with base q. */
export function millerRabinResult(): u32 {
  // exponent(1) = w - 1.
  bnSubWord(exponent(1), candidate(0), 1, words);
  montLeave(T, ACCUMULATOR, MODULUS);
  let passed = (isOne(T, 0) & 1) | (isOne(T, 1) & 2) | isMinusOne();
  for (let i: u32 = 1; i < twos && passed != 3; i++) {
    montSqr(ACCUMULATOR, ACCUMULATOR, MODULUS);
    montLeave(T, ACCUMULATOR, MODULUS);
    passed |= isMinusOne();
  }
  return passed;
}

function isMinusOne(): u32 {
  return (isNumber(T, 0, exponent(1)) & 1) | (isNumber(T, 1, exponent(1)) & 2);
}

/** Wipes the candidates and all that came of them. */
export function primeTestWipe(): void {
  memory.fill(MODULUS, 0, MONT_MAX_MODULUS);
  memory.fill(ONE, 0, MONT_MAX_NUMBER);
  memory.fill(R2, 0, MONT_MAX_NUMBER);
  memory.fill(ACCUMULATOR, 0, MONT_MAX_NUMBER);
  memory.fill(T, 0, MONT_MAX_NUMBER);
  memory.fill(CANDIDATE, 0, 512);
  memory.fill(EXPONENT, 0, 512);
  memory.fill(W, 0, 256);
  montWipe();
}
