// Part 3, 23: enhanced authorization. Each command extends a policy session's digest after its condition was met; in a trial
// session the digest is extended whatever the condition says.
import { timeFillInfo } from "../clock";
import { UNIMPLEMENTED_COMMAND_INDEX, commandIndexOf } from "../command-attributes";
import { TPM2B, copy2B, equal2B, outputAt, setOutput } from "../cursor";
import { g, gr } from "../data";
import { entityName } from "../entity";
import {
  HASH_COUNT,
  PCR_SELECT_MAX,
  SIZEOF_TPMU_NAME,
  TPM_CC_Duplicate,
  TPM_CC_PolicyAuthValue,
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
  TPM_CC_PolicyTemplate,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_COMMAND_CODE,
  TPM_RC_CPHASH,
  TPM_RC_P,
  TPM_RC_PCR_CHANGED,
  TPM_RC_POLICY,
  TPM_RC_POLICY_CC,
  TPM_RC_RANGE,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
} from "../generated/constants";
import { SESSION } from "../generated/engine-records";
import {
  PolicyAuthValue_In,
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
  PolicyTemplate_In,
} from "../generated/records";
import {
  SIZEOF_TPMS_TIME_INFO_RECORD,
  TPMS_TIME_INFO,
  marshal_TPML_PCR_SELECTION,
  marshal_TPMS_TIME_INFO,
} from "../generated/structures";
import { HASH_RECORD_SIZE, cryptHashEnd2B, cryptHashStart, cryptHashUpdate2B, digestSizeOf } from "../hash";
import { NvEntry } from "../nv-memory";
import { nvAttributes, nvData, nvIndexEntry } from "../nv";
import { nvReadAccessChecks } from "../nv-access";
import { pcrComputeCurrentDigest } from "../pcr";
import {
  argumentsBegin,
  argumentsEnd,
  isTrial,
  policyAdd,
  policyAdd2B,
  policyAddInt,
  policyBegin,
  policyConditionHolds,
  policyDigestClear,
  policyEnd,
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
  sessionGet,
} from "../session";

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);
const DIGEST: usize = memory.data(2 + 64, 8);
const NAME: usize = memory.data(2 + SIZEOF_TPMU_NAME, 8);
const SELECTION: usize = memory.data(4 + HASH_COUNT * (2 + 1 + PCR_SELECT_MAX), 8);

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
