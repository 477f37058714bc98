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
  curveBits,
  curveFieldBytes,
  curveOrderBytes,
  curveParameter,
} from "../ec-curve";
export * from "../ecdsa";
