// What the TPM acknowledged is there after kill -9, after a full disk, after an orderly end; a damaged state is left alone.
import { Buffer } from "node:buffer";
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Emulator, emulatorWords, launchEmulator, startEmulator, temporaryFolder } from "../support/emulator.ts";
import { KILL_PLACES, type KillPlace, killLoop } from "../support/faulty-kills.ts";
import { type Program, start, until } from "../support/process.ts";
import { nvData, nvDefineSpace, nvRead, nvWrite, parseResponse, TPM, TpmClient } from "../support/tpm-client.ts";

/** How often the server is killed; npm run crash does it more often. */
const KILLS = Number(process.env.WTPM_TEST_KILLS ?? 15);
const INDICES = [0x0180_0100, 0x0180_0101, 0x0180_0102, 0x0180_0103];
const SIZE = 64;
const PERMANENT = "tpm2-00.permall";

let stateDir: string;
let emulator: Emulator | undefined;
let program: Program | undefined;

beforeEach(() => {
  stateDir = temporaryFolder();
});
afterEach(async () => {
  await emulator?.dispose();
  await program?.kill();
  rmSync(stateDir, { recursive: true, force: true });
});

const codeOf = (response: Uint8Array): number => parseResponse(response).code;

test.each(Object.keys(KILL_PLACES) as KillPlace[])(
  `${KILLS} kills lose nothing acknowledged of indices that are defined, written, counted up and undefined (%s)`,
  async (place) => {
    const { kills, acknowledged, done, undone } = await killLoop(place, KILLS, `durability ${place}`);
    expect(kills).toBe(KILLS);
    expect(acknowledged).toBeGreaterThan(KILLS);
    expect(done + undone).toBe(KILLS);
  },
);

/** The sockets are there before the TPM, and a signal ends the emulator at any time. */
const stateThere = () => until("a state", () => existsSync(path.join(stateDir, PERMANENT)));

test("a write that the disk does not take is not acknowledged, and the TPM is in failure mode until it starts again", async () => {
  const [word, ...words] = emulatorWords();
  const data = path.join(stateDir, "data");
  const options = ["--tpm2", "--tpmstate", `dir=${stateDir}`, "--server", `type=unixio,path=${data}`];
  // No file may grow beyond 4 KiB: two indices of 1 KiB fit into the state, a third does not.
  const limited = ["-c", 'trap "" XFSZ; ulimit -f 8; exec "$@"', "sh", word!, ...words, "socket", ...options];
  program = start("sh", [...limited, "--flags", "not-need-init,startup-clear"]);
  const client = await until("the server", () => TpmClient.connect(data).catch(() => undefined));
  const written: number[] = [];
  for (const index of INDICES) {
    const defined = codeOf(await client.execute(nvDefineSpace(index, 1024)));
    const code = codeOf(await client.execute(nvWrite(index, Buffer.alloc(1024, index & 0xff))));
    if (defined === TPM.RC_SUCCESS && code === TPM.RC_SUCCESS) written.push(index);
    else expect(code).toBe(TPM.RC_FAILURE);
  }
  expect(written).toEqual(INDICES.slice(0, written.length));
  expect([1, 2]).toContain(written.length);
  expect(codeOf(await client.execute(nvRead(written[0]!, SIZE)))).toBe(TPM.RC_FAILURE);
  client.close();
  // The operator is told what a response cannot say.
  const { stderr } = await program.kill();
  expect(stderr).toMatch(/failure mode until it is started again: the state could not be stored: .*EFBIG/);

  emulator = await startEmulator({ stateDir });
  const reader = await TpmClient.connect(emulator.dataSocket);
  for (const index of written)
    expect(nvData(await reader.execute(nvRead(index, 1024)))).toEqual(Buffer.alloc(1024, index & 0xff));
  expect(codeOf(await reader.execute(nvRead(INDICES[3]!, 1024)))).not.toBe(TPM.RC_SUCCESS);
  reader.close();
});

test("a state that is cut off or damaged ends the start with a sentence, and stays as it is", async () => {
  emulator = await startEmulator({ stateDir });
  await stateThere();
  expect((await emulator.terminate()).status).toBe(0);
  const file = path.join(stateDir, PERMANENT);
  const good = readFileSync(file);

  const sizes = [1, 9, 10, 16, 17, good.length >> 1, good.length - 1];
  const cut = sizes.map((size) => ({ what: `cut to ${size} bytes`, bytes: good.subarray(0, size) }));
  // Least version of a reader, header size, length; length of the field with the generation, the generation, the checksum; tag and length of
  // the field with the state, version and magic of libtpms' state.
  const flipped = [1, 3, 9, 15, 16, 30, 57, 61, 63, 65].map((at) => {
    const bytes = Buffer.from(good);
    bytes[at]! ^= 0x80;
    return { what: `byte ${at} flipped`, bytes };
  });
  const longer = { what: "bytes behind the end", bytes: Buffer.concat([good, Buffer.alloc(5)]) };
  for (const { what, bytes } of [...cut, ...flipped, longer]) {
    writeFileSync(file, bytes);
    program = launchEmulator(["--tpm2", "--tpmstate", `dir=${stateDir}`, "--flags", "not-need-init,startup-clear"]);
    const { status, stderr } = await program.ended();
    expect(status, what).toBe(1);
    expect(stderr, what).toMatch(/state (is damaged|needs a reader of)/);
    expect(stderr.trim().split("\n"), what).toHaveLength(1);
    expect(readFileSync(file).equals(bytes), what).toBe(true);
  }
  writeFileSync(file, good);
  await (await startEmulator({ stateDir })).dispose();
});

test("an empty state file, as a power failure leaves it without fsync, is damage and not a new TPM", async () => {
  emulator = await startEmulator({ stateDir });
  await stateThere();
  await emulator.terminate();
  expect(readdirSync(stateDir).filter((name) => name.startsWith(PERMANENT))).toEqual([PERMANENT]);
  truncateSync(path.join(stateDir, PERMANENT));
  program = launchEmulator(["--tpm2", "--tpmstate", `dir=${stateDir}`, "--flags", "not-need-init"]);
  const { status, stderr } = await program.ended();
  expect(status).toBe(1);
  expect(stderr).toContain(PERMANENT);
  expect(readFileSync(path.join(stateDir, PERMANENT))).toHaveLength(0);
});
