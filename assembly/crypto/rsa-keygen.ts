// RSA key generation as a state machine: rsaKeyGenStart, then rsaKeyGenStep until it is done, each step about half a
// millisecond of work. The host may stop between steps; rsaKeyGenCancel (or fetching the result) wipes everything.
//
// With RSA_KEYGEN_COMPAT_0 or _1 the primes are those libtpms makes from the same DRBG state, bit for bit (seedCompatLevel 0:
// seeds made before libtpms 0.8). There every composite that gets as far as Miller-Rabin consumes random bytes for a witness,
// so the order of candidates is part of the result. What makes the search fast without changing it:
//   - two candidates, the next pick and the one after it, are tested in the two lanes with base 2, which needs no random
//     bytes; for each that fails, one witness is drawn and thrown away, in order. (A composite that would pass the one
//     Miller-Rabin round libtpms gives it would be missed: below 2^-80 for random numbers of these sizes.)
//   - the field is sieved deeper than libtpms does. What only the deeper sieve strikes stays in the list, because the picks
//     depend on it, but is known to be composite when its turn comes.
//   - a candidate that passes base 2 gets all its Miller-Rabin rounds, two at a time; if a round fails, the DRBG goes back to
//     where it was after that round's witness.
// With RSA_KEYGEN_RANDOM nothing is reproduced: candidates the sieve strikes are not looked at and composites draw nothing.
// Primes then satisfy FIPS 186-5, A.1.1 and A.1.3: at least sqrt(2)*2^(bits/2-1), further apart than 2^(bits/2-100), gcd of
// p-1 and q-1 with e 1, and Miller-Rabin rounds of table B.1. Each is the first prime in pseudo-random order among those in a
// field of 32768 numbers around a random number, instead of around a fresh one for every test.
//
// Between steps no other function of rsa*, prime* or mont* may be called, and the DRBG state stays where it is.
import { bnAddWord, bnIsZero, bnLess, bnModWord, bnMul, bnSub, bnSubWord, bnToBytes } from "./bn";
import { DRBG_STATE_SIZE, drbgGenerate } from "./drbg";
import { montSelect } from "./mont";
import {
  FIELD_HIDDEN,
  FIELD_STRUCK,
  PRIME_LIMIT,
  sieveIsHidden,
  sieveList,
  sieveRun,
  sieveStart,
  sieveTake,
  sieveWipe,
} from "./prime-sieve";
import {
  fermatResult,
  fermatRun,
  fermatStart,
  millerRabinResult,
  millerRabinRun,
  millerRabinStart,
  primeTestWipe,
} from "./prime-test";

export const RSA_KEYGEN_COMPAT_0: u32 = 0;
export const RSA_KEYGEN_COMPAT_1: u32 = 1;
export const RSA_KEYGEN_RANDOM: u32 = 2;

/** Answers of rsaKeyGenStep. */
export const RSA_KEYGEN_MORE: i32 = 0;
export const RSA_KEYGEN_DONE: i32 = 1;
/** The DRBG refused, or nothing was started. */
export const RSA_KEYGEN_FAILED: i32 = -1;

// What the next step does.
const IDLE: u32 = 0;
const CANDIDATE: u32 = 1;
const SIEVE: u32 = 2;
const LIST: u32 = 3;
const PICK: u32 = 4;
const FILTER: u32 = 5;
const SETTLE: u32 = 6;
const ROUNDS: u32 = 7;
const DONE: u32 = 8;

const MAX_ROUNDS: u32 = 7;
/** Composites between two candidates of a pair that may wait for their witness. */
const MAX_PENDING: u32 = 64;

let state: u32 = IDLE;
let mode: u32 = 0;
let drbg: usize = 0;
let exponent: u32 = 0;
/** Bits and words of a prime. */
let bits: u32 = 0;
let words: u32 = 0;
let haveFirst: bool = false;
/** The search seed of the field, positions left in it, and base mod e. */
let seed: u32 = 0;
let listed: u32 = 0;
let baseModE: u32 = 0;
/** The pair under test: whether it has a second candidate, what passed the filter, how far its settling is. */
let paired: bool = false;
let passed: u32 = 0;
let settled: u32 = 0;
let pending: u32 = 0;
/** Miller-Rabin: the candidate, how many rounds it gets, how many it has. */
let subject: usize = 0;
let rounds: u32 = 0;
let round: u32 = 0;

const BASE: usize = memory.data(256);
const FIRST: usize = memory.data(256);
const SECOND: usize = memory.data(256);
const T: usize = memory.data(256);
const PRIME_Q: usize = memory.data(256);
const PRIME_P: usize = memory.data(256);
const BYTES: usize = memory.data(256, 16);
const PENDING: usize = memory.data(128);
const WITNESSES: usize = memory.data(1792);
const SNAPSHOTS: usize = memory.data(616, 8);

/**
 * Starts a search; one that is under way is dropped.
 *
 * @param modulusBits 1024, 2048, 3072 or 4096
 * @param e public exponent: odd, at least 3; a TPM wants a prime of at least 65537 (primeIsSmall)
 * @param drbgState a state of drbg.ts, which the search moves on
 * @param searchMode RSA_KEYGEN_COMPAT_0, RSA_KEYGEN_COMPAT_1 or RSA_KEYGEN_RANDOM
 */
export function rsaKeyGenStart(modulusBits: u32, e: u32, drbgState: usize, searchMode: u32): void {
  rsaKeyGenCancel();
  bits = modulusBits >> 1;
  words = bits >> 5;
  exponent = e;
  drbg = drbgState;
  mode = searchMode;
  state = CANDIDATE;
}

/** Does about half a millisecond of work: RSA_KEYGEN_MORE, RSA_KEYGEN_DONE, or RSA_KEYGEN_FAILED (everything is wiped). */
export function rsaKeyGenStep(): i32 {
  montSelect(bits);
  let heavy = false;
  let good = true;
  while (good && !heavy && state != DONE) {
    // The heavy ones measure out their work.
    heavy = state == SIEVE || state == FILTER || state == ROUNDS;
    if (state == CANDIDATE) good = drawCandidate();
    else if (state == SIEVE) sieve();
    else if (state == LIST) list();
    else if (state == PICK) good = pick();
    else if (state == FILTER) filter();
    else if (state == SETTLE) good = settle();
    else if (state == ROUNDS) millerRabin();
    else good = false;
  }
  if (!good) {
    rsaKeyGenCancel();
    return RSA_KEYGEN_FAILED;
  }
  return state == DONE ? RSA_KEYGEN_DONE : RSA_KEYGEN_MORE;
}

/**
 * Fetches the key after RSA_KEYGEN_DONE and wipes the search.
 *
 * @param prime receives the prime that a TPM object keeps, the second one found: bits/16 big-endian bytes
 * @param modulus receives the modulus: bits/8 big-endian bytes
 * @returns false when no search is done
 */
export function rsaKeyGenResult(prime: usize, modulus: usize): bool {
  if (state != DONE) return false;
  bnToBytes(prime, bits >> 3, PRIME_P);
  // The witnesses are not needed any more; their place is large enough for the product.
  bnMul(WITNESSES, PRIME_P, words, PRIME_Q, words);
  bnToBytes(modulus, bits >> 2, WITNESSES);
  rsaKeyGenCancel();
  return true;
}

/** Ends a search and wipes all it knew. The DRBG state is the caller's. */
export function rsaKeyGenCancel(): void {
  if (state == IDLE) return;
  state = IDLE;
  haveFirst = false;
  seed = 0;
  listed = 0;
  baseModE = 0;
  paired = false;
  passed = 0;
  pending = 0;
  memory.fill(BASE, 0, 256);
  memory.fill(FIRST, 0, 256);
  memory.fill(SECOND, 0, 256);
  memory.fill(T, 0, 256);
  memory.fill(PRIME_Q, 0, 256);
  memory.fill(PRIME_P, 0, 256);
  memory.fill(BYTES, 0, 256);
  memory.fill(PENDING, 0, 128);
  memory.fill(WITNESSES, 0, 1792);
  memory.fill(SNAPSHOTS, 0, 616);
  sieveWipe();
  primeTestWipe();
}

/** Largest prime of libtpms' own sieve: that of its 1024th, 4096th, or last prime but one. */
@inline
function sieveLimit(): u32 {
  return bits <= 512 ? 8167 : bits <= 1024 ? 38891 : 65535;
}

/** Largest prime of ours: where striking costs as much as the candidates it saves. */
@inline
function hiddenLimit(): u32 {
  return bits <= 512 ? 1 << 15 : PRIME_LIMIT;
}

/** Draws a number of the prime's size and starts a field around it. */
function drawCandidate(): bool {
  if (drbgGenerate(drbg, BYTES, bits >> 3) == 0) return false;
  const top = (words - 1) << 2;
  if (mode == RSA_KEYGEN_COMPAT_0) {
    // The bytes are the words as they lie in a little-endian machine's memory. Of the top 64 bits, 16 are scaled and kept,
    // the next 32 are lost.
    memory.copy(BASE, BYTES, bits >> 3);
    const high = (((load<u32>(BASE + top) >> 16) * 0x4afb) >> 16) + 0xb505;
    store<u32>(BASE + top, high << 16);
    store<u32>(BASE + top - 4, load<u32>(BASE + top - 4) & 0xffff);
  } else {
    for (let i: u32 = 0; i < words; i++) {
      store<u32>(BASE + (i << 2), bswap<u32>(load<u32>(BYTES + top - (i << 2))));
    }
    // Scales the number into [sqrt(2)/2, 1) of its size, so that a product of two has its top bit.
    const word = load<u32>(BASE + top);
    store<u32>(BASE + top, (word >> 16) * 0x4afb + (((word & 0xffff) * 0x4afb) >> 16) + 0xb5050000);
  }
  store<u32>(BASE, load<u32>(BASE) | 1);
  seed = load<u32>(BASE) | 0x80000000;
  // The field starts at an odd multiple of 105.
  const rest = bnModWord(BASE, words, 105);
  bnSubWord(BASE, BASE, rest & 1 ? rest + 105 : rest, words);
  baseModE = bnModWord(BASE, words, exponent);
  sieveStart();
  state = SIEVE;
  return true;
}

function sieve(): void {
  const count = (16384 * 32) / words;
  if (!sieveRun(BASE, words, sieveLimit(), hiddenLimit() - 1, count)) state = LIST;
}

function list(): void {
  listed = sieveList(mode == RSA_KEYGEN_RANDOM ? FIELD_STRUCK | FIELD_HIDDEN : FIELD_STRUCK);
  state = PICK;
}

/** Finds the next pair of candidates. */
function pick(): bool {
  let candidates: u32 = 0;
  pending = 0;
  while (candidates < 2 && listed > 0 && pending < MAX_PENDING) {
    const position = sieveTake(seed % listed, listed);
    listed--;
    const residue = <u32>((<u64>baseModE + 2 * <u64>position) % <u64>exponent);
    if (residue < 2) continue;
    if (mode != RSA_KEYGEN_RANDOM && sieveIsHidden(position)) {
      if (candidates == 0) {
        bnAddWord(T, BASE, 2 * position, words);
        if (!discard(T)) return false;
      } else {
        store<u16>(PENDING + (pending << 1), <u16>position);
        pending++;
      }
      continue;
    }
    bnAddWord(candidates == 0 ? FIRST : SECOND, BASE, 2 * position, words);
    candidates++;
  }
  if (candidates == 0) {
    state = CANDIDATE;
    return true;
  }
  paired = candidates == 2;
  fermatStart(FIRST, paired ? SECOND : FIRST, words);
  state = FILTER;
  return true;
}

/** Squarings of the selected size that take about half a millisecond. */
@inline
function squaringsPerStep(): u32 {
  return (((1200 * 32) / words) * 32) / words;
}

function filter(): void {
  if (!fermatRun(squaringsPerStep())) return;
  passed = fermatResult();
  settled = 0;
  state = SETTLE;
}

/** Does with the pair and what lies between as libtpms would in the order of picks; goes on after Miller-Rabin failed. */
function settle(): bool {
  if (settled == 0) {
    settled = 1;
    if (passed & 1) return startRounds(FIRST);
    if (!discard(FIRST)) return false;
  }
  if (settled == 1) {
    settled = 2;
    for (let i: u32 = 0; i < pending; i++) {
      bnAddWord(T, BASE, 2 * <u32>load<u16>(PENDING + (i << 1)), words);
      if (!discard(T)) return false;
    }
    if (paired) {
      if (passed & 2) return startRounds(SECOND);
      if (!discard(SECOND)) return false;
    }
  }
  state = PICK;
  return true;
}

/** Draws the witness that libtpms would have drawn for a composite. */
function discard(w: usize): bool {
  return mode == RSA_KEYGEN_RANDOM || drawWitness(w, WITNESSES);
}

/** Draws a number b with 1 < b < w - 1. */
function drawWitness(w: usize, b: usize): bool {
  while (true) {
    if (drbgGenerate(drbg, BYTES, bits >> 3) == 0) return false;
    for (let i: u32 = 0; i < words; i++) {
      store<u32>(b + (i << 2), bswap<u32>(load<u32>(BYTES + ((words - 1 - i) << 2))));
    }
    const wide = ~bnIsZero(b + 4, words - 1) | (0 - <u32>(load<u32>(b) > 1));
    // w is odd, so b < w - 1 is b | 1 < w, unless b is w itself, which is not less either.
    const low = load<u32>(b);
    store<u32>(b, low | 1);
    const below = bnLess(b, w, words);
    store<u32>(b, low);
    if ((wide & below) != 0) return true;
  }
}

/** Rounds of Miller-Rabin: libtpms' for reproduced keys, else enough for an error of 2^-100 or less. */
function roundsFor(): u32 {
  if (mode == RSA_KEYGEN_RANDOM) return bits <= 512 ? 7 : bits <= 1024 ? 5 : 4;
  return bits < 1536 ? 5 : 4;
}

function startRounds(w: usize): bool {
  subject = w;
  rounds = roundsFor();
  round = 0;
  for (let i: u32 = 0; i < rounds; i++) {
    if (!drawWitness(w, WITNESSES + i * 256)) return false;
    memory.copy(SNAPSHOTS + i * DRBG_STATE_SIZE, drbg, DRBG_STATE_SIZE);
  }
  startTwoRounds();
  state = ROUNDS;
  return true;
}

function startTwoRounds(): void {
  const first = WITNESSES + round * 256;
  millerRabinStart(subject, first, round + 1 < rounds ? first + 256 : first, words, round != 0);
}

function millerRabin(): void {
  if (!millerRabinRun(squaringsPerStep() / 8)) return;
  const result = millerRabinResult();
  if (result != 3) {
    // Composite after all: nothing was drawn after the round that found it out.
    const failed = result & 1 ? round + 1 : round;
    if (mode != RSA_KEYGEN_RANDOM) memory.copy(drbg, SNAPSHOTS + failed * DRBG_STATE_SIZE, DRBG_STATE_SIZE);
    state = SETTLE;
    return;
  }
  round += 2;
  if (round < rounds) startTwoRounds();
  else accept();
}

/** The subject is a prime: the first becomes Q, the second P, if they are far enough apart. */
function accept(): void {
  state = CANDIDATE;
  if (mode == RSA_KEYGEN_RANDOM && !isLargeEnough()) return;
  if (!haveFirst) {
    memory.copy(PRIME_Q, subject, words << 2);
    haveFirst = true;
    return;
  }
  // The distance, as a number whose bits from `lowest` on must not all be zero.
  const lowest = mode == RSA_KEYGEN_RANDOM ? bits - 100 : 100;
  if (bnSub(T, subject, PRIME_Q, words) != 0) bnSub(T, PRIME_Q, subject, words);
  store<u32>(T + ((lowest >> 5) << 2), load<u32>(T + ((lowest >> 5) << 2)) >> (lowest & 31));
  if (bnIsZero(T + ((lowest >> 5) << 2), words - (lowest >> 5)) != 0) return;
  memory.copy(PRIME_P, subject, words << 2);
  state = DONE;
}

/** Whether the subject is above sqrt(2)*2^(bits-1), by its top 64 bits. */
function isLargeEnough(): bool {
  return load<u64>(subject + ((words - 2) << 2)) > 0xb504f333f9de6484;
}
