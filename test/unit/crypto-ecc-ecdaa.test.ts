import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { add, type CurveModel, mod, multiply, negate, randomBelow, toBig, toBytes } from "../support/ecc-model.ts";
import {
  accepts,
  byName,
  bytesOf,
  curves,
  digestOf,
  drawFor,
  HASHES,
  type Hash,
  SIGN_BAD_KEY,
  type Signature,
  signed,
  wasm,
} from "../support/ecc-sign.ts";
import { Seeded } from "../support/seeded.ts";

describe.each(curves)("ECDAA on $name", (curve) => {
  it("signs so that [s]G - [T]Q is the commitment", () => {
    const random = new Seeded(`ecdaa ${curve.name}`);
    for (let i = 0; i < 16; i++) {
      wasm.reset();
      const hash = HASHES[i % 4]!;
      const [d, r] = [0, 1].map(() => randomBelow(random, curve.n - 1n) + 1n) as [bigint, bigint];
      const digest = digestOf(hash, random.bytes(10));
      // Every fourth nonce has leading zero bytes, which do not enter the hash.
      const k = i % 4 === 3 ? 0x1234n : randomBelow(random, curve.n - 1n) + 1n;
      const signature = signed(
        curve,
        "ecdaaSign",
        HASHES.indexOf(hash),
        bytesOf(curve, d),
        bytesOf(curve, r),
        digest,
        digest.length,
        drawFor(curve, k),
      ) as Signature;
      expect(signature.r).toBe(k);
      const nonce = Buffer.from(k.toString(16).replace(/^(?=(..)*.$)/, "0"), "hex");
      const T = toBig(digestOf(hash, nonce, digest));
      expect(signature.s).toBe((r + T * d) % curve.n);
      const commitment = add(
        curve,
        multiply(curve, signature.s),
        negate(curve, multiply(curve, T, multiply(curve, d))),
      );
      expect(commitment).toEqual(multiply(curve, r));
    }
  });

  it("refuses keys and commitments that are no scalars", () => {
    const digest = digestOf("sha256", Buffer.from("x"));
    const draw = drawFor(curve, 5n);
    for (const [d, r] of [
      [0n, 1n],
      [1n, 0n],
      [curve.n, 1n],
      [1n, curve.n],
    ] as const) {
      expect(signed(curve, "ecdaaSign", 1, bytesOf(curve, d), bytesOf(curve, r), digest, digest.length, draw)).toBe(
        SIGN_BAD_KEY,
      );
    }
  });

  it("derives r of a commitment from the nonce, the Name and the counter", () => {
    const random = new Seeded(`commit ${curve.name}`);
    for (let i = 0; i < 8; i++) {
      wasm.reset();
      const [nonce, name, counter] = [random.bytes(64), random.bytes(34), BigInt(i) << 20n] as const;
      const out = wasm.reserve(curve.bytes);
      expect(wasm.call("ecdaaCommitScalar", curve.id, 3, nonce, 64, name, 34, counter, out)).toBe(1);
      expect(toBig(wasm.read(out, curve.bytes))).toBe(commitScalar(curve, nonce, name, counter));
    }
  });
});

/** KDFa (Part 1, 11.4.10.2) with SHA-512, block counters from 2 on, until the result is a fit scalar. */
function commitScalar(curve: CurveModel, nonce: Uint8Array, name: Uint8Array, counter: bigint): bigint {
  const word = (value: number) => toBytes(BigInt(value), 4);
  for (let block = 2; ; ) {
    const blocks: Uint8Array[] = [];
    for (let have = 0; have < curve.bytes; have += 64) {
      const message = [word(block++), Buffer.from("ECDAA Commit\0"), name, toBytes(counter, 8), word(8 * curve.bytes)];
      blocks.push(hmac(nonce, Buffer.concat(message)));
    }
    const bytes = Buffer.concat(blocks).subarray(0, curve.bytes);
    const r = toBig(bytes);
    if (r < curve.n && bytes.subarray(0, (curve.bytes >> 1) + 1).some((b) => b !== 0)) return r;
  }
}

function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  const block = new Uint8Array(128);
  block.set(key);
  const pad = (byte: number) => block.map((b) => b ^ byte);
  return digestOf("sha512", pad(0x5c), digestOf("sha512", pad(0x36), message));
}

interface Recorded {
  curve: string;
  x: string;
  y: string;
  m: string;
  b: string;
  d: string;
  ecdh: Record<"qex" | "qey" | "z1x" | "z1y" | "z2x" | "z2y", string>;
  signatures: { scheme: string; hash: Hash; digest: string; r: string; s: string; ex?: string; ey?: string }[];
}

const recorded: { curves: Recorded[] } = JSON.parse(
  readFileSync(new URL("../data/ecc/libtpms.json", import.meta.url), "utf8"),
);
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

describe.each(recorded.curves)("what libtpms answered on $curve", ({ curve: name, ecdh, signatures, ...key }) => {
  const curve = byName(name);
  const value = (text: string) => toBig(unhex(text));
  const Q = [value(key.x), value(key.y)] as const;

  it("the signatures are accepted", () => {
    for (const { scheme, hash, digest, r, s } of signatures) {
      if (scheme === "ecdaa") continue;
      wasm.reset();
      const argument = scheme === "ecschnorr" ? [HASHES.indexOf(hash)] : [];
      const signature = { r: value(r), s: value(s) };
      expect(accepts(curve, `${scheme}Verify`, argument, Q, unhex(digest), signature)).toBe(true);
    }
  });

  it("an ECDAA signature is ours for the same commitment and nonce", () => {
    for (const { scheme, hash, digest, r, s, ex, ey } of signatures) {
      if (scheme !== "ecdaa") continue;
      wasm.reset();
      // The commitment's scalar is inside the TPM; s gives it away to whoever knows d.
      const T = toBig(digestOf(hash, unhex(r), unhex(digest)));
      const commitment = mod(value(s) - T * value(key.d), curve.n);
      expect(multiply(curve, commitment * value(key.m))).toEqual([value(ex!), value(ey!)]);
      const ours = signed(
        curve,
        "ecdaaSign",
        HASHES.indexOf(hash),
        unhex(key.d),
        bytesOf(curve, commitment),
        unhex(digest),
        digest.length / 2,
        drawFor(curve, value(r)),
      );
      expect(ours).toEqual({ r: value(r), s: value(s) });
    }
  });

  it("the two-phase ECDH points are our products", () => {
    const product = (k: string, x: Uint8Array, y: Uint8Array) => {
      const [ox, oy] = [wasm.reserve(curve.bytes), wasm.reserve(curve.bytes)];
      expect(wasm.call("ecMultiply", curve.id, unhex(k), x, y, ox, oy)).toBe(1);
      return [toBig(wasm.read(ox, curve.bytes)), toBig(wasm.read(oy, curve.bytes))];
    };
    expect(product(key.m, unhex(key.x), unhex(key.y))).toEqual([value(ecdh.z1x), value(ecdh.z1y)]);
    expect(product(key.b, unhex(ecdh.qex), unhex(ecdh.qey))).toEqual([value(ecdh.z2x), value(ecdh.z2y)]);
  });
});
