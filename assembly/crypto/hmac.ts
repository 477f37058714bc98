// HMAC (FIPS 198-1) over any hash of hash.ts.
//
// An HMAC in progress is HMAC_STATE_SIZE bytes: a hash state into which the inner padded key has gone, then, at
// HMAC_STATE_KEY, one hash block with the key already combined with the outer pad (0x5C). That is how libtpms keeps it.
import { wipe } from "./ct";
import {
  HASH_STATE_SIZE,
  MAX_BLOCK_SIZE,
  MAX_DIGEST_SIZE,
  hashBlockSize,
  hashDigestSize,
  hashFinal,
  hashInit,
  hashOnce,
  hashUpdate,
} from "./hash";

export const HMAC_STATE_KEY: usize = HASH_STATE_SIZE;
export const HMAC_STATE_SIZE: u32 = HASH_STATE_SIZE + MAX_BLOCK_SIZE;

const INNER_PAD: u64 = 0x3636363636363636;
const OUTER_PAD: u64 = 0x5c5c5c5c5c5c5c5c;

/** The state of hmacOnce and the inner digest. */
const ONCE: usize = memory.data(480, 16);
const INNER: usize = memory.data(64, 16);

/** Starts an HMAC under the key of `keyLength` bytes (any length; beyond a block it is hashed first). */
export function hmacInit(h: u32, state: usize, key: usize, keyLength: u32): void {
  const blockSize = hashBlockSize(h);
  const block = state + HMAC_STATE_KEY;
  wipe(block, MAX_BLOCK_SIZE);
  if (keyLength > blockSize) hashOnce(h, key, keyLength, block);
  else memory.copy(block, key, keyLength);
  combine(block, blockSize, INNER_PAD);
  hashInit(h, state);
  hashUpdate(h, state, block, blockSize);
  combine(block, blockSize, INNER_PAD ^ OUTER_PAD);
}

/** Adds `length` bytes at `data`. */
export function hmacUpdate(h: u32, state: usize, data: usize, length: u32): void {
  hashUpdate(h, state, data, length);
}

/** Writes the HMAC (hashDigestSize(h) bytes) to `out` and wipes the state with the key in it. */
export function hmacFinal(h: u32, state: usize, out: usize): void {
  hashFinal(h, state, INNER);
  hashInit(h, state);
  hashUpdate(h, state, state + HMAC_STATE_KEY, hashBlockSize(h));
  hashUpdate(h, state, INNER, hashDigestSize(h));
  hashFinal(h, state, out);
  wipe(state + HMAC_STATE_KEY, MAX_BLOCK_SIZE);
  wipe(INNER, MAX_DIGEST_SIZE);
}

/** The HMAC of `length` bytes at `data`, written to `out`. */
export function hmacOnce(h: u32, key: usize, keyLength: u32, data: usize, length: u32, out: usize): void {
  hmacInit(h, ONCE, key, keyLength);
  hmacUpdate(h, ONCE, data, length);
  hmacFinal(h, ONCE, out);
}

/** XORs `pad` over a block (block sizes are multiples of eight). */
function combine(block: usize, length: u32, pad: u64): void {
  for (let i: u32 = 0; i < length; i += 8) store<u64>(block + i, load<u64>(block + i) ^ pad);
}
