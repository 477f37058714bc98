import { createHash, createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { loadHarness } from "../support/wasm-harness.ts";

const HASHES = [
  { id: 0, name: "sha1", digest: 20, block: 64 },
  { id: 1, name: "sha256", digest: 32, block: 64 },
  { id: 2, name: "sha384", digest: 48, block: 128 },
  { id: 3, name: "sha512", digest: 64, block: 128 },
  { id: 4, name: "sha3-256", digest: 32, block: 136 },
  { id: 5, name: "sha3-384", digest: 48, block: 104 },
  { id: 6, name: "sha3-512", digest: 64, block: 72 },
];
const ROUNDS = 1000;

const wasm = loadHarness("crypto-symmetric");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe.each(HASHES)("$name", ({ id, name, digest, block }) => {
  it("has the digest and block size of its specification", () => {
    expect(wasm.call("hashDigestSize", id)).toBe(digest);
    expect(wasm.call("hashBlockSize", id)).toBe(block);
    expect(wasm.constant("MAX_DIGEST_SIZE")).toBeGreaterThanOrEqual(digest);
    expect(wasm.constant("MAX_BLOCK_SIZE")).toBeGreaterThanOrEqual(block);
  });

  it("agrees with OpenSSL on every length up to three blocks", () => {
    const random = new Seeded(`${name} lengths`);
    for (let length = 0; length <= 3 * block + 1; length++) {
      wasm.reset();
      const data = random.bytes(length);
      expect(hex(wasm.output(digest, "hashOnce", id, data, length)), `length ${length}`).toBe(
        createHash(name).update(data).digest("hex"),
      );
    }
  });

  it(`agrees with OpenSSL on ${ROUNDS} random messages fed in random parts`, () => {
    const random = new Seeded(`${name} parts`);
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const state = wasm.reserve(wasm.constant("HASH_STATE_SIZE"));
      const reference = createHash(name);
      wasm.call("hashInit", id, state);
      for (let parts = random.below(6); parts > 0; parts--) {
        const part = random.bytes(random.pick([0, 1, block - 1, block, block + 1, random.below(4 * block)]));
        reference.update(part);
        wasm.call("hashUpdate", id, state, part, part.length);
      }
      expect(hex(wasm.output(digest, "hashFinal", id, state))).toBe(reference.digest("hex"));
    }
  });

  it("keeps its state in a record that can be copied and resumed, and wipes it at the end", () => {
    const random = new Seeded(`${name} copies`);
    const size = wasm.constant("HASH_STATE_SIZE");
    for (const at of [0, 1, block - 1, block, 2 * block + 5]) {
      wasm.reset();
      const [first, second] = [random.bytes(at), random.bytes(block + 7)];
      const state = wasm.reserve(size);
      wasm.call("hashInit", id, state);
      wasm.call("hashUpdate", id, state, first, first.length);
      const copy = wasm.place(wasm.read(state, size));
      const expected = createHash(name).update(first).update(second).digest("hex");
      for (const resumed of [state, copy]) {
        wasm.call("hashUpdate", id, resumed, second, second.length);
        expect(hex(wasm.output(digest, "hashFinal", id, resumed))).toBe(expected);
        expect(wasm.read(resumed, size).every((b) => b === 0)).toBe(true);
      }
    }
  });

  it("as HMAC agrees with OpenSSL on keys below, at and above the block size", () => {
    const random = new Seeded(`${name} hmac`);
    const size = wasm.constant("HMAC_STATE_SIZE");
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const key = random.bytes(random.pick([0, 1, digest, block - 1, block, block + 1, random.below(3 * block)]));
      const data = random.bytes(random.below(3 * block));
      const split = random.below(data.length + 1);
      const expected = createHmac(name, key).update(data).digest("hex");
      expect(hex(wasm.output(digest, "hmacOnce", id, key, key.length, data, data.length))).toBe(expected);
      const state = wasm.reserve(size);
      wasm.call("hmacInit", id, state, key, key.length);
      wasm.call("hmacUpdate", id, state, data.subarray(0, split), split);
      wasm.call("hmacUpdate", id, state, data.subarray(split), data.length - split);
      expect(hex(wasm.output(digest, "hmacFinal", id, state))).toBe(expected);
      expect(wasm.read(state, size).every((b) => b === 0)).toBe(true);
    }
  });
});

describe("SHAKE", () => {
  it.each([
    { name: "shake128", rate: 168 },
    { name: "shake256", rate: 136 },
  ])("$name agrees with OpenSSL on input and output of several blocks", ({ name, rate }) => {
    const random = new Seeded(name);
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const data = random.bytes(random.pick([0, rate - 1, rate, rate + 1, random.below(500)]));
      const length = random.pick([1, rate - 1, rate, rate + 1, 1 + random.below(700)]);
      const out = wasm.reserve(length);
      wasm.call("shakeOnce", rate, data, data.length, out, length);
      expect(hex(wasm.read(out, length))).toBe(createHash(name, { outputLength: length }).update(data).digest("hex"));
    }
  });
});

describe("ctEqual", () => {
  it("answers all ones for equal bytes and 0 for a difference anywhere", () => {
    const random = new Seeded("ctEqual");
    for (let length = 0; length < 70; length++) {
      wasm.reset();
      const a = random.bytes(length);
      expect(wasm.call("ctEqual", a, a.slice(), length)).toBe(0xffffffff);
      for (let i = 0; i < length; i++) {
        const b = a.slice();
        b[i]! ^= 1 << random.below(8);
        expect(wasm.call("ctEqual", a, b, length)).toBe(0);
      }
    }
  });
});
