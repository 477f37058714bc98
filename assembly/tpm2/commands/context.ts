// Part 3, 28: context management.
import { rsaForgetAll } from "../crypt-rsa-keys";
import { contextOverhead, contextProtect, contextUnprotect } from "../context-protection";
import { inputAt, inputLeft } from "../cursor";
import { clearOrderly, g, gr } from "../data";
import { addEvictObject, deleteEvictObject } from "../evict";
import { FATAL_ERROR_INTERNAL, fail } from "../failure";
import {
  MAX_CONTEXT_SIZE,
  PERSISTENT_FIRST,
  PERSISTENT_LAST,
  PLATFORM_PERSISTENT,
  SAVED_SEQUENCE,
  SAVED_TRANSIENT,
  SAVED_TRANSIENT_STCLEAR,
  TPM_HT_TRANSIENT,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_ATTRIBUTES,
  TPM_RC_FAILURE,
  TPM_RC_H,
  TPM_RC_HANDLE,
  TPM_RC_HIERARCHY,
  TPM_RC_NV_DEFINED,
  TPM_RC_OBJECT_MEMORY,
  TPM_RC_P,
  TPM_RC_RANGE,
  TPM_RH_NULL,
  TPM_RH_PLATFORM,
  TPM_RH_UNASSIGNED,
} from "../generated/constants";
import { SIZEOF_SESSION_RECORD } from "../generated/engine-records";
import {
  ContextLoad_In,
  ContextLoad_Out,
  ContextSave_In,
  ContextSave_Out,
  EvictControl_In,
  FlushContext_In,
} from "../generated/records";
import { TPMS_CONTEXT } from "../generated/structures";
import { handleType } from "../handles";
import { hierarchyIsEnabled } from "../hierarchy";
import { nvFind } from "../nv-memory";
import {
  OBJECT_EVICT,
  OBJECT_PPS_HIERARCHY,
  OBJECT_PUBLIC_ONLY,
  OBJECT_ST_CLEAR,
  OBJECT_TEMPORARY,
  allocateObjectSlot,
  flushObject,
  flushObjectSlot,
  loadedObject,
  objectHierarchy,
  objectIsPresent,
  objectIsSequence,
} from "../object";
import {
  sequenceNumberIsValid,
  sessionContextLoad,
  sessionContextSave,
  sessionFlush,
  sessionGet,
  sessionIsLoaded,
  sessionIsSaved,
} from "../session";
import { MAX_MARSHALLED_OBJECT, marshalObject, unmarshalObject } from "../state/object-transfer";

const P1: u32 = TPM_RC_P + TPM_RC_1;
const H2: u32 = TPM_RC_H + TPM_RC_2;
const FAIL_CONTEXT: u32 = 0x5602;

const MARSHALLED: usize = memory.data(MAX_MARSHALLED_OBJECT, 8);
const CONTEXT_ID: usize = memory.data(8, 8);

export function ContextSave(input: ContextSave_In, output: ContextSave_Out): u32 {
  const context = output.context;
  const rc =
    handleType(input.saveHandle) == TPM_HT_TRANSIENT
      ? saveObject(input.saveHandle, context)
      : saveSession(input.saveHandle, context);
  if (rc == 0) clearOrderly();
  return rc;
}

/** The object stays loaded. */
function saveObject(handle: u32, context: TPMS_CONTEXT): u32 {
  const object = loadedObject(handle);
  const length = marshalObject(object, MARSHALLED);
  if (length > MAX_CONTEXT_SIZE) {
    fail(FAIL_CONTEXT, FATAL_ERROR_INTERNAL);
    return TPM_RC_FAILURE;
  }
  memory.copy(context.contextBlob.buffer + contextOverhead(), MARSHALLED, length);
  memory.fill(MARSHALLED, 0, length);
  gr.objectContextID++;
  context.sequence = gr.objectContextID;
  if (objectIsSequence(object)) context.savedHandle = SAVED_SEQUENCE;
  else context.savedHandle = object.attributes & OBJECT_ST_CLEAR ? SAVED_TRANSIENT_STCLEAR : SAVED_TRANSIENT;
  context.hierarchy = objectHierarchy(object);
  contextProtect(context, length);
  return 0;
}

/** The session's slot becomes free; its handle stays taken. The record in memory is laid out as libtpms' structure. */
function saveSession(handle: u32, context: TPMS_CONTEXT): u32 {
  const at = context.contextBlob.buffer + contextOverhead();
  const session = sessionGet(handle);
  memory.copy(at, changetype<usize>(session), SIZEOF_SESSION_RECORD);
  const rc = sessionContextSave(handle, CONTEXT_ID);
  if (rc) return rc;
  memory.fill(changetype<usize>(session), 0, SIZEOF_SESSION_RECORD);
  context.savedHandle = handle;
  context.sequence = load<u64>(CONTEXT_ID);
  context.hierarchy = TPM_RH_NULL;
  contextProtect(context, SIZEOF_SESSION_RECORD);
  return 0;
}

export function ContextLoad(input: ContextLoad_In, output: ContextLoad_Out): u32 {
  const context = input.context;
  const rc = contextUnprotect(context);
  if (rc) return rc;
  const out = changetype<usize>(output);
  return handleType(context.savedHandle) == TPM_HT_TRANSIENT ? loadObject(context, out) : loadSession(context, out);
}

function loadObject(context: TPMS_CONTEXT, handleOut: usize): u32 {
  const at = inputAt();
  const length = inputLeft();
  if (!hierarchyIsEnabled(context.hierarchy)) return TPM_RC_HIERARCHY + P1;
  const object = allocateObjectSlot(handleOut);
  if (object == null) return TPM_RC_OBJECT_MEMORY;
  if (unmarshalObject(at, length, object) == 0) return 0;
  flushObjectSlot(object);
  return TPM_RC_OBJECT_MEMORY;
}

function loadSession(context: TPMS_CONTEXT, handleOut: usize): u32 {
  if (inputLeft() != SIZEOF_SESSION_RECORD) {
    fail(FAIL_CONTEXT, FATAL_ERROR_INTERNAL);
    return TPM_RC_FAILURE;
  }
  if (!sequenceNumberIsValid(context.savedHandle, context.sequence)) return TPM_RC_HANDLE + P1;
  const rc = sessionContextLoad(inputAt(), context.savedHandle);
  if (rc) return rc;
  store<u32>(handleOut, context.savedHandle);
  clearOrderly();
  return 0;
}

/** The handle is a parameter: absence is an error of parameter 1. */
export function FlushContext(input: FlushContext_In): u32 {
  const handle = input.flushHandle;
  if (handleType(handle) == TPM_HT_TRANSIENT) {
    if (!objectIsPresent(handle)) return TPM_RC_HANDLE + P1;
    flushObject(handle);
    return 0;
  }
  if (!sessionIsLoaded(handle) && !sessionIsSaved(handle)) return TPM_RC_HANDLE + P1;
  if (handle == g.exclusiveAuditSession) g.exclusiveAuditSession = TPM_RH_UNASSIGNED;
  sessionFlush(handle);
  return 0;
}

/** Makes a loaded object persistent, or a persistent one not. */
export function EvictControl(input: EvictControl_In): u32 {
  const object = loadedObject(input.objectHandle);
  const attributes = object.attributes;
  const isEvict = (attributes & OBJECT_EVICT) != 0;
  const ofPlatform = (attributes & OBJECT_PPS_HIERARCHY) != 0;
  const handle = input.persistentHandle;
  if (attributes & (OBJECT_TEMPORARY | OBJECT_ST_CLEAR | OBJECT_PUBLIC_ONLY)) return TPM_RC_ATTRIBUTES + H2;
  if (isEvict && object.evictHandle != handle) return TPM_RC_HANDLE + H2;
  if (input.auth == TPM_RH_PLATFORM) {
    if (!isEvict && !ofPlatform) return TPM_RC_HIERARCHY + H2;
    if (!isEvict && (handle < PLATFORM_PERSISTENT || handle > PERSISTENT_LAST)) return TPM_RC_RANGE + P1;
  } else {
    if (ofPlatform) return TPM_RC_HIERARCHY + H2;
    if (!isEvict && (handle < PERSISTENT_FIRST || handle >= PLATFORM_PERSISTENT)) return TPM_RC_RANGE + P1;
  }
  if (isEvict) {
    deleteEvictObject(handle);
    rsaForgetAll();
    return 0;
  }
  return nvFind(handle) != null ? TPM_RC_NV_DEFINED : addEvictObject(handle, object);
}
