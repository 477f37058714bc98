// --key and --migration-key: where keys come from, and what is refused. (swtpm's messages beside swtpm: test/system/encryption.test.ts.)
import { Buffer } from "node:buffer";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { migrationKey, stateFormat } from "../../src/cli/key-options.ts";
import { OptionError } from "../../src/cli/option-list.ts";
import { decodeMigrationBlob, encodeMigrationBlob, encryptedFormat, plainFormat } from "../../src/state/container.ts";
import { AesCbcKey } from "../../src/state/encryption/aes-cbc.ts";
import { keyFromPassphrase } from "../../src/state/encryption/passphrase.ts";

const BLOB = Uint8Array.of(1, 2, 3);
const HEX = "00112233445566778899aabbccddeeff";
const KEY_128 = Buffer.from(HEX, "hex");
const KEY_256 = Buffer.from(HEX + HEX, "hex");

let dir: string;
let warnings: string[];
const warn = (sentence: string) => void warnings.push(sentence);
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-keys-"));
  warnings = [];
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

function put(name: string, content: string | Uint8Array): string {
  const file = path.join(dir, name);
  fs.writeFileSync(file, content);
  return file;
}

/** Whether the list's key is this one. */
async function expectKey(list: string, key: Uint8Array): Promise<void> {
  const theirs = encryptedFormat(new AesCbcKey(Uint8Array.from(key)));
  const format = await stateFormat(list, warn);
  expect(format.name).toBe(`swtpm, aes-${8 * key.length}-cbc`);
  expect(theirs.decode("permanent", format.encode("permanent", BLOB, 1)).blob).toEqual(BLOB);
}

const refusal = (list: string) =>
  stateFormat(list, warn).then(
    () => "accepted",
    (error: unknown) => (error instanceof OptionError ? error.message : Promise.reject(error as Error)),
  );

describe("swtpm's keys", () => {
  test.each([
    ["32 digits", HEX, "", KEY_128],
    ["64 digits", HEX + HEX, ",mode=aes-256-cbc", KEY_256],
    ["0x and capitals", `0x${HEX.toUpperCase()}`, ",mode=aes-cbc", KEY_128],
    ["the end of a line", `${HEX}\n`, ",format=hex", KEY_128],
    ["a carriage return", `${HEX}\r\n`, "", KEY_128],
    ["something after a space", `${HEX} # the key`, "", KEY_128],
    ["16 bytes", KEY_128, ",format=binary", KEY_128],
    ["32 bytes", KEY_256, ",format=binary,mode=aes-256-cbc", KEY_256],
    ["16 bytes for a longer key", KEY_128, ",format=binary,mode=aes-256-cbc", KEY_128],
  ])("a file with %s", async (_what, content, list, key) => {
    await expectKey(`file=${put("key", content)}${list}`, key);
  });

  test.each(["pbkdf2", "sha512"] as const)("a passphrase with %s: every byte of the file counts", async (kdf) => {
    for (const text of ["secret passphrase", "secret passphrase\n", "x".repeat(3000)]) {
      const file = put("passphrase", text);
      await expectKey(`pwdfile=${file},kdf=${kdf}`, keyFromPassphrase(Buffer.from(text), kdf, 16));
      const list = `pwdfile=${file},kdf=${kdf},mode=aes-256-cbc`;
      await expectKey(list, keyFromPassphrase(Buffer.from(text), kdf, 32));
    }
    expect(warnings).toEqual([]);
  });

  test("a short passphrase is taken with a warning", async () => {
    await expectKey(`pwdfile=${put("p", "secret")}`, keyFromPassphrase(Buffer.from("secret"), "pbkdf2", 16));
    expect(warnings).toEqual(["Passphrase is only 6 bytes long"]);
  });

  test("descriptors are read to their end and closed", async () => {
    for (const [name, key] of [
      ["fd", KEY_128],
      ["pwdfd", keyFromPassphrase(Buffer.from(HEX), "pbkdf2", 16)],
    ] as const) {
      const fd = fs.openSync(put("key", HEX), "r");
      await expectKey(`${name}=${fd}`, key);
      expect(() => fs.fstatSync(fd)).toThrow("EBADF");
    }
  });

  test("a pipe is read until it is closed, in however many pieces it comes", async () => {
    const pipe = path.join(dir, "pipe");
    execFileSync("mkfifo", [pipe]);
    const writer = spawn("sh", ["-c", 'exec >"$1"; printf one; sleep 0.1; printf two', "sh", pipe], {
      stdio: "ignore",
    });
    await expectKey(`pwdfd=${fs.openSync(pipe, "r")}`, keyFromPassphrase(Buffer.from("onetwo"), "pbkdf2", 16));
    await once(writer, "exit");
  });

  test("a file goes before a descriptor, and a key before a passphrase", async () => {
    const key = put("key", HEX);
    await expectKey(`pwdfile=${put("p", "passphrase")},file=${key}`, KEY_128);
    await expectKey(`fd=-1,pwdfd=-1,file=${key}`, KEY_128);
  });

  test("remove unlinks the files that were named, once the key is known", async () => {
    const [key, passphrase] = [put("key", HEX), put("passphrase", "passphrase")];
    await stateFormat(`file=${key},pwdfile=${passphrase},remove`, warn);
    expect([fs.existsSync(key), fs.existsSync(passphrase)]).toEqual([false, false]);
    const bad = put("bad", "no key");
    await refusal(`file=${bad},remove=true`);
    await stateFormat(`pwdfile=${bad},remove=false`, warn);
    expect(fs.existsSync(bad)).toBe(true);
  });

  test("--migration-key takes the same forms, and none of wtpm's", async () => {
    const key = migrationKey(`file=${put("key", HEX)}`, warn)!;
    const blob = encodeMigrationBlob(BLOB, { migration: key });
    expect(decodeMigrationBlob(blob, false, { migration: new AesCbcKey(Uint8Array.from(KEY_128)) })).toEqual(BLOB);
    expect(migrationKey(undefined, warn)).toBeUndefined();
    expect(() => migrationKey("provider=file,file=x", warn)).toThrow("Unknown option 'provider=file'");
  });

  test("without --key the state is written as swtpm writes it then", async () => {
    expect(await stateFormat(undefined, warn)).toBe(plainFormat);
  });
});

describe("keys of wtpm's format", () => {
  async function sameKey(one: string, two: string): Promise<void> {
    const bytes = (await stateFormat(one, warn)).encode("permanent", BLOB, 1);
    expect((await stateFormat(two, warn)).decode("permanent", bytes).blob).toEqual(BLOB);
  }

  test("a key file holds 32 bytes or 64 digits", async () => {
    const [binary, hex, line] = [put("b", KEY_256), put("h", KEY_256.toString("hex")), put("l", `0x${HEX}${HEX}\n`)];
    await sameKey(`provider=file,file=${binary}`, `file=${hex},provider=file,slot=file`);
    await sameKey(`provider=file,file=${hex}`, `provider=file,fd=${fs.openSync(line, "r")}`);
    const odd = put("o", Buffer.concat([Buffer.from("ab cd\n0x"), KEY_256.subarray(8)]));
    await sameKey(`provider=file,file=${odd}`, `provider=file,file=${odd}`);
    await sameKey(`provider=file,file=${binary},remove`, `provider=file,file=${hex}`);
    expect(fs.existsSync(binary)).toBe(false);
  });

  test("a passphrase is the same with the end of the line and without", async () => {
    const [one, two, three] = [put("1", "a passphrase"), put("2", "a passphrase\n"), put("3", "a passphrase\r\n")];
    const list = "provider=passphrase,cost=14";
    await sameKey(`${list},pwdfile=${one}`, `${list},pwdfile=${two}`);
    await sameKey(`${list},pwdfile=${two}`, `${list},pwdfd=${fs.openSync(three, "r")}`);
  });

  test("a command is named by its path", async () => {
    const program = put("kms", "#!/bin/sh\ncat\n");
    fs.chmodSync(program, 0o755);
    await sameKey(`provider=command,command=${program},slot=kms`, `provider=command,command=${program},timeout=9`);
  });

  test.each([
    ["provider=vault", "Unknown key provider 'vault': it is one of file, passphrase, command"],
    ["provider=", "Unknown key provider '': it is one of file, passphrase, command"],
    ["provider=constructor", "Unknown key provider 'constructor': it is one of file, passphrase, command"],
    ["provider=file", "Either file= or fd= is required for provider=file"],
    ["provider=passphrase,cost=15", "Either pwdfile= or pwdfd= is required for provider=passphrase"],
    ["provider=command", "command= is required for provider=command"],
    ["provider=command,command=x,timeout=0", "The timeout of a key command is at least 1 second"],
    ["provider=file,file=DIR/short", "The key must be 32 bytes, or 64 hexadecimal digits"],
    ["provider=file,file=DIR/nowhere", "Unable to open file DIR/nowhere: No such file or directory"],
    ["provider=passphrase,pwdfile=DIR/empty", "The passphrase is empty"],
    ["provider=passphrase,pwdfile=DIR/short,cost=13", "The cost of a passphrase is from 14 to 18"],
    ["provider=passphrase,pwdfile=DIR/short,cost=19", "The cost of a passphrase is from 14 to 18"],
    ["provider=file,file=DIR/short,mode=aes-256-cbc", "Error parsing key options: Unknown option 'mode=aes-256-cbc'"],
  ])("%s is refused", async (list, message) => {
    put("short", HEX);
    put("empty", "\n");
    expect(await refusal(list.replaceAll("DIR", dir))).toBe(message.replaceAll("DIR", dir));
  });
});
