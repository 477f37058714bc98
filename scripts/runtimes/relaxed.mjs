// What a runtime's relaxed multiply-add does, found out without any of the project's modules.

/** f64x2.relaxed_madd of the arguments' first lanes: (module (func (export "m") (param f64 f64 f64) (result f64) …)). */
// prettier-ignore
const MODULE = Uint8Array.of(
  0,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0,
  1,
  8,
  1,
  0x60,
  3,
  0x7c,
  0x7c,
  0x7c,
  1,
  0x7c, // type 0: (f64, f64, f64) -> f64
  3,
  2,
  1,
  0, // function 0: type 0
  7,
  5,
  1,
  1,
  0x6d,
  0,
  0, // export "m"
  10,
  22,
  1,
  20,
  0, // code: no locals
  0x20,
  0,
  0xfd,
  0x14,
  0x20,
  1,
  0xfd,
  0x14,
  0x20,
  2,
  0xfd,
  0x14, // three times local.get, f64x2.splat
  0xfd,
  0x87,
  0x02, // f64x2.relaxed_madd
  0xfd,
  0x21,
  0,
  0x0b, // f64x2.extract_lane 0
);

/** So often that every tier of a compiler has its turn. */
const ROUNDS = 300_000;

/** "none": the runtime refuses relaxed SIMD. "once" and "twice": how often it rounds. "varying": that depends. */
export function relaxedMultiplyAdd() {
  if (!WebAssembly.validate(MODULE)) return "none";
  const { m } = new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports;
  // (1 + e)^2 - (1 + 2e) is e^2, which a product rounded to 53 bits has lost.
  const e = 2 ** -30;
  let exact = 0;
  for (let round = 0; round < ROUNDS; round++) if (m(1 + e, 1 + e, -(1 + 2 * e)) === e * e) exact++;
  return exact === ROUNDS ? "once" : exact === 0 ? "twice" : "varying";
}
