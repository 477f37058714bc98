// Builds, prepares and runs all tests: node scripts/test.mjs [--only unit|system] [vitest's arguments]
//
// The system tests need real clients; as root on Debian or Ubuntu they are installed, elsewhere the missing ones are named. The
// projects run one after the other, so that machines under emulation have the processors for themselves. The last line is
// "N passed, N failed".
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { root } from "./build-wasm.mjs";
import { ensureClients } from "./clients.mjs";

const args = process.argv.slice(2);
const at = args.indexOf("--only");
const projects = at < 0 ? ["unit", "system"] : args.splice(at, 2).slice(1);
const node = (...words) => spawnSync(process.execPath, words, { cwd: root, stdio: "inherit" }).status ?? 1;

function fail(sentence) {
  if (sentence) console.error(sentence);
  console.log("0 passed, 1 failed");
  process.exit(1);
}

try {
  ensureClients();
} catch (error) {
  fail(error.message);
}
if (node("scripts/build.mjs") !== 0) fail();

const folder = mkdtempSync(path.join(tmpdir(), "wtpm-test-"));
const total = { passed: 0, failed: 0, skipped: 0 };
let status = 0;
try {
  for (const project of projects) {
    const file = path.join(folder, `${project}.json`);
    process.env.WTPM_TEST_COUNT = file;
    const result = node("node_modules/vitest/vitest.mjs", "run", "--project", project, ...args);
    let count;
    try {
      count = JSON.parse(readFileSync(file, "utf8"));
    } catch {
      count = { passed: 0, failed: 1, skipped: 0 };
    }
    for (const key of Object.keys(total)) total[key] += count[key];
    if (result !== 0) {
      status = 1;
      if (count.failed === 0) total.failed++;
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (process.env.CI === "true" && total.skipped > 0) {
  console.error(`${total.skipped} tests were skipped`);
  status = 1;
}
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(status);
