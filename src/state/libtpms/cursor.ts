// A state blob's bytes, one after another: being read, with a sentence for what is wrong and where, or being written.
import { concatBytes, readUint, uintBytes } from "../../codec/bytes.ts";
import { StateError } from "../store.ts";

/** A state blob being read. */
export class Reader {
  readonly bytes: Uint8Array;
  offset = 0;
  end: number;
  /** Of the structure being read. */
  version = 0;
  readonly #subject: string;
  readonly #path: string[] = [];

  /** @param subject what the blob is, for messages: "permanent state". */
  constructor(bytes: Uint8Array, subject: string) {
    // A Buffer's slices would be views.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = bytes.length;
    this.#subject = subject;
  }

  take(length: number): Uint8Array {
    if (length > this.end - this.offset) {
      this.damaged(
        this.end === this.bytes.length
          ? "it ends too early"
          : `needs ${length} bytes of a block that has ${this.end - this.offset} left`,
      );
    }
    this.offset += length;
    return this.bytes.slice(this.offset - length, this.offset);
  }

  number(length: 1 | 2 | 4): number {
    return Number(readUint(this.take(length), 0, length));
  }

  /** Reads a part, whose name comes into messages. */
  at<T>(name: string, read: () => T): T {
    this.#path.push(name);
    const value = read();
    this.#path.pop();
    return value;
  }

  damaged(what: string, at = this.offset): never {
    throw new StateError("damaged", `the ${this.#subject} is damaged: ${this.#where()}byte ${at}: ${what}`);
  }

  tooNew(what: string): never {
    throw new StateError(
      "too-new",
      `the ${this.#subject} was written by a newer version: ${this.#where()}byte ${this.offset}: ${what}`,
    );
  }

  /** Reads to the end of a block of `length` bytes, whatever of them is understood. */
  within<T>(length: number, read: () => T): T {
    const [end, blockEnd] = [this.end, this.offset + length];
    if (blockEnd > end) this.damaged(`a block of ${length} bytes where ${end - this.offset} are left`);
    this.end = blockEnd;
    const value = read();
    this.offset = blockEnd;
    this.end = end;
    return value;
  }

  #where(): string {
    return this.#path.length > 0 ? `${this.#path.join(".").replaceAll(".[", "[")}, ` : "";
  }
}

/** A state blob being written. */
export class Writer {
  version = 0;
  #parts: Uint8Array[] = [];

  put(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  number(value: number, length: 1 | 2 | 4): void {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * length))
      throw new RangeError(`${value} is no number of ${length} bytes`);
    this.put(uintBytes(value, length));
  }

  /** What `write` writes, apart from the rest. */
  separately(write: () => void): Uint8Array {
    const before = this.#parts;
    this.#parts = [];
    write();
    const bytes = this.take();
    this.#parts = before;
    return bytes;
  }

  /** All that was written. */
  take(): Uint8Array {
    return concatBytes(...this.#parts);
  }
}
