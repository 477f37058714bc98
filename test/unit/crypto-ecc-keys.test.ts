import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { byName, curves, wasm } from "../support/ecc-sign.ts";
import { loadHarness, readTestModule, WasmHarness } from "../support/wasm-harness.ts";

interface Primary {
  vectors: { name: string; curve: string; seedByte: number; templateName: string; d: string; x: string; y: string }[];
}

const primary: Primary = JSON.parse(readFileSync(new URL("../data/ecc/primary.json", import.meta.url), "utf8"));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("primary keys", () => {
  const drbg = loadHarness("crypto-symmetric");

  it.each(primary.vectors)(
    "$name comes from its seed as in libtpms",
    ({ curve: name, seedByte, templateName, d, x, y }) => {
      const curve = byName(name);
      const state = drbg.reserve(drbg.constant("DRBG_STATE_SIZE"));
      const seed = new Uint8Array(64).fill(seedByte);
      const purpose = new Uint8Array(Buffer.from("Primary Object Creation\0"));
      const template = new Uint8Array(Buffer.from(templateName, "hex"));
      const none = new Uint8Array(0);
      const strings = [seed, purpose, template, none].flatMap((bytes) => [bytes, bytes.length]);
      expect(drbg.call("drbgInstantiateSeeded", state, ...strings)).toBe(1);
      const draw = drbg.reserve(curve.bytes + 8);
      expect(drbg.call("drbgGenerate", state, draw, curve.bytes + 8)).toBe(1);

      const [key, qx, qy] = [wasm.reserve(curve.bytes), wasm.reserve(curve.bytes), wasm.reserve(curve.bytes)];
      wasm.call("ecPrivateFromDraw", curve.id, drbg.read(draw, curve.bytes + 8), curve.bytes + 8, key);
      expect(hex(wasm.read(key, curve.bytes))).toBe(d.padStart(2 * curve.bytes, "0"));
      expect(wasm.call("ecPublic", curve.id, key, qx, qy)).toBe(1);
      expect(hex(wasm.read(qx, curve.bytes))).toBe(x);
      expect(hex(wasm.read(qy, curve.bytes))).toBe(y);
    },
  );
});

describe("self-tests", () => {
  const count = wasm.constant("SELF_TEST_ECC_COUNT");

  it.each(curves)("pass on $name", ({ id }) => {
    for (let scheme = 0; scheme < count; scheme++) expect(wasm.call("ecSelfTest", id, scheme)).toBe(1);
  });

  it("pass whatever curve was loaded before", () => {
    const fresh = loadHarness("crypto-ecc");
    for (const { id } of curves.toReversed()) {
      for (const other of curves) {
        expect(fresh.call("ecSelfTest", id, 0)).toBe(1);
        expect(fresh.call("ecSelfTest", other.id, 1)).toBe(1);
      }
    }
  });

  it("do not exist for other curves and schemes", () => {
    expect(wasm.call("ecSelfTest", curves.length, 0)).toBe(0);
    expect(wasm.call("ecSelfTest", 0, count)).toBe(0);
  });

  it("fail when a table is damaged", () => {
    const damaged = new WasmHarness(readTestModule("crypto-ecc"));
    const curve = byName("P256");
    const at = damaged.call("curveParameter", curve.id, 2);
    damaged.write(
      at,
      damaged.read(at, 1).map((byte) => byte ^ 1),
    );
    expect(damaged.call("ecSelfTest", curve.id, 0)).toBe(0);
    expect(damaged.call("ecSelfTest", byName("P384").id, 0)).toBe(1);
  });
});
