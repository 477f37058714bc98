// The TPM's Schnorr signature (Part 1, Annex C): r = H(x(kG) || digest), s = k + r*d mod n. The x coordinate enters the hash with
// all its bytes, and of the hash as many leading bytes are used as n has. Byte strings as in ec.ts, hashes as in hash.ts.
import { bnEqual, bnFromBytes, bnIsZero, bnToBytes } from "./bn";
import { DRAW_EXTRA_BYTES, SIGNED, SIGN_AGAIN, SIGN_BAD_KEY, loadPoint } from "./ec";
import { Curve, curveLoad } from "./ec-curve";
import { multiplyAddPublic, multiplyBase } from "./ec-multiply";
import { scalarFromDraw, scalarIsValid, scalarLoad, scalarMulAdd, scalarNegate, scalarWipe } from "./ec-scalar";
import { hashDigestSize, hashFinal, hashInit, hashUpdate } from "./hash";

const SECRETS: usize = memory.data(192, 16);
const D: usize = SECRETS;
const K: usize = SECRETS + 96;
const X: usize = memory.data(96, 16);
const Y: usize = memory.data(96, 16);
const R: usize = memory.data(96, 16);
const S: usize = memory.data(96, 16);
const E: usize = memory.data(96, 16);
const BYTES: usize = memory.data(80, 16);
const HASH: usize = memory.data(336, 16);

/**
 * Signs a digest. `nonceDraw` is curveOrderBytes(id) + DRAW_EXTRA_BYTES random bytes; r and s are curveOrderBytes(id) each. A
 * hash that is 0 or not below n asks for another nonce, because no verifier takes such an r.
 */
export function ecschnorrSign(
  id: u32,
  h: u32,
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
  challenge(curve, h, X, digest, digestLength, R);
  const good = scalarIsValid(R);
  scalarMulAdd(S, R, D, K);
  memory.fill(SECRETS, 0, 192);
  scalarWipe();
  if (!good || bnIsZero(S, curve.words)) return SIGN_AGAIN;
  bnToBytes(outR, curve.bytes, R);
  bnToBytes(outS, curve.bytes, S);
  return SIGNED;
}

/** Whether (r, s) is a signature of the digest by the key (x, y), which is checked to be on the curve. */
export function ecschnorrVerify(
  id: u32,
  h: u32,
  x: usize,
  y: usize,
  digest: usize,
  digestLength: u32,
  r: usize,
  s: usize,
): u32 {
  const curve = curveLoad(id);
  scalarLoad(R, r);
  scalarLoad(S, s);
  if (!(scalarIsValid(R) & scalarIsValid(S))) return 0;
  if (!loadPoint(x, y, X, Y)) return 0;
  // The point that was hashed is [s]G - [r]Q.
  scalarNegate(E, R);
  if (!multiplyAddPublic(id, S, 0, 0, E, X, Y, X, Y)) return 0;
  challenge(curve, h, X, digest, digestLength, E);
  return bnEqual(E, R, curve.words) & 1;
}

/** r = the leading bytes of H(x || digest). */
function challenge(curve: Curve, h: u32, x: usize, digest: usize, digestLength: u32, r: usize): void {
  bnToBytes(BYTES, curve.bytes, x);
  hashInit(h, HASH);
  hashUpdate(h, HASH, BYTES, curve.bytes);
  hashUpdate(h, HASH, digest, digestLength);
  hashFinal(h, HASH, BYTES);
  bnFromBytes(r, curve.words, BYTES, min(hashDigestSize(h), curve.bytes));
}
