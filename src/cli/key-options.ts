// --key and --migration-key: swtpm's keys, with its messages. (Keys of wtpm's own format: provider-options.ts.)
import { encryptedFormat, plainFormat } from "../state/container.ts";
import { AesCbcKey } from "../state/encryption/aes-cbc.ts";
import { wipe } from "../state/encryption/bytes.ts";
import { type Kdf, keyFromPassphrase } from "../state/encryption/passphrase.ts";
import type { StateFormat } from "../state/format.ts";
import {
  descriptor,
  type KeySource,
  parseHex,
  readPassphrase,
  readSecret,
  removeSecrets,
  type Warn,
} from "./key-source.ts";
import { type ListValues, listOf, OptionError } from "./option-list.ts";

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

/**
 * How state files are written and read with what `--key` says: without it as swtpm does without a key, with `provider=` in wtpm's
 * authenticated format.
 *
 * Files and descriptors that the list names are read here, once.
 *
 * @param text the value of --key.
 * @throws OptionError
 */
export async function stateFormat(text: string | undefined, warn: Warn): Promise<StateFormat> {
  if (text === undefined) return plainFormat;
  if (!namesProvider(text)) return encryptedFormat(swtpmKey(text, warn));
  const [{ sealedFormat }, { keyProvider }] = await Promise.all([
    import("../state/encryption/sealed-format.ts"),
    import("./provider-options.ts"),
  ]);
  return sealedFormat([keyProvider(text, warn)]);
}

/** Whether a list asks for wtpm's format. */
export const namesProvider = (text: string) => /(^|,)provider=/.test(text);

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
  if (key === undefined && passphrase === undefined)
    throw new OptionError("Either file=, fd=, pwdfile=, or pwdfd= is required for key option");
  const format = formatOf(list);
  const size = sizeOf(list);
  const bytes = key === undefined ? derivedKey(passphrase!, kdfOf(list), size, warn) : readKey(key, format, size);
  if (list.remove) removeSecrets(warn, list.file, list.pwdfile);
  try {
    return new AesCbcKey(bytes);
  } catch (error) {
    throw new OptionError((error as Error).message);
  }
}

function formatOf({ format = "hex" }: KeyList): "hex" | "binary" {
  if (format !== "hex" && format !== "binary") throw new OptionError(`Unknown key format '${format}'.`);
  return format;
}

/** The size of the key in bytes. */
function sizeOf({ mode = "aes-cbc" }: KeyList): 16 | 32 {
  const size = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined;
  if (size === undefined) throw new OptionError(`Unknown encryption mode '${mode}'.`);
  return size;
}

function kdfOf({ kdf = "pbkdf2" }: KeyList): Kdf {
  if (kdf !== "pbkdf2" && kdf !== "sha512") throw new OptionError(`Unknown kdf '${kdf}'.`);
  return kdf;
}

function readKey(source: KeySource, format: "hex" | "binary", size: 16 | 32): Uint8Array {
  const content = readSecret(source, "key", MAX_KEY_TEXT);
  try {
    if (format === "hex") return parseHexKey(content, size);
    // 16 bytes are a key of 128 bits whatever the mode says: swtpm takes them for one.
    if (content.length > size) throw new OptionError(`Key is larger than buffer (${content.length} > ${size}).`);
    return content.slice();
  } finally {
    wipe(content);
  }
}

/** The digits up to white space or the end. */
function parseHexKey(text: Uint8Array, size: 16 | 32): Uint8Array {
  const key = parseHex(text, size);
  if (!key) throw new OptionError(`Could not parse key hex string into ${size} byte buffer.`);
  if (key.length !== 16 && key.length !== 32)
    throw new OptionError(`Unsupported key length with ${2 * key.length} digits.`);
  if (key.length < size) throw new OptionError(`The provided key is too short. Got ${key.length} bytes, need ${size}.`);
  return key;
}

function derivedKey(source: KeySource, kdf: Kdf, size: 16 | 32, warn: Warn): Uint8Array {
  const passphrase = readPassphrase(source, warn);
  try {
    return keyFromPassphrase(passphrase, kdf, size);
  } finally {
    wipe(passphrase);
  }
}
