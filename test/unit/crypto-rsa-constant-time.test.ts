// Secrets of RSA show neither in branches nor in addresses: traces of runs with different secrets are equal.
import { createHash, publicEncrypt, constants } from "node:crypto";
import { describe, expect, it } from "vitest";
import { RsaModule, rsaVariants, SCHEME, toBytes, type TestKey } from "../support/rsa.ts";
import { Seeded } from "../support/seeded.ts";
import type { WasmHarness } from "../support/wasm-harness.ts";
import { loadTracer } from "../support/wasm-trace.ts";

const variants = rsaVariants();
const generator = new RsaModule((variants.at(-1) as (typeof variants)[number]).module);
const BITS = 1024;
const K = BITS / 8;
const keys = ["one", "two", "three"].map((name) => generator.seededKey(`constant time ${name}`, BITS));
/** A key with its primes the other way round, which rsaKeyLoad swaps. */
const swapped = keys.map((key) => ({ ...key, p: key.q, q: key.p }));

function load(wasm: WasmHarness, key: TestKey): number {
  const record = wasm.reserve(wasm.call("rsaKeySize", BITS));
  expect(wasm.call("rsaKeyLoad", key.n, BITS, key.p, key.e, record)).toBe(0);
  return record;
}

function blinded(wasm: WasmHarness, key: TestKey, seed = "blinding"): number {
  const record = load(wasm, key);
  wasm.call("rsaKeyBlind", record, new Seeded(seed).bytes(K));
  return record;
}

const number = (seed: string) => {
  const bytes = new Seeded(seed).bytes(K);
  bytes[0] = 0;
  return bytes;
};

describe.each(variants)("$name", ({ name }) => {
  const tracer = loadTracer(name);
  /** Traces of one run for each input; all must be equal, and there must have been something to see. */
  const same = <T>(inputs: T[], run: (wasm: WasmHarness, input: T) => void) => {
    const [first, ...others] = inputs.map((input) => tracer.trace((wasm) => run(wasm, input)));
    expect(first?.events).toBeGreaterThan(100);
    for (const other of others) expect(other).toEqual(first);
  };

  it("loading a key", () => {
    same([...keys, ...swapped], (wasm, key) => void load(wasm, key));
  });

  it("blinding a key", () => {
    same(keys, (wasm, key) => void blinded(wasm, key));
  });

  it("the private operation, for different keys, inputs and blinding", () => {
    const cases = keys.map((key, i) => ({ key, input: number(`input ${i}`), blinding: `blinding ${i}` }));
    cases.push({ key: keys[0] as TestKey, input: toBytes(0n, K), blinding: "zero" });
    same(cases, (wasm, { key, input, blinding }) => {
      const record = blinded(wasm, key, blinding);
      expect(wasm.call("rsaPrivate", record, input, wasm.reserve(K))).toBe(0);
    });
  });

  it("exponents, digit by digit", () => {
    const exponents = [
      toBytes(0n, 64),
      toBytes(1n, 64),
      new Uint8Array(64).fill(0xff),
      number("exponent").subarray(0, 64),
    ];
    same(exponents, (wasm, exponent) => {
      wasm.call("montSelect", 512);
      const size = wasm.call("montNumberBytes");
      const m = wasm.reserve(wasm.call("montModulusBytes"));
      const [d, base, one] = [wasm.reserve(size), wasm.reserve(size), wasm.reserve(size)];
      const words = Uint8Array.from((keys[0] as TestKey).p).reverse();
      for (const lane of [0, 1]) {
        wasm.call("montSetModulus", m, lane, words);
        wasm.call("montOne", one, lane, words);
        wasm.call("montFromWords", base, lane, words);
      }
      wasm.call("montPow", d, base, one, exponent, exponent, m);
    });
  });

  it("inversion", () => {
    same(["a", "b", "c"], (wasm, seed) => {
      const random = new Seeded(seed);
      const modulus = random.bytes(64);
      modulus[0]! |= 1;
      wasm.call("bnInverse", wasm.reserve(64), random.bytes(64).fill(0, 60), modulus, 16);
    });
  });

  it("public encryption of different messages", () => {
    const key = keys[0] as TestKey;
    same([number("m1"), number("m2"), toBytes(0n, K)], (wasm, message) => {
      expect(wasm.call("rsaPublic", key.n, BITS, key.e, message, wasm.reserve(K))).toBe(0);
    });
  });

  it("refusing RSAES padding, wherever it is wrong", () => {
    const good = Uint8Array.from([0, 2, ...new Array(20).fill(9), 0, ...new Array(K - 23).fill(7)]);
    const wrong = [
      [0, 1],
      [1, 1],
      [2, 0],
      [9, 0],
    ].map(([at, byte]) => Uint8Array.from(good, (b, i) => (i === at ? (byte as number) : b)));
    wrong.push(
      Uint8Array.from(good, (b, i) => (i > 1 ? b | 1 : b)),
      new Uint8Array(K),
      new Uint8Array(K).fill(255),
    );
    same(wrong, (wasm, em) => {
      expect(wasm.call("rsaDecodeEs", wasm.place(em), K, wasm.reserve(K), K) | 0).toBe(-1);
    });
  });

  it("refusing OAEP padding, wherever it is wrong", () => {
    const random = new Seeded("OAEP");
    const message = random.bytes(20);
    const seed = random.bytes(32);
    const encode = (label: Uint8Array): Uint8Array => {
      const { wasm } = new RsaModule((variants[0] as (typeof variants)[number]).module);
      const em = wasm.reserve(K);
      expect(wasm.call("rsaEncodeOaep", em, K, 1, label, label.length, message, message.length, seed)).toBe(0);
      return wasm.read(em, K);
    };
    const label = Buffer.from("label");
    const good = encode(label);
    const wrong = [
      encode(Buffer.from("other")),
      Uint8Array.from(good, (b, i) => (i === 0 ? 1 : b)),
      Uint8Array.from(good, (b, i) => (i === 1 ? b ^ 1 : b)),
      // Within the padding string, at its end, and in the message: the hash of the label fails or the separator does.
      ...[40, 70, K - 21, K - 1].map((at) => Uint8Array.from(good, (b, i) => (i === at ? b ^ 2 : b))),
      random.bytes(K),
    ];
    same(wrong, (wasm, em) => {
      const at = wasm.place(em);
      expect(wasm.call("rsaDecodeOaep", at, K, 1, label, label.length, wasm.reserve(K), K - 21 - 66 + 20) | 0).toBe(-1);
    });
  });

  it("decrypting messages of one length", () => {
    const key = keys[1] as TestKey;
    const options = { key: key.publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" };
    const ciphers = ["a", "b"].map((text) => publicEncrypt(options, createHash("sha256").update(text).digest()));
    same(ciphers, (wasm, cipher) => {
      const record = blinded(wasm, key);
      expect(wasm.call("rsaDecrypt", record, SCHEME.oaep, 1, 0, 0, cipher, wasm.reserve(K), K)).toBe(32);
    });
  });

  it("while public exponents do show, so that the tracer is seen to work", () => {
    const key = keys[0] as TestKey;
    const [three, five] = [3, 5].map((e) =>
      tracer.trace((wasm) => void wasm.call("rsaPublic", key.n, BITS, e, number("m"), wasm.reserve(K))),
    );
    expect(three).not.toEqual(five);
  });
});
