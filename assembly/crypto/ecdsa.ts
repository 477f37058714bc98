// ECDSA (FIPS 186-4, 6): the caller hashes. Byte strings as in ec.ts.
import { bnEqual, bnFromBytes, bnIsZero, bnReduceOnce, bnToBytes } from "./bn";
import { Curve, ORDER, curveLoad } from "./ec-curve";
import { DRAW_EXTRA_BYTES, SIGNED, SIGN_AGAIN, SIGN_BAD_KEY, loadPoint } from "./ec";
import { multiplyAddPublic, multiplyBase } from "./ec-multiply";
import {
  scalarFromDraw,
  scalarInvert,
  scalarIsValid,
  scalarLoad,
  scalarMul,
  scalarMulAdd,
  scalarWipe,
} from "./ec-scalar";
import { MODULUS_WORDS } from "./field-montgomery";

const SECRETS: usize = memory.data(192, 16);
const D: usize = SECRETS;
const K: usize = SECRETS + 96;
const X: usize = memory.data(96, 16);
const Y: usize = memory.data(96, 16);
const R: usize = memory.data(96, 16);
const S: usize = memory.data(96, 16);
const E: usize = memory.data(96, 16);
const T: usize = memory.data(96, 16);

/**
 * Signs a digest. `nonceDraw` is curveOrderBytes(id) + DRAW_EXTRA_BYTES random bytes; r and s are curveOrderBytes(id) each.
 *
 * @returns SIGNED, SIGN_AGAIN (r or s would be 0) or SIGN_BAD_KEY; r and s are written only when signed
 */
export function ecdsaSign(
  id: u32,
  d: usize,
  digest: usize,
  digestLength: u32,
  nonceDraw: usize,
  outR: usize,
  outS: usize,
): i32 {
  const curve = curveLoad(id);
  scalarLoad(D, d);
  if (!scalarIsValid(D)) return SIGN_BAD_KEY;
  scalarFromDraw(K, nonceDraw, curve.bytes + DRAW_EXTRA_BYTES);
  multiplyBase(id, K, X, Y);
  orderFromField(curve, R, X);
  digestToScalar(curve, E, digest, digestLength);
  // s = k^-1 * (e + r*d) mod n
  scalarInvert(K);
  scalarMulAdd(T, R, D, E);
  scalarMul(S, T, K);
  const again = bnIsZero(R, curve.words) | bnIsZero(S, curve.words);
  memory.fill(SECRETS, 0, 192);
  memory.fill(T, 0, 96);
  scalarWipe();
  if (again) return SIGN_AGAIN;
  bnToBytes(outR, curve.bytes, R);
  bnToBytes(outS, curve.bytes, S);
  return SIGNED;
}

/** Whether (r, s) is a signature of the digest by the key (x, y), which is checked to be on the curve. */
export function ecdsaVerify(id: u32, x: usize, y: usize, digest: usize, digestLength: u32, r: usize, s: usize): u32 {
  const curve = curveLoad(id);
  scalarLoad(R, r);
  scalarLoad(S, s);
  if (!(scalarIsValid(R) & scalarIsValid(S))) return 0;
  if (!loadPoint(x, y, X, Y)) return 0;
  digestToScalar(curve, E, digest, digestLength);
  scalarInvert(S);
  scalarMul(E, E, S);
  scalarMul(T, R, S);
  if (!multiplyAddPublic(id, E, 0, 0, T, X, Y, X, Y)) return 0;
  orderFromField(curve, X, X);
  return bnEqual(X, R, curve.words) & 1;
}

/** d = x mod n for x below p: n is within 2*sqrt(p) of p, so that one subtraction does. */
export function orderFromField(curve: Curve, d: usize, x: usize): void {
  bnReduceOnce(d, x, 0, ORDER + MODULUS_WORDS, T, curve.words);
}

/** d = the leftmost bits of the digest, as many as n has (FIPS 186-4, 6.4), mod n. */
function digestToScalar(curve: Curve, d: usize, digest: usize, length: u32): void {
  const words = curve.words;
  const used = min(length, curve.bytes);
  bnFromBytes(d, words, digest, used);
  if (used * 8 > curve.bits) {
    const excess = used * 8 - curve.bits;
    store<u32>(d + (words << 2), 0);
    for (let i: usize = 0; i < words; i++) store<u32>(d + (i << 2), <u32>(load<u64>(d + (i << 2)) >> excess));
  }
  bnReduceOnce(d, d, 0, ORDER + MODULUS_WORDS, T, words);
}
