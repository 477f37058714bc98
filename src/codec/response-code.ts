// Response codes in words (Part 2, 6.6; Part 1, 39 "Response code evaluation").
import { constants } from "../spec/constants.ts";
import { tpm12ErrorNames, tpm12WarningNames } from "./tpm12-codes.ts";

export interface ResponseCodeParts {
  /** As in "TPM_RC_VALUE"; missing when the code has no name. */
  readonly name?: string;
  /** What the code points at, and which one of them, from 1; 0 when it does not say. */
  readonly at?: "handle" | "parameter" | "session";
  readonly number?: number;
  /** A warning: the command may succeed when it is sent again. */
  readonly warning: boolean;
  /** The upper bits, with which software between the caller and the TPM marks its own codes; 0 for a TPM's. */
  readonly layer: number;
}

/** The masks that the same table has (TPM_RC_H, TPM_RC_1 …) are no codes. */
const isMask = (name: string): boolean => /^TPM_RC_([0-9A-F]|H|P|S|N_MASK)$/.test(name);

const names = new Map(
  Object.entries(constants.TPM_RC?.values ?? {})
    .filter(([name]) => !isMask(name))
    .map(([name, value]) => [value, name] as const),
);

const named = (name: string | undefined): { name?: string } => (name === undefined ? {} : { name });

/** Takes a response code apart. */
export function parseResponseCode(responseCode: number): ResponseCodeParts {
  const layer = Math.floor(responseCode / 0x1000);
  const code = responseCode & 0xfff;
  if (code & 0x80) {
    const parameter = (code & 0x40) !== 0;
    const session = !parameter && (code & 0x800) !== 0;
    return {
      ...named(names.get(code & 0xbf)),
      at: parameter ? "parameter" : session ? "session" : "handle",
      number: (code >> 8) & (parameter ? 0xf : 0x7),
      warning: false,
      layer,
    };
  }
  const warning = (code & 0x800) !== 0;
  const name = names.get(code) ?? (code & 0x100 ? undefined : tpm12Name(code));
  return { ...named(name), warning, layer };
}

function tpm12Name(code: number): string | undefined {
  return code & 0x800 ? tpm12WarningNames[code & 0x7ff] : tpm12ErrorNames[code];
}

/** A response code in words, as in "SUCCESS" or "TPM_RC_VALUE (parameter 1) 0x1c4". */
export function describeResponseCode(responseCode: number): string {
  if (responseCode === 0) return "SUCCESS";
  const { name, at, number, layer } = parseResponseCode(responseCode);
  const words = [name ?? (responseCode & 0x400 && !(responseCode & 0x80) ? "vendor-defined code" : "unknown code")];
  if (at === "session" || number) words.push(number ? `(${at} ${number})` : `(${at})`);
  if (layer) words.push(`from layer ${layer >> 4}`);
  words.push(`0x${responseCode.toString(16).padStart(3, "0")}`);
  return words.join(" ");
}
