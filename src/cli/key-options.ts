// --key and --migration-key: swtpm's keys, with its messages.
import { encryptedFormat, plainFormat } from "../state/container.ts";
import { AesCbcKey } from "../state/encryption/aes-cbc.ts";
import { wipe } from "../state/encryption/bytes.ts";
import { type Kdf, keyFromPassphrase } from "../state/encryption/passphrase.ts";
import type { StateFormat } from "../state/format.ts";
import { readSecret, removeSecret } from "./key-source.ts";
import { type ListValues, listOf, OptionError } from "./option-list.ts";

/** Told what the user should know and nothing else says. */
type Warn = (sentence: string) => void;

const KEY_LIST = {
  file: "string",
  fd: "int",
  format: "string",
  pwdfile: "string",
  pwdfd: "int",
  kdf: "string",
  mode: "string",
  remove: "boolean",
} as const;
type KeyList = ListValues<typeof KEY_LIST>;

const MODES: Readonly<Record<string, 16 | 32>> = { "aes-cbc": 16, "aes-128-cbc": 16, "aes-256-cbc": 32 };
/** "0x", 64 digits and the end of the line. */
const MAX_KEY_TEXT = 67;
const SHORT_PASSPHRASE = 6;

/**
 * How state files are written and read with what `--key` says: without it as swtpm does without a key.
 *
 * Files and descriptors that the list names are read here, once.
 *
 * @param text the value of --key.
 * @throws OptionError
 */
export async function stateFormat(text: string | undefined, warn: Warn): Promise<StateFormat> {
  return text === undefined ? plainFormat : encryptedFormat(swtpmKey(text, warn));
}

/**
 * The key that `--migration-key` says, or undefined without it.
 *
 * @param text the value of --migration-key.
 * @throws OptionError
 */
export function migrationKey(text: string | undefined, warn: Warn): AesCbcKey | undefined {
  return text === undefined ? undefined : swtpmKey(text, warn);
}

function swtpmKey(text: string, warn: Warn): AesCbcKey {
  const list = listOf("key", text, KEY_LIST);
  const key = list.file ?? descriptor(list.fd);
  const passphrase = list.pwdfile ?? descriptor(list.pwdfd);
  const format = list.format ?? "hex";
  if (key === undefined && passphrase === undefined)
    throw new OptionError("Either file=, fd=, pwdfile=, or pwdfd= is required for key option");
  if (format !== "hex" && format !== "binary") throw new OptionError(`Unknown key format '${format}'.`);
  const size = Object.hasOwn(MODES, list.mode ?? "aes-cbc") ? MODES[list.mode ?? "aes-cbc"] : undefined;
  if (size === undefined) throw new OptionError(`Unknown encryption mode '${list.mode}'.`);
  const bytes = key !== undefined ? readKey(key, format, size) : readPassphrase(passphrase!, kdfOf(list), size, warn);
  if (list.remove) {
    for (const file of [list.file, list.pwdfile]) if (file !== undefined) removeSecret(file);
  }
  return newKey(bytes);
}

const descriptor = (fd: number | undefined) => (fd === undefined || fd < 0 ? undefined : fd);

function kdfOf({ kdf = "pbkdf2" }: KeyList): Kdf {
  if (kdf !== "pbkdf2" && kdf !== "sha512") throw new OptionError(`Unknown kdf '${kdf}'.`);
  return kdf;
}

function newKey(bytes: Uint8Array): AesCbcKey {
  try {
    return new AesCbcKey(bytes);
  } catch (error) {
    throw new OptionError((error as Error).message);
  }
}

function readKey(source: string | number, format: "hex" | "binary", size: 16 | 32): Uint8Array {
  const content = readSecret(source, "key", MAX_KEY_TEXT);
  if (format === "binary") {
    // A shorter key of 16 bytes is one, whatever the mode: swtpm takes it, so its state must be readable.
    if (content.length > size) throw new OptionError(`Key is larger than buffer (${content.length} > ${size}).`);
    return content;
  }
  const key = parseHexKey(content, size);
  wipe(content);
  return key;
}

/** Hexadecimal digits with or without 0x, up to white space or the end. */
function parseHexKey(text: Uint8Array, size: 16 | 32): Uint8Array {
  const start = text[0] === 0x30 && text[1] === 0x78 ? 2 : 0;
  const key = new Uint8Array(size);
  let digits = 0;
  for (; start + digits < text.length && !isSpace(text[start + digits]!); digits += 2) {
    const high = digitOf(text[start + digits]);
    const low = digitOf(text[start + digits + 1]);
    if (high < 0 || low < 0 || digits === 2 * size) throw notHex(size);
    key[digits / 2] = (high << 4) | low;
  }
  if (digits === 0) throw notHex(size);
  if (digits !== 32 && digits !== 64) throw new OptionError(`Unsupported key length with ${digits} digits.`);
  if (digits < 2 * size) throw new OptionError(`The provided key is too short. Got ${digits / 2} bytes, need ${size}.`);
  return key;
}

function notHex(size: number): OptionError {
  return new OptionError(`Could not parse key hex string into ${size} byte buffer.`);
}

/** As isspace(3), and the NUL that ends a string in C. */
const isSpace = (byte: number) => byte === 0 || byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

/** The value of a hexadecimal digit; −1 for another character. */
function digitOf(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

function readPassphrase(source: string | number, kdf: Kdf, size: 16 | 32, warn: Warn): Uint8Array {
  const passphrase = readSecret(source, "passphrase");
  if (passphrase.length <= SHORT_PASSPHRASE) warn(`Passphrase is only ${passphrase.length} bytes long`);
  const key = keyFromPassphrase(passphrase, kdf, size);
  wipe(passphrase);
  return key;
}
