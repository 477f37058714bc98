// Random values of every type of the specification, in the form in which the codec decodes them.
import fc from "fast-check";
import type { TpmObject, TpmValue } from "../../src/codec/values.ts";
import { constants } from "../../src/spec/constants.ts";
import { handleRanges } from "../../src/spec/implementation.ts";
import {
  constantOf,
  digestSizeOf,
  type Field,
  type ResolvedType,
  resolveType,
  type TypeReference,
} from "../../src/spec/registry.ts";

/** Draws from an arbitrary, as the argument of fc.gen() does. */
export type Draw = fc.GeneratorValue;

/** What was drawn: the value, and its number where it is one. */
interface Drawn {
  readonly value: TpmValue | undefined;
  readonly number?: number;
}

/** A random value that a TPM accepts where this type stands. */
export function randomValue(draw: Draw, reference: TypeReference, inherited = true, selector?: number): Drawn {
  const conditional = reference.conditional === "allowed" || (reference.conditional === "inherited" && inherited);
  const type = resolveType(reference.name);
  switch (type.kind) {
    case "structure":
      return { value: randomFields(draw, type.fields, conditional) };
    case "union": {
      const arm = type.arms.get(selector ?? -1);
      return arm ? randomValue(draw, arm.type, conditional, selector) : { value: undefined };
    }
    case "list": {
      const length = draw(fc.integer, { min: type.min, max: type.min + 3 });
      return { value: Array.from({ length }, () => randomValue(draw, type.element, false).value as TpmValue) };
    }
    case "buffer":
      return { value: draw(fc.uint8Array, { maxLength: 40 }) };
    case "bitmap":
      return { value: draw(fc.uint8Array, { maxLength: 4 }) };
    case "sized":
      if (type.mayBeEmpty && draw(fc.boolean)) return { value: null };
      return randomValue(draw, type.field.type, conditional);
    case "digest": {
      const size = digestSizeOf(selector ?? -1) ?? 0;
      return { value: size ? draw(fc.uint8Array, { minLength: size, maxLength: size }) : undefined };
    }
    default:
      return randomNumber(draw, type, conditional);
  }
}

/** Random values of a structure's fields, or of handles or parameters. */
export function randomFields(draw: Draw, fields: readonly Field[], conditional: boolean): TpmObject {
  const target: TpmObject = {};
  const numbers = new Map<string, number>();
  for (const field of fields) {
    // What selects must have an arm in everything it selects.
    const selected = fields.filter(({ selector }) => selector === field.name).map(({ type }) => resolveType(type.name));
    const selector = field.selector === undefined ? undefined : numbers.get(field.selector);
    const drawn = selected.length
      ? randomSelector(draw, field, conditional, selected)
      : randomValue(draw, field.type, conditional, selector);
    if (drawn.value !== undefined) target[field.name] = drawn.value;
    if (drawn.number !== undefined) numbers.set(field.name, drawn.number);
  }
  return target;
}

function randomSelector(draw: Draw, field: Field, conditional: boolean, selected: readonly ResolvedType[]): Drawn {
  const allowed = fieldNumbers(resolveType(field.type.name), field.type.conditional !== "refused" && conditional);
  const usable = allowed.filter((number) =>
    selected.every((type) => (type.kind === "union" ? type.arms.has(number) : digestSizeOf(number) !== undefined)),
  );
  const number = oneOf(draw, usable);
  return { value: named(resolveType(field.type.name), number), number };
}

function oneOf(draw: Draw, numbers: readonly number[]): number {
  return numbers[draw(fc.integer, { min: 0, max: numbers.length - 1 })] as number;
}

/** All numbers with a name that a type allows. */
function fieldNumbers(type: ResolvedType, conditional: boolean): number[] {
  if (type.kind === "constants") return [...type.names.nameOf.keys()];
  if (type.kind !== "interface") return [];
  return [...type.values, ...(conditional && type.nullValue !== undefined ? [type.nullValue] : [])];
}

function named(type: ResolvedType, number: number): TpmValue {
  const base = type.kind === "interface" ? type.base : type;
  if (type.name === "TPMI_YES_NO") return number === 1;
  if (base.kind !== "constants" || type.name === "TPM_RC") return number;
  return base.names.nameOf.get(number) ?? number;
}

function randomNumber(draw: Draw, type: ResolvedType, conditional: boolean): Drawn {
  switch (type.kind) {
    case "integer":
    case "handle":
      return randomInteger(draw, type.integer);
    case "constants": {
      const number = oneOf(draw, [...type.names.nameOf.keys()]);
      return { value: named(type, number), number };
    }
    case "attributes": {
      const word: TpmObject = {};
      for (const { name, low, high } of type.bits)
        word[name] = low === high ? draw(fc.boolean) : randomBits(draw, name, high - low + 1);
      return { value: word };
    }
    case "interface": {
      const numbers = fieldNumbers(type, conditional);
      for (const [first, last] of type.ranges) {
        const bound = (name: string): number => handleRanges[name] ?? constantOf(name);
        numbers.push(draw(fc.integer, { min: bound(first), max: bound(last) }));
      }
      const number = oneOf(draw, numbers);
      return { value: named(type, number), number };
    }
    default:
      throw new Error(`${type.name} is no number`);
  }
}

function randomInteger(draw: Draw, { bytes, signed }: { bytes: number; signed: boolean }): Drawn {
  if (bytes === 8) return { value: draw(fc.bigInt, { min: 0n, max: (1n << 64n) - 1n }) };
  const span = 2 ** (8 * bytes);
  const value = draw(fc.integer, signed ? { min: -span / 2, max: span / 2 - 1 } : { min: 0, max: span - 1 });
  return { value, number: value };
}

function randomBits(draw: Draw, name: string, width: number): TpmValue {
  const bits = draw(fc.integer, { min: 0, max: 2 ** width - 1 });
  const type = name in constants ? resolveType(name) : undefined;
  return type?.kind === "constants" ? (type.names.nameOf.get(bits) ?? bits) : bits;
}
