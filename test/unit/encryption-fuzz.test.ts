// Changed files and blobs, in every format: refused with a StateError, or read as what was stored. WTPM_FUZZ_RUNS=N for more of them.
import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { decodeMigrationBlob, encodeMigrationBlob, encryptedFormat, plainFormat } from "../../src/state/container.ts";
import { AesCbcKey } from "../../src/state/encryption/aes-cbc.ts";
import { fileProvider, passphraseProvider } from "../../src/state/encryption/key-provider.ts";
import { sealedFormat } from "../../src/state/encryption/sealed-format.ts";
import type { StateFormat } from "../../src/state/format.ts";
import { StateError } from "../../src/state/store.ts";
import { Seeded } from "../support/seeded.ts";

const RUNS = Number(process.env.WTPM_FUZZ_RUNS ?? 4000);
const BLOB = Uint8Array.from(Buffer.from("a state blob of some length, which is not a multiple of anything"));

/** Sizes and counts that parsers trip over. */
const WORDS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** One to four changes; half of the time the total size is made to fit again, so that more than the header is reached. */
function mutate(original: Uint8Array, other: Uint8Array, numbers: Seeded): Uint8Array {
  let bytes = Buffer.from(original);
  for (let changes = 1 + numbers.below(4); changes > 0; changes--) {
    if (bytes.length === 0) break;
    const at = numbers.below(bytes.length);
    switch (numbers.below(6)) {
      case 0:
        bytes[at]! ^= 1 << numbers.below(8);
        break;
      case 1:
        bytes[at] = numbers.below(256);
        break;
      case 2:
        if (at + 4 <= bytes.length) bytes.writeUInt32BE(WORDS[numbers.below(WORDS.length)]!, at);
        break;
      case 3:
        bytes = bytes.subarray(0, at);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(numbers.below(other.length))]);
        break;
      default:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          bytes.subarray(Math.min(bytes.length, at + 1 + numbers.below(8))),
        ]);
    }
  }
  if (bytes.length >= 10 && numbers.below(2) === 0) bytes.writeUInt32BE(bytes.length, 6);
  return Uint8Array.from(bytes);
}

const cbc = (size: 16 | 32) => new AesCbcKey(new Uint8Array(size).fill(size));
const cheap = { log2N: 1, r: 1, p: 1 };
const FORMATS: Readonly<Record<string, () => StateFormat>> = {
  plain: () => plainFormat,
  "aes-128-cbc": () => encryptedFormat(cbc(16)),
  "aes-256-cbc": () => encryptedFormat(cbc(32)),
  sealed: () => sealedFormat([fileProvider(new Uint8Array(32)), passphraseProvider(Buffer.from("p"), "p", cheap)]),
};
const files = Object.values(FORMATS).map((format) => format().encode("permanent", BLOB, 3));

describe("files", () => {
  test.each(Object.keys(FORMATS))("%s", (name) => {
    const format = FORMATS[name]!();
    const numbers = new Seeded(name);
    const original = format.encode("permanent", BLOB, 3);
    let refused = 0;
    for (let run = 0; run < RUNS; run++) {
      const bytes = mutate(original, files[numbers.below(files.length)]!, numbers);
      try {
        const { blob, generation } = format.decode("permanent", bytes);
        // A file that lost its generation is one of swtpm's; only a plain one of those can hold anything else.
        if (name !== "plain" || generation !== undefined) expect(Buffer.from(blob)).toEqual(Buffer.from(BLOB));
      } catch (error) {
        if (!(error instanceof StateError)) throw new Error(`${Buffer.from(bytes).toString("hex")}`, { cause: error });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(0.9 * RUNS);
    expect(format.decode("permanent", original).blob).toEqual(BLOB);
  });
});

describe("blobs of the control channel", () => {
  const file = encryptedFormat(cbc(16)).cipherOf!("permanent");
  const sealed = FORMATS.sealed!().cipherOf!("permanent");
  const migration = cbc(32);
  const KEYS = {
    none: {},
    file: { file },
    sealed: { file: sealed },
    migration: { migration },
    both: { file, migration },
  };
  const blobs = Object.values(KEYS).map((keys) => encodeMigrationBlob(BLOB, keys));

  test.each(Object.keys(KEYS) as (keyof typeof KEYS)[])("keys: %s", (name) => {
    const keys = KEYS[name];
    const numbers = new Seeded(`blob ${name}`);
    const original = encodeMigrationBlob(BLOB, keys);
    let refused = 0;
    for (let run = 0; run < RUNS; run++) {
      const bytes = mutate(original, blobs[numbers.below(blobs.length)]!, numbers);
      try {
        decodeMigrationBlob(bytes, numbers.below(2) === 0, keys);
      } catch (error) {
        if (!(error instanceof StateError)) throw new Error(`${Buffer.from(bytes).toString("hex")}`, { cause: error });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(0.5 * RUNS);
  });
});
