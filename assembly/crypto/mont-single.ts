// Exponentiation modulo one odd number of 1024 to 4096 bits with a public exponent: the RSA public operation.
//
// Limbs of 27 bits in consecutive u32 (28 would let the column sums of 4096 bits overflow); two neighbouring columns are the lanes of a vector, and two rows are done at once so
// that the column sums move by a whole vector. Time and access pattern depend on the sizes and the exponent only.
import { bnAdd, bnBits, bnFromBytes, bnLess, bnNegativeInverse64, bnReduceOnce, bnSub, bnToBytes } from "./bn";

const LIMB_BITS: u32 = 27;
const LIMB_MASK: u64 = 0x7ffffff;
const MAX_LIMBS: u32 = 152;

// A number has two zero limbs behind its last.
const M: usize = memory.data(616, 16);
const X: usize = memory.data(616, 16);
const Y: usize = memory.data(616, 16);
const Z: usize = memory.data(616, 16);
const COLUMNS: usize = memory.data(1248, 16);
const N_WORDS: usize = memory.data(512);
const W1: usize = memory.data(512);
const W2: usize = memory.data(512);

let limbs: u32 = 0;
let inverse: u32 = 0;

/** Limbs for a modulus: even, and at least four bits more than it has, so that sums below 4m need no reduction. */
@inline
function limbsFor(bits: u32): u32 {
  return ((bits + 4 + LIMB_BITS - 1) / LIMB_BITS + 1) & ~1;
}

function toLimbs(d: usize, words: usize, bits: u32): void {
  for (let i: u32 = 0; i < limbs; i++) {
    const at = i * LIMB_BITS;
    store<u32>(d + (i << 2), at < bits ? bnBits(words, bits >> 5, at, LIMB_BITS) : 0);
  }
}

/** d = a*b/2^(27*limbs) mod M, below 2M; operands below 4M. d may be a or b. */
function mul(d: usize, a: usize, b: usize): void {
  memory.fill(COLUMNS, 0, (limbs << 3) + 32);
  const b0 = <u64>load<u32>(b);
  const b1 = <u64>load<u32>(b, 4);
  const m0 = <u64>load<u32>(M);
  const m1 = <u64>load<u32>(M, 4);
  const end = limbs << 2;
  for (let i: u32 = 0; i < end; i += 8) {
    const x0 = <u64>load<u32>(a + i);
    const x1 = <u64>load<u32>(a + i, 4);
    let sum = load<u64>(COLUMNS) + x0 * b0;
    const q0 = <u64>(<u32>sum * inverse) & LIMB_MASK;
    sum = ((sum + q0 * m0) >> LIMB_BITS) + load<u64>(COLUMNS, 8) + x0 * b1 + x1 * b0 + q0 * m1;
    const q1 = <u64>(<u32>sum * inverse) & LIMB_MASK;
    sum = (sum + q1 * m0) >> LIMB_BITS;
    const vx0 = i32x4.splat(<i32>x0);
    const vx1 = i32x4.splat(<i32>x1);
    const vq0 = i32x4.splat(<i32>q0);
    const vq1 = i32x4.splat(<i32>q1);
    let t = COLUMNS;
    // Columns 2, 3, 4, ...: row i takes limb j, row i+1 limb j-1; the limbs behind the last are zero.
    for (let j: u32 = 8; j <= end; j += 8) {
      const first = i64x2.add(
        i64x2.extmul_low_i32x4_u(vx0, v128.load64_zero(b + j)),
        i64x2.extmul_low_i32x4_u(vq0, v128.load64_zero(M + j)),
      );
      const second = i64x2.add(
        i64x2.extmul_low_i32x4_u(vx1, v128.load64_zero(b + j - 4)),
        i64x2.extmul_low_i32x4_u(vq1, v128.load64_zero(M + j - 4)),
      );
      v128.store(t, i64x2.add(v128.load(t, 16), i64x2.add(first, second)));
      t += 16;
    }
    store<u64>(COLUMNS, load<u64>(COLUMNS) + sum);
  }
  carryColumns(d);
}

/** d = a*a/2^(27*limbs) mod M, as mul: products of two different limbs are computed once and count twice. d may be a. */
function sqr(d: usize, a: usize): void {
  memory.fill(COLUMNS, 0, (limbs << 3) + 32);
  const m0 = <u64>load<u32>(M);
  const m1 = <u64>load<u32>(M, 4);
  const end = limbs << 2;
  for (let i: u32 = 0; i < end; i += 8) {
    const x0 = load<u32>(a + i);
    const x1 = load<u32>(a + i, 4);
    let sum = load<u64>(COLUMNS);
    let next = load<u64>(COLUMNS, 8);
    if (i == 0) {
      sum += <u64>x0 * x0;
      next += <u64>x0 * (x1 << 1);
    }
    const q0 = <u64>(<u32>sum * inverse) & LIMB_MASK;
    sum = ((sum + q0 * m0) >> LIMB_BITS) + next + q0 * m1;
    const q1 = <u64>(<u32>sum * inverse) & LIMB_MASK;
    sum = (sum + q1 * m0) >> LIMB_BITS;
    const vq0 = i32x4.splat(<i32>q0);
    const vq1 = i32x4.splat(<i32>q1);
    let t = COLUMNS;
    let j: u32 = 8;
    // Columns before i had all their products in earlier rows.
    for (; j < i; j += 8) {
      v128.store(t, i64x2.add(v128.load(t, 16), multiples(vq0, vq1, j)));
      t += 16;
    }
    const x00 = i32x4(x0, x0, 0, 0);
    if (i > 0) {
      const squares = i64x2.extmul_low_i32x4_u(x00, i32x4(x0, x1 << 1, 0, 0));
      v128.store(t, i64x2.add(v128.load(t, 16), i64x2.add(squares, multiples(vq0, vq1, j))));
      t += 16;
      j += 8;
    }
    const vx0 = i32x4.add(x00, x00);
    let vx1 = i32x4(x1, x1 << 1, 0, 0);
    for (; j <= end; j += 8) {
      const products = i64x2.add(
        i64x2.extmul_low_i32x4_u(vx0, v128.load64_zero(a + j)),
        i64x2.extmul_low_i32x4_u(vx1, v128.load64_zero(a + j - 4)),
      );
      v128.store(t, i64x2.add(v128.load(t, 16), i64x2.add(products, multiples(vq0, vq1, j))));
      t += 16;
      vx1 = i32x4.splat(x1 << 1);
    }
    store<u64>(COLUMNS, load<u64>(COLUMNS) + sum);
  }
  carryColumns(d);
}

/** What two rows add of the modulus to the columns of limbs j and j+1 (j in bytes). */
@inline
function multiples(q0: v128, q1: v128, j: u32): v128 {
  return i64x2.add(
    i64x2.extmul_low_i32x4_u(q0, v128.load64_zero(M + j)),
    i64x2.extmul_low_i32x4_u(q1, v128.load64_zero(M + j - 4)),
  );
}

/** d = the column sums as limbs; the last may be longer. */
function carryColumns(d: usize): void {
  const end = limbs << 2;
  let carry: u64 = 0;
  for (let i: u32 = 0; i < end; i += 4) {
    carry += load<u64>(COLUMNS + (i << 1));
    const last = i + 4 == end;
    store<u32>(d + i, <u32>(last ? carry : carry & LIMB_MASK));
    carry >>= LIMB_BITS;
  }
}

/** d = a + a, carried. */
function double(d: usize, a: usize): void {
  let carry: u32 = 0;
  const end = limbs << 2;
  for (let i: u32 = 0; i < end; i += 4) {
    carry += load<u32>(a + i) << 1;
    store<u32>(d + i, i + 4 == end ? carry : carry & <u32>LIMB_MASK);
    carry >>= LIMB_BITS;
  }
}

/** d = R^2 mod M, R = 2^(27*limbs). The modulus alone decides about time and memory accesses: it is public. */
function squareOfR(d: usize, bits: u32): void {
  const n = bits >> 5;
  const radix = limbs * LIMB_BITS;
  memory.fill(W1, 0, n << 2);
  bnSub(W1, W1, N_WORDS, n);
  // 2^(radix + e), which is 2^e in Montgomery form, by division up to a quarter of e; then by squarings.
  let left = radix - bits + (radix >> 2);
  for (; left >= 32; left -= 32) shiftWords(32, n);
  if (left > 0) shiftWords(left, n);
  toLimbs(d, W1, bits);
  for (let bit = 1; bit >= 0; bit--) {
    sqr(d, d);
    if ((radix >> bit) & 1) double(d, d);
  }
}

/** W1 = W1 * 2^count mod N_WORDS, 0 < count <= 32: a step of long division (Knuth 4.3.1, algorithm D). n words. */
function shiftWords(count: u32, n: u32): void {
  const top = W1 + (n << 2) - 8;
  let quotient = load<u64>(top) / load<u32>(N_WORDS + (n << 2) - 4);
  if (quotient > 0xffffffff) quotient = 0xffffffff;
  quotient >>= 32 - count;
  let high: i64 = 0;
  let word: u64 = 0;
  let product: u64 = 0;
  for (let j: u32 = 0; j < n; j++) {
    const at = j << 2;
    word |= (<u64>load<u32>(W1 + at)) << count;
    product += quotient * load<u32>(N_WORDS + at);
    high += <i64>(word & 0xffffffff) - <i64>(product & 0xffffffff);
    store<u32>(W1 + at, <u32>high);
    high >>= 32;
    word >>= 32;
    product >>= 32;
  }
  high += <i64>word - <i64>product;
  // The estimate is too large by two at most.
  while (high < 0) high += bnAdd(W1, W1, N_WORDS, n);
}

/**
 * out = in^e mod n.
 *
 * @param n big-endian modulus of bits/8 bytes: odd, top bit set
 * @param bits 1024, 2048, 3072 or 4096
 * @param e public exponent, not 0
 * @param input bits/8 big-endian bytes
 * @param output bits/8 big-endian bytes; may be `input`
 * @returns false when the modulus is even or without its top bit, or the input is not below it; output is then untouched
 */
export function montModExpPublic(n: usize, bits: u32, e: u32, input: usize, output: usize): bool {
  const length = bits >> 3;
  const words = bits >> 5;
  bnFromBytes(N_WORDS, words, n, length);
  if ((load<u32>(N_WORDS) & 1) == 0 || load<u8>(n) < 0x80 || e == 0) return false;
  bnFromBytes(W1, words, input, length);
  if (bnLess(W1, N_WORDS, words) == 0) {
    memory.fill(W1, 0, length);
    return false;
  }
  limbs = limbsFor(bits);
  inverse = <u32>bnNegativeInverse64(load<u64>(N_WORDS));
  memory.fill(M + (limbs << 2), 0, 8);
  memory.fill(X + (limbs << 2), 0, 8);
  memory.fill(Y + (limbs << 2), 0, 8);
  memory.fill(Z + (limbs << 2), 0, 8);
  toLimbs(M, N_WORDS, bits);
  toLimbs(X, W1, bits);
  squareOfR(Z, bits);
  mul(X, X, Z);
  memory.copy(Y, X, limbs << 2);
  for (let bit = 30 - <i32>clz(e); bit >= 0; bit--) {
    sqr(Y, Y);
    if ((e >> bit) & 1) mul(Y, Y, X);
  }
  // Multiplying by 1 leaves Montgomery form, with a result of at most M.
  memory.fill(X, 0, limbs << 2);
  store<u32>(X, 1);
  mul(Y, Y, X);
  toWords(W1, Y, words);
  bnReduceOnce(W1, W1, 0, N_WORDS, W2, words);
  bnToBytes(output, length, W1);
  montSingleWipe();
  return true;
}

function toWords(d: usize, a: usize, words: u32): void {
  let accumulator: u64 = 0;
  let filled: u32 = 0;
  let k: u32 = 0;
  for (let i: u32 = 0; i < limbs; i++) {
    accumulator |= (<u64>load<u32>(a + (i << 2))) << filled;
    filled += LIMB_BITS;
    if (filled >= 32) {
      if (k < words) store<u32>(d + (k << 2), <u32>accumulator);
      k++;
      accumulator >>= 32;
      filled -= 32;
    }
  }
}

/** What is encrypted may be secret: nothing of it stays. */
function montSingleWipe(): void {
  memory.fill(X, 0, MAX_LIMBS << 2);
  memory.fill(Y, 0, MAX_LIMBS << 2);
  memory.fill(COLUMNS, 0, (MAX_LIMBS << 3) + 32);
  memory.fill(W1, 0, 512);
  memory.fill(W2, 0, 512);
}
