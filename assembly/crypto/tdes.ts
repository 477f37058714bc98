// Triple DES (SP 800-67) in constant time.
//
// A half of the data is kept as eight 6-bit groups, the output of the expansion E, one a byte and the same in both halves of a
// vector, so that E costs nothing. The eight S-boxes are evaluated at once, by choosing among all 32 (times two) rows of
// SBOXES with masks made of the input bits; P and E together gather the result bit by bit.

/** Bytes of a key schedule: 48 round keys of eight 6-bit groups, in order of encryption. */
export const TDES_SCHEDULE_SIZE: u32 = 384;
export const TDES_BLOCK_SIZE: u32 = 8;

/** Row v: S1(v) to S8(v), then S1(v + 32) to S8(v + 32), v being the low five bits of the input. */
const SBOXES: usize = memory.data<u8>(
  [
    14, 15, 10, 7, 2, 12, 4, 13, 4, 0, 13, 10, 4, 9, 1, 7, 0, 3, 13, 13, 14, 10, 13, 1, 15, 13, 1, 3, 11, 4, 6, 2, 4, 1,
    0, 13, 12, 1, 11, 2, 1, 14, 6, 6, 2, 14, 4, 11, 15, 13, 7, 8, 11, 15, 0, 15, 12, 8, 10, 15, 8, 3, 11, 1, 13, 8, 9,
    14, 4, 10, 2, 8, 14, 7, 4, 9, 1, 15, 11, 4, 7, 4, 0, 11, 2, 4, 11, 13, 8, 10, 13, 0, 12, 2, 13, 14, 1, 14, 14, 3, 1,
    15, 14, 4, 8, 11, 9, 0, 11, 5, 13, 1, 4, 7, 9, 5, 12, 2, 7, 8, 2, 1, 0, 6, 7, 12, 8, 7, 2, 6, 6, 0, 7, 9, 15, 6, 13,
    10, 8, 12, 10, 2, 12, 9, 14, 15, 3, 6, 4, 7, 4, 10, 4, 3, 6, 10, 1, 9, 1, 4, 15, 11, 3, 6, 10, 2, 0, 15, 6, 4, 15,
    11, 13, 8, 3, 12, 2, 2, 4, 15, 7, 12, 9, 3, 9, 15, 9, 1, 14, 5, 4, 10, 11, 3, 15, 9, 11, 6, 8, 11, 2, 13, 3, 7, 7,
    12, 7, 14, 13, 8, 6, 0, 13, 9, 1, 7, 1, 4, 8, 13, 2, 15, 10, 8, 8, 4, 5, 10, 6, 8, 13, 1, 11, 1, 0, 13, 8, 3, 14, 2,
    1, 14, 10, 3, 1, 5, 10, 4, 7, 2, 7, 8, 13, 10, 7, 13, 3, 9, 1, 1, 8, 0, 3, 10, 15, 5, 11, 15, 15, 7, 10, 0, 10, 12,
    2, 4, 5, 6, 14, 12, 5, 11, 4, 9, 6, 11, 9, 15, 10, 7, 13, 2, 5, 13, 12, 9, 12, 8, 1, 1, 9, 0, 15, 6, 6, 0, 8, 7, 0,
    1, 3, 5, 11, 6, 15, 4, 15, 14, 5, 12, 6, 2, 12, 8, 3, 3, 9, 3, 9, 12, 2, 3, 12, 4, 6, 10, 12, 1, 5, 2, 15, 13, 5, 6,
    3, 7, 14, 5, 0, 1, 0, 9, 12, 13, 7, 5, 15, 4, 7, 14, 7, 6, 12, 14, 5, 10, 8, 13, 11, 10, 14, 12, 10, 14, 12, 11, 14,
    12, 3, 11, 9, 7, 15, 0, 5, 12, 11, 11, 13, 14, 5, 5, 3, 9, 5, 5, 6, 1, 0, 15, 9, 6, 12, 1, 3, 0, 2, 0, 10, 0, 11,
    12, 10, 6, 14, 3, 9, 0, 4, 12, 0, 7, 10, 0, 10, 3, 10, 2, 3, 13, 5, 3, 5, 9, 11, 10, 9, 11, 15, 14, 0, 5, 5, 7, 4,
    0, 2, 5, 0, 5, 2, 4, 14, 5, 6, 12, 5, 2, 14, 8, 0, 11, 9, 5, 3, 11, 15, 14, 8, 3, 8, 9, 6, 14, 2, 2, 5, 8, 3, 6, 7,
    10, 8, 15, 9, 11, 1, 7, 0, 15, 7, 4, 14, 6, 2, 8, 8, 5, 1, 9, 6, 8, 6, 2, 13, 9, 12, 14, 3, 13, 12, 11,
  ],
  16,
);

/** Permuted choice 1 (FIPS 46-3): the bits of the key, counted from 1 at the left, that make C and then D. */
const CHOICE_1: usize = memory.data<u8>([
  57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36, 63, 55,
  47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
]);
/** Permuted choice 2: the bits of C || D that make a round key. */
const CHOICE_2: usize = memory.data<u8>([
  14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30,
  40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
]);
/** The rounds before which C and D rotate by one instead of two: bit i for round i. */
const SINGLE_SHIFTS: u32 = 0x8103;

/**
 * Expands a key of `keyBits` (128: two keys, or 192: three) bits, parity ignored, into the TDES_SCHEDULE_SIZE bytes at
 * `schedule`.
 */
export function tdesExpandKey(key: usize, keyBits: u32, schedule: usize): void {
  expandSingle(key, schedule, 8);
  expandSingle(key + 8, schedule + 128 + 120, -8);
  expandSingle(keyBits == 128 ? key : key + 16, schedule + 256, 8);
}

/** The sixteen round keys of one DES key, at `to` and every `step` bytes from there. */
function expandSingle(key: usize, to: usize, step: isize): void {
  const bits = bswap<u64>(load<u64>(key));
  let c: u32 = 0;
  let d: u32 = 0;
  for (let i: usize = 0; i < 28; i++) {
    c = (c << 1) | (<u32>(bits >> (64 - load<u8>(CHOICE_1 + i))) & 1);
    d = (d << 1) | (<u32>(bits >> (64 - load<u8>(CHOICE_1 + i, 28))) & 1);
  }
  for (let round: u32 = 0; round < 16; round++) {
    const shift = 2 - ((SINGLE_SHIFTS >> round) & 1);
    c = ((c << shift) | (c >> (28 - shift))) & 0xfffffff;
    d = ((d << shift) | (d >> (28 - shift))) & 0xfffffff;
    store<u64>(to, chooseRoundKey(((<u64>c) << 28) | d));
    to += step;
  }
}

/** Permuted choice 2 of the 56 bits `cd`, six bits a byte. */
function chooseRoundKey(cd: u64): u64 {
  let roundKey: u64 = 0;
  for (let group: usize = 0; group < 8; group++) {
    let bits: u64 = 0;
    for (let i: usize = 0; i < 6; i++) bits = (bits << 1) | ((cd >> (56 - load<u8>(CHOICE_2 + 6 * group + i))) & 1);
    roundKey |= bits << (8 * group);
  }
  return roundKey;
}

/** Encrypts the block at `input` to `out`, which may be the same. */
export function tdesEncrypt(schedule: usize, input: usize, out: usize): void {
  crypt(schedule, 8, input, out);
}

/** Decrypts the block at `input` to `out`, which may be the same. */
export function tdesDecrypt(schedule: usize, input: usize, out: usize): void {
  crypt(schedule + TDES_SCHEDULE_SIZE - 8, -8, input, out);
}

/** Three times sixteen rounds with the round keys from `roundKey` on, `step` bytes apart. */
function crypt(roundKey: usize, step: isize, input: usize, out: usize): void {
  const block = initialPermutation(bswap<u64>(load<u64>(input)));
  let left = expand(<u32>(block >> 32));
  let right = expand(<u32>block);
  for (let pass = 0; pass < 3; pass++) {
    for (let round = 0; round < 16; round += 2) {
      left = v128.xor(left, feistel(right, v128.load64_splat(roundKey)));
      roundKey += step;
      right = v128.xor(right, feistel(left, v128.load64_splat(roundKey)));
      roundKey += step;
    }
    // The final and initial permutation between two passes cancel; the exchange of the halves remains.
    const exchanged = left;
    left = right;
    right = exchanged;
  }
  store<u64>(out, bswap<u64>(finalPermutation(((<u64>compress(left)) << 32) | compress(right))));
}

/** A mask of the bytes of x in which `bit` is set. */
@inline
function isSet(x: v128, bit: i8): v128 {
  return i8x16.eq(v128.and(x, i8x16.splat(bit)), i8x16.splat(bit));
}

// Rows v to v + 1, + 3, + 7, + 15 of SBOXES, narrowed down by one input bit each.

@inline
function oneOf2(v: usize, b0: v128): v128 {
  return v128.bitselect(v128.load(SBOXES + 16 * (v + 1)), v128.load(SBOXES + 16 * v), b0);
}

@inline
function oneOf4(v: usize, b0: v128, b1: v128): v128 {
  return v128.bitselect(oneOf2(v + 2, b0), oneOf2(v, b0), b1);
}

@inline
function oneOf8(v: usize, b0: v128, b1: v128, b2: v128): v128 {
  return v128.bitselect(oneOf4(v + 4, b0, b1), oneOf4(v, b0, b1), b2);
}

@inline
function oneOf16(v: usize, b0: v128, b1: v128, b2: v128, b3: v128): v128 {
  return v128.bitselect(oneOf8(v + 8, b0, b1, b2), oneOf8(v, b0, b1, b2), b3);
}

@inline
function exchangeHalves(x: v128): v128 {
  return i64x2.shuffle(x, x, 1, 0);
}

/** `value` in the bytes of x where `bit` is set, else 0. */
@inline
function pick(x: v128, bit: v128, value: v128): v128 {
  return v128.and(i8x16.eq(v128.and(x, bit), bit), value);
}

/** E(P(S(x + roundKey))) in both halves. */
function feistel(right: v128, roundKey: v128): v128 {
  const x = v128.xor(right, roundKey);
  const b0 = isSet(x, 1);
  const b1 = isSet(x, 2);
  const b2 = isSet(x, 4);
  const b3 = isSet(x, 8);
  const rows = v128.bitselect(oneOf16(16, b0, b1, b2, b3), oneOf16(0, b0, b1, b2, b3), isSet(x, 16));
  const y = v128.bitselect(exchangeHalves(rows), rows, isSet(x, 32));
  // The six bits of every group, two at a time.
  let bits = pick(
    i8x16.shuffle(y, y, 6, 5, 4, 6, 2, 3, 2, 1, 3, 7, 0, 1, 0, 7, 4, 5),
    i8x16(8, 8, 8, 4, 4, 4, 8, 4, 1, 8, 8, 8, 4, 1, 2, 4),
    i8x16(32, 32, 32, 32, 32, 32, 32, 32, 16, 16, 16, 16, 16, 16, 16, 16),
  );
  bits = v128.or(
    bits,
    pick(
      i8x16.shuffle(y, y, 1, 2, 3, 4, 1, 6, 3, 2, 4, 6, 5, 7, 5, 0, 7, 0),
      i8x16(2, 1, 2, 4, 1, 2, 8, 2, 1, 1, 2, 2, 1, 2, 4, 1),
      i8x16(8, 8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 4, 4, 4),
    ),
  );
  bits = v128.or(
    bits,
    pick(
      i8x16.shuffle(y, y, 5, 4, 6, 2, 3, 2, 1, 6, 7, 0, 1, 0, 7, 4, 5, 3),
      i8x16(8, 8, 4, 4, 4, 8, 4, 8, 8, 8, 8, 4, 1, 2, 4, 1),
      i8x16(2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1),
    ),
  );
  return v128.or(bits, exchangeHalves(bits));
}

/** The expansion E of a half: eight overlapping groups of six bits, leftmost in the lowest byte. */
function expand(x: u32): v128 {
  let groups: u64 = 0;
  for (let i = 0; i < 8; i++) groups |= (<u64>(rotl<u32>(x, 4 * i + 5) & 0x3f)) << (8 * i);
  return i64x2.splat(groups);
}

/** The 32 bits of which `groups` is the expansion. */
function compress(groups: v128): u32 {
  const g = i64x2.extract_lane(groups, 0);
  let x: u32 = 0;
  for (let i = 0; i < 8; i++) x = (x << 4) | ((<u32>(g >> (8 * i)) >> 1) & 15);
  return x;
}

/** Exchanges the bits of `mask` in x with those `distance` above. */
@inline
function swapBits(x: u64, mask: u64, distance: u64): u64 {
  const difference = ((x >> distance) ^ x) & mask;
  return x ^ difference ^ (difference << distance);
}

/** The initial permutation IP. */
function initialPermutation(x: u64): u64 {
  x = swapBits(x, 0x0f0f0f0f, 36);
  x = swapBits(x, 0x0000ffff, 48);
  x = swapBits(x, 0xcccccccc, 30);
  x = swapBits(x, 0xff00ff00, 24);
  x = swapBits(x, 0x55555555, 33);
  return x;
}

/** Its inverse. */
function finalPermutation(x: u64): u64 {
  x = swapBits(x, 0x55555555, 33);
  x = swapBits(x, 0xff00ff00, 24);
  x = swapBits(x, 0xcccccccc, 30);
  x = swapBits(x, 0x0000ffff, 48);
  x = swapBits(x, 0x0f0f0f0f, 36);
  return x;
}
