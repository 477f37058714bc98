// The event log parser of the guest tests, on logs made by hand: what it accepts, what it refuses, and how it replays.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { EV, parseEventLog, replay } from "../support/eventlog.ts";

const u16 = (value: number) => Buffer.from(Uint16Array.of(value).buffer);
const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
const sha = (algorithm: string, ...parts: Uint8Array[]) => createHash(algorithm).update(Buffer.concat(parts)).digest();

const BANKS = [
  { id: 0x0004, name: "sha1", size: 20 },
  { id: 0x000b, name: "sha256", size: 32 },
];

function header(signature = "Spec ID Event03\0", vendorInfo = "vendor"): Buffer {
  const specId = Buffer.concat([
    Buffer.from(signature, "latin1"),
    u32(0),
    Buffer.from([0, 2, 0, 2]),
    u32(BANKS.length),
    ...BANKS.flatMap(({ id, size }) => [u16(id), u16(size)]),
    Buffer.from([vendorInfo.length]),
    Buffer.from(vendorInfo),
  ]);
  return Buffer.concat([u32(0), u32(EV.NO_ACTION), Buffer.alloc(20), u32(specId.length), specId]);
}

function event(pcr: number, type: number, data: Uint8Array): Buffer {
  const digests = BANKS.map(({ id, name }) => Buffer.concat([u16(id), sha(name, data)]));
  return Buffer.concat([u32(pcr), u32(type), u32(BANKS.length), ...digests, u32(data.length), data]);
}

const separator = Buffer.alloc(4);
const startupLocality = (locality: number) =>
  event(0, EV.NO_ACTION, Buffer.concat([Buffer.from("StartupLocality\0"), Buffer.from([locality])]));

describe("parseEventLog", () => {
  test("gives the algorithms of the header and every event", () => {
    const log = parseEventLog(
      Buffer.concat([header(), event(7, EV.SEPARATOR, separator), event(4, EV.EFI_ACTION, Buffer.from("boot"))]),
    );
    expect(log.algorithms).toEqual(["sha1", "sha256"]);
    expect(log.events.map(({ pcr, type }) => [pcr, type])).toEqual([
      [7, EV.SEPARATOR],
      [4, EV.EFI_ACTION],
    ]);
    expect(log.events[1]!.data.toString()).toBe("boot");
    expect(log.events[1]!.digests.get("sha256")).toEqual(sha("sha256", Buffer.from("boot")));
    expect(log.startupLocality).toBe(0);
  });

  test("refuses a log that is cut off at any byte within its last event", () => {
    const whole = Buffer.concat([header(), event(0, EV.SEPARATOR, separator)]);
    for (let size = header().length + 1; size < whole.length; size++) {
      expect(() => parseEventLog(whole.subarray(0, size))).toThrow("ends within a field");
    }
  });

  test("refuses a log without the crypto-agile header", () => {
    expect(() => parseEventLog(header("Spec ID Event00\0"))).toThrow("Spec ID Event03");
    expect(() => parseEventLog(event(0, EV.SEPARATOR, separator))).toThrow("no header event");
  });

  test("refuses a digest of an algorithm that the header does not announce", () => {
    const odd = Buffer.concat([u32(0), u32(EV.SEPARATOR), u32(1), u16(0x000c), Buffer.alloc(48), u32(0)]);
    expect(() => parseEventLog(Buffer.concat([header(), odd]))).toThrow("which the header lacks");
  });
});

describe("replay", () => {
  test("extends the digests of each PCR in order and leaves EV_NO_ACTION out", () => {
    const [first, second] = [Buffer.from("first"), Buffer.from("second")];
    const log = parseEventLog(
      Buffer.concat([
        header(),
        event(2, EV.SEPARATOR, first),
        event(2, EV.NO_ACTION, first),
        event(2, EV.SEPARATOR, second),
      ]),
    );
    for (const { name, size } of BANKS) {
      const once = sha(name, Buffer.alloc(size), sha(name, first));
      expect(replay(log, name)).toEqual(new Map([[2, sha(name, once, sha(name, second)).toString("hex")]]));
    }
    expect(() => replay(log, "sha384")).toThrow("no sha384 digest");
  });

  test("starts PCR 0, and only that, with the startup locality", () => {
    const log = parseEventLog(
      Buffer.concat([
        header(),
        startupLocality(3),
        event(0, EV.SEPARATOR, separator),
        event(1, EV.SEPARATOR, separator),
      ]),
    );
    expect(log.startupLocality).toBe(3);
    const values = replay(log, "sha256");
    const started = Buffer.alloc(32);
    started[31] = 3;
    expect(values.get(0)).toBe(sha("sha256", started, sha("sha256", separator)).toString("hex"));
    expect(values.get(1)).toBe(sha("sha256", Buffer.alloc(32), sha("sha256", separator)).toString("hex"));
  });
});
