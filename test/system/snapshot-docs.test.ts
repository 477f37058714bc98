// The examples of docs/snapshots.md, in their order, in a folder with the state of a TPM.
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repository, startEmulator, temporaryFolder, wtpmCommand } from "../support/emulator.ts";
import { run, until } from "../support/process.ts";

const page = fs.readFileSync(path.join(repository, "docs/snapshots.md"), "utf8");
const examples = [...page.matchAll(/^```sh\n(.*?)^```/gms)].map(([, text]) => text!);

let folder: string;
beforeAll(async () => {
  folder = temporaryFolder();
  fs.writeFileSync(
    path.join(folder, "wtpm"),
    `#!/bin/sh\nexec ${wtpmCommand.map((word) => `"${word}"`).join(" ")} "$@"\n`,
    { mode: 0o755 },
  );
  const emulator = await startEmulator({ stateDir: path.join(folder, "vm-tpm") });
  // It listens before it has a TPM, and a signal ends it at any time.
  await until("a state", () => fs.existsSync(path.join(emulator.stateDir, "tpm2-00.permall")));
  await emulator.terminate();
  await emulator.dispose();
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

test("there are examples of every command", () => {
  const text = examples.join("");
  for (const name of ["create", "restore", "list", "tree", "delete", "prune"])
    expect(text).toContain(`wtpm snapshot ${name} `);
});

test.each(examples)("%s", async (text) => {
  const PATH = `${folder}${path.delimiter}${process.env.PATH}`;
  const { status, stdout, stderr } = await run("sh", ["-euc", text], {
    cwd: folder,
    env: { PATH, TSS2_LOG: "all+error" },
  });
  expect(status, `${stdout}${stderr}`).toBe(0);
  // What the page says that is printed.
  if (text.includes("snapshot tree")) {
    const drawn = page.slice(page.indexOf("prints at the end"), page.indexOf("Equal states"));
    const lines = drawn.split("\n").filter((line) => line.startsWith("    "));
    expect(stdout.trimEnd().split("\n").slice(-lines.length)).toEqual(lines.map((line) => line.slice(4)));
    const objects = fs.readdirSync(path.join(folder, "vm-tpm/snapshots/objects"));
    expect(objects).toHaveLength(1);
  }
  if (text.includes("tpm2_pcrread")) expect(stdout).not.toContain(`0x${"00".repeat(32)}`);
});
