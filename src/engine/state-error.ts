// Why a state could not be loaded, in a sentence.
import { stateFormatLevelCurrent } from "../spec/profiles.ts";

const TPM_RC_VALUE = 0x84;
const TPM_RC_BAD_VERSION = 0x2e;
const BAD_PARAMETER = 0x03;

/** The sentence for the code that loading a state answered. */
export function stateErrorText(type: "permanent" | "volatile", rc: number, blob: Uint8Array): string {
  const level = type === "permanent" && rc === TPM_RC_VALUE ? stateFormatLevel(blob) : 0;
  if (level > stateFormatLevelCurrent)
    return `the profile in the permanent state has StateFormatLevel ${level}, and this version knows up to ${stateFormatLevelCurrent}: start it with the libtpms or wtpm that made it`;
  switch (rc) {
    case TPM_RC_BAD_VERSION:
      if (leastVersion(blob) > KNOWN_VERSION)
        return `the ${type} state needs a reader of version ${leastVersion(blob)} of libtpms' format, and this one knows up to ${KNOWN_VERSION}: start it with the libtpms or wtpm that wrote it`;
      return `the ${type} state was written by a newer version of libtpms or wtpm than this one can read: start it with that version`;
    case BAD_PARAMETER:
      return `the ${type} state was written by a libtpms built with other algorithms or limits than this TPM has`;
    default:
      return `the ${type} state is damaged (response code 0x${rc.toString(16).padStart(3, "0")})`;
  }
}

/** Of both states: the newest version that is known. */
const KNOWN_VERSION = 4;

/** The least version that a reader of the state has to know, by its header; 0 where it does not say. */
function leastVersion(blob: Uint8Array): number {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  return blob.length >= 8 && view.getUint16(0) >= 2 ? view.getUint16(6) : 0;
}

/** The level that the profile in a permanent state of version 4 says; 0 where there is none. */
function stateFormatLevel(blob: Uint8Array): number {
  const TEXT_AT = 10;
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  if (blob.length < TEXT_AT || view.getUint16(0) < 4) return 0;
  const text = new TextDecoder().decode(blob.subarray(TEXT_AT, TEXT_AT + view.getUint16(TEXT_AT - 2)));
  return Number(/"StateFormatLevel"\s*:\s*(\d+)/.exec(text)?.[1] ?? 0);
}
