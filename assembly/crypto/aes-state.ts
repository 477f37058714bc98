// How AES keeps its state: by rows (byte 4 * row + column), so that ShiftRows is one shuffle and MixColumns rotates lanes.

/** From columns, as bytes come and go, to rows, and back. */
@inline
export function transpose(x: v128): v128 {
  return i8x16.shuffle(x, x, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

@inline
export function shiftRows(x: v128): v128 {
  return i8x16.shuffle(x, x, 0, 1, 2, 3, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14);
}

// Row r of the result is row r + 1, r + 2, r + 3 of shiftRows(x).

@inline
export function shiftRows1(x: v128): v128 {
  return i8x16.shuffle(x, x, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14, 0, 1, 2, 3);
}

@inline
export function shiftRows2(x: v128): v128 {
  return i8x16.shuffle(x, x, 10, 11, 8, 9, 15, 12, 13, 14, 0, 1, 2, 3, 5, 6, 7, 4);
}

@inline
export function shiftRows3(x: v128): v128 {
  return i8x16.shuffle(x, x, 15, 12, 13, 14, 0, 1, 2, 3, 5, 6, 7, 4, 10, 11, 8, 9);
}

@inline
export function inverseShiftRows(x: v128): v128 {
  return i8x16.shuffle(x, x, 0, 1, 2, 3, 7, 4, 5, 6, 10, 11, 8, 9, 13, 14, 15, 12);
}

// Row r of the result is row r + 1, r + 2, r + 3 of x.

@inline
export function rows1(x: v128): v128 {
  return i32x4.shuffle(x, x, 1, 2, 3, 0);
}

@inline
export function rows2(x: v128): v128 {
  return i32x4.shuffle(x, x, 2, 3, 0, 1);
}

@inline
export function rows3(x: v128): v128 {
  return i32x4.shuffle(x, x, 3, 0, 1, 2);
}
