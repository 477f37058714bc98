// Sequences of commands and signals for a TPM as data: what can be replayed on any TPM, kept in a file, and made shorter.

/**
 * Hexadecimal digits in which `<12.outPrivate>` stands for what the TPM answered to step 12: a response's `handle` or a parameter by
 * its name, as it stood in the response; `<12.name_content>` for a TPM2B without its size. If there was no such answer it stands for
 * nothing.
 */
export type Digits = string;

/** An authorization by a session that the sequence has started. */
export interface SessionUse {
  /** Step that started it. */
  readonly session: number;
  /** TPMA_SESSION. */
  readonly attributes: number;
  readonly nonceCaller: string;
  /** The authValue of what it authorizes; missing for a session that only encrypts or audits. */
  readonly auth?: string;
  /** Whether the authValue is part of the HMAC's key, or stands in place of the HMAC, or neither. */
  readonly proof: "authValue" | "password" | "none";
  /** The authValue afterwards, where the command changes it. */
  readonly authAfter?: string;
}

/** A TPMS_AUTH_COMMAND, or a session. */
export type Authorization = Digits | SessionUse;

/** What a TPM2_StartAuthSession is sent with, as far as the session's key depends on it. */
export interface SessionStart {
  /** TPM_ALG_ID. */
  readonly authHash: number;
  readonly nonceCaller: string;
  /** The authValue of the entity it is bound to. */
  readonly bindAuth?: string;
  /** TPM2B_PUBLIC of the key that finds the salt; `<salt>` in the parameters stands for TPM2B_ENCRYPTED_SECRET. */
  readonly saltKey?: Digits;
  /** TPM_ALG_ID of what encrypts parameters: AES in CFB mode, XOR or NULL. */
  readonly cipher: number;
  /** Bits of the cipher's key. */
  readonly keyBits: number;
  readonly policy: boolean;
}

/** A change to the bytes of a command, at a place counted from the end of the header modulo what there is. */
export type Edit =
  | { readonly kind: "truncate" | "drop"; readonly at: number }
  | { readonly kind: "append"; readonly bytes: string }
  | { readonly kind: "set" | "flip" | "add"; readonly at: number; readonly value: number }
  | { readonly kind: "tag" };

export interface CommandStep {
  readonly kind: "command";
  /** By which later steps refer to this one. */
  readonly id: number;
  readonly name: string;
  readonly code: number;
  readonly locality: number;
  readonly handles: readonly Digits[];
  /** Names of the handles, where a session's HMAC needs them. */
  readonly names?: readonly Digits[];
  readonly auths: readonly Authorization[];
  readonly parameters: Digits;
  /** Of a TPM2_StartAuthSession. */
  readonly starts?: SessionStart;
  readonly edits?: readonly Edit[];
  /** How often a command that takes long goes on before it is canceled. */
  readonly cancelAfter?: number;
}

/** Bytes that may be a command, after the changes. */
export interface RawStep {
  readonly kind: "raw";
  readonly bytes: string;
  readonly edits: readonly Edit[];
  readonly locality: number;
}

/** What a TPM is told: a command, or a signal of its platform. */
export type Step =
  | CommandStep
  | RawStep
  /** Off and on again. */
  | { readonly kind: "power" }
  /** Goes on elsewhere. */
  | { readonly kind: "migrate" }
  /** _TPM_Hash_Start, _Data, _End. */
  | { readonly kind: "hash"; readonly data: string }
  | { readonly kind: "presence"; readonly asserted: boolean }
  | { readonly kind: "time"; readonly milliseconds: number };

export type Signal = Exclude<Step, CommandStep | RawStep>;

export const hex = (value: number, bytes: number): string => value.toString(16).padStart(2 * bytes, "0");
export const u8 = (value: number): string => hex(value, 1);
export const u16 = (value: number): string => hex(value, 2);
export const u32 = (value: number): string => hex(value >>> 0, 4);
export const u64 = (value: bigint): string => value.toString(16).padStart(16, "0");
/** A TPM2B of digits without references. */
export const sized = (digits: string): string => u16(digits.length / 2) + digits;

/** Handles and algorithms by the names of Part 2. */
export const RH = {
  OWNER: 0x40000001,
  NULL: 0x40000007,
  PW: 0x40000009,
  LOCKOUT: 0x4000000a,
  ENDORSEMENT: 0x4000000b,
  PLATFORM: 0x4000000c,
  PLATFORM_NV: 0x4000000d,
} as const;

/** Bytes of the digests of the hash algorithms. */
export const HASH_SIZES = { 4: 20, 11: 32, 12: 48, 13: 64 } as const;
export type HashId = keyof typeof HASH_SIZES;
export const HASH_IDS = Object.keys(HASH_SIZES).map(Number) as HashId[];
