// TPM properties (Part 2, 6.13: TPM_PT) with the values of libtpms 0.11.
import { SU_NONE_VALUE, g, gc, gp, gr } from "./data";
import { maxCommandSize } from "./execute";
import {
  IMPLEMENTATION_PCR,
  MAX_ACTIVE_SESSIONS,
  MAX_CAP_BUFFER,
  MAX_DIGEST_BUFFER,
  MAX_DIGEST_SIZE,
  MAX_LOADED_OBJECTS,
  MAX_LOADED_SESSIONS,
  MAX_NV_BUFFER_SIZE,
  MAX_NV_INDEX_SIZE,
  MAX_ORDERLY_COUNT,
  MIN_EVICT_OBJECTS,
  PCR_SELECT_MIN,
  TPMA_MEMORY_objectCopiedToRam,
  TPMA_MEMORY_sharedNV,
  TPMA_PERMANENT_disableClear,
  TPMA_PERMANENT_endorsementAuthSet,
  TPMA_PERMANENT_inLockout,
  TPMA_PERMANENT_lockoutAuthSet,
  TPMA_PERMANENT_ownerAuthSet,
  TPMA_PERMANENT_tpmGeneratedEPS,
  TPMA_STARTUP_CLEAR_ehEnable,
  TPMA_STARTUP_CLEAR_orderly,
  TPMA_STARTUP_CLEAR_phEnable,
  TPMA_STARTUP_CLEAR_phEnableNV,
  TPMA_STARTUP_CLEAR_shEnable,
  TPM_ALG_AES,
  TPM_ALG_SHA512,
  TPM_PT_ACTIVE_SESSIONS_MAX,
  TPM_PT_ALGORITHM_SET,
  TPM_PT_AUDIT_COUNTER_0,
  TPM_PT_AUDIT_COUNTER_1,
  TPM_PT_CLOCK_UPDATE,
  TPM_PT_CONTEXT_GAP_MAX,
  TPM_PT_CONTEXT_HASH,
  TPM_PT_CONTEXT_SYM,
  TPM_PT_CONTEXT_SYM_SIZE,
  TPM_PT_DAY_OF_YEAR,
  TPM_PT_FAMILY_INDICATOR,
  TPM_PT_FIRMWARE_MAX_SVN,
  TPM_PT_FIRMWARE_SVN,
  TPM_PT_FIRMWARE_VERSION_1,
  TPM_PT_FIRMWARE_VERSION_2,
  TPM_PT_HR_ACTIVE,
  TPM_PT_HR_ACTIVE_AVAIL,
  TPM_PT_HR_LOADED,
  TPM_PT_HR_LOADED_AVAIL,
  TPM_PT_HR_LOADED_MIN,
  TPM_PT_HR_NV_INDEX,
  TPM_PT_HR_PERSISTENT,
  TPM_PT_HR_PERSISTENT_AVAIL,
  TPM_PT_HR_PERSISTENT_MIN,
  TPM_PT_HR_TRANSIENT_AVAIL,
  TPM_PT_HR_TRANSIENT_MIN,
  TPM_PT_INPUT_BUFFER,
  TPM_PT_LEVEL,
  TPM_PT_LIBRARY_COMMANDS,
  TPM_PT_LOADED_CURVES,
  TPM_PT_LOCKOUT_COUNTER,
  TPM_PT_LOCKOUT_INTERVAL,
  TPM_PT_LOCKOUT_RECOVERY,
  TPM_PT_MANUFACTURER,
  TPM_PT_MAX_AUTH_FAIL,
  TPM_PT_MAX_CAP_BUFFER,
  TPM_PT_MAX_COMMAND_SIZE,
  TPM_PT_MAX_DIGEST,
  TPM_PT_MAX_OBJECT_CONTEXT,
  TPM_PT_MAX_RESPONSE_SIZE,
  TPM_PT_MAX_SESSION_CONTEXT,
  TPM_PT_MEMORY,
  TPM_PT_MODES,
  TPM_PT_NV_BUFFER_MAX,
  TPM_PT_NV_COUNTERS,
  TPM_PT_NV_COUNTERS_AVAIL,
  TPM_PT_NV_COUNTERS_MAX,
  TPM_PT_NV_INDEX_MAX,
  TPM_PT_NV_WRITE_RECOVERY,
  TPM_PT_ORDERLY_COUNT,
  TPM_PT_PCR_COUNT,
  TPM_PT_PCR_SELECT_MIN,
  TPM_PT_PERMANENT,
  TPM_PT_PS_DAY_OF_YEAR,
  TPM_PT_PS_FAMILY_INDICATOR,
  TPM_PT_PS_LEVEL,
  TPM_PT_PS_REVISION,
  TPM_PT_PS_YEAR,
  TPM_PT_REVISION,
  TPM_PT_SPLIT_MAX,
  TPM_PT_STARTUP_CLEAR,
  TPM_PT_TOTAL_COMMANDS,
  TPM_PT_VENDOR_COMMANDS,
  TPM_PT_VENDOR_STRING_1,
  TPM_PT_VENDOR_STRING_2,
  TPM_PT_VENDOR_STRING_3,
  TPM_PT_VENDOR_STRING_4,
  TPM_PT_VENDOR_TPM_TYPE,
  TPM_PT_YEAR,
} from "./generated/constants";
import { nvCounterAvailable, nvCounterNumber, nvIndexNumber, nvPersistentAvailable, nvPersistentNumber } from "./nv";
import { objectTransientAvailable } from "./object";
import { enabledCommandNumber } from "./profile";
import { sessionActiveNumber, sessionFreeSlots } from "./session";

export const PT_GROUP: u32 = 0x100;
export const PT_FIXED: u32 = 0x100;
export const PT_VAR: u32 = 0x200;

/** Version of the firmware as libtpms 0.11 reports it: its code's date, and a serial number. */
export const FIRMWARE_V1: u32 = 0x20240125;
export const FIRMWARE_V2: u32 = 0x00120000;

const PROPERTY_FAMILY: u32 = 0x322e3000; // "2.0"
const LIBRARY_VERSION: u32 = 183;
const LIBRARY_DAY: u32 = 25;
const LIBRARY_YEAR: u32 = 2024;
export const MAX_OBJECT_CONTEXT: u32 = 3404;
const MAX_SESSION_CONTEXT: u32 = 404;
const CURVE_COUNT: u32 = 8;

/** A property of the manufacturer, which failure mode answers too. */
export function fixedProperty(property: u32): u32 {
  switch (property) {
    case TPM_PT_MANUFACTURER:
      return 0x49424d00; // "IBM"
    case TPM_PT_VENDOR_STRING_1:
      return 0x53572020; // "SW  "
    case TPM_PT_VENDOR_STRING_2:
      return 0x2054504d; // " TPM"
    case TPM_PT_VENDOR_STRING_3:
    case TPM_PT_VENDOR_STRING_4:
      return 0;
    case TPM_PT_VENDOR_TPM_TYPE:
      return 1;
    case TPM_PT_FIRMWARE_VERSION_1:
      return FIRMWARE_V1;
    case TPM_PT_FIRMWARE_VERSION_2:
      return FIRMWARE_V2;
  }
  return 0;
}

function permanentFlags(): u32 {
  let flags = TPMA_PERMANENT_tpmGeneratedEPS;
  if (gp.ownerAuth.size != 0) flags |= TPMA_PERMANENT_ownerAuthSet;
  if (gp.endorsementAuth.size != 0) flags |= TPMA_PERMANENT_endorsementAuthSet;
  if (gp.lockoutAuth.size != 0) flags |= TPMA_PERMANENT_lockoutAuthSet;
  if (gp.disableClear != 0) flags |= TPMA_PERMANENT_disableClear;
  if (gp.failedTries >= gp.maxTries) flags |= TPMA_PERMANENT_inLockout;
  return flags;
}

function startupClearFlags(): u32 {
  let flags: u32 = 0;
  if (g.phEnable) flags |= TPMA_STARTUP_CLEAR_phEnable;
  if (gc.shEnable != 0) flags |= TPMA_STARTUP_CLEAR_shEnable;
  if (gc.ehEnable != 0) flags |= TPMA_STARTUP_CLEAR_ehEnable;
  if (gc.phEnableNV != 0) flags |= TPMA_STARTUP_CLEAR_phEnableNV;
  if (g.prevOrderlyState != SU_NONE_VALUE) flags |= TPMA_STARTUP_CLEAR_orderly;
  return flags;
}

/** Writes the value of a property to `value`; false if there is no such property. */
export function tpmProperty(property: u32, value: usize): bool {
  store<u32>(value, 0);
  return property < PT_VAR ? fixed(property, value) : variable(property, value);
}

function fixed(property: u32, value: usize): bool {
  let v: u32 = 0;
  switch (property) {
    case TPM_PT_FAMILY_INDICATOR:
      v = PROPERTY_FAMILY;
      break;
    case TPM_PT_LEVEL:
    case TPM_PT_PS_LEVEL:
    case TPM_PT_NV_COUNTERS_MAX:
    case TPM_PT_MODES:
    case TPM_PT_VENDOR_COMMANDS:
      break;
    case TPM_PT_REVISION:
      v = LIBRARY_VERSION;
      break;
    case TPM_PT_DAY_OF_YEAR:
    case TPM_PT_PS_DAY_OF_YEAR:
      v = LIBRARY_DAY;
      break;
    case TPM_PT_YEAR:
    case TPM_PT_PS_YEAR:
      v = LIBRARY_YEAR;
      break;
    case TPM_PT_MANUFACTURER:
    case TPM_PT_VENDOR_STRING_1:
    case TPM_PT_VENDOR_STRING_2:
    case TPM_PT_VENDOR_STRING_3:
    case TPM_PT_VENDOR_STRING_4:
    case TPM_PT_VENDOR_TPM_TYPE:
      v = fixedProperty(property);
      break;
    case TPM_PT_FIRMWARE_VERSION_1:
      v = gp.firmwareV1;
      break;
    case TPM_PT_FIRMWARE_VERSION_2:
      v = gp.firmwareV2;
      break;
    case TPM_PT_INPUT_BUFFER:
      v = MAX_DIGEST_BUFFER;
      break;
    case TPM_PT_HR_TRANSIENT_MIN:
      v = MAX_LOADED_OBJECTS;
      break;
    case TPM_PT_HR_PERSISTENT_MIN:
      v = MIN_EVICT_OBJECTS;
      break;
    case TPM_PT_HR_LOADED_MIN:
      v = MAX_LOADED_SESSIONS;
      break;
    case TPM_PT_ACTIVE_SESSIONS_MAX:
      v = MAX_ACTIVE_SESSIONS;
      break;
    case TPM_PT_PCR_COUNT:
      v = IMPLEMENTATION_PCR;
      break;
    case TPM_PT_PCR_SELECT_MIN:
      v = PCR_SELECT_MIN;
      break;
    case TPM_PT_CONTEXT_GAP_MAX:
      v = gr.contextSlotMask;
      break;
    case TPM_PT_NV_INDEX_MAX:
      v = MAX_NV_INDEX_SIZE;
      break;
    case TPM_PT_MEMORY:
      v = TPMA_MEMORY_sharedNV | TPMA_MEMORY_objectCopiedToRam;
      break;
    case TPM_PT_CLOCK_UPDATE:
      v = 4096;
      break;
    case TPM_PT_CONTEXT_HASH:
      v = TPM_ALG_SHA512;
      break;
    case TPM_PT_CONTEXT_SYM:
      v = TPM_ALG_AES;
      break;
    case TPM_PT_CONTEXT_SYM_SIZE:
      v = 256;
      break;
    case TPM_PT_ORDERLY_COUNT:
      v = MAX_ORDERLY_COUNT;
      break;
    case TPM_PT_MAX_COMMAND_SIZE:
    case TPM_PT_MAX_RESPONSE_SIZE:
      v = maxCommandSize();
      break;
    case TPM_PT_MAX_DIGEST:
      v = MAX_DIGEST_SIZE;
      break;
    case TPM_PT_MAX_OBJECT_CONTEXT:
      v = MAX_OBJECT_CONTEXT;
      break;
    case TPM_PT_MAX_SESSION_CONTEXT:
      v = MAX_SESSION_CONTEXT;
      break;
    case TPM_PT_PS_FAMILY_INDICATOR:
      v = 1;
      break;
    case TPM_PT_PS_REVISION:
      v = 0x106;
      break;
    case TPM_PT_SPLIT_MAX:
      v = 128;
      break;
    case TPM_PT_TOTAL_COMMANDS:
    case TPM_PT_LIBRARY_COMMANDS:
      v = enabledCommandNumber();
      break;
    case TPM_PT_NV_BUFFER_MAX:
      v = MAX_NV_BUFFER_SIZE;
      break;
    case TPM_PT_MAX_CAP_BUFFER:
      v = MAX_CAP_BUFFER;
      break;
    case TPM_PT_FIRMWARE_SVN:
      v = 10;
      break;
    case TPM_PT_FIRMWARE_MAX_SVN:
      v = 255;
      break;
    default:
      return false;
  }
  store<u32>(value, v);
  return true;
}

function variable(property: u32, value: usize): bool {
  let v: u32 = 0;
  switch (property) {
    case TPM_PT_PERMANENT:
      v = permanentFlags();
      break;
    case TPM_PT_STARTUP_CLEAR:
      v = startupClearFlags();
      break;
    case TPM_PT_HR_NV_INDEX:
      v = nvIndexNumber();
      break;
    case TPM_PT_HR_LOADED:
      v = MAX_LOADED_SESSIONS - sessionFreeSlots();
      break;
    case TPM_PT_HR_LOADED_AVAIL:
      v = sessionFreeSlots();
      break;
    case TPM_PT_HR_ACTIVE:
      v = sessionActiveNumber();
      break;
    case TPM_PT_HR_ACTIVE_AVAIL:
      v = MAX_ACTIVE_SESSIONS - sessionActiveNumber();
      break;
    case TPM_PT_HR_TRANSIENT_AVAIL:
      v = objectTransientAvailable();
      break;
    case TPM_PT_HR_PERSISTENT:
      v = nvPersistentNumber();
      break;
    case TPM_PT_HR_PERSISTENT_AVAIL:
      v = nvPersistentAvailable();
      break;
    case TPM_PT_NV_COUNTERS:
      v = nvCounterNumber();
      break;
    case TPM_PT_NV_COUNTERS_AVAIL:
      v = nvCounterAvailable();
      break;
    case TPM_PT_ALGORITHM_SET:
      v = gp.algorithmSet;
      break;
    case TPM_PT_LOADED_CURVES:
      v = CURVE_COUNT;
      break;
    case TPM_PT_LOCKOUT_COUNTER:
      v = gp.failedTries;
      break;
    case TPM_PT_MAX_AUTH_FAIL:
      v = gp.maxTries;
      break;
    case TPM_PT_LOCKOUT_INTERVAL:
      v = gp.recoveryTime;
      break;
    case TPM_PT_LOCKOUT_RECOVERY:
      v = gp.lockoutRecovery;
      break;
    case TPM_PT_NV_WRITE_RECOVERY:
      break;
    case TPM_PT_AUDIT_COUNTER_0:
      v = <u32>(gp.auditCounter >> 32);
      break;
    case TPM_PT_AUDIT_COUNTER_1:
      v = <u32>gp.auditCounter;
      break;
    default:
      return false;
  }
  store<u32>(value, v);
  return true;
}
