// The command's side of sessions (Part 1, 18 and 19): the authorization area is parsed, checked in the reference's order, and the first
// parameter decrypted.
import {
  checkLockedOut,
  incrementLockout,
  isAuthPolicyAvailable,
  isAuthValueAvailable,
  isDAExempted,
  isPolicySessionRequired,
} from "./authorization";
import { cryptParameter } from "./cipher";
import {
  UNDEFINED_INDEX,
  associatedHandleAt,
  command,
  inputAuthAt,
  nonceCallerAt,
  sessionAttributesAddress,
  sessionAttributesAt,
  sessionHandleAddress,
  sessionHandleAt,
  setAssociatedHandle,
  setSessionAttributes,
} from "./command";
import { AUTH_NONE, commandAuthRole, decryptSize, encryptSize, sessionsAllowed } from "./command-attributes";
import { commandAuditIsRequired, commandBit } from "./command-audit";
import { computeCpHash } from "./cp-hash";
import { TPM2B, equal2B, inputAt, inputLeft, loadBE16, setInput, unmarshalTPM2B } from "./cursor";
import { g, gp } from "./data";
import { entityAuthValue, removeTrailingZeros } from "./entity";
import {
  MAX_DIGEST_SIZE,
  MAX_SESSION_NUM,
  TPMA_NV_WRITTEN,
  TPMA_SESSION_audit,
  TPMA_SESSION_auditExclusive,
  TPMA_SESSION_auditReset,
  TPMA_SESSION_decrypt,
  TPMA_SESSION_encrypt,
  TPM_ALG_NULL,
  TPM_HT_NV_INDEX,
  TPM_HT_POLICY_SESSION,
  TPM_RC_ATTRIBUTES,
  TPM_RC_AUTH_CONTEXT,
  TPM_RC_AUTH_MISSING,
  TPM_RC_AUTH_TYPE,
  TPM_RC_AUTH_UNAVAILABLE,
  TPM_RC_EXCLUSIVE,
  TPM_RC_HANDLE,
  TPM_RC_INSUFFICIENT,
  TPM_RC_NONCE,
  TPM_RC_PP,
  TPM_RC_REFERENCE_S0,
  TPM_RC_S,
  TPM_RC_SIZE,
  TPM_RC_SYMMETRIC,
  TPM_RH_LOCKOUT,
  TPM_RH_PLATFORM,
  TPM_RH_UNASSIGNED,
  TPM_RS_PW,
} from "./generated/constants";
import { SESSION } from "./generated/engine-records";
import { unmarshal_TPMA_SESSION, unmarshal_TPMI_SH_AUTH_SESSION } from "./generated/structures";
import { handleAt, handleCount, handleType } from "./handles";
import { isNvPinFail, isNvPinPass, nvAttributes, nvGetUint64, nvIndexEntry, nvWriteUint64 } from "./nv";
import { checkPolicyAuthSession } from "./policy-session";
import { addIndex } from "./response-code";
import {
  SESSION_INCLUDE_AUTH,
  SESSION_IS_AUDIT,
  SESSION_IS_AUTH_VALUE_NEEDED,
  SESSION_IS_BOUND,
  SESSION_IS_DA_BOUND,
  SESSION_IS_LOCKOUT_BOUND,
  SESSION_IS_PASSWORD_NEEDED,
  SESSION_IS_POLICY,
  SESSION_IS_TRIAL_POLICY,
  sessionComputeBoundEntity,
  sessionGet,
  sessionIsLoaded,
} from "./session";
import { computeCommandHmac } from "./session-hmac";

const BINARY: usize = memory.data(2 + 68, 8);
const AUTH: usize = memory.data(2 + 64, 8);
const HMAC: usize = memory.data(2 + 64, 8);

@inline
function sessionIndexCode(i: u32): u32 {
  return TPM_RC_S + ((i + 1) << 8);
}

/** Parses, checks and applies the authorization area of `authSize` bytes at the input cursor. */
export function parseSessionBuffer(authSize: u32): u32 {
  if (!sessionsAllowed(command.index)) return TPM_RC_AUTH_CONTEXT;
  let rc = retrieveSessionData(authSize);
  if (rc) return rc;
  for (let i: u32 = 0; i < handleCount(); i++) {
    if (commandAuthRole(command.index, i) == AUTH_NONE) continue;
    if (i >= command.sessionNum) return TPM_RC_AUTH_MISSING;
    setAssociatedHandle(i, handleAt(i));
  }
  for (let i: u32 = 0; i < command.sessionNum; i++) {
    rc = checkSession(i);
    if (rc) return rc;
  }
  rc = checkCommandAudit();
  if (rc) return rc;
  return decryptFirstParameter();
}

/** A command without authorization area: TPM_RC_AUTH_MISSING if it needs one. */
export function checkAuthNoSession(): u32 {
  command.sessionNum = 0;
  command.decryptSession = UNDEFINED_INDEX;
  command.encryptSession = UNDEFINED_INDEX;
  command.auditSession = UNDEFINED_INDEX;
  for (let i: u32 = 0; i < handleCount(); i++) {
    if (commandAuthRole(command.index, i) != AUTH_NONE) return TPM_RC_AUTH_MISSING;
  }
  return checkCommandAudit();
}

function retrieveSessionData(authSize: u32): u32 {
  command.decryptSession = UNDEFINED_INDEX;
  command.encryptSession = UNDEFINED_INDEX;
  command.auditSession = UNDEFINED_INDEX;
  command.sessionNum = 0;
  const parameters = inputAt() + authSize;
  const parameterSize = inputLeft() - authSize;
  setInput(inputAt(), authSize);
  let i: u32 = 0;
  while (inputLeft() > 0) {
    const index = sessionIndexCode(i);
    if (i == MAX_SESSION_NUM) return TPM_RC_SIZE + index;
    setAssociatedHandle(i, TPM_RH_UNASSIGNED);
    let rc = unmarshal_TPMI_SH_AUTH_SESSION(sessionHandleAddress(i), true);
    if (!rc) rc = unmarshalTPM2B(changetype<usize>(nonceCallerAt(i)), MAX_DIGEST_SIZE);
    if (!rc) rc = unmarshalAttributes(i);
    if (!rc) rc = unmarshalTPM2B(changetype<usize>(inputAuthAt(i)), MAX_DIGEST_SIZE);
    if (rc) return rc + index;
    rc = sessionHandleAt(i) == TPM_RS_PW ? checkPasswordAttributes(i) : checkSessionAttributes(i);
    if (rc) return rc;
    i++;
  }
  command.sessionNum = i;
  command.parameters = parameters;
  command.parameterSize = parameterSize;
  setInput(parameters, parameterSize);
  return 0;
}

/** TPMA_SESSION. What has reserved bits is not kept: it would be part of the volatile state, and libtpms refuses it there. */
function unmarshalAttributes(i: u32): u32 {
  const before = sessionAttributesAt(i);
  const rc = unmarshal_TPMA_SESSION(sessionAttributesAddress(i));
  if (rc) setSessionAttributes(i, before);
  return rc;
}

const NOT_FOR_PASSWORD: u32 =
  TPMA_SESSION_encrypt |
  TPMA_SESSION_decrypt |
  TPMA_SESSION_audit |
  TPMA_SESSION_auditExclusive |
  TPMA_SESSION_auditReset;

function checkPasswordAttributes(i: u32): u32 {
  if (sessionAttributesAt(i) & NOT_FOR_PASSWORD) return TPM_RC_ATTRIBUTES + sessionIndexCode(i);
  return nonceCallerAt(i).size == 0 ? 0 : TPM_RC_NONCE + sessionIndexCode(i);
}

/** The session is there, of the type its handle says, used once, and may do what its attributes ask. */
function checkSessionAttributes(i: u32): u32 {
  const handle = sessionHandleAt(i);
  const index = sessionIndexCode(i);
  if (!sessionIsLoaded(handle)) return TPM_RC_REFERENCE_S0 + i;
  const session = sessionGet(handle);
  const policyHandle = handleType(handle) == TPM_HT_POLICY_SESSION;
  if (((session.attributes & SESSION_IS_POLICY) != 0) != policyHandle) return TPM_RC_HANDLE + index;
  for (let j: u32 = 0; j < i; j++) if (sessionHandleAt(j) == handle) return TPM_RC_HANDLE + index;
  const attributes = sessionAttributesAt(i);
  if (attributes & TPMA_SESSION_decrypt) {
    if (decryptSize(command.index) == 0 || command.decryptSession != UNDEFINED_INDEX) return TPM_RC_ATTRIBUTES + index;
    if (session.symmetric.algorithm == TPM_ALG_NULL) return TPM_RC_SYMMETRIC + index;
    command.decryptSession = i;
  }
  if (attributes & TPMA_SESSION_encrypt) {
    if (encryptSize(command.index) == 0 || command.encryptSession != UNDEFINED_INDEX) return TPM_RC_ATTRIBUTES + index;
    if (session.symmetric.algorithm == TPM_ALG_NULL) return TPM_RC_SYMMETRIC + index;
    command.encryptSession = i;
  }
  if (attributes & TPMA_SESSION_audit) {
    if (command.auditSession != UNDEFINED_INDEX || policyHandle) return TPM_RC_ATTRIBUTES + index;
    const continued = (attributes & TPMA_SESSION_auditReset) == 0 && (session.attributes & SESSION_IS_AUDIT) != 0;
    if (continued && attributes & TPMA_SESSION_auditExclusive && g.exclusiveAuditSession != handle)
      return TPM_RC_EXCLUSIVE;
    command.auditSession = i;
  }
  return 0;
}

function checkSession(i: u32): u32 {
  const index = sessionIndexCode(i);
  const handle = sessionHandleAt(i);
  const associated = associatedHandleAt(i);
  const attributes = sessionAttributesAt(i);
  if (handle == TPM_RS_PW) {
    if (associated == TPM_RH_UNASSIGNED) return TPM_RC_HANDLE + index;
  } else {
    const session = sessionGet(handle);
    if (session.attributes & SESSION_IS_TRIAL_POLICY) return TPM_RC_ATTRIBUTES + index;
    if (session.attributes & SESSION_IS_DA_BOUND) {
      const rc = checkLockedOut((session.attributes & SESSION_IS_LOCKOUT_BOUND) != 0);
      if (rc) return rc;
    }
    if (attributes & TPMA_SESSION_audit) computeCpHash(session.authHashAlg);
  }
  if (associated != TPM_RH_UNASSIGNED) return addIndex(checkAuthSession(i), index);
  // A session that authorizes nothing has to do something else.
  if ((attributes & (TPMA_SESSION_audit | TPMA_SESSION_encrypt | TPMA_SESSION_decrypt)) == 0)
    return TPM_RC_ATTRIBUTES + index;
  const session = sessionGet(handle);
  session.attributes &= ~SESSION_INCLUDE_AUTH;
  return addIndex(checkSessionHmac(i), index);
}

/** Part 1, 19.4: the authorization of one entity by one session. */
function checkAuthSession(i: u32): u32 {
  const handle = sessionHandleAt(i);
  const associated = associatedHandleAt(i);
  const isPolicy = handle != TPM_RS_PW && handleType(handle) == TPM_HT_POLICY_SESSION;
  if (associated == TPM_RH_PLATFORM && commandBit(gp.ppList, command.code) && !g.physicalPresence) return TPM_RC_PP;
  let authUsed = true;
  if (handle != TPM_RS_PW) {
    const session = sessionGet(handle);
    authUsed = isPolicy
      ? (session.attributes & (SESSION_IS_AUTH_VALUE_NEEDED | SESSION_IS_PASSWORD_NEEDED)) != 0
      : !isSessionBindEntity(associated, session);
    if (authUsed) session.attributes |= SESSION_INCLUDE_AUTH;
    else session.attributes &= ~SESSION_INCLUDE_AUTH;
  }
  let rc: u32 = 0;
  if (authUsed && !isDAExempted(associated)) {
    rc = checkLockedOut(associated == TPM_RH_LOCKOUT);
    if (rc) return rc;
  }
  if (!isPolicy) {
    if (isPolicySessionRequired(command.index, i, associated)) return TPM_RC_AUTH_TYPE;
    if (!isAuthValueAvailable(command.index, i, associated)) return TPM_RC_AUTH_UNAVAILABLE;
  } else {
    if (!isAuthPolicyAvailable(command.index, i, associated)) return TPM_RC_AUTH_UNAVAILABLE;
    rc = checkPolicyAuthSession(i);
    if (rc) return rc;
  }
  const password = handle == TPM_RS_PW || (sessionGet(handle).attributes & SESSION_IS_PASSWORD_NEEDED) != 0;
  rc = password ? checkPassword(i) : checkSessionHmac(i);
  if (authUsed && handleType(associated) == TPM_HT_NV_INDEX) countPin(associated, rc == 0);
  return rc;
}

/** PIN Fail counts failures, PIN Pass successes (Part 1, 37.2.8). */
function countPin(handle: u32, success: bool): void {
  const entry = nvIndexEntry(handle);
  if (entry == null) return;
  const attributes = nvAttributes(entry);
  if ((attributes & TPMA_NV_WRITTEN) == 0) return;
  if (isNvPinFail(attributes)) {
    const pin = nvGetUint64(entry);
    nvWriteUint64(entry, success ? pin & 0xffffffff : pin + ((<u64>1) << 32));
  } else if (isNvPinPass(attributes) && success) {
    nvWriteUint64(entry, nvGetUint64(entry) + ((<u64>1) << 32));
  }
}

function isSessionBindEntity(handle: u32, session: SESSION): bool {
  if ((session.attributes & SESSION_IS_BOUND) == 0) return false;
  const bind = changetype<TPM2B>(BINARY);
  sessionComputeBoundEntity(handle, bind);
  return equal2B(bind, session.u1);
}

function checkPassword(i: u32): u32 {
  const input = inputAuthAt(i);
  const auth = changetype<TPM2B>(AUTH);
  removeTrailingZeros(input);
  entityAuthValue(associatedHandleAt(i), auth);
  const good = equal2B(input, auth);
  memory.fill(AUTH, 0, 2 + 64);
  return good ? 0 : incrementLockout(associatedHandleAt(i), sessionHandleAt(i));
}

function checkSessionHmac(i: u32): u32 {
  const hmac = changetype<TPM2B>(HMAC);
  computeCommandHmac(i, hmac);
  return equal2B(inputAuthAt(i), hmac) ? 0 : incrementLockout(associatedHandleAt(i), sessionHandleAt(i));
}

function checkCommandAudit(): u32 {
  if (commandAuditIsRequired(command.code)) computeCpHash(gp.auditHashAlg);
  return 0;
}

function decryptFirstParameter(): u32 {
  const i = command.decryptSession;
  if (i == UNDEFINED_INDEX) return 0;
  const index = sessionIndexCode(i);
  if (command.parameterSize < 2) return TPM_RC_INSUFFICIENT + index;
  const size = loadBE16(command.parameters);
  if (size > command.parameterSize - 2) return TPM_RC_SIZE + index;
  const extra = changetype<TPM2B>(AUTH);
  extra.size = 0;
  if (associatedHandleAt(i) != TPM_RH_UNASSIGNED) entityAuthValue(associatedHandleAt(i), extra);
  const session = sessionGet(sessionHandleAt(i));
  cryptParameter(session, extra, nonceCallerAt(i), session.nonceTPM, command.parameters + 2, size, false);
  memory.fill(AUTH, 0, 2 + 64);
  return 0;
}
