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

/** 1/n, and a/n. */
const INVERSE: usize = memory.data<u8>(
  [0x80, 0x01, 0x08, 0x0d, 0x0f, 0x06, 0x05, 0x0e, 0x02, 0x0c, 0x0b, 0x0a, 0x09, 0x03, 0x07, 0x04],
  16,
);
const INVERSE_A: usize = memory.data<u8>(
  [0x80, 0x0d, 0x05, 0x06, 0x0a, 0x02, 0x03, 0x07, 0x0c, 0x0b, 0x04, 0x09, 0x08, 0x01, 0x0f, 0x0e],
  16,
);

/** Sixteen entries of the 16-byte table at `table`, chosen by `nibbles`; 0 for indexes above 15. */
@inline
export function look(table: usize, nibbles: v128): v128 {
  return i8x16.swizzle(v128.load(table), nibbles);
}

@inline
export function lowNibbles(x: v128): v128 {
  return v128.and(x, i8x16.splat(15));
}

@inline
export function highNibbles(x: v128): v128 {
  return v128.and(i16x8.shr_u(x, 4), i8x16.splat(15));
}

/** A linear map of every byte, given by one table for each nibble. */
@inline
export function linear(lowTable: usize, highTable: usize, x: v128): v128 {
  return v128.xor(look(lowTable, lowNibbles(x)), look(highTable, highNibbles(x)));
}

/** a/k. */
@inline
export function scaledInverse(k: v128): v128 {
  return look(INVERSE_A, k);
}

/** 1 / (1/x + ak) + y: io for (x, y) = (i, j), jo for (j, i). */
@inline
export function half(x: v128, ak: v128, y: v128): v128 {
  return v128.xor(look(INVERSE, v128.xor(look(INVERSE, x), ak)), y);
}

/** The sum of what two tables say of io and jo. */
@inline
export function combine(tableOfIo: usize, io: v128, tableOfJo: usize, jo: v128): v128 {
  return v128.xor(look(tableOfIo, io), look(tableOfJo, jo));
}
