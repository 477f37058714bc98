// RSA private keys made ready for use.
//
// A TPM object keeps one prime; everything else is computed by rsaKeyLoad into a *key record* of rsaKeySize(bits) bytes, which a
// caller caches for as long as the object is loaded and wipes afterwards. With h = bits/16 the record is
//   0        RsaKeyHeader
//   16       p, q, dP, dQ, qInv (h bytes each) and n (2h bytes), little-endian words; p is the larger prime
//   align 16 the modulus (p, q), then six pairs of the Montgomery layer: R, R^2, R^2*2^(8h), R*qInv, and the blinding
//            factors r^e and 1/r, all mod p in lane 0 and mod q in lane 1
// It is valid in the build of the module that made it only, and 16-aligned.
import {
  bnAddWord,
  bnCopyMasked,
  bnDivideExact,
  bnDivideExactWord,
  bnEqual,
  bnFromBytes,
  bnLess,
  bnModWord,
  bnMulWord,
  bnSub,
  bnSubWord,
  bnToBytes,
} from "./bn";
import { bnInverse } from "./bn-inverse";
import {
  MONT_MAX_NUMBER,
  montAdd,
  montFromWords,
  montLeave,
  montModulusBytes,
  montMul,
  montNumberBytes,
  montOne,
  montPowPublic,
  montR2,
  montSelect,
  montSetModulus,
  montToWords,
  montWipe,
} from "./mont";

export const RSA_OK: u32 = 0;
/** A number is not below the modulus, or a size does not fit. */
export const RSA_ERROR_RANGE: u32 = 1;
/** The parts do not make a key: p does not divide n, wrong sizes or parity, e has no inverse. */
export const RSA_ERROR_BINDING: u32 = 2;
/** The result of a private operation did not verify: a fault, or "primes" that are none. Nothing was written. */
export const RSA_ERROR_FAULT: u32 = 3;
/** The key has no blinding factors left; see rsaKeyBlind. */
export const RSA_ERROR_BLINDING: u32 = 4;
/** An encoding is wrong, or a message too long for it. */
export const RSA_ERROR_VALUE: u32 = 5;

/** Private operations for which one blinding factor may be used; it is squared after each. */
const BLINDING_USES: u32 = 32;
/** Size of the largest record, that of 4096 bits. */
export const RSA_KEY_MAX_SIZE: u32 = 6416;

@unmanaged
export class RsaKeyHeader {
  /** Bits of the modulus: 1024, 2048, 3072 or 4096. */
  bits: u32;
  /** The public exponent. */
  e: u32;
  /** Private operations left before rsaKeyBlind must be called. */
  blinding: u32;
  /** Mask: the prime given to rsaKeyLoad was the smaller one. */
  swapped: u32;
}

const WORDS_AT: usize = 16;

// Word numbers of the record.
export const RSA_P: u32 = 0;
export const RSA_Q: u32 = 1;
export const RSA_DP: u32 = 2;
export const RSA_DQ: u32 = 3;
export const RSA_QINV: u32 = 4;
export const RSA_N: u32 = 5;

// Pair numbers of the record.
export const RSA_PAIR_ONE: u32 = 0;
export const RSA_PAIR_R2: u32 = 1;
export const RSA_PAIR_R3: u32 = 2;
export const RSA_PAIR_QINV: u32 = 3;
export const RSA_PAIR_BLIND: u32 = 4;
export const RSA_PAIR_UNBLIND: u32 = 5;
const PAIRS: u32 = 6;

/** Address of word number i (RSA_P ... RSA_N). */
@inline
export function rsaKeyWords(key: usize, i: u32): usize {
  return key + WORDS_AT + i * (load<u32>(key) >> 4);
}

/** Address of the modulus of the Montgomery layer. montSelect must have chosen the key's size. */
@inline
export function rsaKeyModulus(key: usize): usize {
  return key + ((WORDS_AT + 7 * (load<u32>(key) >> 4) + 15) & ~15);
}

/** Address of pair number i (RSA_PAIR_ONE ...). */
@inline
export function rsaKeyPair(key: usize, i: u32): usize {
  return rsaKeyModulus(key) + montModulusBytes() + i * montNumberBytes();
}

const A: usize = memory.data(MONT_MAX_NUMBER, 16);
const B: usize = memory.data(MONT_MAX_NUMBER, 16);
const W1: usize = memory.data(520);
const W2: usize = memory.data(520);

/** Bytes of the record of a key with a modulus of `bits` bits. */
export function rsaKeySize(bits: u32): u32 {
  montSelect(bits >> 1);
  return ((<u32>WORDS_AT + 7 * (bits >> 4) + 15) & ~15) + montModulusBytes() + PAIRS * montNumberBytes();
}

/**
 * Makes a key record from what a TPM object holds.
 *
 * @param n big-endian modulus of bits/8 bytes
 * @param bits 1024, 2048, 3072 or 4096
 * @param prime one prime factor, big-endian, bits/16 bytes, top bit set
 * @param e public exponent
 * @param key receives the record
 * @returns RSA_OK or RSA_ERROR_BINDING; then the record is wiped
 */
export function rsaKeyLoad(n: usize, bits: u32, prime: usize, e: u32, key: usize): u32 {
  const h = bits >> 4;
  const words = h >> 2;
  const header = changetype<RsaKeyHeader>(key);
  header.bits = bits;
  header.e = e;
  header.blinding = 0;
  montSelect(bits >> 1);
  const p = rsaKeyWords(key, RSA_P);
  const q = rsaKeyWords(key, RSA_Q);
  bnFromBytes(rsaKeyWords(key, RSA_N), words << 1, n, bits >> 3);
  bnFromBytes(p, words, prime, h);
  // Public shape first; the prime's top bit and parity are no secret of a valid key.
  if (load<u8>(n) < 0x80 || (load<u8>(n + (bits >> 3) - 1) & 1) == 0) return refuse(key, bits);
  if (load<u8>(prime) < 0x80 || (load<u8>(prime + h - 1) & 1) == 0) return refuse(key, bits);
  if ((e & 1) == 0 || e < 3) return refuse(key, bits);
  memory.copy(W1, rsaKeyWords(key, RSA_N), h << 1);
  let ok = bnDivideExact(q, W1, p, words);
  ok &= 0 - (load<u32>(q + h - 4) >> 31);
  ok &= ~bnEqual(p, q, words);
  if (ok == 0) return refuse(key, bits);

  const swapped = bnLess(p, q, words);
  header.swapped = swapped;
  memory.copy(W1, p, h);
  bnCopyMasked(p, q, swapped, words);
  bnCopyMasked(q, W1, swapped, words);

  ok = inverseOfExponent(rsaKeyWords(key, RSA_DP), p, words, e);
  ok &= inverseOfExponent(rsaKeyWords(key, RSA_DQ), q, words, e);
  if (ok == 0) return refuse(key, bits);
  bnInverse(rsaKeyWords(key, RSA_QINV), q, p, words);

  const m = rsaKeyModulus(key);
  const one = rsaKeyPair(key, RSA_PAIR_ONE);
  const r2 = rsaKeyPair(key, RSA_PAIR_R2);
  const r3 = rsaKeyPair(key, RSA_PAIR_R3);
  montSetModulus(m, 0, p);
  montSetModulus(m, 1, q);
  montOne(one, 0, p);
  montOne(one, 1, q);
  montR2(r2, one, m);
  // 2^(8h) mod p is 2^(8h) - p, likewise for q.
  memory.fill(W1, 0, h);
  bnSub(W2, W1, p, words);
  montFromWords(A, 0, W2);
  bnSub(W2, W1, q, words);
  montFromWords(A, 1, W2);
  montMul(A, A, r2, m);
  montMul(r3, A, r2, m);
  montFromWords(A, 0, rsaKeyWords(key, RSA_QINV));
  montFromWords(A, 1, rsaKeyWords(key, RSA_QINV));
  montMul(rsaKeyPair(key, RSA_PAIR_QINV), A, r2, m);
  wipeScratch();
  return RSA_OK;
}

function refuse(key: usize, bits: u32): u32 {
  memory.fill(key, 0, rsaKeySize(bits));
  wipeScratch();
  return RSA_ERROR_BINDING;
}

function wipeScratch(): void {
  memory.fill(A, 0, MONT_MAX_NUMBER);
  memory.fill(B, 0, MONT_MAX_NUMBER);
  memory.fill(W1, 0, 520);
  memory.fill(W2, 0, 520);
  montWipe();
}

/**
 * d = 1/e mod (prime - 1), as (k*(prime-1) + 1)/e with k = -1/(prime-1) mod e: the even modulus needs no inversion. Answers the
 * mask "the inverse exists". Constant time in the prime.
 */
function inverseOfExponent(d: usize, prime: usize, words: u32, e: u32): u32 {
  bnSubWord(W1, prime, 1, words);
  const residue = A;
  store<u32>(residue, bnModWord(W1, words, e));
  store<u32>(residue, e, 4);
  bnInverse(residue + 8, residue, residue + 4, 1);
  const k = e - load<u32>(residue, 8);
  bnMulWord(W2, W1, words, k);
  bnAddWord(W2, W2, 1, words + 1);
  bnDivideExactWord(W1, W2, words + 1, e);
  memory.copy(d, W1, words << 2);
  // Only a multiple of e comes back as it was.
  bnMulWord(W1, d, words, e);
  return bnEqual(W1, W2, words + 1);
}

/** d = the number of 2*words words, in Montgomery form mod p and q. Uses B. */
export function rsaKeyEnter(key: usize, d: usize, number: usize): void {
  const h = load<u32>(key) >> 4;
  const m = rsaKeyModulus(key);
  montFromWords(d, 0, number);
  montFromWords(d, 1, number);
  montMul(d, d, rsaKeyPair(key, RSA_PAIR_R2), m);
  montFromWords(B, 0, number + h);
  montFromWords(B, 1, number + h);
  montMul(B, B, rsaKeyPair(key, RSA_PAIR_R3), m);
  montAdd(d, d, B);
}

/**
 * Gives the key new blinding factors, good for the next private operations: before the first, and whenever one answers
 * RSA_ERROR_BLINDING.
 *
 * @param random bits/8 fresh random bytes
 */
export function rsaKeyBlind(key: usize, random: usize): void {
  const header = changetype<RsaKeyHeader>(key);
  const words = header.bits >> 6;
  montSelect(header.bits >> 1);
  const m = rsaKeyModulus(key);
  const unblind = rsaKeyPair(key, RSA_PAIR_UNBLIND);
  bnFromBytes(W1, words << 1, random, header.bits >> 3);
  rsaKeyEnter(key, A, W1);
  montPowPublic(rsaKeyPair(key, RSA_PAIR_BLIND), A, header.e, m);
  montLeave(B, A, m);
  for (let lane: u32 = 0; lane < 2; lane++) {
    const prime = rsaKeyWords(key, lane);
    montToWords(W1, B, lane, prime);
    bnInverse(W2, W1, prime, words);
    montFromWords(A, lane, W2);
  }
  montMul(unblind, A, rsaKeyPair(key, RSA_PAIR_R2), m);
  header.blinding = BLINDING_USES;
  wipeScratch();
}

/**
 * Writes Q, dP, dQ, qInv as libtpms keeps them in an object's private exponent, big-endian, bits/16 bytes each: Q is the prime
 * that was not given to rsaKeyLoad, while dP, dQ and qInv belong to the larger and the smaller prime in this order.
 */
export function rsaKeyExponents(key: usize, out: usize): void {
  const header = changetype<RsaKeyHeader>(key);
  const h = header.bits >> 4;
  memory.copy(W1, rsaKeyWords(key, RSA_Q), h);
  bnCopyMasked(W1, rsaKeyWords(key, RSA_P), header.swapped, h >> 2);
  bnToBytes(out, h, W1);
  for (let i: u32 = 0; i < 3; i++) bnToBytes(out + (i + 1) * h, h, rsaKeyWords(key, RSA_DP + i));
  memory.fill(W1, 0, 520);
}
