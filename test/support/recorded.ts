// Exchanges with other TPMs, recorded as tables in test/data/tpm2; each file's first lines say where they come from.

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";

/** The rows of test/data/tpm2/`file`, split into their columns. */
export function recorded(file: string): string[][] {
  const text = readFileSync(new URL(`../data/tpm2/${file}`, import.meta.url), "utf8");
  return text
    .split("\n")
    .filter((line) => line && !line.startsWith("#"))
    .map((line) => line.split("\t"));
}

/** Bytes of hexadecimal digits. */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}
