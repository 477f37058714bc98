import { createCipheriv, createDecipheriv } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { loadHarness } from "../support/wasm-harness.ts";

/** `openssl` is the prefix of OpenSSL's name, `expand` how it wants a TDES key of two parts. */
const CIPHERS = [
  { name: "AES-128", id: 0, bits: 128, block: 16, openssl: "aes-128" },
  { name: "AES-192", id: 0, bits: 192, block: 16, openssl: "aes-192" },
  { name: "AES-256", id: 0, bits: 256, block: 16, openssl: "aes-256" },
];
const ROUNDS = 1000;

const wasm = loadHarness("crypto-symmetric");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

type Cipher = (typeof CIPHERS)[number];

function openssl(cipher: Cipher, mode: string, key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  const engine = createCipheriv(`${cipher.openssl}-${mode}`, key, mode === "ecb" ? null : iv).setAutoPadding(false);
  return Buffer.concat([engine.update(data), engine.final()]);
}

function opensslDecrypt(cipher: Cipher, mode: string, key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  const engine = createDecipheriv(`${cipher.openssl}-${mode}`, key, mode === "ecb" ? null : iv).setAutoPadding(false);
  return Buffer.concat([engine.update(data), engine.final()]);
}

function expandKey(cipher: Cipher, key: Uint8Array): number {
  const schedule = wasm.reserve(wasm.constant("CIPHER_SCHEDULE_SIZE"));
  wasm.call("cipherExpandKey", cipher.id, key, cipher.bits, schedule);
  return schedule;
}

/** The block that a call leaves in `iv`, from what went in and came out (`blockOf` encrypts one block). */
function expectedIv(
  mode: string,
  iv: Uint8Array,
  ciphertext: Uint8Array,
  block: number,
  blockOf: (input: Uint8Array) => Uint8Array,
): Uint8Array {
  const blocks = Math.ceil(ciphertext.length / block);
  if (blocks === 0) return iv;
  if (mode === "cbc") return ciphertext.subarray(-block);
  if (mode === "ctr") {
    const bits = BigInt(8 * block);
    const value = (BigInt(`0x${hex(iv)}`) + BigInt(blocks)) & ((1n << bits) - 1n);
    return Buffer.from(value.toString(16).padStart(2 * block, "0"), "hex");
  }
  if (mode === "ofb") {
    let chained = iv;
    for (let i = 0; i < blocks; i++) chained = blockOf(chained);
    return chained;
  }
  // CFB: the last ciphertext block; if it is a partial one, what is missing stays key stream.
  const last = ciphertext.subarray((blocks - 1) * block);
  const before = blocks === 1 ? iv : ciphertext.subarray((blocks - 2) * block, (blocks - 1) * block);
  const result = Uint8Array.from(blockOf(before));
  result.set(last);
  return result;
}

const MODES = [
  { mode: "cbc", whole: true, encrypt: "cbcEncrypt", decrypt: "cbcDecrypt" },
  { mode: "cfb", whole: false, encrypt: "cfbEncrypt", decrypt: "cfbDecrypt" },
  { mode: "ofb", whole: false, encrypt: "ofb", decrypt: "ofb" },
  { mode: "ctr", whole: false, encrypt: "ctr", decrypt: "ctr" },
];

describe.each(CIPHERS)("$name", (cipher) => {
  const { name, id, bits, block } = cipher;

  it("ECB agrees with OpenSSL, in place and elsewhere", () => {
    const random = new Seeded(`${name} ecb`);
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const key = random.bytes(bits / 8);
      const data = random.bytes(block * random.below(5));
      const schedule = expandKey(cipher, key);
      const expected = hex(openssl(cipher, "ecb", key, new Uint8Array(0), data));
      const at = wasm.place(data);
      const out = wasm.reserve(data.length);
      wasm.call("ecbEncrypt", id, schedule, at, out, data.length);
      expect(hex(wasm.read(out, data.length))).toBe(expected);
      wasm.call("ecbEncrypt", id, schedule, at, at, data.length);
      expect(hex(wasm.read(at, data.length))).toBe(expected);
      wasm.call("ecbDecrypt", id, schedule, at, out, data.length);
      expect(hex(wasm.read(out, data.length))).toBe(hex(data));
      wasm.call("ecbDecrypt", id, schedule, at, at, data.length);
      expect(hex(wasm.read(at, data.length))).toBe(hex(data));
    }
  });

  it.each(MODES)("$mode agrees with OpenSSL both ways, in place, and leaves the IV for the next call", (entry) => {
    const { mode, whole, encrypt, decrypt } = entry;
    const random = new Seeded(`${name} ${mode}`);
    const none = new Uint8Array(0);
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const key = random.bytes(bits / 8);
      const iv = mode === "ctr" && round % 4 === 0 ? new Uint8Array(block).fill(0xff) : random.bytes(block);
      const length = whole ? block * random.below(6) : random.pick([0, 1, block - 1, block, random.below(6 * block)]);
      const data = random.bytes(length);
      const schedule = expandKey(cipher, key);
      const ciphertext = openssl(cipher, mode, key, iv, data);
      const ivAfter = hex(expectedIv(mode, iv, ciphertext, block, (b) => openssl(cipher, "ecb", key, none, b)));
      for (const inPlace of [false, true]) {
        const at = wasm.place(data);
        const out = inPlace ? at : wasm.reserve(length);
        const ivAt = wasm.place(iv);
        wasm.call(encrypt, id, schedule, ivAt, at, out, length);
        expect(hex(wasm.read(out, length))).toBe(hex(ciphertext));
        expect(hex(wasm.read(ivAt, block))).toBe(ivAfter);
        const back = inPlace ? out : wasm.reserve(length);
        wasm.write(ivAt, iv);
        wasm.call(decrypt, id, schedule, ivAt, out, back, length);
        expect(hex(wasm.read(back, length))).toBe(hex(data));
        expect(hex(wasm.read(ivAt, block))).toBe(ivAfter);
      }
      expect(hex(opensslDecrypt(cipher, mode, key, iv, ciphertext))).toBe(hex(data));
    }
  });
});
