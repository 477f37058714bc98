// Generates the types of the codec's values (src/codec/generated) from src/spec.
//
//   node scripts/generate-codec-types.mjs          writes the files
//   node scripts/generate-codec-types.mjs --check  says which files are stale, exit status 1 if any
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root } from "./build-wasm.mjs";

const tsc = path.join(root, "node_modules/typescript/bin/tsc");
const compiled = spawnSync(process.execPath, [tsc, "-p", "tsconfig.spec.json"], { cwd: root, encoding: "utf8" });
if (compiled.status !== 0) throw new Error(compiled.stdout + compiled.stderr);

const { generateCodecTypes } = await import("../build/spec/spec/codec-types-generator.js").catch(
  () => import("../build/spec/codec-types-generator.js"),
);
const outDir = path.join(root, "src/codec/generated");
mkdirSync(outDir, { recursive: true });
const check = process.argv.includes("--check");
for (const [name, text] of Object.entries(generateCodecTypes())) {
  const file = path.join(outDir, name);
  if (existsSync(file) && readFileSync(file, "utf8") === text) continue;
  if (check) {
    console.error(`stale: ${path.relative(root, file)} (run: node scripts/generate-codec-types.mjs)`);
    process.exitCode = 1;
  } else {
    writeFileSync(file, text);
    console.log(`wrote ${path.relative(root, file)}`);
  }
}
