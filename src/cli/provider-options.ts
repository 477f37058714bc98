// --key provider=…: the keys of wtpm's authenticated format.
import { wipe } from "../state/encryption/bytes.ts";
import { commandProvider } from "../state/encryption/command-provider.ts";
import {
  DEFAULT_SCRYPT,
  fileProvider,
  type KeyProvider,
  MAX_LOG2_N,
  MIN_LOG2_N,
  passphraseProvider,
} from "../state/encryption/key-provider.ts";
import { KEY_SIZE } from "../state/encryption/sealed-box.ts";
import {
  descriptor,
  isHexText,
  type KeySource,
  parseHex,
  readPassphrase,
  readSecret,
  removeSecrets,
  type Warn,
} from "./key-source.ts";
import { listOf, OptionError } from "./option-list.ts";

const MAX_KEY_TEXT = 1024;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * The key that a list names: `provider=file,file=PATH|fd=FD`, `provider=passphrase,pwdfile=PATH|pwdfd=FD[,cost=N]` or
 * `provider=command,command=PROGRAM[,timeout=SECONDS]`; each with `[,slot=NAME]`, the first two with `[,remove]`.
 *
 * @throws OptionError
 */
export function keyProvider(text: string, warn: Warn): KeyProvider {
  const name = /(?:^|,)provider=([^,]*)/.exec(text)?.[1] ?? "";
  const make = Object.hasOwn(PROVIDERS, name) ? PROVIDERS[name] : undefined;
  if (!make) throw new OptionError(`Unknown key provider '${name}': it is one of ${Object.keys(PROVIDERS).join(", ")}`);
  return make(text, warn);
}

const PROVIDERS: Readonly<Record<string, (text: string, warn: Warn) => KeyProvider>> = {
  file(text, warn) {
    const schema = { provider: "string", file: "string", fd: "int", remove: "boolean", slot: "string" } as const;
    const list = listOf("key", text, schema);
    const source = list.file ?? descriptor(list.fd);
    if (source === undefined) throw new OptionError("Either file= or fd= is required for provider=file");
    const key = readKey(source);
    if (list.remove) removeSecrets(warn, list.file);
    return fileProvider(key, list.slot);
  },

  passphrase(text, warn) {
    const list = listOf("key", text, {
      provider: "string",
      pwdfile: "string",
      pwdfd: "int",
      cost: "uint",
      remove: "boolean",
      slot: "string",
    });
    const source = list.pwdfile ?? descriptor(list.pwdfd);
    if (source === undefined) throw new OptionError("Either pwdfile= or pwdfd= is required for provider=passphrase");
    const log2N = list.cost ?? DEFAULT_SCRYPT.log2N;
    if (log2N < MIN_LOG2_N || log2N > MAX_LOG2_N)
      throw new OptionError(`The cost of a passphrase is from ${MIN_LOG2_N} to ${MAX_LOG2_N}`);
    const passphrase = withoutLineEnd(readPassphrase(source, warn));
    if (passphrase.length === 0) throw new OptionError("The passphrase is empty");
    if (list.remove) removeSecrets(warn, list.pwdfile);
    return passphraseProvider(passphrase, list.slot, { ...DEFAULT_SCRYPT, log2N });
  },

  command(text) {
    const schema = { provider: "string", command: "string", timeout: "uint", slot: "string" } as const;
    const { command, slot, timeout } = listOf("key", text, schema);
    if (command === undefined) throw new OptionError("command= is required for provider=command");
    if (timeout === 0) throw new OptionError("The timeout of a key command is at least 1 second");
    return commandProvider(command, slot, timeout);
  },
};

/** 32 bytes, or 64 hexadecimal digits. 32 digits are half a key, and not taken for the bytes that they are. */
function readKey(source: KeySource): Uint8Array {
  const content = readSecret(source, "key", MAX_KEY_TEXT);
  if (content.length === KEY_SIZE && !isHexText(content)) return content;
  const key = parseHex(content, KEY_SIZE);
  wipe(content);
  if (key?.length !== KEY_SIZE)
    throw new OptionError(`The key must be ${KEY_SIZE} bytes, or ${2 * KEY_SIZE} hexadecimal digits`);
  return key;
}

/** A file made with an editor or echo ends with a newline that nobody means. */
function withoutLineEnd(text: Uint8Array): Uint8Array {
  let end = text.length;
  if (text[end - 1] === NEWLINE) end--;
  if (end < text.length && text[end - 1] === CARRIAGE_RETURN) end--;
  return text.subarray(0, end);
}
