// The examples of docs/migration.md, one after the other in one shell.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { repository, temporaryFolder, wtpmCommand } from "../support/emulator.ts";
import { run, until } from "../support/process.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the examples work", async () => {
  const page = readFileSync(path.join(repository, "docs/migration.md"), "utf8");
  const examples = [...page.matchAll(/^```sh\n(.*?)^```/gms)].map((match) => match[1]);
  expect(examples).toHaveLength(4);

  const bin = path.join(folder, "bin");
  mkdirSync(bin);
  const words = wtpmCommand.map((word) => `"${word}"`).join(" ");
  writeFileSync(path.join(bin, "wtpm"), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  const env = { PATH: `${bin}${path.delimiter}${process.env.PATH}` };
  const { status, stdout, stderr } = await run("sh", ["-euc", examples.join("\n")], { cwd: folder, env });
  for (const [pid, state] of [
    ["restored.pid", "tpm-b"],
    ["target.pid", "tpm-target"],
  ] as const) {
    const file = path.join(folder, pid);
    if (!existsSync(file)) continue;
    // QEMU loads what it gets when it is in the background already.
    const there = until(`the TPM in ${state}`, () => existsSync(path.join(folder, state, "tpm2-00.permall")));
    await there.finally(() => process.kill(Number(readFileSync(file, "utf8"))));
  }

  expect(status, `${stdout}${stderr}`).toBe(0);
  expect(stderr).toBe("");
  expect(stdout).toContain("Migration status: completed");
  expect(stdout).toMatch(/installed.*updated/s);
});
