import { createHash, createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { loadHarness } from "../support/wasm-harness.ts";

const HASHES = [
  { id: 0, name: "sha1", digest: 20 },
  { id: 1, name: "sha256", digest: 32 },
  { id: 2, name: "sha384", digest: 48 },
  { id: 3, name: "sha512", digest: 64 },
];
const ROUNDS = 500;

const wasm = loadHarness("crypto-symmetric");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** Clears the bits of the first byte that a key of `bits` bits does not have. */
function clearUnused(bytes: Uint8Array, bits: number): Uint8Array {
  if (bits % 8 !== 0) bytes[0]! &= (1 << (bits % 8)) - 1;
  return bytes;
}

/** KDFa as Part 1, 11.4.10.2 words it, over OpenSSL's HMAC. */
function kdfa(
  hash: string,
  key: Uint8Array,
  label: Uint8Array,
  u: Uint8Array,
  v: Uint8Array,
  bits: number,
  counter = 1,
): Uint8Array {
  const length = Math.ceil(bits / 8);
  const blocks: Uint8Array[] = [];
  for (let made = 0; made < length; counter++) {
    const mac = createHmac(hash, key).update(u32(counter)).update(label);
    if (label.at(-1) !== 0) mac.update(new Uint8Array(1));
    blocks.push(mac.update(u).update(v).update(u32(bits)).digest());
    made += blocks[0]!.length;
  }
  return clearUnused(new Uint8Array(Buffer.concat(blocks).subarray(0, length)), bits);
}

/** The hash stream common to KDFe, MGF1 and KDF2: H(prefix || counter || suffix) for counter = first, first + 1, … */
function hashStream(hash: string, length: number, first: number, message: (counter: Uint8Array) => Uint8Array[]) {
  const blocks: Uint8Array[] = [];
  for (let made = 0; made < length; made += blocks[0]!.length) {
    const h = createHash(hash);
    for (const part of message(u32(first + blocks.length))) h.update(part);
    blocks.push(h.digest());
  }
  return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
}

const xor = (a: Uint8Array, b: Uint8Array) => a.map((x, i) => x ^ b[i]!);
/** Byte strings as the functions take them: pointer and length. */
const strings = (...all: Uint8Array[]) => all.flatMap((s) => [s, s.length]);
const LABELS = ["STORAGE\0", "STORAGE", "", "\0", "ATH\0", "a longer label than any the TPM knows\0"];

describe.each(HASHES)("with $name", ({ id, name, digest }) => {
  it("KDFa agrees with its model, for labels with and without terminator", () => {
    const random = new Seeded(`kdfa ${name}`);
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const key = random.bytes(random.below(160));
      const label = Buffer.from(random.pick(LABELS));
      const [u, v] = [random.bytes(random.below(70)), random.bytes(random.below(70))];
      const bits = random.pick([1, 7, 8, 128, 256, digest * 8, digest * 8 + 8, 521, 1 + random.below(3000)]);
      const length = Math.ceil(bits / 8);
      expect(hex(wasm.output(length, "kdfa", id, ...strings(key, label, u, v), bits))).toBe(
        hex(kdfa(name, key, label, u, v, bits)),
      );
    }
  });

  it("KDFa continues from the counter where an earlier call stopped", () => {
    const random = new Seeded(`kdfa stream ${name}`);
    for (let round = 0; round < 100; round++) {
      wasm.reset();
      const [key, u] = [random.bytes(32), random.bytes(20)];
      const label = random.bytes(10);
      const inputs = strings(key, label, u, new Uint8Array(0));
      const whole = kdfa(name, key, label, u, new Uint8Array(0), 8192);
      let counter = 0;
      let at = 0;
      while (at + 3 * digest <= whole.length) {
        const length = digest * (1 + random.below(3));
        const out = wasm.reserve(length);
        counter = wasm.call("kdfaContinue", id, ...inputs, 8192, counter, length, out);
        expect(hex(wasm.read(out, length))).toBe(hex(whole.subarray(at, at + length)));
        at += length;
        expect(counter).toBe(at / digest);
      }
    }
  });

  it("KDFe agrees with its model", () => {
    const random = new Seeded(`kdfe ${name}`);
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const [z, use] = [random.bytes(random.below(90)), Buffer.from(random.pick(LABELS))];
      const [u, v] = [random.bytes(random.below(70)), random.bytes(random.below(70))];
      const bits = random.pick([1, 12, 128, 256, digest * 8, digest * 8 + 1, 1 + random.below(3000)]);
      const length = Math.ceil(bits / 8);
      const expected = clearUnused(
        hashStream(name, length, 1, (counter) => [counter, z, use, u, v]),
        bits,
      );
      expect(hex(wasm.output(length, "kdfe", id, ...strings(z, use, u, v), bits))).toBe(hex(expected));
    }
  });

  it.each([
    { mask: "mgf1", first: 0 },
    { mask: "kdf2", first: 1 },
  ])("$mask masks data with a hash stream that starts at counter $first", ({ mask, first }) => {
    const random = new Seeded(`${mask} ${name}`);
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const seed = random.bytes(random.below(100));
      const data = random.bytes(random.pick([0, 1, digest - 1, digest, digest + 1, random.below(400)]));
      const at = wasm.place(data);
      wasm.call(mask, id, ...strings(seed), at, data.length);
      const stream = hashStream(name, data.length, first, (counter) => [seed, counter]);
      expect(hex(wasm.read(at, data.length))).toBe(hex(xor(data, stream)));
    }
  });

  it("XOR obfuscation masks data with a KDFa stream of the data's size and undoes itself", () => {
    const random = new Seeded(`xor ${name}`);
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const [key, u, v] = [random.bytes(random.below(64)), random.bytes(20), random.bytes(32)];
      const data = random.bytes(1 + random.below(300));
      const at = wasm.place(data);
      const mask = kdfa(name, key, Buffer.from("XOR\0"), u, v, data.length * 8);
      wasm.call("kdfXorObfuscate", id, ...strings(key, u, v), at, data.length);
      expect(hex(wasm.read(at, data.length))).toBe(hex(xor(data, mask)));
      wasm.call("kdfXorObfuscate", id, ...strings(key, u, v), at, data.length);
      expect(hex(wasm.read(at, data.length))).toBe(hex(data));
    }
  });
});
