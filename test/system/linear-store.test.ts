// State in one file: a TPM changes hands between this program and Debian's swtpm, and comes back after every kind of end.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LinearStore } from "../../src/state/linear-store.ts";
import { launchEmulator, listeningSockets, temporaryFolder } from "../support/emulator.ts";
import { type Program, start, until } from "../support/process.ts";
import {
  CMD,
  control,
  nvData,
  nvDefineSpace,
  nvRead,
  nvUndefineSpace,
  nvWrite,
  parseResponse,
  startup,
  TPM,
  TpmClient,
} from "../support/tpm-client.ts";

type Kind = "wtpm" | "swtpm";

let dir: string;
let file: string;
let program: Program | undefined;
let turn = 0;

beforeEach(() => {
  dir = temporaryFolder();
  file = path.join(dir, "nvram");
});
afterEach(async () => {
  await program?.kill();
  fs.rmSync(dir, { recursive: true, force: true });
});

interface Tpm {
  readonly client: TpmClient;
  readonly controlSocket: string;
  /** Ends it as an operator does. */
  stop(): Promise<void>;
}

/** Starts one of the two on the file, or another place. */
async function open(kind: Kind, state = `backend-uri=file://${file}`, flags = "startup-clear"): Promise<Tpm> {
  const socket = path.join(dir, `s${turn++}`);
  const controlSocket = `${socket}.ctrl`;
  const words = ["--tpm2", "--tpmstate", state, "--server", `type=unixio,path=${socket}`];
  words.push("--ctrl", `type=unixio,path=${controlSocket}`, "--flags", `not-need-init,${flags}`);
  const running = kind === "wtpm" ? launchEmulator(words) : start("swtpm", ["socket", ...words]);
  program = running;
  await until(`${kind} to listen`, () => listeningSockets().has(socket) || running.hasExited());
  if (running.hasExited()) throw new Error((await running.exited).stderr);
  const client = await TpmClient.connect(socket);
  return {
    client,
    controlSocket,
    stop: async () => {
      client.close();
      running.signal("SIGTERM");
      expect((await running.ended()).status).toBe(0);
    },
  };
}

async function ok(client: TpmClient, command: Uint8Array): Promise<Buffer> {
  const response = await client.execute(command);
  expect(parseResponse(response).code, Buffer.from(command).toString("hex")).toBe(TPM.RC_SUCCESS);
  return response;
}

const index = (number: number) => 0x0180_0200 + number;
const content = (number: number, size: number) => Buffer.alloc(size, `index ${number} `);

/** What one command takes. */
const PIECE = 1024;

async function write(client: TpmClient, number: number, size: number): Promise<void> {
  for (let at = 0; at < size; at += PIECE)
    await ok(client, nvWrite(index(number), content(number, size).subarray(at, at + PIECE), at));
}

async function define(client: TpmClient, number: number, size: number): Promise<void> {
  await ok(client, nvDefineSpace(index(number), size));
  await write(client, number, size);
}

async function expectIndex(client: TpmClient, number: number, size: number): Promise<void> {
  const pieces: Buffer[] = [];
  for (let at = 0; at < size; at += PIECE)
    pieces.push(nvData(await ok(client, nvRead(index(number), Math.min(PIECE, size - at), at))));
  expect(Buffer.concat(pieces)).toEqual(content(number, size));
}

/** The result word of CMD_STORE_VOLATILE, after which the file has two states. */
const storeVolatile = (tpm: Tpm) => control(tpm.controlSocket, CMD.STORE_VOLATILE);

describe.each([
  ["swtpm", "wtpm"],
  ["wtpm", "swtpm"],
] as const)("a file that %s made, and %s goes on with", (first, second) => {
  test("holds the TPM at every change of hands, through growth, shrinking and a volatile state", async () => {
    // Sizes that outgrow a section (swtpm then moves sections), fit in place, and shrink the whole.
    const sizes = [64, 700, 1500, 32, 2000, 900];
    const defined = new Map<number, number>();
    for (const [number, size] of sizes.entries()) {
      for (const kind of [first, second]) {
        const tpm = await open(kind);
        for (const [known, knownSize] of defined) await expectIndex(tpm.client, known, knownSize);
        const own = 2 * number + (kind === first ? 0 : 1);
        await define(tpm.client, own, size);
        defined.set(own, size);
        if (number === 3) {
          const [oldest] = defined.keys();
          await ok(tpm.client, nvUndefineSpace(index(oldest!)));
          defined.delete(oldest!);
        }
        if (number % 2 === 1) expect(await storeVolatile(tpm)).toBe(0);
        if (number % 2 === 1) await write(tpm.client, own, size);
        await tpm.stop();
      }
    }
    // Both read it at the end.
    for (const kind of [first, second]) {
      const tpm = await open(kind);
      for (const [known, size] of defined) await expectIndex(tpm.client, known, size);
      await tpm.stop();
    }
  });

  test("gives the other's volatile state back: the TPM goes on without TPM2_Startup", async () => {
    const before = await open(first);
    await define(before.client, 1, 40);
    expect(await storeVolatile(before)).toBe(0);
    before.client.close();
    await program!.kill();
    const after = await open(second, undefined, "startup-none");
    await expectIndex(after.client, 1, 40);
    expect(parseResponse(await after.client.execute(startup(0))).code).toBe(TPM.RC_INITIALIZE);
    await after.stop();
  });
});

test("the log says what swtpm's says when the file is made; --print-states lists it", async () => {
  const states = async (kind: Kind) => {
    const words = ["--tpm2", "--print-states", "--tpmstate", `backend-uri=file://${file}`];
    program = kind === "wtpm" ? launchEmulator(words) : start("swtpm", ["socket", ...words]);
    const { status, stdout } = await program.ended();
    expect(status).toBe(0);
    return JSON.parse(stdout.slice(stdout.indexOf("{"))) as unknown;
  };
  expect(await states("wtpm")).toEqual({ type: "swtpm", states: [] });
  // swtpm_setup removes what it asked about.
  expect(fs.readFileSync(file)).toHaveLength(0);
  const tpm = await open("wtpm");
  expect(await storeVolatile(tpm)).toBe(0);
  tpm.client.close();
  const { stderr } = await program!.kill();
  expect(stderr).toContain(`Formatting 'file://${file}' as new linear NVRAM store`);
  const found = await states("wtpm");
  expect(found).toEqual(await states("swtpm"));
  expect(JSON.stringify(found)).toContain("volatilestate");
});

test("backup is refused with swtpm's sentence, a second user with lock=true by the lock", async () => {
  const refused = async (options: string) => {
    const { status, stderr } = await launchEmulator([
      ...["--tpm2", "--tpmstate", `backend-uri=file://${file},${options}`, "--flags", "not-need-init"],
    ]).ended();
    expect(status).toBe(1);
    return stderr;
  };
  expect(await refused("backup")).toContain("The backup option is not supported with this storage backend");
  const tpm = await open("wtpm", `backend-uri=file://${file},lock=true`);
  expect(await refused("lock=true")).toContain("in use by another process");
  await tpm.stop();
});

test.each(["dir", "file"] as const)(
  "with ephemeral, what was done vanishes, and the %s stays as it is",
  async (kind) => {
    const place = kind === "dir" ? `dir=${dir}` : `backend-uri=file://${file}`;
    const content = () => (kind === "dir" ? fs.readFileSync(path.join(dir, "tpm2-00.permall")) : fs.readFileSync(file));
    const real = await open("wtpm", place);
    await define(real.client, 1, 100);
    const [owner] = [program!];
    const before = content();

    // Also while the TPM itself runs: nothing is locked, nothing is written.
    const copy = await open("wtpm", `${place},ephemeral`);
    await expectIndex(copy.client, 1, 100);
    await define(copy.client, 2, 100);
    await ok(copy.client, nvUndefineSpace(index(1)));
    expect(await storeVolatile(copy)).toBe(0);
    await copy.stop();
    expect(content().equals(before)).toBe(true);

    await expectIndex(real.client, 1, 100);
    expect(parseResponse(await real.client.execute(nvRead(index(2), 100))).code).not.toBe(TPM.RC_SUCCESS);
    program = owner;
    await real.stop();
  },
);

test("swtpm's mode: 0640 under the umask, or the one asked for", async () => {
  // A signal during the start ends it before there is a file.
  const startAndStop = async (state?: string) => {
    const tpm = await open("wtpm", state);
    expect(parseResponse(await tpm.client.execute(startup(0))).code).toBe(TPM.RC_INITIALIZE);
    await tpm.stop();
  };
  await startAndStop();
  expect(fs.statSync(file).mode & 0o777).toBe(0o640 & ~process.umask());
  await startAndStop(`backend-uri=file://${file},mode=0600`);
  expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  expect(new LinearStore(file).load().blobs.permanent).toBeDefined();
});
