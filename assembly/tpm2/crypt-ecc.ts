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
  PARAMETER_A,
  PARAMETER_B,
  PARAMETER_GX,
  PARAMETER_GY,
  PARAMETER_N,
  PARAMETER_P,
  curveBits,
  curveFieldBytes,
  curveOrderBytes,
  curveParameter,
} from "../crypto/ec-curve";
import { DRAW_EXTRA_BYTES, ecMultiply, ecPointValid, ecPrivateFromDraw, ecPrivateValid, ecPublic } from "../crypto/ec";
import { TPM2B, set2B } from "./cursor";
import {
  TPM_ALG_ECDH,
  TPM_ALG_KDF1_SP800_56A,
  TPM_ALG_NULL,
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
import { TPMS_ALGORITHM_DETAIL_ECC, TPMS_ECC_POINT } from "./generated/structures";
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

/** Room for a number of the largest curve, or a draw for one. */
export const ECC_BYTES_MAX: u32 = MAX_CURVE_BYTES + DRAW_EXTRA_BYTES;

const X: usize = memory.data(MAX_CURVE_BYTES, 16);
const Y: usize = memory.data(MAX_CURVE_BYTES, 16);
const D: usize = memory.data(MAX_CURVE_BYTES, 16);
const OUT_X: usize = memory.data(MAX_CURVE_BYTES, 16);
const OUT_Y: usize = memory.data(MAX_CURVE_BYTES, 16);
const DRAW: usize = memory.data(ECC_BYTES_MAX, 16);

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
  memory.fill(DRAW, 0, ECC_BYTES_MAX);
}

/** out = number mod p, of the length of p. Only for public numbers: it takes time by their bits. */
export function eccReduce(number: TPM2B, curve: u32, out: TPM2B): void {
  const size = eccParameterBytes(curve);
  const p = curveParameter(curveNumber(curve), PARAMETER_P);
  out.size = size;
  memory.fill(out.buffer, 0, size);
  for (let i: u32 = 0; i < number.size * 8; i++) {
    const bit: u32 = (load<u8>(number.buffer + (i >> 3)) >> (7 - (i & 7))) & 1;
    const over = doubleAndAdd(out.buffer, size, bit);
    if (over != 0 || memory.compare(out.buffer, p, size) >= 0) subtract(out.buffer, p, size);
  }
}

/** a = 2a + bit over big-endian bytes; returns the bit that is carried out. */
function doubleAndAdd(a: usize, size: u32, bit: u32): u32 {
  let carry = bit;
  for (let i = size; i > 0; i--) {
    const byte: u32 = ((<u32>load<u8>(a + i - 1)) << 1) | carry;
    store<u8>(a + i - 1, <u8>byte);
    carry = byte >> 8;
  }
  return carry;
}

/** a -= b over big-endian bytes. */
function subtract(a: usize, b: usize, size: u32): void {
  let borrow: i32 = 0;
  for (let i = size; i > 0; i--) {
    const difference = <i32>load<u8>(a + i - 1) - <i32>load<u8>(b + i - 1) + borrow;
    store<u8>(a + i - 1, <u8>difference);
    borrow = difference >> 8;
  }
}

// The KDF hash that libtpms gives with each curve, by the crypto's number; the BN curves have none.
const KDF_HASHES = memory.data<u16>([0x0b, 0x0b, 0x0b, 0x0c, 0x0d, 0x10, 0x10, 0x12]);
const COFACTOR = memory.data<u8>([1]);

/** TPMS_ALGORITHM_DETAIL_ECC of a curve. */
export function eccGetParameters(curve: u32, out: TPMS_ALGORITHM_DETAIL_ECC): void {
  const id = curveNumber(curve);
  const size = curveFieldBytes(id);
  const kdfHash: u32 = load<u16>(KDF_HASHES + 2 * <usize>id);
  out.curveID = curve;
  out.keySize = curveBits(id);
  out.kdf.scheme = kdfHash == TPM_ALG_NULL ? TPM_ALG_NULL : TPM_ALG_KDF1_SP800_56A;
  out.kdf.details.kdf1_sp800_56a.hashAlg = kdfHash;
  out.sign.scheme = TPM_ALG_NULL;
  set2B(out.p, curveParameter(id, PARAMETER_P), size);
  set2B(out.a, curveParameter(id, PARAMETER_A), size);
  set2B(out.b, curveParameter(id, PARAMETER_B), size);
  set2B(out.gX, curveParameter(id, PARAMETER_GX), size);
  set2B(out.gY, curveParameter(id, PARAMETER_GY), size);
  set2B(out.n, curveParameter(id, PARAMETER_N), size);
  set2B(out.h, COFACTOR, 1);
}
