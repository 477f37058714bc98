// The event log, read from memory that a guest can write anything to.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readEventLog, replayEventLog } from "../../bindings/v86/index.ts";
import { parseEventLog, replay } from "../support/eventlog.ts";

const u16 = (value: number) => [value & 0xff, value >> 8];
const u32 = (value: number) => [...u16(value & 0xffff), ...u16(value >>> 16)];
const ascii = (text: string) => [...Buffer.from(text, "latin1")];

const SIZES: Record<string, [id: number, size: number]> = { sha1: [4, 20], sha256: [11, 32], sm3: [0x12, 32] };

function header(hashes: readonly string[]): number[] {
  const sizes = hashes.flatMap((name) => [...u16(SIZES[name]![0]), ...u16(SIZES[name]![1])]);
  const specId = [...ascii("Spec ID Event03\0"), ...u32(0), 0, 2, 0, 2, ...u32(hashes.length), ...sizes, 0];
  return [...u32(0), ...u32(3), ...new Uint8Array(20), ...u32(specId.length), ...specId];
}

function event(pcr: number, type: number, hashes: readonly string[], data: readonly number[]): number[] {
  const digests = hashes.flatMap((name) => {
    const [id, size] = SIZES[name]!;
    const digest = size === 20 ? createHash("sha1") : createHash("sha256");
    return [...u16(id), ...digest.update(Uint8Array.from(data)).digest()];
  });
  return [...u32(pcr), ...u32(type), ...u32(hashes.length), ...digests, ...u32(data.length), ...data];
}

/** In the memory of a log area. */
function memory(...parts: readonly number[][]): Uint8Array {
  const bytes = new Uint8Array(0x1000);
  bytes.set(parts.flat());
  return bytes;
}

const EV_NO_ACTION = 3;
const EV_SEPARATOR = 4;
const EV_ACTION = 5;

describe("a log", () => {
  const hashes = ["sha1", "sha256"];
  const parts = [
    header(hashes),
    event(0, EV_NO_ACTION, hashes, [...ascii("StartupLocality\0"), 3]),
    event(0, EV_ACTION, hashes, ascii("one")),
    event(4, EV_ACTION, hashes, ascii("two")),
    event(0, EV_SEPARATOR, hashes, [0, 0, 0, 0]),
  ];
  const size = parts.flat().length;

  test("is read up to the zeros behind it", () => {
    const log = readEventLog(memory(...parts));
    expect(log.size).toBe(size);
    expect(log.banks).toEqual(hashes);
    expect(log.events.map(({ pcr, type, data }) => [pcr, type, data.length])).toEqual([
      [0, EV_NO_ACTION, 17],
      [0, EV_ACTION, 3],
      [4, EV_ACTION, 3],
      [0, EV_SEPARATOR, 4],
    ]);
  });

  test.each(["sha1", "sha256"] as const)(
    "replays to the values of bank %s, from its startup locality on",
    async (bank) => {
      const values = await replayEventLog(readEventLog(memory(...parts)), bank);
      const expected = replay(parseEventLog(memory(...parts).subarray(0, size)), bank);
      expect(new Map([...values].map(([pcr, value]) => [pcr, Buffer.from(value).toString("hex")]))).toEqual(expected);
      expect([...values.keys()].sort()).toEqual([0, 4]);
    },
  );

  test("that is being written has the events that are whole", () => {
    const bytes = memory(...parts).subarray(0, size - 1);
    expect(readEventLog(bytes).events).toHaveLength(3);
  });

  test("may have digests of hashes unknown here", () => {
    const all = ["sha256", "sm3"];
    const log = readEventLog(memory(header(all), event(1, EV_ACTION, all, ascii("x"))));
    expect(log.banks).toEqual(["sha256"]);
    expect([...log.events[0]!.digests.keys()]).toEqual(["sha256"]);
  });

  test("of a TPM 1.2 has no header", () => {
    const short = [...u32(2), ...u32(EV_ACTION), ...createHash("sha1").update("x").digest(), ...u32(1), ...ascii("x")];
    const log = readEventLog(memory(short, short));
    expect(log).toMatchObject({ banks: ["sha1"], size: 2 * short.length, events: [{ pcr: 2 }, { pcr: 2 }] });
  });
});

test("memory without a log has no events", () => {
  expect(readEventLog(new Uint8Array(0x1000))).toEqual({ events: [], banks: [], size: 0 });
  expect(readEventLog(new Uint8Array(0))).toEqual({ events: [], banks: [], size: 0 });
});

test("whatever the memory holds, reading and replaying it does not throw", async () => {
  const garbage = fc.uint8Array({ maxLength: 300 });
  const afterHeader = garbage.map((bytes) => Uint8Array.from([...header(["sha256"]), ...bytes]));
  const damaged = fc.tuple(fc.nat(200), fc.nat(255)).map(([at, value]) => {
    const bytes = memory(header(["sha1"]), event(0, EV_ACTION, ["sha1"], ascii("one")));
    bytes[at] = value;
    return bytes;
  });
  await fc.assert(
    fc.asyncProperty(fc.oneof(garbage, afterHeader, damaged), async (bytes) => {
      const log = readEventLog(bytes);
      expect(log.size).toBeLessThanOrEqual(bytes.length);
      for (const bank of log.banks) await replayEventLog(log, bank);
    }),
    { numRuns: 500 },
  );
});
