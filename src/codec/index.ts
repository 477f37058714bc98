// Commands and responses of TPM 2.0 as values and as text. Works wherever JavaScript runs.
import { assembleCommand, encodeCommandAreas, type SessionInput } from "./command.ts";
import type * as inputs from "./generated/inputs.ts";

export { type DecodeCommandOptions, type DecodedCommand, decodeCommand } from "./command.ts";
export type { PasswordSession, RawSession, SessionInput } from "./command.ts";
export type { ImplementationLimits } from "./decoder.ts";
export { describeCommand, describeResponse, formatCommand, formatResponse, type TextOptions } from "./format.ts";
export { type DecodedResponse, decodeResponse, encodeResponse, type ResponseInput } from "./response.ts";
export { describeResponseCode, parseResponseCode, type ResponseCodeParts } from "./response-code.ts";
export { decodeStructure, encodeStructure } from "./structure.ts";
export { CodecError, type DecodeIssue, type EncryptedParameter, type TpmObject, type TpmValue } from "./values.ts";
export { selectedPcrs } from "./value-text.ts";

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
