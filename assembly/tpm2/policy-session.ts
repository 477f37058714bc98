// Whether a policy session fulfils an entity's policy for this command (Part 1, 19.7.11).
import { AUTH_ADMIN, AUTH_DUP, commandAuthRole } from "./command-attributes";
import { associatedHandleAt, command, sessionHandleAt } from "./command";
import { computeCpHash, computeNameHash, computeParametersHash } from "./cp-hash";
import { TPM2B, equal2B, loadBE16 } from "./cursor";
import { g, gp } from "./data";
import { entityAuthPolicy } from "./entity";
import {
  TPMA_NV_WRITTEN,
  TPM_CC_Create,
  TPM_CC_CreateLoaded,
  TPM_CC_CreatePrimary,
  TPM_CC_PolicySecret,
  TPM_HT_NV_INDEX,
  TPM_RC_EXPIRED,
  TPM_RC_LOCALITY,
  TPM_RC_MODE,
  TPM_RC_PCR_CHANGED,
  TPM_RC_POLICY_CC,
  TPM_RC_POLICY_FAIL,
  TPM_RC_PP,
} from "./generated/constants";
import { SESSION } from "./generated/engine-records";
import { handleType } from "./handles";
import { cryptHashBlock } from "./hash";
import { nvAttributes, nvIndexEntry } from "./nv";
import { profile } from "./profile";
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
  sessionGet,
  sessionPcrValueIsCurrent,
} from "./session";

const POLICY: usize = memory.data(2 + 64, 8);
const DIGEST: usize = memory.data(2 + 64, 8);

/** @returns 0, or why the i-th session does not authorize its entity, without the session's number */
export function checkPolicyAuthSession(i: u32): u32 {
  const session = sessionGet(sessionHandleAt(i));
  const associated = associatedHandleAt(i);
  const attributes = session.attributes;
  const auth = attributes & (SESSION_IS_PASSWORD_NEEDED | SESSION_IS_AUTH_VALUE_NEEDED);
  if (command.code == TPM_CC_PolicySecret && auth == 0) return TPM_RC_MODE;
  if (!sessionPcrValueIsCurrent(session)) return TPM_RC_PCR_CHANGED;
  const policy = changetype<TPM2B>(POLICY);
  const alg = entityAuthPolicy(associated, policy);
  if (!equal2B(session.u2, policy) || alg != session.authHashAlg) return TPM_RC_POLICY_FAIL;
  if (session.timeout != 0 && (session.timeout < g.time || session.epoch != gp.timeEpoch)) return TPM_RC_EXPIRED;
  if (session.commandCode != 0) {
    if (session.commandCode != command.code) return TPM_RC_POLICY_CC;
  } else {
    const role = commandAuthRole(command.index, i);
    if (role == AUTH_ADMIN || role == AUTH_DUP) return TPM_RC_POLICY_FAIL;
  }
  if (!localityAllowed(session.commandLocality)) return TPM_RC_LOCALITY;
  if (attributes & SESSION_IS_PP_REQUIRED && !g.physicalPresence) return TPM_RC_PP;
  if (session.u1.size != 0 && !boundHashMatches(session)) return TPM_RC_POLICY_FAIL;
  if (attributes & SESSION_CHECK_NV_WRITTEN && !nvWrittenMatches(session, associated)) return TPM_RC_POLICY_FAIL;
  return 0;
}

/** 0 allows all; 1-31 is a bit map of localities 0-4; above that one extended locality. */
function localityAllowed(allowed: u32): bool {
  if (allowed == 0) return true;
  if (g.locality < 5) return allowed <= 31 && ((allowed >> g.locality) & 1) != 0;
  return g.locality > 31 && allowed == g.locality;
}

function boundHashMatches(session: SESSION): bool {
  const attributes = session.attributes;
  const digest = changetype<TPM2B>(DIGEST);
  // Up to StateFormatLevel 3 a nameHash had no flag of its own: it is what none of the others is.
  const oldNameHash = profile.stateFormatLevel < 4;
  if (attributes & SESSION_IS_CP_HASH_DEFINED) return equal2B(session.u1, computeCpHash(session.authHashAlg));
  if (!oldNameHash && attributes & SESSION_IS_NAME_HASH_DEFINED) computeNameHash(session.authHashAlg, digest);
  else if (attributes & SESSION_IS_PARAMETERS_HASH_DEFINED) computeParametersHash(session.authHashAlg, digest);
  else if (attributes & SESSION_IS_TEMPLATE_HASH_DEFINED) {
    if (!templateHash(session.authHashAlg, digest)) return false;
  } else if (oldNameHash) computeNameHash(session.authHashAlg, digest);
  else return false;
  return equal2B(session.u1, digest);
}

/** Hash of the template, the second parameter of the commands that create. */
function templateHash(hashAlg: u32, out: TPM2B): bool {
  if (command.code != TPM_CC_Create && command.code != TPM_CC_CreatePrimary && command.code != TPM_CC_CreateLoaded)
    return false;
  let at = command.parameters;
  let left = command.parameterSize;
  if (left < 2) return false;
  const skip: u32 = 2 + loadBE16(at);
  if (left < skip + 2) return false;
  at += skip;
  left -= skip + 2;
  const size = loadBE16(at);
  if (size > left) return false;
  out.size = cryptHashBlock(hashAlg, at + 2, size, out.buffer);
  return true;
}

function nvWrittenMatches(session: SESSION, handle: u32): bool {
  if (handleType(handle) != TPM_HT_NV_INDEX) return false;
  const entry = nvIndexEntry(handle);
  if (entry == null) return false;
  const written = (nvAttributes(entry) & TPMA_NV_WRITTEN) != 0;
  return written == ((session.attributes & SESSION_NV_WRITTEN_STATE) != 0);
}
