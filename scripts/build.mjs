// Builds the package into dist: node scripts/build.mjs [--no-wasm]
//
//   assembly/  -> dist/wasm/*.wasm        (scripts/build-wasm.mjs; only what is out of date)
//   src/       -> build/js                (tsc)
//   bindings/  -> build/bindings          (tsc)
//   build/*    -> dist/*.js, dist/bin, dist/browser (rollup), dist/types (declarations)
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { buildWasm, targets } from "./build-wasm.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);

function typescript() {
  for (const folder of ["build/js", "build/bindings"]) rmSync(folder, { recursive: true, force: true });
  const tsc = path.join("node_modules", "typescript", "bin", "tsc");
  try {
    for (const config of ["tsconfig.json", "tsconfig.bindings.json"]) {
      execFileSync(process.execPath, [tsc, "-p", config], { stdio: "inherit" });
    }
  } catch {
    throw new Error("the TypeScript sources have errors (above); nothing was bundled");
  }
}

async function bundle() {
  for (const entry of readdirSync("dist")) {
    if (entry !== "wasm") rmSync(path.join("dist", entry), { recursive: true, force: true });
  }
  const { rollup } = await import("rollup");
  const { default: config, browser } = await import("../rollup.config.mjs");
  for (const each of [config, browser]) {
    const made = await rollup({ onwarn: (warning) => console.warn(warning.message), ...each });
    await made.write(each.output);
    await made.close();
  }
  chmodSync("dist/bin/wtpm.js", 0o755);
}

/** Declarations beside the bundles, with the extensions that a user's compiler looks for. */
function declarations() {
  for (const [from, to] of [
    ["build/js", "dist/types"],
    ["build/bindings/bindings", "dist/types/bindings"],
  ]) {
    for (const file of filesUnder(from)) {
      if (!file.endsWith(".d.ts")) continue;
      const target = path.join(to, path.relative(from, file));
      const text = readFileSync(file, "utf8").replaceAll(/(from |import\()"(\.[^"]*)\.ts"/g, '$1"$2.js"');
      mkdirSync(path.dirname(target), { recursive: true });
      writeFileSync(target, text.replaceAll('"../../src/', '"../../'));
    }
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
