// Access to NV Indexes (Part 3, 31.1): who may read or write, and what locks forbid.
import {
  TPMA_NV_OWNERREAD,
  TPMA_NV_OWNERWRITE,
  TPMA_NV_PPREAD,
  TPMA_NV_PPWRITE,
  TPMA_NV_READLOCKED,
  TPMA_NV_WRITELOCKED,
  TPMA_NV_WRITTEN,
  TPM_RC_NV_AUTHORIZATION,
  TPM_RC_NV_LOCKED,
  TPM_RC_NV_UNINITIALIZED,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
} from "./generated/constants";

/** Whether `authHandle` may authorize: owner and platform by attribute, else only the index itself. */
function authorized(authHandle: u32, nvHandle: u32, attributes: u32, owner: u32, platform: u32): bool {
  if (authHandle == TPM_RH_OWNER) return (attributes & owner) != 0;
  if (authHandle == TPM_RH_PLATFORM) return (attributes & platform) != 0;
  return authHandle == nvHandle;
}

export function nvReadAccessChecks(authHandle: u32, nvHandle: u32, attributes: u32): u32 {
  if (attributes & TPMA_NV_READLOCKED) return TPM_RC_NV_LOCKED;
  if (!authorized(authHandle, nvHandle, attributes, TPMA_NV_OWNERREAD, TPMA_NV_PPREAD)) return TPM_RC_NV_AUTHORIZATION;
  return attributes & TPMA_NV_WRITTEN ? 0 : TPM_RC_NV_UNINITIALIZED;
}

export function nvWriteAccessChecks(authHandle: u32, nvHandle: u32, attributes: u32): u32 {
  if (attributes & TPMA_NV_WRITELOCKED) return TPM_RC_NV_LOCKED;
  return authorized(authHandle, nvHandle, attributes, TPMA_NV_OWNERWRITE, TPMA_NV_PPWRITE)
    ? 0
    : TPM_RC_NV_AUTHORIZATION;
}
