import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { replayFiles } from "../../src/frontend/replay/index.ts";
import { replaySequence } from "../../src/frontend/replay/player.ts";
import { readTrace, type TraceSequence } from "../../src/frontend/replay/trace.ts";

const traceFile = (name: string) => fileURLToPath(new URL(`../data/devices/traces/${name}.jsonl.gz`, import.meta.url));

/** Sequences in each recording. */
const RECORDINGS = {
  tis: 179,
  tis10: 111,
  "tis-sysbus": 179,
  i2c10: 143,
  crb: 156,
  crb10: 45,
  spapr: 33,
  ppi: 25,
  lifecycle: 56,
  migration: 10,
};

describe("recordings of QEMU replay equal", () => {
  it.each(Object.entries(RECORDINGS))("%s: %i sequences", async (name, count) => {
    const lines: string[] = [];
    const result = await replayFiles([traceFile(name)], (line) => lines.push(line));
    expect(lines.filter((line) => !line.endsWith("sequences equal"))).toEqual([]);
    expect(result).toEqual({ passed: count, failed: 0 });
  });
});

describe("a replay notices a change of", () => {
  const { header, sequences } = readTrace(traceFile("tis"));
  const original = sequences.find((sequence) => sequence.name === "irq_across_reset") as TraceSequence;

  /** The sequence with its n-th event of that kind replaced by `change` of it, or left out. */
  function changed(kind: string, n: number, change?: (event: never) => unknown): TraceSequence {
    let seen = 0;
    const ev = original.ev!.flatMap((event) => {
      if (event[0] !== kind || seen++ !== n) return [event];
      return change ? [change(event as never) as never] : [];
    });
    return { ...original, ev };
  }

  it("nothing: it stays equal", async () => {
    await replaySequence(header, original);
  });

  it.each([
    ["a value read", changed("r", 2, (e: [string, number, number, string]) => [e[0], e[1], e[2], "7"])],
    ["the interrupt line", changed("i", 0)],
    ["a command submitted", changed("x", 1)],
    ["a command's bytes", changed("x", 1, (e: [string, number, string]) => [e[0], e[1], e[2].replace("7b", "7c")])],
    ["a command's locality", changed("x", 1, (e: [string, number, string]) => [e[0], 1, e[2]])],
    ["the order of control commands", changed("c", 3)],
    ["a control command's request", changed("c", 5, (e: unknown[]) => [e[0], e[1], "00000001", e[3]])],
    ["a message", { ...original, ev: [...original.ev!, ["e", "never said"]] } as TraceSequence],
    ["an input", changed("w", 2)],
  ])("%s", async (_what, sequence) => {
    await expect(replaySequence(header, sequence)).rejects.toThrow(/recorded|machine/);
  });

  it("the exit status", async () => {
    await expect(replaySequence(header, { ...original, exit: 1 })).rejects.toThrow("exit status: 0, recorded 1");
  });
});

describe("a trace file", () => {
  it("that is none is counted as one failure and named", async () => {
    const lines: string[] = [];
    const result = await replayFiles(["package.json", "/nonexistent.jsonl.gz"], (line) => lines.push(line));
    expect(result).toEqual({ passed: 0, failed: 2 });
    expect(lines[0]).toContain("package.json");
    expect(lines[1]).toContain("/nonexistent.jsonl.gz");
  });

  it("may also be uncompressed", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "wtpm-replay-"));
    try {
      const plain = path.join(folder, "tis10.jsonl");
      writeFileSync(plain, gunzipSync(readFileSync(traceFile("tis10"))));
      expect(readTrace(plain)).toEqual(readTrace(traceFile("tis10")));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
