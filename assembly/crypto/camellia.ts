// Camellia (RFC 3713) in constant time: the S-boxes are computed as gf256.ts says, eight bytes at a time.
//
// Blocks, subkeys and the halves D1, D2 are u64 in memory order: the leftmost byte of the specification is the lowest.
import { wipe } from "./ct";
import { linear, substitute } from "./gf256";

/** Bytes of a key schedule: up to 34 subkeys in order of use (u64), then how many there are (u32). */
export const CAMELLIA_SCHEDULE_SIZE: u32 = 280;

const SUBKEYS: usize = 272;
/** Subkeys for 18 rounds (128-bit keys) and for 24. */
const COUNT_18: u32 = 26;
const COUNT_24: u32 = 34;

/** f of the specification into (i, k), by low and high nibble; h after the inverse, from io and jo. */
const IN_LO: usize = memory.data<u8>(
  [0x00, 0x1c, 0x46, 0x5a, 0x32, 0x2e, 0x74, 0x68, 0xbd, 0xa1, 0xfb, 0xe7, 0x8f, 0x93, 0xc9, 0xd5],
  16,
);
const IN_HI: usize = memory.data<u8>(
  [0x00, 0x30, 0xcc, 0xfc, 0x42, 0x72, 0x8e, 0xbe, 0xb6, 0x86, 0x7a, 0x4a, 0xf4, 0xc4, 0x38, 0x08],
  16,
);
const OUT_U: usize = memory.data<u8>(
  [0x00, 0xa2, 0xeb, 0x35, 0x70, 0x39, 0xde, 0xd2, 0x45, 0x97, 0x0c, 0xae, 0x49, 0xe7, 0x9b, 0x7c],
  16,
);
const OUT_T: usize = memory.data<u8>(
  [0x00, 0xb6, 0x94, 0x1d, 0xda, 0xf8, 0x89, 0x6c, 0xc7, 0xab, 0xe5, 0x53, 0x22, 0x71, 0x4e, 0x3f],
  16,
);
/** f(0xC5), by which every input is shifted, in the form (i, k); 0x6E is added to every output. */
const IN_CONSTANT: i8 = <i8>0xda;
const OUT_CONSTANT: i8 = 0x6e;

/** Sigma1 to Sigma6, in memory order. */
const SIGMA: usize = memory.data<u64>(
  [
    0x8b90cc3b7f669ea0, 0xb273aa4c58e87ab6, 0xbe824fe92f37efc6, 0x1c6fd3f1a553ff54, 0x1d2d68defa27e510,
    0xfdc1e6b3c28856b0,
  ],
  8,
);

/** KL, KR, KA, KB (big-endian numbers of two u64, high first) while a key is expanded. */
const MATERIAL: usize = memory.data(64, 16);
const KL: u8 = 0;
const KR: u8 = 16;
const KA: u8 = 32;
const KB: u8 = 48;

/**
 * For every subkey in order of use: which of the four numbers above it comes from, and by how much that is rotated left
 * (RFC 3713, 2.2). Left and right halves alternate.
 */
const ORDER_18: usize = memory.data<u8>([
  0, 0, 0, 0, 32, 0, 32, 0, 0, 15, 0, 15, 32, 15, 32, 15, 32, 30, 32, 30, 0, 45, 0, 45, 32, 45, 0, 60, 32, 60, 32, 60,
  0, 77, 0, 77, 0, 94, 0, 94, 32, 94, 32, 94, 0, 111, 0, 111, 32, 111, 32, 111,
]);
const ORDER_24: usize = memory.data<u8>([
  0, 0, 0, 0, 48, 0, 48, 0, 16, 15, 16, 15, 32, 15, 32, 15, 16, 30, 16, 30, 48, 30, 48, 30, 0, 45, 0, 45, 32, 45, 32,
  45, 0, 60, 0, 60, 16, 60, 16, 60, 48, 60, 48, 60, 0, 77, 0, 77, 32, 77, 32, 77, 16, 94, 16, 94, 32, 94, 32, 94, 0,
  111, 0, 111, 48, 111, 48, 111,
]);

/** Rotates every byte where `mask` is set left by `bits` (1 or 7). */
@inline
function rotateBytes(x: v128, bits: i32, mask: v128): v128 {
  return v128.bitselect(v128.or(i8x16.shl(x, bits), i8x16.shr_u(x, 8 - bits)), x, mask);
}

/** The F-function of `x` with the subkey already added. */
function roundFunction(x: u64): u64 {
  // Bytes 1 to 8 go through s1, s2, s3, s4, s2, s3, s4, s1; s4 rotates its input, s2 and s3 their output.
  let v = rotateBytes(i64x2.splat(x), 1, i64x2.splat(0x00ff0000ff000000));
  v = v128.xor(linear(IN_LO, IN_HI, v), i8x16.splat(IN_CONSTANT));
  v = v128.xor(substitute(OUT_U, OUT_T, v), i8x16.splat(OUT_CONSTANT));
  v = rotateBytes(v, 1, i64x2.splat(0x000000ff0000ff00));
  v = rotateBytes(v, 7, i64x2.splat(0x0000ff0000ff0000));
  return mixBytes(v);
}

/** The P-function: every byte a sum of five or six, two terms at a time in the two halves (16 picks a zero). */
@inline
function mixBytes(z: v128): u64 {
  const zero = i64x2.splat(0);
  let sum = i8x16.shuffle(z, zero, 0, 0, 0, 1, 0, 1, 2, 0, 2, 1, 1, 2, 1, 2, 3, 3);
  sum = v128.xor(sum, i8x16.shuffle(z, zero, 3, 3, 2, 3, 5, 4, 4, 4, 5, 4, 4, 4, 6, 6, 5, 5));
  sum = v128.xor(sum, i8x16.shuffle(z, zero, 6, 6, 5, 5, 7, 7, 7, 6, 7, 7, 7, 6, 16, 16, 16, 16));
  return i64x2.extract_lane(sum, 0) ^ i64x2.extract_lane(sum, 1);
}

/** FL: x is the left half of the data, in memory order. */
function fl(x: u64, key: u64): u64 {
  const k = bswap<u64>(key);
  const d = bswap<u64>(x);
  let left = <u32>(d >> 32);
  let right = <u32>d;
  right ^= rotl<u32>(left & <u32>(k >> 32), 1);
  left ^= right | <u32>k;
  return bswap<u64>(((<u64>left) << 32) | right);
}

/** The inverse of FL. */
function flInverse(y: u64, key: u64): u64 {
  const k = bswap<u64>(key);
  const d = bswap<u64>(y);
  let left = <u32>(d >> 32);
  let right = <u32>d;
  left ^= right | <u32>k;
  right ^= rotl<u32>(left & <u32>(k >> 32), 1);
  return bswap<u64>(((<u64>left) << 32) | right);
}

/** Expands a key of `keyBits` (128, 192 or 256) bits into the CAMELLIA_SCHEDULE_SIZE bytes at `schedule`. */
export function camelliaExpandKey(key: usize, keyBits: u32, schedule: usize): void {
  const left1 = load<u64>(key);
  const left2 = load<u64>(key, 8);
  let right1: u64 = 0;
  let right2: u64 = 0;
  if (keyBits > 128) {
    right1 = load<u64>(key, 16);
    right2 = keyBits == 192 ? ~right1 : load<u64>(key, 24);
  }
  let d1 = left1 ^ right1;
  let d2 = left2 ^ right2;
  d2 ^= roundFunction(d1 ^ load<u64>(SIGMA));
  d1 ^= roundFunction(d2 ^ load<u64>(SIGMA, 8));
  d1 ^= left1;
  d2 ^= left2;
  d2 ^= roundFunction(d1 ^ load<u64>(SIGMA, 16));
  d1 ^= roundFunction(d2 ^ load<u64>(SIGMA, 24));
  keep(KL, left1, left2);
  keep(KR, right1, right2);
  keep(KA, d1, d2);
  d1 ^= right1;
  d2 ^= right2;
  d2 ^= roundFunction(d1 ^ load<u64>(SIGMA, 32));
  d1 ^= roundFunction(d2 ^ load<u64>(SIGMA, 40));
  keep(KB, d1, d2);
  const count = keyBits == 128 ? COUNT_18 : COUNT_24;
  const order = keyBits == 128 ? ORDER_18 : ORDER_24;
  for (let i: u32 = 0; i < count; i++) {
    store<u64>(schedule + 8 * i, rotatedHalf(load<u8>(order + 2 * i), load<u8>(order + 2 * i, 1), i & 1));
  }
  store<u32>(schedule, count, SUBKEYS);
  wipe(MATERIAL, 64);
}

function keep(at: u8, first: u64, second: u64): void {
  store<u64>(MATERIAL + at, bswap<u64>(first));
  store<u64>(MATERIAL + at, bswap<u64>(second), 8);
}

/** The left (0) or right (1) half of the number kept at `at`, rotated left by `bits` (0 to 127), in memory order. */
function rotatedHalf(at: u8, bits: u32, side: u32): u64 {
  const swapped = (bits >> 6) ^ side;
  const high = load<u64>(MATERIAL + at + 8 * swapped);
  const low = load<u64>(MATERIAL + at + 8 * (swapped ^ 1));
  bits &= 63;
  return bswap<u64>(bits == 0 ? high : (high << bits) | (low >> (64 - bits)));
}

/** Encrypts the block at `input` to `out`, which may be the same. */
export function camelliaEncrypt(schedule: usize, input: usize, out: usize): void {
  const last = schedule + 8 * (load<u32>(schedule, SUBKEYS) - 2);
  let d1 = load<u64>(input) ^ load<u64>(schedule);
  let d2 = load<u64>(input, 8) ^ load<u64>(schedule, 8);
  for (let at = schedule + 16; ; at += 64) {
    for (let round = at; round < at + 48; round += 16) {
      d2 ^= roundFunction(d1 ^ load<u64>(round));
      d1 ^= roundFunction(d2 ^ load<u64>(round, 8));
    }
    if (at + 48 == last) break;
    d1 = fl(d1, load<u64>(at, 48));
    d2 = flInverse(d2, load<u64>(at, 56));
  }
  store<u64>(out, d2 ^ load<u64>(last));
  store<u64>(out, d1 ^ load<u64>(last, 8), 8);
}

/** Decrypts the block at `input` to `out`, which may be the same: encryption with the subkeys in reverse. */
export function camelliaDecrypt(schedule: usize, input: usize, out: usize): void {
  const last = schedule + 8 * (load<u32>(schedule, SUBKEYS) - 2);
  let d1 = load<u64>(input) ^ load<u64>(last);
  let d2 = load<u64>(input, 8) ^ load<u64>(last, 8);
  for (let end = last; ; end -= 64) {
    for (let round = end - 16; round >= end - 48; round -= 16) {
      d2 ^= roundFunction(d1 ^ load<u64>(round, 8));
      d1 ^= roundFunction(d2 ^ load<u64>(round));
    }
    if (end - 48 == schedule + 16) break;
    d1 = fl(d1, load<u64>(end - 56));
    d2 = flInverse(d2, load<u64>(end - 64));
  }
  store<u64>(out, d2 ^ load<u64>(schedule));
  store<u64>(out, d1 ^ load<u64>(schedule, 8), 8);
}
