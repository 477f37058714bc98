// Scalar multiplication: [k]G and [k]Q in constant time, [u]P + [v]Q for public values. Scalars and coordinates are words.
//
// The constant-time methods write an odd k with digits that are never zero, so that every step adds something, and take an
// even k as n - k, negating the result. For 0 < k < n, the incomplete addition meets an exceptional case at most in the very
// last step, and there only a doubling:
//  - [k]Q, windows of w = 5 bits: k = sum d[i]*32^i, d[i] odd, |d[i]| < 32. Before d[i] is added the sum is [32*v]Q, v odd and
//    positive and 32*v + d[i] at most k/32^i + 1. So 32*v = +-d[i] mod n needs i = 0: 32*v = -d[0] would mean k = 0, and
//    32*v = d[0] + n is the doubling.
//  - [k]G, signed comb: see scripts/curves/comb.mjs, which also proves it for the curves' combs.
import { bnCopyMasked, bnFromBytes, bnSub } from "./bn";
import {
  CURVE_P256,
  CURVE_P384,
  CURVE_P521,
  Curve,
  FIELD,
  ORDER,
  PARAMETER_GX,
  PARAMETER_GY,
  curveLoad,
} from "./ec-curve";
import {
  POINT_SIZE,
  POINT_Y,
  pointAdd,
  pointAddAny,
  pointAddOrDouble,
  pointDouble,
  pointIsInfinity,
  pointOddMultiples,
  pointSet,
  pointToWords,
  pointUnpack,
  pointWipe,
} from "./ec-point";
import { FieldLoaded } from "./field";
import {
  ELEMENT_SIZE,
  MODULUS_WORDS,
  Modulus,
  WORDS_SIZE,
  montgomeryFromWords,
  montgomeryWipe,
  wordBits,
} from "./field-montgomery";
import { FieldP256 } from "./generated/field-p256";
import { FieldP384 } from "./generated/field-p384";
import { FieldP521 } from "./generated/field-p521";

const WINDOW: u32 = 5;
const WINDOW_POINTS: u32 = 1 << (WINDOW - 1);
/** Digits of the variable-time method for points without a table of their own. */
const NAF_WIDTH: u32 = 5;
const NAF_POINTS: u32 = 1 << (NAF_WIDTH - 2);
/** A wNAF: one signed byte for each bit, one more, and the zeros of the last digit. */
const NAF_SIZE: u32 = 656;

const SUM: usize = memory.data(576, 16);
/** Affine points: x, then y at POINT_Y. */
const CHOSEN: usize = memory.data(384, 16);
const BASE: usize = memory.data(384, 16);
const SECOND: usize = memory.data(384, 16);
const SCALAR: usize = memory.data(96, 16);
const COMPLEMENT: usize = memory.data(96, 16);
/** WINDOW_POINTS packed points of at most 192 bytes. */
const TABLE: usize = memory.data(3072, 16);
const SECOND_TABLE: usize = memory.data(1536, 16);
const POINTS: usize = memory.data(9216, 16);
const PRODUCTS: usize = memory.data(3072, 16);
const NAF: usize = memory.data(656, 16);
const SECOND_NAF: usize = memory.data(656, 16);

/** x, y = [k]G for 0 < k < n, in constant time. */
export function multiplyBase(id: u32, k: usize, x: usize, y: usize): void {
  const curve = curveLoad(id);
  memory.copy(SCALAR, k, curve.words << 2);
  if (id == CURVE_P256) comb<FieldP256>(curve, x, y);
  else if (id == CURVE_P384) comb<FieldP384>(curve, x, y);
  else if (id == CURVE_P521) comb<FieldP521>(curve, x, y);
  else comb<FieldLoaded>(curve, x, y);
  wipe();
}

/** x, y = [k]Q for 0 < k < n and Q = (qx, qy) on the curve; constant time with respect to k. */
export function multiplyPoint(id: u32, k: usize, qx: usize, qy: usize, x: usize, y: usize): void {
  const curve = curveLoad(id);
  memory.copy(SCALAR, k, curve.words << 2);
  pointFromWords(BASE, qx, qy);
  if (id == CURVE_P256) windows<FieldP256>(curve, x, y);
  else if (id == CURVE_P384) windows<FieldP384>(curve, x, y);
  else if (id == CURVE_P521) windows<FieldP521>(curve, x, y);
  else windows<FieldLoaded>(curve, x, y);
  wipe();
}

/**
 * x, y = [u]P + [v]Q for u, v < n; px = 0 stands for P = G. Its time tells all its arguments: for public values only.
 *
 * @returns 0 when the result is infinity, else 1
 */
export function multiplyAddPublic(
  id: u32,
  u: usize,
  px: usize,
  py: usize,
  v: usize,
  qx: usize,
  qy: usize,
  x: usize,
  y: usize,
): u32 {
  const curve = curveLoad(id);
  if (px == 0) curvePoint(curve, BASE);
  else pointFromWords(BASE, px, py);
  pointFromWords(SECOND, qx, qy);
  const tabled = px == 0 && curve.oddCount != 0;
  if (id == CURVE_P256) return interleaved<FieldP256>(curve, u, tabled, v, x, y);
  if (id == CURVE_P384) return interleaved<FieldP384>(curve, u, tabled, v, x, y);
  if (id == CURVE_P521) return interleaved<FieldP521>(curve, u, tabled, v, x, y);
  return interleaved<FieldLoaded>(curve, u, tabled, v, x, y);
}

/** Montgomery form of an affine point. */
function pointFromWords(P: usize, x: usize, y: usize): void {
  montgomeryFromWords(P, x, FIELD);
  montgomeryFromWords(P + POINT_Y, y, FIELD);
}

/** G */
function curvePoint(curve: Curve, P: usize): void {
  bnFromBytes(COMPLEMENT, curve.words, curve.parameters + PARAMETER_GX * curve.bytes, curve.bytes);
  montgomeryFromWords(P, COMPLEMENT, FIELD);
  bnFromBytes(COMPLEMENT, curve.words, curve.parameters + PARAMETER_GY * curve.bytes, curve.bytes);
  montgomeryFromWords(P + POINT_Y, COMPLEMENT, FIELD);
}

/**
 * Replaces the odd one of SCALAR and n - SCALAR by K = (k + 2^length - 1)/2, whose bits say which digits of +-1 (set: +1)
 * make up k = sum +-2^i, i < length. Answers the mask "n - SCALAR was taken".
 */
function recode(length: u32): i64 {
  const n = changetype<Modulus>(ORDER).words;
  const even = (load<u32>(SCALAR) & 1) - 1;
  bnSub(COMPLEMENT, ORDER + MODULUS_WORDS, SCALAR, n);
  bnCopyMasked(SCALAR, COMPLEMENT, even, n);
  store<u32>(SCALAR + (n << 2), 0);
  for (let i: usize = 0; i < n; i++) {
    const word = SCALAR + (i << 2);
    store<u32>(word, <u32>(load<u64>(word) >> 1));
  }
  const top = SCALAR + (((length - 1) >> 5) << 2);
  store<u32>(top, load<u32>(top) | (1 << ((length - 1) & 31)));
  return <i64>(<i32>even);
}

/** CHOSEN = the table's point for a digit whose bits, the highest of them the sign, are `bits`. */
@inline
function choose<F>(table: usize, points: u32, bits: u32): void {
  const f = changetype<F>(0);
  const mask = (bits >> ctz(points)) - 1;
  f.gather(CHOSEN, CHOSEN + POINT_Y, table, points, (bits ^ mask) & (points - 1));
  f.negateMasked(CHOSEN + POINT_Y, <i64>(<i32>mask));
}

function comb<F>(curve: Curve, x: usize, y: usize): void {
  const f = changetype<F>(0);
  const combs = curve.combs;
  const teeth = curve.teeth;
  const rows = curve.rows;
  const points: u32 = 1 << (teeth - 1);
  const length = combs * teeth * rows;
  const words = (length + 31) >> 5;
  const even = recode(length);
  for (let row = rows; row-- > 0; ) {
    if (row + 1 < rows) pointDouble<F>(SUM);
    for (let at = combs; at-- > 0; ) {
      let bits: u32 = 0;
      for (let tooth: u32 = 0; tooth < teeth; tooth++) {
        bits |= wordBits(SCALAR, words, row + rows * (tooth + teeth * at), 1) << tooth;
      }
      choose<F>(curve.comb + at * points * (f.vectors << 4), points, bits);
      if (row + 1 == rows && at + 1 == combs) pointSet<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
      else if (row == 0 && at == 0) pointAddOrDouble<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
      else pointAdd<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
    }
  }
  f.negateMasked(SUM + POINT_Y, even);
  pointToWords<F>(SUM, x, y);
}

function windows<F>(curve: Curve, x: usize, y: usize): void {
  const f = changetype<F>(0);
  const count = (curve.bits + WINDOW - 1) / WINDOW;
  const length = count * WINDOW;
  const words = (length + 31) >> 5;
  pointOddMultiples<F>(TABLE, WINDOW_POINTS, BASE, BASE + POINT_Y, POINTS, PRODUCTS);
  const even = recode(length);
  for (let i = count; i-- > 0; ) {
    choose<F>(TABLE, WINDOW_POINTS, wordBits(SCALAR, words, i * WINDOW, WINDOW));
    if (i + 1 == count) {
      pointSet<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
      continue;
    }
    for (let j: u32 = 0; j < WINDOW; j++) pointDouble<F>(SUM);
    if (i == 0) pointAddOrDouble<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
    else pointAdd<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
  }
  f.negateMasked(SUM + POINT_Y, even);
  pointToWords<F>(SUM, x, y);
}

/** [u]BASE + [v]SECOND. A sum that ends in Z = 0 may have met an exceptional case: then it is computed again with care. */
function interleaved<F>(curve: Curve, u: usize, tabled: bool, v: usize, x: usize, y: usize): u32 {
  let table = TABLE;
  let width = NAF_WIDTH;
  if (tabled) {
    table = curve.odd;
    width = ctz(curve.oddCount) + 2;
  } else {
    pointOddMultiples<F>(TABLE, NAF_POINTS, BASE, BASE + POINT_Y, POINTS, PRODUCTS);
  }
  pointOddMultiples<F>(SECOND_TABLE, NAF_POINTS, SECOND, SECOND + POINT_Y, POINTS, PRODUCTS);
  nonAdjacentForm(NAF, u, curve.bits, width);
  nonAdjacentForm(SECOND_NAF, v, curve.bits, NAF_WIDTH);
  addDigits<F>(curve.bits, table, false);
  if (pointIsInfinity(SUM)) addDigits<F>(curve.bits, table, true);
  pointToWords<F>(SUM, x, y);
  return pointIsInfinity(SUM) ? 0 : 1;
}

/** SUM = the sum of both wNAFs' digits times their points. */
function addDigits<F>(bits: u32, table: usize, careful: bool): void {
  let started = false;
  memory.fill(SUM, 0, POINT_SIZE);
  for (let i = <i32>bits; i >= 0; i--) {
    if (started) pointDouble<F>(SUM);
    const first = load<i8>(NAF + i);
    if (first != 0) {
      addMultiple<F>(table, first, started, careful);
      started = true;
    }
    const second = load<i8>(SECOND_NAF + i);
    if (second != 0) {
      addMultiple<F>(SECOND_TABLE, second, started, careful);
      started = true;
    }
  }
}

/** SUM += [digit] times the point of an odd-multiples table. */
function addMultiple<F>(table: usize, digit: i32, started: bool, careful: bool): void {
  const f = changetype<F>(0);
  const index = <u32>(abs(digit) >> 1);
  pointUnpack<F>(CHOSEN, CHOSEN + POINT_Y, table + index * (f.vectors << 4), digit < 0);
  if (!started) pointSet<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
  else if (careful) pointAddAny<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
  else pointAdd<F>(SUM, CHOSEN, CHOSEN + POINT_Y);
}

/** Signed digits of k: odd or zero, |digit| < 2^(width-1), at most one of `width` successive ones not zero. */
function nonAdjacentForm(digits: usize, k: usize, bits: u32, width: u32): void {
  const words = (bits + 31) >> 5;
  memory.fill(digits, 0, NAF_SIZE);
  let carry: u32 = 0;
  for (let i: u32 = 0; i <= bits; ) {
    if (wordBits(k, words, i, 1) == carry) {
      i++;
      continue;
    }
    const value = wordBits(k, words, i, width) + carry;
    carry = value >> (width - 1);
    store<i8>(digits + i, <i8>(value - (carry << width)));
    i += width;
  }
}

function wipe(): void {
  memory.fill(SUM, 0, POINT_SIZE);
  memory.fill(CHOSEN, 0, 2 * ELEMENT_SIZE);
  memory.fill(SCALAR, 0, WORDS_SIZE);
  memory.fill(COMPLEMENT, 0, WORDS_SIZE);
  pointWipe();
  montgomeryWipe();
}
