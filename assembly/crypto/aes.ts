// AES (FIPS 197) in constant time: no load address and no branch depends on key or data (see gf256.ts for SubBytes).
//
// Between the rounds bytes stay in the form (i << 4) | k of gf256.ts, and the constant 0x63 of SubBytes is part of the round keys. The
// state is kept by rows (byte 4 * row + column), so that ShiftRows is one shuffle and MixColumns rotates 32-bit lanes.

import { combine, half, highNibbles, linear, lowNibbles, scaledInverse } from "./gf256";

/** Bytes of a key schedule: up to 15 round keys in the form above, then the number of rounds (u32). */
export const AES_SCHEDULE_SIZE: u32 = 256;
export const AES_BLOCK_SIZE: u32 = 16;

/** Where the number of rounds is in the schedule. */
const ROUNDS: usize = 240;

/** A byte to (i, k), by low and high nibble, and back. */
const ENC_IN_LO: usize = memory.data<u8>(
  [0x00, 0x10, 0x56, 0x46, 0xbc, 0xac, 0xea, 0xfa, 0x9c, 0x8c, 0xca, 0xda, 0x20, 0x30, 0x76, 0x66],
  16,
);
const ENC_IN_HI: usize = memory.data<u8>(
  [0x00, 0x47, 0x39, 0x7e, 0x07, 0x40, 0x3e, 0x79, 0xfe, 0xb9, 0xc7, 0x80, 0xf9, 0xbe, 0xc0, 0x87],
  16,
);
const ENC_BACK_LO: usize = memory.data<u8>(
  [0x00, 0x13, 0xd4, 0xc7, 0x87, 0x94, 0x53, 0x40, 0x3e, 0x2d, 0xea, 0xf9, 0xb9, 0xaa, 0x6d, 0x7e],
  16,
);
const ENC_BACK_HI: usize = memory.data<u8>(
  [0x00, 0x01, 0x0c, 0x0d, 0x50, 0x51, 0x5c, 0x5d, 0xb0, 0xb1, 0xbc, 0xbd, 0xe0, 0xe1, 0xec, 0xed],
  16,
);

/** SubBytes without its constant, once and twice, in the form (i, k), from io and jo. */
const ENC_1U: usize = memory.data<u8>(
  [0x00, 0xdd, 0xf3, 0x2c, 0xaf, 0x81, 0xdf, 0x72, 0x83, 0xf1, 0xad, 0x70, 0x2e, 0x5e, 0x5c, 0x02],
  16,
);
const ENC_1T: usize = memory.data<u8>(
  [0x00, 0xfc, 0x7a, 0x10, 0xd1, 0x57, 0x6a, 0x2d, 0xc1, 0xec, 0x47, 0xbb, 0x86, 0x3d, 0xab, 0x96],
  16,
);
const ENC_2U: usize = memory.data<u8>(
  [0x00, 0x53, 0xfc, 0x69, 0xdf, 0x70, 0x95, 0x8c, 0xb6, 0x3a, 0x19, 0x4a, 0xaf, 0xe5, 0x23, 0xc6],
  16,
);
const ENC_2T: usize = memory.data<u8>(
  [0x00, 0x5b, 0xd5, 0x56, 0xe1, 0x6f, 0x83, 0xba, 0xb7, 0x0d, 0x39, 0x62, 0x8e, 0xec, 0x34, 0xd8],
  16,
);

/** SubBytes without its constant as plain bytes. */
const ENC_OUT_U: usize = memory.data<u8>(
  [0x00, 0x4b, 0x2a, 0xb5, 0xc2, 0xa3, 0x9f, 0x89, 0x77, 0xfe, 0x16, 0x5d, 0x61, 0x3c, 0xe8, 0xd4],
  16,
);
const ENC_OUT_T: usize = memory.data<u8>(
  [0x00, 0x54, 0xb7, 0x01, 0xf2, 0x11, 0xb6, 0xa6, 0xf3, 0x55, 0x10, 0x44, 0xe3, 0xa7, 0x45, 0xe2],
  16,
);

/** The linear part of InvSubBytes into (i, k), by low and high nibble. */
const DEC_IN_LO: usize = memory.data<u8>(
  [0x00, 0xcd, 0x05, 0xc8, 0xb5, 0x78, 0xb0, 0x7d, 0x16, 0xdb, 0x13, 0xde, 0xa3, 0x6e, 0xa6, 0x6b],
  16,
);
const DEC_IN_HI: usize = memory.data<u8>(
  [0x00, 0x7b, 0x8b, 0xf0, 0xef, 0x94, 0x64, 0x1f, 0x95, 0xee, 0x1e, 0x65, 0x7a, 0x01, 0xf1, 0x8a],
  16,
);

/** 9, 11, 13 and 14 times the inverse, again through that linear part. */
const DEC_9U: usize = memory.data<u8>(
  [0x00, 0x57, 0x30, 0x20, 0x8b, 0xec, 0x10, 0xdc, 0xab, 0x77, 0xcc, 0x9b, 0x67, 0xfc, 0xbb, 0x47],
  16,
);
const DEC_9T: usize = memory.data<u8>(
  [0x00, 0x8c, 0xa2, 0x28, 0x44, 0x6a, 0x8a, 0xc8, 0x6c, 0xa4, 0x42, 0xce, 0x2e, 0xe0, 0xe6, 0x06],
  16,
);
const DEC_11U: usize = memory.data<u8>(
  [0x00, 0x04, 0x48, 0xa1, 0xd4, 0x98, 0xe9, 0xd0, 0x75, 0xa5, 0x39, 0x3d, 0x4c, 0x71, 0x9c, 0xed],
  16,
);
const DEC_11T: usize = memory.data<u8>(
  [0x00, 0xda, 0x1b, 0x73, 0xac, 0x6d, 0x68, 0x76, 0xdf, 0xa9, 0x1e, 0xc4, 0xc1, 0x05, 0xb7, 0xb2],
  16,
);
const DEC_13U: usize = memory.data<u8>(
  [0x00, 0x5e, 0x23, 0xdd, 0xbd, 0xc0, 0xfe, 0xe3, 0x60, 0x83, 0x1d, 0x43, 0x7d, 0x3e, 0x9e, 0xa0],
  16,
);
const DEC_13T: usize = memory.data<u8>(
  [0x00, 0x30, 0x8b, 0x10, 0x47, 0xfc, 0x9b, 0x77, 0x57, 0x20, 0xec, 0xdc, 0xbb, 0x67, 0xcc, 0xab],
  16,
);
const DEC_14U: usize = memory.data<u8>(
  [0x00, 0xd0, 0xa5, 0x9c, 0xa1, 0xd4, 0x39, 0x71, 0x3d, 0x4c, 0x48, 0x98, 0x75, 0xed, 0x04, 0xe9],
  16,
);
const DEC_14T: usize = memory.data<u8>(
  [0x00, 0x76, 0xa9, 0xb7, 0x73, 0xac, 0x1e, 0x05, 0xc4, 0xc1, 0x1b, 0x6d, 0xdf, 0xb2, 0xda, 0x68],
  16,
);

/** The inverse as plain bytes. */
const DEC_OUT_U: usize = memory.data<u8>(
  [0x00, 0x1e, 0x8f, 0xab, 0x23, 0xb2, 0x24, 0x3d, 0x88, 0xb5, 0x19, 0x07, 0x91, 0x96, 0xac, 0x3a],
  16,
);
const DEC_OUT_T: usize = memory.data<u8>(
  [0x00, 0x1f, 0x3f, 0x4a, 0xce, 0xee, 0x75, 0xd1, 0x84, 0x55, 0xa4, 0xbb, 0x20, 0x9b, 0xf1, 0x6a],
  16,
);

/** The key schedule of FIPS 197, 5.2, as bytes, while it is being made. */
const WORDS: usize = memory.data(240, 16);
/** The round keys of the inverse cipher, made from the schedule by aesBeginDecrypt. */
const DECRYPT_KEYS: usize = memory.data(240, 16);

/** From columns, as bytes come and go, to rows, and back. */
@inline
function transpose(x: v128): v128 {
  return i8x16.shuffle(x, x, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

@inline
function shiftRows(x: v128): v128 {
  return i8x16.shuffle(x, x, 0, 1, 2, 3, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14);
}

@inline
function inverseShiftRows(x: v128): v128 {
  return i8x16.shuffle(x, x, 0, 1, 2, 3, 7, 4, 5, 6, 10, 11, 8, 9, 13, 14, 15, 12);
}

/** Row r of the result is row r + 1 (+ 2, + 3) of x. */
@inline
function rows1(x: v128): v128 {
  return i32x4.shuffle(x, x, 1, 2, 3, 0);
}

@inline
function rows2(x: v128): v128 {
  return i32x4.shuffle(x, x, 2, 3, 0, 1);
}

@inline
function rows3(x: v128): v128 {
  return i32x4.shuffle(x, x, 3, 0, 1, 2);
}

/**
 * Expands a key of `keyBits` (128, 192 or 256) bits into the AES_SCHEDULE_SIZE bytes at `schedule`.
 */
export function aesExpandKey(key: usize, keyBits: u32, schedule: usize): void {
  const keyWords = keyBits / 32;
  const rounds = keyWords + 6;
  expandWords(key, keyWords, rounds);
  store<u32>(schedule, rounds, ROUNDS);
  v128.store(schedule, linear(ENC_IN_LO, ENC_IN_HI, transpose(v128.load(WORDS))));
  const constant = i8x16.splat(0x63);
  for (let at: usize = 16; at < 16 * rounds; at += 16) {
    const roundKey = v128.xor(transpose(v128.load(WORDS + at)), constant);
    v128.store(schedule + at, linear(ENC_IN_LO, ENC_IN_HI, roundKey));
  }
  v128.store(schedule + 16 * rounds, v128.xor(transpose(v128.load(WORDS + 16 * rounds)), constant));
  memory.fill(WORDS, 0, 240);
}

/** FIPS 197, 5.2. */
function expandWords(key: usize, keyWords: u32, rounds: u32): void {
  memory.copy(WORDS, key, 4 * keyWords);
  let constant: u32 = 1;
  let temp = load<u32>(WORDS + 4 * (keyWords - 1));
  let position: u32 = 0;
  const end = WORDS + 16 * (rounds + 1);
  for (let at = WORDS + 4 * keyWords; at < end; at += 4) {
    if (position == 0) {
      temp = rotr<u32>(substituteWord(temp), 8) ^ constant;
      constant = (constant << 1) ^ ((constant >> 7) * 0x11b);
    } else if (keyWords == 8 && position == 4) {
      temp = substituteWord(temp);
    }
    temp ^= load<u32>(at - 4 * keyWords);
    store<u32>(at, temp);
    position++;
    if (position == keyWords) position = 0;
  }
}

/** SubBytes of the four bytes of a word. */
function substituteWord(word: u32): u32 {
  const x = linear(ENC_IN_LO, ENC_IN_HI, i32x4.splat(word));
  const i = highNibbles(x);
  const k = lowNibbles(x);
  const j = v128.xor(i, k);
  const ak = scaledInverse(k);
  return i32x4.extract_lane(combine(ENC_OUT_U, half(i, ak, j), ENC_OUT_T, half(j, ak, i)), 0) ^ 0x63636363;
}

/** Encrypts the block at `input` to `out`, which may be the same. */
export function aesEncrypt(schedule: usize, input: usize, out: usize): void {
  let x = v128.xor(linear(ENC_IN_LO, ENC_IN_HI, transpose(v128.load(input))), v128.load(schedule));
  const last = schedule + 16 * load<u32>(schedule, ROUNDS);
  for (let at = schedule + 16; at < last; at += 16) {
    x = shiftRows(x);
    const i = highNibbles(x);
    const k = lowNibbles(x);
    const j = v128.xor(i, k);
    const ak = scaledInverse(k);
    const io = half(i, ak, j);
    const jo = half(j, ak, i);
    const once = combine(ENC_1U, io, ENC_1T, jo);
    const twice = combine(ENC_2U, io, ENC_2T, jo);
    // MixColumns: 2 s[r] + 3 s[r+1] + s[r+2] + s[r+3]
    const far = v128.xor(rows2(once), rows3(once));
    x = v128.xor(v128.xor(v128.xor(twice, v128.load(at)), rows1(v128.xor(once, twice))), far);
  }
  x = shiftRows(x);
  const i = highNibbles(x);
  const k = lowNibbles(x);
  const j = v128.xor(i, k);
  const ak = scaledInverse(k);
  const y = combine(ENC_OUT_U, half(i, ak, j), ENC_OUT_T, half(j, ak, i));
  v128.store(out, transpose(v128.xor(y, v128.load(last))));
}

/** Prepares aesDecrypt for a schedule; aesEndDecrypt wipes what it prepared. */
export function aesBeginDecrypt(schedule: usize): void {
  const rounds = load<u32>(schedule, ROUNDS);
  const constant = i8x16.splat(0x63);
  // The equivalent inverse cipher (FIPS 197, 5.3.5): keys in reverse, the middle ones through InvMixColumns.
  v128.store(DECRYPT_KEYS, linear(DEC_IN_LO, DEC_IN_HI, v128.load(schedule + 16 * rounds)));
  for (let at: usize = 16; at < 16 * rounds; at += 16) {
    const plain = v128.xor(linear(ENC_BACK_LO, ENC_BACK_HI, v128.load(schedule + 16 * rounds - at)), constant);
    const mixed = v128.xor(inverseMixColumns(plain), constant);
    v128.store(DECRYPT_KEYS + at, linear(DEC_IN_LO, DEC_IN_HI, mixed));
  }
  v128.store(DECRYPT_KEYS + 16 * rounds, linear(ENC_BACK_LO, ENC_BACK_HI, v128.load(schedule)));
}

/** Wipes what aesBeginDecrypt prepared. */
export function aesEndDecrypt(): void {
  memory.fill(DECRYPT_KEYS, 0, 240);
}

/** Every byte times two. */
@inline
function double(x: v128): v128 {
  return v128.xor(i8x16.add(x, x), v128.and(i8x16.shr_s(x, 7), i8x16.splat(0x1b)));
}

/** InvMixColumns of plain bytes, as MixColumns of x + 4 (x[r] + x[r+2]). */
function inverseMixColumns(x: v128): v128 {
  x = v128.xor(x, double(double(v128.xor(x, rows2(x)))));
  const next = rows1(x);
  return v128.xor(v128.xor(double(v128.xor(x, next)), next), v128.xor(rows2(x), rows3(x)));
}

/** Decrypts the block at `input` to `out`, which may be the same, under the schedule last given to aesBeginDecrypt. */
export function aesDecrypt(schedule: usize, input: usize, out: usize): void {
  let x = v128.xor(linear(DEC_IN_LO, DEC_IN_HI, transpose(v128.load(input))), v128.load(DECRYPT_KEYS));
  const last = DECRYPT_KEYS + 16 * load<u32>(schedule, ROUNDS);
  for (let at = DECRYPT_KEYS + 16; at < last; at += 16) {
    x = inverseShiftRows(x);
    const i = highNibbles(x);
    const k = lowNibbles(x);
    const j = v128.xor(i, k);
    const ak = scaledInverse(k);
    const io = half(i, ak, j);
    const jo = half(j, ak, i);
    // InvMixColumns: 14 s[r] + 11 s[r+1] + 13 s[r+2] + 9 s[r+3]
    const near = v128.xor(combine(DEC_14U, io, DEC_14T, jo), rows1(combine(DEC_11U, io, DEC_11T, jo)));
    const far = v128.xor(rows2(combine(DEC_13U, io, DEC_13T, jo)), rows3(combine(DEC_9U, io, DEC_9T, jo)));
    x = v128.xor(v128.xor(near, v128.load(at)), far);
  }
  x = inverseShiftRows(x);
  const i = highNibbles(x);
  const k = lowNibbles(x);
  const j = v128.xor(i, k);
  const ak = scaledInverse(k);
  const y = combine(DEC_OUT_U, half(i, ak, j), DEC_OUT_T, half(j, ak, i));
  v128.store(out, transpose(v128.xor(y, v128.load(last))));
}
