// What the policy commands share (Part 1, 19.7; Part 3, 23.2): extending a policyDigest, comparing operands, authorizations that
// expire.
import { TPM2B, copy2B, equal2B } from "./cursor";
import { g, gp } from "./data";
import {
  TPM_EO_BITCLEAR,
  TPM_EO_BITSET,
  TPM_EO_EQ,
  TPM_EO_NEQ,
  TPM_EO_SIGNED_GE,
  TPM_EO_SIGNED_GT,
  TPM_EO_SIGNED_LE,
  TPM_EO_SIGNED_LT,
  TPM_EO_UNSIGNED_GE,
  TPM_EO_UNSIGNED_GT,
  TPM_EO_UNSIGNED_LE,
  TPM_EO_UNSIGNED_LT,
  TPM_RC_CPHASH,
  TPM_RC_EXPIRED,
  TPM_RC_NONCE,
  TPM_RC_SIZE,
} from "./generated/constants";
import { SESSION } from "./generated/engine-records";
import {
  HASH_RECORD_SIZE,
  cryptHashEnd2B,
  cryptHashStart,
  cryptHashUpdate,
  cryptHashUpdate2B,
  cryptHashUpdateInt,
} from "./hash";
import { SESSION_IS_CP_HASH_DEFINED, SESSION_IS_TRIAL_POLICY } from "./session";

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);
const ARGUMENTS: usize = memory.data(2 + 64, 8);

@inline
export function isTrial(session: SESSION): bool {
  return (session.attributes & SESSION_IS_TRIAL_POLICY) != 0;
}

/** Begins policyDigest' := H(policyDigest || commandCode || …); what follows is added, then `policyEnd`. */
export function policyBegin(session: SESSION, commandCode: u32): void {
  cryptHashStart(WORK, session.authHashAlg);
  cryptHashUpdate2B(WORK, session.u2);
  cryptHashUpdateInt(WORK, 4, commandCode);
}
export function policyAdd(data: usize, length: u32): void {
  cryptHashUpdate(WORK, data, length);
}
export function policyAdd2B(data: TPM2B): void {
  cryptHashUpdate2B(WORK, data);
}
export function policyAddInt(bytes: u32, value: u64): void {
  cryptHashUpdateInt(WORK, bytes, value);
}
export function policyEnd(session: SESSION): void {
  cryptHashEnd2B(WORK, session.u2);
}

/** policyDigest of all zeros, of the session's hash. */
export function policyDigestClear(session: SESSION): void {
  memory.fill(session.u2.buffer, 0, session.u2.size);
}

/** The argument hash of PolicyNV and its like: H(operandB || offset || operation). More may be added before `argumentsEnd`. */
export function argumentsBegin(session: SESSION, operandB: TPM2B, offset: u32, operation: u32): void {
  cryptHashStart(WORK, session.authHashAlg);
  cryptHashUpdate2B(WORK, operandB);
  cryptHashUpdateInt(WORK, 2, offset);
  cryptHashUpdateInt(WORK, 2, operation);
}
export function argumentsEnd(): TPM2B {
  const digest = changetype<TPM2B>(ARGUMENTS);
  cryptHashEnd2B(WORK, digest);
  return digest;
}

/** PolicyUpdate() of Part 3, 23.2.3; without `ref` there is no second hash. A timeout of 0 is none. */
export function policyContextUpdate(
  commandCode: u32,
  name: TPM2B,
  ref: TPM2B | null,
  cpHash: TPM2B | null,
  timeout: u64,
  session: SESSION,
): void {
  policyBegin(session, commandCode);
  policyAdd2B(name);
  policyEnd(session);
  if (ref != null) {
    cryptHashStart(WORK, session.authHashAlg);
    cryptHashUpdate2B(WORK, session.u2);
    cryptHashUpdate2B(WORK, ref);
    policyEnd(session);
  }
  if (cpHash != null && cpHash.size != 0) {
    copy2B(session.u1, cpHash);
    session.attributes |= SESSION_IS_CP_HASH_DEFINED;
  }
  if (timeout != 0 && (session.timeout == 0 || session.timeout > timeout)) session.timeout = timeout;
}

/** When an authorization expires, in milliseconds of TPM time: after the session's start, or, without nonce, at that Time. */
export function computeAuthTimeout(session: SESSION, expiration: i32, nonce: TPM2B): u64 {
  if (expiration == 0) return 0;
  // The magnitude of -2^31 does not fit; it is taken for one less.
  const seconds: u64 = expiration == i32.MIN_VALUE ? 0x7fffffff : <u64>abs(expiration);
  return nonce.size == 0 ? seconds * 1000 + (g.time % 1000) : session.startTime + seconds * 1000;
}

/** PolicyParameterChecks() of Part 3, 23.2.2. `blame…` are the parameters' response code offsets. */
export function policyParameterChecks(
  session: SESSION,
  timeout: u64,
  cpHashA: TPM2B,
  nonce: TPM2B | null,
  blameNonce: u32,
  blameCpHash: u32,
  blameExpiration: u32,
): u32 {
  if (nonce != null && nonce.size != 0 && !equal2B(nonce, session.nonceTPM)) return TPM_RC_NONCE + blameNonce;
  if (timeout != 0 && (timeout < g.time || session.epoch != gp.timeEpoch)) return TPM_RC_EXPIRED + blameExpiration;
  if (cpHashA.size != 0) {
    if (cpHashA.size != session.u2.size) return TPM_RC_SIZE + blameCpHash;
    if (session.u1.size != 0 && !equal2B(cpHashA, session.u1)) return TPM_RC_CPHASH;
  }
  return 0;
}

/** Compares `size` bytes of operand A with operand B (TPM_EO). */
export function policyConditionHolds(operation: u32, a: usize, b: usize, size: u32): bool {
  switch (operation) {
    case TPM_EO_EQ:
      return memory.compare(a, b, size) == 0;
    case TPM_EO_NEQ:
      return memory.compare(a, b, size) != 0;
    case TPM_EO_SIGNED_GT:
      return compareSigned(a, b, size) > 0;
    case TPM_EO_UNSIGNED_GT:
      return memory.compare(a, b, size) > 0;
    case TPM_EO_SIGNED_LT:
      return compareSigned(a, b, size) < 0;
    case TPM_EO_UNSIGNED_LT:
      return memory.compare(a, b, size) < 0;
    case TPM_EO_SIGNED_GE:
      return compareSigned(a, b, size) >= 0;
    case TPM_EO_UNSIGNED_GE:
      return memory.compare(a, b, size) >= 0;
    case TPM_EO_SIGNED_LE:
      return compareSigned(a, b, size) <= 0;
    case TPM_EO_UNSIGNED_LE:
      return memory.compare(a, b, size) <= 0;
    case TPM_EO_BITSET:
      for (let i: u32 = 0; i < size; i++) if ((load<u8>(a + i) & load<u8>(b + i)) != load<u8>(b + i)) return false;
      return true;
    case TPM_EO_BITCLEAR:
      for (let i: u32 = 0; i < size; i++) if ((load<u8>(a + i) & load<u8>(b + i)) != 0) return false;
      return true;
  }
  return false;
}

/** Two's complement: with equal signs the unsigned order is the signed one. */
function compareSigned(a: usize, b: usize, size: u32): i32 {
  if (size == 0) return 0;
  if ((load<u8>(a) ^ load<u8>(b)) & 0x80) return load<u8>(a) & 0x80 ? -1 : 1;
  return memory.compare(a, b, size);
}
