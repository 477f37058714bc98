// Builds the WebAssembly modules that are out of date: node scripts/build-wasm.mjs [target…]
//
// A target is rebuilt when the text of any file under its roots, asconfig.json, this script or the compiler's version
// changed since its last build; the digest of all that stands beside the output.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

const RELAXED = ["--enable", "relaxed-simd"];

/** name -> entry file, output, the folders whose files it can import, further compiler options. */
export const targets = {
  tpm2: { entry: "assembly/tpm2/index.ts", out: "dist/wasm/tpm2.wasm", roots: ["assembly/tpm2", "assembly/crypto"] },
  "tpm2-fma": {
    entry: "assembly/tpm2/index.ts",
    out: "dist/wasm/tpm2-fma.wasm",
    roots: ["assembly/tpm2", "assembly/crypto"],
    options: RELAXED,
  },
  frontend: { entry: "assembly/frontend/index.ts", out: "dist/wasm/frontend.wasm", roots: ["assembly/frontend"] },
  // Test builds: every function of the crypto, exported, so that tests can drive the parts.
  "crypto-symmetric": {
    entry: "assembly/crypto/harness/symmetric.ts",
    out: "build/test/crypto-symmetric.wasm",
    roots: ["assembly/crypto"],
  },
  "crypto-symmetric-fma": {
    entry: "assembly/crypto/harness/symmetric.ts",
    out: "build/test/crypto-symmetric-fma.wasm",
    roots: ["assembly/crypto"],
    options: RELAXED,
  },
  "crypto-rsa": {
    entry: "assembly/crypto/harness/rsa.ts",
    out: "build/test/crypto-rsa.wasm",
    roots: ["assembly/crypto"],
  },
  "crypto-rsa-fma": {
    entry: "assembly/crypto/harness/rsa.ts",
    out: "build/test/crypto-rsa-fma.wasm",
    roots: ["assembly/crypto"],
    options: RELAXED,
  },
  "crypto-ecc": {
    entry: "assembly/crypto/harness/ecc.ts",
    out: "build/test/crypto-ecc.wasm",
    roots: ["assembly/crypto"],
  },
};

function filesUnder(folder) {
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const at = path.join(folder, entry.name);
    if (entry.isDirectory()) found.push(...filesUnder(at));
    else if (entry.name.endsWith(".ts")) found.push(at);
  }
  return found.sort();
}

function digestOf(target) {
  const hash = createHash("sha256");
  const files = [
    "asconfig.json",
    "scripts/build-wasm.mjs",
    "node_modules/assemblyscript/package.json",
    "assembly/abort.ts",
    ...target.roots.flatMap((folder) => filesUnder(path.join(root, folder)).map((f) => path.relative(root, f))),
  ];
  for (const file of files)
    hash
      .update(file)
      .update("\0")
      .update(readFileSync(path.join(root, file)))
      .update("\0");
  return hash.digest("hex");
}

async function build(name) {
  const target = targets[name];
  const out = path.join(root, target.out);
  const stamp = `${out}.digest`;
  const digest = digestOf(target);
  if (existsSync(out) && existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return false;
  mkdirSync(path.dirname(out), { recursive: true });
  const asc = await import("assemblyscript/asc");
  // Built beside the output and renamed over it: a reader never sees half a module.
  const part = `${target.out}.${process.pid}.part`;
  const { error, stderr } = await asc.main(
    [target.entry, "--outFile", part, "--target", "release", ...(target.options ?? [])],
    { baseDir: root },
  );
  if (error) throw new Error(`${name}: ${error.message}\n${stderr.toString()}`);
  const warnings = stderr.toString().trim();
  if (warnings) process.stderr.write(`${warnings}\n`);
  renameSync(path.join(root, part), out);
  writeFileSync(stamp, digest);
  console.log(`built ${target.out} (${statSync(out).size} bytes)`);
  return true;
}

/** Builds the named targets (all whose entry exists, when none is named). */
export async function buildWasm(names) {
  const wanted = names?.length
    ? names
    : Object.keys(targets).filter((n) => existsSync(path.join(root, targets[n].entry)));
  for (const name of wanted) {
    if (!targets[name]) throw new Error(`no target '${name}': ${Object.keys(targets).join(", ")}`);
    await build(name);
  }
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    await buildWasm(process.argv.slice(2));
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
