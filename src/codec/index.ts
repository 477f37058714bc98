// Commands and responses of TPM 2.0 as values and as text. Works wherever JavaScript runs; a client of a TPM is in client.ts.
export {
  type CommandInput,
  type CommandName,
  type DecodeCommandOptions,
  type DecodedCommand,
  decodeCommand,
  encodeCommand,
  encodeUntypedCommand,
  type PasswordSession,
  type RawSession,
  type SessionInput,
} from "./command.ts";
export type { ImplementationLimits } from "./decoder.ts";
export { describeCommand, describeResponse, formatCommand, formatResponse, type TextOptions } from "./format.ts";
export type * as inputs from "./generated/inputs.ts";
export type * as values from "./generated/values.ts";
export { type DecodedResponse, decodeResponse, encodeResponse, type ResponseInput } from "./response.ts";
export { describeResponseCode, parseResponseCode, type ResponseCodeParts } from "./response-code.ts";
export { decodeStructure, encodeStructure } from "./structure.ts";
export { selectedPcrs } from "./value-text.ts";
export { CodecError, type DecodeIssue, type EncryptedParameter, type TpmObject, type TpmValue } from "./values.ts";
