// Whole numbers as little-endian arrays of 32-bit words. Every function runs through all its words whatever their values are:
// lengths are public, contents may be secret. Masks are 0 or 0xffffffff. Results may overlap operands that start at the same
// place; other overlaps are not allowed unless a function says so.

/** words[0..n) from `length` big-endian bytes; the bytes must fit, missing high bytes are zero. */
export function bnFromBytes(words: usize, n: u32, bytes: usize, length: u32): void {
  memory.fill(words, 0, n << 2);
  for (let i: u32 = 0; i < length; i++) store<u8>(words + i, load<u8>(bytes + (length - 1 - i)));
}

/** `length` big-endian bytes from words; the words must cover `length` bytes, higher words are left out. */
export function bnToBytes(bytes: usize, length: u32, words: usize): void {
  for (let i: u32 = 0; i < length; i++) store<u8>(bytes + i, load<u8>(words + (length - 1 - i)));
}

/** Mask: value is not zero. */
@inline
export function bnNonZeroMask(value: u32): u32 {
  return 0 - ((value | (0 - value)) >> 31);
}

/** Mask: every word is zero. */
export function bnIsZero(a: usize, n: u32): u32 {
  let any: u32 = 0;
  for (let i: u32 = 0; i < n; i++) any |= load<u32>(a + (i << 2));
  return ~bnNonZeroMask(any);
}

/** Mask: a = b. */
export function bnEqual(a: usize, b: usize, n: u32): u32 {
  let any: u32 = 0;
  for (let i: u32 = 0; i < n; i++) any |= load<u32>(a + (i << 2)) ^ load<u32>(b + (i << 2));
  return ~bnNonZeroMask(any);
}

/** Mask: a < b. */
export function bnLess(a: usize, b: usize, n: u32): u32 {
  let borrow: i64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    borrow = (borrow + <i64>load<u32>(a + (i << 2)) - <i64>load<u32>(b + (i << 2))) >> 32;
  }
  return <u32>borrow;
}

/** d = a + (b where the mask is set); answers the carry, 0 or 1. */
export function bnAddMasked(d: usize, a: usize, b: usize, mask: u32, n: u32): u32 {
  let carry: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    carry += <u64>load<u32>(a + (i << 2)) + <u64>(load<u32>(b + (i << 2)) & mask);
    store<u32>(d + (i << 2), <u32>carry);
    carry >>= 32;
  }
  return <u32>carry;
}

/** d = a + b; answers the carry. */
export function bnAdd(d: usize, a: usize, b: usize, n: u32): u32 {
  return bnAddMasked(d, a, b, 0xffffffff, n);
}

/** d = a + word; answers the carry. */
export function bnAddWord(d: usize, a: usize, word: u32, n: u32): u32 {
  let carry: u64 = word;
  for (let i: u32 = 0; i < n; i++) {
    carry += <u64>load<u32>(a + (i << 2));
    store<u32>(d + (i << 2), <u32>carry);
    carry >>= 32;
  }
  return <u32>carry;
}

/** d = a - b; answers the borrow as a mask. */
export function bnSub(d: usize, a: usize, b: usize, n: u32): u32 {
  let borrow: i64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    borrow += <i64>load<u32>(a + (i << 2)) - <i64>load<u32>(b + (i << 2));
    store<u32>(d + (i << 2), <u32>borrow);
    borrow >>= 32;
  }
  return <u32>borrow;
}

/** d = a - word; answers the borrow as a mask. */
export function bnSubWord(d: usize, a: usize, word: u32, n: u32): u32 {
  let borrow: i64 = -(<i64>word);
  for (let i: u32 = 0; i < n; i++) {
    borrow += <i64>load<u32>(a + (i << 2));
    store<u32>(d + (i << 2), <u32>borrow);
    borrow >>= 32;
  }
  return <u32>borrow;
}

/** d = source where the mask is set, else d stays. */
export function bnCopyMasked(d: usize, source: usize, mask: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const at = i << 2;
    store<u32>(d + at, (load<u32>(source + at) & mask) | (load<u32>(d + at) & ~mask));
  }
}

/** d = (high*2^(32n) + a) mod m, for a value below 2m; scratch of n words. d may be a. */
export function bnReduceOnce(d: usize, a: usize, high: u32, m: usize, scratch: usize, n: u32): void {
  const below = bnSub(scratch, a, m, n) & ~bnNonZeroMask(high);
  if (d != a) memory.copy(d, a, n << 2);
  bnCopyMasked(d, scratch, ~below, n);
}

/** d[0..na+nb) = a * b; d must not overlap a or b. */
export function bnMul(d: usize, a: usize, na: u32, b: usize, nb: u32): void {
  memory.fill(d, 0, (na + nb) << 2);
  for (let i: u32 = 0; i < na; i++) {
    const x = <u64>load<u32>(a + (i << 2));
    const row = d + (i << 2);
    let carry: u64 = 0;
    for (let j: u32 = 0; j < nb; j++) {
      carry += x * <u64>load<u32>(b + (j << 2)) + <u64>load<u32>(row + (j << 2));
      store<u32>(row + (j << 2), <u32>carry);
      carry >>= 32;
    }
    store<u32>(row + (nb << 2), <u32>carry);
  }
}

/** d[0..n] = a * word. */
export function bnMulWord(d: usize, a: usize, n: u32, word: u32): void {
  let carry: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    carry += <u64>word * <u64>load<u32>(a + (i << 2));
    store<u32>(d + (i << 2), <u32>carry);
    carry >>= 32;
  }
  store<u32>(d + (n << 2), <u32>carry);
}

/** -1/m mod 2^64 for odd m, by Newton's iteration: each step doubles the number of right bits, the start has three. */
export function bnNegativeInverse64(m: u64): u64 {
  let x = m;
  for (let i = 0; i < 5; i++) x *= 2 - m * x;
  return 0 - x;
}

/**
 * q[0..n) = a / b for a of 2n words and odd b of n words, from the low end, where no trial quotient is needed. Answers the
 * mask "b divides a and the quotient has n words". `a` is overwritten; it becomes zero when the mask is set.
 */
export function bnDivideExact(q: usize, a: usize, b: usize, n: u32): u32 {
  const inverse = 0 - <u32>bnNegativeInverse64(load<u32>(b));
  let pending: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const row = a + (i << 2);
    const digit = load<u32>(row) * inverse;
    store<u32>(q + (i << 2), digit);
    let borrow: i64 = 0;
    let carry: u64 = 0;
    for (let j: u32 = 0; j < n; j++) {
      carry += <u64>digit * <u64>load<u32>(b + (j << 2));
      borrow += <i64>load<u32>(row + (j << 2)) - <i64>(carry & 0xffffffff);
      store<u32>(row + (j << 2), <u32>borrow);
      borrow >>= 32;
      carry >>= 32;
    }
    borrow += <i64>load<u32>(row + (n << 2)) - <i64>carry - <i64>pending;
    store<u32>(row + (n << 2), <u32>borrow);
    pending = <u32>(borrow >> 32) & 1;
  }
  return bnIsZero(a + (n << 2), n) & (pending - 1);
}

/** q = a / b for odd b, when b divides a (otherwise q is meaningless): from the low end, without a division instruction. */
export function bnDivideExactWord(q: usize, a: usize, n: u32, b: u32): void {
  const inverse = 0 - <u32>bnNegativeInverse64(b);
  let borrow: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const x = <u64>load<u32>(a + (i << 2)) - borrow;
    const digit = <u32>x * inverse;
    store<u32>(q + (i << 2), digit);
    // The part of digit*b that reaches the next word, and the borrow of the subtraction above.
    borrow = ((<u64>digit * <u64>b) >> 32) + (x >> 63);
  }
}

/** a mod m for odd m in constant time: Montgomery reduction by words, undone by a power of two known beforehand. */
export function bnModWord(a: usize, words: u32, m: u32): u32 {
  const inverse = <u32>bnNegativeInverse64(m);
  let t: u64 = 0;
  for (let i: u32 = 0; i < words; i++) t = reduceWord(t + <u64>load<u32>(a + (i << 2)), inverse, m);
  let power: u64 = 1;
  for (let i: u32 = 0; i <= words; i++) power = (power << 32) % <u64>m;
  t = reduceWord(reduceOnce(t, m) * power, inverse, m);
  return <u32>reduceOnce(t, m);
}

@inline
function reduceWord(t: u64, inverse: u32, m: u32): u64 {
  const q = <u32>t * inverse;
  // Only the low word may carry; adding the halves apart keeps the sum inside 64 bits.
  return (t >> 32) + ((<u64>q * <u64>m) >> 32) + <u64>((<u32>t | (0 - <u32>t)) >> 31);
}

@inline
function reduceOnce(t: u64, m: u32): u64 {
  const less = <i64>(t - <u64>m) >> 63;
  return t - (<u64>m & ~(<u64>less));
}

/** The `width` (at most 31) bits of a from bit `at` on; bits past the last of the n words are zero. */
@inline
export function bnBits(a: usize, n: u32, at: u32, width: u32): u32 {
  const k = at >> 5;
  let v = <u64>load<u32>(a + (k << 2));
  if (k + 1 < n) v |= (<u64>load<u32>(a + (k << 2), 4)) << 32;
  return <u32>(v >> (at & 31)) & ((1 << width) - 1);
}
