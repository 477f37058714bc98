// Authorization of the entities that a command uses (Part 1, 19): which way is open, whether it is given, and what its failure costs.
import { AUTH_ADMIN, AUTH_DUP, commandAuthRole, commandCodeOf, isNvWrite } from "./command-attributes";
import { daRegisterFailure } from "./da";
import { SU_DA_USED_VALUE, g, gc, gp, nvChanged } from "./data";
import {
  TPMA_NV_AUTHREAD,
  TPMA_NV_AUTHWRITE,
  TPMA_NV_NO_DA,
  TPMA_NV_POLICYREAD,
  TPMA_NV_POLICYWRITE,
  TPMA_NV_WRITTEN,
  TPMA_OBJECT_adminWithPolicy,
  TPMA_OBJECT_noDA,
  TPMA_OBJECT_userWithAuth,
  TPM_HT_NV_INDEX,
  TPM_HT_PCR,
  TPM_HT_PERMANENT,
  TPM_HT_TRANSIENT,
  TPM_RC_AUTH_FAIL,
  TPM_RC_BAD_AUTH,
  TPM_RC_LOCKOUT,
  TPM_RH_ENDORSEMENT,
  TPM_RH_LOCKOUT,
  TPM_RH_NULL,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
  TPM_RS_PW,
} from "./generated/constants";
import { handleType } from "./handles";
import { isNvPinFail, isNvPinPass, nvAttributes, nvGetUint64, nvIndexEntry } from "./nv";
import { NvEntry } from "./nv-memory";
import { OBJECT_PUBLIC_ONLY, objectIsSequence, objectOf } from "./object";
import { SESSION_INCLUDE_AUTH, SESSION_IS_DA_BOUND, SESSION_IS_LOCKOUT_BOUND, sessionGet } from "./session";

/** Failures of this entity's authorization do not count (Part 1, 19.8.2). */
export function isDAExempted(handle: u32): bool {
  switch (handleType(handle)) {
    case TPM_HT_PERMANENT:
      return handle != TPM_RH_LOCKOUT;
    case TPM_HT_TRANSIENT: {
      const object = objectOf(handle);
      if (object == null) return true;
      return objectIsSequence(object) || (object.publicArea.objectAttributes & TPMA_OBJECT_noDA) != 0;
    }
    case TPM_HT_NV_INDEX: {
      const entry = nvIndexEntry(handle);
      return entry == null || (nvAttributes(entry) & TPMA_NV_NO_DA) != 0;
    }
    case TPM_HT_PCR:
      return true;
  }
  return false;
}

/** An authorization failed: counts it and says how. `session` is TPM_RS_PW or a loaded session. */
export function incrementLockout(handle: u32, sessionHandle: u32): u32 {
  if (sessionHandle == TPM_RS_PW) {
    if (isDAExempted(handle)) return TPM_RC_BAD_AUTH;
  } else {
    const attributes = sessionGet(sessionHandle).attributes;
    if (attributes & SESSION_IS_LOCKOUT_BOUND) handle = TPM_RH_LOCKOUT;
    if ((attributes & SESSION_IS_DA_BOUND) == 0 && ((attributes & SESSION_INCLUDE_AUTH) == 0 || isDAExempted(handle))) {
      return TPM_RC_BAD_AUTH;
    }
  }
  if (handle == TPM_RH_LOCKOUT) {
    gp.lockOutAuthEnabled = 0;
    nvChanged();
  } else if (gp.recoveryTime != 0) {
    gp.failedTries++;
    nvChanged();
  }
  daRegisterFailure(handle);
  return TPM_RC_AUTH_FAIL;
}

/** TPM_RC_LOCKOUT while protected authorizations (or lockoutAuth) are refused. */
export function checkLockedOut(lockoutAuth: bool): u32 {
  if (lockoutAuth) return gp.lockOutAuthEnabled != 0 ? 0 : TPM_RC_LOCKOUT;
  if (gp.failedTries >= gp.maxTries) return TPM_RC_LOCKOUT;
  if (!g.daUsed) {
    // A pulled plug from here on counts as one failure: the state says so before the authorization is looked at.
    g.daUsed = true;
    gp.orderlyState = SU_DA_USED_VALUE;
    nvChanged();
  }
  return 0;
}

/** The role or the entity allows nothing but its policy. */
export function isPolicySessionRequired(commandIndex: u32, handleIndex: u32, handle: u32): bool {
  const role = commandAuthRole(commandIndex, handleIndex);
  if (role == AUTH_DUP) return true;
  if (role != AUTH_ADMIN) return false;
  if (handleType(handle) == TPM_HT_TRANSIENT) {
    const object = objectOf(handle);
    if (object != null) return (object.publicArea.objectAttributes & TPMA_OBJECT_adminWithPolicy) != 0;
  }
  return true;
}

/** The authValue may be used for this command. */
export function isAuthValueAvailable(commandIndex: u32, handleIndex: u32, handle: u32): bool {
  switch (handleType(handle)) {
    case TPM_HT_PERMANENT:
      return (
        handle == TPM_RH_OWNER ||
        handle == TPM_RH_ENDORSEMENT ||
        handle == TPM_RH_PLATFORM ||
        handle == TPM_RH_LOCKOUT ||
        handle == TPM_RH_NULL
      );
    case TPM_HT_TRANSIENT: {
      const object = objectOf(handle);
      if (object == null) return false;
      if (objectIsSequence(object)) return true;
      if (object.attributes & OBJECT_PUBLIC_ONLY) return false;
      const attributes = object.publicArea.objectAttributes;
      if (attributes & TPMA_OBJECT_userWithAuth) return true;
      return (
        commandAuthRole(commandIndex, handleIndex) == AUTH_ADMIN && (attributes & TPMA_OBJECT_adminWithPolicy) == 0
      );
    }
    case TPM_HT_NV_INDEX: {
      const entry = nvIndexEntry(handle);
      return entry != null && isNvAuthValueAvailable(entry, commandIndex);
    }
    case TPM_HT_PCR:
      return true;
  }
  return false;
}

function isNvAuthValueAvailable(entry: NvEntry, commandIndex: u32): bool {
  const attributes = nvAttributes(entry);
  if (isNvWrite(commandCodeOf(commandIndex))) return (attributes & TPMA_NV_AUTHWRITE) != 0;
  if (isNvPinFail(attributes) || isNvPinPass(attributes)) {
    if ((attributes & TPMA_NV_WRITTEN) == 0) return false;
    const pin = nvGetUint64(entry);
    return <u32>(pin >> 32) < <u32>pin;
  }
  return (attributes & TPMA_NV_AUTHREAD) != 0;
}

/** The policy may be used for this command. */
export function isAuthPolicyAvailable(commandIndex: u32, handleIndex: u32, handle: u32): bool {
  switch (handleType(handle)) {
    case TPM_HT_PERMANENT:
      switch (handle) {
        case TPM_RH_OWNER:
          return gp.ownerPolicy.size != 0;
        case TPM_RH_ENDORSEMENT:
          return gp.endorsementPolicy.size != 0;
        case TPM_RH_PLATFORM:
          return gc.platformPolicy.size != 0;
        case TPM_RH_LOCKOUT:
          return gp.lockoutPolicy.size != 0;
      }
      return false;
    case TPM_HT_TRANSIENT: {
      const object = objectOf(handle);
      return object != null && (object.attributes & OBJECT_PUBLIC_ONLY) == 0 && !objectIsSequence(object);
    }
    case TPM_HT_NV_INDEX: {
      const entry = nvIndexEntry(handle);
      if (entry == null || entry.index.publicArea.authPolicy.size == 0) return false;
      if (isPolicySessionRequired(commandIndex, handleIndex, handle)) return true;
      const needed = isNvWrite(commandCodeOf(commandIndex)) ? TPMA_NV_POLICYWRITE : TPMA_NV_POLICYREAD;
      return (nvAttributes(entry) & needed) != 0;
    }
  }
  return false;
}
