// SM2 signatures (GM/T 0003.2; Part 1, Annex C), on any curve. What is signed is the digest as given: the header that SM2 puts before a
// message is the business of whoever hashes it. Byte strings as in ec.ts. (The key exchange: ec-exchange.ts.)
import { bnAddWord, bnEqual, bnIsZero, bnToBytes } from "./bn";
import { DRAW_EXTRA_BYTES, SIGNED, SIGN_AGAIN, SIGN_BAD_KEY, loadPoint } from "./ec";
import { curveLoad } from "./ec-curve";
import { orderFromField } from "./ecdsa";
import { multiplyAddPublic, multiplyBase } from "./ec-multiply";
import {
  scalarAdd,
  scalarFromDraw,
  scalarInvert,
  scalarIsValid,
  scalarLoad,
  scalarMul,
  scalarMulAdd,
  scalarNegate,
  scalarReduce,
  scalarWipe,
} from "./ec-scalar";

const SECRETS: usize = memory.data(384, 16);
const D: usize = SECRETS;
const K: usize = SECRETS + 96;
const T: usize = SECRETS + 192;
const U: usize = SECRETS + 288;
const X: usize = memory.data(96, 16);
const Y: usize = memory.data(96, 16);
const R: usize = memory.data(96, 16);
const S: usize = memory.data(96, 16);
const E: usize = memory.data(96, 16);

/**
 * Signs a digest of at most 64 bytes: r = e + x(kG), s = (1 + d)^-1 * (k - r*d) mod n. `nonceDraw` is curveOrderBytes(id) +
 * DRAW_EXTRA_BYTES random bytes; r and s are curveOrderBytes(id) each. SM2 has no use for the private key n - 1.
 */
export function sm2Sign(
  id: u32,
  d: usize,
  digest: usize,
  digestLength: u32,
  nonceDraw: usize,
  outR: usize,
  outS: usize,
): i32 {
  const curve = curveLoad(id);
  const words = curve.words;
  scalarLoad(D, d);
  bnAddWord(U, D, 1, words);
  // 0 < d and d + 1 < n
  if (!(scalarIsValid(D) & scalarIsValid(U))) return SIGN_BAD_KEY;
  scalarFromDraw(K, nonceDraw, curve.bytes + DRAW_EXTRA_BYTES);
  multiplyBase(id, K, X, Y);
  orderFromField(curve, R, X);
  scalarReduce(E, digest, digestLength);
  scalarAdd(R, R, E);
  scalarAdd(T, R, K);
  const unfit = bnIsZero(R, words) | bnIsZero(T, words);
  scalarNegate(T, D);
  scalarMulAdd(S, R, T, K);
  scalarInvert(U);
  scalarMul(S, S, U);
  memory.fill(SECRETS, 0, 384);
  scalarWipe();
  if (unfit | bnIsZero(S, words)) return SIGN_AGAIN;
  bnToBytes(outR, curve.bytes, R);
  bnToBytes(outS, curve.bytes, S);
  return SIGNED;
}

/** Whether (r, s) is a signature of the digest by the key (x, y), which is checked to be on the curve. */
export function sm2Verify(id: u32, x: usize, y: usize, digest: usize, digestLength: u32, r: usize, s: usize): u32 {
  const curve = curveLoad(id);
  scalarLoad(R, r);
  scalarLoad(S, s);
  if (!(scalarIsValid(R) & scalarIsValid(S))) return 0;
  if (!loadPoint(x, y, X, Y)) return 0;
  scalarAdd(E, R, S);
  if (bnIsZero(E, curve.words)) return 0;
  if (!multiplyAddPublic(id, S, 0, 0, E, X, Y, X, Y)) return 0;
  orderFromField(curve, X, X);
  scalarReduce(E, digest, digestLength);
  scalarAdd(E, E, X);
  return bnEqual(E, R, curve.words) & 1;
}
