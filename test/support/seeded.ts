// Repeatable random test data: the same seed gives the same bytes in every run and runtime.
import { createHash } from "node:crypto";

/** A stream of pseudo-random values from a seed text. */
export class Seeded {
  readonly #seed: string;
  #counter = 0;
  #pool = new Uint8Array(0);

  constructor(seed: string) {
    this.#seed = seed;
  }

  /** The next `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      if (this.#pool.length === 0) {
        this.#pool = new Uint8Array(
          createHash("sha512")
            .update(`${this.#seed} ${this.#counter++}`)
            .digest(),
        );
      }
      const taken = this.#pool.subarray(0, length - done);
      out.set(taken, done);
      done += taken.length;
      this.#pool = this.#pool.subarray(taken.length);
    }
    return out;
  }

  /** An integer in [0, limit), limit at most 2^32; the bias of the reduction does not matter to tests. */
  below(limit: number): number {
    return new DataView(this.bytes(4).buffer).getUint32(0) % limit;
  }

  /** One of the values. */
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}
