// Arithmetic modulo two numbers of one size at once, in Montgomery form: p in lane 0, q in lane 1 of every vector.
//
// A *pair* is montNumberBytes() bytes: limb j of both lanes side by side, little-endian by limbs.
//   fused build   limbs are f64 of 51 bits, balanced (-2^50..2^50), the top limb carries the sign
//   base build    limbs are u32 of 28 bits, the top limb may be longer
// A *modulus* is a pair followed by one vector with -1/m modulo a limb; montModulusBytes() bytes. Both moduli have exactly
// montBits bits and are odd.
//
// The size is chosen by montSelect and holds until the next call: every entry point of RSA and of the prime search selects.
// All functions run in time and access pattern independent of the values, except for exponents called public.
import { bnAddMasked, bnBits, bnNegativeInverse64, bnReduceOnce, bnSub } from "./bn";
import * as ext from "./generated/mont-ext";
import * as fma from "./generated/mont-fma";

/** Largest size of a pair and of a modulus in bytes, in either build. */
export const MONT_MAX_NUMBER: u32 = 656;
export const MONT_MAX_MODULUS: u32 = 672;
/** Bytes that montGather may touch behind a pair. */
export const MONT_SLACK: u32 = 96;
/** Bits of an exponent's window, entries of its table. */
export const MONT_WINDOW: u32 = 5;
const TABLE_ENTRIES: u32 = 32;

/** Bits by which montShiftLeft may shift. */
export const MONT_SHIFT: u32 = ASC_FEATURE_RELAXED_SIMD ? 5 : 3;

const LIMB_BITS: u32 = ASC_FEATURE_RELAXED_SIMD ? 51 : 28;
/** A 51-bit limb is taken out in two parts, so that the accumulator does not overflow. */
const LIMB_PARTS: u32 = ASC_FEATURE_RELAXED_SIMD ? 2 : 1;
const LIMB_BYTES: u32 = ASC_FEATURE_RELAXED_SIMD ? 16 : 8;
const MAX_WORDS: u32 = 64;

let bits: u32 = 0;
let words: u32 = 0;
let limbs: u32 = 0;
let numberBytes: u32 = 0;
/** R = 2^radix. */
let radix: u32 = 0;

/** The pair (1, 1), not in Montgomery form: multiplying by it leaves that form. */
const UNIT: usize = memory.data(MONT_MAX_NUMBER, 16);
const W1: usize = memory.data(256);
const W2: usize = memory.data(256);
/** The powers of the base of an exponentiation, and slack for the gather. */
const TABLE: usize = memory.data(TABLE_ENTRIES * MONT_MAX_NUMBER + MONT_SLACK, 16);
const PICKED: usize = memory.data(MONT_MAX_NUMBER + MONT_SLACK, 16);

/** Selects moduli of 512, 1024, 1536 or 2048 bits. */
export function montSelect(modulusBits: u32): void {
  if (bits == modulusBits) return;
  bits = modulusBits;
  words = modulusBits >> 5;
  if (ASC_FEATURE_RELAXED_SIMD) limbs = modulusBits / 51 + 1;
  else limbs = modulusBits == 512 ? 19 : modulusBits == 1024 ? 37 : modulusBits == 1536 ? 56 : 74;
  numberBytes = (limbs * LIMB_BYTES + 15) & ~15;
  radix = limbs * LIMB_BITS;
  memory.fill(UNIT, 0, numberBytes);
  setLimb(UNIT, 0, 0, 1);
  setLimb(UNIT, 1, 0, 1);
}

/** Size of a pair of the selected size. */
export function montNumberBytes(): u32 {
  return numberBytes;
}

/** Size of a modulus of the selected size. */
export function montModulusBytes(): u32 {
  return numberBytes + 16;
}

@inline
function setLimb(pair: usize, lane: u32, i: u32, value: i64): void {
  if (ASC_FEATURE_RELAXED_SIMD) store<f64>(pair + i * 16 + lane * 8, <f64>value);
  else store<u32>(pair + i * 8 + lane * 4, <u32>value);
}

/** d = a*b/R mod m. Operands and result are at most a small multiple of m in magnitude. */
export function montMul(d: usize, a: usize, b: usize, m: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (bits == 1024) fma.mul1024(d, a, b, m);
    else if (bits == 1536) fma.mul1536(d, a, b, m);
    else if (bits == 2048) fma.mul2048(d, a, b, m);
    else fma.mul512(d, a, b, m);
  } else {
    if (bits == 1024) ext.mul1024(d, a, b, m);
    else if (bits == 1536) ext.mul1536(d, a, b, m);
    else if (bits == 2048) ext.mul2048(d, a, b, m);
    else ext.mul512(d, a, b, m);
  }
}

/** d = a*a/R mod m. */
export function montSqr(d: usize, a: usize, m: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (bits == 1024) fma.sqr1024(d, a, a, m);
    else if (bits == 1536) fma.sqr1536(d, a, a, m);
    else if (bits == 2048) fma.sqr2048(d, a, a, m);
    else fma.sqr512(d, a, a, m);
  } else {
    if (bits == 1024) ext.sqr1024(d, a, a, m);
    else if (bits == 1536) ext.sqr1536(d, a, a, m);
    else if (bits == 2048) ext.sqr2048(d, a, a, m);
    else ext.sqr512(d, a, a, m);
  }
}

/** Puts a plain number of bits/32 words into one lane. */
export function montFromWords(pair: usize, lane: u32, number: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    let carry: i64 = 0;
    for (let i: u32 = 0; i < limbs; i++) {
      const at = i * 51;
      const low = <i64>bnBits(number, words, at, 26);
      const high = at + 26 < bits ? <i64>bnBits(number, words, at + 26, 25) : 0;
      const value = (low | (high << 26)) + carry;
      carry = i + 1 < limbs ? (value + (1 << 50)) >> 51 : 0;
      setLimb(pair, lane, i, value - (carry << 51));
    }
  } else {
    for (let i: u32 = 0; i < limbs; i++) {
      const at = i * 28;
      setLimb(pair, lane, i, at < bits ? bnBits(number, words, at, 28) : 0);
    }
  }
}

/**
 * Takes a plain number out of one lane: number = value mod m, `modulus` being m in words. The value must be what montMul
 * answers, that is, between -m and 2m.
 */
export function montToWords(number: usize, pair: usize, lane: u32, modulus: usize): void {
  let accumulator: i64 = 0;
  let filled: u32 = 0;
  let k: u32 = 0;
  let high: u32 = 0;
  for (let i: u32 = 0; i < limbs; i++) {
    for (let part: u32 = 0; part < LIMB_PARTS; part++) {
      if (ASC_FEATURE_RELAXED_SIMD) {
        const limb = <i64>load<f64>(pair + i * 16 + lane * 8);
        accumulator += (part == 0 ? limb & 0x3ffffff : limb >> 26) << filled;
        filled += 26 - part;
      } else {
        accumulator += (<i64>load<u32>(pair + i * 8 + lane * 4)) << filled;
        filled += 28;
      }
      if (filled >= 32) {
        if (k < words) store<u32>(number + (k << 2), <u32>accumulator);
        else high |= <u32>accumulator;
        k++;
        accumulator >>= 32;
        filled -= 32;
      }
    }
  }
  if (ASC_FEATURE_RELAXED_SIMD) {
    // Never reaches m, but may be negative.
    bnAddMasked(number, number, modulus, <u32>(accumulator >> 63), words);
    high = 0;
  } else high |= <u32>accumulator;
  bnReduceOnce(number, number, high, modulus, W2, words);
}

/** Sets one lane of a modulus to the odd number of bits/32 words, whose top bit is set. */
export function montSetModulus(modulus: usize, lane: u32, number: usize): void {
  montFromWords(modulus, lane, number);
  const inverse = bnNegativeInverse64(load<u64>(number));
  if (ASC_FEATURE_RELAXED_SIMD) setLimb(modulus, lane, limbs, <i64>(inverse & 0x7ffffffffffff));
  else store<u32>(modulus + limbs * 8 + lane * 4, <u32>inverse & 0xfffffff);
}

/** d = a + b, carried. */
export function montAdd(d: usize, a: usize, b: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    let carry = f64x2.splat(0);
    for (let i: u32 = 0; i < limbs; i++) {
      const sum = f64x2.add(f64x2.add(v128.load(a + i * 16), v128.load(b + i * 16)), carry);
      carry = i + 1 < limbs ? f64x2.nearest(f64x2.mul(sum, f64x2.splat(1.0 / 2251799813685248.0))) : f64x2.splat(0);
      v128.store(d + i * 16, f64x2.sub(sum, f64x2.mul(carry, f64x2.splat(2251799813685248.0))));
    }
  } else {
    let carry = i32x4.splat(0);
    for (let i: u32 = 0; i < limbs; i++) {
      const sum = i32x4.add(i32x4.add(v128.load64_zero(a + i * 8), v128.load64_zero(b + i * 8)), carry);
      const last = i + 1 == limbs;
      carry = i32x4.shr_u(sum, 28);
      v128.store64_lane(d + i * 8, last ? sum : v128.and(sum, i32x4.splat(0xfffffff)), 0);
    }
  }
}

/**
 * a *= 2^p in lane 0 and 2^q in lane 1, p, q < 2^MONT_SHIFT, without reduction: only squarings may follow, and at least two
 * before the next shift or any other use.
 */
export function montShiftLeft(a: usize, p: u32, q: u32): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const factor = f64x2.replace_lane(f64x2.splat(<f64>((<u32>1) << p)), 1, <f64>((<u32>1) << q));
    let carry = f64x2.splat(0);
    for (let i: u32 = 0; i + 1 < limbs; i++) {
      const product = f64x2.mul(v128.load(a + i * 16), factor);
      const next = f64x2.nearest(f64x2.mul(product, f64x2.splat(1.0 / 2251799813685248.0)));
      const rest = f64x2.sub(product, f64x2.mul(next, f64x2.splat(2251799813685248.0)));
      v128.store(a + i * 16, f64x2.add(rest, carry));
      carry = next;
    }
    const top = a + (limbs - 1) * 16;
    v128.store(top, f64x2.add(f64x2.mul(v128.load(top), factor), carry));
  } else {
    let carryP: u64 = 0;
    let carryQ: u64 = 0;
    for (let i: u32 = 0; i < limbs; i++) {
      const keep: u64 = i + 1 < limbs ? 0xfffffff : 0xffffffff;
      const at = a + i * 8;
      carryP += (<u64>load<u32>(at)) << p;
      carryQ += (<u64>load<u32>(at, 4)) << q;
      store<u32>(at, <u32>(carryP & keep));
      store<u32>(at, <u32>(carryQ & keep), 4);
      carryP >>= 28;
      carryQ >>= 28;
    }
  }
}

/** One lane of `one` = R mod m for the m of `number`: Montgomery's form of 1. */
export function montOne(one: usize, lane: u32, number: usize): void {
  // 2^bits - m is 2^bits mod m, because the top bit of m is set.
  memory.fill(W1, 0, words << 2);
  bnSub(W1, W1, number, words);
  for (let i = bits; i < radix; i++) {
    let carry: u32 = 0;
    for (let j: u32 = 0; j < words; j++) {
      const word = load<u32>(W1 + (j << 2));
      store<u32>(W1 + (j << 2), (word << 1) | carry);
      carry = word >> 31;
    }
    bnReduceOnce(W1, W1, carry, number, W2, words);
  }
  montFromWords(one, lane, W1);
}

/** r2 = R^2 mod m, which brings numbers into Montgomery form, from one = R mod m. r2 must not be `one`. */
export function montR2(r2: usize, one: usize, m: usize): void {
  // In Montgomery form squaring doubles the exponent of a power of two and adding it to itself raises it by one.
  montAdd(r2, one, one);
  for (let bit = 30 - <i32>clz(radix); bit >= 0; bit--) {
    montSqr(r2, r2, m);
    if ((radix >> bit) & 1) montAdd(r2, r2, r2);
  }
}

/** d = a/R mod m: out of Montgomery form. */
export function montLeave(d: usize, a: usize, m: usize): void {
  montMul(d, a, UNIT, m);
}

/** d = base^e for a public exponent e > 0, everything in Montgomery form. d must not be the base. */
export function montPowPublic(d: usize, base: usize, e: u32, m: usize): void {
  memory.copy(d, base, numberBytes);
  for (let bit = 30 - <i32>clz(e); bit >= 0; bit--) {
    montSqr(d, d, m);
    if ((e >> bit) & 1) montMul(d, d, base, m);
  }
}

/** Number of windows of an exponent of the selected size: what montPowStart answers counts down from it. */
export function montWindows(): u32 {
  return (bits + MONT_WINDOW - 1) / MONT_WINDOW;
}

/**
 * Starts d = base^exponent with secret exponents of bits/32 words, one for each lane: builds the table of powers and takes the
 * top windows. `one` is R mod m. Answers the number of windows left for montPowRun.
 */
export function montPowStart(d: usize, base: usize, one: usize, p: usize, q: usize, m: usize): u32 {
  memory.copy(TABLE, one, numberBytes);
  memory.copy(TABLE + numberBytes, base, numberBytes);
  for (let i: u32 = 2; i < TABLE_ENTRIES; i++) {
    const at = TABLE + i * numberBytes;
    if (i & 1) montMul(at, at - numberBytes, base, m);
    else montSqr(at, TABLE + (i >> 1) * numberBytes, m);
  }
  const left = montWindows() - 1;
  gather(left, p, q);
  memory.copy(d, PICKED, numberBytes);
  return left;
}

/** Goes on with `count` of the `left` windows of an exponentiation; the table must be as montPowStart left it. */
export function montPowRun(d: usize, p: usize, q: usize, m: usize, left: u32, count: u32): void {
  for (let i = left; i > left - count; i--) {
    for (let k: u32 = 0; k < MONT_WINDOW; k++) montSqr(d, d, m);
    gather(i - 1, p, q);
    montMul(d, d, PICKED, m);
  }
}

/** d = base^exponent, all windows. */
export function montPow(d: usize, base: usize, one: usize, p: usize, q: usize, m: usize): void {
  const left = montPowStart(d, base, one, p, q, m);
  montPowRun(d, p, q, m, left, left);
}

/** PICKED = the table's entries for window i of the two exponents: every entry is read, masks keep the wanted lanes. */
function gather(i: u32, p: usize, q: usize): void {
  const at = i * MONT_WINDOW;
  const wantP = bnBits(p, words, at, MONT_WINDOW);
  const wantQ = bnBits(q, words, at, MONT_WINDOW);
  const end = TABLE + TABLE_ENTRIES * numberBytes;
  // Lanes are 64 bits wide in one build, 32 in the other.
  const want = ASC_FEATURE_RELAXED_SIMD ? i64x2(wantP, wantQ) : i32x4(wantP, wantQ, wantP, wantQ);
  const step = ASC_FEATURE_RELAXED_SIMD ? i64x2.splat(1) : i32x4.splat(1);
  for (let offset: u32 = 0; offset < numberBytes; offset += 112) {
    let index = i64x2.splat(0);
    let a = index;
    let b = index;
    let c = index;
    let d = index;
    let e = index;
    let f = index;
    let g = index;
    for (let entry = TABLE + offset; entry < end; entry += numberBytes) {
      const keep = ASC_FEATURE_RELAXED_SIMD ? i64x2.eq(index, want) : i32x4.eq(index, want);
      index = ASC_FEATURE_RELAXED_SIMD ? i64x2.add(index, step) : i32x4.add(index, step);
      a = v128.or(a, v128.and(keep, v128.load(entry)));
      b = v128.or(b, v128.and(keep, v128.load(entry, 16)));
      c = v128.or(c, v128.and(keep, v128.load(entry, 32)));
      d = v128.or(d, v128.and(keep, v128.load(entry, 48)));
      e = v128.or(e, v128.and(keep, v128.load(entry, 64)));
      f = v128.or(f, v128.and(keep, v128.load(entry, 80)));
      g = v128.or(g, v128.and(keep, v128.load(entry, 96)));
    }
    const to = PICKED + offset;
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
    v128.store(to, e, 64);
    v128.store(to, f, 80);
    v128.store(to, g, 96);
  }
}

/** Wipes what the functions above leave behind: column sums, table, temporaries. */
export function montWipe(): void {
  memory.fill(TABLE, 0, TABLE_ENTRIES * numberBytes);
  memory.fill(PICKED, 0, numberBytes + MONT_SLACK);
  memory.fill(W1, 0, MAX_WORDS << 2);
  memory.fill(W2, 0, MAX_WORDS << 2);
  if (ASC_FEATURE_RELAXED_SIMD) memory.fill(fma.COLUMNS, 0, fma.COLUMNS_BYTES);
  else memory.fill(ext.COLUMNS, 0, ext.COLUMNS_BYTES);
}
