// Whatever arrives, the engine answers: no input traps it or puts it into failure mode, and its state stays one that can be saved. More
// of all this, by command: npm run fuzz (docs/fuzzing.md).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { sized, u32 } from "../support/engine-steps.ts";
import { EngineTpm, responseCode } from "../support/engine-tpm.ts";
import { fuzzBlobs } from "../support/fuzz-blobs.ts";
import { expectResponse } from "../support/fuzz-engine.ts";
import { fuzzEngine } from "../support/fuzz-run.ts";
import { shrink } from "../support/fuzz-shrink.ts";
import { bytesOf, recorded } from "../support/recorded.ts";

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
);

describe("no command", () => {
  it("traps the engine or puts it into failure mode, at any locality, one after the other", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(command, fc.constantFrom(0, 0, 0, 1, 2, 3, 4, 32, 255)), { minLength: 1, maxLength: 20 }),
        (commands) => {
          const tpm = new EngineTpm();
          for (const [bytes, locality] of commands) {
            tpm.locality = locality;
            expectResponse(tpm.send(bytes));
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

  it("of a sequence that fits the TPM's state does, keeps that state from going on elsewhere, or takes a second", async () => {
    const { counts, failures } = await fuzzEngine({ seed: "unit", commands: RUNS * 6, first: 0, every: 1 });
    expect(failures.map((failure) => JSON.stringify(failure))).toEqual([]);
    expect(counts.succeeded / counts.commands).toBeGreaterThan(0.2);
    expect(counts.states).toBeGreaterThan(counts.commands / 100);
  });
});

describe("no state blob", () => {
  it("traps the engine that loads it, or leaves half a TPM", async () => {
    const { counts, failures } = await fuzzBlobs({ seed: "unit", blobs: RUNS * 2, first: 0, every: 1 });
    expect(failures.map(({ kind, message }) => `${kind}: ${message}`)).toEqual([]);
    expect(counts.refused).toBeGreaterThan(RUNS);
    expect(counts.loaded).toBeGreaterThan(RUNS / 10);
  });

  it("of which half was read is a TPM: after an error there is failure mode and nothing else", () => {
    const { permanent, volatile } = new EngineTpm().save();
    const GET_RANDOM = bytesOf("80010000000c0000017b0008");
    const answer = ({ engine }: EngineTpm) => responseCode(engine.response(engine.execute(GET_RANDOM, 0)));
    const TPM_RC_FAILURE = 0x101;
    const half = new EngineTpm({ startup: false });
    expect(half.engine.loadPermanent(permanent.subarray(0, -1))).not.toBe(0);
    expect([half.engine.inFailureMode, answer(half)]).toEqual([true, TPM_RC_FAILURE]);
    const other = new EngineTpm({ startup: false });
    expect(other.engine.loadVolatile(volatile.subarray(1))).not.toBe(0);
    expect([other.engine.inFailureMode, answer(other)]).toEqual([true, TPM_RC_FAILURE]);
  });
});

describe("found by such runs:", () => {
  const PASSWORD = "400000090000010000";
  /** An AES key that authenticates with CMAC. */
  const CMAC_KEY = "00040000000000120025000b00040472000000060080003f0000000000000000";
  const update = (handle: number, data: string) => sequence(0x15c, handle, sized(data));
  const complete = (handle: number, data: string) => sequence(0x13e, handle, `${sized(data)}40000007`);

  function sequence(code: number, handle: number, parameters: string): string {
    const body = `${u32(code)}${u32(handle)}00000009${PASSWORD}${parameters}`;
    return `8002${u32(6 + body.length / 2)}${body}`;
  }

  it.each(["migrates", "is saved as a context"])("a CMAC in progress goes on when it %s", (how) => {
    const results = [false, true].map((moved) => {
      const tpm = new EngineTpm();
      const create = `${u32(0x131)}4000000100000009${PASSWORD}${CMAC_KEY}`;
      expect(tpm.rc(`8002${u32(6 + create.length / 2)}${create}`)).toBe(0);
      expect(tpm.rc(sequence(0x15b, 0x80000000, "00000010"))).toBe(0);
      expect(tpm.rc(update(0x80000001, "ab".repeat(21)))).toBe(0);
      if (moved && how === "migrates") tpm.migrate();
      else if (moved) {
        const context = toHex(tpm.send("80010000000e0000016280000001")).slice(20);
        expect(tpm.rc("80010000000e0000016580000001")).toBe(0);
        expect(tpm.rc(`8001${u32(10 + context.length / 2)}00000161${context}`)).toBe(0);
      }
      return toHex(tpm.send(complete(0x80000001, "cd")));
    });
    expect(results[1]).toBe(results[0]);
    // TPM2B_DIGEST of 16 bytes.
    expect(results[0]?.slice(28, 32)).toBe("0010");
  });

  it("the context of a session is the same wherever it is saved, whatever policy it had before", () => {
    const START_SESSION = "80010000002b000001764000000740000007001011111111111111111111111111111111000001001000 0b";
    const CP_HASH = `${u32(0x16e)}03000000${sized("22".repeat(32))}`;
    const contexts = [false, true].map((migrated) => {
      const tpm = new EngineTpm();
      expect(tpm.rc(START_SESSION.replace(" ", ""))).toBe(0);
      expect(tpm.rc(`8001${u32(6 + CP_HASH.length / 2)}${CP_HASH}`)).toBe(0);
      expect(tpm.rc("80010000000e0000018003000000")).toBe(0);
      if (migrated) tpm.migrate();
      return toHex(tpm.send("80010000000e0000016203000000"));
    });
    expect(contexts[1]).toBe(contexts[0]);
  });

  it("session attributes with reserved bits are not in the volatile state, which libtpms would refuse", () => {
    const tpm = new EngineTpm();
    const before = tpm.save().volatile;
    const RESERVED_BITS_OF_SESSION_1 = 0x9a1;
    expect(tpm.rc(`80020000001b0000013d0000001000000009400000090000${"09"}0000`)).toBe(RESERVED_BITS_OF_SESSION_1);
    expect(toHex(tpm.save().volatile).includes("40000009094000000")).toBe(false);
    expect(tpm.save().volatile.length).toBe(before.length);
  });
});

describe("a failing sequence", () => {
  it("is made as short as can be without another failure", async () => {
    const items = Array.from({ length: 300 }, (_, n) => n);
    let asked = 0;
    const shortest = await shrink(items, (candidate) => {
      asked++;
      return [7, 141, 142, 260].every((needed) => candidate.includes(needed));
    });
    expect(shortest).toEqual([7, 141, 142, 260]);
    expect(asked).toBeLessThan(200);
  });
});
