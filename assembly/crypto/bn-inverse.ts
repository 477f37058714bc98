// Modular inversion in constant time: Bernstein and Yang, "Fast constant-time gcd computation and modular inversion" (2019),
// with the half-delta variant and the 30-steps-at-once arrangement that are usual for 32-bit limbs.
//
// f and g start as the modulus and the number. A division step halves g (or (g +- f)), swapping f and g at times; 30 steps
// depend on the low 30 bits of f and g only and are collected in a 2x2 matrix that is then applied to f, g and to d, e, for
// which d*a = f and e*a = g (mod m) always hold. At the end g = 0 and f = +-gcd(m, a).

const LIMB_BITS: u32 = 30;
const LIMB_MASK: i64 = 0x3fffffff;
/** Room for the 69 limbs of the largest modulus, 2048 bits and a sign. */
const BYTES: usize = 280;

// Little-endian signed numbers: limbs of 30 bits in i32, the top limb carries the sign.
const F: usize = memory.data(280);
const G: usize = memory.data(280);
const D: usize = memory.data(280);
const E: usize = memory.data(280);
const M: usize = memory.data(280);
/** The matrix of the last batch: f' = (u*f + v*g)/2^30, g' = (q*f + r*g)/2^30. */
const MATRIX: usize = memory.data(16);

/**
 * d = 1/a mod m for odd m and a < m, both n words (at most 64). Meaningless unless gcd(a, m) = 1:
 * a caller to whom that is not known checks the product.
 */
export function bnInverse(d: usize, a: usize, m: usize, n: u32): void {
  const limbs = (n * 32 + LIMB_BITS) / LIMB_BITS;
  toLimbs(M, m, n, limbs);
  memory.copy(F, M, BYTES);
  toLimbs(G, a, n, limbs);
  memory.fill(D, 0, BYTES);
  memory.fill(E, 0, BYTES);
  store<i32>(E, 1);
  const inverse = <i32>inverse30(load<u32>(m));
  // Wuille's bound for the half-delta variant.
  const steps: u32 = (45907 * n * 32 + 26313) / 19929;
  const batches: u32 = steps / LIMB_BITS + 1;
  let zeta: i32 = -1;
  for (let i: u32 = 0; i < batches; i++) {
    zeta = divisionSteps(zeta, load<i32>(F), load<i32>(G));
    updateDE(limbs, inverse);
    updateFG(limbs);
  }
  normalize(limbs);
  fromLimbs(d, n);
  memory.fill(F, 0, BYTES);
  memory.fill(G, 0, BYTES);
  memory.fill(D, 0, BYTES);
  memory.fill(E, 0, BYTES);
  memory.fill(M, 0, BYTES);
  memory.fill(MATRIX, 0, 16);
}

/** 1/m mod 2^30. */
function inverse30(m: u32): u32 {
  let x = m;
  for (let i = 0; i < 4; i++) x *= 2 - m * x;
  return x & 0x3fffffff;
}

function toLimbs(d: usize, words: usize, n: u32, limbs: u32): void {
  let accumulator: u64 = 0;
  let bits: u32 = 0;
  let k: u32 = 0;
  for (let i: u32 = 0; i < limbs; i++) {
    if (bits < LIMB_BITS && k < n) {
      accumulator |= (<u64>load<u32>(words + (k << 2))) << bits;
      bits += 32;
      k++;
    }
    store<i32>(d + (i << 2), <i32>(accumulator & LIMB_MASK));
    accumulator >>= LIMB_BITS;
    bits -= min(bits, LIMB_BITS);
  }
}

function fromLimbs(words: usize, n: u32): void {
  let accumulator: u64 = 0;
  let bits: u32 = 0;
  let k: u32 = 0;
  for (let i: u32 = 0; k < n; i++) {
    accumulator |= (<u64>load<u32>(D + (i << 2))) << bits;
    bits += LIMB_BITS;
    if (bits >= 32) {
      store<u32>(words + (k << 2), <u32>accumulator);
      k++;
      accumulator >>= 32;
      bits -= 32;
    }
  }
}

/** Thirty division steps on the low limbs of f and g; writes MATRIX, answers the new zeta = -(delta + 1/2). */
function divisionSteps(zeta: i32, f: i32, g: i32): i32 {
  let u: i32 = 1;
  let v: i32 = 0;
  let q: i32 = 0;
  let r: i32 = 1;
  for (let i: u32 = 0; i < LIMB_BITS; i++) {
    let swap = zeta >> 31;
    const odd = -(g & 1);
    g += ((f ^ swap) - swap) & odd;
    q += ((u ^ swap) - swap) & odd;
    r += ((v ^ swap) - swap) & odd;
    swap &= odd;
    zeta = (zeta ^ swap) - 1;
    f += g & swap;
    u += q & swap;
    v += r & swap;
    g = <i32>(<u32>g >> 1);
    u <<= 1;
    v <<= 1;
  }
  store<i32>(MATRIX, u);
  store<i32>(MATRIX, v, 4);
  store<i32>(MATRIX, q, 8);
  store<i32>(MATRIX, r, 12);
  return zeta;
}

/** (d, e) = MATRIX * (d, e) / 2^30 mod m; d and e stay between -2m and m. */
function updateDE(limbs: u32, inverse: i32): void {
  const u = <i64>load<i32>(MATRIX);
  const v = <i64>load<i32>(MATRIX, 4);
  const q = <i64>load<i32>(MATRIX, 8);
  const r = <i64>load<i32>(MATRIX, 12);
  const top = (limbs - 1) << 2;
  const negativeD = <i64>(load<i32>(D + top) >> 31);
  const negativeE = <i64>(load<i32>(E + top) >> 31);
  let d = <i64>load<i32>(D);
  let e = <i64>load<i32>(E);
  let m = <i64>load<i32>(M);
  let sumD = u * d + v * e;
  let sumE = q * d + r * e;
  // Multiples of m that make the low limbs vanish, after one m for each negative operand.
  let multipleD = (u & negativeD) + (v & negativeE);
  let multipleE = (q & negativeD) + (r & negativeE);
  multipleD -= (<i64>inverse * sumD + multipleD) & LIMB_MASK;
  multipleE -= (<i64>inverse * sumE + multipleE) & LIMB_MASK;
  sumD = (sumD + m * multipleD) >> LIMB_BITS;
  sumE = (sumE + m * multipleE) >> LIMB_BITS;
  for (let i: u32 = 4; i <= top; i += 4) {
    d = load<i32>(D + i);
    e = load<i32>(E + i);
    m = load<i32>(M + i);
    sumD += u * d + v * e + m * multipleD;
    sumE += q * d + r * e + m * multipleE;
    store<i32>(D + i - 4, <i32>(sumD & LIMB_MASK));
    store<i32>(E + i - 4, <i32>(sumE & LIMB_MASK));
    sumD >>= LIMB_BITS;
    sumE >>= LIMB_BITS;
  }
  store<i32>(D + top, <i32>sumD);
  store<i32>(E + top, <i32>sumE);
}

/** (f, g) = MATRIX * (f, g) / 2^30, exactly. */
function updateFG(limbs: u32): void {
  const u = <i64>load<i32>(MATRIX);
  const v = <i64>load<i32>(MATRIX, 4);
  const q = <i64>load<i32>(MATRIX, 8);
  const r = <i64>load<i32>(MATRIX, 12);
  const top = (limbs - 1) << 2;
  let f = <i64>load<i32>(F);
  let g = <i64>load<i32>(G);
  let sumF = (u * f + v * g) >> LIMB_BITS;
  let sumG = (q * f + r * g) >> LIMB_BITS;
  for (let i: u32 = 4; i <= top; i += 4) {
    f = load<i32>(F + i);
    g = load<i32>(G + i);
    sumF += u * f + v * g;
    sumG += q * f + r * g;
    store<i32>(F + i - 4, <i32>(sumF & LIMB_MASK));
    store<i32>(G + i - 4, <i32>(sumG & LIMB_MASK));
    sumF >>= LIMB_BITS;
    sumG >>= LIMB_BITS;
  }
  store<i32>(F + top, <i32>sumF);
  store<i32>(G + top, <i32>sumG);
}

/** D from between -2m and m, times the sign of f, to 0..m-1. */
function normalize(limbs: u32): void {
  const top = (limbs - 1) << 2;
  const negate = <i64>(load<i32>(F + top) >> 31);
  addModulusIfNegative(top);
  let sum: i64 = 0;
  for (let i: u32 = 0; i < top; i += 4) {
    sum += (<i64>load<i32>(D + i) ^ negate) - negate;
    store<i32>(D + i, <i32>(sum & LIMB_MASK));
    sum >>= LIMB_BITS;
  }
  store<i32>(D + top, <i32>(sum + ((<i64>load<i32>(D + top) ^ negate) - negate)));
  addModulusIfNegative(top);
}

function addModulusIfNegative(top: u32): void {
  const negative = <i64>(load<i32>(D + top) >> 31);
  let sum: i64 = 0;
  for (let i: u32 = 0; i < top; i += 4) {
    sum += <i64>load<i32>(D + i) + (<i64>load<i32>(M + i) & negative);
    store<i32>(D + i, <i32>(sum & LIMB_MASK));
    sum >>= LIMB_BITS;
  }
  store<i32>(D + top, <i32>(sum + <i64>load<i32>(D + top) + (<i64>load<i32>(M + top) & negative)));
}
