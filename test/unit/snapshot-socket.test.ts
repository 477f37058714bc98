// The management socket of a served TPM: when it is there, who may use it, and what bytes it takes.
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { askManagement, ManagementError } from "../../src/server/management-client.ts";
import { temporaryFolder } from "../support/emulator.ts";
import { type ManagedOptions, ManagedTpm } from "../support/managed-tpm.ts";
import { until } from "../support/process.ts";
import type { RawClient } from "../support/server-fakes.ts";

let directory: string;
const started: ManagedTpm[] = [];
beforeEach(() => {
  directory = temporaryFolder();
});
afterEach(async () => {
  for (const tpm of started.splice(0)) await tpm.stop();
  fs.rmSync(directory, { recursive: true, force: true });
});

async function start(options: ManagedOptions = {}): Promise<ManagedTpm> {
  const tpm = await ManagedTpm.start(directory, options);
  started.push(tpm);
  return tpm;
}

async function kindOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ManagementError) return error.kind;
    throw error;
  }
  return "no error";
}

const restore = (tpm: ManagedTpm, name: string, options = {}) =>
  tpm.ask("snapshot-restore", { name, running: true, ...options });

describe("the management socket", () => {
  test("is for the owner only", async () => {
    const tpm = await start();
    await tpm.ask("status");
    expect(fs.statSync(tpm.socket).mode & 0o777).toBe(0o600);
  });

  test("goes with its server, and is replaced where a killed one left it", async () => {
    let tpm = await start();
    expect(await tpm.ask("status")).toEqual({
      protocol: 1,
      version: "1.2.3",
      pid: process.pid,
      family: "2.0",
      running: true,
    });
    await tpm.stop();
    expect(fs.existsSync(tpm.socket)).toBe(false);
    expect(await askManagement(tpm.socket, "status")).toBeUndefined();
    fs.writeFileSync(tpm.socket, "");
    expect(await askManagement(tpm.socket, "status")).toBeUndefined();
    fs.unlinkSync(tpm.socket);
    tpm = await start();
    expect(await tpm.ask("status")).toMatchObject({ running: true });
  });

  test("is there while the state is owned, and only then", async () => {
    const exists = () => fs.existsSync(path.join(directory, "state/.wtpm"));
    const tpm = await start({
      server: { incomingMigration: true, releaseLockOutgoing: true },
      serve: {},
    });
    const control = await tpm.control();
    await control.ask("0000000200000000");
    const client = await tpm.client();
    expect(exists()).toBe(false);
    await client.startup(); // takes the lock
    await tpm.ask("status");
    const getState = (type: number) => control.ask(`0000000c00000000${type.toString(16).padStart(8, "0")}00000000`);
    for (const type of [1, 2, 3]) await getState(type);
    await until("the socket to go", () => !exists());
    await client.command("GetRandom", { parameters: { bytesRequested: 8 } });
    await tpm.ask("status");
  });

  test("may have a path that is longer than a socket's", async () => {
    const deep = path.join(directory, "x".repeat(100), "state");
    fs.mkdirSync(deep, { recursive: true });
    const tpm = await start({ socket: path.join(deep, ".wtpm") });
    expect(await tpm.ask("status")).toMatchObject({ protocol: 1 });
    expect(fs.existsSync(tpm.socket)).toBe(true);
    await tpm.stop();
    expect(fs.existsSync(tpm.socket)).toBe(false);
  });

  test("that cannot be made is a warning, not the end", async () => {
    const tpm = await start({ socket: path.join(directory, "missing/.wtpm") });
    await until("the warning", () => tpm.lines.some((line) => line.startsWith("Warning: no management socket: ")));
    await (await tpm.client()).command("GetRandom", { parameters: { bytesRequested: 8 } });
  });

  test("takes no client from the control channel, nor the other way round", async () => {
    const tpm = await start();
    const [control, other] = [await tpm.control(), await tpm.management()];
    other.send(Buffer.from('{"command":"status"}\n'));
    expect(await control.ask("00000001")).toMatch(/^00000000/);
    await until("the reply", () => other.received.includes(0x0a));
  });
});

describe("hostile bytes", () => {
  const lines = (client: { received: Buffer }) =>
    client.received
      .toString()
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const ask = async (tpm: ManagedTpm, bytes: Uint8Array | string, replies = 1) => {
    const client = await tpm.management();
    client.send(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
    await until("the replies", () => lines(client).length >= replies);
    return lines(client);
  };

  test.each([
    ["no JSON", "nonsense\n"],
    ["nothing", "\n"],
    ["no object", "[1]\n"],
    ["null", "null\n"],
    ["no command", "{}\n"],
    ["another command", '{"command":"halt"}\n'],
    ["a command that every object has", '{"command":"constructor"}\n'],
    ["another member", '{"command":"status","more":true}\n'],
    ["a member that every object has", '{"command":"status","toString":"x"}\n'],
    ["a member of another type", '{"command":"snapshot-create","name":7}\n'],
    ["a deep structure", `${"[".repeat(5000)}\n`],
    ["no UTF-8", Uint8Array.of(0x22, 0xff, 0x22, 0x0a)],
  ])("%s is refused", async (_what, bytes) => {
    const tpm = await start();
    expect(await ask(tpm, bytes)).toEqual([{ ok: false, kind: "request", message: expect.any(String) }]);
    expect(await tpm.ask("status")).toMatchObject({ running: true });
  });

  test("a name with a path in it is no name", async () => {
    const tpm = await start();
    for (const name of ["../../x", "/etc/passwd", "a\0b", "", "é"]) {
      expect(await kindOf(tpm.ask("snapshot-create", { name }))).toBe("bad-name");
      expect(await kindOf(restore(tpm, name))).toBe("not-found");
      expect(await kindOf(tpm.ask("snapshot-delete", { name }))).toBe("not-found");
    }
  });

  test("requests in pieces, several at once, and a last one without its end", async () => {
    const tpm = await start();
    const client = await tpm.management();
    const status = Buffer.from('{"command":"status"}\n');
    for (const byte of status) client.send(Uint8Array.of(byte));
    client.send(Buffer.concat([status, Buffer.from("x\n"), status, Buffer.from('{"command"')]));
    await until("four replies", () => lines(client).length >= 4);
    expect(lines(client).map(({ ok }) => ok)).toEqual([true, true, false, true]);
    client.socket.end();
    await client.closed();
    expect(lines(client)).toHaveLength(4);
  });

  test("a request without an end is cut off", async () => {
    const tpm = await start();
    const client = await tpm.management();
    for (let at = 0; at < 20; at++) client.send(Buffer.alloc(1000, "a"));
    await client.closed();
    expect(lines(client)).toEqual([{ ok: false, kind: "request", message: expect.stringContaining("16384") }]);
    expect(await tpm.ask("status")).toMatchObject({ running: true });
  });

  test("more clients than it serves find it closed; the others go on", async () => {
    const tpm = await start();
    const clients: RawClient[] = [];
    for (let at = 0; at < 20; at++) clients.push(await tpm.management());
    await until("four to be closed", () => clients.filter(({ ended }) => ended).length === 4);
    for (const client of clients.slice(1)) client.socket.destroy();
    clients[0]!.send(Buffer.from('{"command":"status"}\n'));
    await until("the reply", () => lines(clients[0]!).length === 1);
  });

  test("a client that goes in the middle does no harm, and what it asked for is done or not", async () => {
    const tpm = await start();
    for (let at = 0; at < 20; at++) {
      const client = await tpm.management();
      client.send(Buffer.from(`{"command":"snapshot-create","name":"s${at}"}\n`));
      client.socket.destroy();
    }
    expect(await tpm.ask("status")).toMatchObject({ running: true });
    expect(tpm.repository.index()?.snapshots.length ?? 0).toBeLessThanOrEqual(20);
  });
});
