// Reads values of the specification's types from bytes. The order and the errors are those of the unmarshalling in Part 4,
// so that the first issue is what a TPM answers; unlike a TPM the decoder goes on after a value that is merely not allowed.
import { constants } from "../spec/constants.ts";
import {
  constantOf,
  digestSizeOf,
  type Field,
  type IntegerLayout,
  parseTypeReference,
  type ResolvedType,
  resolveType,
  type TypeReference,
} from "../spec/registry.ts";
import { countBytes, readUint } from "./bytes.ts";
import type { DecodeIssue, TpmObject, TpmValue } from "./values.ts";

/** What one implementation accepts; without it the specification's own bounds hold. */
export interface ImplementationLimits {
  /** Sizes and counts by the names of Part 2, as in spec/implementation.ts. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly handleRanges: Readonly<Record<string, number>>;
  /** TPM_ALG_ names. */
  readonly algorithms: readonly string[];
  /** Further constants that this implementation treats as unknown. */
  readonly unimplementedValues?: readonly string[];
}

/** First and last handles of the ranges whose end an implementation chooses: here the whole range of the handle type. */
const wholeHandleRanges: Readonly<Record<string, number>> = {
  PCR_LAST: 0x00ffffff,
  HMAC_SESSION_LAST: 0x02fffffe,
  POLICY_SESSION_LAST: 0x03fffffe,
  TRANSIENT_LAST: 0x80fffffe,
};

/** Thrown to leave the rest of the message undecoded; its issue is recorded already. */
export class DecodingStopped extends Error {}

type Put = (value: TpmValue) => void;

interface Place {
  readonly path: string;
  /** Whether the conditional value is allowed here. */
  readonly conditional: boolean;
  /** Value of the field that selects the union's arm or the digest's size. */
  readonly selector?: number;
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

export class Decoder {
  readonly issues: DecodeIssue[] = [];
  /** Of the next byte to read. */
  offset: number;
  end: number;
  /** What to add to a response code: TPM_RC_P and the parameter's number, and so on. */
  position = 0;
  /** Whether values are checked; answers of a TPM are taken as they are. */
  readonly checked: boolean;
  private readonly bytes: Uint8Array;
  private readonly limits: ImplementationLimits | undefined;

  constructor(bytes: Uint8Array, options: { offset?: number; checked: boolean; limits?: ImplementationLimits }) {
    this.bytes = bytes;
    this.offset = options.offset ?? 0;
    this.end = bytes.length;
    this.checked = options.checked;
    this.limits = options.limits;
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  /** Records what is wrong with the field that starts at `offset`. */
  report(offset: number, field: string, error: string, message: string): void {
    const code = constantOf(error);
    // Only format-one codes can say which handle, session or parameter is at fault (Part 2, 6.6.2).
    const responseCode = code & 0x80 ? code | this.position : code;
    this.issues.push({ offset, field, message, error, responseCode });
  }

  stop(offset: number, field: string, error: string, message: string): never {
    this.report(offset, field, error, message);
    throw new DecodingStopped();
  }

  /** The next bytes. */
  take(length: number, field: string): Uint8Array {
    if (length > this.remaining) {
      this.stop(this.offset, field, "TPM_RC_INSUFFICIENT", `needs ${countBytes(length)}, has ${this.remaining}`);
    }
    const at = this.offset;
    this.offset += length;
    return this.bytes.slice(at, this.offset);
  }

  /** An unsigned number of up to four bytes. */
  uint(length: 1 | 2 | 4, field: string): number {
    const bytes = this.take(length, field);
    return Number(readUint(bytes, 0, length));
  }

  /**
   * Reads a value of this type. `put` gets it before its parts are read, so that what could be decoded of it stays when
   * the rest cannot. Returns the number that was read, for a type that is a number.
   */
  read(reference: TypeReference, place: Place, put: Put): number | undefined {
    const conditional =
      reference.conditional === "allowed" || (reference.conditional === "inherited" && place.conditional);
    const type = resolveType(reference.name);
    const inner = { ...place, conditional };
    switch (type.kind) {
      case "structure":
        return this.readStructure(type.fields, inner, put);
      case "union":
        return this.readUnion(type, inner, put);
      case "list":
        return this.readList(type, inner, put);
      case "buffer":
        return this.readBuffer(type, inner, put);
      case "sized":
        return this.readSized(type, inner, put);
      case "digest":
        return this.readDigest(type.name, inner, put);
      case "bitmap":
        return this.readBitmap(type, inner, put);
      default:
        return this.readNumber(type, inner, put);
    }
  }

  /** Reads the fields of a structure, or handles or parameters, into `target`. */
  readFields(fields: readonly Field[], place: Place, target: TpmObject): void {
    const numbers = new Map<string, number>();
    for (const field of fields) {
      const selector = field.selector === undefined ? undefined : numbers.get(field.selector);
      const number = this.read(
        field.type,
        {
          path: place.path ? `${place.path}.${field.name}` : field.name,
          conditional: place.conditional,
          ...(selector === undefined ? {} : { selector }),
        },
        (value) => {
          target[field.name] = value;
        },
      );
      if (number !== undefined) numbers.set(field.name, number);
    }
  }

  private readStructure(fields: readonly Field[], place: Place, put: Put): undefined {
    const target: TpmObject = {};
    put(target);
    this.readFields(fields, place, target);
  }

  private readUnion(type: Extract<ResolvedType, { kind: "union" }>, place: Place, put: Put): undefined {
    const arm = type.arms.get(place.selector ?? -1);
    if (arm === undefined) {
      this.stop(this.offset, place.path, "TPM_RC_SELECTOR", `${type.name} has nothing for ${place.selector}`);
    }
    if (arm) this.read(arm.type, place, put);
  }

  private readList(type: Extract<ResolvedType, { kind: "list" }>, place: Place, put: Put): undefined {
    const at = this.offset;
    const count = this.uint(4, place.path);
    const max = this.limits?.sizes[type.max] ?? Number.POSITIVE_INFINITY;
    if (this.checked && count > max) this.stop(at, place.path, type.error, `${count} elements, at most ${max}`);
    if (this.checked && count < type.min)
      this.report(at, place.path, type.error, `${count} elements, at least ${type.min}`);
    const values: TpmValue[] = [];
    put(values);
    for (let i = 0; i < count; i++) {
      this.read(type.element, { path: `${place.path}[${i}]`, conditional: false }, (value) => {
        values[i] = value;
      });
    }
  }

  private readBuffer(type: Extract<ResolvedType, { kind: "buffer" }>, place: Place, put: Put): undefined {
    const at = this.offset;
    const size = this.uint(2, place.path);
    const max = this.limits?.sizes[type.max] ?? 0xffff;
    if (this.checked && size > max) this.report(at, place.path, "TPM_RC_SIZE", `${countBytes(size)}, at most ${max}`);
    put(this.take(size, place.path));
  }

  private readSized(type: Extract<ResolvedType, { kind: "sized" }>, place: Place, put: Put): undefined {
    const at = this.offset;
    const size = this.uint(2, place.path);
    if (size === 0) {
      if (this.checked && !type.mayBeEmpty) this.report(at, place.path, "TPM_RC_SIZE", "is empty");
      put(null);
      return;
    }
    const start = this.offset;
    this.read(type.field.type, place, put);
    const read = this.offset - start;
    if (read !== size) {
      this.stop(at, place.path, "TPM_RC_SIZE", `says ${countBytes(size)}, its content takes ${read}`);
    }
  }

  private readDigest(name: string, place: Place, put: Put): undefined {
    const size = digestSizeOf(place.selector ?? -1);
    if (size === undefined) {
      this.stop(this.offset, place.path, "TPM_RC_SELECTOR", `${name} has nothing for ${place.selector}`);
    }
    if (size > 0) put(this.take(size, place.path));
  }

  private readBitmap(type: Extract<ResolvedType, { kind: "bitmap" }>, place: Place, put: Put): undefined {
    const at = this.offset;
    const size = this.uint(1, place.path);
    const min = this.limits?.sizes[type.min] ?? 0;
    const max = this.limits?.sizes[type.max] ?? 0xff;
    if (this.checked && (size < min || size > max)) {
      this.report(at, place.path, type.error, `${countBytes(size)}, must be ${min} to ${max}`);
    }
    put(this.take(size, place.path));
  }

  private readNumber(
    type: Exclude<ResolvedType, { kind: "structure" | "union" | "list" | "buffer" | "sized" | "digest" | "bitmap" }>,
    place: Place,
    put: Put,
  ): number {
    const at = this.offset;
    const layout = type.kind === "interface" ? type.base : type;
    const raw = this.readInteger((layout as { integer: IntegerLayout }).integer, place.path);
    const number = Number(raw);
    put(valueFromNumber(type, raw));
    if (this.checked) {
      const problem = this.problemOf(type, raw, place.conditional);
      const what = type.kind === "attributes" ? `reserved bits ${hex(raw & type.reserved)}` : hex(raw);
      if (problem) this.report(at, place.path, problem, `${what} not allowed`);
    }
    return number;
  }

  private readInteger({ bytes, signed }: IntegerLayout, field: string): bigint {
    const raw = readUint(this.take(bytes, field), 0, bytes);
    return signed ? BigInt.asIntN(bytes * 8, raw) : raw;
  }

  /** Name of the response code for a number that the type does not allow. */
  private problemOf(type: ResolvedType, raw: bigint, conditional: boolean): string | undefined {
    const number = Number(raw);
    switch (type.kind) {
      case "integer":
        return type.name === "NV_DATA_SIZE" && number > (this.limits?.sizes.MAX_NV_INDEX_SIZE ?? 0xffff)
          ? "TPM_RC_SIZE"
          : undefined;
      case "constants":
        if (type.error === undefined) return undefined;
        return type.names.nameOf.has(number) && !this.isUnimplemented(type.names.nameOf.get(number))
          ? undefined
          : type.error;
      case "attributes":
        return raw & type.reserved && !type.lenient ? "TPM_RC_RESERVED_BITS" : undefined;
      case "interface":
        return this.isAllowed(type, number, conditional) ? undefined : type.error;
      default:
        return undefined;
    }
  }

  private isUnimplemented(name: string | undefined): boolean {
    return name !== undefined && (this.limits?.unimplementedValues?.includes(name) ?? false);
  }

  private isAllowed(type: Extract<ResolvedType, { kind: "interface" }>, value: number, conditional: boolean): boolean {
    if (conditional && value === type.nullValue) return true;
    if (type.values.has(value)) {
      const name = type.base.kind === "constants" ? type.base.names.nameOf.get(value) : undefined;
      if (!name?.startsWith("TPM_ALG_") || !this.limits) return true;
      return this.limits.algorithms.includes(name);
    }
    const bound = (name: string): number => (this.limits?.handleRanges ?? wholeHandleRanges)[name] ?? constantOf(name);
    return type.ranges.some(([first, last]) => value >= bound(first) && value <= bound(last));
  }
}

/** The number as a value: its constant's name, its bits, a boolean, or the number itself. */
function valueFromNumber(type: ResolvedType, raw: bigint): TpmValue {
  switch (type.kind) {
    case "interface":
      if (type.name === "TPMI_YES_NO" && raw <= 1n) return raw === 1n;
      return valueFromNumber(type.base, raw);
    case "constants":
      // A response code in a field is a number, as in a header: its bits say more than the names of the table.
      return type.name === "TPM_RC" ? Number(raw) : (type.names.nameOf.get(Number(raw)) ?? Number(raw));
    case "attributes": {
      const word: TpmObject = {};
      for (const { name, low, high } of type.bits) {
        const bits = Number((raw >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
        word[name] = low === high ? bits === 1 : nameOfField(name, bits);
      }
      const reserved = raw & type.reserved;
      if (reserved) word.reserved = type.integer.bytes === 8 ? reserved : Number(reserved);
      return word;
    }
    case "integer":
      return type.integer.bytes === 8 ? raw : Number(raw);
    default:
      return Number(raw);
  }
}

/** The name of a bit field's value, where the field is named after a table of constants (TPM_NT). */
function nameOfField(field: string, value: number): string | number {
  if (!(field in constants)) return value;
  const type = resolveType(field);
  return type.kind === "constants" ? (type.names.nameOf.get(value) ?? value) : value;
}

/** Reads one value of a type by its name; `put` as for Decoder.read. */
export function readType(decoder: Decoder, type: string, path: string, put: Put): void {
  decoder.read(parseTypeReference(type), { path, conditional: true }, put);
}
