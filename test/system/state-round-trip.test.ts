// A TPM with something in every part of its state goes from `wtpm socket` to Debian's swtpm and back, in one state folder: with the
// same keys, NV indices, banks, counters and settings, and nothing is changed by being stored again.
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectEmulator, type EmulatorBackend } from "../../src/backend/emulator.ts";
import { checkState } from "../../src/cli/state-check.ts";
import { TpmClient } from "../../src/codec/client.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { decodePermanent, encodePermanent } from "../../src/state/libtpms/permanent.ts";
import { launchEmulator, temporaryFolder, wtpmCommand } from "../support/emulator.ts";
import { EngineTpm, outcome } from "../support/engine-tpm.ts";
import { run as runProgram, type Program, start, until } from "../support/process.ts";
import { RawClient } from "../support/server-fakes.ts";
import { filledTpm, storeIn } from "../support/state-command.ts";
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

interface Running {
  readonly program: Program;
  /** Its control socket. */
  readonly control: string;
  readonly backend: EmulatorBackend;
}

/** Starts the program on a folder, without power. */
async function open(kind: Kind, folder: string, ...words: string[]): Promise<Running> {
  const control = path.join(dir, `${programs.length}.ctrl`);
  const options = ["--tpm2", "--tpmstate", `dir=${folder}`, "--ctrl", `type=unixio,path=${control}`, ...words];
  const program = kind === "wtpm" ? launchEmulator(options) : start("swtpm", ["socket", ...options]);
  programs.push(program);
  await until(`${kind} to listen`, () => fs.existsSync(control));
  const backend = await until(kind, () => connectEmulator({ control: { path: control } }).catch(() => undefined));
  return { program, control, backend };
}

/** Runs the program on the folder from TPM2_Startup to TPM2_Shutdown, and ends it. */
async function run<T>(kind: Kind, startupType: Startup, work: (client: TpmClient) => Promise<T>): Promise<T> {
  const { program, backend } = await open(kind, path.join(dir, "state"));
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

/** Debian's swtpm with a data channel, so that its control channel is free for swtpm_ioctl. */
async function serve(folder: string, ...words: string[]) {
  const [control, data] = [path.join(dir, `${programs.length}.ctrl`), path.join(dir, `${programs.length}.data`)];
  const program = start("swtpm", [
    ...["socket", "--tpm2", "--tpmstate", `dir=${folder}`, "--ctrl", `type=unixio,path=${control}`],
    ...["--server", `type=unixio,path=${data}`, ...words],
  ]);
  programs.push(program);
  await until("swtpm to listen", () => fs.existsSync(control) && fs.existsSync(data));
  return { program, control, data };
}

async function use<T>({ data }: { data: string }, work: (client: TpmClient) => Promise<T>): Promise<T> {
  const channel = await until("swtpm", () => RawClient.connect(data).catch(() => undefined));
  try {
    return await work(new TpmClient(async (command) => Buffer.from(await channel.ask(command), "hex")));
  } finally {
    channel.socket.destroy();
  }
}

async function succeeds(program: string, ...words: string[]): Promise<void> {
  const { status, stdout, stderr } = await runProgram(program, words, { cwd: dir });
  expect(status, `${program} ${words.join(" ")}: ${stdout}${stderr}`).toBe(0);
}
const wtpmState = (...words: string[]) => succeeds(wtpmCommand[0]!, ...wtpmCommand.slice(1), "state", ...words);

test.each([
  ["plain", []],
  ["encrypted", ["--migration-key", "pwdfile=passphrase,kdf=pbkdf2,mode=aes-256-cbc"]],
])("%s migration blobs go from swtpm_ioctl to import, and from export to swtpm_ioctl", async (_what, key) => {
  fs.writeFileSync(path.join(dir, "passphrase"), "correct horse battery staple");
  const words = key.map((word) => word.replace("passphrase", path.join(dir, "passphrase")));
  const files = { permanent: path.join(dir, "permanent"), volatile: path.join(dir, "volatile") };
  const ioctl = (control: string, ...request: string[]) => succeeds("swtpm_ioctl", "--unix", control, ...request);

  const first = await serve(path.join(dir, "state"), ...words);
  await ioctl(first.control, "-i");
  const { seen } = await use(first, async (client) => {
    await client.command("Startup", { parameters: { startupType: "CLEAR" } });
    await fillTpm(client);
    return { seen: await look(client) };
  });
  for (const [type, file] of Object.entries(files)) await ioctl(first.control, "--save", type, file);
  await first.program.kill();

  const imported = path.join(dir, "imported");
  await wtpmState("import", imported, "--permanent", files.permanent, "--volatile", files.volatile, ...words);
  const second = await open("wtpm", imported);
  await second.backend.powerOn({ deleteVolatile: true });
  // It is started already: it goes on where it was.
  expect(await look(new TpmClient((command) => second.backend.execute(command, 0)))).toEqual(seen);
  await second.backend.storeVolatile();
  await second.backend.close();
  await second.program.kill();

  for (const file of Object.values(files)) fs.rmSync(file);
  await wtpmState("export", imported, "--permanent", files.permanent, "--volatile", files.volatile, ...words);
  fs.mkdirSync(path.join(dir, "third"));
  const third = await serve(path.join(dir, "third"), ...words);
  for (const [type, file] of Object.entries(files)) await ioctl(third.control, "--load", type, file);
  await ioctl(third.control, "-i");
  expect(await use(third, look)).toEqual(seen);
});

test("a state that needs a newer reader is refused with swtpm's code, and a sentence", async () => {
  const state = path.join(dir, "state");
  const filled = new EngineTpm({ profile: '{"Name":"default-v1"}' });
  filled.shutdown("CLEAR");
  // Debian's libtpms knows no profiles, and so no version 4; this program knows no version 5.
  const known = filled.save().permanent;
  const newer = encodePermanent({ ...decodePermanent(known), version: 5, minVersion: 5 });
  for (const [kind, permanent] of [
    ["swtpm", known],
    ["wtpm", newer],
  ] as const) {
    storeIn(state, { permanent });
    const { program, backend } = await open(kind, state);
    // PTM_INIT gives TPM_RC_FAILURE.
    await expect(backend.powerOn()).rejects.toMatchObject({ tpmCode: 0x101 });
    await backend.close();
    await program.kill();
    if (kind === "wtpm")
      expect((await program.exited).stderr).toMatch(/needs a reader of version 5 of libtpms' format/);
  }
});

test("a TPM with a newer profile starts in swtpm once it has the null profile, and takes its own again", async () => {
  const state = path.join(dir, "state");
  storeIn(state, { permanent: (await filledTpm({ profile: '{"Name":"default-v2"}' })).save().permanent });
  const profile = (name: string) => wtpmState("convert", state, "--profile", name);
  const first = await run("wtpm", "CLEAR", look);
  await profile("null");
  expectSoundState();
  expect(await run("swtpm", "CLEAR", look)).toEqual(first);
  await profile("default-v1");
  expectSoundState();
  expect(await run("wtpm", "CLEAR", look)).toEqual(first);
});

test.each([
  ["wtpm", "swtpm"],
  ["swtpm", "wtpm"],
] as const)(
  "a TPM that %s has in lockout is in lockout in %s, until the lockout authorization is failed too",
  async (here, there) => {
    const lockout = { handle: 0x4000000a, auth: "10c1" };
    const sign = async (client: TpmClient) => outcome(usePrivateParts(client));
    const reset = (client: TpmClient, auth = lockout.auth) =>
      outcome(client.command("DictionaryAttackLockReset", { handles: { lockHandle: { ...lockout, auth } } }));
    await run(here, "CLEAR", async (client) => {
      await fillTpm(client);
      await client.command("DictionaryAttackParameters", {
        handles: { lockHandle: lockout },
        parameters: { newMaxTries: 2, newRecoveryTime: 100_000, lockoutRecovery: 100_000 },
      });
    });
    for (const kind of [here, there, here]) {
      expect(await run(kind, "CLEAR", sign)).toBe("TPM_RC_LOCKOUT");
      expectSoundState();
    }
    expect(await run(there, "CLEAR", reset)).toBe("TPM_RC_SUCCESS");
    expect(await run(here, "CLEAR", sign)).toBe("TPM_RC_SUCCESS");
    expect(await run(here, "CLEAR", (client) => reset(client, "bad0"))).toMatch(/^TPM_RC_AUTH_FAIL/);
    for (const kind of [there, here]) expect(await run(kind, "CLEAR", reset)).toBe("TPM_RC_LOCKOUT");
  },
);
