// A decoded state as JSON values, every field of it.
import { toHex } from "../../codec/bytes.ts";
import { Secret } from "./secret.ts";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface ViewOptions {
  /** Show seeds, proofs, authorization values, private keys and data too. */
  readonly secrets?: boolean;
}

/** Fields that are handles or words of bits. */
const HEXADECIMAL =
  /handle$|^(nvIndex|evictHandle|orderlyState|prevOrderlyState|firmwareV[12]|magic|reserved|contextSlotMask|hierarchy|exclusiveAuditSession|(encrypt|decrypt|audit)Session|timeEpoch|epoch)$/i;

/**
 * Bytes as hexadecimal digits; handles as "0x81000001"; 64-bit numbers that do not fit a JSON number as strings. A secret is
 * `{ "size": BYTES }`, with `secrets` its hexadecimal digits.
 */
export function toJson(value: unknown, options: ViewOptions = {}, name = ""): Json {
  if (value === null || value === undefined) return null;
  if (value instanceof Secret) return options.secrets ? value.revealHex() : { size: value.size };
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return value.map((item) => toJson(item, options));
  switch (typeof value) {
    case "bigint":
      return value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value);
    case "number":
      return HEXADECIMAL.test(name) ? `0x${value.toString(16).padStart(8, "0")}` : value;
    case "object":
      return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, toJson(part, options, key)]));
    case "boolean":
    case "string":
      return value;
    default:
      throw new TypeError(`${typeof value} has no JSON`);
  }
}
