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
  const view = new DataView(out.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, LEAST_VERSION);
  view.setUint16(2, HEADER_SIZE);
  view.setUint16(4, flags);
  view.setUint32(6, out.length);
  out.set(fields, HEADER_SIZE);
  return out;
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
  const view = new DataView(out.buffer);
  view.setUint16(0, tag);
  view.setUint32(2, bytes.length);
  out.set(bytes, FIELD_HEADER_SIZE);
  return out;
}

/** "the state is damaged: …" */
export function damaged(what: string, result: number = CONTAINER_RESULT.FAIL): ContainerError {
  return new ContainerError("damaged", result, `the state is damaged: ${what}`);
}
