// A TPM with something in every part of its state goes from `wtpm socket` to Debian's swtpm and back, in one state folder: with the
// same keys, NV indices, banks, counters and settings, and nothing is changed by being stored again.
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectEmulator } from "../../src/backend/emulator.ts";
import { checkState } from "../../src/cli/state-check.ts";
import { TpmClient } from "../../src/codec/client.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { decodePermanent } from "../../src/state/libtpms/permanent.ts";
import { launchEmulator, temporaryFolder } from "../support/emulator.ts";
import { type Program, start, until } from "../support/process.ts";
import { answersOf, fillTpm, primariesOf, usePrivateParts, writeOrderly } from "../support/state-filled.ts";

type Kind = "wtpm" | "swtpm";
type Startup = "CLEAR" | "STATE";

let dir: string;
const programs: Program[] = [];
beforeEach(() => {
  dir = temporaryFolder();
  fs.mkdirSync(path.join(dir, "state"));
});
afterEach(async () => {
  for (const program of programs.splice(0)) await program.kill();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** Runs the program on the folder from TPM2_Startup to TPM2_Shutdown, and ends it. */
async function run<T>(kind: Kind, startupType: Startup, work: (client: TpmClient) => Promise<T>): Promise<T> {
  const control = path.join(dir, `${programs.length}.ctrl`);
  const options = ["--tpm2", "--tpmstate", `dir=${path.join(dir, "state")}`, "--ctrl", `type=unixio,path=${control}`];
  const program = kind === "wtpm" ? launchEmulator(options) : start("swtpm", ["socket", ...options]);
  programs.push(program);
  await until(`${kind} to listen`, () => fs.existsSync(control));
  const backend = await until(kind, () => connectEmulator({ control: { path: control } }).catch(() => undefined));
  await backend.powerOn();
  const client = new TpmClient((command) => backend.execute(command, 0));
  await client.command("Startup", { parameters: { startupType } });
  const result = await work(client);
  // After TPM2_PCR_Allocate only CLEAR is possible; the first visit does that.
  await client.command("Shutdown", { parameters: { shutdownType: programs.length === 1 ? "CLEAR" : "STATE" } });
  await backend.close();
  await program.kill();
  return result;
}

interface Seen {
  readonly answers: unknown;
  readonly primaries: unknown;
  readonly privateParts: unknown;
}

const look = async (client: TpmClient): Promise<Seen> => ({
  answers: await answersOf(client),
  primaries: await primariesOf(client),
  privateParts: await usePrivateParts(client),
});

/** What is stored is understood, loads, and would be stored again to the byte. */
function expectSoundState(): void {
  const { blobs } = new DirStore(path.join(dir, "state"), { readOnly: true }).load();
  expect(checkState(blobs).map(({ kind, text }) => `${kind} ${text}`)).toEqual([
    `ok every field of its ${blobs.permanent!.length} bytes is understood`,
    "ok a TPM starts with it",
    "ok what a TPM stores again is the same to the byte",
  ]);
}

const resetsStored = (): bigint =>
  decodePermanent(new DirStore(path.join(dir, "state"), { readOnly: true }).load().blobs.permanent!).persistentData
    .totalResetCount;

test.each([
  ["wtpm", "swtpm", "CLEAR"],
  ["swtpm", "wtpm", "CLEAR"],
  ["wtpm", "swtpm", "STATE"],
  ["swtpm", "wtpm", "STATE"],
] as const)("from %s to %s and back with TPM2_Startup(%s)", async (here, there, startup) => {
  await run(here, "CLEAR", fillTpm);
  expectSoundState();
  const first = await run(here, "CLEAR", async (client) => {
    // TPM Resume keeps the data of orderly indices, TPM Restart does not.
    if (startup === "STATE") await writeOrderly(client);
    return look(client);
  });
  expectSoundState();
  const resets = resetsStored();
  for (const kind of [there, here, there, here]) {
    expect(await run(kind, startup, look)).toEqual(first);
    expectSoundState();
  }
  // A TPM that was shut down orderly with its state is restarted or resumed, not reset.
  expect(resetsStored()).toBe(resets);
});
