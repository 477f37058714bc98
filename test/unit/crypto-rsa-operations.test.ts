// RSA keys, the private and public operation and the schemes against OpenSSL.
import {
  constants,
  createHash,
  privateDecrypt,
  privateEncrypt,
  publicEncrypt,
  sign as opensslSign,
  verify as opensslVerify,
} from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  ERROR,
  modInverse,
  modPow,
  RSA_HASHES,
  RsaModule,
  rsaVariants,
  SCHEME,
  type testKey,
  toBig,
  toBytes,
} from "../support/rsa.ts";
import { Seeded } from "../support/seeded.ts";

const SIZES = [1024, 2048, 3072, 4096];
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const NO_PADDING = constants.RSA_NO_PADDING;

const variants = rsaVariants();
const generator = new RsaModule((variants.at(-1) as (typeof variants)[number]).module);
const keys = new Map(SIZES.map((bits) => [bits, generator.seededKey("operations", bits)]));
const keyOf = (bits: number) => keys.get(bits) as ReturnType<typeof testKey>;

/** A number below the key's modulus, at times one at the border. */
function below(n: bigint, random: Seeded, bytes: number): Uint8Array<ArrayBuffer> {
  const value = toBig(random.bytes(bytes)) % n;
  return toBytes(random.below(8) ? value : random.pick([0n, 1n, 2n, n - 1n, n - 2n]), bytes);
}

describe.each(variants)("$name", ({ module }) => {
  const rsa = new RsaModule(module);
  const { wasm } = rsa;

  describe.each(SIZES)("RSA-%i", (bits) => {
    const key = keyOf(bits);
    const k = bits / 8;
    const n = toBig(key.n);

    it("has key records of at most RSA_KEY_MAX_SIZE", () => {
      expect(wasm.call("rsaKeySize", bits)).toBeLessThanOrEqual(wasm.constant("RSA_KEY_MAX_SIZE"));
    });

    it("derives the private exponents from one prime", () => {
      for (const [kept, other] of [
        [key.p, key.q],
        [key.q, key.p],
      ] as const) {
        wasm.reset();
        const record = rsa.load({ ...key, p: kept });
        const out = wasm.reserve(bits / 4);
        wasm.call("rsaKeyExponents", record, out);
        const field = (i: number) => toBig(wasm.read(out + (i * bits) / 16, bits / 16));
        const [large, small] = toBig(kept) > toBig(other) ? [toBig(kept), toBig(other)] : [toBig(other), toBig(kept)];
        expect(field(0)).toBe(toBig(other));
        expect(field(1)).toBe(modInverse(65537n, large - 1n));
        expect(field(2)).toBe(modInverse(65537n, small - 1n));
        expect(field(3)).toBe(modInverse(small, large));
      }
    });

    it("agrees with OpenSSL on the private and public operation", () => {
      const random = new Seeded(`private ${bits}`);
      const rounds = { 1024: 2000, 2048: 400, 3072: 60, 4096: 30 }[bits] as number;
      for (let round = 0; round < rounds; round++) {
        wasm.reset();
        // Blinding is renewed when it is used up, and a key works for either prime.
        const record = rsa.load(round % 2 ? key : { ...key, p: key.q }, random);
        const input = below(n, random, k);
        const expected = privateDecrypt({ key: key.privateKey, padding: NO_PADDING }, input);
        expect(hex(rsa.private(record, bits, input, random) as Uint8Array)).toBe(hex(expected));
        expect(hex(rsa.public(key, expected) as Uint8Array)).toBe(hex(input));
      }
    });

    it("raises to public powers modulo numbers of runs of ones and zeros, where quotients are hardest to estimate", () => {
      const random = new Seeded(`runs ${bits}`);
      for (let round = 0; round < 60; round++) {
        const modulus = new Uint8Array(k);
        for (let at = 0; at < k; ) {
          const run = random.pick([0x00, 0xff, 0x80, 0x7f, 0x01]);
          for (let end = Math.min(k, at + 1 + random.below(k / 2)); at < end; ) modulus[at++] = run;
        }
        modulus[0]! |= 0x80;
        modulus[k - 1]! |= 1;
        const m = toBig(modulus);
        const input = below(m, random, k);
        const e = random.pick([1, 2, 3, 17, 65537, 0xffffffff]);
        const result = rsa.public({ bits, e, n: modulus }, input);
        expect(hex(result as Uint8Array), `${hex(modulus)} ${e}`).toBe(
          hex(toBytes(modPow(toBig(input), BigInt(e), m), k)),
        );
      }
    });

    it("uses a blinding factor a limited number of times", () => {
      const random = new Seeded("blinding runs out");
      wasm.reset();
      const record = rsa.load(key, random);
      const input = below(n, random, k);
      const results = Array.from({ length: 33 }, () => wasm.call("rsaPrivate", record, input, wasm.reserve(k)));
      expect(results.slice(0, 32)).toEqual(new Array(32).fill(0));
      expect(results[32]).toBe(ERROR.blinding);
    });

    it("refuses numbers that are not below the modulus", () => {
      wasm.reset();
      const record = rsa.load(key);
      for (const value of [n, n + 1n, (1n << BigInt(bits)) - 1n]) {
        const output = wasm.reserve(k);
        expect(wasm.call("rsaPrivate", record, toBytes(value, k), output)).toBe(ERROR.range);
        expect(wasm.read(output, k).every((byte) => byte === 0xa5)).toBe(true);
        expect(rsa.public(key, toBytes(value, k))).toBe(ERROR.range);
      }
    });

    it("refuses parts that do not make a key, and keeps nothing of them", () => {
      const broken: [string, Parameters<RsaModule["load"]>[0]][] = [
        ["a number that does not divide", { ...key, p: toBytes(toBig(key.p) + 2n, k / 2) }],
        ["an even prime", { ...key, p: toBytes(toBig(key.p) + 1n, k / 2) }],
        ["a short prime", { ...key, p: toBytes(toBig(key.p) >> 1n, k / 2) }],
        ["an even exponent", { ...key, e: 65538 }],
        ["exponent one", { ...key, e: 1 }],
        ["the square of a prime", { ...key, n: toBytes(toBig(key.p) ** 2n, k) }],
        ["an even modulus", { ...key, n: toBytes(n - 1n, k) }],
        ["a short modulus", { ...key, n: toBytes(n >> 1n, k) }],
        ["another exponent's factor in p - 1", { ...key, e: smallFactor(toBig(key.p) - 1n) }],
      ];
      for (const [what, parts] of broken) {
        wasm.reset();
        const size = wasm.call("rsaKeySize", bits);
        const record = wasm.reserve(size);
        const result = wasm.call("rsaKeyLoad", parts.n, bits, parts.p, parts.e, record);
        expect(result, what).toBe(ERROR.binding);
        expect(
          wasm.read(record, size).every((byte) => byte === 0),
          what,
        ).toBe(true);
      }
    });

    it("never gives a wrong result when memory is faulty", () => {
      const random = new Seeded(`faults ${bits}`);
      const size = wasm.call("rsaKeySize", bits);
      let detected = 0;
      for (let round = 0; round < (bits > 2048 ? 40 : 300); round++) {
        wasm.reset();
        const record = rsa.load(key, random);
        const input = below(n, random, k);
        // Any bit of the record but the header: primes, exponents, constants, blinding.
        const at = record + 16 + random.below(size - 16);
        wasm.write(at, Uint8Array.of((wasm.read(at, 1)[0] as number) ^ (1 << random.below(8))));
        const output = wasm.reserve(k);
        const result = wasm.call("rsaPrivate", record, input, output);
        if (result === 0) {
          expect(hex(rsa.public(key, wasm.read(output, k)) as Uint8Array), `byte ${at - record}`).toBe(hex(input));
        } else {
          detected++;
          expect(wasm.read(output, k).every((byte) => byte === 0xa5)).toBe(true);
          if (result === ERROR.fault) expect(wasm.call("rsaPrivate", record, input, output)).toBe(ERROR.blinding);
        }
      }
      expect(detected).toBeGreaterThan(10);
    });

    it("signs what OpenSSL verifies and verifies what OpenSSL signs", () => {
      const random = new Seeded(`signatures ${bits}`);
      const rounds = { 1024: 40, 2048: 12, 3072: 3, 4096: 2 }[bits] as number;
      for (const [h, name] of RSA_HASHES.entries()) {
        for (let round = 0; round < rounds; round++) {
          wasm.reset();
          const record = rsa.load(key, random);
          const message = random.bytes(random.below(200));
          const digest = createHash(name).update(message).digest();
          const salted = wasm.call("rsaPssSaltSize", k, h);
          expect(salted).toBe(Math.min(digest.length, k - digest.length - 2));
          for (const [scheme, options] of [
            [SCHEME.rsassa, { padding: constants.RSA_PKCS1_PADDING }],
            [SCHEME.rsapss, { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: salted }],
          ] as const) {
            const signature = wasm.reserve(k);
            expect(
              wasm.call("rsaSign", record, scheme, h, digest, digest.length, random.bytes(salted), signature),
            ).toBe(0);
            const ours = wasm.read(signature, k);
            expect(opensslVerify(name, message, { key: key.publicKey, ...options }, ours)).toBe(true);
            if (scheme === SCHEME.rsassa) {
              expect(hex(ours)).toBe(hex(opensslSign(name, message, { key: key.privateKey, ...options })));
            }
            const theirs = opensslSign(name, message, { key: key.privateKey, ...options });
            const verify = (d: Uint8Array, s: Uint8Array, hash = h) =>
              wasm.call("rsaVerify", key.n, bits, key.e, scheme, hash, d, d.length, s);
            expect(verify(digest, theirs)).toBe(0);
            // A flipped bit anywhere, another hash, a digest of the wrong length.
            const flipped = Uint8Array.from(theirs);
            flipped[random.below(k)]! ^= 1 << random.below(8);
            expect(verify(digest, flipped)).toBe(ERROR.value);
            const wrong = Uint8Array.from(digest);
            wrong[random.below(wrong.length)]! ^= 1 << random.below(8);
            expect(verify(wrong, theirs)).toBe(ERROR.value);
            expect(verify(digest.subarray(1), theirs)).toBe(ERROR.value);
            expect(verify(digest, theirs, (h + 1) % RSA_HASHES.length)).toBe(ERROR.value);
          }
        }
      }
    });

    it("verifies PSS signatures with any length of salt, as libtpms does", () => {
      const random = new Seeded(`salts ${bits}`);
      for (const saltLength of [0, 1, 19, 20, k - 32 - 2]) {
        wasm.reset();
        const message = random.bytes(33);
        const digest = createHash("sha256").update(message).digest();
        const padding = constants.RSA_PKCS1_PSS_PADDING;
        const signature = opensslSign("sha256", message, { key: key.privateKey, padding, saltLength });
        expect(wasm.call("rsaVerify", key.n, bits, key.e, SCHEME.rsapss, 1, digest, 32, signature)).toBe(0);
      }
    });

    it("encrypts what OpenSSL decrypts and decrypts what OpenSSL encrypts", () => {
      const random = new Seeded(`encryption ${bits}`);
      const rounds = { 1024: 60, 2048: 20, 3072: 4, 4096: 3 }[bits] as number;
      for (const [h, name] of RSA_HASHES.entries()) {
        const size = createHash(name).digest().length;
        const longest = k - 2 * size - 2;
        for (let round = 0; round < rounds; round++) {
          wasm.reset();
          const record = rsa.load(key, random);
          const label = random.bytes(random.pick([0, 1, 10]));
          const message = random.bytes(
            random.pick([0, 1, longest, random.below(Math.max(longest, 1))].map((x) => Math.max(x, 0))),
          );
          const out = wasm.reserve(k);
          const encrypted = wasm.call(
            "rsaEncrypt",
            key.n,
            bits,
            key.e,
            SCHEME.oaep,
            h,
            label,
            label.length,
            message,
            message.length,
            random.bytes(size),
            out,
          );
          if (longest < 0) {
            expect(encrypted).toBe(ERROR.range);
            continue;
          }
          expect(encrypted).toBe(0);
          const options = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: name, oaepLabel: label };
          expect(hex(privateDecrypt({ key: key.privateKey, ...options }, wasm.read(out, k)))).toBe(hex(message));
          const theirs = publicEncrypt({ key: key.publicKey, ...options }, message);
          const plain = wasm.reserve(k);
          expect(wasm.call("rsaDecrypt", record, SCHEME.oaep, h, label, label.length, theirs, plain, k)).toBe(
            message.length,
          );
          expect(hex(wasm.read(plain, message.length))).toBe(hex(message));
          const tooLong = random.bytes(longest + 1);
          expect(
            wasm.call(
              "rsaEncrypt",
              key.n,
              bits,
              key.e,
              SCHEME.oaep,
              h,
              label,
              label.length,
              tooLong,
              tooLong.length,
              random.bytes(size),
              out,
            ),
          ).toBe(ERROR.value);
          if (message.length > 0) {
            expect(
              wasm.call("rsaDecrypt", record, SCHEME.oaep, h, label, label.length, theirs, plain, message.length - 1) |
                0,
            ).toBe(-ERROR.value);
          }
        }
      }
      for (let round = 0; round < rounds; round++) {
        wasm.reset();
        const record = rsa.load(key, random);
        const message = random.bytes(random.pick([0, 1, k - 11, random.below(k - 11)]));
        const out = wasm.reserve(k);
        // Random bytes of all values, zeros among them.
        const fill = random.bytes(k).map((byte) => (byte < 64 ? 0 : byte));
        expect(wasm.call("rsaRandomSize", SCHEME.rsaes, 0, k, message.length)).toBe(k - 3 - message.length);
        expect(
          wasm.call("rsaEncrypt", key.n, bits, key.e, SCHEME.rsaes, 0, 0, 0, message, message.length, fill, out),
        ).toBe(0);
        const em = privateDecrypt({ key: key.privateKey, padding: NO_PADDING }, wasm.read(out, k));
        expect(em.subarray(0, 2).toString("hex")).toBe("0002");
        expect(em.indexOf(0, 2)).toBe(k - message.length - 1);
        expect(hex(em.subarray(k - message.length))).toBe(hex(message));
        const theirs = publicEncrypt({ key: key.publicKey, padding: constants.RSA_PKCS1_PADDING }, message);
        const plain = wasm.reserve(k);
        expect(wasm.call("rsaDecrypt", record, SCHEME.rsaes, 0, 0, 0, theirs, plain, k)).toBe(message.length);
        expect(hex(wasm.read(plain, message.length))).toBe(hex(message));
        const tooLong = random.bytes(k - 10);
        expect(
          wasm.call("rsaEncrypt", key.n, bits, key.e, SCHEME.rsaes, 0, 0, 0, tooLong, tooLong.length, fill, out),
        ).toBe(ERROR.value);
      }
    });
  });

  describe("wrong padding", () => {
    const bits = 1024;
    const k = bits / 8;
    const key = keyOf(bits);
    /** The cipher text whose decryption is em. */
    const encrypt = (em: Uint8Array) => publicEncrypt({ key: key.publicKey, padding: NO_PADDING }, em);
    const decrypt = (scheme: number, em: Uint8Array) => {
      wasm.reset();
      const out = wasm.reserve(k);
      const result = wasm.call("rsaDecrypt", rsa.load(key), scheme, 1, 0, 0, encrypt(em), out, k) | 0;
      return { result, out: wasm.read(out, k) };
    };
    const untouched = (out: Uint8Array) => out.every((byte) => byte === 0xa5);

    it("of RSAES is refused without a trace of the message", () => {
      const good = Uint8Array.from([0, 2, ...new Array(8).fill(9), 0, ...new Array(k - 11).fill(7)]);
      expect(decrypt(SCHEME.rsaes, good).result).toBe(k - 11);
      for (const change of [
        (em: Uint8Array) => em.set([1], 0),
        (em: Uint8Array) => em.set([1], 1),
        (em: Uint8Array) => em.set([0], 2),
        (em: Uint8Array) => em.set([0], 9),
        (em: Uint8Array) => em.fill(1, 2),
      ]) {
        const em = good.slice();
        change(em);
        const { result, out } = decrypt(SCHEME.rsaes, em);
        expect(result).toBe(-ERROR.value);
        expect(untouched(out)).toBe(true);
      }
    });

    it("of OAEP is refused without a trace of the message", () => {
      const random = new Seeded("wrong OAEP");
      const mask = (seed: Uint8Array, length: number) => {
        const parts: Buffer[] = [];
        for (let i = 0; parts.length * 32 < length; i++) {
          parts.push(
            createHash("sha256")
              .update(seed)
              .update(Uint8Array.of(0, 0, 0, i))
              .digest(),
          );
        }
        return Buffer.concat(parts).subarray(0, length);
      };
      const encode = (first: number, label: Uint8Array, tail: Uint8Array) => {
        const seed = random.bytes(32);
        const db = Buffer.concat([label, tail]);
        const masked = db.map((byte, i) => byte ^ (mask(seed, db.length)[i] as number));
        const maskedSeed = seed.map((byte, i) => byte ^ (mask(masked, 32)[i] as number));
        return Uint8Array.from([first, ...maskedSeed, ...masked]);
      };
      const label = createHash("sha256").digest();
      const tail = (...bytes: number[]) => Uint8Array.from([...bytes, ...new Array(k - 65 - bytes.length).fill(5)]);
      expect(decrypt(SCHEME.oaep, encode(0, label, tail(0, 0, 1))).result).toBe(k - 65 - 3);
      expect(decrypt(SCHEME.oaep, encode(0, label, tail(1))).result).toBe(k - 66);
      const wrongLabel = Uint8Array.from(label, (byte, i) => (i === 31 ? byte ^ 1 : byte));
      for (const em of [
        encode(1, label, tail(0, 0, 1)),
        encode(0, wrongLabel, tail(0, 0, 1)),
        encode(0, label, tail(0, 0, 2)),
        encode(0, label, tail(2, 1)),
        encode(0, label, tail().fill(0)),
      ]) {
        const { result, out } = decrypt(SCHEME.oaep, em);
        expect(result).toBe(-ERROR.value);
        expect(untouched(out)).toBe(true);
      }
    });
  });

  it("encrypts and decrypts without a scheme, numbers with leading zeros or without", () => {
    const key = keyOf(1024);
    const k = 128;
    const random = new Seeded("null scheme");
    for (const length of [0, 1, 20, k - 1, k, k + 5]) {
      wasm.reset();
      const message = random.bytes(length);
      message.fill(0, 0, Math.max(length - k, 0) + 1);
      const out = wasm.reserve(k);
      expect(wasm.call("rsaEncrypt", key.n, 1024, key.e, SCHEME.null, 0, 0, 0, message, length, 0, out)).toBe(0);
      expect(toBig(wasm.read(out, k))).toBe(modPow(toBig(message), 65537n, toBig(key.n)));
      const plain = wasm.reserve(k);
      expect(wasm.call("rsaDecrypt", rsa.load(key), SCHEME.null, 0, 0, 0, wasm.read(out, k), plain, k)).toBe(k);
      expect(toBig(wasm.read(plain, k))).toBe(toBig(message));
      expect(wasm.call("rsaDecrypt", rsa.load(key), SCHEME.null, 0, 0, 0, wasm.read(out, k), plain, k - 1) | 0).toBe(
        -ERROR.value,
      );
    }
    const out = wasm.reserve(k);
    const encrypt = (m: Uint8Array) =>
      wasm.call("rsaEncrypt", key.n, 1024, key.e, SCHEME.null, 0, 0, 0, m, m.length, 0, out);
    expect(encrypt(Uint8Array.from([1, ...key.n]))).toBe(ERROR.value);
    expect(encrypt(key.n)).toBe(ERROR.value);
  });

  it.each([3, 17, 257, 65539, 4294967291])("works with exponent %i", (e) => {
    wasm.reset();
    const key = generator.seededKey("exponents", 1024, e);
    const random = new Seeded(`exponent ${e}`);
    const record = rsa.load(key, random);
    for (let round = 0; round < 50; round++) {
      const input = below(toBig(key.n), random, 128);
      const output = rsa.private(record, 1024, input, random) as Uint8Array;
      expect(hex(output)).toBe(hex(privateEncrypt({ key: key.privateKey, padding: NO_PADDING }, input)));
      expect(hex(rsa.public(key, output) as Uint8Array)).toBe(hex(input));
    }
  });
});

/** An odd prime factor of an even number, found by trial division, that is no exponent for it. */
function smallFactor(even: bigint): number {
  for (let f = 3n; f < 1n << 31n; f += 2n) if (even % f === 0n) return Number(f);
  return 3;
}
