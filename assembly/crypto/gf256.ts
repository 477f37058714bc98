// Inversion in GF(256) without tables in memory, for the S-boxes of AES and Camellia.
//
// A byte is written over GF(16): with w + w' = 1 and w w' = c in GF(16), every x in GF(256) is i w + j w' = i + k w', where
// k = i + j, so that its norm is N = i j + c k^2. With a = 1/c, the values
//     io = 1 / (1/i + a/k) + j     and     jo = 1 / (1/j + a/k) + i
// satisfy 1/io = (c k + i) / N and 1/jo = (c k + j) / N, from which the inverse of x is a linear combination. Everything is
// therefore a function of one nibble, and sixteen of these at once are one i8x16.swizzle in a register. 1/0 is written
// 0x80: a swizzle answers 0 for it, which is what 1/(1/0) has to give.
//
// A cipher brings its own tables: the linear map of a byte to (i << 4) | k, by low and high nibble, and what io and jo
// contribute to its S-box. The field is AES's, x^8 + x^4 + x^3 + x + 1; (i, k) stand for the bits of the basis 1, 12, 80, 176 of
// GF(16) in it, w for 18 and c for 13.
//
// All functions take tables as vectors, which a caller with a loop loads once.

/** 1/n, and a/n. */
export const INVERSE: usize = memory.data<u8>(
  [0x80, 0x01, 0x08, 0x0d, 0x0f, 0x06, 0x05, 0x0e, 0x02, 0x0c, 0x0b, 0x0a, 0x09, 0x03, 0x07, 0x04],
  16,
);
export const INVERSE_A: usize = memory.data<u8>(
  [0x80, 0x0d, 0x05, 0x06, 0x0a, 0x02, 0x03, 0x07, 0x0c, 0x0b, 0x04, 0x09, 0x08, 0x01, 0x0f, 0x0e],
  16,
);
/** 15 in every byte. */
export const NIBBLES: usize = memory.data<u64>([0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f], 16);

/**
 * Sixteen entries of `table`, chosen by `indexes`; 0 for indexes above 127. The relaxed instruction may answer anything for
 * those from 16 to 127, which do not occur, and is a step shorter.
 */
@inline
export function look(table: v128, indexes: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(table, indexes);
  return i8x16.swizzle(table, indexes);
}

@inline
export function highNibbles(x: v128, nibbles: v128): v128 {
  return v128.and(i16x8.shr_u(x, 4), nibbles);
}

/** A linear map of every byte, given by one table for each nibble. */
@inline
export function linear(lowTable: usize, highTable: usize, x: v128): v128 {
  const nibbles = v128.load(NIBBLES);
  const low = look(v128.load(lowTable), v128.and(x, nibbles));
  return v128.xor(low, look(v128.load(highTable), highNibbles(x, nibbles)));
}

/** 1 / (1/x + ak) + y: io for (x, y) = (i, j), jo for (j, i). */
@inline
export function half(inverse: v128, x: v128, ak: v128, y: v128): v128 {
  return v128.xor(look(inverse, v128.xor(look(inverse, x), ak)), y);
}

/** The sum of what two tables say of io and jo. */
@inline
export function combine(tableOfIo: v128, io: v128, tableOfJo: v128, jo: v128): v128 {
  return v128.xor(look(tableOfIo, io), look(tableOfJo, jo));
}

/** The S-box given by two tables of io and jo, of bytes in the form (i, k). */
@inline
export function substitute(tableOfIo: usize, tableOfJo: usize, x: v128): v128 {
  const nibbles = v128.load(NIBBLES);
  const inverse = v128.load(INVERSE);
  const i = highNibbles(x, nibbles);
  const k = v128.and(x, nibbles);
  const j = v128.xor(i, k);
  const ak = look(v128.load(INVERSE_A), k);
  return combine(v128.load(tableOfIo), half(inverse, i, ak, j), v128.load(tableOfJo), half(inverse, j, ak, i));
}
