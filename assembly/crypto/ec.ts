// Elliptic curves: keys, points and their multiples. Coordinates and scalars are big-endian byte strings of
// curveFieldBytes(id) and curveOrderBytes(id) bytes (which agree); points are affine. Answers are 1 for success, 0 for a
// refused argument or a result that is no affine point; then nothing is written.
import { bnFromBytes, bnIsZero, bnLess, bnToBytes } from "./bn";
import { COEFFICIENT_B, Curve, FIELD, curveLoad, loadedCurve } from "./ec-curve";
import { multiplyAddPublic, multiplyBase, multiplyPoint } from "./ec-multiply";
import { elementIsZero } from "./ec-point";
import { scalarFromDraw, scalarIsValid, scalarLoad } from "./ec-scalar";
import { MODULUS_WORDS, montgomeryFromWords, montgomeryMul, montgomeryMulSub } from "./field-montgomery";

/** Bytes a draw for a private key or nonce has beyond the order's. */
export const DRAW_EXTRA_BYTES: u32 = 8;

/** What the signing functions of all schemes answer: signed, and the signature is written. */
export const SIGNED: i32 = 1;
/** The nonce does not do (the chance is negligible): call again with another draw. */
export const SIGN_AGAIN: i32 = 0;
/** The private key is not one of the scheme. */
export const SIGN_BAD_KEY: i32 = -1;

const SCALAR: usize = memory.data(96, 16);
const SECOND_SCALAR: usize = memory.data(96, 16);
const X: usize = memory.data(96, 16);
const Y: usize = memory.data(96, 16);
const SECOND_X: usize = memory.data(96, 16);
const SECOND_Y: usize = memory.data(96, 16);
const ELEMENT_X: usize = memory.data(192, 16);
const ELEMENT_Y: usize = memory.data(192, 16);
const SUM: usize = memory.data(192, 16);
const ELEMENT_SUM: usize = memory.data(192, 16);

/**
 * The private key that `drawLength` random bytes stand for: d = (x mod (n - 1)) + 1 (FIPS 186-4, B.4.1, as TPM libraries
 * derive primary keys). drawLength is curveOrderBytes(id) + DRAW_EXTRA_BYTES.
 */
export function ecPrivateFromDraw(id: u32, draw: usize, drawLength: u32, outD: usize): void {
  const curve = curveLoad(id);
  scalarFromDraw(SCALAR, draw, drawLength);
  bnToBytes(outD, curve.bytes, SCALAR);
  memory.fill(SCALAR, 0, 96);
}

/** Whether 0 < d < n. */
export function ecPrivateValid(id: u32, d: usize): u32 {
  curveLoad(id);
  scalarLoad(SCALAR, d);
  const valid = scalarIsValid(SCALAR) & 1;
  memory.fill(SCALAR, 0, 96);
  return valid;
}

/** The public point [d]G of a private key; 0 unless 0 < d < n. */
export function ecPublic(id: u32, d: usize, outX: usize, outY: usize): u32 {
  curveLoad(id);
  scalarLoad(SCALAR, d);
  const valid = scalarIsValid(SCALAR);
  if (valid) {
    multiplyBase(id, SCALAR, X, Y);
    storePoint(outX, outY);
  }
  memory.fill(SCALAR, 0, 96);
  return valid & 1;
}

/** Whether (x, y) lies on the curve, with both coordinates below p. */
export function ecPointValid(id: u32, x: usize, y: usize): u32 {
  curveLoad(id);
  return loadPoint(x, y, X, Y);
}

/**
 * [k](x, y), constant time in k: ECDH, TPM2_ECDH_ZGen, TPM2_Commit. Answers 0 when the point is not on the curve or k is not
 * between 0 and n.
 */
export function ecMultiply(id: u32, k: usize, x: usize, y: usize, outX: usize, outY: usize): u32 {
  curveLoad(id);
  scalarLoad(SCALAR, k);
  const valid = loadPoint(x, y, X, Y) & scalarIsValid(SCALAR);
  if (valid) {
    multiplyPoint(id, SCALAR, X, Y, X, Y);
    storePoint(outX, outY);
  }
  memory.fill(SCALAR, 0, 96);
  return valid;
}

/**
 * [u](px, py) + [v](qx, qy), with px = 0 for the base point. Only for public values: it takes time by their bits. Answers 0
 * when a point is not on the curve, a scalar is not below n, or the sum is infinity.
 */
export function ecMultiplyAdd(
  id: u32,
  u: usize,
  px: usize,
  py: usize,
  v: usize,
  qx: usize,
  qy: usize,
  outX: usize,
  outY: usize,
): u32 {
  curveLoad(id);
  scalarLoad(SCALAR, u);
  scalarLoad(SECOND_SCALAR, v);
  if (!isBelowOrder(SCALAR) || !isBelowOrder(SECOND_SCALAR)) return 0;
  if (px != 0 && !loadPoint(px, py, SECOND_X, SECOND_Y)) return 0;
  if (!loadPoint(qx, qy, X, Y)) return 0;
  const first = px != 0 ? SECOND_X : 0;
  if (!multiplyAddPublic(id, SCALAR, first, SECOND_Y, SECOND_SCALAR, X, Y, X, Y)) return 0;
  storePoint(outX, outY);
  return 1;
}

function isBelowOrder(scalar: usize): bool {
  return scalarIsValid(scalar) != 0 || bnIsZero(scalar, loadedCurve().words) != 0;
}

/** Words of a point of the loaded curve; answers 0 when it is not on it. */
export function loadPoint(x: usize, y: usize, wordsX: usize, wordsY: usize): u32 {
  const curve = loadedCurve();
  const p = FIELD + MODULUS_WORDS;
  bnFromBytes(wordsX, curve.words, x, curve.bytes);
  bnFromBytes(wordsY, curve.words, y, curve.bytes);
  if (!(bnLess(wordsX, p, curve.words) & bnLess(wordsY, p, curve.words))) return 0;
  montgomeryFromWords(ELEMENT_X, wordsX, FIELD);
  montgomeryFromWords(ELEMENT_Y, wordsY, FIELD);
  curveRight(curve, SUM, ELEMENT_X);
  montgomeryMulSub(SUM, ELEMENT_Y, ELEMENT_Y, SUM, FIELD);
  return elementIsZero(SUM) & 1;
}

/** d = x^3 + a*x + b */
function curveRight(curve: Curve, d: usize, x: usize): void {
  // x^3 - 3x + b = x*(x^2) - (3x - b): both terms in limbs, the latter without carrying.
  const triple: i64 = curve.aIsZero ? 0 : 3;
  for (let i: usize = 0; i < 192; i += 8) {
    store<i64>(ELEMENT_SUM + i, triple * load<i64>(x + i) - load<i64>(COEFFICIENT_B + i));
  }
  montgomeryMul(d, x, x, FIELD);
  montgomeryMulSub(d, d, x, ELEMENT_SUM, FIELD);
}

function storePoint(outX: usize, outY: usize): void {
  const curve = loadedCurve();
  bnToBytes(outX, curve.bytes, X);
  bnToBytes(outY, curve.bytes, Y);
  memory.fill(X, 0, 96);
  memory.fill(Y, 0, 96);
}
