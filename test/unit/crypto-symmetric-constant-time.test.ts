import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import type { WasmHarness } from "../support/wasm-harness.ts";
import { loadTracer, type Trace } from "../support/wasm-trace.ts";

const tracer = loadTracer("crypto-symmetric");
const SECRETS = 6;

/** Secrets of one length: all zeros, all ones, and random ones. */
function secrets(length: number): Uint8Array[] {
  const random = new Seeded(`secrets of ${length}`);
  const fixed = [new Uint8Array(length), new Uint8Array(length).fill(0xff)];
  return [...fixed, ...Array.from({ length: SECRETS - fixed.length }, () => random.bytes(length))];
}

/** Expects that runs with different secrets cannot be told apart. */
function expectConstant(length: number, run: (wasm: WasmHarness, secret: Uint8Array) => void): void {
  const [first, ...others] = secrets(length);
  const expected: Trace = tracer.trace((wasm) => run(wasm, first!));
  expect(expected.events).toBeGreaterThan(0);
  for (const other of others) {
    const where = tracer.firstDifference(
      (wasm) => run(wasm, first!),
      (wasm) => run(wasm, other),
    );
    expect(where).toBeUndefined();
    expect(tracer.trace((wasm) => run(wasm, other))).toEqual(expected);
  }
}

describe("the tracer", () => {
  it("leaves what the module computes as it was", () => {
    const data = new Seeded("tracer").bytes(1000);
    let digest: Uint8Array = new Uint8Array(0);
    tracer.trace((wasm) => {
      digest = wasm.output(32, "hashOnce", 1, data, data.length);
    });
    expect(Buffer.from(digest).toString("hex")).toBe(createHash("sha256").update(data).digest("hex"));
  });

  it("sees the same when the same is done", () => {
    const run = (wasm: WasmHarness) => void wasm.call("leakyLoad", 5);
    expect(tracer.trace(run)).toEqual(tracer.trace(run));
    expect(tracer.firstDifference(run, run)).toBeUndefined();
  });

  it.each([
    [
      "an early exit",
      "br_if|if",
      (wasm: WasmHarness, secret: number) =>
        wasm.call("leakyEqual", Uint8Array.of(1, 2, 3, 4), Uint8Array.of(1, 2, secret, 4), 4),
    ],
    ["a load", "load", (wasm: WasmHarness, secret: number) => wasm.call("leakyLoad", secret)],
    ["a store", "store", (wasm: WasmHarness, secret: number) => wasm.call("leakyStore", secret)],
    ["a select", "select", (wasm: WasmHarness, secret: number) => wasm.call("leakySelect", secret & 1, 1, 2)],
    ["a division", "division", (wasm: WasmHarness, secret: number) => wasm.call("leakyDivision", secret, 3)],
    [
      "a copy",
      "memory.copy",
      (wasm: WasmHarness, secret: number) => wasm.call("leakyCopy", wasm.reserve(16), wasm.reserve(16), secret),
    ],
  ])("notices %s that depends on a secret, and says where it is", (_name, what, run) => {
    const [a, b] = [3, 8].map((secret) => (wasm: WasmHarness) => void run(wasm, secret)) as [
      (wasm: WasmHarness) => void,
      (wasm: WasmHarness) => void,
    ];
    expect(tracer.trace(a)).not.toEqual(tracer.trace(b));
    expect(tracer.firstDifference(a, b)).toMatch(new RegExp(`: (${what}) in function`));
  });
});

describe("constant time", () => {
  it("ctEqual does not tell where or whether bytes differ", () => {
    const reference = new Uint8Array(32);
    expectConstant(32, (wasm, secret) => wasm.call("ctEqual", secret, reference, 32));
  });

  it.each([
    ["AES-128", 0, 16, 16],
    ["AES-192", 0, 24, 16],
    ["AES-256", 0, 32, 16],
    ["Camellia-128", 1, 16, 16],
    ["Camellia-192", 1, 24, 16],
    ["Camellia-256", 1, 32, 16],
    ["TDES-128", 2, 16, 8],
    ["TDES-192", 2, 24, 8],
  ])("%s: key expansion, every mode both ways, CMAC", (_name, cipher, length, block) => {
    expectConstant(length, (wasm, key) => {
      const schedule = wasm.reserve(wasm.constant("CIPHER_SCHEDULE_SIZE"));
      wasm.call("cipherExpandKey", cipher, key, length * 8, schedule);
      const [iv, data] = [wasm.place(key.slice(0, block)), wasm.place(key.slice(0, block))];
      for (const mode of ["cfbEncrypt", "cfbDecrypt", "cbcEncrypt", "cbcDecrypt", "ofb", "ctr"]) {
        wasm.call(mode, cipher, schedule, iv, data, data, block);
      }
      for (const mode of ["ecbEncrypt", "ecbDecrypt"]) wasm.call(mode, cipher, schedule, data, data, block);
      wasm.call("cmacOnce", cipher, wasm.reserve(wasm.constant("CMAC_STATE_SIZE")), key, length * 8, data, block, iv);
    });
  });

  it.each([0, 1, 2, 3, 4, 5, 6])("HMAC over hash %i: key and message", (hash) => {
    for (const length of [20, 64, 200]) {
      expectConstant(length, (wasm, secret) => {
        wasm.call("hmacOnce", hash, secret, length, secret, length, wasm.reserve(64));
      });
    }
  });

  it("KDFa, KDFe and the masks: key, contexts and data", () => {
    expectConstant(48, (wasm, secret) => {
      const [at, out] = [wasm.place(secret), wasm.reserve(128)];
      const label = Buffer.from("ATH\0");
      wasm.call("kdfa", 1, at, 48, label, label.length, at, 20, at, 20, 1024, out);
      wasm.call("kdfe", 1, at, 48, label, label.length, at, 20, at, 20, 1024, out);
      wasm.call("mgf1", 1, at, 48, out, 100);
      wasm.call("kdfXorObfuscate", 1, at, 48, at, 20, at, 20, out, 100);
    });
  });

  it("the DRBG: entropy, seeds, additional data and output", () => {
    expectConstant(64, (wasm, secret) => {
      const [state, at, out] = [wasm.reserve(wasm.constant("DRBG_STATE_SIZE")), wasm.place(secret), wasm.reserve(200)];
      wasm.call("drbgInstantiate", state, at, at, 48);
      wasm.call("drbgGenerate", state, out, 150);
      wasm.call("drbgReseed", state, at, at, 64);
      wasm.call("drbgGenerate", state, out, 33);
      wasm.call("drbgInstantiateSeeded", state, at, 64, at, 24, at, 34, at, 10);
      wasm.call("drbgAdditionalData", state, at, 64);
      wasm.call("drbgGenerate", state, out, 128);
    });
  });
});
