// Keccak-f[1600] and what FIPS 202 builds on it: SHA-3 and SHAKE. The sponge is 25 u64 lanes in memory; data is absorbed into
// it at once, so the only other thing to remember is how many bytes of the current block have been absorbed.

import { keccakPermute } from "./generated/keccak";

/** Bytes of the sponge. */
export const KECCAK_STATE_SIZE: u32 = 200;
/** Input block of SHAKE128 and SHAKE256, in bytes. */
export const SHAKE128_RATE: u32 = 168;
export const SHAKE256_RATE: u32 = 136;

/**
 * Absorbs `length` bytes at `data` into a sponge of `rate` bytes per block, of which `used` (< rate) are filled.
 *
 * @returns how many bytes of the block are filled afterwards
 */
export function sha3Absorb(state: usize, rate: u32, used: u32, data: usize, length: u32): u32 {
  const end = data + length;
  while (data < end) {
    if (((used | <u32>(end - data < 8)) & 7) == 0) {
      store<u64>(state + used, load<u64>(state + used) ^ load<u64>(data));
      data += 8;
      used += 8;
    } else {
      store<u8>(state + used, load<u8>(state + used) ^ load<u8>(data));
      data++;
      used++;
    }
    if (used == rate) {
      keccakPermute(state);
      used = 0;
    }
  }
  return used;
}

/**
 * Ends the input: `suffix` is the domain separation with the first padding bit (0x06 for SHA-3, 0x1F for SHAKE). The first
 * `rate` bytes of the sponge are then output; `keccakPermute` makes the next ones.
 */
export function sha3Final(state: usize, rate: u32, used: u32, suffix: u8): void {
  store<u8>(state + used, load<u8>(state + used) ^ suffix);
  store<u8>(state + rate - 1, load<u8>(state + rate - 1) ^ 0x80);
  keccakPermute(state);
}

/** SHAKE128 or SHAKE256 (by `rate`) of `length` bytes at `data`: `outLength` bytes to `out`. */
export function shakeOnce(rate: u32, data: usize, length: u32, out: usize, outLength: u32): void {
  memory.fill(SHAKE_STATE, 0, KECCAK_STATE_SIZE);
  sha3Final(SHAKE_STATE, rate, sha3Absorb(SHAKE_STATE, rate, 0, data, length), 0x1f);
  while (outLength > rate) {
    memory.copy(out, SHAKE_STATE, rate);
    keccakPermute(SHAKE_STATE);
    out += rate;
    outLength -= rate;
  }
  memory.copy(out, SHAKE_STATE, outLength);
  memory.fill(SHAKE_STATE, 0, KECCAK_STATE_SIZE);
}

const SHAKE_STATE: usize = memory.data(200, 16);
