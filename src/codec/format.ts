// Commands and responses as text: several lines to study, or one line for a log.
import { type Field, findCommand, resolveType } from "../spec/registry.ts";
import { readUint } from "./bytes.ts";
import { type DecodedCommand, decodeCommand, hasAttribute } from "./command.ts";
import { fieldsOf, handleFieldsOf } from "./message.ts";
import { type DecodedResponse, decodeResponse } from "./response.ts";
import { describeResponseCode } from "./response-code.ts";
import { isSecretParameter } from "./secrets.ts";
import { decodeType } from "./structure.ts";
import { handleText, hidden, inlineValue, type TextOptions, typedFields } from "./value-text.ts";
import { type DecodeIssue, isEncrypted, type TpmObject, type TpmValue } from "./values.ts";

export type { TextOptions } from "./value-text.ts";

/** Longest line of a value before it is broken into its fields. */
const LINE_LENGTH = 100;
/** Longest description on one line; what is longer is cut off. */
const DESCRIPTION_LENGTH = 240;

/** Buffers whose content is a structure. */
const contents: Readonly<Record<string, string>> = {
  TPM2B_ATTEST: "TPMS_ATTEST",
  TPM2B_TEMPLATE: "TPMT_PUBLIC",
};

/** A decoded command in readable lines. */
export function formatCommand(command: DecodedCommand, options: TextOptions = {}): string {
  const definition = findCommand(command.commandCode);
  const lines = [`${commandTitle(command)}, ${command.size} bytes, ${tagText(command.tag)}`];
  if (definition) {
    lines.push(...fieldLines(handleFieldsOf(definition), command.handles, "", options));
    command.sessions.forEach((session, i) => {
      lines.push(`  session ${i + 1}: ${sessionText(session)}`);
      lines.push(...treeOf("nonce", "TPM2B_NONCE", session.nonce, 2, options));
      lines.push(...treeOf("hmac", "TPM2B_AUTH", session.hmac, 2, options));
    });
    lines.push(...fieldLines(fieldsOf(definition.parameters), command.parameters, definition.name, options));
  }
  return [...lines, ...problemLines(command.issues, command.rest, options)].join("\n");
}

/** A decoded response in readable lines. */
export function formatResponse(response: DecodedResponse, options: TextOptions = {}): string {
  const definition = response.name === undefined ? undefined : findCommand(response.name);
  const lines = [`${describeResponseCode(response.responseCode)}, ${response.size} bytes, ${tagText(response.tag)}`];
  if (definition) {
    if (response.handle !== undefined) {
      lines.push(`  ${definition.responseHandle?.[0] ?? "handle"}: ${handleText(response.handle)}`);
    }
    lines.push(...fieldLines(fieldsOf(definition.response), response.parameters, definition.name, options));
  }
  response.sessions.forEach((session, i) => {
    lines.push(`  session ${i + 1}: ${inlineValue("TPMA_SESSION", session.sessionAttributes, options)}`);
    lines.push(...treeOf("nonce", "TPM2B_NONCE", session.nonce, 2, options));
    lines.push(...treeOf("hmac", "TPM2B_AUTH", session.hmac, 2, options));
  });
  return [...lines, ...problemLines(response.issues, response.rest, options)].join("\n");
}

/**
 * A command on one line, as in "TPM2_PCR_Extend pcrHandle=PCR 0 digests=[SHA256 4f2a91b2…] · password session". Commands of
 * TPM 1.2 are told by their tag.
 */
export function describeCommand(bytes: Uint8Array, options: TextOptions = {}): string {
  if (isTpm12(bytes))
    return `TPM 1.2 ordinal 0x${readUint(bytes, 6, 4).toString(16).padStart(8, "0")}, ${bytes.length} bytes`;
  if (bytes.length < 10) return `${bytes.length} bytes, too short for a command`;
  const command = decodeCommand(bytes);
  const definition = findCommand(command.commandCode);
  const short = { maxBytes: 4, ...options };
  const words = [commandTitle(command)];
  if (definition) {
    words.push(...fieldWords(handleFieldsOf(definition), command.handles, "", short));
    words.push(...fieldWords(fieldsOf(definition.parameters), command.parameters, definition.name, short));
  }
  const text = [cut(words.join(" ")), ...command.sessions.map((session) => sessionText(session, "session"))];
  return [...text, ...problemWords(command.issues)].join(" · ");
}

/** The response to a command with this TPM_CC on one line, as in "SUCCESS" or "TPM_RC_VALUE (parameter 1) 0x1c4". */
export function describeResponse(bytes: Uint8Array, commandCode: number, options: TextOptions = {}): string {
  if (bytes.length < 10) return `${bytes.length} bytes, too short for a response`;
  const response = decodeResponse(bytes, commandCode);
  const code = describeResponseCode(response.responseCode);
  if (response.responseCode !== 0 || response.tag === "TPM_ST_RSP_COMMAND") return code;
  const definition = findCommand(commandCode);
  const short = { maxBytes: 4, ...options };
  const words = [code];
  if (definition && response.handle !== undefined) {
    words.push(`${definition.responseHandle?.[0]}=${handleText(response.handle)}`);
  }
  if (definition) words.push(...fieldWords(fieldsOf(definition.response), response.parameters, definition.name, short));
  return [cut(words.join(" ")), ...problemWords(response.issues)].join(" · ");
}

const isTpm12 = (bytes: Uint8Array): boolean =>
  bytes.length >= 10 && bytes[0] === 0x00 && bytes[1]! >= 0xc1 && bytes[1]! <= 0xc3;

function commandTitle(command: DecodedCommand): string {
  return command.name === undefined ? `command 0x${command.commandCode.toString(16)}` : `TPM2_${command.name}`;
}

const tagText = (tag: string | number): string => (typeof tag === "string" ? tag : `tag 0x${tag.toString(16)}`);

const cut = (text: string): string =>
  text.length <= DESCRIPTION_LENGTH ? text : `${text.slice(0, DESCRIPTION_LENGTH - 1)}…`;

/** What kind of session it is, and its attributes but for continueSession. */
function sessionText(session: TpmObject, noun = ""): string {
  const handle = typeof session.sessionHandle === "number" ? session.sessionHandle : 0;
  const suffix = noun && ` ${noun}`;
  if (handle === 0x40000009) return `password${suffix}`;
  const kind = handle >>> 24 === 0x03 ? "policy" : "HMAC";
  const attributes = ["decrypt", "encrypt", "audit"].filter((name) => hasAttribute(session, name));
  return `${kind}${suffix} 0x${handle.toString(16).padStart(8, "0")}${attributes.length ? ` (${attributes.join(", ")})` : ""}`;
}

function fieldWords(fields: readonly Field[], values: TpmObject, command: string, options: TextOptions): string[] {
  return typedFields(fields, values).map(
    ([name, type, value]) =>
      `${name}=${secretOr(command, name, type, value, options) ?? inlineValue(type, value, options)}`,
  );
}

/** The length of a parameter that is secret in this command; undefined for any other. */
function secretOr(
  command: string,
  name: string,
  type: string,
  value: TpmValue,
  options: TextOptions,
): string | undefined {
  if (options.revealSecrets || isEncrypted(value) || !isSecretParameter(command, name)) return undefined;
  return hidden(type, value);
}

function fieldLines(fields: readonly Field[], values: TpmObject, command: string, options: TextOptions): string[] {
  return typedFields(fields, values).flatMap(([name, type, value]) => {
    const secret = secretOr(command, name, type, value, options);
    return secret === undefined ? treeOf(name, type, value, 1, options) : [`  ${name}: ${secret}`];
  });
}

/** "name: value", on one line if it is short enough, otherwise with the fields or elements below. */
function treeOf(
  name: string,
  typeName: string,
  value: TpmValue | undefined,
  depth: number,
  options: TextOptions,
): string[] {
  if (value === undefined) return [];
  const indent = "  ".repeat(depth);
  const content = value instanceof Uint8Array ? decodeContent(typeName, value) : undefined;
  if (content) return treeOf(name, contents[typeName] ?? "", content, depth, options);
  const line = `${indent}${name}: ${inlineValue(typeName, value, options)}`;
  if (line.length <= LINE_LENGTH || typeof value !== "object" || value === null || isEncrypted(value)) return [line];
  const resolved = resolveType(typeName);
  const type = resolved.kind === "sized" ? resolveType(resolved.field.type.name) : resolved;
  if (type.kind === "structure" && !line.endsWith(">")) {
    const parts = typedFields(type.fields, value as TpmObject);
    return [`${indent}${name}:`, ...parts.flatMap(([part, inner, v]) => treeOf(part, inner, v, depth + 1, options))];
  }
  if (type.kind === "list" && Array.isArray(value)) {
    return [
      `${indent}${name}:`,
      ...value.flatMap((item, i) => treeOf(`[${i}]`, type.element.name, item, depth + 1, options)),
    ];
  }
  return [line];
}

/** The structure in a buffer that has one. */
function decodeContent(typeName: string, bytes: Uint8Array): TpmValue | undefined {
  const content = contents[typeName];
  if (content === undefined) return undefined;
  const decoded = decodeType(content, bytes);
  return decoded.issues.length === 0 ? decoded.value : undefined;
}

function problemWords(issues: readonly DecodeIssue[]): string[] {
  const first = issues[0];
  return first ? [`malformed at byte ${first.offset}: ${first.field ? `${first.field} ` : ""}${first.message}`] : [];
}

function problemLines(issues: readonly DecodeIssue[], rest: Uint8Array, options: TextOptions): string[] {
  const lines = issues.map(
    ({ offset, field, message, responseCode }) =>
      `  ! at byte ${offset}: ${field ? `${field} ` : ""}${message} (${describeResponseCode(responseCode)})`,
  );
  // What was not understood may be anything, a password too.
  if (rest.length > 0) lines.push(`  not decoded: ${inlineValue("TPM2B_MAX_BUFFER", rest, options)}`);
  return lines;
}
