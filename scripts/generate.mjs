// Generates the engine's unmarshalling, marshalling and dispatch (assembly/tpm2/generated) from src/spec, and docs/commands.md.
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

/** What users ask first: which commands are there. */
function commandsPage(commands, there) {
  const names = commands.map((command) => command.name);
  const list = (some) => some.map((name) => `\`${name}\``).join(", ");
  const missing = names.filter((name) => !there.has(name));
  return `# Commands

The commands of the TPM 2.0 library specification (version 1.84) that the engine has. New TPMs have libtpms' null profile: commands that
libtpms 0.9 does not know (ECC_Encrypt, ECC_Decrypt, PolicyCapability, PolicyParameters) are off there and answer TPM_RC_COMMAND_CODE, as
do those that are not there.

There, ${names.length - missing.length}: ${list(names.filter((name) => there.has(name)))}.

Not there, ${missing.length}: ${list(missing)}.
`;
}

async function main() {
  const check = process.argv.includes("--check");
  compileTables();
  const { generateEngine } = await import("../build/spec/spec/engine-generator.js");
  const { generateProfileTables } = await import("../build/spec/spec/profile-generator.js");
  const { commands } = await import("../build/spec/spec/commands.js");
  const there = commandFunctions();
  const files = Object.entries({ ...generateEngine(there), "profile-tables.ts": generateProfileTables() }).map(
    ([name, text]) => [path.join(outDir, name), text],
  );
  files.push([path.join(root, "docs/commands.md"), commandsPage(commands, there)]);
  mkdirSync(outDir, { recursive: true });
  let stale = 0;
  for (const [at, text] of files) {
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
