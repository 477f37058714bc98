// What works on which runtime: node scripts/runtimes.mjs [--no-build]
//
// Node, Deno and Bun come, on the first run, from the npm packages of these names into build/runtimes; the versions are below. On each of
// them and on the Node that runs this: the known-answer tests of the cryptography's builds, the package in process, the command line with
// real clients. One line for each check; the last one is "N passed, N failed". `--no-build` takes dist as it is. docs/runtimes.md has
// what came out.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { buildWasm, root, targets } from "./build-wasm.mjs";
import { commandLineChecks } from "./runtimes/command-line.mjs";

const VERSIONS = { node: "26.10.0", deno: "2.9.6", bun: "1.4.5" };
const folder = path.join(root, "build/runtimes");
const binary = (name) => path.join(folder, "node_modules/.bin", name);

/** The runtimes: how to start a script on each, and what each is known to do. */
const RUNTIMES = [
  { title: `Node ${process.versions.node}`, words: [process.execPath], isNode: true, adoptsSockets: true },
  { title: `Node ${VERSIONS.node}`, words: [binary("node")], isNode: true, adoptsSockets: true },
  {
    title: `Deno ${VERSIONS.deno}`,
    words: [binary("deno"), "run", "-A"],
    isNode: false,
    adoptsSockets: true,
    daemonKeepsOutput: true,
  },
  { title: `Bun ${VERSIONS.bun}`, words: [binary("bun")], isNode: false, adoptsSockets: false },
];
/** Whatever goes wrong inside, a runtime's part ends. */
const LIMIT_MS = 600_000;
/** Deno keeps what it knows about a script here and looks for no newer version of itself. */
Object.assign(process.env, { DENO_DIR: path.join(folder, "deno"), DENO_NO_UPDATE_CHECK: "1" });
const cryptoBuilds = Object.keys(targets).filter((name) => name.startsWith("crypto-"));

/** @throws Error when npm cannot install them or one of them does not start */
function install() {
  const wanted = `${JSON.stringify({ private: true, dependencies: VERSIONS }, undefined, 2)}\n`;
  const file = path.join(folder, "package.json");
  const current = () => Object.keys(VERSIONS).every((name) => versionOf(name) === VERSIONS[name]);
  if (existsSync(file) && readFileSync(file, "utf8") === wanted && current()) return;
  console.log(
    `installing ${Object.entries(VERSIONS)
      .map((entry) => entry.join(" "))
      .join(", ")}`,
  );
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, wanted);
  // Their packages fetch or place the programs in install scripts, which a user's settings may forbid.
  const words = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts=false"];
  execFileSync("npm", words, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  if (!current()) throw new Error(`npm did not install the runtimes in ${folder}: remove that folder and try again`);
}

function versionOf(name) {
  try {
    return /\d+\.\d+\.\d+/.exec(execFileSync(binary(name), ["--version"], { encoding: "utf8" }))?.[0];
  } catch {
    return undefined;
  }
}

const count = { passed: 0, failed: 0 };

function report(title, { name, passed, detail }) {
  count[passed ? "passed" : "failed"]++;
  console.log(`${passed ? "ok  " : "FAIL"} ${title}: ${name}${detail ? `: ${detail}` : ""}`);
}

/** Runs a script of checks on a runtime and gives their outcomes. */
async function runScript({ title, words }, script, args = []) {
  const [program, ...options] = words;
  const child = spawn(program, [...options, path.join(root, "scripts/runtimes", script), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: LIMIT_MS,
  });
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"])
    child[name].setEncoding("utf8").on("data", (text) => (printed[name] += text));
  const status = await new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message)).once("close", (code, signal) => resolve(code ?? signal));
  });
  const outcomes = printed.stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  for (const outcome of outcomes) report(title, outcome);
  if (status !== 0 || outcomes.length === 0)
    report(title, { name: script, passed: false, detail: `ended with ${status}: ${printed.stderr.trim()}` });
  return outcomes;
}

async function runCommandLine(runtime, connectEmulator) {
  for (const [name, action] of Object.entries(commandLineChecks(runtime, connectEmulator))) {
    try {
      report(runtime.title, { name, passed: true, detail: await action() });
    } catch (error) {
      report(runtime.title, { name, passed: false, detail: error.message });
    }
  }
}

const detailOf = (outcomes, name) => outcomes.find((outcome) => outcome.name === name)?.detail ?? "";

async function runAll() {
  const { connectEmulator } = await import("../dist/index.js");
  const modules = cryptoBuilds.map((name) => path.join(root, targets[name].out));
  const answers = new Map();
  for (const runtime of RUNTIMES.filter(({ title }, i) => RUNTIMES.findIndex((r) => r.title === title) === i)) {
    const crypto = await runScript(runtime, "crypto.mjs", modules);
    const engine = await runScript(runtime, "engine.mjs");
    answers.set(runtime.title, detailOf(engine, "responses with fixed random numbers"));
    const rounds = /rounds (\w+)/.exec(detailOf(crypto, "relaxed multiply-add is told"))?.[1] ?? "none";
    await runCommandLine({ ...runtime, rounds }, connectEmulator);
  }
  report("all", {
    name: "responses with fixed random numbers are the same on every runtime and build",
    passed: new Set(answers.values()).size === 1 && ![...answers.values()].includes(""),
    detail: [...new Set(answers.values())].join(" or "),
  });
}

try {
  install();
  await buildWasm(cryptoBuilds);
  if (!process.argv.includes("--no-build")) execFileSync(process.execPath, [path.join(root, "scripts/build.mjs")]);
  await runAll();
} catch (error) {
  report("runtimes", { name: "preparation", passed: false, detail: `${error.message}\n${error.stderr ?? ""}`.trim() });
}
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exitCode = count.failed === 0 ? 0 : 1;
