// Exponentiation modulo one odd number of 1024 to 4096 bits with a public exponent: the RSA public operation.
//
// Limbs of 27 bits in consecutive u32 (28 would let the column sums of 4096 bits overflow); two neighbouring columns are the lanes of a vector, and two rows are done at once so
// that the column sums move by a whole vector. Time and access pattern depend on the sizes and the exponent only.
import { bnBits, bnFromBytes, bnLess, bnNegativeInverse64, bnReduceOnce, bnSub, bnToBytes } from "./bn";

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

/** d = R^2 mod M, R = 2^(27*limbs): from 2^(bits) mod M by doublings and squarings. */
function squareOfR(d: usize, bits: u32): void {
  const n = bits >> 5;
  const radix = limbs * LIMB_BITS;
  memory.fill(W1, 0, n << 2);
  bnSub(W1, W1, N_WORDS, n);
  for (let i = bits; i <= radix; i++) {
    let carry: u32 = 0;
    for (let j: u32 = 0; j < n; j++) {
      const word = load<u32>(W1 + (j << 2));
      store<u32>(W1 + (j << 2), (word << 1) | carry);
      carry = word >> 31;
    }
    bnReduceOnce(W1, W1, carry, N_WORDS, W2, n);
  }
  // 2R mod M is 2 in Montgomery form; square and double up to 2^radix.
  toLimbs(d, W1, bits);
  for (let bit = 30 - <i32>clz(radix); bit >= 0; bit--) {
    mul(d, d, d);
    if ((radix >> bit) & 1) double(d, d);
  }
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
    mul(Y, Y, Y);
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
