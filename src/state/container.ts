// swtpm's containers around a state blob: what is in its files, and what its control channel hands out.
//
// A file holds the blob in a field DATA, or encrypted. What the control channel hands out holds all of that once more in a field
// MIGRATION_DATA, or encrypted with a migration key.
//
// This project adds a field of its own to files, which swtpm passes over: the number of the generation and a checksum.
//
//   u64 generation  32 bytes over u8 type, u64 generation, and all other fields: SHA-256, or HMAC-SHA256 in an encrypted file
import { timingSafeEqual } from "node:crypto";
import type { StateBlobType } from "../backend/backend.ts";
import {
  CONTAINER_RESULT,
  ContainerError,
  damaged,
  FIELD_HEADER_SIZE,
  FLAG,
  field,
  findField,
  HEADER_SIZE,
  hasFields,
  type OpenedContainer,
  openHeader,
  putField,
  putFieldHeader,
  putHeader,
  putUint32,
  TAG,
  withHeader,
} from "./container-fields.ts";
import {
  type AesCbcKey,
  decryptFields,
  encryptFields,
  FILE_KEY_TAGS,
  MIGRATION_KEY_TAGS,
} from "./encryption/aes-cbc.ts";
import { isSealed } from "./encryption/sealed-header.ts";
import type { BlobCipher, StateFormat } from "./format.ts";
import { putSha256, sha256 } from "./sha256.ts";
import { BLOB_TYPES } from "./store.ts";

export { ContainerError } from "./container-fields.ts";

/** State files as swtpm writes them without a key, with a checksum that swtpm passes over. */
export const plainFormat: StateFormat = {
  name: "swtpm",

  encode(type, blob, generation) {
    const file = Buffer.allocUnsafe(FIELDS_AT + FIELD_HEADER_SIZE + blob.length);
    putField(file, FIELDS_AT, TAG.DATA, blob);
    return stamp(file, { type, generation, flags: 0 }, putSha256);
  },

  decode(type, file) {
    if (isSealed(file))
      throw encrypted("the state is in wtpm's encrypted format, and no key for that was given (--key provider=…)");
    const container = openHeader(file);
    const blob = plainBlob(container);
    return {
      blob,
      generation: hasFields(container.version) ? checkGeneration(type, container.body, sha256) : undefined,
    };
  },
};

/**
 * State files as swtpm writes them with `--key`. The checksum beside the generation is a MAC here: files that were exchanged are noticed,
 * unless that field was taken out.
 */
export function encryptedFormat(key: AesCbcKey): StateFormat {
  const cipher = fileKeyCipher(key);
  const mac: Checksum = (...pieces) => key.hmacOfGeneration(...pieces);
  const putMac: PutChecksum = (out, at, bytes) => out.set(mac(bytes), at);
  return {
    name: `swtpm, ${key.cipherName}`,
    cipherOf: () => cipher,

    encode(type, blob, generation) {
      const fields = cipher.encrypt(blob);
      const file = Buffer.allocUnsafe(FIELDS_AT + fields.length);
      file.set(fields, FIELDS_AT);
      return stamp(file, { type, generation, flags: cipher.flags }, putMac);
    },

    decode(type, file) {
      if (isSealed(file))
        throw encrypted(
          "the state is in wtpm's encrypted format, and the key given is one of swtpm's (--key provider=…)",
        );
      const container = openHeader(file);
      const blob = cipher.decrypt(container);
      return {
        blob,
        generation: hasFields(container.version) ? checkGeneration(type, container.body, mac) : undefined,
      };
    },
  };
}

/** swtpm's file key, as the control channel uses it. */
function fileKeyCipher(key: AesCbcKey): BlobCipher {
  return {
    flags: key.size === 32 ? FLAG.ENCRYPTED | FLAG.ENCRYPTED_256BIT_KEY : FLAG.ENCRYPTED,
    encrypt: (blob) => encryptFields(key, FILE_KEY_TAGS, blob),
    decrypt: ({ version, flags, body }) =>
      decryptFields(key, FILE_KEY_TAGS, { version, fields: body, wide: (flags & FLAG.ENCRYPTED_256BIT_KEY) !== 0 }),
  };
}

type Checksum = (...pieces: Uint8Array[]) => Uint8Array;
type PutChecksum = (out: Buffer, at: number, bytes: Uint8Array) => void;
const CHECKSUM_SIZE = 32;
const GENERATION_SIZE = 8 + CHECKSUM_SIZE;

/** Where the other fields of a file begin. */
const FIELDS_AT = HEADER_SIZE + FIELD_HEADER_SIZE + GENERATION_SIZE;

/** Puts the header and the field of the generation in front of the other fields. */
function stamp(
  file: Buffer,
  of: { readonly type: StateBlobType; readonly generation: number; readonly flags: number },
  putChecksum: PutChecksum,
): Uint8Array {
  // What the checksum is over lies end to end for a moment, where the checksum will be.
  const covered = FIELDS_AT - 9;
  file[covered] = BLOB_TYPES.indexOf(of.type);
  putUint64(file, covered + 1, of.generation);
  putChecksum(file, FIELDS_AT - CHECKSUM_SIZE, file.subarray(covered));
  putHeader(file, of.flags);
  putFieldHeader(file, HEADER_SIZE, TAG.GENERATION, GENERATION_SIZE);
  putUint64(file, HEADER_SIZE + FIELD_HEADER_SIZE, of.generation);
  // `slice` of a Buffer copies nothing, which nobody expects of an array.
  return new Uint8Array(file.buffer, file.byteOffset, file.length);
}

function putUint64(file: Uint8Array, at: number, number: number): void {
  putUint32(file, at, number / 2 ** 32);
  putUint32(file, at + 4, number);
}

/**
 * The generation in the fields of a file; undefined when it does not begin with one, as files that swtpm wrote.
 *
 * @throws ContainerError "damaged" when the checksum is another.
 */
function checkGeneration(type: StateBlobType, fields: Uint8Array, checksum: Checksum): number | undefined {
  if (fields.length < FIELD_HEADER_SIZE || ((fields[0]! << 8) | fields[1]!) !== TAG.GENERATION) return undefined;
  const found = findField(fields, TAG.GENERATION);
  const others = fields.subarray(FIELD_HEADER_SIZE + GENERATION_SIZE);
  const number = Uint8Array.of(BLOB_TYPES.indexOf(type));
  const expected = found?.length === GENERATION_SIZE && checksum(number, found.subarray(0, 8), others);
  if (!found || !expected || !timingSafeEqual(expected, found.subarray(8)))
    throw damaged("its checksum is not the one it was stored with");
  return Number(new DataView(found.buffer, found.byteOffset).getBigUint64(0));
}

/** The keys that the control channel's blobs may need. */
export interface BlobKeys {
  /** The state's own key (--key). */
  readonly file?: BlobCipher | undefined;
  /** --migration-key. */
  readonly migration?: AesCbcKey | undefined;
}

/**
 * What the control channel hands out for a state blob (CMD_GET_STATEBLOB).
 *
 * @param keys a file key in them encrypts the blob; leave it out for one that was asked for decrypted.
 */
export function encodeMigrationBlob(blob: Uint8Array, keys: BlobKeys = {}): Uint8Array {
  const { file, migration } = keys;
  const inner = file ? file.encrypt(blob) : field(TAG.DATA, blob);
  const flags = (file?.flags ?? 0) | FLAG.MIGRATION_DATA;
  if (!migration) return withHeader(field(TAG.MIGRATION_DATA, inner), flags);
  const keyFlags =
    migration.size === 32 ? FLAG.MIGRATION_ENCRYPTED | FLAG.MIGRATION_256BIT_KEY : FLAG.MIGRATION_ENCRYPTED;
  return withHeader(encryptFields(migration, MIGRATION_KEY_TAGS, inner), flags | keyFlags);
}

/**
 * The state blob in what the control channel was given (CMD_SET_STATEBLOB); empty for a container without content. One that is not
 * encrypted is taken even if there are keys, as by swtpm: that is how a TPM comes to be encrypted.
 *
 * @param stillEncrypted PTM_STATE_FLAG_ENCRYPTED was set in the request.
 * @throws ContainerError with the result swtpm answers.
 */
export function decodeMigrationBlob(container: Uint8Array, stillEncrypted = false, keys: BlobKeys = {}): Uint8Array {
  const { version, flags, body: content } = openHeader(container);
  if (content.length === 0) return content;
  const body = openMigrationData({ version, flags, body: content }, keys.migration);
  if (!stillEncrypted && !(flags & FLAG.ENCRYPTED)) return plainBlob({ version, flags, body });
  if (!keys.file)
    throw encrypted("the state blob is encrypted with the key of the TPM it comes from, and no key was given (--key)");
  return keys.file.decrypt({ version, flags, body });
}

function openMigrationData({ version, flags, body }: OpenedContainer, key: AesCbcKey | undefined): Uint8Array {
  if (flags & FLAG.MIGRATION_ENCRYPTED) {
    if (!key) throw encrypted("the state blob is encrypted with a migration key, and none was given (--migration-key)");
    const wide = (flags & FLAG.MIGRATION_256BIT_KEY) !== 0;
    return decryptFields(key, MIGRATION_KEY_TAGS, { version, wide, fields: body });
  }
  const inner = hasFields(version) ? findField(body, TAG.MIGRATION_DATA) : body;
  if (inner) return inner;
  const why = findField(body, TAG.ENCRYPTED_MIGRATION_DATA)
    ? "it is encrypted with a migration key"
    : "it holds no migration data";
  throw new ContainerError("damaged", CONTAINER_RESULT.FAIL, `the state blob cannot be read: ${why}`);
}

function plainBlob({ version, flags, body }: OpenedContainer): Uint8Array {
  if (flags & FLAG.ENCRYPTED) throw encrypted(NO_KEY);
  if (!hasFields(version)) return body;
  const data = findField(body, TAG.DATA);
  if (data) return data;
  if (findField(body, TAG.ENCRYPTED_DATA)) throw encrypted(NO_KEY);
  throw damaged("its container holds no data");
}

const NO_KEY = "the state is encrypted, and no key was given (--key)";

function encrypted(message: string): ContainerError {
  return new ContainerError("encrypted", CONTAINER_RESULT.KEYNOTFOUND, message);
}
