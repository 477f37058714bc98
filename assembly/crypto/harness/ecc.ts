// Everything of the elliptic curves, exported for tests and benchmarks.
// Its place matters to the compiler option abort=assembly/abort/abort only.
import "../../abort";
export * from "../ec";
export {
  CURVE_BN256,
  CURVE_BN638,
  CURVE_COUNT,
  CURVE_P192,
  CURVE_P224,
  CURVE_P256,
  CURVE_P384,
  CURVE_P521,
  CURVE_SM2,
  FIELD,
  ORDER,
  curveBits,
  curveFieldBytes,
  curveLoad,
  curveOrderBytes,
  curveParameter,
} from "../ec-curve";
export * from "../ec-encrypt";
export * from "../ec-exchange";
export * from "../ec-selftest";
export * from "../ecdaa";
export * from "../ecdsa";
export { scalarAdd, scalarMul, scalarMulAdd, scalarNegate, scalarReduce } from "../ec-scalar";
export { invertWords } from "../field-inverse";
export {
  limbsFromWords,
  montgomeryFromWords,
  montgomeryMulSub,
  montgomeryToWords,
  wordsFromLimbs,
} from "../field-montgomery";
export { p256Gather, p256Mul, p256MulSub, p256Sqr, p256SqrSub } from "../generated/field-p256";
export { p384Gather, p384Mul, p384MulSub, p384Sqr, p384SqrSub } from "../generated/field-p384";
export { p521Gather, p521Mul, p521MulSub, p521Sqr, p521SqrSub } from "../generated/field-p521";
export * from "../ecschnorr";
export * from "../sm2";
