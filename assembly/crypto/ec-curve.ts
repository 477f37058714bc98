// The curves, and the one that is loaded: its field, its order, and its coefficient b ready for computing.
import { bnFromBytes } from "./bn";
import { ELEMENT_SIZE, MODULUS_SIZE, modulusLoad, montgomeryFromWords } from "./field-montgomery";
import { CURVES } from "./generated/curve-data";

export const CURVE_P192: u32 = 0;
export const CURVE_P224: u32 = 1;
export const CURVE_P256: u32 = 2;
export const CURVE_P384: u32 = 3;
export const CURVE_P521: u32 = 4;
export const CURVE_BN256: u32 = 5;
export const CURVE_BN638: u32 = 6;
export const CURVE_SM2: u32 = 7;
export const CURVE_COUNT: u32 = 8;

/** Parameters of a curve, for curveParameter. The cofactor h of every curve is 1. */
export const PARAMETER_P: u32 = 0;
export const PARAMETER_A: u32 = 1;
export const PARAMETER_B: u32 = 2;
export const PARAMETER_GX: u32 = 3;
export const PARAMETER_GY: u32 = 4;
export const PARAMETER_N: u32 = 5;

/** Bytes of a coordinate or scalar of the largest curve. */
export const MAX_CURVE_BYTES: u32 = 80;

/** What is known of a curve; written by scripts/curves/data.mjs. */
@unmanaged
export class Curve {
  /** Bits of p, and of n: they agree for every curve. */
  bits: u32;
  bytes: u32;
  words: u32;
  fieldWidth: u32;
  fieldLimbs: u32;
  orderLimbs: u32;
  /** 1 when the coefficient a is 0, else a is -3. */
  aIsZero: u32;
  /** The comb of multiples of G: combs * 2^(teeth-1) points. */
  combs: u32;
  teeth: u32;
  rows: u32;
  /** Points in the table of odd multiples of G, 0 when there is none. */
  oddCount: u32;
  /** p, a, b, x and y of G, n: big-endian, `bytes` each. */
  parameters: usize;
  /** Words of R^2 mod p, R^2 mod n, and (one word more) floor(2^(64*words) / (n - 1)). */
  constants: usize;
  comb: usize;
  odd: usize;
}

/** The loaded curve's field, order (see class Modulus) and coefficient b. */
export const FIELD: usize = memory.data(704, 16);
export const ORDER: usize = memory.data(704, 16);
export const COEFFICIENT_B: usize = memory.data(192, 16);

/** Address of the loaded curve's record; 0 before the first. */
const LOADED: usize = memory.data(4, 4);
const WORDS: usize = memory.data(96, 16);

/** The record of curve `id`, which must be below CURVE_COUNT. */
@inline
export function curveOf(id: u32): Curve {
  return changetype<Curve>(CURVES + id * offsetof<Curve>());
}

/** Bits of the curve's prime and order. */
export function curveBits(id: u32): u32 {
  return curveOf(id).bits;
}

/** Bytes of a coordinate. */
export function curveFieldBytes(id: u32): u32 {
  return curveOf(id).bytes;
}

/** Bytes of a scalar. */
export function curveOrderBytes(id: u32): u32 {
  return curveOf(id).bytes;
}

/** Address of a PARAMETER_...: curveFieldBytes(id) big-endian bytes. */
export function curveParameter(id: u32, parameter: u32): usize {
  const curve = curveOf(id);
  return curve.parameters + parameter * curve.bytes;
}

/** The curve the last call loaded. */
@inline
export function loadedCurve(): Curve {
  return changetype<Curve>(load<usize>(LOADED));
}

/** Makes a curve the one that FIELD, ORDER and COEFFICIENT_B belong to. */
export function curveLoad(id: u32): Curve {
  const curve = curveOf(id);
  if (load<usize>(LOADED) == changetype<usize>(curve)) return curve;
  store<usize>(LOADED, changetype<usize>(curve));
  bnFromBytes(WORDS, curve.words, curveParameter(id, PARAMETER_P), curve.bytes);
  modulusLoad(FIELD, curve.bits, curve.fieldLimbs, curve.fieldWidth, WORDS, curve.constants);
  bnFromBytes(WORDS, curve.words, curveParameter(id, PARAMETER_N), curve.bytes);
  modulusLoad(ORDER, curve.bits, curve.orderLimbs, 28, WORDS, curve.constants + (curve.words << 2));
  bnFromBytes(WORDS, curve.words, curveParameter(id, PARAMETER_B), curve.bytes);
  montgomeryFromWords(COEFFICIENT_B, WORDS, FIELD);
  return curve;
}
