// The one way to read bytes of a command and the one way to write bytes of a response. Everything a caller sends is read
// through the bounds-checked input cursor; numbers on the wire are big-endian (Part 1, 14.2).
import { ctEqual } from "../crypto/ct";
import { TPM_RC_INSUFFICIENT, TPM_RC_SIZE } from "./generated/constants";

/** A TPM2B in memory: UINT16 size, then the bytes. How many fit is known by whoever reserved the memory. */
@unmanaged
export class TPM2B {
  @inline
  get size(): u32 {
    return load<u16>(changetype<usize>(this));
  }
  @inline
  set size(value: u32) {
    store<u16>(changetype<usize>(this), <u16>value);
  }
  /** Address of the first byte. */
  @inline
  get buffer(): usize {
    return changetype<usize>(this) + 2;
  }
}

/** A PCR selection's bit map in memory: UINT8 size, then the bytes. */
@unmanaged
export class Bitmap {
  @inline
  get size(): u32 {
    return load<u8>(changetype<usize>(this));
  }
  @inline
  set size(value: u32) {
    store<u8>(changetype<usize>(this), <u8>value);
  }
  /** Address of the first byte. */
  @inline
  get bits(): usize {
    return changetype<usize>(this) + 1;
  }
}

let input: usize = 0;
let left: i32 = 0;

/** Starts reading `length` bytes at `at`. */
export function setInput(at: usize, length: u32): void {
  input = at;
  left = <i32>length;
}

/** Address of the next byte to be read. */
@inline
export function inputAt(): usize {
  return input;
}

/** How many bytes are left to read. */
@inline
export function inputLeft(): u32 {
  return <u32>left;
}

export function skipInput(length: u32): void {
  input += length;
  left -= <i32>length;
}

export function unmarshalU8(target: usize): u32 {
  if (left < 1) return TPM_RC_INSUFFICIENT;
  store<u8>(target, load<u8>(input));
  input += 1;
  left -= 1;
  return 0;
}

export function unmarshalU16(target: usize): u32 {
  if (left < 2) return TPM_RC_INSUFFICIENT;
  store<u16>(target, bswap<u16>(load<u16>(input)));
  input += 2;
  left -= 2;
  return 0;
}

export function unmarshalU32(target: usize): u32 {
  if (left < 4) return TPM_RC_INSUFFICIENT;
  store<u32>(target, bswap<u32>(load<u32>(input)));
  input += 4;
  left -= 4;
  return 0;
}

export function unmarshalU64(target: usize): u32 {
  if (left < 8) return TPM_RC_INSUFFICIENT;
  store<u64>(target, bswap<u64>(load<u64>(input)));
  input += 8;
  left -= 8;
  return 0;
}

export function unmarshalBytes(target: usize, length: u32): u32 {
  if (<u32>left < length) return TPM_RC_INSUFFICIENT;
  memory.copy(target, input, length);
  input += length;
  left -= <i32>length;
  return 0;
}

/** A TPM2B of at most `max` bytes: TPM_RC_SIZE beyond that. */
export function unmarshalTPM2B(target: usize, max: u32): u32 {
  const rc = unmarshalU16(target);
  if (rc) return rc;
  const size: u32 = load<u16>(target);
  const error = size > max ? TPM_RC_SIZE : unmarshalBytes(target + 2, size);
  // A size without the bytes stays nowhere: what outlives the command is saved with the volatile state.
  if (error) store<u16>(target, 0);
  return error;
}

/** UINT8 size within min..max, then that many bytes (TPMS_PCR_SELECT without its hash). */
export function unmarshalBitmap(target: usize, min: u32, max: u32, error: u32): u32 {
  const rc = unmarshalU8(target);
  if (rc) return rc;
  const size: u32 = load<u8>(target);
  if (size < min || size > max) return error;
  return unmarshalBytes(target + 1, size);
}

let output: usize = 0;

/** Where the next byte is written. Whoever sets it reserves enough memory for everything marshalled until it is set again. */
export function setOutput(at: usize): void {
  output = at;
}

@inline
export function outputAt(): usize {
  return output;
}

export function marshalU8(value: u32): void {
  store<u8>(output, <u8>value);
  output += 1;
}

export function marshalU16(value: u32): void {
  store<u16>(output, bswap<u16>(<u16>value));
  output += 2;
}

export function marshalU32(value: u32): void {
  store<u32>(output, bswap<u32>(value));
  output += 4;
}

export function marshalU64(value: u64): void {
  store<u64>(output, bswap<u64>(value));
  output += 8;
}

export function marshalBytes(at: usize, length: u32): void {
  memory.copy(output, at, length);
  output += length;
}

export function marshalTPM2B(target: usize): void {
  const size: u32 = load<u16>(target);
  marshalU16(size);
  marshalBytes(target + 2, size);
}

export function marshalBitmap(target: usize): void {
  const size: u32 = load<u8>(target);
  marshalU8(size);
  marshalBytes(target + 1, size);
}

/** Leaves room for the size of a TPM2B around a structure; the mark is for `endSized`. */
export function beginSized(): usize {
  output += 2;
  return output;
}

export function endSized(mark: usize): void {
  store<u16>(mark - 2, bswap<u16>(<u16>(output - mark)));
}

/** Big-endian number at any address. */
@inline
export function loadBE16(at: usize): u32 {
  return bswap<u16>(load<u16>(at));
}

@inline
export function loadBE32(at: usize): u32 {
  return bswap<u32>(load<u32>(at));
}

@inline
export function loadBE64(at: usize): u64 {
  return bswap<u64>(load<u64>(at));
}

@inline
export function storeBE16(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value));
}

@inline
export function storeBE32(at: usize, value: u32): void {
  store<u32>(at, bswap<u32>(value));
}

@inline
export function storeBE64(at: usize, value: u64): void {
  store<u64>(at, bswap<u64>(value));
}

/** Copies a TPM2B. The target must have room for the source's size. */
export function copy2B(target: TPM2B, source: TPM2B): void {
  memory.copy(changetype<usize>(target), changetype<usize>(source), 2 + source.size);
}

/** Appends `source` to `target`, which must have room. */
export function concat2B(target: TPM2B, source: TPM2B): void {
  memory.copy(target.buffer + target.size, source.buffer, source.size);
  target.size += source.size;
}

/** Sets a TPM2B from bytes. */
export function set2B(target: TPM2B, at: usize, length: u32): void {
  target.size = length;
  memory.copy(target.buffer, at, length);
}

/** Sizes and bytes equal, in a time that tells nothing of the bytes. */
export function equal2B(a: TPM2B, b: TPM2B): bool {
  return a.size == b.size && ctEqual(a.buffer, b.buffer, a.size) != 0;
}
