// Output of commands that is longer than a pipe holds, to a reader that goes away, and to a disk that is full.
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TpmClient } from "../../src/codec/client.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { temporaryFolder, wtpmCommand } from "../support/emulator.ts";
import { type Exit, run } from "../support/process.ts";

const INDICES = 60;
/** What Linux lets a pipe hold. */
const PIPE_SIZE = 65536;
const EMPTY = new Uint8Array(0);

let folder: string;
let whole: string;

/** `wtpm state inspect --json`, and then shell text after it. */
const inspect = (rest: string): Promise<Exit> =>
  run("bash", ["-c", `set -o pipefail; "$@" ${rest}`, "bash", ...wtpmCommand, "state", "inspect", "--json", folder]);

beforeAll(async () => {
  folder = temporaryFolder();
  const backend = createEngineBackend({ store: new DirStore(folder) });
  await backend.powerOn();
  const client = new TpmClient((command) => backend.execute(command, 0));
  await client.command("Startup", { parameters: { startupType: "CLEAR" } });
  for (let index = 0; index < INDICES; index++)
    await client.command("NV_DefineSpace", {
      handles: { authHandle: "TPM_RH_OWNER" },
      parameters: {
        auth: EMPTY,
        publicInfo: {
          nvIndex: 0x0180_0000 + index,
          nameAlg: "SHA256",
          attributes: { AUTHREAD: true, AUTHWRITE: true },
          authPolicy: EMPTY,
          dataSize: 8,
        },
      },
    });
  await backend.close();
  const file = path.join(temporaryFolder(), "whole.json");
  expect(await inspect(`> ${file}`)).toMatchObject({ status: 0, stderr: "" });
  whole = fs.readFileSync(file, "utf8");
  fs.rmSync(path.dirname(file), { recursive: true });
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

describe("what a command prints", () => {
  test("goes through a pipe whole, however long it is", async () => {
    expect(whole.length).toBeGreaterThan(2 * PIPE_SIZE);
    expect(JSON.parse(whole).facts.nvIndices).toHaveLength(INDICES);
    expect(await inspect("| cat")).toMatchObject({ status: 0, stdout: whole, stderr: "" });
  });

  test("may have a reader that has read enough", async () => {
    expect(await inspect("| head -c 1")).toMatchObject({ status: 0, stdout: "{", stderr: "" });
  });

  test("is missed when it cannot be written", async () => {
    expect(await inspect("> /dev/full")).toMatchObject({ status: 1, stderr: expect.stringContaining("ENOSPC") });
  });
});
