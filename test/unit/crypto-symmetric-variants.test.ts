// The build for runtimes with relaxed SIMD computes what the plain one does.
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { loadHarness, readRelaxedModule, WasmHarness } from "../support/wasm-harness.ts";
import { Tracer } from "../support/wasm-trace.ts";

const ROUNDS = 2000;
const module = readRelaxedModule("crypto-symmetric-fma");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Encrypts and decrypts in every mode and draws from a DRBG; returns all that comes out. */
function everything(wasm: WasmHarness, cipher: number, key: Uint8Array, data: Uint8Array): string {
  wasm.reset();
  const block = cipher === 2 ? 8 : 16;
  const whole = data.length - (data.length % block);
  const schedule = wasm.reserve(wasm.constant("CIPHER_SCHEDULE_SIZE"));
  const at = wasm.place(data);
  const iv = wasm.place(key.slice(0, 16));
  wasm.call("cipherExpandKey", cipher, key, key.length * 8, schedule);
  for (const mode of ["cfbEncrypt", "cfbDecrypt", "ofb", "ctr"]) {
    wasm.call(mode, cipher, schedule, iv, at, at, data.length);
  }
  for (const mode of ["cbcEncrypt", "cbcDecrypt"]) wasm.call(mode, cipher, schedule, iv, at, at, whole);
  for (const mode of ["ecbEncrypt", "ecbDecrypt"]) wasm.call(mode, cipher, schedule, at, at, whole);
  const state = wasm.reserve(wasm.constant("DRBG_STATE_SIZE"));
  const drawn = wasm.reserve(40);
  wasm.call("drbgInstantiate", state, key.slice(0, 16), data, data.length);
  wasm.call("drbgGenerate", state, drawn, 40);
  return hex(wasm.read(at, data.length)) + hex(wasm.read(iv, 16)) + hex(wasm.read(drawn, 40));
}

describe.skipIf(!module)("the relaxed SIMD build", () => {
  const relaxed = module && new WasmHarness(module);

  it("passes its self-tests", () => {
    for (let id = 0; id < relaxed!.constant("SELF_TEST_SYMMETRIC_COUNT"); id++) {
      expect(relaxed!.call("symmetricSelfTest", id)).toBe(1);
    }
  });

  it(`gives the plain build's results on ${ROUNDS} random inputs`, () => {
    const plain = loadHarness("crypto-symmetric");
    const random = new Seeded("variants");
    for (let round = 0; round < ROUNDS; round++) {
      const cipher = round % 3;
      const key = random.bytes(random.pick(cipher === 2 ? [16, 24] : [16, 24, 32]));
      const data = random.bytes(random.below(100));
      expect(everything(relaxed!, cipher, key, data)).toBe(everything(plain, cipher, key, data));
    }
  });

  it("is as constant in time", () => {
    const tracer = new Tracer(module!);
    const random = new Seeded("variants in time");
    for (const cipher of [0, 1, 2]) {
      const [first, ...others] = Array.from({ length: 4 }, () =>
        tracer.trace((wasm) => void everything(wasm, cipher, random.bytes(24), new Uint8Array(40))),
      );
      for (const other of others) expect(other).toEqual(first);
    }
  });
});
