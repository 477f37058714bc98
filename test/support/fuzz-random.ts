// Fast repeatable random numbers: for tests that draw millions of them.
import { createHash } from "node:crypto";

/** A stream of pseudo-random values. */
export interface RandomSource {
  /** The next `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer>;
  /** An integer in [0, limit), limit at most 2^32; the bias of the reduction does not matter to tests. */
  below(limit: number): number;
  /** One of the values. */
  pick<T>(values: readonly T[]): T;
}

/** xoshiro128** (Blackman and Vigna), seeded with the SHA-256 of a text. Its state can be copied. */
export class FastRandom implements RandomSource {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: string) {
    const digest = createHash("sha256").update(seed).digest();
    this.#a = digest.readInt32BE(0);
    this.#b = digest.readInt32BE(4);
    this.#c = digest.readInt32BE(8);
    this.#d = digest.readInt32BE(12);
  }

  /** Goes on as another one will. */
  copyOf(other: FastRandom): void {
    this.#a = other.#a;
    this.#b = other.#b;
    this.#c = other.#c;
    this.#d = other.#d;
  }

  /** 32 random bits. */
  next(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  fill(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 4) {
      const word = this.next();
      for (let i = 0; i < 4 && at + i < bytes.length; i++) bytes[at + i] = word >>> (8 * i);
    }
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(length);
    this.fill(out);
    return out;
  }

  below(limit: number): number {
    return this.next() % limit;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.next() % values.length] as T;
  }
}
