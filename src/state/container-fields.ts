// The grammar of swtpm's containers: a header and tag-length-value fields, big-endian.
//
//   u8 version (2)  u8 least version a reader must know (1)  u16 header size (10)  u16 flags  u32 total size
//   then fields: u16 tag  u32 size  bytes
//
// Version 1 had no fields: the blob follows the header.
import { StateError, type StateErrorKind } from "./store.ts";

export const HEADER_SIZE = 10;
export const FIELD_HEADER_SIZE = 6;
const VERSION = 2;
const VERSION_WITHOUT_FIELDS = 1;
const LEAST_VERSION = 1;

/** Flags of the header. */
export const FLAG = {
  ENCRYPTED: 0x01,
  /** Encrypted with a migration key. */
  MIGRATION_ENCRYPTED: 0x02,
  MIGRATION_DATA: 0x04,
  ENCRYPTED_256BIT_KEY: 0x08,
  MIGRATION_256BIT_KEY: 0x10,
} as const;

/** Tags of the fields. */
export const TAG = {
  DATA: 1,
  ENCRYPTED_DATA: 2,
  HMAC: 3,
  MIGRATION_DATA: 4,
  ENCRYPTED_MIGRATION_DATA: 5,
  IV_ENCRYPTED_DATA: 6,
  IV_ENCRYPTED_MIGRATION_DATA: 7,
  /** This project's own, in files: generation and checksum. */
  GENERATION: 0x5754,
  /** This project's own, in migration blobs: a blob in the sealed format. */
  SEALED_DATA: 0x5753,
} as const;

/** The words with which swtpm's control channel refuses a container. */
export const CONTAINER_RESULT = {
  BAD_PARAMETER: 0x03,
  FAIL: 0x09,
  KEYNOTFOUND: 0x0d,
  DECRYPT_ERROR: 0x21,
  BAD_KEY_PROPERTY: 0x28,
  BAD_DATASIZE: 0x2b,
  BAD_VERSION: 0x2e,
} as const;

/** Why a container cannot be opened; `result` is the word swtpm's control channel answers. */
export class ContainerError extends StateError {
  readonly result: number;
  constructor(kind: StateErrorKind, result: number, message: string) {
    super(kind, message);
    this.name = "ContainerError";
    this.result = result;
  }
}

export interface OpenedContainer {
  readonly version: number;
  readonly flags: number;
  /** What follows the header: the fields, or in version 1 the blob. */
  readonly body: Uint8Array;
}

/** @throws ContainerError for a header that swtpm does not take either. */
export function openHeader(container: Uint8Array): OpenedContainer {
  if (container.length < HEADER_SIZE) {
    throw damaged(
      `${container.length} bytes where the container's header alone has ${HEADER_SIZE}`,
      CONTAINER_RESULT.BAD_PARAMETER,
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
  if (total !== container.length)
    throw damaged(`its header says ${total} bytes, there are ${container.length}`, CONTAINER_RESULT.BAD_PARAMETER);
  if (leastVersion > VERSION) {
    throw new ContainerError(
      "too-new",
      CONTAINER_RESULT.BAD_VERSION,
      `the state needs a reader of container version ${leastVersion}; this one knows version ${VERSION}`,
    );
  }
  if (headerSize !== HEADER_SIZE)
    throw damaged(`header size ${headerSize} instead of ${HEADER_SIZE}`, CONTAINER_RESULT.BAD_DATASIZE);
  return { version, flags, body: container.subarray(HEADER_SIZE) };
}

/**
 * Whether the container has fields: version 1 has none.
 *
 * @throws ContainerError for a version that nobody knows.
 */
export function hasFields(version: number): boolean {
  if (version === VERSION) return true;
  if (version === VERSION_WITHOUT_FIELDS) return false;
  throw new ContainerError(
    "too-new",
    CONTAINER_RESULT.FAIL,
    `the state is in a container of version ${version}; this reader knows versions ${VERSION_WITHOUT_FIELDS} and ${VERSION}`,
  );
}

/** A container of the version that is written, around fields. */
export function withHeader(fields: Uint8Array, flags: number): Uint8Array {
  const out = new Uint8Array(HEADER_SIZE + fields.length);
  putHeader(out, flags);
  out.set(fields, HEADER_SIZE);
  return out;
}

/** Writes the header of a container, in front of the fields that are there. */
export function putHeader(container: Uint8Array, flags: number): void {
  container[0] = VERSION;
  container[1] = LEAST_VERSION;
  putUint16(container, 2, HEADER_SIZE);
  putUint16(container, 4, flags);
  putUint32(container, 6, container.length);
}

/** The bytes of the first field with the tag; undefined without one, or when a field before it is longer than what is there. */
export function findField(fields: Uint8Array, wanted: number): Uint8Array | undefined {
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

export function field(tag: number, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(FIELD_HEADER_SIZE + bytes.length);
  putField(out, 0, tag, bytes);
  return out;
}

/** Writes a field at an offset. */
export function putField(out: Uint8Array, at: number, tag: number, bytes: Uint8Array): void {
  putFieldHeader(out, at, tag, bytes.length);
  out.set(bytes, at + FIELD_HEADER_SIZE);
}

/** Writes what is in front of a field's bytes. */
export function putFieldHeader(out: Uint8Array, at: number, tag: number, size: number): void {
  putUint16(out, at, tag);
  putUint32(out, at + 2, size);
}

/** Like those of DataView, without a view of its own. */
export function putUint16(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 8;
  out[at + 1] = value;
}

export function putUint32(out: Uint8Array, at: number, value: number): void {
  putUint16(out, at, value >>> 16);
  putUint16(out, at + 2, value);
}

/** "the state is damaged: …" */
export function damaged(what: string, result: number = CONTAINER_RESULT.FAIL): ContainerError {
  return new ContainerError("damaged", result, `the state is damaged: ${what}`);
}
