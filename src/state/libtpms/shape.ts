// What libtpms' states are made of, said once for each kind of value: a shape reads it and writes it. Numbers are big-endian.
import { readUint, uintBytes } from "../../codec/bytes.ts";
import { Decoder, DecodingStopped } from "../../codec/decoder.ts";
import type * as inputs from "../../codec/generated/inputs.ts";
import type * as values from "../../codec/generated/values.ts";
import { encodeStructure } from "../../codec/structure.ts";
import type { TpmValue } from "../../codec/values.ts";
import { parseTypeReference } from "../../spec/registry.ts";
import type { Reader, Writer } from "./cursor.ts";
import { Secret } from "./secret.ts";

/** Reads and writes values of one kind. `write` throws CodecError or RangeError for a value that cannot be written. */
export interface Shape<T> {
  /** @throws StateError "damaged" or "too-new", with the field and the byte. */
  read(reader: Reader): T;
  write(writer: Writer, value: T): void;
}

export type ValueOf<S> = S extends Shape<infer T> ? T : never;
export type Shapes = Readonly<Record<string, Shape<unknown>>>;
export type FieldsOf<S extends Shapes> = { -readonly [Name in keyof S]: ValueOf<S[Name]> };

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
