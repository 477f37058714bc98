import { describe, expect, test } from "vitest";
import { BackendError } from "../../src/backend/backend.ts";
import { command, FakeBackend, hex, toHex } from "../support/server-fakes.ts";
import { FATAL, GET_RANDOM, GET_RANDOM_RESPONSE, until, useServer } from "../support/server-harness.ts";

const at = useServer();

describe("data channel", () => {
  test("a command is answered in one write", async () => {
    await at.start();
    const client = await at.data();
    expect(await client.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
    expect(client.pieces).toHaveLength(1);
    expect(at.backend.log.at(-1)).toBe(`execute ${toHex(GET_RANDOM)} at 0`);
  });

  test("a command that arrives byte by byte is assembled by its size", async () => {
    await at.start();
    const client = await at.data();
    for (const byte of GET_RANDOM) {
      client.socket.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
  });

  test("two commands in one write get two answers in order", async () => {
    await at.start();
    const client = await at.data();
    const second = command(0x181);
    client.send(Buffer.concat([GET_RANDOM, second, GET_RANDOM.subarray(0, 3)]));
    expect(await client.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
    expect(await client.read(20)).toBe(toHex(command(0, second)));
    client.send(GET_RANDOM.subarray(3));
    expect(await client.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
  });

  test("before CMD_INIT the answer to anything is a failure with the family's tag", async () => {
    await at.start({}, {});
    const client = await at.data();
    expect(await client.ask(command(0x181))).toBe(FATAL);
    expect(await client.ask("00c1 0000000a 00000065")).toBe(FATAL);
    expect(await client.ask("ffff 00000000 00000000")).toBe(FATAL);
    expect(at.backend.log).toEqual([]);
  });

  test("before CMD_INIT a TPM 1.2 answers with its own tag and TPM_FAIL", async () => {
    at.backend = new FakeBackend("1.2");
    await at.start({}, {});
    expect(await (await at.data()).ask(command(0x181))).toBe("00c40000000a00000009");
  });

  test("with the TCG's prefix the response has a size before and a zero after it, and its own locality", async () => {
    await at.start();
    const client = await at.data();
    const prefixed = Buffer.concat([hex("00000008 03 0000000c"), GET_RANDOM]);
    expect(await client.ask(prefixed)).toBe(`00000016${GET_RANDOM_RESPONSE}00000000`);
    expect(at.backend.log.at(-1)).toBe(`execute ${toHex(GET_RANDOM)} at 3`);
    // swtpm keeps that locality for the commands after it; a raw command here is at the one CMD_SET_LOCALITY set.
    await client.ask(GET_RANDOM);
    expect(at.backend.log.at(-1)).toBe(`execute ${toHex(GET_RANDOM)} at 0`);
  });

  test("a prefix with a locality above 4, or 4 where that is refused, gets TPM_RC_LOCALITY", async () => {
    await at.start({ rejectLocality4: true });
    const client = await at.data();
    for (const locality of ["04", "05", "ff"]) {
      const reply = await client.ask(Buffer.concat([hex(`00000008 ${locality} 0000000c`), GET_RANDOM]));
      expect(reply).toBe("0000000a80010000000a0000090700000000");
    }
  });

  test("an oversized command gets TPM_RC_COMMAND_SIZE once, and the next command is served", async () => {
    await at.start();
    const client = await at.data();
    const large = command(0x17b, new Uint8Array(4096));
    client.send(Buffer.concat([large, GET_RANDOM]));
    expect(await client.read(10)).toBe("80010000000a00000142");
    expect(await client.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
  });

  test("a header that announces more than will ever come is answered all the same", async () => {
    await at.start();
    const client = await at.data();
    expect(await client.ask("8001 ffffffff 00000144 0000")).toBe("80010000000a00000142");
    expect(await client.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });

  test("a truncated command is given to the TPM as it is when nothing more comes", async () => {
    await at.start({ assemblyTimeout: 30 });
    const client = await at.data();
    client.send(GET_RANDOM.subarray(0, 11));
    expect(await client.read(21)).toBe(toHex(command(0, GET_RANDOM.subarray(0, 11))));
    client.send(GET_RANDOM.subarray(0, 4));
    expect(await client.read(10)).toBe("80010000000a0000009a");
    expect(await client.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });

  test("a header with a size below its own is passed on with what came with it, for one answer", async () => {
    await at.start();
    const client = await at.data();
    expect(await client.ask("8001 00000005 0000017b 0020")).toBe(toHex(command(0, hex("8001 00000005 0000017b"))));
    expect(await client.ask(new Uint8Array(64))).toBe(toHex(command(0, new Uint8Array(10))));
    expect(await client.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });

  test("a client that goes in the middle of a command leaves nothing behind", async () => {
    await at.start();
    const first = await at.data();
    first.send(GET_RANDOM.subarray(0, 6));
    first.socket.end();
    await first.closed();
    const second = await at.data();
    expect(await second.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
    expect(at.lines).toContain("Data client disconnected");
  });

  test("a client that ends its side after a command still gets the answer", async () => {
    await at.start();
    const client = await at.data();
    client.socket.end(GET_RANDOM);
    expect(await client.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
  });

  test("a second client waits until the first has gone", async () => {
    await at.start();
    const first = await at.data();
    const second = await at.data();
    second.send(GET_RANDOM);
    await first.ask(GET_RANDOM);
    expect(second.received).toHaveLength(0);
    first.socket.end();
    expect(await second.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
  });

  test("with 'disconnect' the connection is closed after every response", async () => {
    await at.start({ disconnect: true });
    for (let i = 0; i < 3; i++) {
      const client = await at.data();
      client.send(GET_RANDOM);
      expect(await client.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
      await client.closed();
    }
  });

  test("a at.backend that fails is answered as a failed TPM, and serves on", async () => {
    await at.start();
    const client = await at.data();
    at.backend.errors.set("execute", new BackendError("storage", "the disk is full"));
    expect(await client.ask(GET_RANDOM)).toBe(FATAL);
    expect(at.lines.join()).toContain("the disk is full");
    at.backend.answers.set(0x17b, () => Promise.reject(new BackendError("io", "gone")));
    expect(await client.ask(GET_RANDOM)).toBe(FATAL);
    at.backend.answers.clear();
    expect(await client.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });

  test("the in-band locality command needs the option", async () => {
    const setLocality = command(0x2000_1000, Uint8Array.of(3));
    await at.start();
    expect(await (await at.data()).ask(setLocality)).toBe(FATAL);
    await at.server?.close();
    await at.start({ allowSetLocality: true, rejectLocality4: true });
    const client = await at.data();
    expect(await client.ask(setLocality)).toBe("80010000000a00000000");
    await client.ask(GET_RANDOM);
    expect(at.backend.log.at(-1)).toMatch(/ at 3$/);
    expect(await client.ask(command(0x2000_1000, Uint8Array.of(4)))).toBe("80010000000a00000907");
    expect(await client.ask(command(0x2000_1000))).toBe("80010000000a0000009a");
  });

  test("random bytes are always answered or waited for, and never stop the server", async () => {
    await at.start({ assemblyTimeout: 20 });
    let seed = 12345;
    const random = () => {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      return seed >> 16;
    };
    for (let round = 0; round < 60; round++) {
      const client = await at.data();
      const bytes = Uint8Array.from({ length: 1 + (random() % 200) }, () => random() & 0xff);
      client.send(bytes);
      if (round % 3 === 0) client.socket.destroy();
      else await client.read(10);
      client.socket.destroy();
    }
    expect(await (await at.data()).ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });

  test("a client that sends without ever reading is not served without end", async () => {
    await at.start();
    const client = await at.data();
    client.socket.pause();
    const many = Buffer.concat(Array.from({ length: 4000 }, () => GET_RANDOM));
    for (let i = 0; i < 50; i++) client.socket.write(many);
    let before = -1;
    // The number of executed commands stops growing although far more were sent.
    for (let calm = 0; calm < 20; ) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      calm = at.backend.log.length === before ? calm + 1 : 0;
      before = at.backend.log.length;
    }
    expect(at.backend.log.length).toBeLessThan(200_000);
    client.socket.destroy();
    expect(await (await at.data()).ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });
});

describe("while a command runs", () => {
  test("the control channel answers, cancels, and holds back what must wait", async () => {
    await at.start();
    const data = await at.data();
    const control = await at.control();
    let finish: (response: Uint8Array) => void = () => {};
    at.backend.answers.set(0x131, () => new Promise((resolve) => (finish = resolve)));
    data.send(command(0x131));
    await until(() => at.backend.log.length === 2);
    expect(await control.ask("00000001")).toBe("000000000001ffff");
    expect(await control.ask("00000005 01")).toBe("00000000");
    expect(await control.ask("00000009")).toBe("00000000");
    expect(at.backend.log.at(-1)).toBe("cancel");
    control.send("0000000e");
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(at.backend.running).toBe(true);
    finish(hex("8001 0000000a 00000909"));
    expect(await data.read(10)).toBe("80010000000a00000909");
    expect(await control.read(4)).toBe("00000000");
    expect(at.backend.running).toBe(false);
  });

  test("a client that sends on is answered in order, and one that goes leaves the TPM usable", async () => {
    await at.start();
    let finish: (response: Uint8Array) => void = () => {};
    at.backend.answers.set(0x131, () => new Promise((resolve) => (finish = resolve)));
    const first = await at.data();
    first.send(Buffer.concat([command(0x131), GET_RANDOM]));
    await until(() => at.backend.log.length === 2);
    finish(hex("8001 0000000a 00000000"));
    expect(await first.read(10)).toBe("80010000000a00000000");
    expect(await first.read(GET_RANDOM_RESPONSE.length / 2)).toBe(GET_RANDOM_RESPONSE);
    first.send(command(0x131));
    await until(() => at.backend.log.length === 4);
    first.socket.destroy();
    finish(hex("8001 0000000a 00000000"));
    const second = await at.data();
    expect(await second.ask(GET_RANDOM)).toBe(GET_RANDOM_RESPONSE);
  });
});
