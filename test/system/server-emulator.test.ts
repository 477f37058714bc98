// The emulator backend against Debian's swtpm, and the server with that backend in between.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { BackendError } from "../../src/backend/backend.ts";
import { listeningSockets } from "../support/emulator.ts";
import { connectEmulator, type EmulatorBackend } from "../../src/backend/emulator.ts";
import { nodeTransport } from "../../src/platform/node-transport.ts";
import { TpmServer } from "../../src/server/tpm-server.ts";
import { command, hex, toHex } from "../support/server-fakes.ts";
import { until } from "../support/server-harness.ts";

const run = promisify(execFile);
const STARTUP = command(0x144, hex("0000"));
const OK = "80010000000a00000000";

let dir: string;
let swtpm: ChildProcess | undefined;
let backend: EmulatorBackend | undefined;

async function startSwtpm(...args: string[]): Promise<void> {
  swtpm = spawn(
    "swtpm",
    ["socket", "--tpm2", "--tpmstate", `dir=${dir}`, "--ctrl", `type=unixio,path=${dir}/ctrl`, ...args],
    {
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  // The path is there before the socket listens.
  await until(() => listeningSockets().has(path.join(dir, "ctrl")));
}

beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-emulator-"));
});
afterEach(async () => {
  await backend?.close().catch(() => {});
  backend = undefined;
  const child = swtpm;
  swtpm = undefined;
  if (child && child.exitCode === null && child.signalCode === null) {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill();
    await gone;
  }
  fs.rmSync(dir, { recursive: true, force: true });
});

async function open(): Promise<EmulatorBackend> {
  backend = await connectEmulator({ control: { path: path.join(dir, "ctrl") } });
  return backend;
}

test("an emulator that was handed its data socket runs a TPM through its life", async () => {
  await startSwtpm();
  const tpm = await open();
  expect(tpm.family).toBe("2.0");
  expect(tpm.running).toBe(false);
  expect(tpm.migrationBlocker).toBeUndefined();
  expect(await tpm.bufferSize()).toEqual({ current: 4096, min: 2808, max: 4096 });
  await expect(tpm.getEstablished()).rejects.toMatchObject({ kind: "state" } satisfies Partial<BackendError>);
  await tpm.powerOn();
  expect(toHex(await tpm.execute(STARTUP, 0))).toBe(OK);
  expect(await tpm.getEstablished()).toBe(false);
  expect((await tpm.execute(command(0x17b, hex("0010")), 0)).length).toBe(28);
  await expect(tpm.resetEstablished(1)).rejects.toMatchObject({ kind: "locality" });
  expect(JSON.parse(await tpm.info(1))).toHaveProperty("TPMSpecification.family", "2.0");
  // Locality 1 is told before the command: a Startup there is refused for the locality.
  await tpm.powerOff();
  await tpm.powerOn();
  expect(toHex(await tpm.execute(STARTUP, 1))).toBe("80010000000a00000907");
  expect(toHex(await tpm.execute(STARTUP, 0))).toBe(OK);
  await tpm.close();
  await until(() => swtpm?.exitCode !== null);
  expect(swtpm?.exitCode).toBe(0);
});

test("state is read and set back", async () => {
  await startSwtpm();
  const tpm = await open();
  await tpm.powerOn();
  await tpm.execute(STARTUP, 0);
  const extend = command(
    0x182,
    hex("00000010 00000009 40000009 0000 00 0000 00000001 000b".concat("aa".repeat(32))),
    0x8002,
  );
  expect(toHex((await tpm.execute(extend, 0)).subarray(6, 10))).toBe("00000000");
  const readPcr = command(0x17e, hex("00000001 000b 03 000001"));
  const before = toHex(await tpm.execute(readPcr, 0));
  const permanent = await tpm.getState("permanent");
  const volatile = await tpm.getState("volatile");
  expect(toHex(permanent.subarray(0, 2))).toBe("0003");
  expect(permanent.length).toBeGreaterThan(1000);
  expect(await tpm.getState("savestate")).toHaveLength(0);
  await tpm.powerOff();
  await tpm.setState("permanent", permanent);
  await tpm.setState("volatile", volatile);
  await tpm.powerOn({ deleteVolatile: true });
  expect(toHex(await tpm.execute(readPcr, 0))).toBe(before);
});

test("the server in front of an emulator serves tpm2-tools", async () => {
  await startSwtpm("--flags", "not-need-init");
  const tpm = await open();
  const server = new TpmServer({
    transport: nodeTransport,
    control: { type: "unix", path: path.join(dir, "front.ctrl") },
    data: { type: "unix", path: path.join(dir, "front") },
  });
  await server.listen();
  await server.serve(tpm, { powerOn: true, startup: "clear" });
  const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:path=${dir}/front` };
  const { stdout } = await run("tpm2_getrandom", ["--hex", "8"], { env });
  expect(stdout).toMatch(/^[0-9a-f]{16}$/);
  const { stdout: pcrs } = await run("tpm2_pcrread", ["sha256:0"], { env });
  expect(pcrs).toContain("0x0000000000000000000000000000000000000000000000000000000000000000");
  await server.close();
});

test("an emulator that is not there is an error", async () => {
  await expect(connectEmulator({ control: { path: path.join(dir, "nobody") } })).rejects.toMatchObject({ kind: "io" });
});
