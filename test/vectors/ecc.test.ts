import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type CurveModel, toBig } from "../support/ecc-model.ts";
import { byName, bytesOf, wasm } from "../support/ecc-sign.ts";
import { acvp, describeVectors, unhex, wycheproof } from "../support/vectors.ts";

/** Names of hash functions in the vector files -> in node:crypto, and a digest length where it is free. */
const HASHES: Record<string, [string, number?]> = {
  "SHA-1": ["sha1"],
  "SHA2-224": ["sha224"],
  "SHA2-256": ["sha256"],
  "SHA2-384": ["sha384"],
  "SHA2-512": ["sha512"],
  "SHA2-512/224": ["sha512-224"],
  "SHA2-512/256": ["sha512-256"],
  "SHA3-224": ["sha3-224"],
  "SHA3-256": ["sha3-256"],
  "SHA3-384": ["sha3-384"],
  "SHA3-512": ["sha3-512"],
  "SHAKE-128": ["shake128", 32],
  "SHAKE-256": ["shake256", 64],
  "SHA-256": ["sha256"],
  "SHA-384": ["sha384"],
  "SHA-512": ["sha512"],
};

function digestOf(name: string, message: Uint8Array): Uint8Array {
  const [hash, outputLength] = HASHES[name]!;
  return new Uint8Array(
    createHash(hash, outputLength ? { outputLength } : {})
      .update(message)
      .digest(),
  );
}

/** A number of a vector file, or undefined when it has more bytes than the curve's numbers. */
function fitted(curve: CurveModel, hex: string): Uint8Array | undefined {
  const value = toBig(unhex(hex));
  return value < 1n << BigInt(8 * curve.bytes) ? bytesOf(curve, value) : undefined;
}

function verified(curve: CurveModel, x: string, y: string, digest: Uint8Array, r: string, s: string): boolean {
  const numbers = [x, y, r, s].map((hex) => fitted(curve, hex));
  if (numbers.some((v) => v === undefined)) return false;
  const [xb, yb, rb, sb] = numbers as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  return wasm.call("ecdsaVerify", curve.id, xb, yb, digest, digest.length, rb, sb) === 1;
}

interface SigVerCase {
  tcId: number;
  /** Of a randomised hash (SP 800-106), whose input has no whole number of bytes: not for a verifier that is given digests. */
  randomValue?: string;
  testPassed: boolean;
  message: string;
  qx: string;
  qy: string;
  r: string;
  s: string;
}

interface Wycheproof {
  tcId: number;
  msg: string;
  sig: string;
  result: "valid" | "invalid";
}

interface Exchange {
  tcId: number;
  public: string;
  private: string;
  shared: string;
  result: "valid" | "invalid" | "acceptable";
}

const primeCurve = (name: string) => (/^P-\d+$/.test(name) ? byName(name.replace("-", "")) : undefined);

describeVectors("ECC vectors", () => {
  it.each(["ECDSA-SigVer-1.0", "ECDSA-SigVer-FIPS186-5"])("%s", (file) => {
    let count = 0;
    for (const { curve: name, hashAlg, tests } of acvp<{ curve: string; hashAlg: string }, SigVerCase>(file)) {
      const curve = primeCurve(name);
      if (!curve) continue;
      for (const { tcId, randomValue, message, qx, qy, r, s, testPassed } of tests) {
        if (randomValue !== undefined) continue;
        wasm.reset();
        expect(verified(curve, qx, qy, digestOf(hashAlg, unhex(message)), r, s), `case ${tcId}`).toBe(testPassed);
        count++;
      }
    }
    expect(count).toBeGreaterThan(100);
  });

  it("ECDSA-KeyVer-FIPS186-5", () => {
    let count = 0;
    type Case = { tcId: number; qx: string; qy: string; testPassed: boolean };
    for (const { curve: name, tests } of acvp<{ curve: string }, Case>("ECDSA-KeyVer-FIPS186-5")) {
      const curve = primeCurve(name);
      if (!curve) continue;
      for (const { tcId, qx, qy, testPassed } of tests) {
        wasm.reset();
        const [x, y] = [fitted(curve, qx), fitted(curve, qy)];
        const valid = x !== undefined && y !== undefined && wasm.call("ecPointValid", curve.id, x, y) === 1;
        expect(valid, `case ${tcId}`).toBe(testPassed);
        count++;
      }
    }
    expect(count).toBeGreaterThanOrEqual(9);
  });

  it("KAS-ECC-CDH-Component-Sp800-56Ar3", () => {
    interface Case {
      tcId: number;
      privateIut: string;
      publicServerX: string;
      publicServerY: string;
      publicIutX: string;
      publicIutY: string;
      z: string;
    }
    let count = 0;
    for (const { curve: name, tests } of acvp<{ curve: string }, Case>("KAS-ECC-CDH-Component-Sp800-56Ar3")) {
      const curve = primeCurve(name);
      if (!curve) continue;
      for (const test of tests) {
        wasm.reset();
        const [x, y] = [wasm.reserve(curve.bytes), wasm.reserve(curve.bytes)];
        const number = (hex: string) => fitted(curve, hex)!;
        const d = number(test.privateIut);
        const server = [number(test.publicServerX), number(test.publicServerY)];
        expect(wasm.call("ecMultiply", curve.id, d, ...server, x, y)).toBe(1);
        expect(wasm.read(x, curve.bytes), `case ${test.tcId}`).toEqual(number(test.z));
        expect(wasm.call("ecPublic", curve.id, d, x, y)).toBe(1);
        expect(wasm.read(x, curve.bytes)).toEqual(number(test.publicIutX));
        expect(wasm.read(y, curve.bytes)).toEqual(number(test.publicIutY));
        count++;
      }
    }
    expect(count).toBeGreaterThanOrEqual(25);
  });

  describe.each([
    ["P224", "secp224r1_sha256"],
    ["P256", "secp256r1_sha256"],
    ["P256", "secp256r1_sha512"],
    ["P384", "secp384r1_sha384"],
    ["P521", "secp521r1_sha512"],
  ])("%s: Wycheproof ecdsa_%s_p1363", (name, file) => {
    it("accepts what is valid and nothing else", () => {
      const curve = byName(name);
      type Fields = { sha: string; publicKey: { wx: string; wy: string } };
      let count = 0;
      for (const { sha, publicKey, tests } of wycheproof<Fields, Wycheproof>(`ecdsa_${file}_p1363_test`)) {
        for (const { tcId, msg, sig, result } of tests) {
          wasm.reset();
          // The format says how long r and s are; other lengths are no signature.
          const ok =
            sig.length === 4 * curve.bytes &&
            verified(
              curve,
              publicKey.wx,
              publicKey.wy,
              digestOf(sha, unhex(msg)),
              sig.slice(0, 2 * curve.bytes),
              sig.slice(2 * curve.bytes),
            );
          expect(ok, `case ${tcId}`).toBe(result === "valid");
          count++;
        }
      }
      expect(count).toBeGreaterThan(200);
    });
  });

  describe.each([
    ["P224", "secp224r1"],
    ["P256", "secp256r1"],
    ["P384", "secp384r1"],
    ["P521", "secp521r1"],
  ])("%s: Wycheproof ecdh_%s_ecpoint", (name, file) => {
    it("agrees on the secrets of valid points and refuses the others", () => {
      const curve = byName(name);
      let count = 0;
      for (const { tests } of wycheproof<object, Exchange>(`ecdh_${file}_ecpoint_test`)) {
        for (const test of tests) {
          const point = unhex(test.public);
          // Points are uncompressed in a TPM.
          if (point[0] !== 4 || point.length !== 2 * curve.bytes + 1) continue;
          wasm.reset();
          const [x, y] = [wasm.reserve(curve.bytes), wasm.reserve(curve.bytes)];
          const k = fitted(curve, test.private)!;
          const coordinates = [point.slice(1, 1 + curve.bytes), point.slice(1 + curve.bytes)];
          const answer = wasm.call("ecMultiply", curve.id, k, ...coordinates, x, y);
          expect(answer, `case ${test.tcId}`).toBe(test.result === "valid" ? 1 : 0);
          if (answer) expect(wasm.read(x, curve.bytes), `case ${test.tcId}`).toEqual(unhex(test.shared));
          count++;
        }
      }
      expect(count).toBeGreaterThan(200);
    });
  });
});
