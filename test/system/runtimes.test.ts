// Newest Node, Deno and Bun beside the Node that runs the tests: scripts/runtimes.mjs, which has the checks.
import path from "node:path";
import { expect, test } from "vitest";
import { repository } from "../support/emulator.ts";
import { run } from "../support/process.ts";

/** Installing three runtimes, and some 80 checks. */
const LIMIT_MS = 1_500_000;

test(
  "works on every runtime as docs/runtimes.md says",
  async () => {
    const script = path.join(repository, "scripts/runtimes.mjs");
    const { status, stdout, stderr } = await run(process.execPath, [script, "--no-build"], { limit: LIMIT_MS });
    const lines = stdout.trimEnd().split("\n");
    expect(lines.filter((line) => line.startsWith("FAIL")).join("\n") + stderr).toBe("");
    for (const runtime of [`Node ${process.versions.node}`, "Node 26", "Deno 2", "Bun 1"]) {
      expect(lines.filter((line) => line.startsWith(`ok   ${runtime}`)).length).toBeGreaterThan(15);
    }
    // The unfused multiply-add of Bun is caught by the self-test, and the engine does without it.
    expect(stdout).toMatch(/Bun \S+: relaxed multiply-add is told: rounds twice/);
    expect(stdout).toMatch(/Bun \S+: crypto-rsa-fma: all \d+ tests fail, as they must/);
    expect(stdout).toMatch(/Bun \S+: wtpm --version --verbose: engine: integer products/);
    expect(lines.at(-1)).toMatch(/^\d+ passed, 0 failed$/);
    expect(status).toBe(0);
  },
  LIMIT_MS,
);
