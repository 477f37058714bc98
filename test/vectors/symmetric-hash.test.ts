// Hashes, HMAC and key derivation against NIST ACVP and Wycheproof.
import { expect, it } from "vitest";
import { acvp, describeVectors, hexUpper, unhex, wycheproof } from "../support/vectors.ts";
import { loadHarness } from "../support/wasm-harness.ts";

const wasm = loadHarness("crypto-symmetric");

interface HashGroup {
  testType: "AFT" | "MCT" | "LDT" | "VOT";
  mctVersion: string;
  maxOutLen: number;
  minOutLen: number;
}
interface HashCase {
  msg: string;
  len: number;
  md: string;
  outLen: number;
  resultsArray: { md: string; outputLen?: number; outLen?: number }[];
  largeMsg: { content: string; contentLength: number; fullLength: number };
}

/** id and digest size by the name in ACVP's file names. */
const HASHES = new Map([
  ["SHA-1", { id: 0, digest: 20 }],
  ["SHA2-256", { id: 1, digest: 32 }],
  ["SHA2-384", { id: 2, digest: 48 }],
  ["SHA2-512", { id: 3, digest: 64 }],
  ["SHA3-256", { id: 4, digest: 32 }],
  ["SHA3-384", { id: 5, digest: 48 }],
  ["SHA3-512", { id: 6, digest: 64 }],
]);
/** Large-data cases up to this many bits run; one above 2^32 bytes would take half a minute and is covered by the count's type. */
const LARGEST_MESSAGE = 2 ** 33;
const CHUNK = 1 << 20;

function digestOf(id: number, size: number, message: Uint8Array): Uint8Array<ArrayBuffer> {
  wasm.reset();
  return wasm.output(size, "hashOnce", id, message, message.length);
}

/** The first `length` bytes, padded with zeros. */
function resized(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(length);
  result.set(bytes.subarray(0, length));
  return result;
}

/** ACVP's Monte Carlo test of SHA-2: three digests are hashed together, cut or padded to `length` bytes if that is given. */
function monteCarloSha2(id: number, size: number, seed: Uint8Array, length: number | undefined): string {
  let window = [seed, seed, seed];
  for (let i = 0; i < 1000; i++) {
    const message = resized(Buffer.concat(window), length ?? seed.length * 3);
    window = [window[1]!, window[2]!, digestOf(id, size, message)];
  }
  return hexUpper(window[2]!);
}

function monteCarloSha3(id: number, size: number, seed: Uint8Array): string {
  let digest = seed;
  for (let i = 0; i < 1000; i++) digest = digestOf(id, size, digest);
  return hexUpper(digest);
}

/** Hashes `content` repeated to `length` bytes. */
function digestOfRepeated(id: number, size: number, content: Uint8Array, length: number): string {
  wasm.reset();
  const chunk = wasm.place(new Uint8Array(Buffer.alloc(CHUNK, content)));
  const state = wasm.reserve(wasm.constant("HASH_STATE_SIZE"));
  wasm.call("hashInit", id, state);
  for (let done = 0; done < length; done += CHUNK) wasm.call("hashUpdate", id, state, chunk, CHUNK);
  return hexUpper(wasm.output(size, "hashFinal", id, state));
}

describeVectors("ACVP hashes", () => {
  it.each([
    ["SHA2-256", "SHA2-256-1.0", 400],
    ["SHA2-384", "SHA2-384-1.0", 100],
    ["SHA2-512", "SHA2-512-1.0", 100],
    ["SHA3-256", "SHA3-256-2.0", 100],
    ["SHA3-384", "SHA3-384-2.0", 80],
    ["SHA3-512", "SHA3-512-2.0", 60],
  ])("%s: messages of whole bytes, Monte Carlo, large data", (name, file, least) => {
    const { id, digest: size } = HASHES.get(name)!;
    let messages = 0;
    let large = 0;
    for (const group of acvp<HashGroup, HashCase>(file)) {
      for (const test of group.tests) {
        if (group.testType === "AFT" && test.len % 8 === 0) {
          expect(hexUpper(digestOf(id, size, unhex(test.msg).subarray(0, test.len / 8)))).toBe(test.md);
          messages++;
        } else if (group.testType === "MCT") {
          let seed = unhex(test.msg);
          for (const { md } of test.resultsArray) {
            const sha2 = name.startsWith("SHA2");
            const length = group.mctVersion === "alternate" ? test.len / 8 : undefined;
            expect(sha2 ? monteCarloSha2(id, size, seed, length) : monteCarloSha3(id, size, seed)).toBe(md);
            seed = unhex(md);
          }
        } else if (group.testType === "LDT" && test.largeMsg.fullLength <= LARGEST_MESSAGE) {
          const { content, fullLength } = test.largeMsg;
          expect(digestOfRepeated(id, size, unhex(content), fullLength / 8)).toBe(test.md);
          large++;
        }
      }
    }
    expect(messages).toBeGreaterThanOrEqual(least);
    expect(large).toBe(1);
  });

  it.each([
    ["SHAKE-128", 168],
    ["SHAKE-256", 136],
  ])("%s: messages and outputs of whole bytes, Monte Carlo", (name, rate) => {
    const shake = (message: Uint8Array, length: number) => {
      wasm.reset();
      const out = wasm.reserve(length);
      wasm.call("shakeOnce", rate, message, message.length, out, length);
      return wasm.read(out, length);
    };
    let cases = 0;
    for (const group of acvp<HashGroup, HashCase>(`${name}-1.0`)) {
      for (const test of group.tests) {
        if (group.testType === "MCT") {
          const [least, most] = [Math.ceil(group.minOutLen / 8), Math.floor(group.maxOutLen / 8)];
          let output = unhex(test.msg);
          let length = most;
          for (const { md } of test.resultsArray) {
            for (let i = 0; i < 1000; i++) {
              output = shake(resized(output, 16), length);
              length = least + (((output.at(-2)! << 8) | output.at(-1)!) % (most - least + 1));
            }
            expect(hexUpper(output)).toBe(md);
          }
        } else if (test.len % 8 === 0 && test.outLen % 8 === 0) {
          expect(hexUpper(shake(unhex(test.msg).subarray(0, test.len / 8), test.outLen / 8))).toBe(test.md);
          cases++;
        }
      }
    }
    expect(cases).toBeGreaterThan(200);
  });
});

interface HmacCase {
  key: string;
  msg: string;
  mac: string;
  macLen: number;
}
interface WycheproofMac {
  key: string;
  msg: string;
  tag: string;
  result: "valid" | "invalid" | "acceptable";
}

describeVectors("HMAC", () => {
  const hmac = (id: number, size: number, key: Uint8Array, data: Uint8Array) => {
    wasm.reset();
    return hexUpper(wasm.output(size, "hmacOnce", id, key, key.length, data, data.length));
  };

  it.each(["SHA-1", "SHA2-256", "SHA2-384", "SHA2-512"])("ACVP HMAC-%s", (name) => {
    const { id, digest } = HASHES.get(name)!;
    let cases = 0;
    for (const group of acvp<object, HmacCase>(`HMAC-${name}-2.0`)) {
      for (const test of group.tests) {
        const mac = hmac(id, digest, unhex(test.key), unhex(test.msg));
        expect(mac.slice(0, test.macLen / 4)).toBe(test.mac);
        cases++;
      }
    }
    expect(cases).toBe(150);
  });

  it.each([
    ["hmac_sha1_test", "SHA-1"],
    ["hmac_sha256_test", "SHA2-256"],
    ["hmac_sha384_test", "SHA2-384"],
    ["hmac_sha512_test", "SHA2-512"],
  ])("Wycheproof %s", (file, name) => {
    const { id, digest } = HASHES.get(name)!;
    let cases = 0;
    for (const group of wycheproof<{ tagSize: number }, WycheproofMac>(file)) {
      for (const test of group.tests) {
        const mac = hmac(id, digest, unhex(test.key), unhex(test.msg)).slice(0, group.tagSize / 4);
        expect(mac === test.tag.toUpperCase()).toBe(test.result === "valid");
        cases++;
      }
    }
    expect(cases).toBeGreaterThan(100);
  });
});

interface KdfGroup {
  kdfMode: string;
  macMode: string;
  counterLength: number;
  counterLocation: string;
  keyOutLength: number;
}
interface KdfCase {
  keyIn: string;
  fixedData: string;
  keyOut: string;
}
interface Tpm12Case {
  auth: string;
  nonceEven: string;
  nonceOdd: string;
  sKey: string;
}

describeVectors("key derivation", () => {
  it("ACVP SP 800-108 in counter mode: where the fixed data has a zero byte, it is a KDFa label, context and size", () => {
    let cases = 0;
    for (const group of acvp<KdfGroup, KdfCase>("KDF-1.0")) {
      const hash = HASHES.get(group.macMode.replace(/^HMAC-/, ""));
      const likeKdfa = group.kdfMode === "counter" && group.counterLocation === "before fixed data";
      if (!hash || !likeKdfa || group.counterLength !== 32) continue;
      for (const test of group.tests) {
        const [key, fixed] = [unhex(test.keyIn), unhex(test.fixedData)];
        const end = fixed.length - 4;
        const zero = fixed.subarray(0, end).indexOf(0);
        if (zero < 0) continue;
        wasm.reset();
        const length = Math.ceil(group.keyOutLength / 8);
        const [label, context] = [fixed.subarray(0, zero + 1), fixed.subarray(zero + 1, end)];
        const bits = new DataView(fixed.buffer).getUint32(end);
        const strings = [key, key.length, label, label.length, context, context.length, 0, 0];
        const out = wasm.output(length, "kdfaContinue", hash.id, ...strings, bits, 0, length);
        out[length - 1]! &= 0xff << (8 * length - group.keyOutLength);
        expect(hexUpper(out)).toBe(test.keyOut);
        cases++;
      }
    }
    expect(cases).toBe(5);
  });

  it("ACVP's KDF of TPM 1.2: HMAC-SHA-1 of the nonces", () => {
    let cases = 0;
    for (const group of acvp<object, Tpm12Case>("kdf-components-tpm-1.0")) {
      for (const test of group.tests) {
        wasm.reset();
        const key = unhex(test.auth);
        const [even, odd] = [unhex(test.nonceEven), unhex(test.nonceOdd)];
        expect(hexUpper(wasm.output(20, "tpm12SharedSecret", key, even, odd))).toBe(test.sKey);
        cases++;
      }
    }
    expect(cases).toBe(100);
  });
});
