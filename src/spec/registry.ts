// An index over the tables: every type of Part 2 by its name, every command by its name or code, every constant by its name.
// What the tables say in names (selector values, limits of ranges, bases) is resolved here once and kept.
import { algorithms } from "./algorithms.ts";
import { attributes } from "./attributes.ts";
import { commands } from "./commands.ts";
import { constants } from "./constants.ts";
import { handleRanges } from "./implementation.ts";
import { interfaces } from "./interfaces.ts";
import { structures } from "./structures.ts";
import type { CommandDefinition, FieldDefinition } from "./types.ts";

/** Width in bytes and signedness of a number on the wire; big-endian always. */
export interface IntegerLayout {
  readonly bytes: 1 | 2 | 4 | 8;
  readonly signed: boolean;
}

/** A bit (low equals high) or a field of bits in an attribute word. */
export interface BitField {
  readonly name: string;
  readonly low: number;
  readonly high: number;
}

/** The names of a type's values, both ways; `prefixes` may be left out when a value is written by name. */
export interface ValueNames {
  readonly nameOf: ReadonlyMap<number, string>;
  readonly valueOf: ReadonlyMap<string, number>;
  readonly prefixes: readonly string[];
}

export interface Field {
  readonly name: string;
  readonly type: TypeReference;
  readonly selector?: string;
}

/** A type as it stands in a field. `conditional`: what its "+" says about the conditional value (Part 2, 4.9). */
export interface TypeReference {
  readonly name: string;
  readonly conditional: "allowed" | "inherited" | "refused";
}

export type ResolvedType =
  | { readonly kind: "integer"; readonly name: string; readonly integer: IntegerLayout }
  | { readonly kind: "handle"; readonly name: string; readonly integer: IntegerLayout }
  | {
      readonly kind: "constants";
      readonly name: string;
      readonly integer: IntegerLayout;
      readonly names: ValueNames;
      /** Response code for a value without a name; none when any value is accepted. */
      readonly error?: string;
    }
  | {
      readonly kind: "attributes";
      readonly name: string;
      readonly integer: IntegerLayout;
      readonly bits: readonly BitField[];
      /** The bits that no name covers. */
      readonly reserved: bigint;
      readonly lenient: boolean;
    }
  | {
      readonly kind: "interface";
      readonly name: string;
      readonly base: Exclude<ResolvedType, { kind: "interface" | "structure" | "union" | "list" }>;
      readonly values: ReadonlySet<number>;
      readonly ranges: readonly (readonly [first: string, last: string])[];
      readonly nullValue?: number;
      readonly error: string;
    }
  | { readonly kind: "structure"; readonly name: string; readonly fields: readonly Field[] }
  | { readonly kind: "union"; readonly name: string; readonly arms: ReadonlyMap<number, Field | null> }
  | {
      readonly kind: "list";
      readonly name: string;
      readonly element: TypeReference;
      readonly min: number;
      readonly max: string;
      readonly error: string;
    }
  | { readonly kind: "buffer"; readonly name: string; readonly max: string }
  | { readonly kind: "sized"; readonly name: string; readonly field: Field; readonly mayBeEmpty: boolean }
  | { readonly kind: "digest"; readonly name: string }
  | {
      readonly kind: "bitmap";
      readonly name: string;
      readonly min: string;
      readonly max: string;
      readonly error: string;
    };

/** The integers that the specification gives a name of its own, without a table of values. */
const integers: Record<string, IntegerLayout> = {
  UINT8: { bytes: 1, signed: false },
  INT8: { bytes: 1, signed: true },
  UINT16: { bytes: 2, signed: false },
  UINT32: { bytes: 4, signed: false },
  INT32: { bytes: 4, signed: true },
  UINT64: { bytes: 8, signed: false },
  TPM_ALG_ID: { bytes: 2, signed: false },
  TPM_KEY_BITS: { bytes: 2, signed: false },
  TPM_HANDLE: { bytes: 4, signed: false },
  TPM_CC: { bytes: 4, signed: false },
  NV_DATA_SIZE: { bytes: 2, signed: false },
};

/** Bytes of the digest of each hash algorithm (TCG Algorithm Registry). */
export const digestSizes: Readonly<Record<string, number>> = {
  TPM_ALG_SHA1: 20,
  TPM_ALG_SHA256: 32,
  TPM_ALG_SHA384: 48,
  TPM_ALG_SHA512: 64,
  TPM_ALG_SHA256_192: 24,
  TPM_ALG_SM3_256: 32,
  TPM_ALG_SHA3_256: 32,
  TPM_ALG_SHA3_384: 48,
  TPM_ALG_SHA3_512: 64,
};

const digestSizesById = new Map(
  Object.entries(digestSizes).map(([name, size]) => [algorithms[name]?.id ?? 0, size] as const),
);

/** Bytes of a digest of this TPM_ALG_ID: 0 for TPM_ALG_NULL, undefined when it is no hash algorithm. */
export function digestSizeOf(algorithm: number): number | undefined {
  return algorithm === algorithms.TPM_ALG_NULL?.id ? 0 : digestSizesById.get(algorithm);
}

/** Former names of commands that were renamed in version 1.59. */
const formerCommandNames: Readonly<Record<string, string>> = { HMAC: "MAC", HMAC_Start: "MAC_Start" };

const commandsByName = new Map(commands.map((command) => [command.name, command]));
const commandsByCode = new Map(commands.map((command) => [command.code, command]));
for (const [former, name] of Object.entries(formerCommandNames)) {
  const command = commandsByName.get(name);
  if (command) commandsByName.set(former, command);
}

/** A command by its TPM_CC, or by its name with or without "TPM2_" or "TPM_CC_"; undefined when there is none. */
export function findCommand(command: string | number): CommandDefinition | undefined {
  if (typeof command === "number") return commandsByCode.get(command);
  return commandsByName.get(command.replace(/^TPM2_|^TPM_CC_/, ""));
}

const allValues = new Map<string, number>([
  ...Object.entries(handleRanges),
  ...Object.entries(algorithms).map(([name, { id }]) => [name, id] as const),
  ...Object.values(constants).flatMap(({ values }) => Object.entries(values)),
  ...commands.map(({ name, code }) => [`TPM_CC_${name}`, code] as const),
]);

/** The value of a constant, an algorithm, a command code or a limit of a handle range. Throws for an unknown name. */
export function constantOf(name: string): number {
  const value = allValues.get(name);
  if (value === undefined) throw new Error(`the specification has no constant ${name}`);
  return value;
}

/** What all names have in common, up to and including an underscore. */
function commonPrefix(names: readonly string[]): string {
  const first = names[0] ?? "";
  let length = first.length;
  for (const name of names) while (!name.startsWith(first.slice(0, length))) length--;
  return first.slice(0, first.lastIndexOf("_", length - 1) + 1);
}

function valueNames(entries: readonly (readonly [name: string, value: number])[], prefixes?: string[]): ValueNames {
  const nameOf = new Map<number, string>();
  for (const [name, value] of entries) if (!nameOf.has(value)) nameOf.set(value, name);
  return { nameOf, valueOf: new Map(entries), prefixes: prefixes ?? [commonPrefix(entries.map(([name]) => name))] };
}

/** Names of the permanent handles (TPM_RH); other handles are numbers. */
export const handleNames: ValueNames = valueNames(Object.entries(constants.TPM_RH?.values ?? {}), [
  "TPM_RH_",
  "TPM_RS_",
]);

const algorithmNames = valueNames(Object.entries(algorithms).map(([name, { id }]) => [name, id] as const));
const commandNames = valueNames(
  [...commandsByName].map(([name, { code }]) => [`TPM_CC_${name}`, code] as const),
  ["TPM_CC_"],
);

export function parseTypeReference(text: string): TypeReference {
  if (text.endsWith("+")) return { name: text.slice(0, -1), conditional: "allowed" };
  if (text.startsWith("+")) return { name: text.slice(1), conditional: "inherited" };
  return { name: text, conditional: "refused" };
}

export function resolveField([name, type, selector]: FieldDefinition): Field {
  return { name, type: parseTypeReference(type), ...(selector === undefined ? {} : { selector }) };
}

function resolveInteger(name: string, integer: IntegerLayout): ResolvedType {
  if (name === "TPM_HANDLE") return { kind: "handle", name, integer };
  if (name === "TPM_ALG_ID") return { kind: "constants", name, integer, names: algorithmNames };
  if (name === "TPM_CC") return { kind: "constants", name, integer, names: commandNames };
  return { kind: "integer", name, integer };
}

function layoutOf(name: string): IntegerLayout {
  const type = resolveType(name);
  if ("integer" in type) return type.integer;
  throw new Error(`${name} is not a number`);
}

function resolveAttributes(name: string): ResolvedType | undefined {
  const definition = attributes[name];
  if (!definition) return undefined;
  const integer = layoutOf(definition.base);
  const bits = Object.entries(definition.bits).map(([bit, at]) =>
    typeof at === "number" ? { name: bit, low: at, high: at } : { name: bit, low: at[0], high: at[1] },
  );
  let reserved = (1n << BigInt(integer.bytes * 8)) - 1n;
  for (const { low, high } of bits) reserved &= ~(((1n << BigInt(high - low + 1)) - 1n) << BigInt(low));
  return { kind: "attributes", name, integer, bits, reserved, lenient: definition.lenient ?? false };
}

function resolveInterface(name: string): ResolvedType | undefined {
  const definition = interfaces[name];
  if (!definition) return undefined;
  const base = resolveType(definition.base);
  if (base.kind !== "integer" && base.kind !== "handle" && base.kind !== "constants") {
    throw new Error(`the base of ${name} is not a number`);
  }
  return {
    kind: "interface",
    name,
    base,
    values: new Set([...(definition.values ?? []).map(constantOf), ...(definition.numbers ?? [])]),
    ranges: definition.ranges ?? [],
    ...(definition.nullValue === undefined ? {} : { nullValue: constantOf(definition.nullValue) }),
    error: definition.error,
  };
}

function resolveConstants(name: string): ResolvedType | undefined {
  const definition = constants[name];
  if (!definition) return undefined;
  const names = valueNames(Object.entries(definition.values));
  const error = definition.error === undefined ? {} : { error: definition.error };
  return { kind: "constants", name, integer: layoutOf(definition.base), names, ...error };
}

function resolveStructure(name: string): ResolvedType | undefined {
  const definition = structures[name];
  switch (definition?.kind) {
    case undefined:
      return undefined;
    case "alias":
      return { ...resolveType(definition.of), name };
    case "structure":
      return { kind: "structure", name, fields: definition.fields.map(resolveField) };
    case "union": {
      const arms = Object.entries(definition.arms).map(
        ([selector, field]) => [constantOf(selector), field && resolveField(field)] as const,
      );
      return { kind: "union", name, arms: new Map(arms) };
    }
    case "list":
      return {
        kind: "list",
        name,
        element: parseTypeReference(definition.element),
        min: definition.min ?? 0,
        max: definition.max,
        error: definition.error,
      };
    case "sized":
      return { kind: "sized", name, field: resolveField(definition.field), mayBeEmpty: definition.mayBeEmpty ?? false };
    case "buffer":
      return { ...definition, name };
    case "bitmap":
      return { ...definition, name };
    case "digest":
      return { ...definition, name };
  }
}

const resolved = new Map<string, ResolvedType>();

/** The type of this name in Part 2. Throws for an unknown name. */
export function resolveType(name: string): ResolvedType {
  const known = resolved.get(name);
  if (known) return known;
  const integer = integers[name];
  const type =
    (integer && resolveInteger(name, integer)) ??
    resolveConstants(name) ??
    resolveAttributes(name) ??
    resolveInterface(name) ??
    resolveStructure(name);
  if (!type) throw new Error(`the specification has no type ${name}`);
  resolved.set(name, type);
  return type;
}
