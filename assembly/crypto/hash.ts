// The hash functions behind one interface.
//
// A hash in progress is a plain record that may be copied, stored and resumed (HASH_STATE_SIZE bytes):
//   HASH_STATE_CHAIN   chaining value: 5 u32 (SHA-1), 8 u32 (SHA-256), 8 u64 (SHA-384/512), 25 u64 (SHA-3), native order
//   HASH_STATE_TOTAL   u64, bytes hashed so far
//   HASH_STATE_BUFFER  the last `total mod block size` bytes, not yet compressed (SHA-3 absorbs them at once instead)
import { wipe } from "./ct";
import { sha1Init, sha256Init, sha384Init, sha512Init } from "./sha-init";
import { KECCAK_STATE_SIZE, sha3Absorb, sha3Final } from "./sha3";
import { sha1Blocks } from "./generated/sha1";
import { sha256Blocks } from "./generated/sha256";
import { sha512Blocks } from "./generated/sha512";

export const HASH_SHA1: u32 = 0;
export const HASH_SHA256: u32 = 1;
export const HASH_SHA384: u32 = 2;
export const HASH_SHA512: u32 = 3;
export const HASH_SHA3_256: u32 = 4;
export const HASH_SHA3_384: u32 = 5;
export const HASH_SHA3_512: u32 = 6;

/** The largest digest of any of them, in bytes. */
export const MAX_DIGEST_SIZE: u32 = 64;
/** The largest input block of any of them, in bytes, rounded up to a multiple of 16. */
export const MAX_BLOCK_SIZE: u32 = 144;

export const HASH_STATE_CHAIN: usize = 0;
export const HASH_STATE_TOTAL: usize = 200;
export const HASH_STATE_BUFFER: usize = 208;
export const HASH_STATE_SIZE: u32 = 336;

const DIGEST_SIZES: usize = memory.data<u8>([20, 32, 48, 64, 32, 48, 64]);
const BLOCK_SIZES: usize = memory.data<u8>([64, 64, 128, 128, 136, 104, 72]);

/** The state of hashOnce. */
const ONCE: usize = memory.data(336, 16);

/** Bytes of a digest of hash `h`. */
export function hashDigestSize(h: u32): u32 {
  return load<u8>(DIGEST_SIZES + h);
}

/** Bytes of an input block of hash `h`, as HMAC needs it. */
export function hashBlockSize(h: u32): u32 {
  return load<u8>(BLOCK_SIZES + h);
}

/** Starts hash `h` in the HASH_STATE_SIZE bytes at `state`. */
export function hashInit(h: u32, state: usize): void {
  store<u64>(state, 0, HASH_STATE_TOTAL);
  if (h == HASH_SHA256) sha256Init(state);
  else if (h == HASH_SHA1) sha1Init(state);
  else if (h == HASH_SHA384) sha384Init(state);
  else if (h == HASH_SHA512) sha512Init(state);
  else wipe(state, KECCAK_STATE_SIZE);
}

/** Adds `length` bytes at `data`. */
export function hashUpdate(h: u32, state: usize, data: usize, length: u32): void {
  if (length == 0) return;
  const total = load<u64>(state, HASH_STATE_TOTAL);
  store<u64>(state, total + length, HASH_STATE_TOTAL);
  const blockSize = hashBlockSize(h);
  if (h >= HASH_SHA3_256) {
    sha3Absorb(state, blockSize, <u32>(total % blockSize), data, length);
    return;
  }
  const used = <u32>total & (blockSize - 1);
  if (used != 0) {
    const taken = min(length, blockSize - used);
    memory.copy(state + HASH_STATE_BUFFER + used, data, taken);
    if (used + taken < blockSize) return;
    compress(h, state, state + HASH_STATE_BUFFER, 1);
    data += taken;
    length -= taken;
  }
  const rest = length & (blockSize - 1);
  const whole = length - rest;
  if (whole != 0) compress(h, state, data, whole / blockSize);
  if (rest != 0) memory.copy(state + HASH_STATE_BUFFER, data + whole, rest);
}

/** Writes the digest (hashDigestSize(h) bytes) to `out` and wipes the state. */
export function hashFinal(h: u32, state: usize, out: usize): void {
  if (h >= HASH_SHA3_256) {
    const rate = hashBlockSize(h);
    sha3Final(state, rate, <u32>(load<u64>(state, HASH_STATE_TOTAL) % rate), 0x06);
    memory.copy(out, state, hashDigestSize(h));
  } else {
    pad(h, state);
    digest(h, state, out);
  }
  wipe(state, HASH_STATE_SIZE);
}

/** The digest of `length` bytes at `data`, written to `out`. */
export function hashOnce(h: u32, data: usize, length: u32, out: usize): void {
  hashInit(h, ONCE);
  hashUpdate(h, ONCE, data, length);
  hashFinal(h, ONCE, out);
}

function compress(h: u32, state: usize, data: usize, blocks: u32): void {
  if (h == HASH_SHA256) sha256Blocks(state, data, blocks);
  else if (h == HASH_SHA1) sha1Blocks(state, data, blocks);
  else sha512Blocks(state, data, blocks);
}

/** FIPS 180-4, 5.1: a one bit, zeros, and the length in bits at the end of the block. */
function pad(h: u32, state: usize): void {
  const total = load<u64>(state, HASH_STATE_TOTAL);
  const blockSize = hashBlockSize(h);
  const buffer = state + HASH_STATE_BUFFER;
  let used = <u32>total & (blockSize - 1);
  store<u8>(buffer + used, 0x80);
  used++;
  if (used > blockSize - blockSize / 8) {
    wipe(buffer + used, blockSize - used);
    compress(h, state, buffer, 1);
    used = 0;
  }
  wipe(buffer + used, blockSize - 8 - used);
  store<u64>(buffer + blockSize - 8, bswap<u64>(total << 3));
  compress(h, state, buffer, 1);
}

/** The chaining value in big-endian byte order. */
function digest(h: u32, state: usize, out: usize): void {
  const size = hashDigestSize(h);
  if (h >= HASH_SHA384) {
    for (let i: u32 = 0; i < size; i += 8) store<u64>(out + i, bswap<u64>(load<u64>(state + i)));
  } else {
    for (let i: u32 = 0; i < size; i += 4) store<u32>(out + i, bswap<u32>(load<u32>(state + i)));
  }
}
