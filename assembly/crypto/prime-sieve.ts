// The sieve of the prime search: a field of 16384 consecutive odd numbers from `base` on, and the small primes that strike
// its multiples out. Positions are indexes i of base + 2i.

/** Odd numbers in a field. */
export const FIELD_SIZE: u32 = 16384;
/** What may be struck from a position. */
export const FIELD_STRUCK: u32 = 1;
export const FIELD_HIDDEN: u32 = 2;

/** Small primes are below this. */
export const PRIME_LIMIT: u32 = 1 << 18;
/** Odd primes below PRIME_LIMIT. */
const PRIMES: u32 = 22999;
/** Primes handled at once. */
const GROUP: u32 = 16;

/** Half the distance of each odd prime from the one before it, from 1 on; then zeros. Made at first use. */
const GAPS: usize = memory.data(23008, 16);
/** One byte for each position of the field, and one for what falls outside. */
const FIELD: usize = memory.data(16400, 16);
/** Positions left to pick from, u16 ascending. At most one in eight is left after the smallest of the sieves. */
const POSITIONS: usize = memory.data(8192);
const MAX_POSITIONS: u32 = 4096;
const GROUP_PRIMES: usize = memory.data(64, 16);
const GROUP_RESIDUES: usize = memory.data(64, 16);
/** The same primes as f64, and their reciprocals. */
const DIVISORS: usize = memory.data(128, 16);
const RECIPROCALS: usize = memory.data(128, 16);

/** The next prime to strike with is the one GAPS[nextGap] above `lastPrime`. */
let nextGap: u32 = 0;
let lastPrime: u32 = 1;

/** Makes the table of small primes, once: the sieve of Eratosthenes over odd numbers, as bits in the field's memory. */
function primeTable(): void {
  if (load<u8>(GAPS) != 0) return;
  memory.fill(FIELD, 0, FIELD_SIZE);
  for (let i: u32 = 1; i < 256; i++) {
    if ((load<u8>(FIELD + (i >> 3)) >> (i & 7)) & 1) continue;
    const p: u32 = (i << 1) | 1;
    for (let j: u32 = (p * p) >> 1; j < PRIME_LIMIT / 2; j += p) {
      const at = FIELD + (j >> 3);
      store<u8>(at, load<u8>(at) | ((<u8>1) << (<u8>(j & 7))));
    }
  }
  let last: u32 = 0;
  let n: u32 = 0;
  for (let i: u32 = 1; i < PRIME_LIMIT / 2; i++) {
    if ((load<u8>(FIELD + (i >> 3)) >> (i & 7)) & 1) continue;
    store<u8>(GAPS + n, <u8>(i - last));
    last = i;
    n++;
  }
  memory.fill(FIELD, 0, FIELD_SIZE);
}

/** Whether a public number, such as an exponent, is a prime: trial division. */
export function primeIsSmall(n: u32): bool {
  primeTable();
  if (n < 3 || (n & 1) == 0) return n == 2;
  let p: u32 = 1;
  for (let i: u32 = 0; i < PRIMES; i++) {
    p += (<u32>load<u8>(GAPS + i)) << 1;
    if (<u64>p * p > n) break;
    if (n % p == 0) return false;
  }
  return true;
}

/** Empties the field and starts again with the smallest prime. */
export function sieveStart(): void {
  primeTable();
  memory.fill(FIELD, 0, FIELD_SIZE);
  nextGap = 0;
  lastPrime = 1;
}

/**
 * Strikes multiples of the next primes, `count` or a few more: with FIELD_STRUCK up to `limit`, with FIELD_HIDDEN beyond.
 *
 * @param base the field's first number, `words` words
 * @param last no prime above this, except a few of the last group
 * @returns whether primes are left
 */
export function sieveRun(base: usize, words: u32, limit: u32, last: u32, count: u32): bool {
  for (let done: u32 = 0; done < count; done += GROUP) {
    if (lastPrime >= last || nextGap >= PRIMES) return false;
    for (let i: u32 = 0; i < GROUP; i++) {
      // Behind the table's end the last prime comes again.
      lastPrime += (<u32>load<u8>(GAPS + nextGap + i)) << 1;
      store<u32>(GROUP_PRIMES + (i << 2), lastPrime);
    }
    nextGap += GROUP;
    residues(base, words);
    for (let i: u32 = 0; i < GROUP; i++) {
      const p = load<u32>(GROUP_PRIMES + (i << 2));
      const r = load<u32>(GROUP_RESIDUES + (i << 2));
      // base + 2i = 0 mod p for i = -r/2.
      const at = ((r & 1) * p + 2 * p - r) >> 1;
      strike(p, at >= p ? at - p : at, p <= limit ? FIELD_STRUCK : FIELD_HIDDEN);
    }
  }
  return true;
}

/**
 * GROUP_RESIDUES = base mod each of GROUP_PRIMES, word by word in f64; every value stays an exact integer below 2^52. Eight
 * chains of dependent operations at once hide their latency.
 */
function residues(base: usize, words: u32): void {
  for (let i: u32 = 0; i < GROUP / 2; i++) {
    const p = f64x2.convert_low_i32x4_u(v128.load64_zero(GROUP_PRIMES + (i << 3)));
    v128.store(DIVISORS + (i << 4), p);
    v128.store(RECIPROCALS + (i << 4), f64x2.div(f64x2.splat(1), p));
  }
  let r0 = f64x2.splat(0);
  let r1 = r0;
  let r2 = r0;
  let r3 = r0;
  let r4 = r0;
  let r5 = r0;
  let r6 = r0;
  let r7 = r0;
  for (let at = base + (words << 2) - 4; at >= base; at -= 4) {
    const word = f64x2.splat(<f64>load<u32>(at));
    r0 = nextResidue(r0, word, 0);
    r1 = nextResidue(r1, word, 1);
    r2 = nextResidue(r2, word, 2);
    r3 = nextResidue(r3, word, 3);
    r4 = nextResidue(r4, word, 4);
    r5 = nextResidue(r5, word, 5);
    r6 = nextResidue(r6, word, 6);
    r7 = nextResidue(r7, word, 7);
  }
  storeResidues(r0, r1, 0);
  storeResidues(r2, r3, 1);
  storeResidues(r4, r5, 2);
  storeResidues(r6, r7, 3);
}

/** (r*2^32 + word) mod the primes of pair k. The quotient may be one too small or too large, so that -p < r < 2p. */
@inline
function nextResidue(r: v128, word: v128, k: usize): v128 {
  const value = f64x2.add(f64x2.mul(r, f64x2.splat(4294967296.0)), word);
  const quotient = f64x2.floor(f64x2.mul(value, v128.load(RECIPROCALS + 16 * k)));
  return f64x2.sub(value, f64x2.mul(quotient, v128.load(DIVISORS + 16 * k)));
}

/** Two pairs of residues into range and into GROUP_RESIDUES, as the k-th four. */
@inline
function storeResidues(a: v128, b: v128, k: usize): void {
  const low = i32x4.trunc_sat_f64x2_s_zero(a);
  const high = i32x4.trunc_sat_f64x2_s_zero(b);
  const r = i8x16.shuffle(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
  v128.store(GROUP_RESIDUES + 16 * k, intoRange(r, v128.load(GROUP_PRIMES + 16 * k)));
}

/** r from -p < r < 2p into 0..p-1. */
@inline
function intoRange(r: v128, p: v128): v128 {
  const positive = i32x4.add(r, v128.and(p, i32x4.shr_s(r, 31)));
  return i32x4.sub(positive, v128.and(p, i32x4.ge_s(positive, p)));
}

/** Marks the positions of p's multiples from the first, i < p, on. */
@inline
function strike(p: u32, i: u32, mark: u32): void {
  if (p < FIELD_SIZE) {
    for (; i < FIELD_SIZE; i += p) store<u8>(FIELD + i, load<u8>(FIELD + i) | <u8>mark);
  } else {
    // One position or none: a store that may go beside the field costs less than a branch that is hard to predict.
    const at = FIELD + min(i, FIELD_SIZE);
    store<u8>(at, load<u8>(at) | <u8>mark);
  }
}

/** Lists the positions without any of the marks; answers how many there are. */
export function sieveList(marks: u32): u32 {
  let n: u32 = 0;
  for (let i: u32 = 0; i < FIELD_SIZE; i++) {
    store<u16>(POSITIONS + (n << 1), <u16>i);
    n += <u32>((load<u8>(FIELD + i) & marks) == 0);
    if (n == MAX_POSITIONS) break;
  }
  return n;
}

/** Takes element i of the n listed positions out of the list. */
export function sieveTake(i: u32, n: u32): u32 {
  const at = POSITIONS + (i << 1);
  const position = load<u16>(at);
  memory.copy(at, at + 2, (n - i - 1) << 1);
  return position;
}

/** Whether a listed position carries FIELD_HIDDEN. */
export function sieveIsHidden(position: u32): bool {
  return (load<u8>(FIELD + position) & FIELD_HIDDEN) != 0;
}

/** Wipes everything that tells where the primes are; the table of small primes stays. */
export function sieveWipe(): void {
  memory.fill(FIELD, 0, FIELD_SIZE);
  memory.fill(POSITIONS, 0, MAX_POSITIONS << 1);
  memory.fill(GROUP_RESIDUES, 0, 64);
}
