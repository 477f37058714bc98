// Generates the engine's unmarshalling, marshalling and dispatch (assembly/tpm2/generated) from src/spec.
//
//   node scripts/generate.mjs          writes the files
//   node scripts/generate.mjs --check  says which files are stale, exit status 1 if any
//
// Which commands the engine has follows from the functions that stand in assembly/tpm2/commands.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root } from "./build-wasm.mjs";

const outDir = path.join(root, "assembly/tpm2/generated");

/** The functions that stand in the chapter files: name -> { file, resumable, hasInput }. */
function commandFunctions() {
  const folder = path.join(root, "assembly/tpm2/commands");
  const found = new Map();
  if (!existsSync(folder)) return found;
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith(".ts")) continue;
    const text = readFileSync(path.join(folder, file), "utf8");
    for (const [, name] of text.matchAll(/^export function ([A-Z]\w*)\(/gm)) found.set(name, file.replace(/\.ts$/, ""));
  }
  return found;
}

function compileTables() {
  const tsc = path.join(root, "node_modules/typescript/bin/tsc");
  const run = spawnSync(process.execPath, [tsc, "-p", "tsconfig.spec.json"], { cwd: root, encoding: "utf8" });
  if (run.status !== 0) throw new Error(run.stdout + run.stderr);
}

async function main() {
  const check = process.argv.includes("--check");
  compileTables();
  const { generateEngine } = await import("../build/spec/spec/engine-generator.js").catch(
    () => import("../build/spec/engine-generator.js"),
  );
  const files = generateEngine(commandFunctions());
  mkdirSync(outDir, { recursive: true });
  let stale = 0;
  for (const [name, text] of Object.entries(files)) {
    const at = path.join(outDir, name);
    if (existsSync(at) && readFileSync(at, "utf8") === text) continue;
    if (check) {
      console.error(`stale: ${path.relative(root, at)} (run: npm run generate)`);
      stale++;
    } else {
      writeFileSync(at, text);
      console.log(`wrote ${path.relative(root, at)}`);
    }
  }
  if (stale) process.exit(1);
}

await main();
