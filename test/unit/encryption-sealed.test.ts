// wtpm's own encrypted format: what it notices, who opens it, and how its keys change.
import { Buffer } from "node:buffer";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  ContainerError,
  decodeMigrationBlob,
  encodeMigrationBlob,
  encryptedFormat,
  plainFormat,
} from "../../src/state/container.ts";
import { AesCbcKey } from "../../src/state/encryption/aes-cbc.ts";
import { commandProvider } from "../../src/state/encryption/command-provider.ts";
import { fileProvider, type KeyProvider, passphraseProvider } from "../../src/state/encryption/key-provider.ts";
import { KeyRing, KeyRingError } from "../../src/state/encryption/key-ring.ts";
import { encodeHeader, MAX_SLOTS } from "../../src/state/encryption/sealed-header.ts";
import { sealedFormat } from "../../src/state/encryption/sealed-format.ts";
import { StateError } from "../../src/state/store.ts";

const BLOB = Uint8Array.from(Buffer.from("the permanent state of a TPM"));
const KEY = Buffer.from(`${"00".repeat(31)}01`, "hex");
const OTHER = Buffer.from(`${"00".repeat(31)}02`, "hex");
const CHEAP = { log2N: 4, r: 8, p: 1 };

const file = (key = KEY, slot?: string) => fileProvider(Uint8Array.from(key), slot);
const passphrase = (text: string, slot?: string) => passphraseProvider(Buffer.from(text), slot, CHEAP);

function failure(action: () => unknown): { kind?: string; result?: number; message: string } {
  try {
    action();
  } catch (error) {
    if (error instanceof StateError || error instanceof KeyRingError) return error;
    throw error;
  }
  throw new Error("no failure");
}

describe("a file", () => {
  test("is header, salt, AES-256-GCM and tag; key and nonce come from HKDF over the salt", () => {
    const format = sealedFormat([file()]);
    const bytes = Buffer.from(format.encode("volatile", BLOB, 258));
    const slot = bytes.subarray(20, 20 + 2 + 4 + 2 + 80);
    expect(bytes.subarray(0, 20).toString("hex")).toBe(
      `5754504d 0001 ${bytes.length.toString(16).padStart(8, "0")} 01 0000000000000102 01`.replaceAll(" ", ""),
    );
    expect(slot.subarray(0, 8).toString("latin1")).toBe("\x01\x04file\x00\x50");

    const open = (key: Uint8Array, purpose: string, context: Uint8Array, box: Buffer) => {
      const derived = Buffer.from(crypto.hkdfSync("sha256", key, box.subarray(0, 32), purpose, 44));
      const cipher = crypto.createDecipheriv("aes-256-gcm", derived.subarray(0, 32), derived.subarray(32));
      cipher.setAAD(context).setAuthTag(box.subarray(-16));
      return Buffer.concat([cipher.update(box.subarray(32, -16)), cipher.final()]);
    };
    const dataKey = open(KEY, "wtpm key slot", slot.subarray(0, 6), slot.subarray(8));
    expect(dataKey).toEqual(Buffer.from(format.ring()!.dataKey));
    const header = bytes.subarray(0, 20 + slot.length);
    expect(open(dataKey, "wtpm state", header, bytes.subarray(header.length))).toEqual(Buffer.from(BLOB));
  });

  test("is read by whoever has the key, with its generation", () => {
    const bytes = sealedFormat([file()]).encode("permanent", BLOB, 7);
    expect(sealedFormat([file()]).decode("permanent", bytes)).toEqual({ blob: BLOB, generation: 7 });
    expect(failure(() => sealedFormat([file(OTHER)]).decode("permanent", bytes))).toMatchObject({
      kind: "encrypted",
      result: 0x21,
    });
    expect(failure(() => sealedFormat([passphrase("x")]).decode("permanent", bytes)).message).toContain("slots need");
  });

  test("with any flipped bit, cut off or lengthened is refused", () => {
    const bytes = sealedFormat([file(), passphrase("a passphrase")]).encode("permanent", BLOB, 7);
    const reader = sealedFormat([file()]);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const mutant = bytes.slice();
      mutant[bit >> 3]! ^= 1 << (bit & 7);
      expect(
        failure(() => reader.decode("permanent", mutant)),
        `bit ${bit}`,
      ).toBeInstanceOf(ContainerError);
    }
    for (let size = 0; size < bytes.length; size++) {
      const cut = bytes.slice(0, size);
      if (size >= 10) new DataView(cut.buffer).setUint32(6, size);
      expect(
        failure(() => reader.decode("permanent", cut)),
        `${size} bytes`,
      ).toBeInstanceOf(ContainerError);
    }
    const longer = Buffer.concat([bytes, Buffer.alloc(1)]);
    longer.writeUInt32BE(longer.length, 6);
    expect(failure(() => reader.decode("permanent", longer))).toMatchObject({ kind: "damaged", result: 0x21 });
    expect(reader.decode("permanent", bytes).blob).toEqual(BLOB);
  });

  test("in the place of another blob, of another TPM with the same key, or with another generation is refused", () => {
    const format = sealedFormat([file()]);
    const permanent = format.encode("permanent", BLOB, 1);
    expect(failure(() => format.decode("volatile", permanent))).toMatchObject({ kind: "damaged" });
    const older = permanent.slice();
    older[18] = 2;
    expect(failure(() => format.decode("permanent", older))).toMatchObject({ kind: "damaged" });
    // The slots of one file before the box of another.
    const another = sealedFormat([file()]).encode("permanent", BLOB, 1);
    const mixed = Buffer.concat([permanent.subarray(0, 108), another.subarray(108)]);
    expect(failure(() => format.decode("permanent", mixed))).toMatchObject({ kind: "damaged", result: 0x21 });
  });

  test("is refused by the other formats, and theirs by it, with a sentence", () => {
    const sealed = sealedFormat([file()]);
    const cbc = encryptedFormat(new AesCbcKey(new Uint8Array(16)));
    const bytes = sealed.encode("permanent", BLOB, 1);
    for (const format of [plainFormat, cbc])
      expect(failure(() => format.decode("permanent", bytes)).message).toContain("--key provider=");
    for (const format of [plainFormat, cbc])
      expect(failure(() => sealed.decode("permanent", format.encode("permanent", BLOB, 1)))).toMatchObject({
        kind: "encrypted",
      });
  });

  test("of a newer version is refused as such", () => {
    const bytes = sealedFormat([file()]).encode("permanent", BLOB, 1);
    bytes[5] = 2;
    expect(failure(() => sealedFormat([file()]).decode("permanent", bytes))).toMatchObject({
      kind: "too-new",
      message: expect.stringContaining("version 2"),
    });
  });

  test("is never the same twice", () => {
    const format = sealedFormat([file()]);
    const [first, second] = [format.encode("permanent", BLOB, 1), format.encode("permanent", BLOB, 1)];
    expect(first).not.toEqual(second);
    expect(first.subarray(0, 108)).toEqual(second.subarray(0, 108));
  });

  test("that cannot be what it says costs no time: slots without sense, scrypt beyond measure", () => {
    const format = sealedFormat([passphrase("p"), file()]);
    const withSlots = (slots: { kind: "passphrase"; name: string; wrapped: Uint8Array }[]) =>
      Buffer.concat([encodeHeader({ type: "permanent", generation: 1, slots }, 48), Buffer.alloc(48)]);
    for (const [log2N, r, p] of [
      [63, 8, 1],
      [19, 8, 1],
      [18, 255, 1],
      [14, 8, 5],
      [0, 8, 1],
      [14, 0, 1],
      [14, 8, 0],
    ] as const) {
      const wrapped = new Uint8Array(3 + 16 + 80);
      wrapped.set([log2N, r, p]);
      const bytes = withSlots(Array.from({ length: MAX_SLOTS }, () => ({ kind: "passphrase", name: "n", wrapped })));
      expect(failure(() => format.decode("permanent", bytes))).toMatchObject({ kind: "encrypted", result: 0x21 });
    }
    expect(failure(() => format.decode("permanent", withSlots([])))).toMatchObject({ kind: "damaged" });
  });
});

describe("key slots", () => {
  test("any of the keys opens the state, and the slots stay when it is written again", () => {
    const keys = [file(KEY, "host"), passphrase("rescue me", "rescue")];
    const bytes = sealedFormat(keys).encode("permanent", BLOB, 1);
    for (const key of [file(KEY), file(KEY, "host"), passphrase("rescue me"), passphrase("rescue me", "rescue")]) {
      const format = sealedFormat([key]);
      expect(format.decode("permanent", bytes).blob).toEqual(BLOB);
      const again = format.encode("permanent", BLOB, 2);
      for (const other of keys) expect(sealedFormat([other]).decode("permanent", again).generation).toBe(2);
    }
    for (const key of [file(KEY, "rescue"), passphrase("rescue me", "host"), passphrase("rescue m3")])
      expect(failure(() => sealedFormat([key]).decode("permanent", bytes))).toMatchObject({ kind: "encrypted" });
  });

  test("the keys of the newest file count, wherever it was read", () => {
    const [old, young] = [sealedFormat([file(KEY)]), sealedFormat([file(KEY), file(OTHER, "other")])];
    const reader = sealedFormat([file(KEY)]);
    reader.decode("permanent", young.encode("permanent", BLOB, 9));
    reader.decode("volatile", old.encode("volatile", BLOB, 8));
    expect(reader.ring()!.slots.map(({ name }) => name)).toEqual(["file", "other"]);
  });

  test("are added, removed and renewed", () => {
    const rescue = passphrase("rescue me", "rescue");
    const ring = KeyRing.create([file()]);
    const two = ring.added(rescue);
    expect(two.dataKey).toEqual(ring.dataKey);
    expect(two.opensWith(rescue)).toBe(true);
    expect(ring.opensWith(rescue)).toBe(false);
    const one = two.without("file");
    expect([one.opensWith(rescue), one.opensWith(file())]).toEqual([true, false]);
    const renewed = two.renewed([rescue, file()]);
    expect(renewed.dataKey).not.toEqual(two.dataKey);
    expect(renewed.slots.map(({ name }) => name)).toEqual(["file", "rescue"]);
    const bytes = sealedFormat([], renewed).encode("permanent", BLOB, 1);
    expect(sealedFormat([rescue]).decode("permanent", bytes).blob).toEqual(BLOB);
    expect(sealedFormat([file()]).decode("permanent", bytes).blob).toEqual(BLOB);
  });

  test("are refused where the state could be lost", () => {
    const ring = KeyRing.create([file(), passphrase("p")]);
    expect(failure(() => ring.added(file(OTHER))).message).toContain("slot=NAME");
    expect(failure(() => ring.without("nobody")).message).toContain("no key slot 'nobody'");
    expect(failure(() => ring.without("file").without("passphrase")).message).toContain("last key slot");
    expect(failure(() => ring.renewed([file()])).message).toContain("'passphrase'");
    expect(failure(() => ring.renewed([file(OTHER), passphrase("p")])).message).toContain("'file'");
    expect(failure(() => ring.added(file(OTHER, "n".repeat(65)))).message).toContain("64 bytes");
    let full = ring;
    while (full.slots.length < MAX_SLOTS) full = full.added(file(OTHER, String(full.slots.length)));
    expect(failure(() => full.added(file(OTHER, "more"))).message).toContain("at most");
    expect(
      sealedFormat([file()]).decode("permanent", sealedFormat([], full).encode("permanent", BLOB, 1)).blob,
    ).toEqual(BLOB);
  });

  test("a key file has 32 bytes", () => {
    for (const size of [0, 16, 31, 33]) expect(() => fileProvider(new Uint8Array(size))).toThrow(RangeError);
  });

  test("a passphrase's slot has scrypt's parameters and salt before the box", () => {
    const { slots, dataKey } = KeyRing.create([passphrase("p", "s")]);
    const wrapped = Buffer.from(slots[0]!.wrapped);
    expect([...wrapped.subarray(0, 3)]).toEqual([4, 8, 1]);
    const key = crypto.scryptSync("p", wrapped.subarray(3, 19), 32, { N: 16, r: 8, p: 1 });
    const box = wrapped.subarray(19);
    const derived = Buffer.from(crypto.hkdfSync("sha256", key, box.subarray(0, 32), "wtpm key slot", 44));
    const cipher = crypto.createDecipheriv("aes-256-gcm", derived.subarray(0, 32), derived.subarray(32));
    cipher.setAAD(Buffer.concat([Buffer.from("\x02\x01s", "latin1"), wrapped.subarray(0, 19)]));
    cipher.setAuthTag(box.subarray(-16));
    expect(Buffer.concat([cipher.update(box.subarray(32, -16)), cipher.final()])).toEqual(Buffer.from(dataKey));
  });
});

describe("a key command", () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-kms-"));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  /** A program of shell lines. */
  function command(lines: string, timeout?: number): KeyProvider {
    const program = path.join(dir, "kms");
    fs.writeFileSync(program, `#!/bin/sh\ncd "$(dirname "$0")"\n${lines}\n`, { mode: 0o755 });
    return commandProvider(program, undefined, timeout);
  }

  test("wraps and unwraps on its standard streams, and is told nothing else", () => {
    const kms = command('printf %s "$*" >>arguments; case $1 in wrap) printf kms:; cat;; unwrap) tail -c +5;; esac');
    const bytes = sealedFormat([kms]).encode("permanent", BLOB, 1);
    const reader = sealedFormat([kms]);
    expect(reader.decode("permanent", bytes).blob).toEqual(BLOB);
    const { slots, dataKey } = reader.ring()!;
    expect(Buffer.from(slots[0]!.wrapped)).toEqual(Buffer.concat([Buffer.from("kms:"), dataKey]));
    // Once for each key, not for each file.
    reader.decode("permanent", reader.encode("permanent", BLOB, 2));
    expect(fs.readFileSync(path.join(dir, "arguments"), "utf8")).toBe("wrapunwrapunwrap");
  });

  test.each([
    ["a failing status", "echo 'no such key' >&2; exit 3", "exit status 3: no such key"],
    ["a signal", "kill -9 $$", "SIGKILL"],
    ["no output", "cat >/dev/null", "0 bytes"],
    ["too much output", "cat >/dev/null; head -c 20000 /dev/zero", "20000 bytes"],
    ["endless output", "cat /dev/zero", "failed"],
  ])("with %s is an error of input and output", (_what, lines, message) => {
    expect(failure(() => sealedFormat([command(lines)]).encode("permanent", BLOB, 1))).toMatchObject({
      kind: "io",
      message: expect.stringContaining(message),
    });
  });

  test("that does not answer is killed, and nobody waits for what it started", () => {
    const started = performance.now();
    const kms = command("sleep 5 & exec sleep 600", 1);
    expect(failure(() => sealedFormat([kms]).encode("permanent", BLOB, 1)).message).toContain("no answer within 1 s");
    expect(performance.now() - started).toBeLessThan(60_000);
  });

  test.each([
    ["head -c 5", "5 bytes instead of 32"],
    ["tr '\\000-\\377' '\\001-\\377\\000'", "another key than was wrapped"],
    ["echo 'not for you' >&2; exit 1", "exit status 1: not for you"],
  ])("that does not unwrap what it wrapped (%s) is noticed before anything depends on it", (unwrap, message) => {
    const kms = command(`case $1 in wrap) cat;; *) ${unwrap};; esac`);
    expect(failure(() => sealedFormat([kms]).encode("permanent", BLOB, 1))).toMatchObject({
      kind: "io",
      message: expect.stringContaining(message),
    });
  });

  test("that unwraps to something else later, or is missing", () => {
    const bytes = sealedFormat([command("cat")]).encode("permanent", BLOB, 1);
    const kms = command("case $1 in wrap) cat;; *) head -c 5;; esac");
    expect(failure(() => sealedFormat([kms]).decode("permanent", bytes))).toMatchObject({
      kind: "io",
      message: expect.stringContaining("5 bytes instead of 32"),
    });
    const missing = commandProvider(path.join(dir, "nowhere"));
    expect(failure(() => sealedFormat([missing]).encode("permanent", BLOB, 1))).toMatchObject({ kind: "io" });
  });
});

describe("blobs of the control channel", () => {
  const cipher = sealedFormat([file()]).cipherOf!("permanent");

  test("stay encrypted with the state's key, which a TPM elsewhere must have", () => {
    const blob = encodeMigrationBlob(BLOB, { file: cipher });
    expect(Buffer.from(blob).readUInt16BE(4)).toBe(0x05);
    const there = sealedFormat([file(KEY, "named")]);
    there.encode("permanent", BLOB, 1);
    expect(failure(() => decodeMigrationBlob(blob, true, { file: there.cipherOf!("permanent") }))).toMatchObject({
      result: 0x21,
    });
    const elsewhere = sealedFormat([file()]).cipherOf!("permanent");
    expect(decodeMigrationBlob(blob, true, { file: elsewhere })).toEqual(BLOB);
    expect(failure(() => decodeMigrationBlob(blob, true))).toMatchObject({ result: 0x0d });
    expect(failure(() => decodeMigrationBlob(blob, true, { file: cipherOfSwtpm() }))).toMatchObject({ result: 0x09 });
  });

  test("of swtpm's with a file key are refused", () => {
    const theirs = encodeMigrationBlob(BLOB, { file: cipherOfSwtpm() });
    expect(failure(() => decodeMigrationBlob(theirs, true, { file: cipher }))).toMatchObject({ result: 0x28 });
  });

  function cipherOfSwtpm() {
    return encryptedFormat(new AesCbcKey(new Uint8Array(16))).cipherOf!("permanent");
  }
});
