// Part 3, 23: enhanced authorization. Each command extends a policy session's digest after its condition was met; in a trial
// session the digest is extended whatever the condition says.
import {
  capAlgorithms,
  capAuthPolicies,
  capCommandList,
  capCommands,
  capEccCurves,
  capPcrHandles,
  capPcrProperties,
  capPermanentHandles,
  capTpmProperties,
} from "../capabilities";
import { timeFillInfo } from "../clock";
import { UNIMPLEMENTED_COMMAND_INDEX, commandIndexOf } from "../command-attributes";
import {
  TPM2B,
  copy2B,
  equal2B,
  inputAt,
  inputLeft,
  loadBE16,
  loadBE64,
  marshalU16,
  marshalU32,
  outputAt,
  setInput,
  setOutput,
  storeBE64,
} from "../cursor";
import { g, gp, gr } from "../data";
import { entityHierarchy, entityName } from "../entity";
import {
  HASH_COUNT,
  PCR_SELECT_MAX,
  SIZEOF_TPMT_HA,
  SIZEOF_TPMU_NAME,
  TPM_CAP_ACT,
  TPM_CAP_ALGS,
  TPM_CAP_AUDIT_COMMANDS,
  TPM_CAP_AUTH_POLICIES,
  TPM_CAP_COMMANDS,
  TPM_CAP_ECC_CURVES,
  TPM_CAP_HANDLES,
  TPM_CAP_PCR_PROPERTIES,
  TPM_CAP_PP_COMMANDS,
  TPM_CAP_TPM_PROPERTIES,
  TPM_CC_Duplicate,
  TPM_CC_PolicyAuthValue,
  TPM_CC_PolicyAuthorize,
  TPM_CC_PolicyAuthorizeNV,
  TPM_CC_PolicyCapability,
  TPM_CC_PolicyCommandCode,
  TPM_CC_PolicyCounterTimer,
  TPM_CC_PolicyCpHash,
  TPM_CC_PolicyDuplicationSelect,
  TPM_CC_PolicyLocality,
  TPM_CC_PolicyNV,
  TPM_CC_PolicyNameHash,
  TPM_CC_PolicyNvWritten,
  TPM_CC_PolicyOR,
  TPM_CC_PolicyPCR,
  TPM_CC_PolicyParameters,
  TPM_CC_PolicyPhysicalPresence,
  TPM_CC_PolicySecret,
  TPM_CC_PolicySigned,
  TPM_CC_PolicyTemplate,
  TPM_EO_NEQ,
  TPM_HT_LOADED_SESSION,
  TPM_HT_NV_INDEX,
  TPM_HT_PCR,
  TPM_HT_PERMANENT,
  TPM_HT_PERSISTENT,
  TPM_HT_SAVED_SESSION,
  TPM_HT_TRANSIENT,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_4,
  TPM_RC_5,
  TPM_RC_ATTRIBUTES,
  TPM_RC_COMMAND_CODE,
  TPM_RC_CPHASH,
  TPM_RC_H,
  TPM_RC_HANDLE,
  TPM_RC_HASH,
  TPM_RC_P,
  TPM_RC_PCR_CHANGED,
  TPM_RC_POLICY,
  TPM_RC_POLICY_CC,
  TPM_RC_RANGE,
  TPM_RC_SIZE,
  TPM_RC_TICKET,
  TPM_RC_VALUE,
  TPM_RH_ACT_0,
  TPM_RH_ACT_F,
  TPM_RH_NULL,
  TPM_ST_AUTH_SECRET,
  TPM_ST_AUTH_SIGNED,
} from "../generated/constants";
import { SESSION } from "../generated/engine-records";
import {
  PolicyAuthValue_In,
  PolicyAuthorizeNV_In,
  PolicyAuthorize_In,
  PolicyCapability_In,
  PolicyCommandCode_In,
  PolicyCounterTimer_In,
  PolicyCpHash_In,
  PolicyDuplicationSelect_In,
  PolicyGetDigest_In,
  PolicyGetDigest_Out,
  PolicyLocality_In,
  PolicyNV_In,
  PolicyNameHash_In,
  PolicyNvWritten_In,
  PolicyOR_In,
  PolicyPCR_In,
  PolicyParameters_In,
  PolicyPassword_In,
  PolicyPhysicalPresence_In,
  PolicySecret_In,
  PolicySecret_Out,
  PolicyTemplate_In,
  PolicyTicket_In,
} from "../generated/records";
import {
  SIZEOF_TPMS_TIME_INFO_RECORD,
  SIZEOF_TPMT_HA_RECORD,
  SIZEOF_TPMT_TK_VERIFIED_RECORD,
  SIZEOF_TPMU_CAPABILITIES_RECORD,
  TPMS_TIME_INFO,
  TPMT_HA,
  TPMT_TK_AUTH,
  TPMT_TK_VERIFIED,
  TPMU_CAPABILITIES,
  marshal_TPML_PCR_SELECTION,
  marshal_TPMS_ALG_PROPERTY,
  marshal_TPMS_TAGGED_PCR_SELECT,
  marshal_TPMS_TAGGED_POLICY,
  marshal_TPMS_TAGGED_PROPERTY,
  marshal_TPMS_TIME_INFO,
  unmarshal_TPMT_HA,
} from "../generated/structures";
import { handleType } from "../handles";
import { HASH_RECORD_SIZE, cryptHashEnd2B, cryptHashStart, cryptHashUpdate2B, digestSizeOf } from "../hash";
import { NvEntry } from "../nv-memory";
import { isNvPinPass, nvAttributes, nvCapGetHandles, nvData, nvIndexEntry } from "../nv";
import { nvReadAccessChecks } from "../nv-access";
import { objectCapGetLoaded } from "../object";
import { pcrComputeCurrentDigest } from "../pcr";
import {
  argumentsBegin,
  argumentsEnd,
  computeAuthTimeout,
  isTrial,
  policyAdd,
  policyAdd2B,
  policyAddInt,
  policyBegin,
  policyConditionHolds,
  policyContextUpdate,
  policyDigestClear,
  policyEnd,
  policyParameterChecks,
} from "../policy";
import { profile } from "../profile";
import {
  SESSION_CHECK_NV_WRITTEN,
  SESSION_IS_AUTH_VALUE_NEEDED,
  SESSION_IS_CP_HASH_DEFINED,
  SESSION_IS_NAME_HASH_DEFINED,
  SESSION_IS_PARAMETERS_HASH_DEFINED,
  SESSION_IS_PASSWORD_NEEDED,
  SESSION_IS_PP_REQUIRED,
  SESSION_IS_TEMPLATE_HASH_DEFINED,
  SESSION_NV_WRITTEN_STATE,
  isCpHashUnionOccupied,
  sessionCapGetHandles,
  sessionGet,
} from "../session";
import { ticketComputeAuth, ticketComputeVerified } from "../tickets";

/** Marks, in a timeout as the caller gets it, an authorization that ends with the next TPM Reset. */
const EXPIRES_ON_RESET: u64 = 0x8000000000000000;

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);
const DIGEST: usize = memory.data(2 + 64, 8);
const NAME: usize = memory.data(2 + SIZEOF_TPMU_NAME, 8);
const TICKET: usize = memory.data(SIZEOF_TPMT_TK_VERIFIED_RECORD, 16);
const SELECTION: usize = memory.data(4 + HASH_COUNT * (2 + 1 + PCR_SELECT_MAX), 8);

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

export function PolicyOR(input: PolicyOR_In): u32 {
  const session = sessionGet(input.policySession);
  const count = input.pHashList.count;
  let found = isTrial(session) && count != 0;
  for (let i: u32 = 0; i < count && !found; i++) found = equal2B(session.u2, input.pHashList.digests(i));
  if (!found) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
  policyDigestClear(session);
  policyBegin(session, TPM_CC_PolicyOR);
  for (let i: u32 = 0; i < count; i++) policyAdd2B(input.pHashList.digests(i));
  policyEnd(session);
  return 0;
}

export function PolicyPCR(input: PolicyPCR_In): u32 {
  const session = sessionGet(input.policySession);
  let digest = changetype<TPM2B>(DIGEST);
  pcrComputeCurrentDigest(session.authHashAlg, input.pcrs, digest);
  const given = input.pcrDigest;
  if (isTrial(session)) {
    if (given.size != 0) digest = given;
  } else {
    if (session.pcrCounter != 0 && session.pcrCounter != gr.pcrCounter) return TPM_RC_PCR_CHANGED;
    if (given.size != 0 && !equal2B(given, digest)) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
  }
  policyBegin(session, TPM_CC_PolicyPCR);
  setOutput(SELECTION);
  marshal_TPML_PCR_SELECTION(changetype<usize>(input.pcrs));
  policyAdd(SELECTION, <u32>(outputAt() - SELECTION));
  policyAdd2B(digest);
  policyEnd(session);
  if (!isTrial(session)) session.pcrCounter = gr.pcrCounter;
  return 0;
}

export function PolicyLocality(input: PolicyLocality_In): u32 {
  const session = sessionGet(input.policySession);
  const wanted: u32 = input.locality;
  let allowed: u32 = session.commandLocality;
  const error: u32 = TPM_RC_RANGE + TPM_RC_P + TPM_RC_1;
  if (wanted == 0) return error;
  // Localities 0-4 are a bit map, the extended ones numbers: one policy names either.
  if (allowed != 0 && allowed < 32 != wanted < 32) return error;
  if (wanted < 32) {
    allowed = (allowed == 0 ? 0x1f : allowed) & wanted;
    if (allowed == 0) return error;
  } else {
    if (allowed != 0 && allowed != wanted) return error;
    allowed = wanted;
  }
  policyBegin(session, TPM_CC_PolicyLocality);
  policyAddInt(1, wanted);
  policyEnd(session);
  session.commandLocality = allowed;
  return 0;
}

export function PolicyNV(input: PolicyNV_In): u32 {
  const session = sessionGet(input.policySession);
  const operandB = input.operandB;
  const offset: u32 = input.offset;
  if (!isTrial(session)) {
    const entry = changetype<NvEntry>(nvIndexEntry(input.nvIndex));
    const rc = nvReadAccessChecks(input.authHandle, input.nvIndex, nvAttributes(entry));
    if (rc) return rc;
    const size: u32 = entry.index.publicArea.dataSize;
    if (offset > size) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
    if (size - offset < operandB.size) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
    if (!policyConditionHolds(input.operation, nvData(entry) + offset, operandB.buffer, operandB.size))
      return TPM_RC_POLICY;
  }
  argumentsBegin(session, operandB, offset, input.operation);
  const digest = argumentsEnd();
  const name = changetype<TPM2B>(NAME);
  entityName(input.nvIndex, name);
  policyBegin(session, TPM_CC_PolicyNV);
  policyAdd2B(digest);
  policyAdd2B(name);
  policyEnd(session);
  return 0;
}

const TIME_INFO: usize = memory.data(SIZEOF_TPMS_TIME_INFO_RECORD, 16);
const TIME_BYTES: usize = memory.data(32, 8);

export function PolicyCounterTimer(input: PolicyCounterTimer_In): u32 {
  const info = changetype<TPMS_TIME_INFO>(TIME_INFO);
  info.time = g.time;
  timeFillInfo(info.clockInfo);
  setOutput(TIME_BYTES);
  marshal_TPMS_TIME_INFO(TIME_INFO);
  const size = <u32>(outputAt() - TIME_BYTES);
  const operandB = input.operandB;
  const offset: u32 = input.offset;
  if (offset > size) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
  if (offset + operandB.size > size) return TPM_RC_RANGE;
  const session = sessionGet(input.policySession);
  if (!isTrial(session) && !policyConditionHolds(input.operation, TIME_BYTES + offset, operandB.buffer, operandB.size))
    return TPM_RC_POLICY;
  argumentsBegin(session, operandB, offset, input.operation);
  const digest = argumentsEnd();
  policyBegin(session, TPM_CC_PolicyCounterTimer);
  policyAdd2B(digest);
  policyEnd(session);
  return 0;
}

export function PolicyCommandCode(input: PolicyCommandCode_In): u32 {
  const session = sessionGet(input.policySession);
  const code = input.code;
  if (session.commandCode != 0 && session.commandCode != code) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
  if (commandIndexOf(code) == UNIMPLEMENTED_COMMAND_INDEX) return TPM_RC_POLICY_CC + TPM_RC_P + TPM_RC_1;
  policyBegin(session, TPM_CC_PolicyCommandCode);
  policyAddInt(4, code);
  policyEnd(session);
  session.commandCode = code;
  return 0;
}

export function PolicyPhysicalPresence(input: PolicyPhysicalPresence_In): u32 {
  const session = sessionGet(input.policySession);
  policyBegin(session, TPM_CC_PolicyPhysicalPresence);
  policyEnd(session);
  session.attributes |= SESSION_IS_PP_REQUIRED;
  return 0;
}

/** Binds the session to a digest of what it will authorize; the digest takes the place that `attribute` names. */
function bindToHash(session: SESSION, commandCode: u32, digest: TPM2B, attribute: u32): void {
  policyBegin(session, commandCode);
  policyAdd2B(digest);
  policyEnd(session);
  copy2B(session.u1, digest);
  session.attributes |= attribute;
}

/** Before StateFormatLevel 4 a nameHash had no flag of its own (libtpms). */
function nameHashAttribute(): u32 {
  return profile.stateFormatLevel >= 4 ? SESSION_IS_NAME_HASH_DEFINED : 0;
}

export function PolicyCpHash(input: PolicyCpHash_In): u32 {
  const session = sessionGet(input.policySession);
  if (input.cpHashA.size != digestSizeOf(session.authHashAlg)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  if (isTakenByOther(session, SESSION_IS_CP_HASH_DEFINED, input.cpHashA)) return TPM_RC_CPHASH;
  bindToHash(session, TPM_CC_PolicyCpHash, input.cpHashA, SESSION_IS_CP_HASH_DEFINED);
  return 0;
}

/** The place is taken by another kind of digest, or by another value of this kind. */
function isTakenByOther(session: SESSION, attribute: u32, digest: TPM2B): bool {
  if (!isCpHashUnionOccupied(session)) return false;
  return (session.attributes & attribute) == 0 || !equal2B(digest, session.u1);
}

export function PolicyNameHash(input: PolicyNameHash_In): u32 {
  const session = sessionGet(input.policySession);
  if (input.nameHash.size != digestSizeOf(session.authHashAlg)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  if (isCpHashUnionOccupied(session)) return TPM_RC_CPHASH;
  bindToHash(session, TPM_CC_PolicyNameHash, input.nameHash, nameHashAttribute());
  return 0;
}

export function PolicyTemplate(input: PolicyTemplate_In): u32 {
  const session = sessionGet(input.policySession);
  if (isTakenByOther(session, SESSION_IS_TEMPLATE_HASH_DEFINED, input.templateHash)) return TPM_RC_CPHASH;
  if (input.templateHash.size != digestSizeOf(session.authHashAlg)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  bindToHash(session, TPM_CC_PolicyTemplate, input.templateHash, SESSION_IS_TEMPLATE_HASH_DEFINED);
  return 0;
}

export function PolicyParameters(input: PolicyParameters_In): u32 {
  const session = sessionGet(input.policySession);
  if (input.pHash.size != digestSizeOf(session.authHashAlg)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  if (isCpHashUnionOccupied(session)) return TPM_RC_CPHASH;
  bindToHash(session, TPM_CC_PolicyParameters, input.pHash, SESSION_IS_PARAMETERS_HASH_DEFINED);
  return 0;
}

export function PolicyDuplicationSelect(input: PolicyDuplicationSelect_In): u32 {
  const session = sessionGet(input.policySession);
  if (session.u1.size != 0) return TPM_RC_CPHASH;
  if (session.commandCode != 0) return TPM_RC_COMMAND_CODE;
  cryptHashStart(WORK, session.authHashAlg);
  cryptHashUpdate2B(WORK, input.objectName);
  cryptHashUpdate2B(WORK, input.newParentName);
  cryptHashEnd2B(WORK, session.u1);
  session.attributes |= nameHashAttribute();
  policyBegin(session, TPM_CC_PolicyDuplicationSelect);
  if (input.includeObject) policyAdd2B(input.objectName);
  policyAdd2B(input.newParentName);
  policyAddInt(1, input.includeObject);
  policyEnd(session);
  session.commandCode = TPM_CC_Duplicate;
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

export function PolicyAuthValue(input: PolicyAuthValue_In): u32 {
  needAuth(sessionGet(input.policySession), SESSION_IS_AUTH_VALUE_NEEDED);
  return 0;
}

export function PolicyPassword(input: PolicyPassword_In): u32 {
  needAuth(sessionGet(input.policySession), SESSION_IS_PASSWORD_NEEDED);
  return 0;
}

/** Both assertions have one command code in the digest: how the authValue is given does not matter to the policy. */
function needAuth(session: SESSION, attribute: u32): void {
  policyBegin(session, TPM_CC_PolicyAuthValue);
  policyEnd(session);
  session.attributes = (session.attributes & ~(SESSION_IS_AUTH_VALUE_NEEDED | SESSION_IS_PASSWORD_NEEDED)) | attribute;
}

export function PolicyGetDigest(input: PolicyGetDigest_In, output: PolicyGetDigest_Out): u32 {
  copy2B(output.policyDigest, sessionGet(input.policySession).u2);
  return 0;
}

export function PolicyNvWritten(input: PolicyNvWritten_In): u32 {
  const session = sessionGet(input.policySession);
  const state = input.writtenSet ? SESSION_NV_WRITTEN_STATE : 0;
  if (session.attributes & SESSION_CHECK_NV_WRITTEN && (session.attributes & SESSION_NV_WRITTEN_STATE) != state)
    return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
  session.attributes = (session.attributes & ~SESSION_NV_WRITTEN_STATE) | SESSION_CHECK_NV_WRITTEN | state;
  policyBegin(session, TPM_CC_PolicyNvWritten);
  policyAddInt(1, input.writtenSet);
  policyEnd(session);
  return 0;
}

const CAPABILITY: usize = memory.data(SIZEOF_TPMU_CAPABILITIES_RECORD, 16);
const CAPABILITY_BYTES: usize = memory.data(128, 8);

export function PolicyCapability(input: PolicyCapability_In): u32 {
  const session = sessionGet(input.policySession);
  const operandB = input.operandB;
  const offset: u32 = input.offset;
  if (!isTrial(session)) {
    setOutput(CAPABILITY_BYTES);
    const rc = marshalCapability(input.capability, input.property);
    if (rc) return rc;
    const size = <u32>(outputAt() - CAPABILITY_BYTES);
    if (size == 0) {
      // What is not there differs from everything, and compares in no other way.
      if (input.operation != TPM_EO_NEQ) return TPM_RC_POLICY;
    } else {
      if (offset > size) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
      if (size - offset < operandB.size) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
      if (!policyConditionHolds(input.operation, CAPABILITY_BYTES + offset, operandB.buffer, operandB.size))
        return TPM_RC_POLICY;
    }
  }
  argumentsBegin(session, operandB, offset, input.operation);
  policyAddInt(4, input.capability);
  policyAddInt(4, input.property);
  const digest = argumentsEnd();
  policyBegin(session, TPM_CC_PolicyCapability);
  policyAdd2B(digest);
  policyEnd(session);
  return 0;
}

/** Marshals the one property, if it is there: the first one from `property` on, when it is that one. */
function marshalCapability(capability: u32, property: u32): u32 {
  const data = changetype<TPMU_CAPABILITIES>(CAPABILITY);
  switch (capability) {
    case TPM_CAP_ALGS: {
      const list = data.algorithms;
      capAlgorithms(property & 0xffff, 1, list);
      if (list.count == 1 && list.algProperties(0).alg == (property & 0xffff))
        marshal_TPMS_ALG_PROPERTY(changetype<usize>(list.algProperties(0)));
      return 0;
    }
    case TPM_CAP_HANDLES:
      return marshalHandle(property, data);
    case TPM_CAP_COMMANDS: {
      const list = data.command;
      capCommands(property, 1, list);
      if (list.count == 1 && (list.commandAttributes(0) & 0xffff) == property) marshalU32(list.commandAttributes(0));
      return 0;
    }
    case TPM_CAP_PP_COMMANDS:
    case TPM_CAP_AUDIT_COMMANDS: {
      const list = data.ppCommands;
      capCommandList(capability == TPM_CAP_PP_COMMANDS ? gp.ppList : gp.auditCommands, property, 1, list);
      if (list.count == 1 && list.commandCodes(0) == property) marshalU32(property);
      return 0;
    }
    case TPM_CAP_PCR_PROPERTIES: {
      const list = data.pcrProperties;
      capPcrProperties(property, 1, list);
      if (list.count == 1 && list.pcrProperty(0).tag == property)
        marshal_TPMS_TAGGED_PCR_SELECT(changetype<usize>(list.pcrProperty(0)));
      return 0;
    }
    case TPM_CAP_TPM_PROPERTIES: {
      const list = data.tpmProperties;
      capTpmProperties(property, 1, list);
      if (list.count == 1 && list.tpmProperty(0).property == property)
        marshal_TPMS_TAGGED_PROPERTY(changetype<usize>(list.tpmProperty(0)));
      return 0;
    }
    case TPM_CAP_ECC_CURVES: {
      const list = data.eccCurves;
      capEccCurves(property & 0xffff, 1, list);
      if (list.count == 1 && list.eccCurves(0) == (property & 0xffff)) marshalU16(property);
      return 0;
    }
    case TPM_CAP_AUTH_POLICIES: {
      if (handleType(property) != TPM_HT_PERMANENT) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_5;
      const list = data.authPolicies;
      capAuthPolicies(property, 1, list);
      if (list.count == 1 && list.policies(0).handle == property)
        marshal_TPMS_TAGGED_POLICY(changetype<usize>(list.policies(0)));
      return 0;
    }
    case TPM_CAP_ACT:
      return property < TPM_RH_ACT_0 || property > TPM_RH_ACT_F ? TPM_RC_VALUE + TPM_RC_P + TPM_RC_5 : 0;
  }
  return TPM_RC_VALUE + TPM_RC_P + TPM_RC_4;
}

function marshalHandle(handle: u32, data: TPMU_CAPABILITIES): u32 {
  const list = data.handles;
  switch (handleType(handle)) {
    case TPM_HT_TRANSIENT:
      objectCapGetLoaded(handle, 1, list);
      break;
    case TPM_HT_PERSISTENT:
    case TPM_HT_NV_INDEX:
      nvCapGetHandles(handle, 1, list);
      break;
    case TPM_HT_LOADED_SESSION:
      sessionCapGetHandles(handle, 1, list, false);
      break;
    case TPM_HT_SAVED_SESSION:
      sessionCapGetHandles(handle, 1, list, true);
      break;
    case TPM_HT_PCR:
      capPcrHandles(handle, 1, list);
      break;
    case TPM_HT_PERMANENT:
      capPermanentHandles(handle, 1, list);
      break;
    default:
      return TPM_RC_HANDLE + TPM_RC_P + TPM_RC_5;
  }
  if (list.count == 1 && list.handle(0) == handle) marshalU32(handle);
  return 0;
}
