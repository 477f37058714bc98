// Formats AssemblyScript with the project's formatter: node scripts/format-assembly.mjs [--write]
//
// AssemblyScript allows decorators on functions and variables, which TypeScript's grammar does not. They are turned into
// comments for the formatter and back afterwards; without --write the files that would change are listed and the exit
// status is 1.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { root } from "./build-wasm.mjs";

const DECORATOR = /^(\s*)@(inline|external|unsafe|global|lazy|builtin|final)(\(.*\))?\s*$/gm;
const COMMENT = /^(\s*)\/\/@(inline|external|unsafe|global|lazy|builtin|final)(\(.*\))?\s*$/gm;

const write = process.argv.includes("--write");
const only = process.argv.slice(2).filter((a) => !a.startsWith("--"));
const work = mkdtempSync(path.join(tmpdir(), "wtpm-format-"));
const source = path.join(root, "assembly");
const files = readdirSync(source, { recursive: true })
  .map(String)
  .filter((f) => f.endsWith(".ts") && !f.split(path.sep).includes("generated"))
  .filter((f) => only.length === 0 || only.some((o) => path.resolve(source, f).startsWith(path.resolve(o))));
let stale = 0;
try {
  cpSync(path.join(root, "biome.json"), path.join(work, "biome.json"));
  const config = JSON.parse(readFileSync(path.join(work, "biome.json"), "utf8"));
  config.files.includes = ["assembly/**"];
  delete config.$schema;
  writeFileSync(path.join(work, "biome.json"), JSON.stringify(config));
  for (const file of files) {
    const at = path.join(work, "assembly", file);
    mkdirSync(path.dirname(at), { recursive: true });
    writeFileSync(at, readFileSync(path.join(source, file), "utf8").replace(DECORATOR, "$1//@$2$3"));
  }
  const biome = path.join(root, "node_modules/@biomejs/biome/bin/biome");
  const run = spawnSync(process.execPath, [biome, "format", "--write", "--log-level=error", "assembly"], {
    cwd: work,
    encoding: "utf8",
  });
  if (run.status !== 0) {
    process.stderr.write(run.stdout + run.stderr);
    stale++;
  }
  for (const file of files) {
    const formatted = readFileSync(path.join(work, "assembly", file), "utf8").replace(COMMENT, "$1@$2$3");
    const at = path.join(source, file);
    if (formatted === readFileSync(at, "utf8")) continue;
    if (write) writeFileSync(at, formatted);
    else {
      console.error(`not formatted: assembly/${file}`);
      stale++;
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
process.exit(stale ? 1 : 0);
