// How libtpms writes a structure of its state, said once: a shape reads the structure and writes it.
//
// Numbers are big-endian. A structure begins with a header (UINT16 version, UINT32 magic, from version 2 on UINT16 the least version a
// reader must know) and ends, from version 2 on, with an extension: a block that holds what later versions added. A block is a BOOL, a
// UINT16 with its length, and its content.
import { concatBytes, readUint, uintBytes } from "../../codec/bytes.ts";
import { Decoder, DecodingStopped } from "../../codec/decoder.ts";
import type * as inputs from "../../codec/generated/inputs.ts";
import type * as values from "../../codec/generated/values.ts";
import { encodeStructure } from "../../codec/structure.ts";
import type { TpmValue } from "../../codec/values.ts";
import { parseTypeReference } from "../../spec/registry.ts";
import { StateError } from "../store.ts";
import { Secret } from "./secret.ts";

/** Reads and writes values of one kind. `write` throws CodecError or RangeError for a value that cannot be written. */
export interface Shape<T> {
  /** @throws StateError "damaged" or "too-new", with the field and the byte. */
  read(reader: Reader): T;
  write(writer: Writer, value: T): void;
}

export type ValueOf<S> = S extends Shape<infer T> ? T : never;
type Shapes = Readonly<Record<string, Shape<unknown>>>;
type FieldsOf<S extends Shapes> = { -readonly [Name in keyof S]: ValueOf<S[Name]> };

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

const integer = (length: 1 | 2 | 4): Shape<number> => ({
  read: (reader) => reader.number(length),
  write: (writer, value) => writer.number(value, length),
});

export const u8 = integer(1);
export const u16 = integer(2);
export const u32 = integer(4);
export const u64: Shape<bigint> = {
  read: (reader) => readUint(reader.take(8), 0, 8),
  write: (writer, value) => writer.put(uintBytes(value, 8)),
};
export const bool: Shape<boolean> = {
  read: (reader) => reader.number(1) !== 0,
  write: (writer, value) => writer.number(value ? 1 : 0, 1),
};

/** A UINT16 or UINT32 with the length in bytes, and the bytes: TPM2B, "array". */
const counted = (countSize: 2 | 4): Shape<Uint8Array> => ({
  read: (reader) => reader.take(reader.number(countSize)),
  write: (writer, value) => {
    writer.number(value.length, countSize);
    writer.put(value);
  },
});
export const bytes16 = counted(2);

/** A shape of bytes whose value is not shown. */
const hidden = (shape: Shape<Uint8Array>): Shape<Secret> => ({
  read: (reader) => new Secret(shape.read(reader)),
  write: (writer, value) => shape.write(writer, value.reveal()),
});
export const secret16 = hidden(bytes16);
export const secret32 = hidden(counted(4));

/** As many bytes as given. */
export const secretBytes = (length: number): Shape<Secret> =>
  hidden({ read: (reader) => reader.take(length), write: (writer, value) => writer.put(value) });

/** A structure of Part 2 by its name. */
export function part2<Type extends keyof values.Structures>(type: Type): Shape<values.Structures[Type]> {
  const reference = parseTypeReference(type);
  return {
    read(reader) {
      const decoder = new Decoder(reader.bytes.subarray(0, reader.end), { offset: reader.offset, checked: false });
      let value: TpmValue | undefined;
      try {
        decoder.read(reference, { path: "", conditional: true }, (read) => {
          value = read;
        });
      } catch (error) {
        if (!(error instanceof DecodingStopped)) throw error;
      }
      const issue = decoder.issues[0];
      if (issue) reader.damaged(`${issue.field ? `${issue.field} ` : ""}${issue.message}`, issue.offset);
      reader.offset = decoder.offset;
      return value as values.Structures[Type];
    },
    write: (writer, value) => writer.put(encodeStructure(type, value as inputs.Structures[Type])),
  };
}
export const algorithm = part2("TPM_ALG_ID");

/** A UINT32 whose bits have names, the lowest first. */
export function bits<const Name extends string>(
  names: readonly Name[],
): Shape<Record<Name, boolean> & { reserved?: number }> {
  return {
    read(reader) {
      const word = reader.number(4);
      const value = Object.fromEntries(names.map((name, i) => [name, ((word >>> i) & 1) === 1]));
      const rest = Math.floor(word / 2 ** names.length) * 2 ** names.length;
      return { ...value, ...(rest ? { reserved: rest } : {}) } as Record<Name, boolean> & { reserved?: number };
    },
    write(writer, value) {
      const word = names.reduce((sum, name, i) => sum + (value[name] ? 2 ** i : 0), value.reserved ?? 0);
      writer.number(word, 4);
    },
  };
}

/** A fixed number of values, or a UINT16 or UINT32 with their number before them. */
export function list<T>(element: Shape<T>, count: 2 | 4 | { readonly exactly: number }): Shape<T[]> {
  return {
    read(reader) {
      const length = typeof count === "object" ? count.exactly : reader.number(count);
      const items: T[] = [];
      for (let i = 0; i < length; i++) items.push(reader.at(`[${i}]`, () => element.read(reader)));
      return items;
    },
    write(writer, value) {
      if (typeof count !== "object") writer.number(value.length, count);
      for (const item of value) element.write(writer, item);
    },
  };
}

/** A number of 1 before the value: where libtpms could have several of what there is one of. */
export function lengthThen<T>(length: number, lengthShape: Shape<number>, shape: Shape<T>): Shape<T> {
  return {
    read(reader) {
      const found = lengthShape.read(reader);
      if (found !== length) reader.damaged(`${found} where ${length} is expected`);
      return shape.read(reader);
    },
    write(writer, value) {
      lengthShape.write(writer, length);
      shape.write(writer, value);
    },
  };
}

/** Values one after another. */
export function fields<const S extends Shapes>(shapes: S): Shape<FieldsOf<S>> {
  const entries = Object.entries(shapes);
  return {
    read(reader) {
      const value: Record<string, unknown> = {};
      for (const [name, shape] of entries) {
        const field = reader.at(name, () => shape.read(reader));
        if (field !== undefined) value[name] = field;
      }
      return value as FieldsOf<S>;
    },
    write(writer, value) {
      for (const [name, shape] of entries) shape.write(writer, value[name]);
    },
  };
}

/** The shape that the version of the structure has. */
export function byVersion<T>(choose: (version: number) => Shape<T>): Shape<T> {
  return {
    read: (reader) => choose(reader.version).read(reader),
    write: (writer, value) => choose(writer.version).write(writer, value),
  };
}

/** Nothing at all, in versions or cases that do not have a field. */
export const nothing: Shape<undefined> = { read: () => undefined, write: () => {} };

/** A field that the structure has from a version on. */
export const since = <T>(version: number, shape: Shape<T>): Shape<T | undefined> =>
  byVersion<T | undefined>((found) => (found >= version ? (shape as Shape<T | undefined>) : nothing));

function readBlockHeader(reader: Reader): { present: boolean; length: number } {
  return { present: reader.number(1) !== 0, length: reader.number(2) };
}

function writeBlock(writer: Writer, write: () => void): void {
  const content = writer.separately(write);
  writer.number(1, 1);
  writer.number(content.length, 2);
  writer.put(content);
}

/** A block that has to be there. */
export function block<T>(shape: Shape<T>): Shape<T> {
  return {
    read(reader) {
      const { present, length } = readBlockHeader(reader);
      if (!present) reader.damaged("a block that is needed is not there");
      return reader.within(length, () => shape.read(reader));
    },
    write: (writer, value) => writeBlock(writer, () => shape.write(writer, value)),
  };
}

/** A block that may be absent. */
export function optionalBlock<T>(shape: Shape<T>): Shape<T | undefined> {
  return {
    read(reader) {
      const { present, length } = readBlockHeader(reader);
      return reader.within(length, () => (present ? shape.read(reader) : undefined));
    },
    write(writer, value) {
      if (value !== undefined) writeBlock(writer, () => shape.write(writer, value));
      else writer.put(new Uint8Array(3));
    },
  };
}

/** A block of which nothing is needed any more. */
export const skippedBlock: Shape<undefined> = {
  read(reader) {
    const { length } = readBlockHeader(reader);
    reader.take(length);
    return undefined;
  },
  write: (writer) => writer.put(new Uint8Array(3)),
};

export interface StructureHeader {
  version: number;
  /** The least version that a reader must know; 0 in structures of version 1, which do not say it. */
  minVersion: number;
}

/** What a structure's extension holds. Each addition is in a block of its own inside the one before. */
export interface Extension<A extends readonly Shapes[]> {
  readonly additions: A;
  /** No block for later additions follows the last one. */
  readonly closed?: boolean;
}

export interface StructureOptions<A extends readonly Shapes[]> {
  /** For messages. */
  readonly name: string;
  readonly magic: number;
  /** The newest version that is known. */
  readonly version: number;
  readonly extension?: Extension<A>;
}

type AdditionsOf<A extends Shapes> = A extends Shapes ? Partial<FieldsOf<A>> : never;
/** All members of a union at once; no member gives `unknown`, which adds nothing. */
type Intersection<U> = (U extends unknown ? (value: U) => void : never) extends (value: infer I) => void ? I : never;
export type StructureValue<S, A extends readonly Shapes[]> = StructureHeader &
  S &
  Intersection<AdditionsOf<A[number]>> &
  UnknownRest;
interface UnknownRest {
  /** What a later version put into the extension. */
  unknown?: Uint8Array;
}

export function readHeader(
  reader: Reader,
  { name, magic, version: known }: { readonly name: string; readonly magic: number; readonly version: number },
): StructureHeader {
  const at = reader.offset;
  const version = reader.number(2);
  const found = reader.number(4);
  if (found !== magic) reader.damaged(`${hex(found)} where ${name} begins with ${hex(magic)}`, at + 2);
  const minVersion = version >= 2 ? reader.number(2) : 0;
  if (minVersion > known) {
    reader.tooNew(`${name} needs a reader of its version ${minVersion}, and this one knows version ${known}`);
  }
  return { version, minVersion };
}

export function writeHeader(writer: Writer, magic: number, { version, minVersion }: StructureHeader): void {
  writer.number(version, 2);
  writer.number(magic, 4);
  if (version >= 2) writer.number(minVersion, 2);
}

/** A structure: header, fields, extension. */
export function structure<S, const A extends readonly Shapes[] = readonly []>(
  options: StructureOptions<A>,
  content: Shape<S>,
): Shape<StructureValue<S, A>> {
  const { additions = [], closed = false } = options.extension ?? {};
  const levels = additions.map((addition) => ({ names: Object.keys(addition), shape: fields(addition) }));

  const readExtension = (reader: Reader, level: number): object => {
    const { present, length } = readBlockHeader(reader);
    if (length === 0) return {};
    if (!present) reader.damaged("a block that is not there has content");
    return reader.within(length, () => {
      const known = levels[level];
      if (!known) return { unknown: reader.take(length) };
      const value = known.shape.read(reader);
      const isLast = closed && level === levels.length - 1;
      return { ...value, ...(isLast || reader.offset === reader.end ? {} : readExtension(reader, level + 1)) };
    });
  };
  const writeExtension = (writer: Writer, level: number, value: Record<string, unknown>): void =>
    writeBlock(writer, () => {
      const known = levels[level];
      if (!known) {
        if (value.unknown instanceof Uint8Array) writer.put(value.unknown);
      } else if (known.names.every((name) => value[name] !== undefined)) {
        known.shape.write(writer, value);
        if (!(closed && level === levels.length - 1)) writeExtension(writer, level + 1, value);
      }
    });

  return {
    read(reader) {
      const outer = reader.version;
      const header = readHeader(reader, options);
      reader.version = header.version;
      const value = content.read(reader);
      const extension = header.version >= 2 ? reader.at("extension", () => readExtension(reader, 0)) : {};
      reader.version = outer;
      return { ...header, ...value, ...extension } as unknown as StructureValue<S, A>;
    },
    write(writer, value) {
      const outer = writer.version;
      writeHeader(writer, options.magic, value);
      writer.version = value.version;
      content.write(writer, value);
      if (value.version >= 2) writeExtension(writer, 0, value as unknown as Record<string, unknown>);
      writer.version = outer;
    },
  };
}

const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
