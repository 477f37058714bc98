// A server that is killed at any moment has stored everything it acknowledged.
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { launchEmulator, temporaryFolder } from "../support/emulator.ts";
import { type Program, until } from "../support/process.ts";
import { RawClient } from "../support/server-fakes.ts";
import { nvData, nvDefineSpace, nvRead, nvWrite, startup } from "../support/tpm-client.ts";

const KILLS = 25;
const INDEX = 0x0180_0001;
const SIZE = 8;
const TPM_SU_CLEAR = 0;

let dir: string;
let server: Program | undefined;

beforeEach(() => {
  dir = temporaryFolder();
});
afterEach(async () => {
  await server?.kill();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function open(): Promise<RawClient> {
  server = launchEmulator(
    ["--tpm2", "--tpmstate", "dir=.", "--server", "type=unixio,path=d", "--flags", "not-need-init"],
    dir,
  );
  const client = await until("the server", () => RawClient.connect(path.join(dir, "d")).catch(() => undefined));
  expect((await client.ask(startup(TPM_SU_CLEAR))).slice(12)).toBe("00000000");
  return client;
}

function bytesOf(number: number): Buffer {
  const value = Buffer.alloc(SIZE);
  value.writeBigUInt64BE(BigInt(number));
  return value;
}

test(`after each of ${KILLS} kills the TPM has the value last acknowledged, or the one that was being written`, async () => {
  let client = await open();
  expect((await client.ask(nvDefineSpace(INDEX, SIZE))).slice(12, 20)).toBe("00000000");
  expect((await client.ask(nvWrite(INDEX, bytesOf(0)))).slice(12, 20)).toBe("00000000");
  let acknowledged = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    let sent = acknowledged;
    const victim = server!;
    // The moments wander through the life of a write: 0.0 to 2.4 writes after the first of this round.
    const timer = setTimeout(() => void victim.kill(), 5 + kill * 0.7);
    for (;;) {
      sent++;
      const response = await client.ask(nvWrite(INDEX, bytesOf(sent))).catch(() => undefined);
      // The connection broke: the server is dead.
      if (response === undefined) break;
      expect(response.slice(12, 20)).toBe("00000000");
      acknowledged = sent;
    }
    clearTimeout(timer);
    await victim.kill();
    expect(sent).toBeGreaterThan(acknowledged);
    client.socket.destroy();
    client = await open();
    const stored = Number(nvData(Buffer.from(await client.ask(nvRead(INDEX, SIZE)), "hex")).readBigUInt64BE());
    expect(stored).toBeGreaterThanOrEqual(acknowledged);
    expect(stored).toBeLessThanOrEqual(sent);
    acknowledged = stored;
  }
  client.socket.destroy();
  expect(acknowledged).toBeGreaterThan(KILLS);
});
