import fs from "node:fs";
import { describe, expect, test } from "vitest";
import { BackendError } from "../../src/backend/backend.ts";
import { descriptorSender, socketPair } from "../../src/platform/descriptor-sender.ts";
import type { ServeOptions } from "../../src/server/tpm-server.ts";
import { FakeBackend, hex, RawClient } from "../support/server-fakes.ts";
import { GET_RANDOM, GET_RANDOM_RESPONSE, until, useServer } from "../support/server-harness.ts";

const at = useServer();

describe("control channel", () => {
  /** Sends requests to a server with a running TPM and compares the replies. */
  async function dialogue(
    requests: readonly (readonly [request: string, reply: string])[],
    serve: ServeOptions = { powerOn: true },
  ) {
    await at.start({}, serve);
    const client = await at.control();
    for (const [request, reply] of requests) expect(await client.ask(request), request).toBe(reply.replaceAll(" ", ""));
    expect(client.pieces).toHaveLength(requests.length);
  }

  test("GET_CAPABILITY: all bits, that of the prefix for TPM 2.0 only", async () => {
    await dialogue([["00000001", "00000000 0001ffff"]]);
    await at.server?.close();
    at.backend = new FakeBackend("1.2");
    await dialogue([["00000001", "00000000 00017fff"]]);
  });

  test("INIT starts the TPM, stops one that runs, and takes the flag to delete the volatile state", async () => {
    await dialogue(
      [
        ["00000002 00000000", "00000000"],
        ["00000002 00000001", "00000000"],
        ["00000002 00000000 00", "00000003"],
      ],
      {},
    );
    expect(at.backend.log).toEqual([
      "powerOn",
      "execute 80010000000c000001450001 at 0",
      "powerOff",
      "powerOn delete-volatile",
    ]);
  });

  test("INIT answers with the TPM's own code or with the kind of failure, and the TPM stays stopped", async () => {
    await at.start({}, {});
    const client = await at.control();
    at.backend.errors.set("powerOn", new BackendError("bad-state", "damaged", { tpmCode: 0x101 }));
    expect(await client.ask("00000002 00000000")).toBe("00000101");
    at.backend.errors.set("powerOn", new BackendError("storage", "in use by another process"));
    expect(await client.ask("00000002 00000000")).toBe("00000009");
    expect(at.lines.join()).toContain("in use by another process");
    expect(await client.ask("00000004")).toBe("0000000a");
  });

  test("commands that need a running TPM answer BAD_ORDINAL without one; so does SET_STATEBLOB with one", async () => {
    await dialogue(
      ["04", "06", "08", "09", "0a"]
        .map((number): [string, string] => [`000000${number}`, "0000000a"])
        .concat([
          ["0000000b 03", "0000000a"],
          ["00000007 00000002 aabb", "0000000a"],
          ["0000000c 00000001 00000001 00000000", "0000000a"],
        ]),
      {},
    );
    await at.server?.close();
    await dialogue([["0000000d 00000000 00000001 00000002 aabb", "0000000a"]]);
    expect(at.backend.log.filter((line) => line.startsWith("setState"))).toEqual([]);
  });

  test("GET_TPMESTABLISHED is a byte and three of padding; RESET takes its own locality", async () => {
    await dialogue([
      ["00000004", "00000000 01000000"],
      ["0000000b 02", "0000003d"],
      ["0000000b 05", "0000003d"],
      ["0000000b 03", "00000000"],
      ["00000004", "00000000 00000000"],
    ]);
  });

  test("the locality commands take one byte, or four as QEMU sends", async () => {
    await dialogue([
      ["00000005 02", "00000000"],
      ["00000005 04000000", "00000000"],
      ["00000005 05000000", "0000003d"],
      ["0000000b 03000000", "00000000"],
      ["00000001", "00000000 0001ffff"],
    ]);
    const client = await at.data();
    await client.ask(GET_RANDOM);
    expect(at.backend.log.at(-1)).toMatch(/ at 4$/);
  });

  test("locality 4 can be refused", async () => {
    await at.start({ rejectLocality4: true });
    const client = await at.control();
    expect(await client.ask("00000005 04")).toBe("0000003d");
    expect(await client.ask("00000005 03")).toBe("00000000");
  });

  test("HASH_DATA is handed on as it comes", async () => {
    await at.start();
    const client = await at.control();
    expect(await client.ask("00000006")).toBe("00000000");
    client.send("00000007 00000006 0102");
    await until(() => at.backend.log.includes("hashData 0102"));
    expect(await client.ask("03040506")).toBe("00000000");
    expect(await client.ask("00000007 00000000")).toBe("00000000");
    expect(await client.ask("00000007 00000001 aabb")).toBe("00000003");
    expect(await client.ask("00000008")).toBe("00000000");
    expect(at.backend.log.slice(1)).toEqual(["hashStart", "hashData 0102", "hashData 03040506", "hashEnd"]);
  });

  test("hashing that fails is answered after all data was taken", async () => {
    await at.start();
    const client = await at.control();
    at.backend.errors.set("hashData", new BackendError("storage", "no"));
    client.send("00000007 00000004 0102");
    await until(() => at.backend.log.includes("hashData 0102"));
    expect(await client.ask("0304")).toBe("00000009");
    expect(await client.ask("00000001")).toBe("000000000001ffff");
  });

  test("STORE_VOLATILE, GET_CONFIG, LOCK_STORAGE", async () => {
    await dialogue([
      ["0000000a", "00000000"],
      ["0000000f", "00000000 00000000"],
      ["00000013 00000005", "00000000"],
    ]);
    expect(at.backend.log).toContain("storeVolatile");
  });

  test("state blobs come in their container, from an offset on; lengths are what remains", async () => {
    at.backend.state.set("permanent", hex("cafe"));
    const container = "0201000a00040000001800040000000800010000 0002cafe".replaceAll(" ", "");
    await dialogue([
      ["0000000c 00000001 00000001 00000000", `00000000 00000000 00000018 00000018 ${container}`],
      ["0000000c 00000001 00000001 00000016", "00000000 00000000 00000002 00000002 cafe"],
      ["0000000c 00000001 00000001 00000018", "00000000 00000000 00000000 00000000"],
      ["0000000c 00000001 00000001 ffffffff", "00000000 00000000 00000000 00000000"],
      ["0000000c 00000001 00000003 00000000", "00000800 00000000 00000000 00000000"],
      ["0000000c 00000001 00000004 00000000", "00000009 00000000 00000000 00000000"],
      ["0000000c 00000001 00000000 00000000", "00000009 00000000 00000000 00000000"],
    ]);
  });

  test("a TPM that cannot migrate gives no state away", async () => {
    at.backend.state.set("permanent", hex("cafe"));
    at.backend.migrationBlocker = "it is a real device";
    await dialogue([["0000000c 00000001 00000001 00000000", "00000009 00000000 00000000 00000000"]]);
    expect(at.lines.join()).toContain("it is a real device");
  });

  test("SET_STATEBLOB takes head and body in separate writes and opens the container", async () => {
    await at.start({}, {});
    const client = await at.control();
    const container = hex("0201000a00040000001800040000000800010000 0002cafe");
    client.send("0000000d 00000000 00000001 00000018");
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.send(container.subarray(0, 5));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await client.ask(container.subarray(5))).toBe("00000000");
    expect(await client.ask("0000000d 00000000 00000002 00000000")).toBe("00000000");
    expect(at.backend.log).toEqual(
      ["lockStorage 0", "setState permanent cafe", "setState volatile"].map((l) =>
        l.endsWith("volatile") ? `${l} ` : l,
      ),
    );
  });

  test.each([
    ["of an unknown type", "0000000d 00000000 00000009 00000000", "00000003"],
    ["too large", "0000000d 00000000 00000001 00080001", "00000009"],
    ["with too much data", "0000000d 00000000 00000001 00000001 aabb", "00000003"],
    ["without a container", "0000000d 00000000 00000001 00000002 aabb", "00000003"],
    ["encrypted", "0000000d 00000002 00000001 00000018 0201000a0004000000180004000000080001000000 02cafe", "0000000d"],
    [
      "encrypted for migration",
      "0000000d 00000000 00000001 00000018 0201000a0006000000180005000000080001000000 02cafe",
      "0000000d",
    ],
    [
      "of a newer version",
      "0000000d 00000000 00000001 00000018 0303000a0004000000180004000000080001000000 02cafe",
      "0000002e",
    ],
  ])("a state blob %s is refused and not set", async (_what, request, reply) => {
    await at.start({ requestTimeout: 30 }, {});
    const client = await at.control();
    expect(await client.ask(request)).toBe(reply);
    expect(at.backend.log.filter((line) => line.startsWith("setState"))).toEqual([]);
    expect(await client.ask("00000001")).toBe("000000000001ffff");
  });

  test("SET_BUFFERSIZE asks at any time and sets while stopped", async () => {
    await dialogue([
      ["00000011 00000000", "00000000 00001000 00000af8 00001000"],
      ["00000011 00000f80", "0000000a"],
      ["0000000e", "00000000"],
      ["00000011 00000f80", "00000000 00000f80 00000af8 00001000"],
      ["00000011 00000001", "00000000 00000af8 00000af8 00001000"],
      ["00000011 00ffffff", "00000000 00001000 00000af8 00001000"],
    ]);
  });

  test("GET_INFO gives text with its NUL, in pieces of 3072 bytes", async () => {
    at.backend.infoText = "x".repeat(4000);
    await at.start();
    const client = await at.control();
    const first = await client.ask("00000012 0000000000000041 00000000 00000000");
    expect(first).toBe(`0000000000000fa100000c00${"78".repeat(3072)}`);
    const second = await client.ask("00000012 0000000000000041 00000c00 00000000");
    expect(second).toBe(`0000000000000fa1000003a1${"78".repeat(928)}00`);
    expect(await client.ask("00000012 0000000000000041 00000fa0 00000000")).toBe("00000003");
    expect(at.backend.log.at(-1)).toBe("info 65");
  });

  test("an unknown command is BAD_ORDINAL and whatever came with it is dropped", async () => {
    await dialogue([
      ["00000000", "0000000a"],
      ["000000ff 00000001", "0000000a"],
      ["deadbeef 0102030405", "0000000a"],
      ["0000000e 00", "00000003"],
      ["00000001 00000001", "00000000 0001ffff"],
    ]);
  });

  test("an incomplete request is answered with BAD_PARAMETER and the connection stays", async () => {
    await at.start({ requestTimeout: 20 });
    const client = await at.control();
    for (const request of [
      "00",
      "00000002",
      "00000002 0000",
      "0000000c 00000001",
      "00000007 00000004 01",
      "00000012",
    ]) {
      expect(await client.ask(request), request).toBe("00000003");
    }
    expect(await client.ask("00000001")).toBe("000000000001ffff");
  });

  test("a second control client waits for the first to go", async () => {
    await at.start();
    const first = await at.control();
    const second = await at.control();
    second.send("00000001");
    await first.ask("00000001");
    expect(second.received).toHaveLength(0);
    first.socket.destroy();
    expect(await second.read(8)).toBe("000000000001ffff");
  });

  test("hundreds of control connections in turn, as tpm2-tss makes them", async () => {
    await at.start();
    for (let i = 0; i < 300; i++) {
      const client = await at.control();
      expect(await client.ask("00000005 00")).toBe("00000000");
      client.socket.destroy();
    }
    const open = process.platform === "linux" ? fs.readdirSync("/proc/self/fd").length : 0;
    expect(open).toBeLessThan(200);
  });

  test("random requests never stop the channel", async () => {
    await at.start({ requestTimeout: 15 });
    let client = await at.control();
    let seed = 99;
    const random = () => {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      return seed >> 16;
    };
    for (let round = 0; round < 80; round++) {
      const body = Uint8Array.from({ length: random() % 40 }, () => random() & (round % 2 ? 0xff : 0x01));
      // Any command but the one that ends the at.server.
      const number = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20][random() % 19]!;
      await client.ask(Buffer.concat([hex(`000000${number.toString(16).padStart(2, "0")}`), body]));
      client.received = Buffer.alloc(0);
      if (random() % 8 === 0) {
        client.socket.destroy();
        client = await at.control();
      }
    }
    expect(await client.ask("00000001")).toBe("000000000001ffff");
  });
});

describe("SET_DATAFD", () => {
  /** Sends SET_DATAFD with one end of a socket pair, and gives the other end. */
  async function setDataFd(): Promise<{ control: RawClient; data: RawClient; reply: string }> {
    const { socket, send } = descriptorSender((await at.control()).socket);
    const control = new RawClient(socket);
    const [near, far] = await socketPair();
    const data = new RawClient(near);
    at.clients.push(control, data);
    send("\0\0\0\x10", far);
    return { control, data, reply: await control.read(4) };
  }

  test("the descriptor that came with it is the data channel", async () => {
    await at.startWithControlOnly();
    const { data, control, reply } = await setDataFd();
    expect(reply).toBe("00000000");
    expect(await data.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
    expect(await control.ask("00000001")).toBe("000000000001ffff");
  });

  test("a second one is refused until the first has gone", async () => {
    await at.startWithControlOnly();
    const first = await setDataFd();
    first.control.socket.destroy();
    const second = await setDataFd();
    expect(second.reply).toBe("0000001f");
    await second.data.closed();
    second.control.socket.destroy();
    expect(await first.data.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
    first.data.socket.destroy();
    await until(() => at.lines.includes("Data client disconnected"));
    const third = await setDataFd();
    expect(third.reply).toBe("00000000");
    expect(await third.data.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });

  test("beside a data socket it is refused; without a descriptor it is BAD_PARAMETER", async () => {
    await at.start();
    expect((await setDataFd()).reply).toBe("0000001f");
    await at.server?.close();
    await at.startWithControlOnly();
    expect(await (await at.control()).ask("00000010")).toBe("00000003");
  });

  test("a descriptor that comes with another command is closed", async () => {
    await at.startWithControlOnly();
    const { socket, send } = descriptorSender((await at.control()).socket);
    const control = new RawClient(socket);
    const [near, far] = await socketPair();
    const data = new RawClient(near);
    at.clients.push(control, data);
    send("\0\0\0\x01", far);
    expect(await control.read(8)).toBe("000000000001ffff");
    await data.closed();
  });
});
