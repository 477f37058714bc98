// The known-answer tests: right builds pass them, a build whose engine does not fuse relaxed_madd fails every one.
import binaryen from "binaryen";
import { describe, expect, it } from "vitest";
import { RsaModule, rsaVariants, SCHEME } from "../support/rsa.ts";
import { readTestModule } from "../support/wasm-harness.ts";

const RIGHT = 0xffffffff;

/** The fused build as an engine runs it that multiplies, rounds, and then adds. */
function unfused(): Uint8Array<ArrayBuffer> {
  const text = binaryen.readBinary(readTestModule("crypto-rsa-fma")).emitText();
  const rewritten = text.replaceAll("(f64x2.relaxed_madd", "(call $multiply_and_add");
  expect(rewritten).not.toBe(text);
  const helper =
    "(func $multiply_and_add (param $a v128) (param $b v128) (param $c v128) (result v128)" +
    " (f64x2.add (f64x2.mul (local.get $a) (local.get $b)) (local.get $c)))";
  const end = rewritten.lastIndexOf(")");
  const module = binaryen.parseText(`${rewritten.slice(0, end)}${helper})`);
  module.setFeatures(binaryen.Features.All);
  return Uint8Array.from(module.emitBinary());
}

describe.each(rsaVariants())("$name", ({ module }) => {
  it("multiplies right at every size", () => {
    expect(new RsaModule(module).wasm.call("rsaKernelSelfTest")).toBe(RIGHT);
  });

  it.each(Object.entries(SCHEME))("passes the test of scheme %s, alone and again", (_, scheme) => {
    const { wasm } = new RsaModule(module);
    expect(wasm.call("rsaSelfTest", scheme)).toBe(RIGHT);
    expect(wasm.call("rsaSelfTest", scheme)).toBe(RIGHT);
  });

  it("knows no other scheme", () => {
    expect(new RsaModule(module).wasm.call("rsaSelfTest", 5)).toBe(0);
  });
});

describe("an engine that does not fuse", () => {
  const { wasm } = new RsaModule(unfused());

  it("is found out by the kernel test", () => {
    expect(wasm.call("rsaKernelSelfTest")).toBe(0);
  });

  it.each(Object.entries(SCHEME))("fails the test of scheme %s", (_, scheme) => {
    expect(wasm.call("rsaSelfTest", scheme)).toBe(0);
  });
});
