// What a runtime's relaxed multiply-add does, found out without any of the project's modules.
import { Buffer } from "node:buffer";
import { setFlagsFromString } from "node:v8";

/** (module (func (export "m") (param f64 f64 f64) (result f64) …)): the first lane of f64x2.relaxed_madd of the arguments. */
const MODULE = Buffer.from(
  [
    "0061736d01000000", // magic number, version
    "0108016003" + "7c7c7c" + "017c", // type 0: (f64, f64, f64) -> f64
    "03020100", // function 0 is of type 0
    "070501016d0000", // it is exported as "m"
    "0a16011400", // its code, without locals:
    "2000fd14" + "2001fd14" + "2002fd14", // local.get, f64x2.splat for each argument
    "fd8702", // f64x2.relaxed_madd
    "fd21000b", // f64x2.extract_lane 0
  ].join(""),
  "hex",
);

/** So often that every tier of a compiler has its turn. */
const ROUNDS = 300_000;

/** Node 20 has relaxed SIMD behind a flag, which the package sets as well. */
const BEHIND_FLAG = process.release.name === "node" && process.versions.node.startsWith("20.") && !process.versions.bun;

/** "none": the runtime refuses relaxed SIMD. "once" and "twice": how often it rounds. "varying": that depends. */
export function relaxedMultiplyAdd() {
  if (BEHIND_FLAG) setFlagsFromString("--experimental-wasm-relaxed-simd");
  if (!WebAssembly.validate(MODULE)) return "none";
  const { m } = new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports;
  // (1 + e)^2 - (1 + 2e) is e^2, which a product rounded to 53 bits has lost.
  const e = 2 ** -30;
  let exact = 0;
  for (let round = 0; round < ROUNDS; round++) if (m(1 + e, 1 + e, -(1 + 2 * e)) === e * e) exact++;
  return exact === ROUNDS ? "once" : exact === 0 ? "twice" : "varying";
}
