// Who may write a state that two processes share, from the first blob of a migration to its end, good or bad.
import { readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CMD, RESULT, readU32, words } from "../../src/server/protocol.ts";
import { ServerPeer, type ServerPeerOptions } from "../support/control-peer.ts";
import { BLOB, getBlob, init, setBlob, stop } from "../support/control-requests.ts";
import { temporaryFolder } from "../support/emulator.ts";
import { nvData, nvDefineSpace, nvRead, nvWrite, startup, TPM } from "../support/tpm-client.ts";

const INDEX = 0x0180_0011;
const FAILURE = "80010000000a00000101";
const SHARED = { incomingMigration: true, releaseLockOutgoing: true };

let shared: string;
const peers: ServerPeer[] = [];

beforeEach(() => {
  shared = temporaryFolder();
});
afterEach(async () => {
  for (const peer of peers.splice(0)) await peer[Symbol.asyncDispose]();
  rmSync(shared, { recursive: true, force: true });
});

async function open(options: Partial<ServerPeerOptions>): Promise<ServerPeer> {
  const peer = new ServerPeer({ autoShutdown: true, stateDir: shared, ...options });
  peers.push(peer);
  await peer.start();
  return peer;
}

const resultOf = (reply: string) => Number.parseInt(reply.slice(0, 8), 16);
const ask = async (peer: ServerPeer, request: Uint8Array) => resultOf(await peer.control(request));
const lock = (retries: number) => words(CMD.LOCK_STORAGE, retries);
const stored = () => readFileSync(path.join(shared, "tpm2-00.permall"));

async function ok(peer: ServerPeer, command: Uint8Array): Promise<Uint8Array> {
  const response = await peer.execute(command);
  expect(readU32(response, 6)).toBe(TPM.RC_SUCCESS);
  return response;
}
const write = (peer: ServerPeer, text: string) => ok(peer, nvWrite(INDEX, Buffer.from(text.padEnd(8))));
const read = async (peer: ServerPeer) =>
  nvData(await ok(peer, nvRead(INDEX, 8)))
    .toString()
    .trim();

/** A TPM that runs, with an NV Index. */
async function source(options: Partial<ServerPeerOptions> = SHARED): Promise<ServerPeer> {
  const peer = await open(options);
  expect(await ask(peer, init())).toBe(RESULT.SUCCESS);
  await ok(peer, startup(TPM.SU_CLEAR));
  await ok(peer, nvDefineSpace(INDEX, 8));
  await write(peer, "first");
  return peer;
}

/** The blobs as QEMU fetches them; the last gives the lock up. */
async function blobsOf(peer: ServerPeer): Promise<Uint8Array[]> {
  const blobs = [];
  for (const type of [BLOB.PERMANENT, BLOB.VOLATILE, BLOB.SAVESTATE]) {
    blobs.push(new Uint8Array(Buffer.from((await peer.control(getBlob(type))).slice(32), "hex")));
  }
  return blobs;
}

/** As QEMU sets them, and starts the TPM. */
async function resume(peer: ServerPeer, [permanent, volatile]: readonly Uint8Array[]): Promise<void> {
  for (const request of [stop(), setBlob(BLOB.PERMANENT, permanent!), setBlob(BLOB.VOLATILE, volatile!), init(1)])
    expect(await ask(peer, request)).toBe(RESULT.SUCCESS);
}

test("the target takes the lock with the first blob, once the source has given it up with the last", async () => {
  const from = await source();
  const to = await open(SHARED);
  const permanent = new Uint8Array(Buffer.from((await from.control(getBlob(BLOB.PERMANENT))).slice(32), "hex"));
  expect(await ask(to, setBlob(BLOB.PERMANENT, permanent))).toBe(RESULT.IOERROR);
  await resume(to, await blobsOf(from));
  expect(await read(to)).toBe("first");
  await write(to, "second");

  // The source cannot have it back, does not go on without it, and does not shut down what is not its own any more.
  expect(await ask(from, lock(1))).toBe(RESULT.FAIL);
  const before = stored();
  expect(Buffer.from(await from.execute(nvRead(INDEX, 8))).toString("hex")).toBe(FAILURE);
  expect(await ask(from, stop())).toBe(RESULT.SUCCESS);
  expect(stored().equals(before)).toBe(true);
  expect(await read(to)).toBe("second");
});

test("without release-lock-outgoing the source keeps the lock", async () => {
  const from = await source({});
  const to = await open(SHARED);
  const [permanent] = await blobsOf(from);
  expect(await ask(to, setBlob(BLOB.PERMANENT, permanent!))).toBe(RESULT.IOERROR);
  await write(from, "second");
  expect(await read(from)).toBe("second");
});

test("a source that goes on takes the lock with its next command", async () => {
  const from = await source();
  await blobsOf(from);
  await write(from, "second");
  const to = await open({});
  expect(await ask(to, init())).toBe(RESULT.FAIL);
});

test("a source that goes on stores its state over what a target wrote that failed", async () => {
  const from = await source();
  const to = await open(SHARED);
  await resume(to, await blobsOf(from));
  await write(to, "lost");
  expect(await ask(from, lock(0))).toBe(RESULT.FAIL);
  await peers.pop()?.[Symbol.asyncDispose]();
  expect(await ask(from, lock(300))).toBe(RESULT.SUCCESS);
  expect(await read(from)).toBe("first");
  await peers.pop()?.[Symbol.asyncDispose]();
  const later = await open({});
  expect(await ask(later, init())).toBe(RESULT.SUCCESS);
  await ok(later, startup(TPM.SU_CLEAR));
  expect(await read(later)).toBe("first");
});

test("a TPM that waits for a migration which never comes takes the lock with its first command", async () => {
  const waiting = await open({ incomingMigration: true });
  expect(await ask(waiting, init())).toBe(RESULT.SUCCESS);
  await ok(waiting, startup(TPM.SU_CLEAR));
  expect(await ask(await open({}), init())).toBe(RESULT.FAIL);
});

test("a TPM that was started without the lock does not write over what another has made of its state", async () => {
  const waiting = await open({ incomingMigration: true });
  expect(await ask(waiting, init())).toBe(RESULT.SUCCESS);
  await source({});
  await peers.pop()?.[Symbol.asyncDispose]();
  const before = stored();
  for (let i = 0; i < 2; i++)
    expect(Buffer.from(await waiting.execute(startup(TPM.SU_CLEAR))).toString("hex")).toBe(FAILURE);
  expect(stored().equals(before)).toBe(true);
  expect(await ask(waiting, init())).toBe(RESULT.SUCCESS);
  await ok(waiting, startup(TPM.SU_CLEAR));
  expect(await read(waiting)).toBe("first");
});

test("a state that is refused changes nothing", async () => {
  const from = await source();
  const [permanent, volatile] = await blobsOf(from);
  expect(await ask(from, stop())).toBe(RESULT.SUCCESS);
  const before = stored();
  const [PAYLOAD_MAGIC, WITHIN] = [24, 60];
  for (const [type, blob] of [
    [BLOB.PERMANENT, permanent!],
    [BLOB.VOLATILE, volatile!],
  ] as const) {
    for (const at of [0, 9, PAYLOAD_MAGIC, type === BLOB.VOLATILE ? WITHIN : PAYLOAD_MAGIC + 1]) {
      const spoiled = blob.slice();
      spoiled[at]! ^= 0x80;
      expect(await ask(from, setBlob(type, spoiled)), `type ${type}, byte ${at}`).not.toBe(RESULT.SUCCESS);
    }
  }
  expect(stored().equals(before)).toBe(true);
  expect(await ask(from, init())).toBe(RESULT.SUCCESS);
  await ok(from, startup(TPM.SU_CLEAR));
  expect(await read(from)).toBe("first");
});
