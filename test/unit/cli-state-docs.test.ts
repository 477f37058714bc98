// The examples of docs/state-commands.md, in their order, in a folder with the state of a machine's TPM.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { wtpmCommand } from "../support/emulator.ts";
import { filledTpm, storeIn } from "../support/state-command.ts";

const page = fs.readFileSync(fileURLToPath(new URL("../../docs/state-commands.md", import.meta.url)), "utf8");
const examples = [...page.matchAll(/^```sh\n(.*?)^```/gms)].map(([, text]) => text!);

let folder: string;
beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-state-docs-"));
  storeIn(path.join(folder, "vm-tpm"), { permanent: (await filledTpm()).save().permanent });
  fs.writeFileSync(path.join(folder, "passphrase"), "correct horse battery staple");
  fs.writeFileSync(
    path.join(folder, "wtpm"),
    `#!/bin/sh\nexec ${wtpmCommand.map((word) => `"${word}"`).join(" ")} "$@"\n`,
    {
      mode: 0o755,
    },
  );
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

test("there are examples of every command", () => {
  for (const name of ["inspect", "verify", "convert", "clone", "export", "import"])
    expect(
      examples.some((text) => text.includes(`wtpm state ${name} `)),
      name,
    ).toBe(true);
});

test.each(examples)("%s", (text) => {
  const env = { ...process.env, PATH: `${folder}${path.delimiter}${process.env.PATH}` };
  const { status, stdout, stderr } = spawnSync("sh", ["-euc", text], { cwd: folder, env, encoding: "utf8" });
  expect(status, `${stdout}${stderr}`).toBe(0);
  expect(stderr).toBe("");
});
