// Single structures of Part 2, outside of commands: what TPM2B_ATTEST holds, files of other tools, test data.
import { parseTypeReference, resolveType } from "../spec/registry.ts";
import { countBytes } from "./bytes.ts";
import { Decoder, DecodingStopped } from "./decoder.ts";
import { encodeValue } from "./encoder.ts";
import type * as inputs from "./generated/inputs.ts";
import type * as values from "./generated/values.ts";
import { CodecError, type DecodeIssue, type TpmValue } from "./values.ts";

/** Decodes bytes as this type as far as it goes; never throws for malformed bytes. */
export function decodeType(
  type: string,
  bytes: Uint8Array,
): { value: TpmValue | undefined; issues: readonly DecodeIssue[] } {
  const decoder = new Decoder(bytes, { checked: false });
  let value: TpmValue | undefined;
  try {
    decoder.read(parseTypeReference(type), { path: "", conditional: true }, (read) => {
      value = read;
    });
    if (decoder.remaining > 0) {
      decoder.report(decoder.offset, "", "TPM_RC_SIZE", `${countBytes(decoder.remaining)} left over`);
    }
  } catch (error) {
    if (!(error instanceof DecodingStopped)) throw error;
  }
  return { value, issues: decoder.issues };
}

/** Decodes a structure of Part 2 by its name. Throws CodecError unless the bytes are exactly one value of it. */
export function decodeStructure<Type extends keyof values.Structures>(
  type: Type,
  bytes: Uint8Array,
): values.Structures[Type] {
  const { value, issues } = decodeType(checkedName(type), bytes);
  const first = issues[0];
  if (first) throw new CodecError(first.field || type, `${first.message} (byte ${first.offset})`);
  return (value ?? null) as values.Structures[Type];
}

/** Encodes a value as this type of Part 2. Throws CodecError with the path of the field at fault. */
export function encodeStructure<Type extends keyof inputs.Structures>(
  type: Type,
  value: inputs.Structures[Type],
): Uint8Array {
  return encodeValue(checkedName(type), value, "").bytes;
}

function checkedName(type: string): string {
  const { kind } = resolveType(type);
  if (kind === "union" || kind === "digest")
    throw new CodecError("", `${type} needs the structure that selects its arm`);
  return type;
}
