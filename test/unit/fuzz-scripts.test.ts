// npm run fuzz and npm run differential: what they print, and that what they write can be run again.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import type { DifferentialSequence } from "../support/differential-run.ts";
import type { CommandStep } from "../support/engine-steps.ts";
import type { FuzzReproduction } from "../support/fuzz-run.ts";

const folder = mkdtempSync(path.join(tmpdir(), "fuzz-"));
afterAll(() => rmSync(folder, { recursive: true }));

function run(script: string, ...args: string[]) {
  const file = new URL(`../../scripts/${script}.mjs`, import.meta.url).pathname;
  const { stdout, stderr, status } = spawnSync(process.execPath, [file, ...args], { encoding: "utf8", cwd: folder });
  return { lines: stdout.trimEnd().split("\n"), stderr, status };
}

function written(name: string, value: FuzzReproduction | DifferentialSequence): string {
  const file = path.join(folder, name);
  writeFileSync(file, JSON.stringify(value));
  return file;
}

const command = (id: number, name: string, code: number, parameters: string): CommandStep => ({
  ...{ kind: "command", id, name, code, locality: 0, handles: [], auths: [], parameters },
});
const STEPS = [
  command(0, "Startup", 0x144, "0000"),
  command(1, "GetRandom", 0x17b, "0008"),
  { kind: "power" } as const,
];

it("commands and states are shared out to threads, and counted", () => {
  const commands = run("fuzz", "--commands", "600", "--workers", "2");
  expect([commands.lines.at(-1), commands.stderr]).toEqual([
    expect.stringMatching(/^[6-9]\d\d commands, \d+ succeeded, 2 sequences, \d+ states, /),
    expect.any(String),
  ]);
  expect(commands.status).toBe(0);
  const blobs = run("fuzz", "--blobs", "50");
  expect(blobs.lines.at(-1)).toMatch(/^50 blobs, \d+ refused, \d+ loaded, /);
  expect(blobs.status).toBe(0);
});

it("a reproduction runs again, step by step", () => {
  const options = { seed: "any", profile: "", stateEvery: 1 };
  const file = written("fuzz.json", { format: "wtpm-fuzz-1", kind: "trap", message: "", options, steps: STEPS });
  const { lines, status } = run("fuzz", "--replay", file);
  expect(lines).toEqual([
    "Startup at locality 0: SUCCESS",
    "GetRandom at locality 0: SUCCESS",
    "power",
    "it does not fail",
  ]);
  expect(status).toBe(0);
});

it("a sequence for two TPMs runs again", () => {
  const agreeing = written("same.json", { format: "wtpm-differential-1", seed: "any", steps: STEPS, difference: "" });
  const same = run("differential", "--replay", agreeing);
  expect([same.lines, same.status]).toEqual([["Startup: 0x0", "GetRandom: 0x0", "power: 0x0", "the two agree"], 0]);
});

it("wrong options are an error, --help is not", () => {
  for (const script of ["fuzz", "differential"]) {
    expect(run(script, "--help").lines[0]).toContain(`npm run ${script}`);
    expect(run(script, "--nonsense").status).toBe(2);
  }
  expect(run("fuzz", "--commands", "none").status).toBe(2);
});
