// AES decryption (FIPS 197, 5.3.5, the equivalent inverse cipher) in constant time, as aes.ts does encryption.
import { AES_ROUNDS } from "./aes";
import { inverseShiftRows, rows1, rows2, rows3, transpose } from "./aes-state";
import { wipe } from "./ct";
import { combine, half, highNibbles, INVERSE, INVERSE_A, linear, look, NIBBLES, substitute } from "./gf256";

/** From the form (i, k) of the schedule's round keys to plain bytes, by k and i. */
const ENC_BACK_LO: usize = memory.data<u8>(
  [0x00, 0x13, 0xd4, 0xc7, 0x87, 0x94, 0x53, 0x40, 0x3e, 0x2d, 0xea, 0xf9, 0xb9, 0xaa, 0x6d, 0x7e],
  16,
);
const ENC_BACK_HI: usize = memory.data<u8>(
  [0x00, 0x01, 0x0c, 0x0d, 0x50, 0x51, 0x5c, 0x5d, 0xb0, 0xb1, 0xbc, 0xbd, 0xe0, 0xe1, 0xec, 0xed],
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

/** 9, 11, 13 and 14 times the inverse, again through that linear part, from io and jo. */
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

/** The round keys of the inverse cipher, made from a schedule by aesBeginDecrypt. */
const DECRYPT_KEYS: usize = memory.data(240, 16);

/** Prepares aesDecrypt for a schedule; aesEndDecrypt wipes what it prepared. */
export function aesBeginDecrypt(schedule: usize): void {
  const rounds = load<u32>(schedule, AES_ROUNDS);
  const constant = i8x16.splat(0x63);
  // Keys in reverse, the middle ones through InvMixColumns.
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
  wipe(DECRYPT_KEYS, 240);
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
  const nibbles = v128.load(NIBBLES);
  const inverse = v128.load(INVERSE);
  const inverseA = v128.load(INVERSE_A);
  const last = DECRYPT_KEYS + 16 * load<u32>(schedule, AES_ROUNDS);
  let x = v128.xor(linear(DEC_IN_LO, DEC_IN_HI, transpose(v128.load(input))), v128.load(DECRYPT_KEYS));
  for (let at = DECRYPT_KEYS + 16; at < last; at += 16) {
    x = inverseShiftRows(x);
    const i = highNibbles(x, nibbles);
    const k = v128.and(x, nibbles);
    const j = v128.xor(i, k);
    const ak = look(inverseA, k);
    const io = half(inverse, i, ak, j);
    const jo = half(inverse, j, ak, i);
    // InvMixColumns: 14 s[r] + 11 s[r+1] + 13 s[r+2] + 9 s[r+3]
    const s14 = combine(v128.load(DEC_14U), io, v128.load(DEC_14T), jo);
    const s11 = combine(v128.load(DEC_11U), io, v128.load(DEC_11T), jo);
    const s13 = combine(v128.load(DEC_13U), io, v128.load(DEC_13T), jo);
    const s9 = combine(v128.load(DEC_9U), io, v128.load(DEC_9T), jo);
    x = v128.xor(v128.xor(v128.xor(s14, v128.load(at)), rows1(s11)), v128.xor(rows2(s13), rows3(s9)));
  }
  x = substitute(DEC_OUT_U, DEC_OUT_T, inverseShiftRows(x));
  v128.store(out, transpose(v128.xor(x, v128.load(last))));
}
