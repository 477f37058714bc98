// Secrets from files and descriptors: read once, and removed or closed afterwards.
import fs from "node:fs";
import { concat, wipe } from "../state/encryption/bytes.ts";
import { OptionError } from "./option-list.ts";

/** Where a secret is: a path, or the number of an open descriptor. */
export type KeySource = string | number;

/** Told what the user should know and nothing else says. */
export type Warn = (sentence: string) => void;

const CHUNK = 1024;
const SHORT_PASSPHRASE = 6;

/**
 * Everything in the file or behind the descriptor, which is closed; from a pipe all that is written until it is closed.
 *
 * @param what is read, for swtpm's message "Unable to read WHAT".
 * @param limit no more bytes than this are read.
 * @throws OptionError
 */
export function readSecret(
  source: KeySource,
  what: "key" | "passphrase",
  limit = Number.POSITIVE_INFINITY,
): Uint8Array {
  const fd = typeof source === "number" ? source : open(source, what);
  const pieces: Uint8Array[] = [];
  let readable = typeof source === "string";
  try {
    for (let size = 0, count = 1; count > 0 && size < limit; size += count) {
      const piece = new Uint8Array(Math.min(CHUNK, limit - size));
      count = fs.readSync(fd, piece, 0, piece.length, null);
      pieces.push(piece.subarray(0, count));
    }
    readable = true;
    return concat(...pieces);
  } catch (error) {
    throw new OptionError(`Unable to read ${what}: ${systemMessage(error)}`);
  } finally {
    wipe(...pieces);
    // A descriptor that nothing can be read from may be one of the runtime's own, which ends the process when it loses it.
    if (readable) fs.closeSync(fd);
  }
}

/** All of a passphrase's bytes. @throws OptionError */
export function readPassphrase(source: KeySource, warn: Warn): Uint8Array {
  const passphrase = readSecret(source, "passphrase");
  if (passphrase.length <= SHORT_PASSPHRASE) warn(`Passphrase is only ${passphrase.length} bytes long`);
  return passphrase;
}

/** Unlinks files that were to be read only once; one that stays is no reason not to start. */
export function removeSecrets(warn: Warn, ...files: readonly (string | undefined)[]): void {
  for (const file of files) {
    if (file === undefined) continue;
    try {
      fs.rmSync(file, { force: true });
    } catch (error) {
      warn(`${file} was read and could not be removed: ${systemMessage(error)}`);
    }
  }
}

/** The descriptor that a list names; as for swtpm a negative number is none. */
export const descriptor = (fd: number | undefined) => (fd === undefined || fd < 0 ? undefined : fd);

/**
 * The bytes of hexadecimal digits, with or without 0x before them, up to white space or the end.
 *
 * @param limit in bytes.
 * @returns undefined for anything else, and for more than the limit.
 */
export function parseHex(text: Uint8Array, limit: number): Uint8Array | undefined {
  const start = text[0] === 0x30 && text[1] === 0x78 ? 2 : 0;
  const bytes = new Uint8Array(limit);
  let size = 0;
  for (let at = start; at < text.length && !isSpace(text[at]!); at += 2) {
    const high = digitOf(text[at]);
    const low = digitOf(text[at + 1]);
    if (high < 0 || low < 0 || size === limit) return undefined;
    bytes[size++] = (high << 4) | low;
  }
  return size > 0 ? bytes.subarray(0, size) : undefined;
}

/** Whether nothing but digits, white space and the x of 0x is there. */
export function isHexText(bytes: Uint8Array): boolean {
  return bytes.every((byte) => digitOf(byte) >= 0 || isSpace(byte) || byte === 0x78);
}

/** As isspace(3), and the NUL that ends a string in C. */
const isSpace = (byte: number) => byte === 0 || byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

/** The value of a hexadecimal digit; -1 for another character. */
function digitOf(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

function open(file: string, what: "key" | "passphrase"): number {
  try {
    return fs.openSync(file, fs.constants.O_RDONLY);
  } catch (error) {
    const colon = what === "key" ? ":" : " :";
    throw new OptionError(`Unable to open file ${file}${colon} ${systemMessage(error)}`);
  }
}

/** The C library's text for an error of node:fs: "No such file or directory". */
function systemMessage(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EISDIR") return "Is a directory";
  const text = /^\w+: ([^,]+)/.exec(message)?.[1] ?? message;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
