// The known-answer tests of the cryptography's test builds on the runtime that runs this: RUNTIME crypto.mjs MODULE.wasm…
//
// Where the runtime's multiply-add rounds twice, the tests of what uses it have to fail: that they do is what is checked.
import { readFileSync } from "node:fs";
import path from "node:path";
import { relaxedMultiplyAdd } from "./relaxed.mjs";
import { check, expectEqual } from "./report.mjs";

const ALL_RIGHT = 0xffffffff;
const RSA_SCHEMES = 5;
/** So long each test of a build is repeated: what passed in a fast compiler's code must pass in the optimizing compiler's. */
const REPEAT_MS = 500;

const numbers = (count) => Array.from({ length: count }, (_, i) => i);

/** The tests of a module by the names of its exports: calls, and what each answers where it passes. */
function testsOf(exports) {
  const calls = [];
  const count = (name) => Number(exports[name].value);
  if (exports.symmetricSelfTest) {
    for (const id of numbers(count("SELF_TEST_SYMMETRIC_COUNT"))) calls.push([() => exports.symmetricSelfTest(id), 1]);
  }
  if (exports.rsaKernelSelfTest) {
    calls.push([() => exports.rsaKernelSelfTest(), ALL_RIGHT]);
    for (const scheme of numbers(RSA_SCHEMES)) calls.push([() => exports.rsaSelfTest(scheme), ALL_RIGHT]);
  }
  if (exports.ecSelfTest) {
    for (const curve of numbers(count("CURVE_COUNT"))) {
      for (const scheme of numbers(count("SELF_TEST_ECC_COUNT")))
        calls.push([() => exports.ecSelfTest(curve, scheme), 1]);
    }
  }
  if (calls.length === 0) throw new Error("the module has no self-test");
  return calls;
}

/** How many of the calls passed, in every repetition; @throws Error when a repetition had another outcome. */
function passedOf(calls) {
  const round = () => calls.map(([call, right]) => call() >>> 0 === right);
  const first = round();
  for (const end = performance.now() + REPEAT_MS; performance.now() < end; ) {
    round().forEach((passed, i) => {
      if (passed !== first[i]) throw new Error(`test ${i} ${passed ? "passed" : "failed"} only when it was repeated`);
    });
  }
  return first.filter(Boolean).length;
}

const rounds = relaxedMultiplyAdd();
await check("relaxed multiply-add is told", () => {
  expectEqual("its rounding varies", rounds === "varying", false);
  return rounds === "none" ? "no relaxed SIMD" : `rounds ${rounds}`;
});

for (const file of process.argv.slice(2)) {
  const name = path.basename(file, ".wasm");
  await check(name, () => {
    const bytes = new Uint8Array(readFileSync(file));
    const relaxed = name.endsWith("-fma");
    expectEqual("the runtime accepts the module", WebAssembly.validate(bytes), !relaxed || rounds !== "none");
    if (relaxed && rounds === "none") return "refused, as a runtime without relaxed SIMD must";
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    const calls = testsOf(exports);
    const mustFail = relaxed && rounds === "twice" && "rsaKernelSelfTest" in exports;
    expectEqual("tests passed", passedOf(calls), mustFail ? 0 : calls.length);
    return mustFail ? `all ${calls.length} tests fail, as they must without fusing` : `all ${calls.length} tests pass`;
  });
}
