// Builds, prepares and runs all tests: node scripts/test.mjs [--only unit|system] [PATTERN… and vitest's options]
//
// The system tests need real clients; as root on Debian they are installed, elsewhere the missing ones are named. The projects
// run one after the other, so that machines under emulation have the processors for themselves. The last line is
// "N passed, N failed".
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { root } from "./build-wasm.mjs";
import { ensureClients } from "./clients.mjs";

const args = process.argv.slice(2);
const at = args.indexOf("--only");
const projects = at < 0 ? ["unit", "system"] : args.splice(at, 2).slice(1);
/** With a pattern, a project may have nothing to run. */
const all = args.every((word) => word.startsWith("-"));

let child;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(signal, () => {
    child?.kill(signal);
    process.exitCode = 1;
  });
}

/** Runs a script of this repository to its end and gives its exit status. */
async function node(...words) {
  if (process.exitCode) return 1;
  child = spawn(process.execPath, words, { cwd: root, stdio: "inherit" });
  const [status] = await once(child, "exit");
  return status ?? 1;
}

/** Runs one project. A run that leaves no count counts as one failure. */
async function runProject(project, folder) {
  const file = path.join(folder, `${project}.json`);
  process.env.WTPM_TEST_COUNT = file;
  const vitest = ["node_modules/vitest/vitest.mjs", "run", "--project", project, ...(all ? [] : ["--passWithNoTests"])];
  const status = await node(...vitest, ...args);
  let count = { passed: 0, failed: 0, skipped: 0 };
  try {
    count = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    if (all) count.failed = 1;
  }
  if (status !== 0 && count.failed === 0) count.failed = 1;
  return count;
}

async function runAll() {
  ensureClients();
  if ((await node("scripts/build.mjs")) !== 0) throw new Error("the tests need the build");
  const folder = mkdtempSync(path.join(tmpdir(), "wtpm-test-"));
  const total = { passed: 0, failed: 0, skipped: 0 };
  try {
    for (const project of projects) {
      const count = await runProject(project, folder);
      for (const key of Object.keys(total)) total[key] += count[key];
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  if (total.passed + total.failed === 0) throw new Error(`no test file matches ${args.join(" ")}`);
  if (process.env.CI === "true" && total.skipped > 0) {
    console.error(`${total.skipped} tests were skipped`);
    total.failed += total.skipped;
  }
  return total;
}

const { passed, failed } = await runAll().catch((error) => {
  console.error(error.message);
  return { passed: 0, failed: 1 };
});
if (failed > 0) process.exitCode = 1;
console.log(`${passed} passed, ${failed} failed`);
