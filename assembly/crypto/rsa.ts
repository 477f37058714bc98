// The RSA primitives: RSAEP/RSAVP1 and RSADP/RSASP1 of PKCS #1 (RFC 8017, 5.1 and 5.2).
import { bnAdd, bnAddMasked, bnAddWord, bnEqual, bnFromBytes, bnLess, bnMul, bnSub, bnToBytes } from "./bn";
import {
  MONT_MAX_NUMBER,
  montFromWords,
  montLeave,
  montMul,
  montPow,
  montPowPublic,
  montSelect,
  montSqr,
  montToWords,
  montWipe,
} from "./mont";
import { montModExpPublic } from "./mont-single";
import {
  RSA_DP,
  RSA_DQ,
  RSA_ERROR_BLINDING,
  RSA_ERROR_FAULT,
  RSA_ERROR_RANGE,
  RSA_N,
  RSA_OK,
  RSA_P,
  RSA_PAIR_BLIND,
  RSA_PAIR_ONE,
  RSA_PAIR_QINV,
  RSA_PAIR_UNBLIND,
  RSA_Q,
  RsaKeyHeader,
  rsaKeyEnter,
  rsaKeyModulus,
  rsaKeyPair,
  rsaKeyWords,
} from "./rsa-key";

const INPUT: usize = memory.data(MONT_MAX_NUMBER, 16);
const X: usize = memory.data(MONT_MAX_NUMBER, 16);
const Y: usize = memory.data(MONT_MAX_NUMBER, 16);
const WORDS: usize = memory.data(512);
const M1: usize = memory.data(256);
const M2: usize = memory.data(256);
const T: usize = memory.data(256);

/**
 * The public operation: output = input^e mod n.
 *
 * @param n big-endian modulus of bits/8 bytes
 * @param bits 1024, 2048, 3072 or 4096
 * @param e any exponent but 0
 * @param input bits/8 bytes, a number below n
 * @param output bits/8 bytes; may be `input`
 * @returns RSA_OK, or RSA_ERROR_RANGE when the input is not below n or n is even or short
 */
export function rsaPublic(n: usize, bits: u32, e: u32, input: usize, output: usize): u32 {
  return montModExpPublic(n, bits, e, input, output) ? RSA_OK : RSA_ERROR_RANGE;
}

/**
 * The private operation: output = input^d mod n, by the Chinese remainder theorem, blinded, and verified with the public
 * exponent before anything is written.
 *
 * @param key record of rsaKeyLoad with blinding factors (rsaKeyBlind)
 * @param input bits/8 big-endian bytes, a number below n
 * @param output bits/8 bytes; may be `input`
 * @returns RSA_OK, RSA_ERROR_RANGE, RSA_ERROR_BLINDING or RSA_ERROR_FAULT; the output is untouched unless RSA_OK
 */
export function rsaPrivate(key: usize, input: usize, output: usize): u32 {
  const header = changetype<RsaKeyHeader>(key);
  const bytes = header.bits >> 3;
  const words = header.bits >> 6;
  if (header.blinding == 0) return RSA_ERROR_BLINDING;
  bnFromBytes(WORDS, words << 1, input, bytes);
  if (bnLess(WORDS, rsaKeyWords(key, RSA_N), words << 1) == 0) {
    wipe();
    return RSA_ERROR_RANGE;
  }
  montSelect(header.bits >> 1);
  const m = rsaKeyModulus(key);
  const blind = rsaKeyPair(key, RSA_PAIR_BLIND);
  const unblind = rsaKeyPair(key, RSA_PAIR_UNBLIND);

  rsaKeyEnter(key, INPUT, WORDS);
  montMul(X, INPUT, blind, m);
  montPow(Y, X, rsaKeyPair(key, RSA_PAIR_ONE), rsaKeyWords(key, RSA_DP), rsaKeyWords(key, RSA_DQ), m);
  montMul(Y, Y, unblind, m);
  montSqr(blind, blind, m);
  montSqr(unblind, unblind, m);
  header.blinding--;
  combine(key, Y);

  const ok = verify(key);
  if (ok != 0) bnToBytes(output, bytes, WORDS);
  else header.blinding = 0;
  wipe();
  return ok != 0 ? RSA_OK : RSA_ERROR_FAULT;
}

/** WORDS = the number below n that is `pair` mod p and mod q (Garner): m2 + q*((m1 - m2)*qInv mod p). */
function combine(key: usize, pair: usize): void {
  const words = load<u32>(key) >> 6;
  const m = rsaKeyModulus(key);
  const p = rsaKeyWords(key, RSA_P);
  const q = rsaKeyWords(key, RSA_Q);
  montLeave(X, pair, m);
  montToWords(M1, X, 0, p);
  montToWords(M2, X, 1, q);
  // m2 < q < p, so one p makes the difference positive.
  const negative = bnSub(T, M1, M2, words);
  bnAddMasked(T, T, p, negative, words);
  montFromWords(X, 0, T);
  montFromWords(X, 1, T);
  montMul(X, X, rsaKeyPair(key, RSA_PAIR_QINV), m);
  montToWords(T, X, 0, p);
  bnMul(WORDS, T, words, q, words);
  const high = WORDS + (words << 2);
  bnAddWord(high, high, bnAdd(WORDS, WORDS, M2, words), words);
}

/** Mask: WORDS^e is the input, mod p and mod q. */
function verify(key: usize): u32 {
  const header = changetype<RsaKeyHeader>(key);
  const words = header.bits >> 6;
  const m = rsaKeyModulus(key);
  rsaKeyEnter(key, X, WORDS);
  montPowPublic(Y, X, header.e, m);
  montLeave(Y, Y, m);
  montLeave(INPUT, INPUT, m);
  let ok: u32 = 0xffffffff;
  for (let lane: u32 = 0; lane < 2; lane++) {
    const prime = rsaKeyWords(key, lane);
    montToWords(M1, Y, lane, prime);
    montToWords(M2, INPUT, lane, prime);
    ok &= bnEqual(M1, M2, words);
  }
  return ok;
}

function wipe(): void {
  memory.fill(INPUT, 0, MONT_MAX_NUMBER);
  memory.fill(X, 0, MONT_MAX_NUMBER);
  memory.fill(Y, 0, MONT_MAX_NUMBER);
  memory.fill(WORDS, 0, 512);
  memory.fill(M1, 0, 256);
  memory.fill(M2, 0, 256);
  memory.fill(T, 0, 256);
  montWipe();
}
