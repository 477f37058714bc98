// RSA and the primality test against NIST ACVP and Wycheproof. A TPM's public exponent has 32 bits at most; ACVP's signatures
// are mostly by longer ones, so that there only the encoding is ours and the power is BigInt's.
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { ERROR, modPow, RSA_HASHES, RsaModule, rsaVariants, SCHEME, toBig, toBytes } from "../support/rsa.ts";
import { Seeded } from "../support/seeded.ts";
import { acvp, describeVectors, unhex, wycheproof } from "../support/vectors.ts";

const OPENSSL_NAME = new Map([
  ["SHA-1", "sha1"],
  ["SHA2-256", "sha256"],
  ["SHA2-384", "sha384"],
  ["SHA2-512", "sha512"],
  ["SHA-256", "sha256"],
  ["SHA-384", "sha384"],
  ["SHA-512", "sha512"],
  ["SHA3-256", "sha3-256"],
  ["SHA3-384", "sha3-384"],
  ["SHA3-512", "sha3-512"],
]);
/** Hash id and digest function by the vectors' name for the hash. */
function hashOf(name: string) {
  const openssl = OPENSSL_NAME.get(name);
  if (!openssl) return undefined;
  const id = RSA_HASHES.indexOf(openssl as (typeof RSA_HASHES)[number]);
  return { id, digest: (message: Uint8Array) => createHash(openssl).update(message).digest() };
}
const big = (text: string) => toBig(unhex(text.length % 2 ? `0${text}` : text));

interface AcvpSignatureGroup {
  sigType: string;
  hashAlg: string;
  maskFunction?: string;
  modulo: number;
  conformance?: string;
  n: string;
  e: string;
}
interface AcvpSignature {
  testPassed?: boolean;
  message: string;
  signature: string;
  randomValue?: string;
}
interface AcvpPrimitive {
  testPassed: boolean;
  n: string;
  e: string;
  p: string;
  q: string;
  message?: string;
  signature?: string;
  ct?: string;
  pt?: string;
}
interface WycheproofKey {
  modulus: string;
  publicExponent: string;
  privateExponent: string;
  prime1: string;
}
interface WycheproofGroup {
  keySize: number;
  sha: string;
  publicKey: WycheproofKey;
  privateKey: WycheproofKey;
}
interface WycheproofCase {
  tcId: number;
  comment: string;
  flags: string[];
  result: "valid" | "invalid" | "acceptable";
  msg: string;
  sig: string;
  ct: string;
  label?: string;
  value: string;
}

for (const { name, module } of rsaVariants()) {
  const rsa = new RsaModule(module);
  const { wasm } = rsa;

  /** Whether a signature verifies; through the module alone where the exponent allows it. */
  const verifies = (
    n: bigint,
    bits: number,
    e: bigint,
    scheme: number,
    hash: number,
    digest: Uint8Array,
    s: Uint8Array,
  ) => {
    wasm.reset();
    const k = bits / 8;
    if (s.length !== k) return false;
    if (e < 1n << 32n) {
      const args = [scheme, hash, digest, digest.length, s] as const;
      return wasm.call("rsaVerify", toBytes(n, k), bits, Number(e), ...args) === 0;
    }
    if (toBig(s) >= n) return false;
    const check = scheme === SCHEME.rsapss ? "rsaCheckPss" : "rsaCheckSsa";
    return wasm.call(check, toBytes(modPow(toBig(s), e, n), k), k, hash, digest, digest.length) === 0;
  };

  describeVectors(`${name}: RSA signatures`, () => {
    it.each([
      ["RSA-SigVer-FIPS186-4", 144],
      ["RSA-SigVer-FIPS186-5", 126],
      ["RSA-SigGen-FIPS186-5", 23],
    ])("ACVP %s", (file, expected) => {
      let cases = 0;
      for (const group of acvp<AcvpSignatureGroup, AcvpSignature>(file)) {
        const hash = hashOf(group.hashAlg);
        const scheme = { "pkcs1v1.5": SCHEME.rsassa, pss: SCHEME.rsapss }[group.sigType];
        const masks = group.maskFunction === undefined || ["none", "mgf1"].includes(group.maskFunction);
        if (!hash || !scheme || !masks || group.conformance) continue;
        const [n, e] = [big(group.n), big(group.e)];
        for (const test of group.tests) {
          const digest = hash.digest(unhex(test.message));
          const signature = unhex(test.signature);
          expect(verifies(n, group.modulo, e, scheme, hash.id, digest, signature)).toBe(test.testPassed ?? true);
          cases++;
        }
      }
      expect(cases).toBe(expected);
    });

    const files = ["2048_sha256", "2048_sha384", "2048_sha512", "3072_sha256", "3072_sha384", "3072_sha512"];
    files.push("4096_sha256", "4096_sha384", "4096_sha512");
    it.each(files)("Wycheproof RSASSA %s", (file) => {
      let cases = 0;
      for (const group of wycheproof<WycheproofGroup, WycheproofCase>(`rsa_signature_${file}_test`)) {
        const hash = hashOf(group.sha);
        if (!hash) throw new Error(group.sha);
        const [n, e] = [big(group.publicKey.modulus), big(group.publicKey.publicExponent)];
        for (const test of group.tests) {
          const digest = hash.digest(unhex(test.msg));
          const result = verifies(n, group.keySize, e, SCHEME.rsassa, hash.id, digest, unhex(test.sig));
          // The encoding without NULL is acceptable to some; it is not the one a TPM compares with.
          expect(result, `${test.tcId} ${test.comment}`).toBe(test.result === "valid");
          cases++;
        }
      }
      expect(cases).toBeGreaterThan(250);
    });

    it.each([
      "2048_sha1_mgf1_20",
      "2048_sha256_mgf1_0",
      "2048_sha256_mgf1_32",
      "2048_sha384_mgf1_48",
      "3072_sha256_mgf1_32",
      "4096_sha256_mgf1_32",
    ])("Wycheproof PSS %s", (file) => {
      let cases = 0;
      for (const group of wycheproof<WycheproofGroup, WycheproofCase>(`rsa_pss_${file}_test`)) {
        const hash = hashOf(group.sha);
        if (!hash) throw new Error(group.sha);
        const [n, e] = [big(group.publicKey.modulus), big(group.publicKey.publicExponent)];
        for (const test of group.tests) {
          const digest = hash.digest(unhex(test.msg));
          const result = verifies(n, group.keySize, e, SCHEME.rsapss, hash.id, digest, unhex(test.sig));
          // libtpms takes a salt of any length.
          const otherSalt = /^s_len changed to/.test(test.comment);
          expect(result, `${test.tcId} ${test.comment}`).toBe(test.result === "valid" || otherSalt);
          cases++;
        }
      }
      expect(cases).toBeGreaterThan(80);
    });

    it("Wycheproof RSASSA signature generation", () => {
      let cases = 0;
      for (const group of wycheproof<WycheproofGroup, WycheproofCase>("rsa_pkcs1_2048_sig_gen_test")) {
        const hash = hashOf(group.sha);
        if (!hash || group.keySize % 1024 !== 0) continue;
        const [n, e] = [big(group.privateKey.modulus), big(group.privateKey.publicExponent)];
        const p = primeOf(n, e, big(group.privateKey.privateExponent));
        // Some keys have primes of different sizes; a TPM's have not.
        if (p >> BigInt(group.keySize / 2 - 1) !== 1n) continue;
        for (const test of group.tests) {
          wasm.reset();
          const k = group.keySize / 8;
          const key = { bits: group.keySize, e: Number(e), n: toBytes(n, k), p: toBytes(p, k / 2) };
          const out = wasm.reserve(k);
          const digest = hash.digest(unhex(test.msg));
          expect(wasm.call("rsaSign", rsa.load(key), SCHEME.rsassa, hash.id, digest, digest.length, 0, out)).toBe(0);
          expect(Buffer.from(wasm.read(out, k)).toString("hex")).toBe(test.sig);
          cases++;
        }
      }
      expect(cases).toBe(32);
    });
  });

  describeVectors(`${name}: RSA primitives and encryption`, () => {
    it.each([
      ["RSA-SignaturePrimitive-2.0", 90],
      ["RSA-DecryptionPrimitive-Sp800-56Br2", 4],
    ])("ACVP %s", (file, expected) => {
      let cases = 0;
      for (const group of acvp<{ modulo: number }, AcvpPrimitive>(file)) {
        for (const test of group.tests) {
          if (big(test.e) >= 1n << 32n) continue;
          wasm.reset();
          const bits = group.modulo;
          const k = bits / 8;
          const key = { bits, e: Number(big(test.e)), n: toBytes(big(test.n), k), p: toBytes(big(test.p), k / 2) };
          const input = toBytes(big((test.message ?? test.ct) as string), k);
          const output = rsa.private(rsa.load(key), bits, input, new Seeded("primitive"));
          if (test.testPassed) expect(toBig(output as Uint8Array)).toBe(big((test.signature ?? test.pt) as string));
          // SP 800-56B also refuses 0, 1 and n - 1, which a TPM does not.
          else if (toBig(input) < toBig(key.n) - 1n) expect.unreachable("nothing is wrong with this number");
          else if (toBig(input) >= toBig(key.n)) expect(output).toBe(ERROR.range);
          cases++;
        }
      }
      expect(cases).toBe(expected);
    });

    const decrypts = (group: WycheproofGroup, test: WycheproofCase, scheme: number, hash: number) => {
      wasm.reset();
      const k = group.keySize / 8;
      const [n, p] = [big(group.privateKey.modulus), big(group.privateKey.prime1)];
      const e = Number(big(group.privateKey.publicExponent));
      const record = rsa.load({ bits: group.keySize, e, n: toBytes(n, k), p: toBytes(p, k / 2) });
      const [label, ct] = [unhex(test.label ?? ""), unhex(test.ct)];
      if (ct.length !== k) return undefined;
      const out = wasm.reserve(k);
      const length = wasm.call("rsaDecrypt", record, scheme, hash, label, label.length, ct, out, k) | 0;
      return length < 0 ? undefined : Buffer.from(wasm.read(out, length)).toString("hex");
    };

    it.each([
      "2048_sha1_mgf1sha1",
      "2048_sha256_mgf1sha256",
      "2048_sha384_mgf1sha384",
      "2048_sha512_mgf1sha512",
      "3072_sha256_mgf1sha256",
      "4096_sha256_mgf1sha256",
    ])("Wycheproof OAEP %s", (file) => {
      let cases = 0;
      for (const group of wycheproof<WycheproofGroup, WycheproofCase>(`rsa_oaep_${file}_test`)) {
        for (const test of group.tests) {
          const result = decrypts(group, test, SCHEME.oaep, hashOf(group.sha)?.id as number);
          expect(result, `${test.tcId} ${test.comment}`).toBe(test.result === "valid" ? test.msg : undefined);
          cases++;
        }
      }
      expect(cases).toBeGreaterThan(30);
    });

    it("Wycheproof RSAES", () => {
      let cases = 0;
      for (const group of wycheproof<WycheproofGroup, WycheproofCase>("rsa_pkcs1_2048_test")) {
        for (const test of group.tests) {
          const result = decrypts(group, test, SCHEME.rsaes, 0);
          expect(result, `${test.tcId} ${test.comment}`).toBe(test.result === "valid" ? test.msg : undefined);
          cases++;
        }
      }
      expect(cases).toBe(67);
    });
  });

  describeVectors(`${name}: primality`, () => {
    it("Wycheproof: numbers of a prime's size, two by two", () => {
      const random = new Seeded("primality bases");
      let cases = 0;
      for (const group of wycheproof<object, WycheproofCase>("primality_test")) {
        for (const test of group.tests) {
          const value = big(test.value);
          const bits = value.toString(2).length;
          if (![512, 1024, 1536, 2048].includes(bits) || !(value & 1n)) continue;
          wasm.reset();
          wasm.call("montSelect", bits);
          const words = (v: bigint) => toBytes(v, bits / 8).reverse();
          const w = words(value);
          // Eight rounds with random bases.
          let passed = true;
          for (let round = 0; round < 4 && passed; round++) {
            const [a, b] = [0, 1].map(() => words((toBig(random.bytes(bits / 8)) % (value - 3n)) + 2n)) as [
              Uint8Array,
              Uint8Array,
            ];
            wasm.call("millerRabinStart", w, a, b, bits / 32, round === 0 ? 0 : 1);
            while (wasm.call("millerRabinRun", 50) === 0);
            passed = wasm.call("millerRabinResult") === 3;
          }
          expect(passed, `${test.tcId} ${test.comment}`).toBe(test.result === "valid");
          cases++;
        }
      }
      expect(cases).toBe(16);
    });
  });
}

/** A prime factor of n, from the private exponent. */
function primeOf(n: bigint, e: bigint, d: bigint): bigint {
  let odd = e * d - 1n;
  let twos = 0;
  while (!(odd & 1n)) {
    odd >>= 1n;
    twos++;
  }
  for (let g = 2n; ; g++) {
    let x = modPow(g, odd, n);
    for (let i = 0; i < twos; i++) {
      const y = (x * x) % n;
      if (y === 1n && x !== 1n && x !== n - 1n) {
        let [a, b] = [x - 1n, n];
        while (b > 0n) [a, b] = [b, a % b];
        return a;
      }
      x = y;
    }
  }
}
