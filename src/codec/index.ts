// Commands and responses of TPM 2.0 as values and as text. Works wherever JavaScript runs.
import { assembleCommand, encodeCommandAreas, type SessionInput } from "./command.ts";

export { type DecodeCommandOptions, type DecodedCommand, decodeCommand } from "./command.ts";
export type { PasswordSession, RawSession, SessionInput } from "./command.ts";
export type { ImplementationLimits } from "./decoder.ts";
export { describeCommand, describeResponse, formatCommand, formatResponse, type TextOptions } from "./format.ts";
export { type DecodedResponse, decodeResponse, encodeResponse, type ResponseInput } from "./response.ts";
export { describeResponseCode, parseResponseCode, type ResponseCodeParts } from "./response-code.ts";
export { decodeStructure, encodeStructure } from "./structure.ts";
export { CodecError, type DecodeIssue, type EncryptedParameter, type TpmObject, type TpmValue } from "./values.ts";
export { selectedPcrs } from "./value-text.ts";

export interface CommandInput {
  readonly handles?: object;
  readonly sessions?: readonly SessionInput[];
  readonly parameters?: object;
}

/** Bytes of a command. Throws CodecError with the path of the field at fault. */
export function encodeCommand(name: string, input: CommandInput = {}): Uint8Array {
  return assembleCommand(encodeCommandAreas(name, input), input.sessions);
}
