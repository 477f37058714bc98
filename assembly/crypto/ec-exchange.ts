// The two-phase key exchanges that mix a static and an ephemeral key of either side (TPM2_ZGen_2Phase, Part 1, Annex C): ECMQV and
// SM2's. (The third scheme of that command, full-unified ECDH, is two calls of ecMultiply.) Byte strings as in ec.ts.
//
// Both have this shape: with "weighted" one key pair of a side and "plain" its other,
//   Z = [plain + avf(Qe.x)*weighted](plainB + [avf(QeB.x)]weightedB), avf(x) = 2^width + (x mod 2^width).
// The sum of B's points is public, so that only the last multiplication has to be in constant time.
import { bnToBytes } from "./bn";
import { loadPoint } from "./ec";
import { Curve, curveLoad } from "./ec-curve";
import { multiplyAddPublic, multiplyBase, multiplyPoint } from "./ec-multiply";
import { scalarIsValid, scalarLoad, scalarMulAdd, scalarWipe } from "./ec-scalar";

const SECRETS: usize = memory.data(480, 16);
const PLAIN: usize = SECRETS;
const WEIGHTED: usize = SECRETS + 96;
const T: usize = SECRETS + 192;
const X: usize = SECRETS + 288;
const Y: usize = SECRETS + 384;
const PLAIN_X: usize = memory.data(96, 16);
const PLAIN_Y: usize = memory.data(96, 16);
const WEIGHTED_X: usize = memory.data(96, 16);
const WEIGHTED_Y: usize = memory.data(96, 16);
const VALUE: usize = memory.data(96, 16);
const ONE: usize = memory.data<u32>([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 16);

/**
 * ECMQV (SP 800-56A, 5.7.2.3.1, full form), the TPM's side: ds, de its static and ephemeral private keys, (qsx, qsy) and
 * (qex, qey) the other side's public keys.
 *
 * @returns 1, or 0 when a key is refused or the result is infinity; then nothing is written
 */
export function ecmqvExchange(
  id: u32,
  ds: usize,
  de: usize,
  qsx: usize,
  qsy: usize,
  qex: usize,
  qey: usize,
  outX: usize,
  outY: usize,
): u32 {
  const curve = curveLoad(id);
  scalarLoad(PLAIN, de);
  scalarLoad(WEIGHTED, ds);
  if (!loadPoint(qex, qey, PLAIN_X, PLAIN_Y) || !loadPoint(qsx, qsy, WEIGHTED_X, WEIGHTED_Y)) return 0;
  return exchange(id, curve, (curve.bits + 1) >> 1, PLAIN, PLAIN_X, outX, outY);
}

/** SM2 (GM/T 0003.3, 6.1), arguments and answer as ecmqvExchange. */
export function sm2Exchange(
  id: u32,
  ds: usize,
  de: usize,
  qsx: usize,
  qsy: usize,
  qex: usize,
  qey: usize,
  outX: usize,
  outY: usize,
): u32 {
  const curve = curveLoad(id);
  scalarLoad(PLAIN, ds);
  scalarLoad(WEIGHTED, de);
  if (!loadPoint(qsx, qsy, PLAIN_X, PLAIN_Y) || !loadPoint(qex, qey, WEIGHTED_X, WEIGHTED_Y)) return 0;
  return exchange(id, curve, ((curve.bits + 1) >> 1) - 1, WEIGHTED, WEIGHTED_X, outX, outY);
}

/** The rest of both: `ephemeral` is the ephemeral key among PLAIN and WEIGHTED, `qex` the x of the other side's. */
function exchange(id: u32, curve: Curve, width: u32, ephemeral: usize, qex: usize, outX: usize, outY: usize): u32 {
  let done = scalarIsValid(PLAIN) & scalarIsValid(WEIGHTED) & 1;
  if (done) {
    multiplyBase(id, ephemeral, X, Y);
    associatedValue(X, width, curve.words);
    scalarMulAdd(T, X, WEIGHTED, PLAIN);
    memory.copy(VALUE, qex, curve.words << 2);
    associatedValue(VALUE, width, curve.words);
    done =
      scalarIsValid(T) & multiplyAddPublic(id, ONE, PLAIN_X, PLAIN_Y, VALUE, WEIGHTED_X, WEIGHTED_Y, PLAIN_X, PLAIN_Y);
    if (done) {
      multiplyPoint(id, T, PLAIN_X, PLAIN_Y, X, Y);
      bnToBytes(outX, curve.bytes, X);
      bnToBytes(outY, curve.bytes, Y);
    }
  }
  memory.fill(SECRETS, 0, 480);
  scalarWipe();
  return done;
}

/** x = 2^width + (x mod 2^width), which is below n. */
function associatedValue(x: usize, width: u32, words: u32): void {
  const top = width >> 5;
  const word = x + (top << 2);
  store<u32>(word, (load<u32>(word) & ((1 << (width & 31)) - 1)) | (1 << (width & 31)));
  memory.fill(word + 4, 0, (words - 1 - top) << 2);
}
