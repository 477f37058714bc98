// swtpm's container around a state blob: a header and tag-length-value fields, big-endian.
//
//   u8 version (2)  u8 least version a reader must know (1)  u16 header size (10)  u16 flags  u32 total size
//   then fields: u16 tag  u32 size  bytes
//
// The file holds the blob in a field DATA. What the control channel hands out holds all of that once more in a field
// MIGRATION_DATA. Version 1 had no fields: the blob follows the header.
//
// This project adds a field of its own to files, which swtpm passes over: the number of the generation and a checksum.
//
//   u64 generation  32 bytes SHA-256 of u8 type, u64 generation, and all other fields
import { createHash } from "node:crypto";
import type { StateBlobType } from "../backend/backend.ts";
import type { StateFormat } from "./format.ts";
import { BLOB_TYPES, StateError, type StateErrorKind } from "./store.ts";

const HEADER_SIZE = 10;
const FIELD_HEADER_SIZE = 6;
const VERSION = 2;
const LEAST_VERSION = 1;

const FLAG_ENCRYPTED = 0x01;
const FLAG_MIGRATION_ENCRYPTED = 0x02;
const FLAG_MIGRATION_DATA = 0x04;

const TAG_DATA = 1;
const TAG_ENCRYPTED_DATA = 2;
const TAG_MIGRATION_DATA = 4;
const TAG_ENCRYPTED_MIGRATION_DATA = 5;
const TAG_GENERATION = 0x5754;
/** A number of 8 bytes and a SHA-256. */
const GENERATION_SIZE = 40;

/** Why a container cannot be opened; `result` is the word swtpm's control channel answers. */
export class ContainerError extends StateError {
  readonly result: number;
  constructor(kind: StateErrorKind, result: number, message: string) {
    super(kind, message);
    this.name = "ContainerError";
    this.result = result;
  }
}

const TPM_BAD_PARAMETER = 0x03;
const TPM_FAIL = 0x09;
const TPM_KEYNOTFOUND = 0x0d;
const TPM_BAD_DATASIZE = 0x2b;
const TPM_BAD_VERSION = 0x2e;

/** State files as swtpm writes them without a key, with a checksum that swtpm passes over. */
export const plainFormat: StateFormat = {
  name: "swtpm",

  encode(type, blob, generation) {
    return withHeader(withGeneration(type, generation, field(TAG_DATA, blob)), 0);
  },

  decode(type, file) {
    const { version, flags, body } = openHeader(file);
    const generation = version === 1 ? undefined : checkGeneration(type, body);
    return { blob: innerBlob(version, flags, body), generation };
  },
};

/** Fields, with the one of the generation before them. */
function withGeneration(type: StateBlobType, generation: number, fields: Uint8Array): Uint8Array {
  const stamp = new Uint8Array(GENERATION_SIZE);
  new DataView(stamp.buffer).setBigUint64(0, BigInt(generation));
  stamp.set(checksum(type, stamp.subarray(0, 8), fields), 8);
  const out = new Uint8Array(FIELD_HEADER_SIZE + GENERATION_SIZE + fields.length);
  out.set(field(TAG_GENERATION, stamp));
  out.set(fields, FIELD_HEADER_SIZE + GENERATION_SIZE);
  return out;
}

/**
 * The generation in the fields of a file; undefined when it does not begin with one, as files that swtpm wrote.
 *
 * @throws ContainerError "damaged" when the checksum is another.
 */
function checkGeneration(type: StateBlobType, fields: Uint8Array): number | undefined {
  if (fields.length < FIELD_HEADER_SIZE || ((fields[0]! << 8) | fields[1]!) !== TAG_GENERATION) return undefined;
  const stamp = findField(fields, TAG_GENERATION);
  const others = fields.subarray(FIELD_HEADER_SIZE + GENERATION_SIZE);
  if (stamp?.length !== GENERATION_SIZE || !checksum(type, stamp.subarray(0, 8), others).equals(stamp.subarray(8))) {
    throw new ContainerError(
      "damaged",
      TPM_FAIL,
      "the state is damaged: its checksum is not the one it was stored with",
    );
  }
  return Number(new DataView(stamp.buffer, stamp.byteOffset).getBigUint64(0));
}

function checksum(type: StateBlobType, generation: Uint8Array, fields: Uint8Array): Buffer {
  const hash = createHash("sha256").update(Uint8Array.of(BLOB_TYPES.indexOf(type)));
  return hash.update(generation).update(fields).digest();
}

/** What the control channel hands out for a state blob (CMD_GET_STATEBLOB). */
export function encodeMigrationBlob(blob: Uint8Array): Uint8Array {
  return withHeader(field(TAG_MIGRATION_DATA, field(TAG_DATA, blob)), FLAG_MIGRATION_DATA);
}

/**
 * The state blob in what the control channel was given (CMD_SET_STATEBLOB); empty for a container without content.
 *
 * @param encrypted PTM_STATE_FLAG_ENCRYPTED was set in the request.
 * @throws ContainerError with the result swtpm answers.
 */
export function decodeMigrationBlob(container: Uint8Array, encrypted = false): Uint8Array {
  const { version, flags, body } = openHeader(container);
  if (body.length === 0) return body;
  if (flags & FLAG_MIGRATION_ENCRYPTED) {
    throw new ContainerError(
      "encrypted",
      TPM_KEYNOTFOUND,
      "the state blob is encrypted with a migration key, and none was given",
    );
  }
  const inner = version === 1 ? body : findField(body, TAG_MIGRATION_DATA);
  if (!inner) {
    const why = findField(body, TAG_ENCRYPTED_MIGRATION_DATA)
      ? "it is encrypted with a migration key"
      : "it holds no migration data";
    throw new ContainerError("damaged", TPM_FAIL, `the state blob cannot be read: ${why}`);
  }
  return innerBlob(version, encrypted ? flags | FLAG_ENCRYPTED : flags, inner);
}

function innerBlob(version: number, flags: number, fields: Uint8Array): Uint8Array {
  if (flags & FLAG_ENCRYPTED) {
    throw new ContainerError("encrypted", TPM_KEYNOTFOUND, "the state is encrypted, and no key was given (--key)");
  }
  if (version === 1) return fields;
  const data = findField(fields, TAG_DATA);
  if (data) return data;
  if (findField(fields, TAG_ENCRYPTED_DATA)) {
    throw new ContainerError("encrypted", TPM_KEYNOTFOUND, "the state is encrypted, and no key was given (--key)");
  }
  throw new ContainerError("damaged", TPM_FAIL, "the state is damaged: its container holds no data");
}

function openHeader(container: Uint8Array): { version: number; flags: number; body: Uint8Array } {
  if (container.length < HEADER_SIZE) {
    throw new ContainerError(
      "damaged",
      TPM_BAD_PARAMETER,
      `the state is damaged: ${container.length} bytes where the container's header alone has ${HEADER_SIZE}`,
    );
  }
  const view = new DataView(container.buffer, container.byteOffset, container.byteLength);
  const [version, leastVersion, headerSize, flags, total] = [
    view.getUint8(0),
    view.getUint8(1),
    view.getUint16(2),
    view.getUint16(4),
    view.getUint32(6),
  ];
  if (total !== container.length) {
    throw new ContainerError(
      "damaged",
      TPM_BAD_PARAMETER,
      `the state is damaged: its header says ${total} bytes, there are ${container.length}`,
    );
  }
  if (leastVersion > VERSION) {
    throw new ContainerError(
      "too-new",
      TPM_BAD_VERSION,
      `the state needs a reader of container version ${leastVersion}; this one knows version ${VERSION}`,
    );
  }
  if (headerSize !== HEADER_SIZE) {
    throw new ContainerError(
      "damaged",
      TPM_BAD_DATASIZE,
      `the state is damaged: header size ${headerSize} instead of ${HEADER_SIZE}`,
    );
  }
  return { version, flags, body: container.subarray(HEADER_SIZE) };
}

function findField(fields: Uint8Array, wanted: number): Uint8Array | undefined {
  const view = new DataView(fields.buffer, fields.byteOffset, fields.byteLength);
  let at = 0;
  while (at + FIELD_HEADER_SIZE <= fields.length) {
    const tag = view.getUint16(at);
    const start = at + FIELD_HEADER_SIZE;
    const end = start + view.getUint32(at + 2);
    if (end > fields.length) return undefined;
    if (tag === wanted) return fields.subarray(start, end);
    at = end;
  }
  return undefined;
}

function field(tag: number, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(FIELD_HEADER_SIZE + bytes.length);
  const view = new DataView(out.buffer);
  view.setUint16(0, tag);
  view.setUint32(2, bytes.length);
  out.set(bytes, FIELD_HEADER_SIZE);
  return out;
}

function withHeader(fields: Uint8Array, flags: number): Uint8Array {
  const out = new Uint8Array(HEADER_SIZE + fields.length);
  const view = new DataView(out.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, LEAST_VERSION);
  view.setUint16(2, HEADER_SIZE);
  view.setUint16(4, flags);
  view.setUint32(6, out.length);
  out.set(fields, HEADER_SIZE);
  return out;
}
