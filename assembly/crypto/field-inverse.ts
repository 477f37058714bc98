// Inversion modulo an odd prime in constant time: Bernstein and Yang, "Fast constant-time gcd computation and modular
// inversion", with delta starting at 1/2. Division steps act on the low bits of f and g only, so that 30 of them are gathered
// in a 2x2 matrix of small integers, which then is applied to the long numbers.
//
// zeta = -(delta + 1/2). For f and g below 2^bits, (45907*bits + 26313)/19929 steps always reach g = 0 (the bound of
// github.com/sipa/safegcd-bounds); more steps change nothing.
import { MODULUS_WORDS, Modulus, wordBits } from "./field-montgomery";

const BATCH: u32 = 30;
const MASK: i64 = 0x3fffffff;
/** Bytes of a number in signed limbs of 30 bits, one i32 each: 22 limbs hold 638 bits, a factor of 2 and the sign. */
const SIZE: u32 = 96;

const STATE: usize = memory.data(480, 16);
const F: usize = STATE;
const G: usize = STATE + SIZE;
/** d*x = f and e*x = g modulo m, up to the same power of two on both sides. */
const D: usize = STATE + 2 * SIZE;
const E: usize = STATE + 3 * SIZE;
const M: usize = STATE + 4 * SIZE;

/** words = words^-1 mod m, canonical; 0 becomes 0. */
export function invertWords(words: usize, m: usize): void {
  const modulus = changetype<Modulus>(m);
  const limbs = (modulus.bits + 2 + BATCH - 1) / BATCH;
  const steps: u32 = (45907 * modulus.bits + 26313) / 19929;
  const n = modulus.words;
  const end = (<usize>limbs) << 2;
  for (let i: u32 = 0; i < limbs; i++) {
    const at = i << 2;
    const low = wordBits(m + MODULUS_WORDS, n, i * BATCH, BATCH);
    store<u32>(M + at, low);
    store<u32>(F + at, low);
    store<u32>(G + at, wordBits(words, n, i * BATCH, BATCH));
    store<u32>(D + at, 0);
    store<u32>(E + at, 0);
  }
  store<u32>(E, 1);
  let zeta: i32 = -1;
  for (let done: u32 = 0; done < steps; done += BATCH) zeta = divisionSteps(zeta, end, modulus.inverse30);
  finish(end);
  toWords(words, n);
  memory.fill(STATE, 0, 4 * SIZE);
}

/** A batch of division steps on f, g, d and e; answers the new zeta. */
function divisionSteps(zeta: i32, end: usize, inverse: u32): i32 {
  let f = load<u32>(F) | (load<u32>(F, 4) << 30);
  let g = load<u32>(G) | (load<u32>(G, 4) << 30);
  let u: u32 = 1;
  let v: u32 = 0;
  let q: u32 = 0;
  let r: u32 = 1;
  for (let i: u32 = 0; i < BATCH; i++) {
    // If g is odd: g += f or, when delta > 0 (zeta < 0), g -= f, and then f takes the old g. Either way g is halved.
    const negative = <u32>(zeta >> 31);
    const odd = 0 - (g & 1);
    g += ((f ^ negative) - negative) & odd;
    q += ((u ^ negative) - negative) & odd;
    r += ((v ^ negative) - negative) & odd;
    const swap = negative & odd;
    zeta = (zeta ^ <i32>swap) - 1;
    f += g & swap;
    u += q & swap;
    v += r & swap;
    g >>= 1;
    u <<= 1;
    v <<= 1;
  }
  apply(<i32>u, <i32>v, <i32>q, <i32>r, end, inverse);
  return zeta;
}

/** (f, g) = matrix*(f, g)/2^30 exactly, and (d, e) = matrix*(d, e)/2^30 mod m, which stay in (-2m, m). */
function apply(u: i64, v: i64, q: i64, r: i64, end: usize, inverse: u32): void {
  const highest = end - 4;
  const signD = <i64>load<i32>(D + highest) >> 63;
  const signE = <i64>load<i32>(E + highest) >> 63;
  let d: i64 = load<i32>(D);
  let e: i64 = load<i32>(E);
  let carryD = u * d + v * e;
  let carryE = q * d + r * e;
  // The multiple of m that makes the sum divisible by 2^30, chosen so that the result keeps its range.
  let timesD = (u & signD) + (v & signE);
  let timesE = (q & signD) + (r & signE);
  timesD -= (<i64>inverse * carryD + timesD) & MASK;
  timesE -= (<i64>inverse * carryE + timesE) & MASK;
  const low: i64 = load<i32>(M);
  carryD = (carryD + low * timesD) >> BATCH;
  carryE = (carryE + low * timesE) >> BATCH;
  let f: i64 = load<i32>(F);
  let g: i64 = load<i32>(G);
  let carryF = (u * f + v * g) >> BATCH;
  let carryG = (q * f + r * g) >> BATCH;
  for (let i: usize = 4; i < end; i += 4) {
    const m: i64 = load<i32>(M + i);
    d = load<i32>(D + i);
    e = load<i32>(E + i);
    carryD += u * d + v * e + m * timesD;
    carryE += q * d + r * e + m * timesE;
    store<i32>(D + i - 4, <i32>(carryD & MASK));
    store<i32>(E + i - 4, <i32>(carryE & MASK));
    carryD >>= BATCH;
    carryE >>= BATCH;
    f = load<i32>(F + i);
    g = load<i32>(G + i);
    carryF += u * f + v * g;
    carryG += q * f + r * g;
    store<i32>(F + i - 4, <i32>(carryF & MASK));
    store<i32>(G + i - 4, <i32>(carryG & MASK));
    carryF >>= BATCH;
    carryG >>= BATCH;
  }
  store<i32>(D + highest, <i32>carryD);
  store<i32>(E + highest, <i32>carryE);
  store<i32>(F + highest, <i32>carryF);
  store<i32>(G + highest, <i32>carryG);
}

/** g is 0 and f is 1 or -1: the inverse is d*f, brought into [0, m). */
function finish(end: usize): void {
  addMasked(end, <i64>load<i32>(D + end - 4) >> 63);
  const sign = <i64>load<i32>(F + end - 4) >> 63;
  let carry: i64 = 0;
  for (let i: usize = 0; i < end; i += 4) carry = settle(i, end, carry + ((<i64>load<i32>(D + i) ^ sign) - sign));
  addMasked(end, <i64>load<i32>(D + end - 4) >> 63);
}

/** d += m where the mask is set. */
function addMasked(end: usize, mask: i64): void {
  let carry: i64 = 0;
  for (let i: usize = 0; i < end; i += 4) carry = settle(i, end, carry + load<i32>(D + i) + (load<i32>(M + i) & mask));
}

/** Stores a limb of d and answers the carry; the highest limb keeps all of it. */
@inline
function settle(i: usize, end: usize, limb: i64): i64 {
  store<i32>(D + i, <i32>(i + 4 < end ? limb & MASK : limb));
  return limb >> BATCH;
}

function toWords(words: usize, n: u32): void {
  let bits: u32 = 0;
  let carry: u64 = 0;
  let at = D;
  for (let i: u32 = 0; i < n; i++) {
    while (bits < 32) {
      carry |= (<u64>load<u32>(at)) << bits;
      at += 4;
      bits += BATCH;
    }
    store<u32>(words + (i << 2), <u32>carry);
    carry >>= 32;
    bits -= 32;
  }
}
