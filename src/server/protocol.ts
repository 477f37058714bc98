// The numbers of swtpm's control protocol and of its data channel.

/** Commands of the control channel (CMD_*). */
export const CMD = {
  GET_CAPABILITY: 0x01,
  INIT: 0x02,
  SHUTDOWN: 0x03,
  GET_TPMESTABLISHED: 0x04,
  SET_LOCALITY: 0x05,
  HASH_START: 0x06,
  HASH_DATA: 0x07,
  HASH_END: 0x08,
  CANCEL_TPM_CMD: 0x09,
  STORE_VOLATILE: 0x0a,
  RESET_TPMESTABLISHED: 0x0b,
  GET_STATEBLOB: 0x0c,
  SET_STATEBLOB: 0x0d,
  STOP: 0x0e,
  GET_CONFIG: 0x0f,
  SET_DATAFD: 0x10,
  SET_BUFFERSIZE: 0x11,
  GET_INFO: 0x12,
  LOCK_STORAGE: 0x13,
} as const;

/** Result words: TPM 1.2 numbers for both families. */
export const RESULT = {
  SUCCESS: 0,
  BAD_PARAMETER: 0x03,
  FAIL: 0x09,
  BAD_ORDINAL: 0x0a,
  SIZE: 0x17,
  IOERROR: 0x1f,
  BAD_LOCALITY: 0x3d,
  /** There is no such state blob. */
  RETRY: 0x800,
} as const;

/** What CMD_GET_CAPABILITY answers (PTM_CAP_*), without the bit that only TPM 2.0 has. */
export const CAPABILITIES = 0x17fff;
/** PTM_CAP_SEND_COMMAND_HEADER: the data channel takes the 9-byte prefix. */
export const CAPABILITY_SEND_COMMAND_HEADER = 0x8000;

/** PTM_INIT_FLAG_DELETE_VOLATILE of CMD_INIT. */
export const INIT_FLAG_DELETE_VOLATILE = 1;
/** PTM_STATE_FLAG_DECRYPTED of CMD_GET_STATEBLOB: without the encryption of the state's own key. */
export const STATE_FLAG_DECRYPTED = 1;
/** PTM_STATE_FLAG_ENCRYPTED: a blob is encrypted with the state's own key. */
export const STATE_FLAG_ENCRYPTED = 2;
/** PTM_CONFIG_FLAG_FILE_KEY and PTM_CONFIG_FLAG_MIGRATION_KEY of CMD_GET_CONFIG. */
export const CONFIG_FILE_KEY = 1;
export const CONFIG_MIGRATION_KEY = 2;

/** The largest state blob CMD_SET_STATEBLOB takes, in bytes. */
export const MAX_STATE_BLOB = 512 * 1024;
/** The most text one CMD_GET_INFO reply carries, in bytes. */
export const MAX_INFO_CHUNK = 3 * 1024;

/** TPM2_SEND_COMMAND: the first word of the 9-byte prefix u32 8, u8 locality, u32 size of the command. */
export const SEND_COMMAND = 8;
export const SEND_COMMAND_PREFIX_SIZE = 9;
/** tag, size, command code. */
export const HEADER_SIZE = 10;

export const TPM_ST_NO_SESSIONS = 0x8001;
export const TPM_ST_SESSIONS = 0x8002;
export const TPM_CC_STARTUP = 0x144;
export const TPM_CC_SHUTDOWN = 0x145;
export const TPM_SU_CLEAR = 0;
export const TPM_SU_STATE = 1;

export const TPM_RC_INSUFFICIENT = 0x09a;
export const TPM_RC_INITIALIZE = 0x100;
export const TPM_RC_FAILURE = 0x101;
export const TPM_RC_COMMAND_SIZE = 0x142;
export const TPM_RC_LOCALITY = 0x907;

/** The in-band command of Linux' vTPM proxy driver: header and one byte of locality. */
export const CC_SET_LOCALITY = 0x2000_1000;

/** The 1.2 results that stand where TPM 2.0 has its own codes. */
export const TPM12_TAG_RSP_COMMAND = 0x00c4;
export const TPM12_TAG_RQU_COMMAND = 0x00c1;
export const TPM12_ORD_STARTUP = 0x99;
export const TPM12_ST_CLEAR = 1;
export const TPM12_ST_STATE = 2;
export const TPM12_ST_DEACTIVATED = 3;
export const TPM12_BAD_PARAM_SIZE = 0x19;
export const TPM12_IOERROR = 0x1f;

/** The big-endian u32 at an offset. */
export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Big-endian u32 words, one after the other. */
export function words(...values: number[]): Uint8Array {
  const out = new Uint8Array(4 * values.length);
  for (let i = 0; i < values.length; i++) writeU32(out, 4 * i, values[i]!);
  return out;
}

/** A command or response of a header and at most a u16: tag, size, code. */
export function header(tag: number, code: number, argument?: number): Uint8Array {
  const size = argument === undefined ? HEADER_SIZE : HEADER_SIZE + 2;
  const out = new Uint8Array(size);
  out[0] = tag >>> 8;
  out[1] = tag;
  writeU32(out, 2, size);
  writeU32(out, 6, code);
  if (argument !== undefined) {
    out[10] = argument >>> 8;
    out[11] = argument;
  }
  return out;
}
