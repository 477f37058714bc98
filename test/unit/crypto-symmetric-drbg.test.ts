import { createCipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { loadHarness } from "../support/wasm-harness.ts";

interface PrimaryVectors {
  vectors: { name: string; seedByte: number; templateName: string; first32: string }[];
}

const primary: PrimaryVectors = JSON.parse(readFileSync(new URL("../data/drbg-primary.json", import.meta.url), "utf8"));
const PURPOSE = Buffer.from("Primary Object Creation\0");
const NONE = new Uint8Array(0);
const ROUNDS = 300;

const wasm = loadHarness("crypto-symmetric");
const SIZE = wasm.constant("DRBG_STATE_SIZE");
const SEED = wasm.constant("DRBG_SEED");
const COUNTER = wasm.constant("DRBG_RESEED_COUNTER");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const xor = (a: Uint8Array, b: Uint8Array) => Uint8Array.from(a, (x, i) => x ^ b[i]!);
const strings = (...all: Uint8Array[]) => all.flatMap((s) => [s, s.length]);

function aesEcb(key: Uint8Array, blocks: Uint8Array): Uint8Array {
  return createCipheriv("aes-256-ecb", key, null).setAutoPadding(false).update(blocks);
}

/** An independent model: SP 800-90A's CTR_DRBG over OpenSSL's AES, and libtpms' derivation function. */
class Model {
  key: Uint8Array = new Uint8Array(32);
  v = 0n;

  static derive(data: Uint8Array): Uint8Array {
    const key = Uint8Array.from({ length: 32 }, (_, i) => i);
    const chains = [0, 1, 2].map((i) => Uint8Array.from({ length: 16 }, (_, at) => (at === 3 ? i : 0)));
    const compute = (block: Uint8Array) => {
      let sum: Uint8Array = new Uint8Array(16);
      for (let i = 0; i < 3; i++) {
        sum = xor(sum, xor(chains[i]!, block));
        chains[i] = Uint8Array.from(aesEcb(key, sum));
      }
    };
    compute(new Uint8Array(16));
    new DataView(chains[0]!.buffer).setUint32(0, data.length);
    new DataView(chains[0]!.buffer).setUint32(4, 48);
    const padded = new Uint8Array(Math.ceil((4 + data.length + 1) / 16) * 16);
    padded.set(data, 4);
    padded[4 + data.length] = 0x80;
    for (let at = 0; at < padded.length; at += 16) compute(padded.subarray(at, at + 16));
    return Buffer.concat(chains);
  }

  #counterBlocks(length: number): Uint8Array {
    const blocks: Buffer[] = [];
    for (let made = 0; made < length; made += 16) {
      this.v = (this.v + 1n) & ((1n << 128n) - 1n);
      blocks.push(Buffer.from(this.v.toString(16).padStart(32, "0"), "hex"));
    }
    return aesEcb(this.key, Buffer.concat(blocks)).subarray(0, length);
  }

  update(data: Uint8Array): void {
    const fresh = xor(this.#counterBlocks(48), data);
    this.key = fresh.subarray(0, 32);
    this.v = BigInt(`0x${hex(fresh.subarray(32))}`);
  }

  generate(length: number): Uint8Array {
    const out = this.#counterBlocks(length);
    this.update(new Uint8Array(48));
    return out;
  }
}

describe("the derivation function", () => {
  it.each([
    [
      "one byte",
      Buffer.from("a"),
      "c06d836c62b144db50134ebd6e9845e75a04bf18c485a54e02ea48cd593a5400178ff00b0dd9afdb78018d3e25db50a9",
    ],
    [
      "200 bytes",
      Uint8Array.from({ length: 200 }, (_, i) => i),
      "dfd1b770e8db138301fe9bec98f862b4d7003e78d8d4d0778ec7b55226e0ad40a558e13493523cd11fc2137c68329da6",
    ],
  ])("gives libtpms' result for %s", (_name, data, expected) => {
    wasm.reset();
    expect(hex(wasm.output(48, "drbgDerivationFunction", ...strings(data)))).toBe(expected);
  });

  it("agrees with its model on every length around block edges", () => {
    const random = new Seeded("df");
    for (let length = 1; length < 200; length++) {
      wasm.reset();
      const data = random.bytes(length);
      expect(hex(wasm.output(48, "drbgDerivationFunction", ...strings(data)))).toBe(hex(Model.derive(data)));
    }
  });
});

describe("the seeded generator", () => {
  it.each(primary.vectors)("draws the first bytes of libtpms' primary key $name", (vector) => {
    wasm.reset();
    const seed = new Uint8Array(64).fill(vector.seedByte);
    const state = wasm.reserve(SIZE);
    const name = Buffer.from(vector.templateName, "hex");
    expect(wasm.call("drbgInstantiateSeeded", state, ...strings(seed, PURPOSE, name, NONE))).toBe(1);
    const out = wasm.reserve(32);
    expect(wasm.call("drbgGenerate", state, out, 32)).toBe(1);
    expect(hex(wasm.read(out, 32))).toBe(vector.first32);
  });

  it("agrees with its model on random inputs, request lengths and additional data", () => {
    const random = new Seeded("seeded");
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const parts = [64, 24, 34, 50].map((limit) => random.bytes(random.below(limit + 1)));
      const state = wasm.reserve(SIZE);
      wasm.call("drbgInstantiateSeeded", state, ...strings(...parts));
      const model = new Model();
      model.update(Model.derive(Buffer.concat(parts)));
      for (let draws = random.below(5); draws >= 0; draws--) {
        if (random.below(3) === 0) {
          const extra = random.bytes(1 + random.below(70));
          expect(wasm.call("drbgAdditionalData", state, ...strings(extra))).toBe(1);
          model.update(Model.derive(extra));
        }
        const length = random.pick([0, 1, 15, 16, 17, 32, 128, random.below(600)]);
        const out = wasm.reserve(length);
        expect(wasm.call("drbgGenerate", state, out, length)).toBe(1);
        expect(hex(wasm.read(out, length))).toBe(hex(model.generate(length)));
      }
      expect(hex(wasm.read(state + SEED, 32))).toBe(hex(model.key));
    }
  });
});

describe("the generator seeded with entropy", () => {
  it("agrees with its model through instantiation, requests and reseeds with and without additional input", () => {
    const random = new Seeded("entropy");
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const [entropy, personalization] = [random.bytes(48), random.bytes(random.below(49))];
      const state = wasm.reserve(SIZE);
      const derived = (data: Uint8Array) => (data.length === 0 ? new Uint8Array(48) : Model.derive(data));
      expect(wasm.call("drbgInstantiate", state, entropy, ...strings(personalization))).toBe(1);
      const model = new Model();
      model.update(xor(entropy, derived(personalization)));
      for (let draws = random.below(5); draws >= 0; draws--) {
        const length = random.below(200);
        const out = wasm.reserve(length);
        wasm.call("drbgGenerate", state, out, length);
        expect(hex(wasm.read(out, length))).toBe(hex(model.generate(length)));
        const [fresh, additional] = [random.bytes(48), random.bytes(random.pick([0, 1, 48, 128]))];
        expect(wasm.call("drbgReseed", state, fresh, ...strings(additional))).toBe(1);
        model.update(xor(fresh, derived(additional)));
      }
    }
  });

  it("counts requests from 1 and refuses to serve at 2^20 until it is reseeded", () => {
    wasm.reset();
    const entropy = new Uint8Array(48);
    const state = wasm.reserve(SIZE);
    const out = wasm.reserve(4);
    const counter = () => new DataView(wasm.memory.buffer).getBigUint64(state + COUNTER, true);
    wasm.call("drbgInstantiate", state, entropy, NONE, 0);
    expect(counter()).toBe(1n);
    wasm.call("drbgGenerate", state, out, 4);
    expect(counter()).toBe(2n);
    new DataView(wasm.memory.buffer).setBigUint64(state + COUNTER, (1n << 20n) - 1n, true);
    expect(wasm.call("drbgNeedsReseed", state)).toBe(0);
    expect(wasm.call("drbgGenerate", state, out, 4)).toBe(1);
    expect(wasm.call("drbgNeedsReseed", state)).toBe(1);
    const before = hex(wasm.read(state, SIZE));
    expect(wasm.call("drbgGenerate", state, out, 4)).toBe(0);
    expect(hex(wasm.read(state, SIZE))).toBe(before);
    wasm.call("drbgReseed", state, entropy, NONE, 0);
    expect(counter()).toBe(1n);
    expect(wasm.call("drbgGenerate", state, out, 4)).toBe(1);
  });

  it("fails the continuous test when a block equals the one before, and only when the test is on", () => {
    wasm.reset();
    const entropy = new Seeded("continuous").bytes(48);
    const model = new Model();
    model.update(entropy);
    const first = model.generate(16);
    for (const on of [0, 1]) {
      const state = wasm.reserve(SIZE);
      wasm.call("drbgInstantiate", state, entropy, NONE, 0);
      new DataView(wasm.memory.buffer).setUint32(state + wasm.constant("DRBG_CONTINUOUS_TEST"), on, true);
      const good = wasm.place(wasm.read(state, SIZE));
      const out = wasm.reserve(16);
      expect(wasm.call("drbgGenerate", good, out, 16)).toBe(1);
      wasm.write(state + wasm.constant("DRBG_LAST_VALUE"), first);
      expect(wasm.call("drbgGenerate", state, out, 16)).toBe(on === 1 ? 0 : 1);
    }
  });
});

describe("the KDF stream of derived objects", () => {
  const key = new Seeded("derivation key").bytes(32);
  const label = Buffer.from("label");
  const context = Buffer.from("context");
  const limit = 8192;
  const sha256 = 1;

  function start(): number {
    wasm.reset();
    const state = wasm.reserve(wasm.constant("RAND_STATE_SIZE"));
    wasm.call("kdfInstantiate", state, sha256, ...strings(key, label, context), limit);
    return state;
  }

  it("gives one KDFa stream, however it is cut into requests", () => {
    const random = new Seeded("kdf stream");
    wasm.reset();
    const whole = hex(wasm.output(1024, "kdfa", sha256, ...strings(key, label, context, NONE), limit));
    for (let round = 0; round < 100; round++) {
      const state = start();
      let drawn = "";
      while (drawn.length < 1600) {
        const length = random.pick([1, 31, 32, 33, 66, 1 + random.below(100)]);
        const out = wasm.reserve(length);
        expect(wasm.call("randGenerate", state, out, length)).toBe(1);
        drawn += hex(wasm.read(out, length));
      }
      expect(drawn).toBe(whole.slice(0, drawn.length));
    }
  });

  it("ends at its limit, counted as libtpms does: blocks begun plus the request", () => {
    const state = start();
    const out = wasm.reserve(1024);
    expect(wasm.call("randGenerate", state, out, 1025)).toBe(0);
    expect(wasm.call("randGenerate", state, out, 1)).toBe(1);
    expect(wasm.call("randGenerate", state, out, 993)).toBe(0);
    expect(wasm.call("randGenerate", state, out, 992)).toBe(1);
    expect(wasm.call("randGenerate", state, out, 1)).toBe(0);
  });

  it("is told apart from a DRBG and from no generator at all", () => {
    wasm.reset();
    const state = wasm.reserve(wasm.constant("RAND_STATE_SIZE"));
    const out = wasm.reserve(16);
    expect(wasm.call("randGenerate", state, out, 16)).toBe(0);
    wasm.call("drbgInstantiate", state, new Uint8Array(48), NONE, 0);
    const copy = wasm.place(wasm.read(state, SIZE));
    const same = wasm.reserve(16);
    wasm.call("drbgGenerate", copy, same, 16);
    expect(wasm.call("randGenerate", state, out, 16)).toBe(1);
    expect(hex(wasm.read(out, 16))).toBe(hex(wasm.read(same, 16)));
  });
});
