// Responses: from bytes to a value tree, and from values to bytes.
import { type Field, findCommand, parseTypeReference, resolveField } from "../spec/registry.ts";
import { concatBytes, countBytes, uintBytes } from "./bytes.ts";
import { hasAttribute } from "./command.ts";
import { Decoder, DecodingStopped } from "./decoder.ts";
import { encodeFields, encodeValue } from "./encoder.ts";
import {
  canBeEncrypted,
  fieldsOf,
  HEADER_SIZE,
  readParameters,
  TPM_ST_NO_SESSIONS,
  TPM_ST_SESSIONS,
  tagOf,
} from "./message.ts";
import { CodecError, type DecodeIssue, type TpmObject } from "./values.ts";

export interface DecodedResponse {
  readonly tag: string | number;
  /** responseSize of the header. */
  readonly size: number;
  readonly responseCode: number;
  /** The command it answers, without "TPM2_"; missing when the specification has no such command. */
  readonly name?: string;
  /** The handle of a command that returns one. */
  readonly handle?: number;
  readonly parameters: TpmObject;
  /** TPMS_AUTH_RESPONSE structures. */
  readonly sessions: readonly TpmObject[];
  readonly issues: readonly DecodeIssue[];
  /** The bytes from the place on where nothing could be decoded, or that are left over. */
  readonly rest: Uint8Array;
}

/** The parts of a decoded response, while it is being decoded. */
interface Draft {
  tag: string | number;
  size: number;
  responseCode: number;
  name?: string;
  handle?: number;
  parameters: TpmObject;
  sessions: TpmObject[];
}

/**
 * Decodes the response to a command with this TPM_CC (Part 1, 18.3). Never throws: what does not follow the specification
 * stands in `issues`, what could not be decoded in `rest`.
 */
export function decodeResponse(bytes: Uint8Array, commandCode: number): DecodedResponse {
  const decoder = new Decoder(bytes, { checked: false });
  const decoded = {
    tag: 0 as string | number,
    size: 0,
    responseCode: 0,
    parameters: {} as TpmObject,
    sessions: [] as TpmObject[],
    issues: decoder.issues,
    rest: new Uint8Array(),
  };
  try {
    readResponse(decoder, bytes.length, commandCode, decoded);
  } catch (error) {
    if (!(error instanceof DecodingStopped)) throw error;
  }
  decoded.rest = bytes.slice(decoder.offset);
  return decoded;
}

function readResponse(decoder: Decoder, length: number, commandCode: number, draft: Draft): void {
  const command = findCommand(commandCode);
  if (command) draft.name = command.name;
  const tag = decoder.uint(2, "tag");
  draft.tag = tagOf(tag);
  draft.size = decoder.uint(4, "responseSize");
  draft.responseCode = decoder.uint(4, "responseCode");
  if (draft.size !== length) {
    decoder.report(2, "responseSize", "TPM_RC_SIZE", `says ${draft.size} bytes, there are ${length}`);
  }
  if (draft.responseCode === 0) {
    if (!command) decoder.stop(decoder.offset, "", "TPM_RC_COMMAND_CODE", "no such command");
    if (command.responseHandle) draft.handle = decoder.uint(4, command.responseHandle[0]);
    const fields = fieldsOf(command.response);
    if (tag === TPM_ST_SESSIONS) readWithSessions(decoder, fields, draft);
    else readParameters(decoder, fields, draft.parameters, { encrypted: false, numbered: false });
  }
  if (decoder.remaining > 0) {
    decoder.report(decoder.offset, "", "TPM_RC_SIZE", `${countBytes(decoder.remaining)} left over`);
  }
}

/** The sessions stand behind the parameters, but say whether the first of these is encrypted: they are read first. */
function readWithSessions(decoder: Decoder, fields: readonly Field[], draft: Draft): void {
  const at = decoder.offset;
  const size = decoder.uint(4, "parameterSize");
  if (size > decoder.remaining) {
    decoder.stop(at, "parameterSize", "TPM_RC_SIZE", `says ${countBytes(size)}, ${decoder.remaining} left`);
  }
  const start = decoder.offset;
  const messageEnd = decoder.end;
  decoder.offset = start + size;
  readSessions(decoder, draft.sessions);
  decoder.offset = start;
  decoder.end = start + size;
  const encrypted = canBeEncrypted(fields) && draft.sessions.some((session) => hasAttribute(session, "encrypt"));
  readParameters(decoder, fields, draft.parameters, { encrypted, numbered: false });
  if (decoder.remaining > 0) {
    decoder.stop(decoder.offset, "parameters", "TPM_RC_SIZE", `parameterSize says ${decoder.remaining} bytes too many`);
  }
  decoder.end = messageEnd;
  decoder.offset = messageEnd;
}

function readSessions(decoder: Decoder, sessions: TpmObject[]): void {
  for (let i = 0; decoder.remaining > 0; i++) {
    decoder.read(
      parseTypeReference("TPMS_AUTH_RESPONSE"),
      { path: `sessions[${i}]`, conditional: false },
      (session) => {
        sessions[i] = session as TpmObject;
      },
    );
  }
}

export interface ResponseInput {
  readonly responseCode?: number;
  /** Needed for a command that returns one. */
  readonly handle?: number | string;
  readonly parameters?: object;
  /** TPMS_AUTH_RESPONSE values, one for each session of the command. */
  readonly sessions?: readonly object[];
}

/** Bytes of a response to this command; with a responseCode other than 0 the header only. Throws CodecError. */
export function encodeResponse(name: string, input: ResponseInput): Uint8Array {
  const command = findCommand(name);
  if (!command) throw new CodecError("", `the specification has no command ${name}`);
  const code = input.responseCode ?? 0;
  if (code !== 0) return withHeader(TPM_ST_NO_SESSIONS, code, new Uint8Array());
  const handle = command.responseHandle
    ? encodeValue(resolveField(command.responseHandle).type.name, input.handle, "handle").bytes
    : new Uint8Array();
  const parameters = encodeFields(fieldsOf(command.response), input.parameters ?? {}, "parameters");
  if (!input.sessions?.length) return withHeader(TPM_ST_NO_SESSIONS, code, concatBytes(handle, parameters));
  const sessions = input.sessions.map(
    (session, i) => encodeValue("TPMS_AUTH_RESPONSE", session, `sessions[${i}]`).bytes,
  );
  const body = concatBytes(handle, uintBytes(parameters.length, 4), parameters, ...sessions);
  return withHeader(TPM_ST_SESSIONS, code, body);
}

function withHeader(tag: number, code: number, body: Uint8Array): Uint8Array {
  return concatBytes(uintBytes(tag, 2), uintBytes(HEADER_SIZE + body.length, 4), uintBytes(code, 4), body);
}

/** The areas of a response, its parameters as bytes that may be encrypted. */
export interface ResponseAreas {
  readonly responseCode: number;
  readonly handle?: number;
  readonly parameters: Uint8Array;
  readonly sessions: readonly { readonly nonce: Uint8Array; readonly attributes: number; readonly hmac: Uint8Array }[];
}

/** Takes the response to a command apart. Throws CodecError when it is none. */
export function splitResponse(name: string, bytes: Uint8Array): ResponseAreas {
  const command = findCommand(name);
  const decoder = new Decoder(bytes, { checked: false });
  try {
    const tag = decoder.uint(2, "tag");
    const size = decoder.uint(4, "responseSize");
    if (size !== bytes.length) decoder.stop(2, "responseSize", "TPM_RC_SIZE", `says ${size} bytes of ${bytes.length}`);
    const responseCode = decoder.uint(4, "responseCode");
    if (responseCode !== 0) return { responseCode, parameters: new Uint8Array(), sessions: [] };
    const handle = command?.responseHandle ? { handle: decoder.uint(4, command.responseHandle[0]) } : {};
    const length = tag === TPM_ST_SESSIONS ? decoder.uint(4, "parameterSize") : decoder.remaining;
    const parameters = decoder.take(length, "parameters");
    const sessions: ResponseAreas["sessions"][number][] = [];
    for (let i = 0; decoder.remaining > 0; i++) {
      const path = `sessions[${i}]`;
      const nonce = decoder.take(decoder.uint(2, `${path}.nonce`), `${path}.nonce`);
      const attributes = decoder.uint(1, `${path}.sessionAttributes`);
      const hmac = decoder.take(decoder.uint(2, `${path}.hmac`), `${path}.hmac`);
      sessions.push({ nonce, attributes, hmac });
    }
    return { responseCode, ...handle, parameters, sessions };
  } catch (error) {
    throw asCodecError(error, decoder);
  }
}

/** The values in the parameter area of a response. Throws CodecError when they are not what the command answers. */
export function decodeResponseParameters(name: string, parameters: Uint8Array): TpmObject {
  const decoder = new Decoder(parameters, { checked: false });
  const values: TpmObject = {};
  try {
    const fields = fieldsOf(findCommand(name)?.response);
    readParameters(decoder, fields, values, { encrypted: false, numbered: false });
    if (decoder.remaining > 0) {
      decoder.stop(decoder.offset, "parameters", "TPM_RC_SIZE", `${countBytes(decoder.remaining)} left over`);
    }
  } catch (error) {
    throw asCodecError(error, decoder);
  }
  return values;
}

function asCodecError(error: unknown, decoder: Decoder): unknown {
  const issue = decoder.issues[0];
  return error instanceof DecodingStopped && issue ? new CodecError(issue.field, issue.message) : error;
}
