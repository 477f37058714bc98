// swtpm's encryption of files and blobs, computed a second time with node:crypto.
import { Buffer } from "node:buffer";
import crypto from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  ContainerError,
  decodeMigrationBlob,
  encodeMigrationBlob,
  encryptedFormat,
  plainFormat,
} from "../../src/state/container.ts";
import { AesCbcKey } from "../../src/state/encryption/aes-cbc.ts";
import { keyFromPassphrase } from "../../src/state/encryption/passphrase.ts";

const BLOB = Buffer.from("the permanent state of a TPM, of no particular length");
const KEY_128 = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const KEY_256 = Buffer.concat([KEY_128, Buffer.from("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "hex")]);
const keyOf = (bytes: Uint8Array) => new AesCbcKey(Uint8Array.from(bytes));

const u16 = (value: number) => Buffer.from([value >> 8, value]);
const u32 = (value: number) => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
};
const field = (tag: number, bytes: Uint8Array) => Buffer.concat([u16(tag), u32(bytes.length), bytes]);
const container = (flags: number, ...fields: Uint8Array[]) => {
  const body = Buffer.concat(fields);
  return Buffer.concat([Buffer.from([2, 1, 0, 10]), u16(flags), u32(10 + body.length), body]);
};

/** AES-CBC with swtpm's padding, to the size of the key. */
function cbc(key: Buffer, iv: Buffer, data: Uint8Array): Buffer {
  const padding = key.length - (data.length % key.length);
  const cipher = crypto.createCipheriv(`aes-${8 * key.length}-cbc`, key, iv.subarray(0, 16)).setAutoPadding(false);
  return Buffer.concat([cipher.update(Buffer.concat([data, Buffer.alloc(padding, padding)])), cipher.final()]);
}
const hmac = (key: Uint8Array, ...pieces: Uint8Array[]) =>
  crypto.createHmac("sha256", key).update(Buffer.concat(pieces)).digest();

/** Fields 2, 3 and 6, or 5, 3 and 7, as swtpm writes them. */
function encrypted(key: Buffer, data: Uint8Array, [dataTag, ivTag] = [2, 6], iv = crypto.randomBytes(key.length)) {
  const ciphertext = cbc(key, iv, data);
  return Buffer.concat([field(dataTag!, ciphertext), field(3, hmac(key, ciphertext, iv)), field(ivTag!, iv)]);
}

/** The fields of a container, in their order. */
function fieldsOf(bytes: Uint8Array): { tag: number; value: Buffer }[] {
  const view = Buffer.from(bytes);
  const fields: { tag: number; value: Buffer }[] = [];
  for (let at = 10; at < view.length; ) {
    const size = view.readUInt32BE(at + 2);
    fields.push({ tag: view.readUInt16BE(at), value: view.subarray(at + 6, at + 6 + size) });
    at += 6 + size;
  }
  return fields;
}

/** The result with which something is refused; 0 when it is not. */
function resultOf(action: () => unknown): number {
  try {
    action();
  } catch (error) {
    if (error instanceof ContainerError) return error.result;
    throw error;
  }
  return 0;
}

describe("keys of passphrases", () => {
  test("PBKDF2-HMAC-SHA512 with 1000 rounds and the salt swtpm", () => {
    // RFC 8018, 5.2, written out for one block of SHA-512.
    const passphrase = Buffer.from("passphrase\n");
    let block = crypto.createHmac("sha512", passphrase).update("swtpm").update(u32(1)).digest();
    const sum = Buffer.from(block);
    for (let round = 1; round < 1000; round++) {
      block = crypto.createHmac("sha512", passphrase).update(block).digest();
      for (let i = 0; i < sum.length; i++) sum[i]! ^= block[i]!;
    }
    expect(Buffer.from(keyFromPassphrase(passphrase, "pbkdf2", 32))).toEqual(sum.subarray(0, 32));
    expect(Buffer.from(keyFromPassphrase(passphrase, "pbkdf2", 16))).toEqual(sum.subarray(0, 16));
  });

  test("the beginning of the SHA-512", () => {
    const passphrase = Buffer.from("any\nthing");
    const digest = crypto.createHash("sha512").update(passphrase).digest();
    expect(Buffer.from(keyFromPassphrase(passphrase, "sha512", 32))).toEqual(digest.subarray(0, 32));
    expect(Buffer.from(keyFromPassphrase(passphrase, "sha512", 16))).toEqual(digest.subarray(0, 16));
  });

  test("a key has 16 or 32 bytes, and can be wiped", () => {
    for (const size of [0, 15, 17, 24, 31, 33]) expect(() => new AesCbcKey(new Uint8Array(size))).toThrow(RangeError);
    const bytes = Uint8Array.from(KEY_256);
    new AesCbcKey(bytes).wipe();
    expect(bytes).toEqual(new Uint8Array(32));
  });
});

describe.each([
  ["128", KEY_128, 0x01],
  ["256", KEY_256, 0x09],
] as const)("files with a key of %s bits", (_bits, key, flags) => {
  const format = encryptedFormat(keyOf(key));

  test("are read as swtpm writes them", () => {
    for (const size of [0, 1, 15, 16, 17, 31, 32, 33, 53]) {
      const blob = BLOB.subarray(0, size);
      const file = container(flags, encrypted(key, blob));
      expect(Buffer.from(format.decode("permanent", file).blob)).toEqual(blob);
      expect(format.decode("permanent", file).generation).toBeUndefined();
    }
  });

  test("are written as swtpm does, with generation and MAC before that", () => {
    for (const size of [0, 1, 15, 16, 17, 31, 32, 33, 53]) {
      const blob = BLOB.subarray(0, size);
      const file = Buffer.from(format.encode("volatile", blob, 77));
      const [stamp, data, mac, iv] = fieldsOf(file);
      expect(file.subarray(0, 10)).toEqual(Buffer.concat([Buffer.from([2, 1, 0, 10]), u16(flags), u32(file.length)]));
      expect([stamp!.tag, data!.tag, mac!.tag, iv!.tag]).toEqual([0x5754, 2, 3, 6]);
      expect(iv!.value).toHaveLength(key.length);
      expect(data!.value).toEqual(cbc(key, iv!.value, blob));
      expect(mac!.value).toEqual(hmac(key, data!.value, iv!.value));
      const generation = Buffer.from("000000000000004d", "hex");
      const others = file.subarray(10 + 6 + 40);
      const generationKey = hmac(key, Buffer.from("wtpm generation"));
      expect(stamp!.value).toEqual(
        Buffer.concat([generation, hmac(generationKey, Buffer.from([1]), generation, others)]),
      );
      expect(format.decode("volatile", file)).toEqual({ blob: Uint8Array.from(blob), generation: 77 });
    }
  });

  test("have another IV each time", () => {
    const [first, second] = [format.encode("permanent", BLOB, 1), format.encode("permanent", BLOB, 1)];
    expect(fieldsOf(first)[3]!.value).not.toEqual(fieldsOf(second)[3]!.value);
  });

  test("without an IV field are read with zeros, and a longer HMAC by its beginning, as by swtpm", () => {
    const ciphertext = cbc(key, Buffer.alloc(16), BLOB);
    const mac = hmac(key, ciphertext);
    for (const each of [mac, Buffer.concat([mac, Buffer.from("more")])]) {
      const file = container(flags, field(3, each), field(2, ciphertext));
      expect(Buffer.from(format.decode("permanent", file).blob)).toEqual(BLOB);
    }
  });

  test("of version 1 hold SHA-256 and blob under an IV of zeros", () => {
    const content = Buffer.concat([crypto.createHash("sha256").update(BLOB).digest(), BLOB]);
    const ciphertext = cbc(key, Buffer.alloc(16), content);
    const file = Buffer.concat([Buffer.from([1, 1, 0, 10, 0, 1]), u32(10 + ciphertext.length), ciphertext]);
    expect(Buffer.from(format.decode("permanent", file).blob)).toEqual(BLOB);
    content[3]! ^= 1;
    const changed = cbc(key, Buffer.alloc(16), content);
    expect(resultOf(() => format.decode("permanent", Buffer.concat([file.subarray(0, 10), changed])))).toBe(0x09);
  });

  test("exchanged for another's, or with another generation, are refused", () => {
    const file = format.encode("permanent", BLOB, 5);
    expect(resultOf(() => format.decode("volatile", file))).toBe(0x09);
    const other = file.slice();
    other[10 + 6 + 7] = 6;
    expect(resultOf(() => format.decode("permanent", other))).toBe(0x09);
  });

  test("every flipped bit is noticed, but for those that swtpm leaves unused", () => {
    const file = format.encode("permanent", BLOB, 3);
    for (let bit = 0; bit < 8 * file.length; bit++) {
      // The header's flags but one, and the least version while it is one this reader knows; the tag of the generation.
      const byte = bit >> 3;
      if (byte === 1 || byte === 4 || byte === 5 || byte === 10 || byte === 11) continue;
      const mutant = file.slice();
      mutant[byte]! ^= 1 << (bit & 7);
      expect(
        resultOf(() => format.decode("permanent", mutant)),
        `bit ${bit}`,
      ).not.toBe(0);
    }
  });
});

describe("files and keys that do not fit", () => {
  const with128 = encryptedFormat(keyOf(KEY_128));
  const with256 = encryptedFormat(keyOf(KEY_256));
  const other = encryptedFormat(keyOf(Buffer.from(KEY_128).reverse()));
  const file = with128.encode("permanent", BLOB, 1);
  const plain = plainFormat.encode("permanent", BLOB, 1);

  test.each([
    ["another key", () => other.decode("permanent", file), "encrypted", 0x21],
    ["a longer key", () => with256.decode("permanent", file), "encrypted", 0x28],
    ["a shorter key", () => with128.decode("permanent", with256.encode("permanent", BLOB, 1)), "encrypted", 0x28],
    ["no key", () => plainFormat.decode("permanent", file), "encrypted", 0x0d],
    ["a key for a file without", () => with128.decode("permanent", plain), "encrypted", 0x09],
    ["a longer key for a file without", () => with256.decode("permanent", plain), "encrypted", 0x28],
  ] as const)("%s", (_what, action, kind, result) => {
    const error = (() => {
      try {
        return action();
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toBeInstanceOf(ContainerError);
    expect(error).toMatchObject({ kind, result });
  });

  test.each([
    ["no HMAC", container(1, field(2, Buffer.alloc(16))), 0x09],
    ["no encrypted data", container(1, field(3, Buffer.alloc(32))), 0x09],
    ["a short HMAC", container(1, field(2, Buffer.alloc(16)), field(3, Buffer.alloc(31))), 0x09],
    ["a short IV", container(1, withMac(Buffer.alloc(16), Buffer.alloc(15))), 0x21],
    ["too little data", container(1, withMac(Buffer.alloc(15), Buffer.alloc(16))), 0x21],
    ["data of no whole blocks", container(1, withMac(Buffer.alloc(17), Buffer.alloc(16))), 0x09],
    ["no padding", container(1, withMac(noPadding(0), Buffer.alloc(16))), 0x21],
    ["too long a padding", container(1, withMac(noPadding(17), Buffer.alloc(16))), 0x21],
    ["an irregular padding", container(1, withMac(noPadding(2), Buffer.alloc(16))), 0x21],
    ["an unknown version", Buffer.from([3, 1, 0, 10, 0, 1, 0, 0, 0, 10]), 0x09],
  ] as const)("%s", (_what, bytes, result) => {
    expect(resultOf(() => with128.decode("permanent", bytes))).toBe(result);
  });

  function withMac(ciphertext: Buffer, iv: Buffer): Buffer {
    return Buffer.concat([field(2, ciphertext), field(3, hmac(KEY_128, ciphertext, iv)), field(6, iv)]);
  }
  /** A block of zeros that ends with `last`. */
  function noPadding(last: number): Buffer {
    const block = Buffer.alloc(16);
    block[15] = last;
    const cipher = crypto.createCipheriv("aes-128-cbc", KEY_128, Buffer.alloc(16)).setAutoPadding(false);
    return Buffer.concat([cipher.update(block), cipher.final()]);
  }
});

describe("blobs of the control channel", () => {
  const file = encryptedFormat(keyOf(KEY_128)).cipherOf!("permanent");
  const migration = keyOf(KEY_256);

  test("with the file's key: the fields of the file in the one of the migration", () => {
    const blob = encodeMigrationBlob(BLOB, { file });
    expect(Buffer.from(blob).readUInt16BE(4)).toBe(0x05);
    const [outer] = fieldsOf(blob);
    expect(outer!.tag).toBe(4);
    const inner = fieldsOf(Buffer.concat([Buffer.alloc(10), outer!.value]));
    expect(inner.map(({ tag }) => tag)).toEqual([2, 3, 6]);
    expect(inner[0]!.value).toEqual(cbc(KEY_128, inner[2]!.value, BLOB));
    expect(decodeMigrationBlob(blob, true, { file })).toEqual(Uint8Array.from(BLOB));
    expect(decodeMigrationBlob(blob, false, { file })).toEqual(Uint8Array.from(BLOB));
    expect(resultOf(() => decodeMigrationBlob(blob, false))).toBe(0x0d);
  });

  test("with a migration key: fields 5, 3 and 7", () => {
    const blob = encodeMigrationBlob(BLOB, { migration });
    expect(Buffer.from(blob).readUInt16BE(4)).toBe(0x16);
    const [data, mac, iv] = fieldsOf(blob);
    expect([data!.tag, mac!.tag, iv!.tag]).toEqual([5, 3, 7]);
    expect(data!.value).toEqual(cbc(KEY_256, iv!.value, field(1, BLOB)));
    expect(mac!.value).toEqual(hmac(KEY_256, data!.value, iv!.value));
    expect(decodeMigrationBlob(blob, false, { migration })).toEqual(Uint8Array.from(BLOB));
    expect(resultOf(() => decodeMigrationBlob(blob))).toBe(0x0d);
    expect(resultOf(() => decodeMigrationBlob(blob, false, { migration: keyOf(KEY_128) }))).toBe(0x28);
    expect(resultOf(() => decodeMigrationBlob(blob, true, { migration }))).toBe(0x0d);
  });

  test("with both keys", () => {
    const blob = encodeMigrationBlob(BLOB, { file, migration });
    expect(Buffer.from(blob).readUInt16BE(4)).toBe(0x17);
    expect(decodeMigrationBlob(blob, true, { file, migration })).toEqual(Uint8Array.from(BLOB));
    const theirs = container(0x17, encrypted(KEY_256, encrypted(KEY_128, BLOB), [5, 7]));
    expect(decodeMigrationBlob(theirs, true, { file, migration })).toEqual(Uint8Array.from(BLOB));
  });

  test("without encryption are taken whatever keys there are", () => {
    const blob = encodeMigrationBlob(BLOB);
    expect(decodeMigrationBlob(blob, false, { file, migration })).toEqual(Uint8Array.from(BLOB));
    // A flag that says otherwise is believed.
    expect(resultOf(() => decodeMigrationBlob(blob, true, { file }))).toBe(0x09);
  });

  test("of version 1 are decrypted with the migration key", () => {
    const content = Buffer.concat([crypto.createHash("sha256").update(BLOB).digest(), BLOB]);
    const ciphertext = cbc(KEY_128, Buffer.alloc(16), content);
    const blob = Buffer.concat([Buffer.from([1, 1, 0, 10, 0, 2]), u32(10 + ciphertext.length), ciphertext]);
    expect(decodeMigrationBlob(blob, false, { migration: keyOf(KEY_128) })).toEqual(Uint8Array.from(BLOB));
  });
});
