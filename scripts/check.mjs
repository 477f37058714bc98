// Everything that can be wrong without running the tests: node scripts/check.mjs
//
// Types, lint and format of the TypeScript, format of the AssemblyScript, and whether each generated file is fresh. All checks
// run, whatever the ones before them found; the exit status is 1 if any found something.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const module = (name) => path.join("node_modules", name);

const checks = {
  "types of src": [module("typescript/bin/tsc"), "-p", "tsconfig.json", "--noEmit"],
  "types of the tests": [module("typescript/bin/tsc"), "-p", "tsconfig.test.json", "--noEmit"],
  "lint and format": [module("@biomejs/biome/bin/biome"), "check", "--error-on-warnings"],
  "format of assembly": ["scripts/format-assembly.mjs"],
  "generated engine tables": ["scripts/generate.mjs", "--check"],
  "generated codec types": ["scripts/generate-codec-types.mjs", "--check"],
  "generated kernels": ["scripts/generate-kernels.mjs", "--check"],
  "generated hashes": ["scripts/generate-hashes.mjs", "--check"],
  "generated curves": ["scripts/generate-curves.mjs", "--check"],
};

const wrong = [];
for (const [name, words] of Object.entries(checks)) {
  const started = performance.now();
  const run = spawnSync(process.execPath, words, { cwd: root, encoding: "utf8" });
  const good = run.status === 0;
  console.log(`${good ? "ok  " : "FAIL"} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  if (good) continue;
  wrong.push(name);
  process.stdout.write(`${run.stdout ?? ""}${run.stderr ?? ""}${run.error ? `${run.error.message}\n` : ""}`);
}
if (wrong.length > 0) {
  console.error(`check: ${wrong.join(", ")} failed`);
  process.exit(1);
}
