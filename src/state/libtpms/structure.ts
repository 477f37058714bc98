// Structures in libtpms' states: a header (UINT16 version, UINT32 magic, from version 2 on UINT16 the least version a reader must know),
// fields, and from version 2 on an extension: a block that holds what later versions added. A block is a BOOL, a UINT16 with its length, and
// its content.
import type { Reader, Writer } from "./cursor.ts";
import { Secret } from "./secret.ts";
import { type FieldsOf, fields, type Shape, type Shapes } from "./shape.ts";

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
  /** What a later version put into the extension; it may be a secret. */
  unknown?: Secret;
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
      if (!known) return { unknown: new Secret(reader.take(length)) };
      const value = known.shape.read(reader);
      const isLast = closed && level === levels.length - 1;
      return { ...value, ...(isLast || reader.offset === reader.end ? {} : readExtension(reader, level + 1)) };
    });
  };
  const writeExtension = (writer: Writer, level: number, value: Record<string, unknown>): void =>
    writeBlock(writer, () => {
      const known = levels[level];
      if (!known) {
        if (value.unknown instanceof Secret) writer.put(value.unknown.reveal());
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
