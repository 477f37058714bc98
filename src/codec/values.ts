// How values of the specification's types look in JavaScript, and the errors of reading and writing them.

/**
 * A decoded value:
 * - number for integers of up to 32 bits and for handles, bigint for UINT64, boolean for TPMI_YES_NO;
 * - the constant's name ("TPM_ALG_SHA256") where the specification names the value, the number otherwise;
 * - an object of booleans (numbers for fields of several bits) for attribute words;
 * - Uint8Array for buffers, digests and PCR bit maps;
 * - an array for lists, an object for structures;
 * - the chosen arm itself for unions, nothing at all where the arm is empty;
 * - the structure itself for a TPM2B around a structure, null for an empty one;
 * - { encrypted } for a first parameter that a session encrypts.
 */
export type TpmValue = number | bigint | boolean | string | Uint8Array | null | TpmValue[] | TpmObject;

export interface TpmObject {
  [name: string]: TpmValue;
}

/** The content of a TPM2B that a session encrypts (Part 1, 21 "Session-based encryption"). */
export interface EncryptedParameter {
  encrypted: Uint8Array;
}

export function isEncrypted(value: unknown): value is EncryptedParameter {
  return typeof value === "object" && value !== null && "encrypted" in value && value.encrypted instanceof Uint8Array;
}

/** What is wrong with a message, and where. */
export interface DecodeIssue {
  /** Byte offset in the message. */
  readonly offset: number;
  /** Path of the field, as in "parameters.inPublic.nameAlg". */
  readonly field: string;
  readonly message: string;
  /** What a TPM answers to it: the name of the response code, */
  readonly error: string;
  /** and its value, with the number of the handle, session or parameter at fault. */
  readonly responseCode: number;
}

/** A value that cannot be encoded, or bytes that are no value of the type; `field` is the path of the field at fault. */
export class CodecError extends Error {
  override readonly name = "CodecError";
  readonly field: string;

  constructor(field: string, message: string) {
    super(field ? `${field}: ${message}` : message);
    this.field = field;
  }
}
