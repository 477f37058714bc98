import { createCipheriv } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { loadHarness } from "../support/wasm-harness.ts";

/** `openssl` is the beginning of OpenSSL's name; for TDES it has no CTR. */
const CIPHERS = [
  { name: "AES-128", id: 0, bits: 128, block: 16, openssl: "aes-128" },
  { name: "AES-192", id: 0, bits: 192, block: 16, openssl: "aes-192" },
  { name: "AES-256", id: 0, bits: 256, block: 16, openssl: "aes-256" },
  { name: "Camellia-128", id: 1, bits: 128, block: 16, openssl: "camellia-128" },
  { name: "Camellia-192", id: 1, bits: 192, block: 16, openssl: "camellia-192" },
  { name: "Camellia-256", id: 1, bits: 256, block: 16, openssl: "camellia-256" },
  { name: "TDES-128", id: 2, bits: 128, block: 8, openssl: "des-ede" },
  { name: "TDES-192", id: 2, bits: 192, block: 8, openssl: "des-ede3" },
];
const ROUNDS = 1000;

const wasm = loadHarness("crypto-symmetric");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

type Cipher = (typeof CIPHERS)[number];

/** TDES in counter mode, which OpenSSL does not have, over its ECB. */
function tdesCtr(cipher: Cipher, key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  const counters = new DataView(new ArrayBuffer(Math.ceil(data.length / 8) * 8));
  const first = Buffer.from(iv).readBigUInt64BE();
  for (let at = 0; at < counters.byteLength; at += 8) counters.setBigUint64(at, first + BigInt(at / 8));
  const stream = openssl(cipher, "ecb", key, iv, new Uint8Array(counters.buffer));
  return data.map((byte, i) => byte ^ stream[i]!);
}

function openssl(cipher: Cipher, mode: string, key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  if (mode === "ctr" && cipher.block === 8) return tdesCtr(cipher, key, iv, data);
  const engine = createCipheriv(`${cipher.openssl}-${mode}`, key, mode === "ecb" ? null : iv).setAutoPadding(false);
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
    }
  });
});

describe.each(CIPHERS)("CMAC with $name", (cipher) => {
  const { name, id, bits, block } = cipher;

  /** SP 800-38B over OpenSSL's ECB. */
  function cmac(key: Uint8Array, data: Uint8Array): Uint8Array {
    const encrypt = (b: Uint8Array) => openssl(cipher, "ecb", key, new Uint8Array(0), b);
    const double = (b: Uint8Array) => {
      const value = BigInt(`0x${hex(b)}`) << 1n;
      const reduced = value >> BigInt(8 * block) === 0n ? value : value ^ (block === 16 ? 0x87n : 0x1bn);
      return Buffer.from(
        BigInt.asUintN(8 * block, reduced)
          .toString(16)
          .padStart(2 * block, "0"),
        "hex",
      );
    };
    const whole = data.length > 0 && data.length % block === 0;
    const padded = new Uint8Array(Math.max(1, Math.ceil(data.length / block)) * block);
    padded.set(data);
    if (!whole) padded[data.length] = 0x80;
    const k1 = double(encrypt(new Uint8Array(block)));
    const subkey = whole ? k1 : double(k1);
    for (let i = 0; i < block; i++) padded[padded.length - block + i]! ^= subkey[i]!;
    let chained: Uint8Array = new Uint8Array(block);
    for (let at = 0; at < padded.length; at += block) chained = encrypt(chained.map((x, i) => x ^ padded[at + i]!));
    return chained;
  }

  it("agrees with its model, in one part and in several, and wipes its state", () => {
    const random = new Seeded(`${name} cmac`);
    const size = wasm.constant("CMAC_STATE_SIZE");
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const key = random.bytes(bits / 8);
      const data = random.bytes(random.pick([0, 1, block - 1, block, block + 1, random.below(5 * block)]));
      const expected = hex(cmac(key, data));
      const state = wasm.reserve(size);
      expect(hex(wasm.output(block, "cmacOnce", id, state, key, bits, data, data.length))).toBe(expected);
      const split = random.below(data.length + 1);
      wasm.call("cmacInit", id, state, key, bits);
      wasm.call("cmacUpdate", state, data.subarray(0, split), split);
      wasm.call("cmacUpdate", state, data.subarray(split), data.length - split);
      expect(hex(wasm.output(block, "cmacFinal", state))).toBe(expected);
      expect(wasm.read(state, size).every((b) => b === 0)).toBe(true);
    }
  });
});
