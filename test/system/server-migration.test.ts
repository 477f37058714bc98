// State moves between this server and Debian's swtpm over their control channels, as QEMU moves it.
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectEmulator, type EmulatorBackend } from "../../src/backend/emulator.ts";
import { launchEmulator, temporaryFolder } from "../support/emulator.ts";
import { type Program, start, until } from "../support/process.ts";
import { toHex } from "../support/server-fakes.ts";
import { nvData, nvDefineSpace, nvRead, nvWrite, pcrExtend, pcrRead, startup, TPM } from "../support/tpm-client.ts";

const INDEX = 0x0180_0002;
const SECRET = Buffer.from("moved with the machine");

let dir: string;
const programs: Program[] = [];
const backends: EmulatorBackend[] = [];

beforeEach(() => {
  dir = temporaryFolder();
});
afterEach(async () => {
  for (const backend of backends.splice(0)) await backend.close().catch(() => {});
  for (const program of programs.splice(0)) await program.kill();
  fs.rmSync(dir, { recursive: true, force: true });
});

type Kind = "wtpm" | "swtpm";

async function open(kind: Kind, name: string, ...words: string[]): Promise<EmulatorBackend> {
  const state = path.join(dir, name);
  fs.mkdirSync(state, { recursive: true });
  const control = path.join(dir, `${name}.${backends.length}.ctrl`);
  const options = ["--tpm2", "--tpmstate", `dir=${state}`, "--ctrl", `type=unixio,path=${control}`, ...words];
  programs.push(kind === "wtpm" ? launchEmulator(options) : start("swtpm", ["socket", ...options]));
  await until(`${kind} to listen`, () => fs.existsSync(control));
  const backend = await until(`${kind}`, () => connectEmulator({ control: { path: control } }).catch(() => undefined));
  backends.push(backend);
  return backend;
}

async function ok(backend: EmulatorBackend, command: Uint8Array): Promise<Uint8Array> {
  const response = await backend.execute(command, 0);
  expect(toHex(response.subarray(6, 10)), toHex(command)).toBe("00000000");
  return response;
}

/** A TPM with something in its NV memory and in a PCR. */
async function fill(backend: EmulatorBackend): Promise<void> {
  await backend.powerOn();
  await ok(backend, startup(0));
  await ok(backend, nvDefineSpace(INDEX, SECRET.length));
  await ok(backend, nvWrite(INDEX, SECRET));
  await ok(backend, pcrExtend(TPM.ALG_SHA256, 7, Buffer.alloc(32, 0xab)));
}

/** What moves: the NV data and the PCR. */
async function contentOf(backend: EmulatorBackend): Promise<unknown> {
  return {
    nv: nvData(Buffer.from(await ok(backend, nvRead(INDEX, SECRET.length)))).toString(),
    pcr: toHex((await ok(backend, pcrRead(TPM.ALG_SHA256, 7))).subarray(-32)),
  };
}

/** As QEMU does: three blobs out, three blobs in, the volatile one deleted once it was read. */
async function migrate(from: EmulatorBackend, to: EmulatorBackend): Promise<void> {
  const types = ["permanent", "volatile", "savestate"] as const;
  const blobs = [];
  for (const type of types) blobs.push({ type, ...(await from.getStateBlob(type)) });
  await to.powerOff();
  for (const { type, flags, blob } of blobs) if (blob.length > 0) await to.setStateBlob(type, flags, blob);
  await to.powerOn({ deleteVolatile: true });
}

test.each([
  ["swtpm", "wtpm"],
  ["wtpm", "swtpm"],
  ["wtpm", "wtpm"],
] as const)("a TPM that runs in %s goes on in %s with its NV data and PCRs", async (source, target) => {
  const from = await open(source, "from");
  const to = await open(target, "to");
  await fill(from);
  const content = await contentOf(from);
  await migrate(from, to);
  expect(await contentOf(to)).toEqual(content);
  await ok(to, pcrExtend(TPM.ALG_SHA256, 7, Buffer.alloc(32, 1)));
  expect(await contentOf(to)).not.toEqual(content);
});

test.each([
  ["swtpm", "wtpm"],
  ["wtpm", "swtpm"],
  ["wtpm", "wtpm"],
] as const)("the directory of a TPM that was stopped in %s is taken over by %s", async (source, target) => {
  const first = await open(source, "shared");
  await fill(first);
  await first.close();
  await programs[0]?.ended();
  const second = await open(target, "shared");
  await second.powerOn();
  await ok(second, startup(0));
  expect(await contentOf(second)).toMatchObject({ nv: SECRET.toString(), pcr: "00".repeat(32) });
});

test("with shared state the target waits for the lock that the source gives up after the last blob", async () => {
  const from = await open("wtpm", "shared", "--migration", "release-lock-outgoing");
  await fill(from);
  const content = await contentOf(from);
  const to = await open("wtpm", "shared", "--migration", "incoming,release-lock-outgoing");
  await to.powerOn();
  await migrate(from, to);
  expect(await contentOf(to)).toEqual(content);
  // The source has lost the state: it answers with a failure instead of writing over it.
  const refused = await from.execute(nvWrite(INDEX, Buffer.alloc(SECRET.length)), 0);
  expect(toHex(refused)).toBe("80010000000a00000101");
  expect(await contentOf(to)).toEqual(content);
});
