import { createECDH, getCurves } from "node:crypto";
import { p256, p384, p521 } from "@noble/curves/nist.js";
import { describe, expect, it } from "vitest";
import {
  add,
  type CurveModel,
  curveModels,
  edgeScalars,
  isOnCurve,
  multiply,
  negate,
  type Point,
  power,
  randomBelow,
  toBig,
  toBytes,
} from "../support/ecc-model.ts";
import { Seeded } from "../support/seeded.ts";
import { loadHarness } from "../support/wasm-harness.ts";

const wasm = loadHarness("crypto-ecc");
const curves = curveModels(wasm);
const named = Object.fromEntries(curves.map((curve) => [curve.name, curve])) as Record<string, CurveModel>;

/** Calls a function whose last two arguments receive a point; null when it answers 0. */
function pointOf(curve: CurveModel, name: string, ...args: (number | Uint8Array)[]): Point {
  const x = wasm.reserve(curve.bytes);
  const y = wasm.reserve(curve.bytes);
  const untouched = wasm.read(x, curve.bytes);
  const placed = args.map((a) => (a instanceof Uint8Array ? wasm.place(a) : a));
  if (wasm.call(name, curve.id, ...placed, x, y) === 0) {
    expect(wasm.read(x, curve.bytes)).toEqual(untouched);
    return null;
  }
  return [toBig(wasm.read(x, curve.bytes)), toBig(wasm.read(y, curve.bytes))];
}

const scalar = (curve: CurveModel, k: bigint) => toBytes(k, curve.bytes);
const coordinates = (curve: CurveModel, P: Point) =>
  [toBytes(P![0], curve.bytes), toBytes(P![1], curve.bytes)] as const;
const publicOf = (curve: CurveModel, d: bigint) => pointOf(curve, "ecPublic", scalar(curve, d));
const product = (curve: CurveModel, k: bigint, P: Point) =>
  pointOf(curve, "ecMultiply", scalar(curve, k), ...coordinates(curve, P));

function sum(curve: CurveModel, u: bigint, P: Point, v: bigint, Q: Point): Point {
  const first: (number | Uint8Array)[] = P ? [...coordinates(curve, P)] : [0, 0];
  return pointOf(curve, "ecMultiplyAdd", scalar(curve, u), ...first, scalar(curve, v), ...coordinates(curve, Q));
}

/** The same point as OpenSSL computes it. */
function openssl(name: string, bytes: number, d: Uint8Array): Point {
  const ecdh = createECDH(name);
  ecdh.setPrivateKey(d);
  const point = ecdh.getPublicKey();
  return [toBig(point.subarray(1, 1 + bytes)), toBig(point.subarray(1 + bytes))];
}

const OPENSSL: [string, string, number][] = [
  ["P192", "prime192v1", 600],
  ["P224", "secp224r1", 600],
  ["P256", "prime256v1", 4000],
  ["P384", "secp384r1", 1500],
  ["P521", "secp521r1", 600],
];
/** Newer versions of OpenSSL make keys on SM2's curve but no ECDH. */
const WITHOUT_ECDH: typeof OPENSSL = getCurves().includes("SM2") ? [["SM2", "SM2", 600]] : [];

describe("curve parameters", () => {
  it.each(curves)("$name is a curve of prime order with its generator on it", (curve) => {
    const { p, n, g } = curve;
    for (const prime of [p, n]) {
      expect(prime.toString(2).length).toBe(curve.bits);
      for (const base of [2n, 3n, 5n, 7n]) expect(power(base, prime - 1n, prime)).toBe(1n);
    }
    expect(isOnCurve(curve, g!)).toBe(true);
    expect(add(curve, multiply(curve, n - 1n), g)).toBeNull();
    // Hasse's bound leaves no other multiple of n: the cofactor is 1.
    expect((p + 1n - n) ** 2n <= 4n * p).toBe(true);
    expect(wasm.call("curveOrderBytes", curve.id)).toBe(Math.ceil(curve.bits / 8));
    expect(wasm.call("curveFieldBytes", curve.id)).toBe(Math.ceil(curve.bits / 8));
  });

  it.each([
    ["P256", p256],
    ["P384", p384],
    ["P521", p521],
  ] as const)("%s is the curve others call so", (name, other) => {
    const { p, a, b, n, g } = named[name]!;
    const { p: q, a: a2, b: b2, n: n2, Gx, Gy } = other.Point.CURVE();
    expect([p, a, b, n, ...g!]).toEqual([q, a2, b2, n2, Gx, Gy]);
  });

  it.each([...OPENSSL, ...WITHOUT_ECDH])("%s has the generator of OpenSSL's %s", (name, other) => {
    const curve = named[name]!;
    expect(openssl(other, curve.bytes, scalar(curve, 1n))).toEqual(curve.g);
  });

  it("BN-256 and BN-638 belong to the family of Barreto and Naehrig", () => {
    for (const [name, u] of [
      ["BN256", -7530851732716300289n],
      ["BN638", 2n ** 158n - 2n ** 128n - 2n ** 68n + 1n],
    ] as const) {
      const { p, n } = named[name]!;
      expect(p).toBe(36n * u ** 4n + 36n * u ** 3n + 24n * u ** 2n + 6n * u + 1n);
      expect(p + 1n - n).toBe(6n * u ** 2n + 1n);
    }
  });
});

describe("keys", () => {
  it.each([...OPENSSL, ...WITHOUT_ECDH])("%s public keys are OpenSSL's (%s, %i cases)", (name, other, cases) => {
    const curve = named[name]!;
    const random = new Seeded(`public keys of ${name}`);
    for (let i = 0; i < cases; i++) {
      wasm.reset();
      const d = randomBelow(random, curve.n - 1n) + 1n;
      expect(publicOf(curve, d)).toEqual(openssl(other, curve.bytes, scalar(curve, d)));
    }
  });

  it.each(curves)("$name: [d]G of edge and random scalars", (curve) => {
    const random = new Seeded(`scalars of ${curve.name}`);
    const more = Array.from({ length: 60 }, () => randomBelow(random, curve.n - 1n) + 1n);
    for (const d of [...edgeScalars(curve), ...more]) {
      wasm.reset();
      expect(publicOf(curve, d)).toEqual(multiply(curve, d));
    }
  });

  it.each([
    ["P192", 0xffffffffffffffffffffffff99dcf836346bcbb1b4f22833n],
    ["P224", 0xffffffffffffffffffffffffffff16a2c0b8f07e13dda9455d5c2a3fn],
    ["P256", 0xffffffff00000000ffffffffffffffffbce6faada7179e84f2b9eac6fce33553n],
    [
      "P521",
      0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf0f966b7fcc0149f709a5d03bb5c1b8899c47aebb2fb71e9138640bn,
    ],
    ["SM2", 0xfffffffeffffffffffffffffffffffff7203dd6b21c6852b539bf40931d54121n],
  ])("%s: the scalar whose last addition in the comb is a doubling", (name, d) => {
    const curve = named[name]!;
    for (const k of [d, curve.n - d]) expect(publicOf(curve, k)).toEqual(multiply(curve, k));
  });

  it.each(curves)("$name: 0 and n and more are no private keys", (curve) => {
    const largest = (1n << BigInt(8 * curve.bytes)) - 1n;
    for (const d of [0n, curve.n, curve.n + 1n, largest]) {
      expect(publicOf(curve, d)).toBeNull();
      expect(wasm.call("ecPrivateValid", curve.id, scalar(curve, d))).toBe(0);
      expect(product(curve, d, curve.g)).toBeNull();
    }
    for (const d of [1n, curve.n - 1n]) expect(wasm.call("ecPrivateValid", curve.id, scalar(curve, d))).toBe(1);
  });

  it.each(curves)("$name: a draw x stands for (x mod (n - 1)) + 1", (curve) => {
    const random = new Seeded(`draws of ${curve.name}`);
    const length = curve.bytes + 8;
    const m = curve.n - 1n;
    const limit = 1n << BigInt(8 * length);
    const edges = [0n, 1n, m - 1n, m, m + 1n, 2n * m - 1n, 2n * m, limit - 1n, (limit / m) * m, (limit / m) * m - 1n];
    const draws = [...edges, ...Array.from({ length: 500 }, () => toBig(random.bytes(length)))];
    for (const x of draws) {
      wasm.reset();
      const d = wasm.reserve(curve.bytes);
      wasm.call("ecPrivateFromDraw", curve.id, toBytes(x, length), length, d);
      expect(toBig(wasm.read(d, curve.bytes))).toBe((x % m) + 1n);
    }
  });
});

describe("points", () => {
  it.each(curves)("$name accepts its points and refuses others", (curve) => {
    const random = new Seeded(`points of ${curve.name}`);
    const valid = (x: bigint, y: bigint) =>
      wasm.call("ecPointValid", curve.id, toBytes(x, curve.bytes), toBytes(y, curve.bytes));
    for (let i = 0; i < 40; i++) {
      wasm.reset();
      const [x, y] = multiply(curve, randomBelow(random, curve.n - 1n) + 1n)!;
      expect(valid(x, y)).toBe(1);
      expect(valid(x, curve.p - y)).toBe(1);
      expect(valid(x, (y + 1n) % curve.p)).toBe(0);
      expect(valid((x + 1n) % curve.p, y)).toBe(Number(isOnCurve(curve, [(x + 1n) % curve.p, y])));
      expect(valid(y, x)).toBe(0);
      const off: Point = [x, (y + 1n) % curve.p];
      expect(product(curve, 5n, off)).toBeNull();
      expect(sum(curve, 5n, null, 7n, off)).toBeNull();
      expect(sum(curve, 5n, off, 7n, curve.g)).toBeNull();
    }
    expect(valid(0n, 0n)).toBe(0);
  });

  it.each(curves)("$name refuses coordinates that are not below p", (curve) => {
    const [x, y] = curve.g!;
    const fits = 1n << BigInt(8 * curve.bytes);
    const valid = (a: bigint, b: bigint) =>
      wasm.call("ecPointValid", curve.id, toBytes(a, curve.bytes), toBytes(b, curve.bytes));
    if (x + curve.p < fits) expect(valid(x + curve.p, y)).toBe(0);
    if (y + curve.p < fits) expect(valid(x, y + curve.p)).toBe(0);
    expect(valid(fits - 1n, y)).toBe(0);
    expect(valid(x, fits - 1n)).toBe(0);
  });
});

describe("multiplication", () => {
  it.each(OPENSSL)("%s shared secrets are OpenSSL's (%s, %i cases)", (name, other, cases) => {
    const curve = named[name]!;
    const random = new Seeded(`secrets of ${name}`);
    const ecdh = createECDH(other);
    for (let i = 0; i < cases; i++) {
      wasm.reset();
      const k = randomBelow(random, curve.n - 1n) + 1n;
      const Q = publicOf(curve, randomBelow(random, curve.n - 1n) + 1n);
      ecdh.setPrivateKey(scalar(curve, k));
      const secret = ecdh.computeSecret(Buffer.concat([Buffer.of(4), ...coordinates(curve, Q)]));
      expect(product(curve, k, Q)![0]).toBe(toBig(secret));
    }
  });

  it.each(WITHOUT_ECDH)("%s: [k][d]G is OpenSSL's [k*d]G (%s, %i cases)", (name, other, cases) => {
    const curve = named[name]!;
    const random = new Seeded(`products of ${name}`);
    for (let i = 0; i < cases; i++) {
      wasm.reset();
      const [k, d] = [0, 1].map(() => randomBelow(random, curve.n - 1n) + 1n) as [bigint, bigint];
      const expected = openssl(other, curve.bytes, scalar(curve, (k * d) % curve.n));
      expect(product(curve, k, publicOf(curve, d))).toEqual(expected);
    }
  });

  it.each(curves)("$name: [k]Q of edge and random scalars", (curve) => {
    const random = new Seeded(`multiples of ${curve.name}`);
    const more = Array.from({ length: 40 }, () => randomBelow(random, curve.n - 1n) + 1n);
    for (const k of [...edgeScalars(curve), ...more]) {
      wasm.reset();
      const Q = multiply(curve, randomBelow(random, curve.n - 1n) + 1n);
      expect(product(curve, k, Q)).toEqual(multiply(curve, k, Q));
    }
  });

  it.each(curves)("$name: [u]P + [v]Q, P being G or not", (curve) => {
    const random = new Seeded(`sums of ${curve.name}`);
    for (let i = 0; i < 30; i++) {
      wasm.reset();
      const [u, v, p, q] = [0, 1, 2, 3].map(() => randomBelow(random, curve.n - 1n) + 1n) as [
        bigint,
        bigint,
        bigint,
        bigint,
      ];
      const [P, Q] = [multiply(curve, p), multiply(curve, q)];
      expect(sum(curve, u, null, v, Q)).toEqual(multiply(curve, u + v * q));
      expect(sum(curve, u, P, v, Q)).toEqual(multiply(curve, u * p + v * q));
    }
  });

  it.each(curves)(
    "$name: small multiples of related points, where additions meet equal and opposite points",
    (curve) => {
      const small = [0n, 1n, 2n, 3n, 5n, 8n, 11n];
      const related = [1n, 2n, 3n, 5n];
      const points = [...related, ...related.map((k) => curve.n - k)].map((k) => [k, multiply(curve, k)] as const);
      for (const u of small) {
        for (const v of small) {
          for (const [k, Q] of points) {
            wasm.reset();
            const expected = multiply(curve, u + v * k);
            expect(sum(curve, u, null, v, Q)).toEqual(expected);
            expect(sum(curve, v, Q, u, curve.g)).toEqual(expected);
          }
        }
      }
      expect(sum(curve, curve.n, null, 1n, curve.g)).toBeNull();
      expect(sum(curve, 1n, null, curve.n, curve.g)).toBeNull();
      expect(sum(curve, 5n, null, 5n, negate(curve, curve.g))).toBeNull();
    },
  );
});
