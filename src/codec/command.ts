// Commands: from bytes to a value tree, and from values to bytes.
import { findCommand, parseTypeReference } from "../spec/registry.ts";
import { concatBytes, countBytes, uintBytes } from "./bytes.ts";
import { Decoder, DecodingStopped, type ImplementationLimits } from "./decoder.ts";
import { encodeFields, encodeValue } from "./encoder.ts";
import type * as inputs from "./generated/inputs.ts";
import {
  canBeEncrypted,
  fieldsOf,
  HEADER_SIZE,
  handleFieldsOf,
  readParameters,
  TPM_ST_NO_SESSIONS,
  TPM_ST_SESSIONS,
  tagOf,
} from "./message.ts";
import { CodecError, type DecodeIssue, type TpmObject } from "./values.ts";

export interface DecodedCommand {
  /** "TPM_ST_SESSIONS", "TPM_ST_NO_SESSIONS" or a number that is neither. */
  readonly tag: string | number;
  /** commandSize of the header. */
  readonly size: number;
  readonly commandCode: number;
  /** Without "TPM2_"; missing when the specification has no such command. */
  readonly name?: string;
  readonly handles: TpmObject;
  /** The authorization area: TPMS_AUTH_COMMAND structures. */
  readonly sessions: readonly TpmObject[];
  readonly parameters: TpmObject;
  /** What is wrong with the command, in the order in which a TPM looks; empty for a well-formed one. */
  readonly issues: readonly DecodeIssue[];
  /** The bytes from the place on where nothing could be decoded, or that are left over. */
  readonly rest: Uint8Array;
}

export interface DecodeCommandOptions {
  /** What the TPM accepts that the command is for; the specification's own bounds when left out. */
  readonly limits?: ImplementationLimits;
}

/** The least an authorization area can be: one password session with an empty password. */
const MIN_AUTHORIZATION_SIZE = 9;
const MAX_SESSIONS = 3;

/**
 * Decodes a command of TPM 2.0 (Part 1, 18.2). Never throws: what is wrong stands in `issues`, with the response code that the
 * unmarshalling of a TPM gives for it, and what could not be decoded in `rest`.
 */
export function decodeCommand(bytes: Uint8Array, options: DecodeCommandOptions = {}): DecodedCommand {
  const decoder = new Decoder(bytes, { checked: true, ...options });
  const decoded = {
    tag: 0 as string | number,
    size: 0,
    commandCode: 0,
    handles: {} as TpmObject,
    sessions: [] as TpmObject[],
    parameters: {} as TpmObject,
    issues: decoder.issues,
    rest: new Uint8Array(),
  };
  try {
    readCommand(decoder, bytes.length, decoded);
  } catch (error) {
    if (!(error instanceof DecodingStopped)) throw error;
  }
  decoded.rest = bytes.slice(decoder.offset);
  return decoded;
}

/** The parts of a decoded command, while it is being decoded. */
interface Draft {
  tag: string | number;
  size: number;
  commandCode: number;
  name?: string;
  handles: TpmObject;
  sessions: TpmObject[];
  parameters: TpmObject;
}

function readCommand(decoder: Decoder, length: number, draft: Draft): void {
  const tag = decoder.uint(2, "tag");
  draft.tag = tagOf(tag);
  draft.size = decoder.uint(4, "commandSize");
  draft.commandCode = decoder.uint(4, "commandCode");
  if (tag !== TPM_ST_SESSIONS && tag !== TPM_ST_NO_SESSIONS)
    decoder.stop(0, "tag", "TPM_RC_BAD_TAG", "is no command's tag");
  if (draft.size !== length) {
    decoder.report(2, "commandSize", "TPM_RC_COMMAND_SIZE", `says ${draft.size} bytes, there are ${length}`);
  }
  const command = findCommand(draft.commandCode);
  if (!command) decoder.stop(6, "commandCode", "TPM_RC_COMMAND_CODE", "no such command");
  draft.name = command.name;

  handleFieldsOf(command).forEach((field, i) => {
    decoder.position = (i + 1) << 8;
    decoder.readFields([field], { path: "handles", conditional: false }, draft.handles);
  });
  decoder.position = 0;
  if (tag === TPM_ST_SESSIONS) readSessions(decoder, command.noSessions ?? false, draft.sessions);
  const fields = fieldsOf(command.parameters);
  const encrypted = canBeEncrypted(fields) && draft.sessions.some((session) => hasAttribute(session, "decrypt"));
  readParameters(decoder, fields, draft.parameters, { encrypted, numbered: true });
  if (decoder.remaining > 0) {
    decoder.report(decoder.offset, "", "TPM_RC_SIZE", `${countBytes(decoder.remaining)} left over`);
  }
}

/** Whether a session of a decoded message has this attribute. */
export function hasAttribute(session: TpmObject, attribute: string): boolean {
  const attributes = session.sessionAttributes;
  return typeof attributes === "object" && attributes !== null && (attributes as TpmObject)[attribute] === true;
}

function readSessions(decoder: Decoder, refused: boolean, sessions: TpmObject[]): void {
  const at = decoder.offset;
  const size = decoder.uint(4, "authorizationSize");
  if (size < MIN_AUTHORIZATION_SIZE || size > decoder.remaining) {
    decoder.stop(at, "authorizationSize", "TPM_RC_SIZE", `says ${countBytes(size)}, ${decoder.remaining} left`);
  }
  if (refused) decoder.report(at, "authorizationSize", "TPM_RC_AUTH_CONTEXT", "the command allows no session");
  const messageEnd = decoder.end;
  decoder.end = decoder.offset + size;
  for (let i = 0; decoder.remaining > 0; i++) {
    decoder.position = 0x800 | ((i + 1) << 8);
    const path = `sessions[${i}]`;
    if (i === MAX_SESSIONS) decoder.report(decoder.offset, path, "TPM_RC_SIZE", `more than ${MAX_SESSIONS} sessions`);
    decoder.read(parseTypeReference("TPMS_AUTH_COMMAND"), { path, conditional: false }, (session) => {
      sessions[i] = session as TpmObject;
    });
  }
  decoder.end = messageEnd;
  decoder.position = 0;
}

/** A password authorization: the authValue in the clear (Part 1, 19.4). */
export interface PasswordSession {
  /** Bytes, or hexadecimal digits. */
  readonly password: Uint8Array | string;
}

/** A session as it stands in the authorization area: TPMS_AUTH_COMMAND (Part 2, 10.13.2). */
export interface RawSession {
  readonly sessionHandle: number;
  readonly nonce: Uint8Array | string;
  readonly sessionAttributes: number | Readonly<Record<string, boolean | number>>;
  readonly hmac: Uint8Array | string;
}

export type SessionInput = PasswordSession | RawSession;

const TPM_RS_PW = 0x40000009;

/** A password authorization as it stands in the authorization area. */
export function passwordSession({ password }: PasswordSession): RawSession {
  return { sessionHandle: TPM_RS_PW, nonce: "", sessionAttributes: { continueSession: true }, hmac: password };
}

/** The handle area and the parameter area of a command, as they go into its cpHash and its bytes. */
export interface CommandAreas {
  readonly commandCode: number;
  readonly handles: Uint8Array;
  readonly parameters: Uint8Array;
}

const NOTHING = {};

/** Encodes a command's handles and parameters. Throws CodecError with the path of the field at fault. */
export function encodeCommandAreas(name: string, input: { handles?: object; parameters?: object }): CommandAreas {
  const command = findCommand(name);
  if (!command) throw new CodecError("", `the specification has no command ${name}`);
  return {
    commandCode: command.code,
    handles: encodeFields(handleFieldsOf(command), input.handles ?? NOTHING, "handles"),
    parameters: encodeFields(fieldsOf(command.parameters), input.parameters ?? NOTHING, "parameters"),
  };
}

/** Puts the areas of a command and its sessions together; without sessions its tag is TPM_ST_NO_SESSIONS. */
export function assembleCommand(areas: CommandAreas, sessions: readonly SessionInput[] = []): Uint8Array {
  const encoded = sessions.map(
    (session, i) =>
      encodeValue("TPMS_AUTH_COMMAND", "password" in session ? passwordSession(session) : session, `sessions[${i}]`)
        .bytes,
  );
  const authorization = concatBytes(...encoded);
  const body = sessions.length
    ? concatBytes(areas.handles, uintBytes(authorization.length, 4), authorization, areas.parameters)
    : concatBytes(areas.handles, areas.parameters);
  return concatBytes(
    uintBytes(sessions.length ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS, 2),
    uintBytes(HEADER_SIZE + body.length, 4),
    uintBytes(areas.commandCode, 4),
    body,
  );
}

/** The name of a command, without "TPM2_". */
export type CommandName = keyof inputs.Commands;

/** What a command is made of: its handles, its parameters, and the sessions of its authorization area. */
export type CommandInput<Name extends CommandName> = inputs.Commands[Name] & {
  readonly sessions?: readonly SessionInput[];
};

/** Bytes of a command. Throws CodecError with the path of the field at fault. */
export function encodeCommand<Name extends CommandName>(
  name: Name,
  ...[input]: Record<never, never> extends inputs.Commands[Name] ? [input?: CommandInput<Name>] : [CommandInput<Name>]
): Uint8Array {
  return encodeUntypedCommand(name, input);
}

/** Like encodeCommand, for a name and values that are known only when it runs, such as those of a decoded command. */
export function encodeUntypedCommand(
  name: string,
  input: { handles?: object; parameters?: object; sessions?: readonly SessionInput[] } = {},
): Uint8Array {
  return assembleCommand(encodeCommandAreas(name, input), input.sessions);
}
