// Secrets from files and descriptors: read once, and removed or closed afterwards.
import fs from "node:fs";
import { concat, wipe } from "../state/encryption/bytes.ts";
import { OptionError } from "./option-list.ts";

/** Where a secret is: a path, or the number of an open descriptor. */
export type KeySource = string | number;

const CHUNK = 1024;

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
  try {
    for (let size = 0, count = 1; count > 0 && size < limit; size += count) {
      const piece = new Uint8Array(Math.min(CHUNK, limit - size));
      count = fs.readSync(fd, piece, 0, piece.length, null);
      pieces.push(piece.subarray(0, count));
    }
    return concat(...pieces);
  } catch (error) {
    throw new OptionError(`Unable to read ${what}: ${systemMessage(error)}`);
  } finally {
    wipe(...pieces);
    closeQuietly(fd);
  }
}

/** Unlinks a file that was to be read only once. */
export function removeSecret(source: KeySource): void {
  if (typeof source === "string") fs.rmSync(source, { force: true });
}

function open(file: string, what: "key" | "passphrase"): number {
  try {
    return fs.openSync(file, fs.constants.O_RDONLY);
  } catch (error) {
    const colon = what === "key" ? ":" : " :";
    throw new OptionError(`Unable to open file ${file}${colon} ${systemMessage(error)}`);
  }
}

function closeQuietly(fd: number): void {
  try {
    fs.closeSync(fd);
  } catch {
    // It was no open descriptor, which reading it said already.
  }
}

/** The C library's text for an error of node:fs: "No such file or directory". */
function systemMessage(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EISDIR") return "Is a directory";
  const text = /^\w+: ([^,]+)/.exec(message)?.[1] ?? message;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
