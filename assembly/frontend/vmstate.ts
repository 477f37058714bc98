// The device's state as QEMU's vmstate lays it out: fields in order, big-endian, no padding.
//
// The longest is that of tpm-tis-i2c (4215 bytes).

import { BUFFER, BUFFER_SIZE } from "./buffer.ts";

export const STATE_CAPACITY: u32 = 4352;
export const STATE: usize = memory.data(4352);

/** Where the next field goes to or comes from. */
let at: usize = 0;

export function begin(): void {
  at = STATE;
}

/** Bytes from the beginning to the current place. */
export function position(): u32 {
  return <u32>(at - STATE);
}

export function put8(value: u32): void {
  store<u8>(at, value);
  at += 1;
}

export function put16(value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value));
  at += 2;
}

export function put32(value: u32): void {
  store<u32>(at, bswap<u32>(value));
  at += 4;
}

/** The first `length` bytes of the command buffer. */
export function putBuffer(length: u32): void {
  memory.copy(at, BUFFER, length);
  at += length;
}

export function take8(): u32 {
  const value = load<u8>(at);
  at += 1;
  return value;
}

export function take16(): u32 {
  const value = bswap<u16>(load<u16>(at));
  at += 2;
  return value;
}

export function take32(): u32 {
  const value = bswap<u32>(load<u32>(at));
  at += 4;
  return value;
}

/** Fills the command buffer with the next `length` bytes, the rest of it with zeros. */
export function takeBuffer(length: u32): void {
  memory.copy(BUFFER, at, length);
  memory.fill(BUFFER + length, 0, BUFFER_SIZE - length);
  at += length;
}

/** Moves to `position` without reading. */
export function seek(position: u32): void {
  at = STATE + position;
}
