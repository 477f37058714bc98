// What the tests of the signature schemes share: the module under test, and calls of its signing and verifying functions.
import { createHash } from "node:crypto";
import { expect } from "vitest";
import { type CurveModel, curveModels, type Point, toBig, toBytes } from "./ecc-model.ts";
import { loadHarness } from "./wasm-harness.ts";

export const wasm = loadHarness("crypto-ecc");
export const curves = curveModels(wasm);
export const byName = (name: string) => curves.find((curve) => curve.name === name)!;
export const HASHES = ["sha1", "sha256", "sha384", "sha512"] as const;
export type Hash = (typeof HASHES)[number];

export const SIGNED = wasm.constant("SIGNED");
export const SIGN_AGAIN = wasm.constant("SIGN_AGAIN");
export const SIGN_BAD_KEY = wasm.constant("SIGN_BAD_KEY");

export interface Signature {
  r: bigint;
  s: bigint;
}

export const bytesOf = (curve: CurveModel, x: bigint) => toBytes(x, curve.bytes);
export const digestOf = (hash: Hash, ...parts: Uint8Array[]) =>
  new Uint8Array(createHash(hash).update(Buffer.concat(parts)).digest());
export const nonceOf = (curve: CurveModel, draw: Uint8Array) => (toBig(draw) % (curve.n - 1n)) + 1n;

/** The draw that stands for nonce k. */
export const drawFor = (curve: CurveModel, k: bigint) => toBytes(k - 1n, curve.bytes + 8);

/** Calls a signing function; a number is its refusal. */
export function signed(curve: CurveModel, name: string, ...args: (number | Uint8Array)[]): Signature | number {
  const [r, s] = [wasm.reserve(curve.bytes), wasm.reserve(curve.bytes)];
  const untouched = wasm.read(r, curve.bytes);
  const placed = args.map((a) => (a instanceof Uint8Array ? wasm.place(a) : a));
  const answer = wasm.call(name, curve.id, ...placed, r, s);
  if (answer === SIGNED) return { r: toBig(wasm.read(r, curve.bytes)), s: toBig(wasm.read(s, curve.bytes)) };
  expect(wasm.read(r, curve.bytes)).toEqual(untouched);
  return answer;
}

export function accepts(
  curve: CurveModel,
  name: string,
  hash: number[],
  Q: Point,
  digest: Uint8Array,
  { r, s }: Signature,
): boolean {
  const [x, y, rb, sb] = [Q![0], Q![1], r, s].map((v) => bytesOf(curve, v)) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  return wasm.call(name, curve.id, ...hash, x, y, digest, digest.length, rb, sb) === 1;
}

/** ECDSA's integer of a digest. */
export function leftmost(curve: CurveModel, digest: Uint8Array): bigint {
  const excess = 8 * digest.length - curve.bits;
  return excess > 0 ? toBig(digest) >> BigInt(excess) : toBig(digest);
}

export const schnorrChallenge = (curve: CurveModel, hash: Hash, R: Point, digest: Uint8Array) =>
  toBig(digestOf(hash, bytesOf(curve, R![0]), digest).subarray(0, curve.bytes));
