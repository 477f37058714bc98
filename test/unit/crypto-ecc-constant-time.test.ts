import { describe, expect, it } from "vitest";
import { type CurveModel, edgeScalars, multiply, randomBelow, toBytes } from "../support/ecc-model.ts";
import { bytesOf, curves, drawFor } from "../support/ecc-sign.ts";
import { Seeded } from "../support/seeded.ts";
import type { WasmHarness } from "../support/wasm-harness.ts";
import { loadTracer } from "../support/wasm-trace.ts";

const tracer = loadTracer("crypto-ecc");

/** Private values of all kinds: odd and even, short and long, and those that meet a special case inside. */
function secretsOf(curve: CurveModel): bigint[] {
  const random = new Seeded(`secrets of ${curve.name}`);
  const { n } = curve;
  const special = edgeScalars(curve).filter((k) => (n + k) % 64n === 32n || (2n * n - k) % 64n === 32n);
  return [
    randomBelow(random, n - 2n) + 1n,
    1n,
    2n,
    n - 2n,
    (n + 1n) / 2n,
    ...special.slice(0, 2),
    randomBelow(random, n),
  ];
}

function expectConstant(curve: CurveModel, run: (wasm: WasmHarness, secret: Uint8Array) => void): void {
  const [first, ...others] = secretsOf(curve).map((k) => bytesOf(curve, k));
  const expected = tracer.trace((wasm) => run(wasm, first!));
  expect(expected.events).toBeGreaterThan(1000);
  for (const other of others) {
    const trace = tracer.trace((wasm) => run(wasm, other));
    const where =
      trace.hash === expected.hash
        ? undefined
        : tracer.firstDifference(
            (wasm) => run(wasm, first!),
            (wasm) => run(wasm, other),
          );
    expect(where).toBeUndefined();
    expect(trace).toEqual(expected);
  }
}

describe.each(curves)("constant time on $name", (curve) => {
  const digest = new Uint8Array(32).fill(0x5a);
  const draw = drawFor(curve, 0x123456789abcdefn);
  const [x, y] = multiply(curve, 0xfedcba987n)!.map((v) => bytesOf(curve, v)) as [Uint8Array, Uint8Array];
  const [x2, y2] = multiply(curve, 0xabcdefn)!.map((v) => bytesOf(curve, v)) as [Uint8Array, Uint8Array];
  const out = (wasm: WasmHarness) => [wasm.reserve(curve.bytes), wasm.reserve(curve.bytes)] as const;

  it("the public key does not tell the private one", () => {
    expectConstant(curve, (wasm, secret) => wasm.call("ecPublic", curve.id, secret, ...out(wasm)));
  });

  it("a private key does not tell by how it comes from its draw", () => {
    expectConstant(curve, (wasm, secret) => {
      const long = toBytes(0n, curve.bytes + 8);
      long.set(secret, 8);
      long.set(secret.subarray(curve.bytes - 8), 0);
      wasm.call("ecPrivateFromDraw", curve.id, long, long.length, wasm.reserve(curve.bytes));
    });
  });

  it("a product does not tell its scalar", () => {
    expectConstant(curve, (wasm, secret) => wasm.call("ecMultiply", curve.id, secret, x, y, ...out(wasm)));
  });

  it("an ECDSA signature tells neither key nor nonce", () => {
    expectConstant(curve, (wasm, secret) =>
      wasm.call("ecdsaSign", curve.id, secret, digest, digest.length, draw, ...out(wasm)),
    );
    expectConstant(curve, (wasm, secret) => {
      const nonce = toBytes(0n, curve.bytes + 8);
      nonce.set(secret, 8);
      wasm.call("ecdsaSign", curve.id, bytesOf(curve, 77n), digest, digest.length, nonce, ...out(wasm));
    });
  });

  it("a Schnorr, ECDAA or SM2 signature does not tell the key", () => {
    const size = digest.length;
    expectConstant(curve, (wasm, secret) =>
      wasm.call("ecschnorrSign", curve.id, 1, secret, digest, size, draw, ...out(wasm)),
    );
    expectConstant(curve, (wasm, secret) => wasm.call("sm2Sign", curve.id, secret, digest, size, draw, ...out(wasm)));
    expectConstant(curve, (wasm, secret) =>
      wasm.call("ecdaaSign", curve.id, 1, secret, secret.slice(), digest, size, draw, ...out(wasm)),
    );
  });

  it("a two-phase exchange tells neither key", () => {
    for (const name of ["ecmqvExchange", "sm2Exchange"]) {
      const fixed = bytesOf(curve, 4242n);
      expectConstant(curve, (wasm, secret) => wasm.call(name, curve.id, secret, fixed, x, y, x2, y2, ...out(wasm)));
      expectConstant(curve, (wasm, secret) => wasm.call(name, curve.id, fixed, secret, x, y, x2, y2, ...out(wasm)));
    }
  });
});
