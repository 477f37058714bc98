// Writes the elliptic curves' data and field kernels: node scripts/generate-curves.mjs [--check]
//
//   assembly/crypto/generated/curve-data.ts   parameters, Montgomery constants and fixed-base tables of every curve
//   assembly/crypto/generated/field-*.ts      unrolled arithmetic for primes that are short sums of powers of two
//   assembly/crypto/generated/curve-answers.ts  known answers of the self-tests
//
// What the engine only trusts is proven here, for the very tables and shapes that are written: that no scalar meets an
// exceptional case of the addition formula (checkComb) and that no sum of products overflows (checkBounds).
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { checkBounds } from "./curves/bounds.mjs";
import { checkComb } from "./curves/comb.mjs";
import { curves, kernelPrimes } from "./curves/curves.mjs";
import { curveData } from "./curves/data.mjs";
import { fieldKernel } from "./curves/kernel.mjs";
import { selfTests } from "./curves/selftest.mjs";

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../assembly/crypto/generated");

const files = { "curve-data.ts": curveData(curves), "curve-answers.ts": selfTests(curves) };
for (const curve of curves) {
  checkComb(curve);
  checkBounds(curve);
  if (kernelPrimes[curve.name]) files[`field-${curve.name}.ts`] = fieldKernel(curve, kernelPrimes[curve.name]);
}

mkdirSync(folder, { recursive: true });
let stale = 0;
for (const [name, text] of Object.entries(files)) {
  const at = path.join(folder, name);
  let old = "";
  try {
    old = readFileSync(at, "utf8");
  } catch {
    // Not written yet.
  }
  if (old === text) continue;
  if (process.argv.includes("--check")) {
    console.error(`stale: assembly/crypto/generated/${name} (run: node scripts/generate-curves.mjs)`);
    stale++;
  } else {
    writeFileSync(at, text);
    console.log(`wrote assembly/crypto/generated/${name}`);
  }
}
process.exit(stale ? 1 : 0);
