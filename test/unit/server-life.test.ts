import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { BackendError } from "../../src/backend/backend.ts";
import { nodeTransport } from "../../src/platform/node-transport.ts";
import { type EndReason, TpmServer } from "../../src/server/tpm-server.ts";
import { command, FakeBackend, hex, toHex } from "../support/server-fakes.ts";
import { FATAL, GET_RANDOM, GET_RANDOM_RESPONSE, until, useServer } from "../support/server-harness.ts";

const at = useServer();

describe("life cycle", () => {
  const SHUTDOWN_STATE = "execute 80010000000c000001450001 at 0";
  const SHUTDOWN_CLEAR = "execute 80010000000c000001450000 at 0";

  async function endedWith(reason: EndReason): Promise<void> {
    expect(await at.server?.ended).toBe(reason);
    expect(fs.readdirSync(at.dir)).toEqual([]);
  }

  test("startup flags send TPM2_Startup", async () => {
    await at.start({}, { powerOn: true, startup: "clear" });
    expect(at.backend.log).toEqual(["powerOn", "execute 80010000000c000001440000 at 0"]);
    await at.server?.close();
    at.backend = new FakeBackend();
    await at.start({}, { powerOn: true, startup: "state" });
    expect(at.backend.log).toEqual(["powerOn", "execute 80010000000c000001440001 at 0"]);
    await at.server?.close();
    at.backend = new FakeBackend("1.2");
    await at.start({}, { powerOn: true, startup: "deactivated" });
    expect(at.backend.log).toEqual(["powerOn", "execute 00c10000000c000000990003 at 0"]);
  });

  test("TPM 2.0 has no startup deactivated", async () => {
    await expect(at.start({}, { powerOn: true, startup: "deactivated" })).rejects.toThrow(
      "does not support startup deactivated",
    );
  });

  test("a server that is ended while it begins to serve closes the TPM that was on its way", async () => {
    let poweredOn = () => {};
    at.backend.powerOn = () =>
      new Promise<void>((resolve) => {
        poweredOn = () => {
          at.backend.running = true;
          resolve();
        };
      }) as never;
    const started = at.start();
    await until(() => at.server !== undefined && fs.existsSync(at.dataPath));
    await new Promise(setImmediate);
    const closed = at.server!.close();
    expect(at.backend.log).toEqual([]);
    poweredOn();
    await Promise.all([started, closed]);
    expect(at.backend.log.slice(-2)).toEqual(["powerOff", "close"]);
    await endedWith("closed");

    at.backend = new FakeBackend();
    await at.server!.serve(at.backend, { powerOn: true });
    expect(at.backend.log).toEqual(["close"]);
  });

  test("CMD_SHUTDOWN sends TPM2_Shutdown(STATE), answers, and ends the server", async () => {
    await at.start();
    const client = await at.control();
    expect(await client.ask("00000003")).toBe("00000000");
    await endedWith("shutdown-command");
    expect(at.backend.log).toEqual(["powerOn", SHUTDOWN_STATE, "powerOff", "cancel", "close"]);
  });

  test("Shutdown(CLEAR) follows a refused one, but not on a TPM that was never started", async () => {
    at.backend.answers.set(0x145, (bytes) => hex(bytes[11] ? "8001 0000000a 00000128" : "8001 0000000a 00000000"));
    await at.start();
    await at.server?.close();
    expect(at.backend.log).toEqual(["powerOn", "cancel", SHUTDOWN_STATE, SHUTDOWN_CLEAR, "powerOff", "close"]);
    at.backend = new FakeBackend();
    at.backend.answers.set(0x145, () => hex("8001 0000000a 00000100"));
    await at.start();
    await at.server?.close();
    expect(at.backend.log.filter((line) => line.startsWith("execute"))).toEqual([SHUTDOWN_STATE]);
  });

  test("no Shutdown is sent after one from the client, for TPM 1.2, or when it is disabled", async () => {
    await at.start();
    await (await at.data()).ask(command(0x145, hex("0000")));
    await at.server?.close();
    expect(at.backend.log.filter((line) => line.startsWith("execute"))).toEqual([SHUTDOWN_CLEAR]);
    at.backend = new FakeBackend("1.2");
    await at.start();
    await at.server?.close();
    expect(at.backend.log).toEqual(["powerOn", "cancel", "powerOff", "close"]);
    at.backend = new FakeBackend();
    await at.start({ autoShutdown: false });
    await at.server?.close();
    expect(at.backend.log).toEqual(["powerOn", "cancel", "powerOff", "close"]);
  });

  test("STOP keeps the server, and INIT starts again", async () => {
    await at.start();
    const client = await at.control();
    expect(await client.ask("0000000e")).toBe("00000000");
    expect(await client.ask("0000000e")).toBe("00000000");
    expect(await (await at.data()).ask(GET_RANDOM)).toBe(FATAL);
    expect(await client.ask("00000002 00000000")).toBe("00000000");
    expect(at.backend.log).toEqual(["powerOn", SHUTDOWN_STATE, "powerOff", "powerOn"]);
  });

  test("STOP answers 0 even if stopping fails", async () => {
    await at.start();
    at.backend.errors.set("powerOff", new BackendError("storage", "the disk is gone"));
    expect(await (await at.control()).ask("0000000e")).toBe("00000000");
    expect(at.lines.join()).toContain("the disk is gone");
  });

  test("with 'terminate' the server ends with its data or its control client, otherwise not", async () => {
    await at.start();
    (await at.control()).socket.destroy();
    (await at.data()).socket.destroy();
    await until(() => at.lines.includes("Data client disconnected"));
    expect(await (await at.data()).ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
    await at.server?.close();
    await at.start({ terminateWithData: true });
    (await at.data()).socket.destroy();
    await endedWith("data-client-gone");
    await at.start({ terminateWithControl: true });
    (await at.control()).socket.destroy();
    await endedWith("control-client-gone");
  });

  test("an outgoing migration gives the lock up if asked to, and the next command takes it again", async () => {
    at.backend.state.set("permanent", hex("01"));
    await at.start({ releaseLockOutgoing: true });
    const control = await at.control();
    for (const type of ["1", "2", "3"]) await control.ask(`0000000c 00000001 0000000${type} 00000000`);
    expect(at.backend.log.slice(1)).toEqual([
      "getState permanent",
      "getState volatile",
      "getState savestate",
      "unlockStorage",
    ]);
    await (await at.data()).ask(GET_RANDOM);
    expect(at.backend.log.at(-2)).toBe("lockStorage 300");
  });

  test("a state given away is not touched at the end, and a command without the lock fails", async () => {
    await at.start({ releaseLockOutgoing: true });
    const control = await at.control();
    await control.ask("0000000c 00000001 00000003 00000000");
    at.backend.errors.set("lockStorage", new BackendError("storage", "in use"));
    expect(await (await at.data()).ask(GET_RANDOM)).toBe(FATAL);
    await at.server?.close();
    expect(at.backend.log.filter((line) => line.startsWith("execute"))).toEqual([]);
  });

  test("an incoming migration locks when the state is set or first used", async () => {
    await at.start({ incomingMigration: true }, {});
    const control = await at.control();
    await control.ask("00000002 00000000");
    expect(at.backend.log).toEqual(["powerOn defer-lock"]);
    await (await at.data()).ask(GET_RANDOM);
    expect(at.backend.log.slice(1)).toEqual(["lockStorage 0", `execute ${toHex(GET_RANDOM)} at 0`]);
    await control.ask("00000002 00000000");
    expect(at.backend.log.at(-1)).toBe("powerOn");
  });

  test("clients that connect before the TPM is ready are served when it is", async () => {
    at.server = new TpmServer({ transport: nodeTransport, data: { type: "unix", path: at.dataPath } });
    await at.server.listen();
    const client = await at.data();
    client.send(GET_RANDOM);
    await at.server.serve(at.backend, { powerOn: true });
    expect(await client.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
  });
});

describe("sockets", () => {
  test("TCP serves both channels on free ports", async () => {
    at.server = new TpmServer({
      transport: nodeTransport,
      control: { type: "tcp", host: "127.0.0.1", port: 0 },
      data: { type: "tcp", host: "127.0.0.1", port: 0 },
    });
    const {
      controlPorts: [controlPort],
      dataPorts: [dataPort],
    } = await at.server.listen();
    await at.server.serve(at.backend, { powerOn: true });
    expect(await (await at.connect(controlPort!)).ask("00000001")).toBe("000000000001ffff");
    expect(await (await at.connect(dataPort!)).ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });

  test("a UNIX socket has the mode asked for, replaces a stale one, and is removed at the end", async () => {
    const stale = net.createServer().listen(at.controlPath);
    await new Promise((resolve) => stale.once("listening", resolve));
    await at.start({ control: { type: "unix", path: at.controlPath, mode: 0o600 } });
    expect(fs.statSync(at.controlPath).mode & 0o777).toBe(0o600);
    expect(fs.statSync(at.dataPath).mode & 0o777).toBe(0o770);
    expect(await (await at.control()).ask("00000001")).toBe("000000000001ffff");
    await at.server?.close();
    expect(fs.readdirSync(at.dir)).toEqual([]);
    stale.close();
  });

  test("a file in place of the socket is not removed", async () => {
    fs.writeFileSync(at.controlPath, "precious");
    await expect(at.start()).rejects.toThrow("Could not open UnixIO socket");
    expect(fs.readFileSync(at.controlPath, "utf8")).toBe("precious");
  });

  test("a folder that is not there is named as that", async () => {
    const control = { type: "unix", path: path.join(at.dir, "nowhere/ctrl") } as const;
    await expect(at.start({ control })).rejects.toThrow("Could not open UnixIO socket: No such file or directory: ");
  });

  test("a path over the limit is refused with what to do, the longest possible works", async () => {
    const longest = path.join(at.dir, "x".repeat(107 - at.dir.length - 1));
    await at.start({ data: { type: "unix", path: longest } });
    expect(await (await at.connect(longest)).ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
    await at.server?.close();
    await expect(at.start({ data: { type: "unix", path: `${longest}y` } })).rejects.toThrow(
      /108 bytes, at most 107.*shorter path/,
    );
  });

  test("a used TCP port is named in the error", async () => {
    const other = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as net.AddressInfo;
    await expect(at.start({ data: { type: "tcp", host: "127.0.0.1", port } })).rejects.toThrow(`127.0.0.1:${port}`);
    other.close();
  });
});
