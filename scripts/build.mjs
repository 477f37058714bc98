// Builds the package into dist: node scripts/build.mjs [--no-wasm]
//
//   assembly/  -> dist/wasm/*.wasm        (scripts/build-wasm.mjs; only what is out of date)
//   src/       -> build/js                (tsc)
//   build/js   -> dist/*.js, dist/bin     (rollup), dist/types (declarations)
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { buildWasm, targets } from "./build-wasm.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);

function typescript() {
  rmSync("build/js", { recursive: true, force: true });
  const tsc = path.join("node_modules", "typescript", "bin", "tsc");
  try {
    execFileSync(process.execPath, [tsc, "-p", "tsconfig.json"], { stdio: "inherit" });
  } catch {
    throw new Error("the TypeScript sources have errors (above); nothing was bundled");
  }
}

async function bundle() {
  for (const entry of readdirSync("dist")) {
    if (entry !== "wasm") rmSync(path.join("dist", entry), { recursive: true, force: true });
  }
  const { rollup } = await import("rollup");
  const { default: config } = await import("../rollup.config.mjs");
  const made = await rollup({ ...config, onwarn: (warning) => console.warn(warning.message) });
  await made.write(config.output);
  await made.close();
  chmodSync("dist/bin/wtpm.js", 0o755);
}

/** Declarations beside the bundles, with the extensions that a user's compiler looks for. */
function declarations() {
  if (!existsSync("build/js/index.d.ts")) return;
  for (const file of filesUnder("build/js")) {
    if (!file.endsWith(".d.ts")) continue;
    const target = path.join("dist/types", path.relative("build/js", file));
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, readFileSync(file, "utf8").replaceAll(/(from |import\()"(\.[^"]*)\.ts"/g, '$1"$2.js"'));
  }
  writeFileSync("dist/index.d.ts", 'export * from "./types/index.js";\n');
}

function filesUnder(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
}

try {
  mkdirSync("dist", { recursive: true });
  if (!process.argv.includes("--no-wasm")) {
    const shipped = Object.keys(targets).filter(
      (name) => targets[name].out.startsWith("dist/") && existsSync(targets[name].entry),
    );
    await buildWasm(shipped);
  }
  typescript();
  await bundle();
  declarations();
} catch (error) {
  console.error(`build failed: ${error.message}`);
  process.exit(1);
}
