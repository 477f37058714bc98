import { describe, expect, it } from "vitest";
import {
  add,
  type CurveModel,
  invert,
  mod,
  multiply,
  type Point,
  randomBelow,
  toBig,
  toBytes,
} from "../support/ecc-model.ts";
import {
  accepts,
  bytesOf,
  curves,
  digestOf,
  drawFor,
  HASHES,
  type Hash,
  leftmost,
  nonceOf,
  schnorrChallenge,
  SIGN_AGAIN,
  SIGN_BAD_KEY,
  type Signature,
  signed,
  wasm,
} from "../support/ecc-sign.ts";
import { Seeded } from "../support/seeded.ts";

/** Each scheme by its definition. */
const schemes = {
  ecdsa: {
    hashed: false,
    sign(curve: CurveModel, _hash: Hash, d: bigint, k: bigint, digest: Uint8Array): Signature {
      const r = multiply(curve, k)![0] % curve.n;
      return { r, s: mod(invert(k, curve.n) * (leftmost(curve, digest) + r * d), curve.n) };
    },
  },
  ecschnorr: {
    hashed: true,
    sign(curve: CurveModel, hash: Hash, d: bigint, k: bigint, digest: Uint8Array): Signature {
      const r = schnorrChallenge(curve, hash, multiply(curve, k), digest);
      return { r, s: (k + r * d) % curve.n };
    },
  },
  sm2: {
    hashed: false,
    sign({ n, ...rest }: CurveModel, _hash: Hash, d: bigint, k: bigint, digest: Uint8Array): Signature {
      const r = (toBig(digest) + multiply({ n, ...rest }, k)![0]) % n;
      return { r, s: mod(invert(1n + d, n) * (k - r * d), n) };
    },
  },
};

const cases = curves.flatMap((curve) =>
  Object.entries(schemes).map(([scheme, definition]) => ({ curve, name: curve.name, scheme, ...definition })),
);

describe.each(cases)("$scheme on $name", ({ curve, scheme, hashed, sign: define }) => {
  const random = new Seeded(`${scheme} on ${curve.name}`);
  const hashArgument = (hash: Hash) => (hashed ? [HASHES.indexOf(hash)] : []);
  const newKey = () => {
    const d = randomBelow(random, curve.n - 2n) + 1n;
    return { d, Q: multiply(curve, d) };
  };
  const signWith = (hash: Hash, d: bigint, digest: Uint8Array, draw: Uint8Array) =>
    signed(curve, `${scheme}Sign`, ...hashArgument(hash), bytesOf(curve, d), digest, digest.length, draw);
  const verifyWith = (hash: Hash, Q: Point, digest: Uint8Array, signature: Signature) =>
    accepts(curve, `${scheme}Verify`, hashArgument(hash), Q, digest, signature);

  it("signs as defined, and accepts the signature and nothing near it", () => {
    for (let i = 0; i < 24; i++) {
      wasm.reset();
      const hash = HASHES[i % 4]!;
      const { d, Q } = newKey();
      const digest = digestOf(hash, random.bytes(20));
      const draw = random.bytes(curve.bytes + 8);
      const signature = define(curve, hash, d, nonceOf(curve, draw), digest);
      expect(signWith(hash, d, digest, draw)).toEqual(signature);
      expect(verifyWith(hash, Q, digest, signature)).toBe(true);
      const { r, s } = signature;
      const other = digest.slice();
      other[i % other.length]! ^= 1 << (i & 7);
      // Bits of a digest that are beyond the order's do not count in ECDSA.
      const counted = scheme !== "ecdsa" || leftmost(curve, other) !== leftmost(curve, digest);
      expect(verifyWith(hash, Q, other, signature)).toBe(!counted);
      expect(verifyWith(hash, Q, digest, { r: r ^ 1n, s })).toBe(false);
      expect(verifyWith(hash, Q, digest, { r, s: s ^ 1n })).toBe(false);
      expect(verifyWith(hash, add(curve, Q, curve.g), digest, signature)).toBe(false);
      if (scheme !== "ecdsa") expect(verifyWith(hash, Q, digest, { r, s: curve.n - s })).toBe(false);
      else expect(verifyWith(hash, Q, digest, { r, s: curve.n - s })).toBe(true);
    }
  });

  it("signs with edge keys and nonces", () => {
    const { n } = curve;
    const digest = digestOf("sha256", Buffer.from("edge"));
    for (const d of [1n, 2n, 3n, (n - 1n) / 2n, (n + 1n) / 2n, n - 3n, n - 2n]) {
      for (const k of [1n, 2n, (n + 1n) / 2n, n - 2n, n - 1n]) {
        wasm.reset();
        const signature = define(curve, "sha256", d, k, digest);
        if (signature.r === 0n || signature.s === 0n) continue;
        expect(signWith("sha256", d, digest, drawFor(curve, k))).toEqual(signature);
        expect(verifyWith("sha256", multiply(curve, d), digest, signature)).toBe(true);
      }
    }
  });

  it("refuses r and s of 0, of n, and more", () => {
    const { d, Q } = newKey();
    const digest = digestOf("sha256", Buffer.from("range"));
    const { r, s } = signWith("sha256", d, digest, random.bytes(curve.bytes + 8)) as Signature;
    const largest = (1n << BigInt(8 * curve.bytes)) - 1n;
    for (const bad of [0n, curve.n, largest]) {
      expect(verifyWith("sha256", Q, digest, { r: bad, s })).toBe(false);
      expect(verifyWith("sha256", Q, digest, { r, s: bad })).toBe(false);
    }
    if (r + curve.n <= largest) expect(verifyWith("sha256", Q, digest, { r: r + curve.n, s })).toBe(false);
    if (s + curve.n <= largest) expect(verifyWith("sha256", Q, digest, { r, s: s + curve.n })).toBe(false);
  });

  it("refuses a key off the curve", () => {
    const { d, Q } = newKey();
    const digest = digestOf("sha256", Buffer.from("off"));
    const signature = signWith("sha256", d, digest, random.bytes(curve.bytes + 8)) as Signature;
    expect(verifyWith("sha256", [Q![0], mod(Q![1] + 1n, curve.p)], digest, signature)).toBe(false);
    expect(verifyWith("sha256", [0n, 0n], digest, signature)).toBe(false);
  });

  it("refuses private keys of 0, of n, and more", () => {
    const digest = digestOf("sha256", Buffer.from("key"));
    const bad = [0n, curve.n, (1n << BigInt(8 * curve.bytes)) - 1n, ...(scheme === "sm2" ? [curve.n - 1n] : [])];
    for (const d of bad) expect(signWith("sha256", d, digest, random.bytes(curve.bytes + 8))).toBe(SIGN_BAD_KEY);
  });
});

describe.each(curves)("signatures that would be 0 on $name", (curve) => {
  const { n } = curve;
  const k = 12345n;
  const draw = drawFor(curve, k);
  const x = multiply(curve, k)![0];
  const digestOfValue = (e: bigint) => toBytes(e, Math.min(64, curve.bytes));

  it("ECDSA asks for another nonce when s is 0", () => {
    // e + r*d = 0 for a digest of at most 64 bytes: choose e, then d.
    const r = x % n;
    const e = curve.bits > 512 ? 77n : n - 5n;
    const digest = digestOfValue((e % n) >> (curve.bits % 8 ? 0n : 0n));
    const d = mod(-leftmost(curve, digest) * invert(r, n), n);
    expect(signed(curve, "ecdsaSign", bytesOf(curve, d), digest, digest.length, draw)).toBe(SIGN_AGAIN);
  });

  it("SM2 asks for another nonce when r is 0, r + k is n, or s is 0", () => {
    if (curve.bits > 512) return;
    for (const e of [mod(-x, n), mod(-x - k, n)]) {
      const digest = digestOfValue(e);
      expect(signed(curve, "sm2Sign", bytesOf(curve, 99n), digest, digest.length, draw)).toBe(SIGN_AGAIN);
    }
    const digest = digestOfValue(7n);
    const d = mod(k * invert((7n + x) % n, n), n);
    expect(signed(curve, "sm2Sign", bytesOf(curve, d), digest, digest.length, draw)).toBe(SIGN_AGAIN);
  });

  it("SM2 accepts no signature with r + s = n, whatever it would verify", () => {
    if (curve.bits > 512) return;
    const s = 4711n;
    const r = n - s;
    const digest = digestOfValue(mod(r - multiply(curve, s)![0], n));
    expect(accepts(curve, "sm2Verify", [], multiply(curve, 5n), digest, { r, s })).toBe(false);
  });

  it("Schnorr and ECDAA ask for another nonce when s is 0", () => {
    const digest = digestOf("sha256", Buffer.from("zero"));
    const challenge = schnorrChallenge(curve, "sha256", multiply(curve, k), digest);
    const d = mod(-k * invert(challenge, n), n);
    expect(signed(curve, "ecschnorrSign", 1, bytesOf(curve, d), digest, digest.length, draw)).toBe(SIGN_AGAIN);
    const T = toBig(digestOf("sha256", Buffer.from("3039", "hex"), digest)) % n;
    const r = mod(-T * 99n, n);
    expect(signed(curve, "ecdaaSign", 1, bytesOf(curve, 99n), bytesOf(curve, r), digest, digest.length, draw)).toBe(
      SIGN_AGAIN,
    );
  });
});
