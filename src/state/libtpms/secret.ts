// Bytes that must not get into a log, a message or a listing by accident.
import { toHex } from "../../codec/bytes.ts";

/** A seed, an authorization value, the private part of a key, the content of an NV index. As text or JSON it is its size only. */
export class Secret {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** In bytes. */
  get size(): number {
    return this.#bytes.length;
  }

  /** The secret itself. */
  reveal(): Uint8Array {
    return this.#bytes;
  }

  /** Lower-case hexadecimal digits: the secret itself. */
  revealHex(): string {
    return toHex(this.#bytes);
  }

  toString(): string {
    return this.size === 0 ? "empty" : `set, ${this.size} bytes`;
  }

  toJSON(): { size: number } {
    return { size: this.size };
  }

  /** What console.log and test reports show. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `<${this.toString()}>`;
  }
}
