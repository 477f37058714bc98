// Values as text. A secret is replaced by its length.
import { type Field, handleNames, resolveType } from "../spec/registry.ts";
import { countBytes, toHex } from "./bytes.ts";
import { encodeValue } from "./encoder.ts";
import { describeResponseCode } from "./response-code.ts";
import { isSecretType } from "./secrets.ts";
import { isEncrypted, type TpmObject, type TpmValue } from "./values.ts";

export interface TextOptions {
  /** Print secrets too: for a TPM that holds nothing but test data. */
  readonly revealSecrets?: boolean;
  /** Show no more than this many bytes of a buffer. */
  readonly maxBytes?: number;
}

/** A value of this type on one line. */
export function inlineValue(typeName: string, value: TpmValue | undefined, options: TextOptions): string {
  if (value === undefined) return "";
  if (value === null) return "empty";
  if (isEncrypted(value)) return `<encrypted, ${countBytes(value.encrypted.length)}>`;
  if (!options.revealSecrets && isSecretType(typeName)) return hidden(typeName, value);
  if (value instanceof Uint8Array) return inlineBytes(typeName, value, options);
  if (Array.isArray(value)) {
    const type = resolveType(typeName);
    const element = type.kind === "list" ? type.element.name : "";
    return `[${value.map((item) => inlineValue(element, item, options)).join(", ")}]`;
  }
  if (typeof value === "object") return inlineObject(typeName, value, options);
  return inlineScalar(typeName, value);
}

/** A secret value of this type: how many bytes it has. */
export function hidden(typeName: string, value: TpmValue): string {
  const length = value instanceof Uint8Array ? value.length : secretLength(typeName, value);
  return length === undefined ? "<secret>" : `<${countBytes(length)}>`;
}

/** Bytes of a structure that is hidden as a whole; undefined when it was not decoded to its end. */
function secretLength(typeName: string, value: TpmValue): number | undefined {
  try {
    return encodeValue(typeName, value, "").bytes.length;
  } catch {
    return undefined;
  }
}

function inlineBytes(typeName: string, bytes: Uint8Array, { maxBytes }: TextOptions): string {
  if (resolveType(typeName).kind === "bitmap") return selectedPcrs(bytes).join(",") || "none";
  if (bytes.length === 0) return "empty";
  // One that is cut off must lose enough to be worth it.
  if (maxBytes === undefined || bytes.length <= 2 * maxBytes) return toHex(bytes);
  return `${toHex(bytes.subarray(0, maxBytes))}…`;
}

/** The numbers of the PCRs in a bit map (TPMS_PCR_SELECTION.pcrSelect). */
export function selectedPcrs(bitmap: Uint8Array): number[] {
  const pcrs: number[] = [];
  bitmap.forEach((byte, i) => {
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) pcrs.push(8 * i + bit);
  });
  return pcrs;
}

function inlineObject(typeName: string, value: TpmObject, options: TextOptions): string {
  const type = resolveType(typeName);
  switch (type.kind) {
    case "attributes":
      return inlineAttributes(value);
    case "sized":
      return inlineValue(type.field.type.name, value, options);
    case "structure":
      if (typeName === "TPMT_HA" || typeName === "TPMS_PCR_SELECTION") {
        const parts = type.fields.map((field) => inlineValue(field.type.name, value[field.name], options));
        return parts.join(typeName === "TPMT_HA" ? " " : ":").trim();
      }
      return `{${typedFields(type.fields, value)
        .map(([name, inner, part]) => `${name}=${inlineValue(inner, part, options)}`)
        .join(", ")}}`;
    default:
      return "{}";
  }
}

function inlineAttributes(word: TpmObject): string {
  const parts: string[] = [];
  for (const [name, setting] of Object.entries(word)) {
    if (setting === true) parts.push(name);
    else if (name === "reserved") parts.push(hex(Number(setting)));
    else if (typeof setting === "string") parts.push(setting);
    else if (setting) parts.push(`${name}=${String(setting)}`);
  }
  return parts.join("|") || "none";
}

const hex = (value: number, digits = 0): string => `0x${value.toString(16).padStart(digits, "0")}`;

function inlineScalar(typeName: string, value: number | bigint | boolean | string): string {
  if (typeof value === "boolean") return value ? "YES" : "NO";
  if (typeof value === "string") return value.replace(/^TPM_ALG_/, "");
  const resolved = resolveType(typeName);
  const type = resolved.kind === "interface" ? resolved.base : resolved;
  if (typeName === "TPM_RC") return describeResponseCode(Number(value));
  if (type.kind === "handle") return handleText(Number(value));
  if (type.kind === "constants") return hex(Number(value));
  return String(value);
}

/** A handle as in "PCR 7", "TPM_RH_OWNER" or "0x81000001". */
export function handleText(handle: number): string {
  if (handle < 0x100) return `PCR ${handle}`;
  return handleNames.nameOf.get(handle) ?? hex(handle, 8);
}

/** The fields of a structure that are there, with the type of a chosen union's arm in place of the union. */
export function typedFields(
  fields: readonly Field[],
  value: TpmObject,
): [name: string, type: string, value: TpmValue][] {
  return fields.flatMap(({ name, type, selector }): [string, string, TpmValue][] => {
    const part = value[name];
    if (part === undefined) return [];
    return [[name, selector === undefined ? type.name : armType(fields, type.name, value, selector), part]];
  });
}

function armType(fields: readonly Field[], union: string, value: TpmObject, selector: string): string {
  const type = resolveType(union);
  if (type.kind !== "union") return union;
  const selecting = fields.find(({ name }) => name === selector);
  const number = selecting && encodeValue(selecting.type.name, value[selector], selector).number;
  return type.arms.get(number ?? -1)?.type.name ?? union;
}
