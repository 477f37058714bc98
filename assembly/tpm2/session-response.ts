// The response's side of sessions (Part 1, 18 and 19): nonces, encryption of the first parameter, audit, and the authorization area.
import { cryptParameter } from "./cipher";
import {
  UNDEFINED_INDEX,
  associatedHandleAt,
  command,
  nonceCallerAt,
  sessionAttributesAt,
  sessionHandleAt,
  setSessionAttributes,
} from "./command";
import { sessionsAllowed } from "./command-attributes";
import { commandAuditIsRequired } from "./command-audit";
import { auditDigestUpdate } from "./cp-hash";
import { TPM2B, loadBE16, marshalTPM2B, marshalU8 } from "./cursor";
import { g, gp, gr, nvChanged } from "./data";
import { entityAuthValue } from "./entity";
import {
  TPMA_SESSION_auditExclusive,
  TPMA_SESSION_auditReset,
  TPMA_SESSION_continueSession,
  TPM_HT_POLICY_SESSION,
  TPM_RH_UNASSIGNED,
  TPM_RS_PW,
  TPM_ST_SESSIONS,
} from "./generated/constants";
import { handleType } from "./handles";
import { digestSizeOf } from "./hash";
import { cryptRandom2B } from "./random";
import {
  SESSION_IS_AUDIT,
  SESSION_IS_BOUND,
  SESSION_IS_PASSWORD_NEEDED,
  sessionFlush,
  sessionGet,
  sessionResetPolicyData,
  sessionSetStartTime,
} from "./session";
import { computeResponseHmac } from "./session-hmac";

const AUTH: usize = memory.data(2 + 64, 8);
const HMAC: usize = memory.data(2 + 64, 8);

/**
 * The response's side: new nonces, encryption of the first parameter, audit, and the authorization area, which is marshalled
 * at the output cursor.
 */
export function buildResponseSession(parameters: usize, parameterSize: u32): void {
  if (command.tag == TPM_ST_SESSIONS) {
    for (let i: u32 = 0; i < command.sessionNum; i++) {
      if (sessionHandleAt(i) != TPM_RS_PW) cryptRandom2B(sessionGet(sessionHandleAt(i)).nonceTPM);
    }
    encryptFirstParameter(parameters, parameterSize);
  }
  updateAuditSessions(parameters, parameterSize);
  if (commandAuditIsRequired(command.code)) commandAudit(parameters, parameterSize);
  if (command.tag != TPM_ST_SESSIONS) return;
  for (let i: u32 = 0; i < command.sessionNum; i++) buildSingleResponseAuth(i, parameters, parameterSize);
}

function encryptFirstParameter(parameters: usize, parameterSize: u32): void {
  const i = command.encryptSession;
  if (i == UNDEFINED_INDEX || parameterSize < 2) return;
  const extra = changetype<TPM2B>(AUTH);
  extra.size = 0;
  if (associatedHandleAt(i) != TPM_RH_UNASSIGNED) entityAuthValue(associatedHandleAt(i), extra);
  const session = sessionGet(sessionHandleAt(i));
  cryptParameter(session, extra, session.nonceTPM, nonceCallerAt(i), parameters + 2, loadBE16(parameters), true);
  memory.fill(AUTH, 0, 2 + 64);
}

/** Session audit and exclusivity (Part 1, 32.4). */
function updateAuditSessions(parameters: usize, parameterSize: u32): void {
  const i = command.sessionNum == 0 ? UNDEFINED_INDEX : command.auditSession;
  if (i == UNDEFINED_INDEX) {
    if (sessionsAllowed(command.index)) g.exclusiveAuditSession = TPM_RH_UNASSIGNED;
    return;
  }
  const handle = sessionHandleAt(i);
  const session = sessionGet(handle);
  const attributes = sessionAttributesAt(i);
  if ((session.attributes & SESSION_IS_AUDIT) == 0 || attributes & TPMA_SESSION_auditReset) {
    session.attributes = (session.attributes | SESSION_IS_AUDIT) & ~SESSION_IS_BOUND;
    session.u2.size = digestSizeOf(session.authHashAlg);
    memory.fill(session.u2.buffer, 0, session.u2.size);
    g.exclusiveAuditSession = handle;
  } else if (g.exclusiveAuditSession != handle) g.exclusiveAuditSession = TPM_RH_UNASSIGNED;
  setSessionAttributes(
    i,
    g.exclusiveAuditSession == handle
      ? attributes | TPMA_SESSION_auditExclusive
      : attributes & ~TPMA_SESSION_auditExclusive,
  );
  auditDigestUpdate(session.authHashAlg, session.u2, parameters, parameterSize);
}

/** Part 1, 32.3. A digest of size 1 says that the algorithm was just changed: that command is not audited. */
function commandAudit(parameters: usize, parameterSize: u32): void {
  const digest = gr.commandAuditDigest;
  if (digest.size == 1) {
    digest.size = 0;
    return;
  }
  if (digest.size == 0) {
    digest.size = digestSizeOf(gp.auditHashAlg);
    memory.fill(digest.buffer, 0, digest.size);
    gp.auditCounter++;
    nvChanged();
  }
  auditDigestUpdate(gp.auditHashAlg, digest, parameters, parameterSize);
}

function buildSingleResponseAuth(i: u32, parameters: usize, parameterSize: u32): void {
  const hmac = changetype<TPM2B>(HMAC);
  hmac.size = 0;
  const handle = sessionHandleAt(i);
  if (handle == TPM_RS_PW) {
    marshalTPM2B(changetype<usize>(hmac));
    marshalU8(sessionAttributesAt(i) | TPMA_SESSION_continueSession);
    marshalTPM2B(changetype<usize>(hmac));
    return;
  }
  const session = sessionGet(handle);
  const isPolicy = handleType(handle) == TPM_HT_POLICY_SESSION;
  if (!isPolicy || (session.attributes & SESSION_IS_PASSWORD_NEEDED) == 0) {
    computeResponseHmac(i, session, hmac, parameters, parameterSize);
  }
  const continued = (sessionAttributesAt(i) & TPMA_SESSION_continueSession) != 0;
  if (isPolicy && continued) {
    sessionResetPolicyData(session);
    sessionSetStartTime(session);
  }
  marshalTPM2B(changetype<usize>(session.nonceTPM));
  marshalU8(sessionAttributesAt(i));
  marshalTPM2B(changetype<usize>(hmac));
  if (!continued) sessionFlush(handle);
}
