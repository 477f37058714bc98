// One description of a state structure serves both ways: each field function writes the field to the blob or reads it from
// there, depending on the direction. The encoding is that of libtpms: big-endian, every structure with a header, optional blocks
// with their length, and at the end of most a block for what later versions add.
import {
  TPM2B,
  inputAt,
  loadBE16,
  loadBE32,
  loadBE64,
  outputAt,
  setInput,
  setOutput,
  storeBE16,
  storeBE32,
  storeBE64,
} from "../cursor";
import { TPM_RC_BAD_TAG, TPM_RC_INSUFFICIENT, TPM_RC_SIZE } from "../generated/constants";
import { TPM_RC_BAD_VERSION } from "./codes";

let reading = false;
let at: usize = 0;
let end: usize = 0;
/** The first error; after it every field function does nothing. */
let error: u32 = 0;

/** Starts writing to the blob at `blob`, which has room for `capacity` bytes. */
export function beginWrite(blob: usize, capacity: u32): void {
  reading = false;
  at = blob;
  end = blob + capacity;
  error = 0;
}

/** Starts reading a blob of `size` bytes. */
export function beginRead(blob: usize, size: u32): void {
  reading = true;
  at = blob;
  end = blob + size;
  error = 0;
}

@inline
export function isReading(): bool {
  return reading;
}
/** Address of the next byte of the blob. */
@inline
export function transferAt(): usize {
  return at;
}
@inline
export function transferError(): u32 {
  return error;
}
/** Ends the transfer with an error, if there is none yet. */
export function transferFail(rc: u32): void {
  if (error == 0) error = rc;
}

/** Moves on by `length` bytes of the blob; false, and an error, if they are not there. */
function take(length: u32): bool {
  if (error != 0) return false;
  if (<u64>at + length > <u64>end) {
    error = TPM_RC_INSUFFICIENT;
    return false;
  }
  at += length;
  return true;
}

export function u8Field(p: usize): void {
  if (!take(1)) return;
  if (reading) store<u8>(p, load<u8>(at - 1));
  else store<u8>(at - 1, load<u8>(p));
}

export function u16Field(p: usize): void {
  if (!take(2)) return;
  if (reading) store<u16>(p, <u16>loadBE16(at - 2));
  else storeBE16(at - 2, load<u16>(p));
}

export function u32Field(p: usize): void {
  if (!take(4)) return;
  if (reading) store<u32>(p, loadBE32(at - 4));
  else storeBE32(at - 4, load<u32>(p));
}

export function u64Field(p: usize): void {
  if (!take(8)) return;
  if (reading) store<u64>(p, loadBE64(at - 8));
  else storeBE64(at - 8, load<u64>(p));
}

export function bytesField(p: usize, length: u32): void {
  if (!take(length)) return;
  if (reading) memory.copy(p, at - length, length);
  else memory.copy(at - length, p, length);
}

/** Moves on by `length` bytes of the blob and returns their address; 0 after an error. */
export function bytesInPlace(length: u32): usize {
  return take(length) ? at - length : 0;
}

const WORK: usize = memory.data(8, 8);

// A number that is nobody's variable: written as given, or read and returned.

export function u8Value(value: u32): u32 {
  store<u8>(WORK, <u8>value);
  u8Field(WORK);
  return load<u8>(WORK);
}

export function u16Value(value: u32): u32 {
  store<u16>(WORK, <u16>value);
  u16Field(WORK);
  return load<u16>(WORK);
}

export function u32Value(value: u32): u32 {
  store<u32>(WORK, value);
  u32Field(WORK);
  return load<u32>(WORK);
}

export function u64Value(value: u64): u64 {
  store<u64>(WORK, value);
  u64Field(WORK);
  return load<u64>(WORK);
}

/** A truth value: 0 or 1. */
export function boolValue(value: bool): bool {
  return u8Value(value ? 1 : 0) != 0;
}

/** A TPM2B of at most `max` bytes. */
export function twoB(value: TPM2B, max: u32): void {
  const size = u16Value(value.size);
  if (error != 0) return;
  if (size > max) {
    error = TPM_RC_SIZE;
    return;
  }
  value.size = size;
  bytesField(value.buffer, size);
}

/** UINT16 length and bytes, which must be exactly `length` when read; what is longer is cut, what is shorter filled with zeros. */
export function arrayField(p: usize, length: u32): void {
  const size = u16Value(length);
  if (error != 0) return;
  const shared = min(size, length);
  bytesField(p, shared);
  if (!reading) return;
  if (size < length) memory.fill(p + size, 0, length - size);
  else take(size - length);
}

/** As arrayField, but another length is an error. */
export function exactArray(p: usize, length: u32): void {
  const size = u16Value(length);
  if (error != 0) return;
  if (size != length) error = TPM_RC_SIZE;
  else bytesField(p, length);
}

/**
 * UINT16 version, UINT32 magic and, from version 2, UINT16 min_version. Reading refuses another magic, and a min_version
 * above `version`, which is what this engine knows.
 *
 * @returns the version written or found
 */
export function header(version: u32, magic: u32, minVersion: u32): u32 {
  const found = u16Value(version);
  const foundMagic = u32Value(magic);
  if (error != 0) return 0;
  if (foundMagic != magic) {
    error = TPM_RC_BAD_TAG;
    return 0;
  }
  if (found >= 2 && u16Value(minVersion) > version && error == 0) error = TPM_RC_BAD_VERSION;
  return found;
}

/** Begins an optional block that is there: BOOL, UINT16 length. The mark is for endBlock; 0 after an error. */
export function beginBlock(): usize {
  const present = boolValue(true);
  const length = u16Value(0);
  if (error != 0) return 0;
  if (!reading) return at;
  if (!present || at + length > end) {
    error = TPM_RC_INSUFFICIENT;
    return 0;
  }
  return at + length;
}

/** Ends a block: writes its length, or goes to where it ends, past anything a later version put there. */
export function endBlock(mark: usize): void {
  if (error != 0) return;
  if (!reading) storeBE16(mark - 2, <u32>(at - mark));
  else if (at > mark) error = TPM_RC_SIZE;
  else at = mark;
}

/** A block of which nothing is known or needed: written empty (or absent), skipped when read. */
export function unneededBlock(present: bool): void {
  u8Value(present ? 1 : 0);
  const length = u16Value(0);
  if (reading && error == 0) take(length);
}

/** The end of most structures: a block for what later versions add. Not in version 1. */
export function extensionBlock(version: u32): void {
  if (version >= 2) unneededBlock(true);
}

/** Whether the block about to be read has anything in it (its BOOL and length stay unread). */
export function blockHasContent(): bool {
  return error == 0 && at + 3 <= end && loadBE16(at + 1) != 0;
}

/** Hands the rest of the blob to the command cursor, for structures that commands have too. */
export function lendCursor(): void {
  if (reading) setInput(at, <u32>(end - at));
  else setOutput(at);
}

/** Takes the blob back from the cursor; `rc` is what unmarshalling said. */
export function reclaimCursor(rc: u32): void {
  at = reading ? inputAt() : outputAt();
  if (rc != 0) transferFail(rc);
  else if (at > end) transferFail(TPM_RC_SIZE);
}
