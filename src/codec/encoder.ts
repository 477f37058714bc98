// Writes values of the specification's types as bytes. It is strict about shapes (every field there, no unknown one, numbers in
// their range) and lenient about values, so that tests can send what a TPM has to refuse.
import {
  digestSizeOf,
  type Field,
  handleNames,
  type IntegerLayout,
  parseTypeReference,
  type ResolvedType,
  resolveType,
  type ValueNames,
} from "../spec/registry.ts";
import { concatBytes, fromHex, uintBytes } from "./bytes.ts";
import { CodecError, isEncrypted } from "./values.ts";

type NumericType = Extract<ResolvedType, { kind: "integer" | "handle" | "constants" | "attributes" | "interface" }>;

/** What was encoded; `number` when it is one, so that it can select a later union's arm. */
interface Encoded {
  readonly bytes: Uint8Array;
  readonly number?: number;
}

/**
 * Bytes of a value of this type. `selector` chooses a union's arm or a digest's size. Throws CodecError with the path of the
 * field at fault.
 */
export function encodeValue(typeName: string, value: unknown, path: string, selector?: number): Encoded {
  const type = resolveType(typeName);
  switch (type.kind) {
    case "structure":
      return { bytes: encodeFields(type.fields, value, path) };
    case "union":
      return { bytes: encodeUnion(type, value, path, selector) };
    case "list":
      return { bytes: encodeList(type, value, path) };
    case "buffer": {
      const content = isEncrypted(value) ? value.encrypted : bytesOf(value, path);
      return { bytes: withSize(content, 2, path) };
    }
    case "sized":
      return { bytes: encodeSized(type, value, path) };
    case "digest":
      return { bytes: encodeDigest(value, path, selector) };
    case "bitmap":
      return { bytes: withSize(bitmapOf(value, path), 1, path) };
    default:
      return encodeNumber(type, value, path);
  }
}

/** Bytes of a structure's fields, or of handles or parameters, taken from the object `value` by their names. */
export function encodeFields(fields: readonly Field[], value: unknown, path: string): Uint8Array {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new CodecError(path, `must be an object with ${fields.map(({ name }) => name).join(", ") || "no field"}`);
  }
  const source = value as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(source)) {
    if (!fields.some((field) => field.name === name) && source[name] !== undefined) {
      throw new CodecError(
        joined(path, name),
        `there is no such field; there are ${fields.map((f) => f.name).join(", ")}`,
      );
    }
  }
  const numbers = new Map<string, number>();
  const parts = fields.map((field) => {
    const selector = field.selector === undefined ? undefined : numbers.get(field.selector);
    const encoded = encodeValue(field.type.name, source[field.name], joined(path, field.name), selector);
    if (encoded.number !== undefined) numbers.set(field.name, encoded.number);
    return encoded.bytes;
  });
  return concatBytes(...parts);
}

const joined = (path: string, name: string): string => (path ? `${path}.${name}` : name);

function encodeUnion(
  type: Extract<ResolvedType, { kind: "union" }>,
  value: unknown,
  path: string,
  selector: number | undefined,
): Uint8Array {
  const arm = type.arms.get(selector ?? -1);
  if (arm) return encodeValue(arm.type.name, value, path, selector).bytes;
  if (value !== undefined) throw new CodecError(path, `${type.name} has nothing for this selector: leave it out`);
  return new Uint8Array();
}

function encodeList(type: Extract<ResolvedType, { kind: "list" }>, value: unknown, path: string): Uint8Array {
  if (!Array.isArray(value)) throw new CodecError(path, `must be an array of ${type.element.name}`);
  const elements = value.map((element, i) => encodeValue(type.element.name, element, `${path}[${i}]`).bytes);
  return concatBytes(uintBytes(value.length, 4), ...elements);
}

function encodeSized(type: Extract<ResolvedType, { kind: "sized" }>, value: unknown, path: string): Uint8Array {
  if (isEncrypted(value)) return withSize(value.encrypted, 2, path);
  if (value === null) return uintBytes(0, 2);
  return withSize(encodeValue(type.field.type.name, value, path).bytes, 2, path);
}

function encodeDigest(value: unknown, path: string, selector: number | undefined): Uint8Array {
  const size = digestSizeOf(selector ?? -1);
  if (size === 0) {
    if (value !== undefined) throw new CodecError(path, "TPM_ALG_NULL has no digest: leave it out");
    return new Uint8Array();
  }
  const digest = bytesOf(value, path);
  if (size === undefined) throw new CodecError(path, "the algorithm is no hash algorithm");
  if (digest.length !== size) throw new CodecError(path, `must be ${size} bytes, is ${digest.length}`);
  return digest;
}

function withSize(content: Uint8Array, width: 1 | 2, path: string): Uint8Array {
  if (content.length >= 256 ** width) throw new CodecError(path, `${content.length} bytes are too long`);
  return concatBytes(uintBytes(content.length, width), content);
}

function bytesOf(value: unknown, path: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const bytes = typeof value === "string" ? fromHex(value) : undefined;
  if (!bytes)
    throw new CodecError(path, value === undefined ? "is missing" : "must be a Uint8Array or hexadecimal digits");
  return bytes;
}

/** A PCR bit map: bytes as they are, or a list of PCR numbers in at least three bytes. */
function bitmapOf(value: unknown, path: string): Uint8Array {
  if (!Array.isArray(value)) return bytesOf(value, path);
  const bitmap = new Uint8Array(Math.max(3, ...value.map((pcr) => Math.floor(Number(pcr) / 8) + 1)));
  for (const pcr of value) {
    if (!Number.isInteger(pcr) || pcr < 0 || pcr > 2039) throw new CodecError(path, `${String(pcr)} is no PCR`);
    bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  }
  return bitmap;
}

function encodeNumber(type: NumericType, value: unknown, path: string): Encoded {
  if (value === undefined) throw new CodecError(path, "is missing");
  const layout = (type.kind === "interface" ? type.base : type) as { integer: IntegerLayout };
  const number = numberOf(type, value, path);
  const { bytes, signed } = layout.integer;
  const span = 1n << BigInt(bytes * 8);
  const [low, high] = signed ? [-span / 2n, span / 2n] : [0n, span];
  if (number < low || number >= high) throw new CodecError(path, `${number} does not fit into ${bytes} bytes`);
  return { bytes: uintBytes(BigInt.asUintN(bytes * 8, number), bytes), number: Number(number) };
}

function numberOf(type: NumericType, value: unknown, path: string): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === "boolean" && type.name === "TPMI_YES_NO") return value ? 1n : 0n;
  const base = type.kind === "interface" ? (type.base as NumericType) : type;
  if (base.kind === "constants" && typeof value === "string")
    return BigInt(namedValue(base.names, base.name, value, path));
  if (base.kind === "handle") return handleOf(value, path);
  if (base.kind === "attributes" && typeof value === "object" && value !== null) return wordOf(base, value, path);
  throw new CodecError(path, `${describeInput(value)} is no ${type.name}`);
}

const describeInput = (value: unknown): string => (typeof value === "string" ? `"${value}"` : typeof value);

function namedValue(names: ValueNames, type: string, text: string, path: string): number {
  for (const prefix of ["", ...names.prefixes]) {
    const value = names.valueOf.get(prefix + text);
    if (value !== undefined) return value;
  }
  throw new CodecError(path, `"${text}" is no ${type}`);
}

/** A handle by the name of a permanent one, or of something that has a handle (an object, an index, a session). */
function handleOf(value: unknown, path: string): bigint {
  if (typeof value === "string") return BigInt(namedValue(handleNames, "TPM_HANDLE", value, path));
  if (typeof value === "object" && value !== null && "handle" in value && Number.isInteger(value.handle)) {
    return BigInt(value.handle as number);
  }
  throw new CodecError(path, "must be a handle, the name of one, or an object with a handle");
}

function wordOf(type: Extract<ResolvedType, { kind: "attributes" }>, value: object, path: string): bigint {
  let word = 0n;
  for (const [name, setting] of Object.entries(value)) {
    if (setting === undefined || setting === false) continue;
    if (name === "reserved") {
      word |= BigInt(setting);
      continue;
    }
    const field = type.bits.find((bits) => bits.name === name);
    if (!field) throw new CodecError(joined(path, name), `${type.name} has no such attribute`);
    const bits = bitsOf(name, setting, joined(path, name));
    if (bits < 0 || bits >= 2 ** (field.high - field.low + 1)) throw new CodecError(joined(path, name), "does not fit");
    word |= BigInt(bits) << BigInt(field.low);
  }
  return word;
}

function bitsOf(name: string, setting: unknown, path: string): number {
  if (setting === true) return 1;
  if (typeof setting === "number" && Number.isInteger(setting)) return setting;
  if (typeof setting === "string") return encodeValue(name, setting, path).number ?? 0;
  throw new CodecError(path, "must be a boolean or a number");
}

/** Bytes of one value of a type named as in a field. */
export function encodeType(type: string, value: unknown, path: string): Uint8Array {
  return encodeValue(parseTypeReference(type).name, value, path).bytes;
}
