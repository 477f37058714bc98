// What commands and responses have in common (Part 1, 18 "Command/Response Structure").
import { type Field, parseTypeReference, resolveField, resolveType } from "../spec/registry.ts";
import type { CommandDefinition, FieldDefinition } from "../spec/types.ts";
import type { Decoder } from "./decoder.ts";
import type { TpmObject } from "./values.ts";

/** Bytes of tag, size and command or response code. */
export const HEADER_SIZE = 10;

export const TPM_ST_NO_SESSIONS = 0x8001;
export const TPM_ST_SESSIONS = 0x8002;

const tagNames = new Map([
  [TPM_ST_NO_SESSIONS, "TPM_ST_NO_SESSIONS"],
  [TPM_ST_SESSIONS, "TPM_ST_SESSIONS"],
  [0x00c4, "TPM_ST_RSP_COMMAND"],
]);

/** The name of a message's tag, or the number where it has none. */
export function tagOf(tag: number): string | number {
  return tagNames.get(tag) ?? tag;
}

const fieldsByTable = new WeakMap<readonly FieldDefinition[], readonly Field[]>();

/** The parameters of a command's definition, resolved; the same list each time. */
export function fieldsOf(table: readonly FieldDefinition[] = []): readonly Field[] {
  let fields = fieldsByTable.get(table);
  if (!fields) {
    fields = table.map(resolveField);
    fieldsByTable.set(table, fields);
  }
  return fields;
}

/** The handles of a command; the third column of that table is a role, not a selector. */
export function handleFieldsOf(command: CommandDefinition): readonly Field[] {
  return (command.handles ?? []).map(([name, type]) => ({ name, type: parseTypeReference(type) }));
}

/** Whether a session can encrypt the first of these parameters: it must start with a size (Part 1, 21.1). */
export function canBeEncrypted(fields: readonly Field[]): boolean {
  const first = fields[0];
  if (!first) return false;
  const { kind } = resolveType(first.type.name);
  return kind === "buffer" || kind === "sized";
}

/** Reads parameters into `target`; the first as opaque bytes if a session encrypted it. */
export function readParameters(
  decoder: Decoder,
  fields: readonly Field[],
  target: TpmObject,
  options: { encrypted: boolean; numbered: boolean },
): void {
  fields.forEach((field, i) => {
    if (options.numbered) decoder.position = 0x40 | ((i + 1) << 8);
    if (i === 0 && options.encrypted) {
      const path = `parameters.${field.name}`;
      target[field.name] = { encrypted: decoder.take(decoder.uint(2, path), path) };
    } else {
      decoder.readFields([field], { path: "parameters", conditional: false }, target);
    }
  });
  decoder.position = 0;
}
