// Elliptic curves in plain BigInt arithmetic, written from the definitions: the independent model that the engine's curves are
// compared with. The parameters are the ones the module under test answers, which a test of their own compares with others'.
import type { Seeded } from "./seeded.ts";
import type { WasmHarness } from "./wasm-harness.ts";

export type Point = readonly [bigint, bigint] | null;

export interface CurveModel {
  readonly id: number;
  readonly name: string;
  readonly bits: number;
  readonly bytes: number;
  readonly p: bigint;
  readonly a: bigint;
  readonly b: bigint;
  readonly g: Point;
  readonly n: bigint;
}

export const CURVE_NAMES = ["P192", "P224", "P256", "P384", "P521", "BN256", "BN638", "SM2"] as const;

export function toBig(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
}

export function toBytes(value: bigint, length: number): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(2 * length, "0"), "hex"));
}

export function mod(x: bigint, m: bigint): bigint {
  const r = x % m;
  return r < 0n ? r + m : r;
}

/** x^-1 mod m by Euclid's algorithm; m and x are coprime. */
export function invert(x: bigint, m: bigint): bigint {
  let [r0, r1, s0, s1] = [m, mod(x, m), 0n, 1n];
  while (r1 !== 0n) {
    const q = r0 / r1;
    [r0, r1, s0, s1] = [r1, r0 - q * r1, s1, s0 - q * s1];
  }
  return mod(s0, m);
}

export function power(x: bigint, e: bigint, m: bigint): bigint {
  let result = 1n;
  for (let square = mod(x, m); e > 0n; e >>= 1n, square = (square * square) % m) {
    if (e & 1n) result = (result * square) % m;
  }
  return result;
}

/** The model of each curve, with the parameters that the module answers. */
export function curveModels(wasm: WasmHarness): CurveModel[] {
  return CURVE_NAMES.map((name) => {
    const id = wasm.constant(`CURVE_${name}`);
    const bytes = wasm.call("curveFieldBytes", id);
    const parameter = (i: number) => toBig(wasm.read(wasm.call("curveParameter", id, i), bytes));
    const [p, a, b, gx, gy, n] = [0, 1, 2, 3, 4, 5].map(parameter) as [bigint, bigint, bigint, bigint, bigint, bigint];
    return { id, name, bits: wasm.call("curveBits", id), bytes, p, a, b, g: [gx, gy], n };
  });
}

export function isOnCurve({ p, a, b }: CurveModel, [x, y]: readonly [bigint, bigint]): boolean {
  return mod(y * y - x * x * x - a * x - b, p) === 0n;
}

export function negate({ p }: CurveModel, P: Point): Point {
  return P && [P[0], mod(-P[1], p)];
}

export function add(curve: CurveModel, P: Point, Q: Point): Point {
  if (!P) return Q;
  if (!Q) return P;
  const { p, a } = curve;
  if (P[0] === Q[0] && mod(P[1] + Q[1], p) === 0n) return null;
  const slope =
    P[0] === Q[0] ? (3n * P[0] * P[0] + a) * invert(2n * P[1], p) : (Q[1] - P[1]) * invert(mod(Q[0] - P[0], p), p);
  const x = mod(slope * slope - P[0] - Q[0], p);
  return [x, mod(slope * (P[0] - x) - P[1], p)];
}

/** [k]P, in Jacobian coordinates with one inversion at the end; exceptional cases fall back to affine ones. */
export function multiply(curve: CurveModel, k: bigint, P: Point = curve.g): Point {
  const { p, a, n } = curve;
  k = mod(k, n);
  if (!P || k === 0n) return null;
  let [X, Y, Z] = [P[0], P[1], 1n];
  for (let i = k.toString(2).length - 2; i >= 0; i--) {
    const yy = (Y * Y) % p;
    const s = mod(4n * X * yy, p);
    const m = mod(3n * X * X + a * power(Z, 4n, p), p);
    Z = mod(2n * Y * Z, p);
    X = mod(m * m - 2n * s, p);
    Y = mod(m * (s - X) - 8n * yy * yy, p);
    if ((k >> BigInt(i)) & 1n) {
      const zz = (Z * Z) % p;
      const h = mod(P[0] * zz - X, p);
      const r = mod(P[1] * zz * Z - Y, p);
      if (Z === 0n || h === 0n) return multiplyAffine(curve, k, P);
      const hh = (h * h) % p;
      const v = (X * hh) % p;
      X = mod(r * r - h * hh - 2n * v, p);
      Y = mod(r * (v - X) - Y * h * hh, p);
      Z = (Z * h) % p;
    }
  }
  if (Z === 0n) return null;
  const zi = invert(Z, p);
  return [mod(X * zi * zi, p), mod(Y * zi * zi * zi, p)];
}

function multiplyAffine(curve: CurveModel, k: bigint, P: Point): Point {
  let result: Point = null;
  for (let doubled = P; k > 0n; k >>= 1n, doubled = add(curve, doubled, doubled)) {
    if (k & 1n) result = add(curve, result, doubled);
  }
  return result;
}

/** A number in [0, limit). */
export function randomBelow(random: Seeded, limit: bigint): bigint {
  return toBig(random.bytes(Math.ceil(limit.toString(2).length / 8) + 8)) % limit;
}

/** Scalars at the borders of every method: small ones, around the window and half the order, and just below the order. */
export function edgeScalars({ n }: CurveModel): bigint[] {
  const small = [1n, 2n, 3n, 4n, 5n, 6n, 15n, 16n, 17n, 30n, 31n, 32n, 33n, 34n, 38n, 58n, 62n, 63n, 64n, 65n];
  const middle = [(n - 3n) / 2n, (n - 1n) / 2n, (n + 1n) / 2n, (n + 3n) / 2n];
  return [...small, ...middle, ...small.map((k) => n - k)];
}
