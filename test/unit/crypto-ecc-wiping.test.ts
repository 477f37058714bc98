import { describe, expect, it } from "vitest";
import { invert, mod, multiply, randomBelow, toBytes } from "../support/ecc-model.ts";
import { bytesOf, curves, drawFor } from "../support/ecc-sign.ts";
import { Seeded } from "../support/seeded.ts";
import { readTestModule, WasmHarness } from "../support/wasm-harness.ts";

const PAGE = 65536;
const module = new WebAssembly.Module(readTestModule("crypto-ecc"));

/** Runs a call in a fresh instance and expects none of the secrets in the module's own memory afterwards. */
function expectForgotten(length: number, secrets: Record<string, bigint>, run: (wasm: WasmHarness) => void): void {
  const wasm = new WasmHarness(module);
  const own = wasm.memory.buffer.byteLength - PAGE;
  run(wasm);
  const memory = Buffer.from(wasm.read(0, own));
  for (const [name, secret] of Object.entries(secrets)) {
    const big = Buffer.from(toBytes(secret, length));
    const limbs = Array.from({ length: 4 }, (_, i) => (secret >> BigInt(28 * i)) & 0xfffffffn);
    const forms = {
      bytes: big.subarray(0, 16),
      "low bytes": big.subarray(length - 16),
      words: Buffer.from(big).reverse().subarray(0, 16),
      "high words": Buffer.from(big)
        .reverse()
        .subarray(length - 16),
      limbs: Buffer.from(BigInt64Array.from(limbs).buffer),
    };
    for (const [form, bytes] of Object.entries(forms)) {
      expect(memory.indexOf(bytes), `${name} as ${form}`).toBe(-1);
    }
  }
}

/** Expects the module's own memory to be the same whichever secret a call worked with. */
function expectNoTrace(secrets: Uint8Array[], run: (wasm: WasmHarness, secret: Uint8Array) => void): void {
  const [first, ...others] = secrets.map((secret) => {
    const wasm = new WasmHarness(module);
    const own = wasm.memory.buffer.byteLength - PAGE;
    run(wasm, secret);
    return wasm.read(0, own);
  });
  for (const other of others) {
    expect(other.findIndex((byte, i) => byte !== first![i])).toBe(-1);
  }
}

describe.each(curves)("what remains in memory on $name", (curve) => {
  const random = new Seeded(`wiping ${curve.name}`);
  const { n, bytes } = curve;
  const [d, k, e] = [0, 1, 2].map(() => randomBelow(random, n - 2n) + 1n) as [bigint, bigint, bigint];
  const digest = random.bytes(32);
  const out = (wasm: WasmHarness) => [wasm.reserve(bytes), wasm.reserve(bytes)] as const;
  const [x, y] = multiply(curve, 99n)!.map((v) => bytesOf(curve, v)) as [Uint8Array, Uint8Array];
  const keys = { d, "-d": n - d };
  const nonces = { k, "-k": n - k, "1/k": invert(k, n) };

  it("the search finds what is there: the prime is one of the parameters", () => {
    expect(() => expectForgotten(bytes, { p: curve.p }, () => {})).toThrow(/p as bytes/);
  });

  it("nothing that depends on the secret after operations whose results are secret", () => {
    const secrets = [d, k, e, 1n, n - 2n].map((secret) => bytesOf(curve, secret));
    const fixed = bytesOf(curve, 77n);
    expectNoTrace(secrets, (wasm, secret) => wasm.call("ecPrivateValid", curve.id, secret));
    expectNoTrace(secrets, (wasm, secret) => wasm.call("ecPublic", curve.id, secret, ...out(wasm)));
    expectNoTrace(secrets, (wasm, secret) => wasm.call("ecMultiply", curve.id, secret, x, y, ...out(wasm)));
    for (const name of ["ecmqvExchange", "sm2Exchange"]) {
      expectNoTrace(secrets, (wasm, secret) => wasm.call(name, curve.id, secret, fixed, x, y, x, y, ...out(wasm)));
    }
    expectNoTrace(secrets, (wasm, secret) => {
      const draw = toBytes(0n, bytes + 8);
      draw.set(secret, 8);
      wasm.call("ecPrivateFromDraw", curve.id, draw, bytes + 8, wasm.reserve(bytes));
      const [c2, c3] = [wasm.reserve(40), wasm.reserve(32)];
      wasm.call("eccEncrypt", curve.id, 1, x, y, draw, fixed, 24, ...out(wasm), c2, c3);
    });
  });

  it("no key or draw after making a key pair", () => {
    expectForgotten(bytes, keys, (wasm) => {
      const key = wasm.reserve(bytes);
      wasm.call("ecPrivateFromDraw", curve.id, drawFor(curve, d), bytes + 8, key);
      wasm.call("ecPrivateValid", curve.id, key);
      wasm.call("ecPublic", curve.id, key, ...out(wasm));
    });
  });

  it("no scalar and no product after a multiplication", () => {
    const [zx, zy] = multiply(curve, d * 99n)!;
    expectForgotten(bytes, { ...keys, zx, zy }, (wasm) =>
      wasm.call("ecMultiply", curve.id, bytesOf(curve, d), x, y, ...out(wasm)),
    );
  });

  it("no key, nonce or inverse after signing", () => {
    const secrets = { ...keys, ...nonces };
    const [draw, size] = [drawFor(curve, k), digest.length];
    expectForgotten(bytes, secrets, (wasm) =>
      wasm.call("ecdsaSign", curve.id, bytesOf(curve, d), digest, size, draw, ...out(wasm)),
    );
    expectForgotten(bytes, secrets, (wasm) =>
      wasm.call("ecschnorrSign", curve.id, 1, bytesOf(curve, d), digest, size, draw, ...out(wasm)),
    );
    expectForgotten(bytes, { ...secrets, "1/(1 + d)": invert(1n + d, n) }, (wasm) =>
      wasm.call("sm2Sign", curve.id, bytesOf(curve, d), digest, size, draw, ...out(wasm)),
    );
    // In ECDAA the nonce is public and the commitment secret.
    expectForgotten(bytes, { ...keys, e, "-e": n - e }, (wasm) =>
      wasm.call("ecdaaSign", curve.id, 1, bytesOf(curve, d), bytesOf(curve, e), digest, size, draw, ...out(wasm)),
    );
  });

  it("no key and no shared point after an exchange", () => {
    for (const name of ["ecmqvExchange", "sm2Exchange"]) {
      let shared = 0n;
      const run = (wasm: WasmHarness) => {
        const [zx, zy] = out(wasm);
        wasm.call(name, curve.id, bytesOf(curve, d), bytesOf(curve, e), x, y, x, y, zx, zy);
        shared = BigInt(`0x${Buffer.from(wasm.read(zx, bytes)).toString("hex")}`);
      };
      run(new WasmHarness(module));
      expectForgotten(bytes, { ...keys, e, "-e": mod(-e, n), shared }, run);
    }
  });

  it("no shared point after ECC_Encrypt and ECC_Decrypt", () => {
    const [zx, zy] = multiply(curve, k * 99n)!;
    expectForgotten(bytes, { zx, zy, k, "-k": n - k }, (wasm) => {
      const [c1x, c1y] = out(wasm);
      const [c2, c3] = [wasm.reserve(40), wasm.reserve(32)];
      wasm.call("eccEncrypt", curve.id, 1, x, y, drawFor(curve, k), random.bytes(40), 40, c1x, c1y, c2, c3);
      wasm.call("eccDecrypt", curve.id, 1, bytesOf(curve, 99n), c1x, c1y, c2, 40, c3, c2);
    });
  });
});
