// assembly/tpm2/generated/structures.ts: the specification's structures as record classes with their unmarshalling and marshalling.
import { algorithms } from "./algorithms.ts";
import { attributes } from "./attributes.ts";
import { constants } from "./constants.ts";
import {
  HEADER,
  type Scalar,
  constantNames,
  fieldOffsets,
  importLine,
  layoutOf,
  listOffset,
  parseType,
  rawBytes,
  resolveAlias,
  scalarOf,
  structures,
} from "./engine-layout.ts";
import { handleRanges, implementedAlgorithms, unimplementedValues } from "./implementation.ts";
import { interfaces } from "./interfaces.ts";
import type { FieldDefinition } from "./types.ts";

function storageType(bytes: number, signed: boolean): string {
  return `${signed ? "i" : "u"}${bytes * 8}`;
}

function accessType(scalar: Scalar): string {
  if (scalar.bytes === 8) return scalar.signed ? "i64" : "u64";
  return scalar.signed ? "i32" : "u32";
}

function accessor(name: string, typeName: string, offset: number): string[] {
  const scalar = scalarOf(typeName);
  const at = offset === 0 ? "changetype<usize>(this)" : `changetype<usize>(this) + ${offset}`;
  if (!scalar) {
    if (rawBytes(typeName) !== undefined) {
      return ["  @inline", `  get ${name}(): usize {`, `    return ${at};`, "  }"];
    }
    return [
      "  @inline",
      `  get ${name}(): ${className(typeName)} {`,
      `    return changetype<${className(typeName)}>(${at});`,
      "  }",
    ];
  }
  const stored = storageType(scalar.bytes, scalar.signed);
  const seen = accessType(scalar);
  const tail = offset === 0 ? "" : `, ${offset}`;
  return [
    "  @inline",
    `  get ${name}(): ${seen} {`,
    `    return load<${stored}>(changetype<usize>(this)${tail});`,
    "  }",
    "  @inline",
    `  set ${name}(value: ${seen}) {`,
    `    store<${stored}>(changetype<usize>(this), <${stored}>value${tail});`,
    "  }",
  ];
}

/** Every TPM2B of bytes is the same class: UINT16 size, then the bytes. */
function className(typeName: string): string {
  const name = resolveAlias(typeName);
  const kind = structures[name]?.kind;
  return kind === "buffer" ? "TPM2B" : kind === "bitmap" ? "Bitmap" : name;
}

export function recordClass(
  name: string,
  fields: readonly FieldDefinition[],
  offsets: readonly number[],
  size: number,
): string {
  const lines = [`export const SIZEOF_${name}_RECORD: u32 = ${size};`, "", "@unmanaged", `export class ${name} {`];
  fields.forEach(([field, type], i) => {
    lines.push(...accessor(field, parseType(type).name, offsets[i]!));
  });
  lines.push("}", "");
  return lines.join("\n");
}

export function unmarshalCall(type: string, target: string): string {
  const { name, nullable } = parseType(type);
  const resolved = resolveAlias(name);
  const base = plainBase(resolved);
  if (base) return `unmarshalU${base * 8}(${target})`;
  const definition = structures[resolved];
  if (definition?.kind === "buffer") return `unmarshalTPM2B(${target}, ${definition.max})`;
  if (definition?.kind === "bitmap")
    return `unmarshalBitmap(${target}, ${definition.min}, ${definition.max}, ${definition.error})`;
  const flag = nullable === "inherit" ? "allowNull" : nullable === "yes" ? "true" : "false";
  return takesNull(resolved) ? `unmarshal_${resolved}(${target}, ${flag})` : `unmarshal_${resolved}(${target})`;
}

/** Bytes of a type that is unmarshalled without any check. */
function plainBase(name: string): number | undefined {
  if (name === "NV_DATA_SIZE" || interfaces[name]) return undefined;
  if (constants[name]?.error) return undefined;
  if (attributes[name] && !attributes[name].lenient) return undefined;
  return scalarOf(name)?.bytes;
}

function takesNull(name: string): boolean {
  if (interfaces[name]?.nullValue) return true;
  const definition = structures[name];
  if (definition?.kind === "structure") return definition.fields.some(([, type]) => type.startsWith("+"));
  if (definition?.kind === "sized")
    return definition.field[1].startsWith("+") || takesNull(parseType(definition.field[1]).name);
  return false;
}

export function marshalCall(type: string, target: string): string {
  const resolved = resolveAlias(parseType(type).name);
  const scalar = scalarOf(resolved);
  if (scalar) return `marshalU${scalar.bytes * 8}(load<u${scalar.bytes * 8}>(${target}))`;
  const definition = structures[resolved];
  if (definition?.kind === "buffer") return `marshalTPM2B(${target})`;
  if (definition?.kind === "bitmap") return `marshalBitmap(${target})`;
  return `marshal_${resolved}(${target})`;
}

export const offsetOf = (base: string, offset: number): string => (offset === 0 ? base : `${base} + ${offset}`);

function generateInterface(name: string): string {
  const definition = interfaces[name]!;
  const scalar = scalarOf(name)!;
  const isAlgorithm = definition.base === "TPM_ALG_ID";
  const params = definition.nullValue ? "(target: usize, allowNull: bool)" : "(target: usize)";
  const lines = [
    `export function unmarshal_${name}${params}: u32 {`,
    `  const rc = unmarshalU${scalar.bytes * 8}(target);`,
    "  if (rc) return rc;",
    `  const value: u32 = load<u${scalar.bytes * 8}>(target);`,
  ];
  if (definition.nullValue)
    lines.push(`  if (value == ${definition.nullValue}) return allowNull ? 0 : ${definition.error};`);
  for (const [first, last] of definition.ranges ?? []) {
    lines.push(
      handleRanges[first] === 0
        ? `  if (value <= ${last}) return 0;`
        : `  if (value >= ${first} && value <= ${last}) return 0;`,
    );
  }
  const values = (definition.values ?? []).filter((v) => !isAlgorithm || implementedAlgorithms.includes(v));
  if (definition.numbers) {
    const tests = definition.numbers.map((n) => `value == ${n}`).join(" || ");
    const guard = keyBitsGuard(name);
    lines.push(`  if (${guard ? `(${tests}) && ${guard}` : tests}) return 0;`);
  } else if (values.length > 0) {
    const guard = isAlgorithm
      ? "algorithmEnabled(value)"
      : definition.base === "TPM_ECC_CURVE"
        ? "curveEnabled(value)"
        : "";
    lines.push("  switch (value) {", ...values.map((v) => `    case ${v}:`));
    lines.push(`      return ${guard ? `${guard} ? 0 : ${definition.error}` : "0"};`, "  }");
  }
  const { otherwise } = definition;
  if (otherwise) {
    const apart = [...values, ...unimplementedValues, ...otherwise.than];
    const others = Object.keys(constants[definition.base]?.values ?? {}).filter((v) => !apart.includes(v));
    lines.push(
      "  switch (value) {",
      ...others.map((v) => `    case ${v}:`),
      `      return ${definition.error};`,
      "  }",
    );
  }
  lines.push(`  return ${otherwise?.error ?? definition.error};`, "}", "");
  return lines.join("\n");
}

function keyBitsGuard(name: string): string {
  const match = /^TPMI_(\w+)_KEY_BITS$/.exec(name);
  return match ? `keyBitsEnabled(TPM_ALG_${match[1]}, value)` : "";
}

function generateCheckedConstants(name: string): string {
  const { values, error } = constants[name]!;
  const scalar = scalarOf(name)!;
  const stored = storageType(scalar.bytes, scalar.signed);
  const known = Object.keys(values).filter((v) => !unimplementedValues.includes(v));
  return [
    `export function unmarshal_${name}(target: usize): u32 {`,
    `  const rc = unmarshalU${scalar.bytes * 8}(target);`,
    "  if (rc) return rc;",
    `  switch (${scalar.signed ? "<i32>" : "<u32>"}load<${stored}>(target)) {`,
    ...known.map((v) => `    case ${v}:`),
    "      return 0;",
    "  }",
    `  return ${error};`,
    "}",
    "",
  ].join("\n");
}

function reservedMask(name: string): bigint {
  const { base, bits } = attributes[name]!;
  let mask = (1n << BigInt(scalarOf(base)!.bytes * 8)) - 1n;
  for (const bit of Object.values(bits)) {
    const [low, high] = typeof bit === "number" ? [bit, bit] : bit;
    for (let i = low; i <= high; i++) mask &= ~(1n << BigInt(i));
  }
  return mask;
}

/** UINT16 {:MAX_NV_INDEX_SIZE} (Part 2, 13.5). */
const NV_DATA_SIZE = [
  "export function unmarshal_NV_DATA_SIZE(target: usize): u32 {",
  "  const rc = unmarshalU16(target);",
  "  if (rc) return rc;",
  "  return load<u16>(target) <= MAX_NV_INDEX_SIZE ? 0 : TPM_RC_SIZE;",
  "}",
  "",
].join("\n");

function generateAttributes(name: string): string {
  const bits = scalarOf(name)!.bytes * 8;
  return [
    `export function unmarshal_${name}(target: usize): u32 {`,
    `  const rc = unmarshalU${bits}(target);`,
    "  if (rc) return rc;",
    `  return (load<u${bits}>(target) & 0x${reservedMask(name).toString(16)}) == 0 ? 0 : TPM_RC_RESERVED_BITS;`,
    "}",
    "",
  ].join("\n");
}

function generateStructure(name: string): string {
  const definition = structures[name]!;
  switch (definition.kind) {
    case "structure":
      return generateRecord(name, definition.fields);
    case "union":
      return generateUnion(name, definition.arms);
    case "list":
      return generateList(name, definition);
    case "sized":
      return generateSized(name, definition.field, definition.mayBeEmpty ?? false);
    default:
      return "";
  }
}

function selectorLoad(fields: readonly FieldDefinition[], offsets: readonly number[], selector: string): string {
  const index = fields.findIndex(([field]) => field === selector);
  const scalar = scalarOf(parseType(fields[index]![1]).name)!;
  const tail = offsets[index] === 0 ? "" : `, ${offsets[index]}`;
  return `load<u${scalar.bytes * 8}>(target${tail})`;
}

function generateRecord(name: string, fields: readonly FieldDefinition[]): string {
  const { offsets, size } = fieldOffsets(fields);
  const out = [recordClass(name, fields, offsets, size)];
  const params = takesNull(name) ? "(target: usize, allowNull: bool)" : "(target: usize)";
  const read: string[] = [];
  const write: string[] = [];
  fields.forEach(([, type, selector], i) => {
    const target = offsetOf("target", offsets[i]!);
    if (selector) {
      const select = selectorLoad(fields, offsets, selector);
      const union = resolveAlias(parseType(type).name);
      read.push(`unmarshal_${union}(${target}, ${select})`);
      write.push(`marshal_${union}(${target}, ${select})`);
    } else {
      read.push(unmarshalCall(type, target));
      write.push(marshalCall(type, target));
    }
  });
  out.push(`export function unmarshal_${name}${params}: u32 {`);
  out.push(...sequence(read), "}", "");
  out.push(`export function marshal_${name}(target: usize): void {`, ...write.map((w) => `  ${w};`), "}", "");
  return out.join("\n");
}

/** Calls one after the other; the first that fails ends it. */
function sequence(calls: readonly string[]): string[] {
  if (calls.length === 0) return ["  return 0;"];
  if (calls.length === 1) return [`  return ${calls[0]};`];
  const lines = [`  let rc = ${calls[0]};`];
  calls.slice(1, -1).forEach((call) => {
    lines.push("  if (rc) return rc;", `  rc = ${call};`);
  });
  lines.push("  if (rc) return rc;", `  return ${calls[calls.length - 1]};`);
  return lines;
}

function armImplemented(selector: string): boolean {
  if (unimplementedValues.includes(selector)) return false;
  return algorithms[selector] === undefined || implementedAlgorithms.includes(selector);
}

function generateUnion(name: string, arms: Readonly<Record<string, FieldDefinition | null>>): string {
  const { size } = layoutOf(name);
  const present = Object.entries(arms).filter(([selector]) => armImplemented(selector));
  const fields = present.flatMap(([, arm]) => (arm ? [arm] : []));
  const out = [
    recordClass(
      name,
      fields,
      fields.map(() => 0),
      size,
    ),
  ];
  const caseLines = (call: (arm: FieldDefinition) => string[], none: string): string[] =>
    present.flatMap(([selector, arm]) => [`    case ${selector}:`, ...(arm ? call(arm) : [`      ${none}`])]);
  out.push(`export function unmarshal_${name}(target: usize, selector: u32): u32 {`, "  switch (selector) {");
  out.push(...caseLines(([, type]) => [`      return ${unmarshalCall(type, "target")};`], "return 0;"));
  out.push("  }", "  return TPM_RC_SELECTOR;", "}", "");
  out.push(`export function marshal_${name}(target: usize, selector: u32): void {`, "  switch (selector) {");
  out.push(...caseLines(([, type]) => [`      ${marshalCall(type, "target")};`, "      return;"], "return;"));
  out.push("  }", "}", "");
  return out.join("\n");
}

function generateList(
  name: string,
  definition: { name: string; element: string; min?: number; max: string; error: string },
): string {
  const element = layoutOf(definition.element);
  const first = listOffset(element);
  const scalar = scalarOf(definition.element);
  const item = scalar ? accessType(scalar) : className(definition.element);
  const stored = scalar ? storageType(scalar.bytes, scalar.signed) : "";
  const at = `changetype<usize>(this) + ${first} + <usize>index * ${element.size}`;
  const lines = [
    `export const SIZEOF_${name}_RECORD: u32 = ${layoutOf(name).size};`,
    "",
    "@unmanaged",
    `export class ${name} {`,
    ...accessor("count", "UINT32", 0),
    `  /** The element at \`index\`, which must be below ${definition.max}. */`,
    "  @inline",
    `  ${definition.name}(index: u32): ${item} {`,
    scalar ? `    return load<${stored}>(${at});` : `    return changetype<${item}>(${at});`,
    "  }",
  ];
  if (scalar) {
    lines.push(
      "  @inline",
      `  set_${definition.name}(index: u32, value: ${item}): void {`,
      `    store<${stored}>(${at}, <${stored}>value);`,
      "  }",
    );
  }
  lines.push("}", "");
  const inner = `target + ${first} + <usize>i * ${element.size}`;
  lines.push(
    `export function unmarshal_${name}(target: usize): u32 {`,
    "  let rc = unmarshalU32(target);",
    "  if (rc) return rc;",
    "  const count = load<u32>(target);",
    `  if (${definition.min ? `count < ${definition.min} || ` : ""}count > ${definition.max}) return ${definition.error};`,
    "  for (let i: u32 = 0; i < count; i++) {",
    `    rc = ${unmarshalCall(definition.element, inner)};`,
    "    if (rc) return rc;",
    "  }",
    "  return 0;",
    "}",
    "",
    `export function marshal_${name}(target: usize): void {`,
    "  const count = load<u32>(target);",
    "  marshalU32(count);",
    `  for (let i: u32 = 0; i < count; i++) ${marshalCall(definition.element, inner)};`,
    "}",
    "",
  );
  return lines.join("\n");
}

function generateSized(name: string, [field, type]: FieldDefinition, mayBeEmpty: boolean): string {
  const inner = layoutOf(parseType(type).name);
  const offset = Math.max(2, inner.align);
  const params = takesNull(name) ? "(target: usize, allowNull: bool)" : "(target: usize)";
  const at = `target + ${offset}`;
  const inherit = type.startsWith("+") ? type : type;
  return [
    `export const SIZEOF_${name}_RECORD: u32 = ${layoutOf(name).size};`,
    "",
    "@unmanaged",
    `export class ${name} {`,
    ...accessor("size", "UINT16", 0),
    ...accessor(field, parseType(type).name, offset),
    "}",
    "",
    `export function unmarshal_${name}${params}: u32 {`,
    "  let rc = unmarshalU16(target);",
    "  if (rc) return rc;",
    "  const size: u32 = load<u16>(target);",
    `  if (size == 0) return ${mayBeEmpty ? "0" : "TPM_RC_SIZE"};`,
    "  const before = inputLeft();",
    `  rc = ${unmarshalCall(inherit, at)};`,
    "  if (rc) return rc;",
    "  return before - inputLeft() == size ? 0 : TPM_RC_SIZE;",
    "}",
    "",
    "/** The size is what the structure takes now, whatever the size field says. */",
    `export function marshal_${name}(target: usize): void {`,
    "  const mark = beginSized();",
    `  ${marshalCall(type, at)};`,
    "  endSized(mark);",
    "}",
    "",
  ].join("\n");
}

export const CURSOR_IMPORTS = [
  "beginSized",
  "endSized",
  "inputLeft",
  "marshalBitmap",
  "marshalTPM2B",
  "marshalU16",
  "marshalU32",
  "marshalU64",
  "marshalU8",
  "unmarshalBitmap",
  "unmarshalTPM2B",
  "unmarshalU16",
  "unmarshalU32",
  "unmarshalU64",
  "unmarshalU8",
  "TPM2B",
  "Bitmap",
];

export function generateStructures(): string {
  const body: string[] = [];
  for (const name of Object.keys(interfaces)) if (name !== "TPMI_ST_COMMAND_TAG") body.push(generateInterface(name));
  for (const [name, { error }] of Object.entries(constants)) if (error) body.push(generateCheckedConstants(name));
  for (const [name, { lenient }] of Object.entries(attributes)) if (!lenient) body.push(generateAttributes(name));
  body.push(NV_DATA_SIZE);
  for (const name of Object.keys(structures)) body.push(generateStructure(name));
  const text = body.filter((b) => b !== "").join("\n");
  return [
    HEADER,
    importLine(text, CURSOR_IMPORTS, "../cursor"),
    importLine(text, ["algorithmEnabled", "curveEnabled", "keyBitsEnabled"], "../algorithms"),
    importLine(text, ["unmarshal_TPMU_HA", "marshal_TPMU_HA", "TPMU_HA"], "../digest"),
    importLine(text, constantNames(), "./constants"),
    "",
    text,
  ].join("\n");
}
