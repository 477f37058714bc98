// Persistent objects: kept in NV in libtpms' format, loaded into a slot while a command uses them (Part 1, 30.4.4).
import { TPM_HT_NV_INDEX, TPM_RC_HANDLE, TPMA_NV_PLATFORMCREATE, TPM_RH_OWNER } from "./generated/constants";
import { handleType } from "./handles";
import { nvAttributes, nvDeleteIndex } from "./nv";
import { nvFind, nvFirst, nvIs, nvNext } from "./nv-memory";

/** Loads the object of a persistent handle into a slot and replaces the command's handle by the slot's. */
export function loadEvictObject(handle: u32, _index: u32): u32 {
  return nvFind(handle) == null ? TPM_RC_HANDLE : TPM_RC_HANDLE;
}

/** Removes the indexes and objects of a hierarchy (TPM2_Clear, TPM2_ChangePPS, TPM2_ChangeEPS). */
export function nvFlushHierarchy(hierarchy: u32): void {
  let entry = nvFirst();
  while (nvIs(entry)) {
    const isIndex = handleType(entry.handle) == TPM_HT_NV_INDEX;
    // What is deleted is replaced by what stood behind it.
    if (isIndex && hierarchy == TPM_RH_OWNER && (nvAttributes(entry) & TPMA_NV_PLATFORMCREATE) == 0)
      nvDeleteIndex(entry);
    else entry = nvNext(entry);
  }
}
