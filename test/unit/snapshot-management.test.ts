// The management channel alone: whatever bytes come in whatever pieces, every line gets one reply, and nothing is kept beyond its limits.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ManagementChannel, type ManagementCommand, MAX_REQUEST } from "../../src/server/management-channel.ts";
import { LazyManagement, type ServerManagement } from "../../src/server/management-lazy.ts";
import type { ServedTpm } from "../../src/server/served-tpm.ts";
import type { Connection, ConnectionHandler } from "../../src/server/transport.ts";
import { until } from "../support/process.ts";

/** A connection whose other side is the test. */
class FakeConnection implements Connection {
  handler: ConnectionHandler | undefined;
  written = "";
  closed = false;
  paused = false;
  #waiting: Uint8Array[] = [];

  open(handler: ConnectionHandler): void {
    this.handler = handler;
  }
  write(bytes: Uint8Array): void {
    expect(this.closed).toBe(false);
    this.written += new TextDecoder().decode(bytes);
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
    while (!this.paused && !this.closed && this.#waiting.length > 0) this.handler!.data(this.#waiting.shift()!);
  }
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.handler!.close();
  }
  takeDescriptor(): undefined {}

  /** As a socket does: nothing is delivered while it is paused. */
  send(bytes: Uint8Array): void {
    if (this.closed) return;
    if (this.paused) this.#waiting.push(bytes);
    else this.handler!.data(bytes);
  }

  async replies(count: number): Promise<Record<string, unknown>[]> {
    for (let turn = 0; turn < 10_000 && !this.closed && this.#lines().length < count; turn++) await Promise.resolve();
    return this.#lines().map((line) => JSON.parse(line) as Record<string, unknown>);
  }
  #lines(): string[] {
    return this.written.split("\n").slice(0, -1);
  }
}

const ran: unknown[] = [];
const commands = new Map<string, ManagementCommand>([
  [
    "echo",
    {
      members: { text: "string", flag: "boolean", count: "number" },
      run: async (values) => {
        ran.push(values);
        return { values };
      },
    },
  ],
  [
    "fail",
    {
      members: {},
      run: () => {
        throw new Error("a fault");
      },
    },
  ],
]);

function connected(): FakeConnection {
  const connection = new FakeConnection();
  new ManagementChannel(connection, commands, () => {});
  return connection;
}

/** Pieces of the bytes, cut where the numbers say. */
function pieces(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((start, i) => bytes.slice(start, at[i] ?? bytes.length)).filter(({ length }) => length > 0);
}

const value = fc.oneof(fc.string(), fc.boolean(), fc.integer(), fc.constant(null), fc.array(fc.string()));
const request = fc.oneof(
  fc.record(
    { command: fc.constant("echo"), text: fc.string(), flag: fc.boolean(), count: fc.nat() },
    { requiredKeys: ["command"] },
  ),
  fc.record({ command: fc.constantFrom("echo", "fail", "none"), text: value, flag: value }, { requiredKeys: [] }),
  fc.dictionary(fc.string(), value),
);
const line = fc.oneof(
  request.map((object) => new TextEncoder().encode(JSON.stringify(object))),
  fc.json().map((text) => new TextEncoder().encode(text)),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => bytes.filter((byte) => byte !== 0x0a)),
);

test("every line gets one reply, in order, whatever it is and however it is cut", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 12 }), async (lines, cuts) => {
      const connection = connected();
      ran.length = 0;
      const bytes = Uint8Array.from(lines.flatMap((line) => [...line, 0x0a]));
      for (const piece of pieces(bytes, cuts)) connection.send(piece);
      const replies = await connection.replies(lines.length);
      expect(replies).toHaveLength(lines.length);
      for (const reply of replies) {
        if (reply.ok) expect(Object.keys(reply)).toEqual(["ok", "values"]);
        else expect(["request", "internal"]).toContain(reply.kind);
      }
      // What was run is what was said, and nothing but that.
      expect(ran).toEqual(replies.filter(({ ok }) => ok).map(({ values }) => values));
      for (const values of ran as Record<string, unknown>[])
        for (const [name, member] of Object.entries(values))
          expect(typeof member).toBe({ text: "string", flag: "boolean", count: "number" }[name]);
      expect(connection.closed).toBe(false);
      connection.close();
    }),
    { numRuns: 1000 },
  );
});

test.each([MAX_REQUEST - 1, MAX_REQUEST, MAX_REQUEST + 1])("a line of %i bytes", async (size) => {
  for (const piece of [size + 1, 1000, 4096]) {
    const connection = connected();
    const head = '{"command":"echo","text":"';
    const bytes = new TextEncoder().encode(`${head}${"x".repeat(size - head.length - 2)}"}\n`);
    expect(bytes.length).toBe(size + 1);
    for (let at = 0; at < bytes.length; at += piece) connection.send(bytes.subarray(at, at + piece));
    const [reply] = await connection.replies(1);
    expect(reply!.ok).toBe(size < MAX_REQUEST);
    expect(connection.closed).toBe(size >= MAX_REQUEST);
    connection.close();
  }
});

test.each([0, 1, Number.MAX_SAFE_INTEGER, -1, 0.5, 1e300, "1", null])("the number %j", async (count) => {
  const connection = connected();
  connection.send(new TextEncoder().encode(`${JSON.stringify({ command: "echo", count })}\n`));
  const [reply] = await connection.replies(1);
  if (Number.isSafeInteger(count) && Number(count) >= 0) expect(reply).toEqual({ ok: true, values: { count } });
  else expect(reply).toMatchObject({ ok: false, kind: "request" });
});

test("what fails is said to have failed, and the next request is served", async () => {
  const connection = connected();
  connection.send(new TextEncoder().encode('{"command":"fail"}\n{"command":"echo"}\n'));
  expect(await connection.replies(2)).toEqual([
    { ok: false, kind: "internal", message: "a fault" },
    { ok: true, values: {} },
  ]);
  connection.close();
});

test("a client that has ended gets the reply to what it asked, and then the end", async () => {
  const connection = connected();
  connection.send(new TextEncoder().encode('{"command":"echo"}\n'));
  connection.handler!.end();
  expect(await connection.replies(1)).toHaveLength(1);
  await Promise.resolve();
  expect(connection.closed).toBe(true);
});

describe("management that is loaded late", () => {
  const made = (options: { eager?: boolean; hasSnapshots?: boolean; fails?: boolean } = {}) => {
    const told: string[] = [];
    const management: ServerManagement = {
      attach: () => void told.push("attach"),
      owned: (owned) => void told.push(owned ? "owned" : "given up"),
      volatileOnce: () => true,
      ready: async () => void told.push("ready"),
      close: async () => void told.push("close"),
    };
    const lazy = new LazyManagement({
      eager: options.eager ?? false,
      hasSnapshots: () => options.hasSnapshots ?? false,
      warn: (sentence) => told.push(sentence),
      load: async () => {
        told.push("load");
        if (options.fails) throw new Error("no such module");
        return management;
      },
    });
    lazy.attach({} as ServedTpm);
    return { lazy, told };
  };

  test("is not loaded for a state that is not owned, or only for a moment", async () => {
    const { lazy, told } = made();
    lazy.owned(false);
    lazy.owned(true);
    lazy.owned(false);
    expect(lazy.volatileOnce()).toBe(false);
    await lazy.ready();
    await lazy.close();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(told).toEqual([]);
  });

  test("is loaded a moment after the state was taken, once", async () => {
    const { lazy, told } = made();
    lazy.owned(true);
    await lazy.ready();
    expect(told).toEqual([]);
    await until("it to be told", () => told.includes("owned"));
    lazy.owned(false);
    lazy.owned(true);
    await lazy.close();
    expect(told).toEqual(["load", "attach", "owned", "given up", "owned", "close"]);
  });

  test("is waited for where nothing else shows that the state is in use", async () => {
    const { lazy, told } = made({ eager: true });
    lazy.owned(true);
    await lazy.ready();
    expect(told).toEqual(["load", "attach", "owned", "ready"]);
  });

  test("is asked about a volatile state where there are snapshots", async () => {
    const { lazy, told } = made({ hasSnapshots: true });
    expect(await lazy.volatileOnce()).toBe(true);
    lazy.owned(true);
    await until("it to be told", () => told.includes("owned"));
    expect(told).toEqual(["load", "attach", "owned"]);
  });

  test("that cannot be loaded is a warning", async () => {
    const { lazy, told } = made({ fails: true });
    lazy.owned(true);
    await until("the warning", () => told.includes("no management socket: no such module"));
  });
});
