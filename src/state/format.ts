// How a state blob becomes the bytes that a store keeps, and back.
import type { StateBlobType } from "../backend/backend.ts";

/** A blob as it was stored. */
export interface StoredBlob {
  /** The state as libtpms writes it. */
  readonly blob: Uint8Array;
  /** The number of the generation it was stored with; undefined when another program wrote it. */
  readonly generation: number | undefined;
}

/**
 * What is put around a blob before it is stored: a container, a checksum, encryption. Stores treat the bytes as opaque.
 *
 * The blob's type and generation are bound to the bytes where the format can do so, so that files which were exchanged or put back
 * are noticed.
 */
export interface StateFormat {
  /** For messages: "swtpm", "swtpm, aes-256-cbc". */
  readonly name: string;

  encode(type: StateBlobType, blob: Uint8Array, generation: number): Uint8Array;

  /**
   * The blob in bytes that `encode`, or a program that knows the same format, made.
   *
   * @throws StateError "damaged", "too-new", or "encrypted" (another key, or a key where there is none, is needed).
   */
  decode(type: StateBlobType, bytes: Uint8Array): StoredBlob;

  /** How the control channel hands out and takes blobs of a type that stay encrypted; undefined for a format without a key. */
  readonly cipherOf?: (type: StateBlobType) => BlobCipher;
}

/** Encryption of a blob with the key of the state, in fields of swtpm's container. */
export interface BlobCipher {
  /** What the header's flags say of it. */
  readonly flags: number;

  /** The fields that hold the blob. */
  encrypt(blob: Uint8Array): Uint8Array;

  /**
   * The blob in the fields.
   *
   * @throws ContainerError with swtpm's result.
   */
  decrypt(container: { readonly version: number; readonly flags: number; readonly body: Uint8Array }): Uint8Array;
}
