// Elliptic curves by TPM identifier and on TPM structures: parameters of any length stand for numbers, results have the
// curve's length (Part 1, C.8).
import {
  CURVE_BN256,
  CURVE_BN638,
  CURVE_P192,
  CURVE_P224,
  CURVE_P256,
  CURVE_P384,
  CURVE_P521,
  CURVE_SM2,
  MAX_CURVE_BYTES,
  curveFieldBytes,
  curveOrderBytes,
} from "../crypto/ec-curve";
import { DRAW_EXTRA_BYTES, ecMultiply, ecPointValid, ecPrivateFromDraw, ecPrivateValid, ecPublic } from "../crypto/ec";
import { TPM2B, set2B } from "./cursor";
import {
  TPM_ALG_ECDH,
  TPM_ECC_BN_P256,
  TPM_ECC_BN_P638,
  TPM_ECC_NIST_P192,
  TPM_ECC_NIST_P224,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
  TPM_ECC_NIST_P521,
  TPM_ECC_SM2_P256,
  TPM_RC_ECC_POINT,
  TPM_RC_NO_RESULT,
} from "./generated/constants";
import { TPMS_ECC_POINT } from "./generated/structures";
import { cryptRandomGenerate } from "./random";
import { selfTestBeforeUse } from "./self-test";

/** The crypto's number of a curve; unmarshalling lets no other TPM_ECC_CURVE pass. */
export function curveNumber(curve: u32): u32 {
  switch (curve) {
    case TPM_ECC_NIST_P192:
      return CURVE_P192;
    case TPM_ECC_NIST_P224:
      return CURVE_P224;
    case TPM_ECC_NIST_P384:
      return CURVE_P384;
    case TPM_ECC_NIST_P521:
      return CURVE_P521;
    case TPM_ECC_BN_P256:
      return CURVE_BN256;
    case TPM_ECC_BN_P638:
      return CURVE_BN638;
    case TPM_ECC_SM2_P256:
      return CURVE_SM2;
  }
  return CURVE_P256;
}

/** Bytes of a coordinate, and of a scalar, of a curve. */
export function eccParameterBytes(curve: u32): u32 {
  return curveFieldBytes(curveNumber(curve));
}

/** Writes a parameter as a number of `size` bytes, constant time in its bytes. @returns false when it does not fit */
export function eccParameterToBytes(parameter: TPM2B, out: usize, size: u32): bool {
  const length = parameter.size;
  const extra = length > size ? length - size : 0;
  let high: u32 = 0;
  for (let i: u32 = 0; i < extra; i++) high |= load<u8>(parameter.buffer + i);
  const kept = length - extra;
  memory.fill(out, 0, size - kept);
  memory.copy(out + size - kept, parameter.buffer + extra, kept);
  return high == 0;
}

const X: usize = memory.data(MAX_CURVE_BYTES, 16);
const Y: usize = memory.data(MAX_CURVE_BYTES, 16);
const D: usize = memory.data(MAX_CURVE_BYTES, 16);
const OUT_X: usize = memory.data(MAX_CURVE_BYTES, 16);
const OUT_Y: usize = memory.data(MAX_CURVE_BYTES, 16);
const DRAW: usize = memory.data(MAX_CURVE_BYTES + 8, 16);

/** CryptEccIsPointOnCurve. */
export function eccIsPointOnCurve(curve: u32, point: TPMS_ECC_POINT): bool {
  const size = eccParameterBytes(curve);
  return (
    eccParameterToBytes(point.x, X, size) &&
    eccParameterToBytes(point.y, Y, size) &&
    ecPointValid(curveNumber(curve), X, Y) != 0
  );
}

/** CryptEccIsValidPrivateKey: between 0 and the order. */
export function eccIsValidPrivateKey(d: TPM2B, curve: u32): bool {
  const valid = eccParameterToBytes(d, D, eccParameterBytes(curve)) && ecPrivateValid(curveNumber(curve), D) != 0;
  memory.fill(D, 0, MAX_CURVE_BYTES);
  return valid;
}

/**
 * CryptEccPointMultiply: out = [d]point, or [d]G when `point` is null.
 * @returns 0, TPM_RC_ECC_POINT for a point that is not on the curve, TPM_RC_NO_RESULT when there is no result
 */
export function eccPointMultiply(out: TPMS_ECC_POINT, curve: u32, point: TPMS_ECC_POINT | null, d: TPM2B): u32 {
  const size = eccParameterBytes(curve);
  selfTestBeforeUse(TPM_ALG_ECDH);
  if (point != null && !eccIsPointOnCurve(curve, point)) return clearPoint(out, TPM_RC_ECC_POINT);
  const number = curveNumber(curve);
  let done: u32 = eccParameterToBytes(d, D, size) ? 1 : 0;
  if (point == null) done = done && ecPublic(number, D, OUT_X, OUT_Y);
  else done = done && ecMultiply(number, D, X, Y, OUT_X, OUT_Y);
  memory.fill(D, 0, MAX_CURVE_BYTES);
  if (!done) return clearPoint(out, TPM_RC_NO_RESULT);
  set2B(out.x, OUT_X, size);
  set2B(out.y, OUT_Y, size);
  memory.fill(OUT_X, 0, MAX_CURVE_BYTES);
  memory.fill(OUT_Y, 0, MAX_CURVE_BYTES);
  return 0;
}

function clearPoint(point: TPMS_ECC_POINT, rc: u32): u32 {
  point.x.size = 0;
  point.y.size = 0;
  return rc;
}

/** Bytes that eccKeyPairFromDraw takes. */
export function eccDrawBytes(curve: u32): u32 {
  return curveOrderBytes(curveNumber(curve)) + DRAW_EXTRA_BYTES;
}

/** A key pair from eccDrawBytes random bytes (FIPS 186-4, B.4.1). */
export function eccKeyPairFromDraw(point: TPMS_ECC_POINT, d: TPM2B, curve: u32, draw: usize): void {
  const number = curveNumber(curve);
  const size = eccParameterBytes(curve);
  ecPrivateFromDraw(number, draw, eccDrawBytes(curve), D);
  ecPublic(number, D, OUT_X, OUT_Y);
  set2B(d, D, size);
  set2B(point.x, OUT_X, size);
  set2B(point.y, OUT_Y, size);
  memory.fill(D, 0, MAX_CURVE_BYTES);
}

/** CryptEccNewKeyPair: an ephemeral key. */
export function eccNewKeyPair(point: TPMS_ECC_POINT, d: TPM2B, curve: u32): void {
  selfTestBeforeUse(TPM_ALG_ECDH);
  cryptRandomGenerate(DRAW, eccDrawBytes(curve));
  eccKeyPairFromDraw(point, d, curve, DRAW);
  memory.fill(DRAW, 0, MAX_CURVE_BYTES + 8);
}
