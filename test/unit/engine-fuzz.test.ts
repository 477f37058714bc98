// Whatever arrives, the engine answers: no input traps it or puts it into failure mode, and its state stays one that can be saved.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { Engine, PENDING } from "../../src/engine/engine.ts";
import { engineModule } from "../../src/engine/module.ts";
import { CommandSource } from "../support/engine-commands.ts";
import { EngineTpm, listedCommands, TestHost } from "../support/engine-tpm.ts";
import { bytesOf, recorded } from "../support/recorded.ts";
import { Seeded } from "../support/seeded.ts";

/** More runs than the ordinary: WTPM_FUZZ_RUNS=100000. */
const RUNS = Number(process.env.WTPM_FUZZ_RUNS ?? 1500);

const corpus = recorded("corpus-commands.tsv").map(([, command]) => bytesOf(command!));

/** A change to the bytes of a command: a byte set, bytes cut out, bytes put in, or the rest cut off. */
const edit = fc.record({
  kind: fc.constantFrom("set", "cut", "insert", "truncate"),
  at: fc.nat(),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 6 }),
});

/** A command of the corpus with a few edits, mostly with the size field that belongs to it. */
const edited = fc
  .record({ base: fc.constantFrom(...corpus), edits: fc.array(edit, { maxLength: 4 }), honest: fc.integer({ max: 9 }) })
  .map(({ base, edits, honest }) => {
    const bytes = [...base];
    for (const { kind, at, bytes: inserted } of edits) {
      const place = bytes.length === 0 ? 0 : at % bytes.length;
      if (kind === "set") bytes.splice(place, 1, inserted[0]!);
      else if (kind === "cut") bytes.splice(place, inserted.length);
      else if (kind === "insert") bytes.splice(place, 0, ...inserted);
      else bytes.splice(place);
    }
    const command = Uint8Array.from(bytes);
    if (honest !== 0 && command.length >= 6) new DataView(command.buffer).setUint32(2, command.length);
    return command;
  });

const command = fc.oneof(
  { weight: 8, arbitrary: edited },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 5000 }) },
  {
    weight: 2,
    arbitrary: fc
      .record({
        sessions: fc.boolean(),
        code: fc.integer({ min: 0x11f, max: 0x19c }),
        body: fc.uint8Array({ maxLength: 200 }),
      })
      .map(({ sessions, code, body }) => {
        const bytes = new Uint8Array(10 + body.length);
        const view = new DataView(bytes.buffer);
        view.setUint16(0, sessions ? 0x8002 : 0x8001);
        view.setUint32(2, bytes.length);
        view.setUint32(6, code);
        bytes.set(body, 10);
        return bytes;
      }),
  },
);

/** The response is one: a header, a size that is its length. */
function expectResponse(response: Uint8Array, sent: Uint8Array): void {
  const view = new DataView(response.buffer, response.byteOffset, response.byteLength);
  expect(response.length, toHex(sent)).toBeGreaterThanOrEqual(10);
  expect(view.getUint32(2), toHex(sent)).toBe(response.length);
  expect([0x8001, 0x8002], toHex(sent)).toContain(view.getUint16(0));
  if (view.getUint32(6) !== 0) expect(toHex(response).slice(0, 12), toHex(sent)).toBe("80010000000a");
}

describe("no command", () => {
  it("traps the engine or puts it into failure mode, at any locality, one after the other", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(command, fc.constantFrom(0, 0, 0, 1, 2, 3, 4, 32, 255)), { minLength: 1, maxLength: 20 }),
        (commands) => {
          const tpm = new EngineTpm();
          for (const [bytes, locality] of commands) {
            tpm.locality = locality;
            expectResponse(tpm.send(bytes), bytes);
            expect(tpm.engine.inFailureMode, toHex(bytes)).toBe(false);
          }
          tpm.migrate();
          tpm.locality = 0;
          expect(tpm.rc("80010000000c0000017b0008")).toBe(0);
        },
      ),
      { numRuns: RUNS / 5 },
    );
  });

  it("keeps a state from being saved and loaded, in the middle of whatever a user does", async () => {
    const listed = await listedCommands(new EngineTpm().client);
    fc.assert(
      fc.property(fc.string(), (seed) => {
        const host = new TestHost(seed);
        const tpm = new EngineTpm({ host, startup: false });
        const source = new CommandSource(new Seeded(seed), listed);
        for (let i = 0; i < 60; i++) {
          const step = source.next();
          host.advance(1);
          if (step.kind === "power") tpm.powerCycle();
          else if (step.kind === "hash") {
            tpm.engine.hashStart();
            tpm.engine.hashData(step.data);
            tpm.engine.hashEnd();
          } else if (step.kind === "command") {
            tpm.locality = step.locality;
            const response = tpm.send(step.bytes);
            expectResponse(response, step.bytes);
            source.answered(step, response);
          }
          const before = tpm.save();
          tpm.migrate();
          // The very same state, but for the time of day in it and the checksum over that.
          expect(toHex(tpm.save().permanent)).toBe(toHex(before.permanent));
          expect(tpm.save().volatile.length).toBe(before.volatile.length);
          expect(tpm.engine.inFailureMode).toBe(false);
        }
      }),
      { numRuns: RUNS / 60 },
    );
  });
});

describe("no state blob", () => {
  const tpm = new EngineTpm();
  // A sequence, a session, an orderly and an ordinary index in it.
  for (const made of [
    "80010000000e0000018600000010",
    "80010000002b0000017640000007400000070010111111111111111111111111111111110000010010000b",
    "80020000002d0000012a40000001000000094000000900000000000000000e01800001000b0002000200000020",
    "80020000002d0000012a40000001000000094000000900000000000000000e01800002000b0402000200000008",
  ]) {
    expect(tpm.rc(made)).toBe(0);
  }
  const state = tpm.save();

  const spoil = (blob: Uint8Array, edits: readonly { kind: string; at: number; bytes: Uint8Array }[]) => {
    const bytes = [...blob];
    for (const { kind, at, bytes: put } of edits) {
      const place = at % bytes.length;
      if (kind === "cut") bytes.splice(place, put.length);
      else if (kind === "insert") bytes.splice(place, 0, ...put);
      else if (kind === "truncate") bytes.splice(place);
      else bytes.splice(place, put.length, ...put);
      if (bytes.length === 0) break;
    }
    return Uint8Array.from(bytes);
  };
  const edits = fc.array(edit, { minLength: 1, maxLength: 3 });

  const commands = [
    "80010000000c000001440000",
    "80010000000c0000017b0008",
    "8001000000160000017a0000000600000200000000ff",
    "80010000000c000001450000",
  ];
  const run = (engine: Engine) => {
    for (const bytes of commands.map(bytesOf)) {
      let size = engine.execute(bytes, 0);
      while (size === PENDING) size = engine.resume();
      expectResponse(engine.response(size), bytes);
    }
  };

  it("traps the engine that loads it as its permanent state", () => {
    fc.assert(
      fc.property(edits, (changes) => {
        const engine = new Engine(engineModule(), new TestHost());
        if (engine.loadPermanent(spoil(state.permanent, changes)) !== 0) return;
        engine.init();
        run(engine);
      }),
      { numRuns: RUNS },
    );
  });

  it("traps the engine that loads it as its volatile state, even with the right checksum", async () => {
    const { createHash } = await import("node:crypto");
    fc.assert(
      fc.property(edits, fc.boolean(), (changes, checksum) => {
        const engine = new Engine(engineModule(), new TestHost());
        expect(engine.loadPermanent(state.permanent)).toBe(0);
        engine.init();
        const body = spoil(state.volatile.subarray(0, -20), changes);
        const digest = checksum ? createHash("sha1").update(body).digest() : new Uint8Array(20);
        if (engine.loadVolatile(Uint8Array.from([...body, ...digest])) !== 0) return;
        run(engine);
      }),
      { numRuns: RUNS },
    );
  });
});
