// Tickets (Part 1, 11.4.6.3 and Part 2, 10.7): HMACs with a hierarchy's proof that the TPM gives itself.
import { TPM2B, loadBE32 } from "./cursor";
import { gp } from "./data";
import {
  TPM_ALG_SHA512,
  TPM_GENERATED_VALUE,
  TPM_ST_CREATION,
  TPM_ST_HASHCHECK,
  TPM_ST_VERIFIED,
} from "./generated/constants";
import { TPMT_TK_AUTH, TPMT_TK_CREATION, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED } from "./generated/structures";
import { HASH_RECORD_SIZE, cryptHmacEnd2B, cryptHmacStart, cryptHmacUpdate2B, cryptHmacUpdateInt } from "./hash";
import { hierarchyProof } from "./hierarchy";

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/** The hash behind tickets and contexts. */
export const CONTEXT_INTEGRITY_HASH_ALG: u32 = TPM_ALG_SHA512;

function begin(hierarchy: u32, tag: u32): void {
  const proof = hierarchyProof(hierarchy);
  cryptHmacStart(WORK, CONTEXT_INTEGRITY_HASH_ALG, proof.buffer, proof.size);
  cryptHmacUpdateInt(WORK, 2, tag);
}

/** Data that does not begin as a TPM-made structure does may be signed with a restricted key. */
export function ticketIsSafe(data: TPM2B): bool {
  return data.size >= 4 && loadBE32(data.buffer) != TPM_GENERATED_VALUE;
}

export function ticketComputeVerified(hierarchy: u32, digest: TPM2B, keyName: TPM2B, ticket: TPMT_TK_VERIFIED): void {
  ticket.tag = TPM_ST_VERIFIED;
  ticket.hierarchy = hierarchy;
  begin(hierarchy, TPM_ST_VERIFIED);
  cryptHmacUpdate2B(WORK, digest);
  cryptHmacUpdate2B(WORK, keyName);
  cryptHmacEnd2B(WORK, ticket.digest);
}

/** Ticket of TPM2_PolicySigned and TPM2_PolicySecret; `timeout` in milliseconds of TPM time, 0 without one. */
export function ticketComputeAuth(
  type: u32,
  hierarchy: u32,
  timeout: u64,
  expiresOnReset: bool,
  cpHashA: TPM2B,
  policyRef: TPM2B,
  entityName: TPM2B,
  ticket: TPMT_TK_AUTH,
): void {
  ticket.tag = type;
  ticket.hierarchy = hierarchy;
  begin(hierarchy, type);
  cryptHmacUpdate2B(WORK, cpHashA);
  cryptHmacUpdate2B(WORK, policyRef);
  cryptHmacUpdate2B(WORK, entityName);
  cryptHmacUpdateInt(WORK, 8, timeout);
  if (timeout != 0) {
    cryptHmacUpdateInt(WORK, 4, gp.timeEpoch);
    if (expiresOnReset) cryptHmacUpdateInt(WORK, 8, gp.totalResetCount);
  }
  cryptHmacEnd2B(WORK, ticket.digest);
}

export function ticketComputeHashCheck(hierarchy: u32, hashAlg: u32, digest: TPM2B, ticket: TPMT_TK_HASHCHECK): void {
  ticket.tag = TPM_ST_HASHCHECK;
  ticket.hierarchy = hierarchy;
  begin(hierarchy, TPM_ST_HASHCHECK);
  cryptHmacUpdateInt(WORK, 2, hashAlg);
  cryptHmacUpdate2B(WORK, digest);
  cryptHmacEnd2B(WORK, ticket.digest);
}

export function ticketComputeCreation(hierarchy: u32, name: TPM2B, creation: TPM2B, ticket: TPMT_TK_CREATION): void {
  ticket.tag = TPM_ST_CREATION;
  ticket.hierarchy = hierarchy;
  begin(hierarchy, TPM_ST_CREATION);
  cryptHmacUpdate2B(WORK, name);
  cryptHmacUpdate2B(WORK, creation);
  cryptHmacEnd2B(WORK, ticket.digest);
}
