// What a handle stands for (Part 1, 15): whether it is there, its Name, its authValue, its policy.
import { TPM2B, copy2B, storeBE32 } from "./cursor";
import { g, gc, gp } from "./data";
import {
  TPMA_NV_PLATFORMCREATE,
  TPM_ALG_NULL,
  TPM_HT_HMAC_SESSION,
  TPM_HT_NV_INDEX,
  TPM_HT_PCR,
  TPM_HT_PERMANENT,
  TPM_HT_PERSISTENT,
  TPM_HT_POLICY_SESSION,
  TPM_HT_TRANSIENT,
  TPM_RC_H,
  TPM_RC_HANDLE,
  TPM_RC_HIERARCHY,
  TPM_RC_REFERENCE_H0,
  TPM_RC_VALUE,
  TPM_RH_ENDORSEMENT,
  TPM_RH_LOCKOUT,
  TPM_RH_NULL,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
} from "./generated/constants";
import { handleAt, handleCount, handleType } from "./handles";
import { nvAttributes, nvIndexEntry, nvIndexIsAccessible, nvIndexName } from "./nv";
import { asSequence, objectHierarchy, objectIsSequence, objectOf } from "./object";
import { addIndex } from "./response-code";
import { loadEvictObject } from "./evict";
import { SESSION_IS_POLICY, sessionGet, sessionIsLoaded } from "./session";

/** Checks every handle of the command, in order; persistent objects are loaded. @returns a response code with its index */
export function entityGetLoadStatus(): u32 {
  for (let i: u32 = 0; i < handleCount(); i++) {
    const handle = handleAt(i);
    let rc: u32 = 0;
    switch (handleType(handle)) {
      case TPM_HT_PERMANENT:
        rc = permanentStatus(handle);
        break;
      case TPM_HT_TRANSIENT:
        if (objectOf(handle) == null) return TPM_RC_REFERENCE_H0 + i;
        break;
      case TPM_HT_PERSISTENT:
        rc = loadEvictObject(handle, i);
        break;
      case TPM_HT_HMAC_SESSION:
      case TPM_HT_POLICY_SESSION:
        if (!sessionIsLoaded(handle)) return TPM_RC_REFERENCE_H0 + i;
        // HMAC and policy sessions share their numbers: the type in the handle has to be the session's.
        if (
          ((sessionGet(handle).attributes & SESSION_IS_POLICY) != 0) !=
          (handleType(handle) == TPM_HT_POLICY_SESSION)
        ) {
          rc = TPM_RC_HANDLE;
        }
        break;
      case TPM_HT_NV_INDEX:
        rc = nvIndexIsAccessible(handle);
        break;
      case TPM_HT_PCR:
        break;
      default:
        rc = TPM_RC_VALUE;
    }
    if (rc) return addIndex(rc, TPM_RC_H + ((i + 1) << 8));
  }
  return 0;
}

function permanentStatus(handle: u32): u32 {
  switch (handle) {
    case TPM_RH_OWNER:
      return gc.shEnable != 0 ? 0 : TPM_RC_HIERARCHY;
    case TPM_RH_ENDORSEMENT:
      return gc.ehEnable != 0 ? 0 : TPM_RC_HIERARCHY;
    case TPM_RH_PLATFORM:
      return g.phEnable ? 0 : TPM_RC_HIERARCHY;
    case TPM_RH_NULL:
    case TPM_RH_LOCKOUT:
      return 0;
  }
  return TPM_RC_VALUE;
}

/** Copies the authValue of an entity without trailing zeros. */
export function entityAuthValue(handle: u32, out: TPM2B): void {
  out.size = 0;
  switch (handleType(handle)) {
    case TPM_HT_PERMANENT: {
      const auth = permanentAuth(handle);
      if (auth != null) copy2B(out, auth);
      break;
    }
    case TPM_HT_TRANSIENT: {
      const object = objectOf(handle);
      if (object != null) copy2B(out, objectIsSequence(object) ? asSequence(object).auth : object.sensitive.authValue);
      break;
    }
    case TPM_HT_NV_INDEX: {
      const entry = nvIndexEntry(handle);
      if (entry != null) copy2B(out, entry.index.authValue);
      break;
    }
  }
  removeTrailingZeros(out);
}

function permanentAuth(handle: u32): TPM2B | null {
  switch (handle) {
    case TPM_RH_OWNER:
      return gp.ownerAuth;
    case TPM_RH_ENDORSEMENT:
      return gp.endorsementAuth;
    case TPM_RH_PLATFORM:
      return gc.platformAuth;
    case TPM_RH_LOCKOUT:
      return gp.lockoutAuth;
  }
  return null;
}

/** Part 1, 19.6.5: authValues are used without trailing zeros. */
export function removeTrailingZeros(auth: TPM2B): void {
  let size = auth.size;
  while (size > 0 && load<u8>(auth.buffer + size - 1) == 0) size--;
  auth.size = size;
}

/** Copies the policy of an entity and returns its hash algorithm, TPM_ALG_NULL without one. */
export function entityAuthPolicy(handle: u32, out: TPM2B): u32 {
  out.size = 0;
  switch (handleType(handle)) {
    case TPM_HT_PERMANENT:
      switch (handle) {
        case TPM_RH_OWNER:
          copy2B(out, gp.ownerPolicy);
          return gp.ownerAlg;
        case TPM_RH_ENDORSEMENT:
          copy2B(out, gp.endorsementPolicy);
          return gp.endorsementAlg;
        case TPM_RH_PLATFORM:
          copy2B(out, gc.platformPolicy);
          return gc.platformAlg;
        case TPM_RH_LOCKOUT:
          copy2B(out, gp.lockoutPolicy);
          return gp.lockoutAlg;
      }
      break;
    case TPM_HT_TRANSIENT: {
      const object = objectOf(handle);
      if (object != null && !objectIsSequence(object)) {
        copy2B(out, object.publicArea.authPolicy);
        return object.publicArea.nameAlg;
      }
      break;
    }
    case TPM_HT_NV_INDEX: {
      const entry = nvIndexEntry(handle);
      if (entry != null) {
        copy2B(out, entry.index.publicArea.authPolicy);
        return entry.index.publicArea.nameAlg;
      }
      break;
    }
  }
  return TPM_ALG_NULL;
}

/** Name of an entity (Part 1, 16): of objects and NV Indexes a digest, of everything else the handle. */
export function entityName(handle: u32, out: TPM2B): void {
  switch (handleType(handle)) {
    case TPM_HT_TRANSIENT: {
      const object = objectOf(handle);
      if (object != null && !objectIsSequence(object) && object.publicArea.nameAlg != TPM_ALG_NULL)
        copy2B(out, object.name);
      else out.size = 0;
      return;
    }
    case TPM_HT_NV_INDEX: {
      const entry = nvIndexEntry(handle);
      if (entry != null) nvIndexName(entry, out);
      else out.size = 0;
      return;
    }
  }
  out.size = 4;
  storeBE32(out.buffer, handle);
}

/** The hierarchy of an entity (Part 1, 15.3). */
export function entityHierarchy(handle: u32): u32 {
  switch (handleType(handle)) {
    case TPM_HT_PERMANENT:
      switch (handle) {
        case TPM_RH_PLATFORM:
        case TPM_RH_ENDORSEMENT:
        case TPM_RH_NULL:
          return handle;
      }
      return TPM_RH_OWNER;
    case TPM_HT_NV_INDEX: {
      const entry = nvIndexEntry(handle);
      return entry != null && nvAttributes(entry) & TPMA_NV_PLATFORMCREATE ? TPM_RH_PLATFORM : TPM_RH_OWNER;
    }
    case TPM_HT_TRANSIENT: {
      const object = objectOf(handle);
      return object == null ? TPM_RH_NULL : objectHierarchy(object);
    }
    case TPM_HT_PCR:
      return TPM_RH_OWNER;
  }
  return TPM_RH_NULL;
}
