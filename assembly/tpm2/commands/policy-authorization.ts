// Part 3, 23: policy assertions that somebody authorized: by a signature, a secret, a ticket for either, an approved policy.
import { cryptGetSignHashAlg, cryptValidateSignature } from "../crypt-sign";
import { TPM2B, equal2B, inputAt, inputLeft, loadBE16, loadBE64, setInput, storeBE64 } from "../cursor";
import { entityHierarchy, entityName } from "../entity";
import {
  SIZEOF_TPMT_HA,
  SIZEOF_TPMU_NAME,
  TPM_CC_PolicyAuthorize,
  TPM_CC_PolicyAuthorizeNV,
  TPM_CC_PolicySecret,
  TPM_CC_PolicySigned,
  TPM_HT_NV_INDEX,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_4,
  TPM_RC_5,
  TPM_RC_ATTRIBUTES,
  TPM_RC_H,
  TPM_RC_HASH,
  TPM_RC_P,
  TPM_RC_SCHEME,
  TPM_RC_SIZE,
  TPM_RC_TICKET,
  TPM_RC_VALUE,
  TPM_RH_NULL,
  TPM_ST_AUTH_SECRET,
  TPM_ST_AUTH_SIGNED,
} from "../generated/constants";
import {
  PolicyAuthorizeNV_In,
  PolicyAuthorize_In,
  PolicySecret_In,
  PolicySecret_Out,
  PolicySigned_In,
  PolicySigned_Out,
  PolicyTicket_In,
} from "../generated/records";
import {
  SIZEOF_TPMT_HA_RECORD,
  SIZEOF_TPMT_TK_VERIFIED_RECORD,
  TPMT_HA,
  TPMT_TK_AUTH,
  TPMT_TK_VERIFIED,
  unmarshal_TPMT_HA,
} from "../generated/structures";
import { handleType } from "../handles";
import {
  HASH_RECORD_SIZE,
  cryptHashEnd2B,
  cryptHashStart,
  cryptHashUpdate2B,
  cryptHashUpdateInt,
  digestSizeOf,
} from "../hash";
import { NvEntry } from "../nv-memory";
import { isNvPinPass, nvAttributes, nvData, nvIndexEntry } from "../nv";
import { nvReadAccessChecks } from "../nv-access";
import { loadedObject } from "../object";
import { computeAuthTimeout, isTrial, policyContextUpdate, policyDigestClear, policyParameterChecks } from "../policy";
import { addIndex } from "../response-code";
import { sessionGet } from "../session";
import { ticketComputeAuth, ticketComputeVerified } from "../tickets";

/** Marks, in a timeout as the caller gets it, an authorization that ends with the next TPM Reset. */
const EXPIRES_ON_RESET: u64 = 0x8000000000000000;
const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);
const DIGEST: usize = memory.data(2 + 64, 8);
const NAME: usize = memory.data(2 + SIZEOF_TPMU_NAME, 8);
const TICKET: usize = memory.data(SIZEOF_TPMT_TK_VERIFIED_RECORD, 16);

/** Ticket and timeout of an authorization that may be used again; an empty ticket unless `wanted`. */
function policyTicket(
  type: u32,
  entity: u32,
  wanted: bool,
  timeout: u64,
  nonce: TPM2B,
  cpHashA: TPM2B,
  policyRef: TPM2B,
  name: TPM2B,
  timeoutOut: TPM2B,
  ticket: TPMT_TK_AUTH,
): void {
  if (!wanted) {
    timeoutOut.size = 0;
    ticket.tag = type;
    ticket.hierarchy = TPM_RH_NULL;
    ticket.digest.size = 0;
    return;
  }
  const expiresOnReset = nonce.size == 0;
  timeout &= ~EXPIRES_ON_RESET;
  ticketComputeAuth(type, entityHierarchy(entity), timeout, expiresOnReset, cpHashA, policyRef, name, ticket);
  timeoutOut.size = 8;
  storeBE64(timeoutOut.buffer, expiresOnReset ? timeout | EXPIRES_ON_RESET : timeout);
}

export function PolicySigned(input: PolicySigned_In, output: PolicySigned_Out): u32 {
  const session = sessionGet(input.policySession);
  const trial = isTrial(session);
  let timeout: u64 = 0;
  if (!trial) {
    timeout = computeAuthTimeout(session, input.expiration, input.nonceTPM);
    const rc = policyParameterChecks(
      session,
      timeout,
      input.cpHashA,
      input.nonceTPM,
      TPM_RC_P + TPM_RC_1,
      TPM_RC_P + TPM_RC_2,
      TPM_RC_P + TPM_RC_4,
    );
    if (rc) return rc;
    const digest = changetype<TPM2B>(DIGEST);
    // ECDAA does not say its hash, so there is nothing that it could have signed.
    if (cryptHashStart(WORK, cryptGetSignHashAlg(input.auth)) == 0) return TPM_RC_SCHEME + TPM_RC_P + TPM_RC_5;
    cryptHashUpdate2B(WORK, input.nonceTPM);
    cryptHashUpdateInt(WORK, 4, input.expiration);
    cryptHashUpdate2B(WORK, input.cpHashA);
    cryptHashUpdate2B(WORK, input.policyRef);
    cryptHashEnd2B(WORK, digest);
    const result = cryptValidateSignature(loadedObject(input.authObject), digest, input.auth);
    if (result) return addIndex(result, TPM_RC_P + TPM_RC_5);
  }
  const name = changetype<TPM2B>(NAME);
  entityName(input.authObject, name);
  policyContextUpdate(TPM_CC_PolicySigned, name, input.policyRef, input.cpHashA, timeout, session);
  policyTicket(
    TPM_ST_AUTH_SIGNED,
    input.authObject,
    input.expiration < 0 && !trial,
    timeout,
    input.nonceTPM,
    input.cpHashA,
    input.policyRef,
    name,
    output.timeout,
    output.policyTicket,
  );
  return 0;
}

export function PolicySecret(input: PolicySecret_In, output: PolicySecret_Out): u32 {
  const session = sessionGet(input.policySession);
  const trial = isTrial(session);
  let timeout: u64 = 0;
  if (!trial) {
    timeout = computeAuthTimeout(session, input.expiration, input.nonceTPM);
    const rc = policyParameterChecks(
      session,
      timeout,
      input.cpHashA,
      input.nonceTPM,
      TPM_RC_P + TPM_RC_1,
      TPM_RC_P + TPM_RC_2,
      TPM_RC_P + TPM_RC_4,
    );
    if (rc) return rc;
  }
  const name = changetype<TPM2B>(NAME);
  entityName(input.authHandle, name);
  policyContextUpdate(TPM_CC_PolicySecret, name, input.policyRef, input.cpHashA, timeout, session);
  policyTicket(
    TPM_ST_AUTH_SECRET,
    input.authHandle,
    input.expiration < 0 && !trial && !isPinPassIndex(input.authHandle),
    timeout,
    input.nonceTPM,
    input.cpHashA,
    input.policyRef,
    name,
    output.timeout,
    output.policyTicket,
  );
  return 0;
}

/** Each use of a PIN Pass index counts, so there is no ticket for it. */
function isPinPassIndex(handle: u32): bool {
  if (handleType(handle) != TPM_HT_NV_INDEX) return false;
  const entry = nvIndexEntry(handle);
  return entry != null && isNvPinPass(nvAttributes(entry));
}

export function PolicyTicket(input: PolicyTicket_In): u32 {
  const session = sessionGet(input.policySession);
  if (isTrial(session)) return TPM_RC_ATTRIBUTES + TPM_RC_H + TPM_RC_1;
  if (input.timeout.size != 8) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  const given = loadBE64(input.timeout.buffer);
  const expiresOnReset = (given & EXPIRES_ON_RESET) != 0;
  const timeout = given & ~EXPIRES_ON_RESET;
  const rc = policyParameterChecks(session, timeout, input.cpHashA, null, 0, TPM_RC_P + TPM_RC_2, TPM_RC_P + TPM_RC_1);
  if (rc) return rc;
  const ticket = input.ticket;
  const expected = changetype<TPMT_TK_AUTH>(TICKET);
  ticketComputeAuth(
    ticket.tag,
    ticket.hierarchy,
    timeout,
    expiresOnReset,
    input.cpHashA,
    input.policyRef,
    input.authName,
    expected,
  );
  if (!equal2B(ticket.digest, expected.digest)) return TPM_RC_TICKET + TPM_RC_P + TPM_RC_5;
  const code = ticket.tag == TPM_ST_AUTH_SIGNED ? TPM_CC_PolicySigned : TPM_CC_PolicySecret;
  policyContextUpdate(code, input.authName, input.policyRef, input.cpHashA, timeout, session);
  return 0;
}

export function PolicyAuthorize(input: PolicyAuthorize_In): u32 {
  const session = sessionGet(input.policySession);
  const keySign = input.keySign;
  if (keySign.size < 2) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_3;
  const hashAlg = loadBE16(keySign.buffer);
  const digestSize = digestSizeOf(hashAlg);
  if (digestSize == 0) return TPM_RC_HASH + TPM_RC_P + TPM_RC_3;
  if (digestSize != keySign.size - 2) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_3;
  if (!isTrial(session)) {
    if (!equal2B(session.u2, input.approvedPolicy)) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
    const digest = changetype<TPM2B>(DIGEST);
    cryptHashStart(WORK, hashAlg);
    cryptHashUpdate2B(WORK, input.approvedPolicy);
    cryptHashUpdate2B(WORK, input.policyRef);
    cryptHashEnd2B(WORK, digest);
    const expected = changetype<TPMT_TK_VERIFIED>(TICKET);
    ticketComputeVerified(input.checkTicket.hierarchy, digest, keySign, expected);
    if (!equal2B(input.checkTicket.digest, expected.digest)) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_4;
  }
  policyDigestClear(session);
  policyContextUpdate(TPM_CC_PolicyAuthorize, keySign, input.policyRef, null, 0, session);
  return 0;
}

const NV_POLICY: usize = memory.data(SIZEOF_TPMT_HA_RECORD, 8);

export function PolicyAuthorizeNV(input: PolicyAuthorizeNV_In): u32 {
  const session = sessionGet(input.policySession);
  if (!isTrial(session)) {
    const entry = changetype<NvEntry>(nvIndexEntry(input.nvIndex));
    const access = nvReadAccessChecks(input.authHandle, input.nvIndex, nvAttributes(entry));
    if (access) return access;
    const rc = readPolicy(nvData(entry), min(entry.index.publicArea.dataSize, SIZEOF_TPMT_HA));
    if (rc) return rc;
    const stored = changetype<TPMT_HA>(NV_POLICY);
    if (stored.hashAlg != session.authHashAlg) return TPM_RC_HASH;
    if (memory.compare(stored.digest.buffer, session.u2.buffer, session.u2.size) != 0) return TPM_RC_VALUE;
  }
  const name = changetype<TPM2B>(NAME);
  entityName(input.nvIndex, name);
  policyDigestClear(session);
  policyContextUpdate(TPM_CC_PolicyAuthorizeNV, name, null, null, 0, session);
  return 0;
}

/** Reads a TPMT_HA from an index; the command's own input position stays as it is. */
function readPolicy(at: usize, size: u32): u32 {
  const before = inputAt();
  const left = inputLeft();
  setInput(at, size);
  const rc = unmarshal_TPMT_HA(NV_POLICY, false);
  setInput(before, left);
  return rc;
}
