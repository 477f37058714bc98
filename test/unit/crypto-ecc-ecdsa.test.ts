import { createECDH, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { invert, mod, multiply, randomBelow, toBig, toBytes } from "../support/ecc-model.ts";
import {
  accepts,
  byName,
  bytesOf,
  curves,
  digestOf,
  type Hash,
  type Signature,
  signed,
  wasm,
} from "../support/ecc-sign.ts";
import { Seeded } from "../support/seeded.ts";

const SIGNING: [string, string, Hash, number][] = [
  ["P192", "prime192v1", "sha256", 300],
  ["P224", "secp224r1", "sha512", 300],
  ["P256", "prime256v1", "sha256", 2000],
  ["P256", "prime256v1", "sha1", 200],
  ["P256", "prime256v1", "sha512", 200],
  ["P384", "secp384r1", "sha384", 500],
  ["P384", "secp384r1", "sha512", 100],
  ["P521", "secp521r1", "sha512", 250],
];

/** SubjectPublicKeyInfo and ECPrivateKey by hand: JWK knows no P-192 and P-224. */
function opensslKeys(name: string, d: Uint8Array) {
  const oids: Record<string, string> = {
    prime192v1: "06082a8648ce3d030101",
    secp224r1: "06052b81040021",
    prime256v1: "06082a8648ce3d030107",
    secp384r1: "06052b81040022",
    secp521r1: "06052b81040023",
  };
  const ecdh = createECDH(name);
  ecdh.setPrivateKey(d);
  const point = ecdh.getPublicKey();
  const der = (tag: number, ...parts: Uint8Array[]) => {
    const body = Buffer.concat(parts);
    const length = body.length < 128 ? [body.length] : [0x81, body.length];
    return Buffer.concat([Buffer.of(tag, ...length), body]);
  };
  const oid = Buffer.from(oids[name]!, "hex");
  const algorithm = der(0x30, Buffer.from("06072a8648ce3d0201", "hex"), oid);
  return {
    Q: [toBig(point.subarray(1, 1 + d.length)), toBig(point.subarray(1 + d.length))] as const,
    publicKey: createPublicKey({
      key: der(0x30, algorithm, der(3, Buffer.of(0), point)),
      format: "der",
      type: "spki",
    }),
    privateKey: createPrivateKey({
      key: der(0x30, Buffer.of(2, 1, 1), der(4, d), der(0xa0, oid)),
      format: "der",
      type: "sec1",
    }),
  };
}

describe("ECDSA and OpenSSL", () => {
  it.each(SIGNING)("%s accept each other's signatures (%s, %s, %i cases)", (name, other, hash, count) => {
    const curve = byName(name);
    const random = new Seeded(`ecdsa ${name} ${hash}`);
    for (let i = 0; i < count; i++) {
      wasm.reset();
      const d = randomBelow(random, curve.n - 1n) + 1n;
      const { Q, publicKey, privateKey } = opensslKeys(other, bytesOf(curve, d));
      const message = random.bytes(i % 100);
      const digest = digestOf(hash, message);
      const draw = random.bytes(curve.bytes + 8);
      const ours = signed(curve, "ecdsaSign", bytesOf(curve, d), digest, digest.length, draw) as Signature;
      const raw = Buffer.concat([bytesOf(curve, ours.r), bytesOf(curve, ours.s)]);
      expect(verify(hash, message, { key: publicKey, dsaEncoding: "ieee-p1363" }, raw)).toBe(true);
      const theirs = sign(hash, message, { key: privateKey, dsaEncoding: "ieee-p1363" });
      const r = toBig(theirs.subarray(0, curve.bytes));
      const s = toBig(theirs.subarray(curve.bytes));
      expect(accepts(curve, "ecdsaVerify", [], Q, digest, { r, s })).toBe(true);
      expect(accepts(curve, "ecdsaVerify", [], Q, digestOf(hash, message, Buffer.of(0)), { r, s })).toBe(false);
    }
  });
});

describe.each(curves)("crafted ECDSA signatures on $name", (curve) => {
  it("whose u1, u2 and key are small multiples of one another", () => {
    const { n } = curve;
    const most = curve.bits > 521 ? 4n : 8n;
    for (let u1 = 1n; u1 < most; u1++) {
      for (let u2 = 1n; u2 < most; u2++) {
        for (const d of [1n, 2n, 3n, 5n, n - 1n, n - 2n, n - 3n]) {
          wasm.reset();
          const R = multiply(curve, u1 + u2 * d);
          const r = R ? R[0] % n : 5n;
          const s = mod(r * invert(u2, n), n);
          const digest = toBytes(mod(u1 * s, n), curve.bytes);
          const aligned =
            curve.bits % 8 ? toBytes(mod(u1 * s, n) << BigInt(8 - (curve.bits % 8)), curve.bytes) : digest;
          expect(accepts(curve, "ecdsaVerify", [], multiply(curve, d), aligned, { r, s })).toBe(R !== null && r !== 0n);
        }
      }
    }
  });
});
