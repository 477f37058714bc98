// AES (FIPS 197) in constant time: no load address and no branch depends on key or data (gf256.ts says how SubBytes works).
//
// Between the rounds bytes stay in the form (i << 4) | k of gf256.ts, and the constant 0x63 of SubBytes is part of the round
// keys. What counts for speed is the number of instructions a round has in a row, not how many it has beside each other:
// hence tables for three times SubBytes, and a CFB that stays in that form from block to block.
import { shiftRows, shiftRows1, shiftRows2, shiftRows3, transpose } from "./aes-state";
import { wipe } from "./ct";
import { combine, half, highNibbles, INVERSE, INVERSE_A, linear, look, NIBBLES, substitute } from "./gf256";

/** Bytes of a key schedule: up to 15 round keys in the form above, then the number of rounds (u32). */
export const AES_SCHEDULE_SIZE: u32 = 256;
export const AES_BLOCK_SIZE: u32 = 16;
/** Where the number of rounds is in the schedule. */
export const AES_ROUNDS: usize = 240;

/** A byte to (i, k), by low and high nibble. */
const ENC_IN_LO: usize = memory.data<u8>(
  [0x00, 0x10, 0x56, 0x46, 0xbc, 0xac, 0xea, 0xfa, 0x9c, 0x8c, 0xca, 0xda, 0x20, 0x30, 0x76, 0x66],
  16,
);
const ENC_IN_HI: usize = memory.data<u8>(
  [0x00, 0x47, 0x39, 0x7e, 0x07, 0x40, 0x3e, 0x79, 0xfe, 0xb9, 0xc7, 0x80, 0xf9, 0xbe, 0xc0, 0x87],
  16,
);

/** SubBytes without its constant, once, twice and three times, in the form (i, k), from io and jo. */
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
const ENC_3U: usize = memory.data<u8>(
  [0x00, 0x8e, 0x0f, 0x45, 0x70, 0xf1, 0x4a, 0xfe, 0x35, 0xcb, 0xb4, 0x3a, 0x81, 0xbb, 0x7f, 0xc4],
  16,
);
const ENC_3T: usize = memory.data<u8>(
  [0x00, 0xa7, 0xaf, 0x46, 0x30, 0x38, 0xe9, 0x97, 0x76, 0xe1, 0x7e, 0xd9, 0x08, 0xd1, 0x9f, 0x4e],
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

/** The key schedule of FIPS 197, 5.2, as bytes, while it is being made. */
const WORDS: usize = memory.data(240, 16);

/** Expands a key of `keyBits` (128, 192 or 256) bits into the AES_SCHEDULE_SIZE bytes at `schedule`. */
export function aesExpandKey(key: usize, keyBits: u32, schedule: usize): void {
  const keyWords = keyBits / 32;
  const rounds = keyWords + 6;
  expandWords(key, keyWords, rounds);
  store<u32>(schedule, rounds, AES_ROUNDS);
  v128.store(schedule, linear(ENC_IN_LO, ENC_IN_HI, transpose(v128.load(WORDS))));
  const constant = i8x16.splat(0x63);
  for (let at: usize = 16; at < 16 * rounds; at += 16) {
    const roundKey = v128.xor(transpose(v128.load(WORDS + at)), constant);
    v128.store(schedule + at, linear(ENC_IN_LO, ENC_IN_HI, roundKey));
  }
  v128.store(schedule + 16 * rounds, v128.xor(transpose(v128.load(WORDS + 16 * rounds)), constant));
  wipe(WORDS, 240);
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
  return i32x4.extract_lane(substitute(ENC_OUT_U, ENC_OUT_T, x), 0) ^ 0x63636363;
}

/** The rounds between the first and the last round key, on a state that the first has been added to. */
@inline
function middleRounds(x: v128, schedule: usize, last: usize): v128 {
  for (let at = schedule + 16; at < last; at += 16) x = round(x, v128.load(at));
  return x;
}

/** SubBytes, ShiftRows (which goes with the rotations of MixColumns), MixColumns and a round key. */
@inline
function round(x: v128, key: v128): v128 {
  const nibbles = v128.load(NIBBLES);
  const inverse = v128.load(INVERSE);
  const i = highNibbles(x, nibbles);
  const k = v128.and(x, nibbles);
  const j = v128.xor(i, k);
  const ak = look(v128.load(INVERSE_A), k);
  const io = half(inverse, i, ak, j);
  const jo = half(inverse, j, ak, i);
  // MixColumns: 2 s[r] + 3 s[r+1] + s[r+2] + s[r+3]
  const once = combine(v128.load(ENC_1U), io, v128.load(ENC_1T), jo);
  const twice = combine(v128.load(ENC_2U), io, v128.load(ENC_2T), jo);
  const thrice = combine(v128.load(ENC_3U), io, v128.load(ENC_3T), jo);
  const near = v128.xor(v128.xor(shiftRows(twice), key), shiftRows1(thrice));
  return v128.xor(near, v128.xor(shiftRows2(once), shiftRows3(once)));
}

/** Encrypts the block at `input` to `out`, which may be the same. */
export function aesEncrypt(schedule: usize, input: usize, out: usize): void {
  const last = schedule + 16 * load<u32>(schedule, AES_ROUNDS);
  let x = linear(ENC_IN_LO, ENC_IN_HI, transpose(v128.load(input)));
  x = middleRounds(v128.xor(x, v128.load(schedule)), schedule, last);
  x = v128.xor(shiftRows(substitute(ENC_OUT_U, ENC_OUT_T, x)), v128.load(last));
  v128.store(out, transpose(x));
}

/**
 * CFB encryption of `length` bytes, a multiple of 16, from `input` to `out`, which may be the same; the block at `iv` is replaced
 * by the last ciphertext block. From one block to the next only the form (i, k) of the key stream is waited for.
 */
export function aesCfbEncrypt(schedule: usize, iv: usize, input: usize, out: usize, length: u32): void {
  const last = schedule + 16 * load<u32>(schedule, AES_ROUNDS);
  const lastKey = v128.load(last);
  const bothKeys = v128.xor(linear(ENC_IN_LO, ENC_IN_HI, lastKey), v128.load(schedule));
  let block = v128.load(iv);
  let x = v128.xor(linear(ENC_IN_LO, ENC_IN_HI, transpose(block)), v128.load(schedule));
  for (const end = input + length; input < end; input += 16, out += 16) {
    const plain = v128.load(input);
    const plainForm = v128.xor(linear(ENC_IN_LO, ENC_IN_HI, transpose(plain)), bothKeys);
    const y = middleRounds(x, schedule, last);
    x = v128.xor(shiftRows(substitute(ENC_1U, ENC_1T, y)), plainForm);
    block = v128.xor(transpose(v128.xor(shiftRows(substitute(ENC_OUT_U, ENC_OUT_T, y)), lastKey)), plain);
    v128.store(out, block);
  }
  v128.store(iv, block);
}

/**
 * CFB decryption of `length` bytes, a multiple of 16, from `input` to `out`, which may be the same; the block at `iv` is replaced
 * by the last ciphertext block. Two blocks are under way at once: neither waits for the other.
 */
export function aesCfbDecrypt(schedule: usize, iv: usize, input: usize, out: usize, length: u32): void {
  const last = schedule + 16 * load<u32>(schedule, AES_ROUNDS);
  const firstKey = v128.load(schedule);
  const lastKey = v128.load(last);
  let block = v128.load(iv);
  const end = input + length;
  for (; input + 16 < end; input += 32, out += 32) {
    const first = v128.load(input);
    let x = v128.xor(linear(ENC_IN_LO, ENC_IN_HI, transpose(block)), firstKey);
    let y = v128.xor(linear(ENC_IN_LO, ENC_IN_HI, transpose(first)), firstKey);
    block = v128.load(input, 16);
    for (let at = schedule + 16; at < last; at += 16) {
      const key = v128.load(at);
      x = round(x, key);
      y = round(y, key);
    }
    x = v128.xor(shiftRows(substitute(ENC_OUT_U, ENC_OUT_T, x)), lastKey);
    y = v128.xor(shiftRows(substitute(ENC_OUT_U, ENC_OUT_T, y)), lastKey);
    v128.store(out, v128.xor(transpose(x), first));
    v128.store(out, v128.xor(transpose(y), block), 16);
  }
  v128.store(iv, block);
  if (input == end) return;
  block = v128.load(input);
  aesEncrypt(schedule, iv, iv);
  v128.store(out, v128.xor(v128.load(iv), block));
  v128.store(iv, block);
}
