// Self-tests (Part 1, 12.3): each algorithm has a known answer, checked before its first use or when a command asks for it.
import { FATAL_ERROR_SELF_TEST, fail } from "./failure";
import {
  TPM_ALG_AES,
  TPM_ALG_CFB,
  TPM_ALG_ECDH,
  TPM_ALG_ECDSA,
  TPM_ALG_ECSCHNORR,
  TPM_ALG_KDF1_SP800_108,
  TPM_ALG_SHA512,
} from "./generated/constants";
import { knownAnswerTest } from "./known-answers";

const FAIL_SELF_TEST: u32 = 0x5401;

// The algorithms with a test: those that TPM2_IncrementalSelfTest of a fresh TPM lists. Bit n: TPM_ALG_ID n.
const TESTED_LOW: u64 =
  (1 << 0x03) |
  (1 << 0x04) |
  (1 << 0x06) |
  (1 << 0x0b) |
  (1 << 0x0c) |
  (1 << 0x0d) |
  (1 << 0x14) |
  (1 << 0x15) |
  (1 << 0x16) |
  (1 << 0x17) |
  (1 << 0x18) |
  (1 << 0x19) |
  (1 << 0x1c) |
  (1 << 0x22) |
  (1 << 0x26);
const TESTED_HIGH: u64 = 1 << (0x43 - 0x40);

let toTestLow: u64 = TESTED_LOW;
let toTestHigh: u64 = TESTED_HIGH;

/** _TPM_Init: everything is untested. */
export function selfTestInit(): void {
  toTestLow = TESTED_LOW;
  toTestHigh = TESTED_HIGH;
}

/** Whether the algorithm has a test that was not run since _TPM_Init. */
@inline
export function untested(alg: u32): bool {
  return alg < 64 ? ((toTestLow >> alg) & 1) != 0 : alg < 128 && ((toTestHigh >> (alg - 64)) & 1) != 0;
}

/** Tests an algorithm that was not yet tested; a wrong answer is failure mode. */
@inline
export function selfTestBeforeUse(alg: u32): void {
  if (untested(alg)) testAlgorithm(alg, false);
}

/** Tests an algorithm, again if need be. */
export function testAlgorithm(alg: u32, full: bool): void {
  if (alg < 64) toTestLow &= ~((<u64>1) << alg);
  else toTestHigh &= ~((<u64>1) << (alg - 64));
  if (!knownAnswerTest(alg, full)) fail(FAIL_SELF_TEST, FATAL_ERROR_SELF_TEST);
  switch (alg) {
    // What libtpms' tests of these take along: a cipher its mode, a signature Diffie-Hellman and the hash of the test.
    case TPM_ALG_AES:
      andAlso(TPM_ALG_CFB);
      break;
    case TPM_ALG_CFB:
      andAlso(TPM_ALG_AES);
      break;
    case TPM_ALG_ECSCHNORR:
      andAlso(TPM_ALG_SHA512);
      andAlso(TPM_ALG_ECDH);
      break;
    case TPM_ALG_ECDSA:
      andAlso(TPM_ALG_ECDH);
      break;
    case TPM_ALG_KDF1_SP800_108:
      andAlso(TPM_ALG_SHA512);
      break;
  }
}

function andAlso(alg: u32): void {
  if (untested(alg)) testAlgorithm(alg, false);
}
