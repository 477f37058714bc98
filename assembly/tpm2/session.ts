// Loaded and saved sessions (Part 1, 19.6 and 30.5): three slots, 64 active handles, and a truncated counter that tells a saved
// context's age.
import { TPM2B, concat2B } from "./cursor";
import { SU_RESTART, SU_RESUME, g, gp, gr } from "./data";
import { entityAuthValue, entityName } from "./entity";
import { isDAExempted } from "./authorization";
import {
  HMAC_SESSION_FIRST,
  MAX_ACTIVE_SESSIONS,
  MAX_CAP_HANDLES,
  MAX_LOADED_SESSIONS,
  POLICY_SESSION_FIRST,
  SIZEOF_TPMU_NAME,
  TPM_RC_CONTEXT_GAP,
  TPM_RC_SESSION_HANDLES,
  TPM_RC_SESSION_MEMORY,
  TPM_RC_TOO_MANY_CONTEXTS,
  TPM_RH_LOCKOUT,
  TPM_RH_NULL,
  TPM_SE_HMAC,
  TPM_SE_TRIAL,
} from "./generated/constants";
import { SESSION, SIZEOF_SESSION_RECORD } from "./generated/engine-records";
import { SIZEOF_TPMT_SYM_DEF_RECORD, TPML_HANDLE, TPMT_SYM_DEF } from "./generated/structures";
import { digestSizeOf } from "./hash";
import { cryptKdfa, LABEL_ATH } from "./kdf";
import { cryptRandomGenerate } from "./random";

// SESSION attributes, by bit as libtpms stores them.
export const SESSION_IS_POLICY: u32 = 1 << 0;
export const SESSION_IS_AUDIT: u32 = 1 << 1;
export const SESSION_IS_BOUND: u32 = 1 << 2;
export const SESSION_IS_CP_HASH_DEFINED: u32 = 1 << 3;
export const SESSION_IS_AUTH_VALUE_NEEDED: u32 = 1 << 4;
export const SESSION_IS_PASSWORD_NEEDED: u32 = 1 << 5;
export const SESSION_IS_PP_REQUIRED: u32 = 1 << 6;
export const SESSION_IS_TRIAL_POLICY: u32 = 1 << 7;
export const SESSION_IS_DA_BOUND: u32 = 1 << 8;
export const SESSION_IS_LOCKOUT_BOUND: u32 = 1 << 9;
export const SESSION_INCLUDE_AUTH: u32 = 1 << 10;
export const SESSION_CHECK_NV_WRITTEN: u32 = 1 << 11;
export const SESSION_NV_WRITTEN_STATE: u32 = 1 << 12;
export const SESSION_IS_TEMPLATE_HASH_DEFINED: u32 = 1 << 13;
export const SESSION_IS_NAME_HASH_DEFINED: u32 = 1 << 14;
export const SESSION_IS_PARAMETERS_HASH_DEFINED: u32 = 1 << 15;

const NO_SESSION: u32 = MAX_ACTIVE_SESSIONS + 1;

const SLOTS: usize = memory.data(3 * SIZEOF_SESSION_RECORD, 16);
const OCCUPIED: usize = memory.data(4, 4);

let freeSlots: u32 = MAX_LOADED_SESSIONS;
let oldestSaved: u32 = NO_SESSION;

export function setSessionCounters(oldest: u32, free: u32): void {
  oldestSaved = oldest;
  freeSlots = free;
}
@inline
export function sessionOldestSaved(): u32 {
  return oldestSaved;
}
@inline
export function sessionFreeSlots(): u32 {
  return freeSlots;
}
@inline
export function sessionSlot(slot: u32): SESSION {
  return changetype<SESSION>(SLOTS + slot * SIZEOF_SESSION_RECORD);
}
@inline
export function sessionSlotOccupied(slot: u32): bool {
  return load<u8>(OCCUPIED + slot) != 0;
}
export function setSessionSlotOccupied(slot: u32, value: bool): void {
  store<u8>(OCCUPIED + slot, value ? 1 : 0);
}

/** What stands for a handle: 0 free, 1…3 loaded in that slot, above that the context counter when it was saved. */
@inline
function contextEntry(index: u32): u32 {
  return load<u16>(gr.contextArray + 2 * <usize>index);
}
@inline
function setContextEntry(index: u32, value: u32): void {
  store<u16>(gr.contextArray + 2 * <usize>index, <u16>value);
}
/** TPMs resumed from old states go on with eight bits. */
@inline
function masked(value: u64): u32 {
  return <u32>value & gr.contextSlotMask;
}
@inline
function handleIndex(handle: u32): u32 {
  return handle & 0x00ffffff;
}

function setOldest(): void {
  const low = masked(gr.contextCounter);
  let smallest = gr.contextSlotMask;
  oldestSaved = NO_SESSION;
  for (let i: u32 = 0; i < MAX_ACTIVE_SESSIONS; i++) {
    const entry = contextEntry(i);
    if (entry <= MAX_LOADED_SESSIONS) continue;
    const age = masked(<u64>(entry - low));
    if (age <= smallest) {
      smallest = age;
      oldestSaved = i;
    }
  }
}

/** TPM2_Startup: loaded sessions are gone; saved ones survive Restart and Resume. */
export function sessionStartup(type: u32): void {
  memory.fill(OCCUPIED, 0, MAX_LOADED_SESSIONS);
  freeSlots = MAX_LOADED_SESSIONS;
  if (type == SU_RESUME || type == SU_RESTART) {
    for (let i: u32 = 0; i < MAX_ACTIVE_SESSIONS; i++)
      if (contextEntry(i) <= MAX_LOADED_SESSIONS) setContextEntry(i, 0);
    setOldest();
  } else {
    memory.fill(gr.contextArray, 0, 2 * MAX_ACTIVE_SESSIONS);
    gr.contextCounter = MAX_LOADED_SESSIONS + 1;
    oldestSaved = NO_SESSION;
    gr.contextSlotMask = 0xffff;
  }
}

export function sessionIsLoaded(handle: u32): bool {
  const index = handleIndex(handle);
  if (index >= MAX_ACTIVE_SESSIONS) return false;
  const entry = contextEntry(index);
  return entry != 0 && entry <= MAX_LOADED_SESSIONS;
}

export function sessionIsSaved(handle: u32): bool {
  const index = handleIndex(handle);
  return index < MAX_ACTIVE_SESSIONS && contextEntry(index) > MAX_LOADED_SESSIONS;
}

/** The session of a loaded handle. */
export function sessionGet(handle: u32): SESSION {
  return sessionSlot(contextEntry(handleIndex(handle)) - 1);
}

/** A saved session context is this handle's newest and not older than the counter can tell. */
export function sequenceNumberIsValid(handle: u32, sequence: u64): bool {
  const index = handleIndex(handle);
  if (index >= MAX_ACTIVE_SESSIONS) return false;
  const entry = contextEntry(index);
  return (
    entry > MAX_LOADED_SESSIONS &&
    entry == masked(sequence) &&
    sequence <= gr.contextCounter &&
    gr.contextCounter - sequence <= <u64>gr.contextSlotMask + 1
  );
}

@inline
export function sessionPcrValueIsCurrent(session: SESSION): bool {
  return session.pcrCounter == 0 || session.pcrCounter == gr.pcrCounter;
}

function freeSlot(): u32 {
  for (let slot: u32 = 0; slot < MAX_LOADED_SESSIONS; slot++) if (!sessionSlotOccupied(slot)) return slot;
  return 0;
}

const KEY: usize = memory.data(2 + 64 + 68, 8);

/**
 * Starts a session. `seed` is the decrypted salt, `bind` the bound entity or TPM_RH_NULL; the handle is written to `handleOut`.
 * @returns TPM_RC_SESSION_MEMORY, TPM_RC_SESSION_HANDLES or TPM_RC_CONTEXT_GAP when there is no room
 */
export function sessionCreate(
  type: u32,
  authHash: u32,
  nonceCaller: TPM2B,
  symmetric: TPMT_SYM_DEF,
  bind: u32,
  seed: TPM2B,
  handleOut: usize,
): u32 {
  if (freeSlots == 0) return TPM_RC_SESSION_MEMORY;
  const slot = freeSlot();
  // The last slot is kept for the oldest saved session when the counter has come round to it.
  if (oldestSaved < MAX_ACTIVE_SESSIONS && freeSlots == 1 && masked(gr.contextCounter) == contextEntry(oldestSaved)) {
    return TPM_RC_CONTEXT_GAP;
  }
  let index: u32 = 0;
  while (index < MAX_ACTIVE_SESSIONS && contextEntry(index) != 0) index++;
  if (index == MAX_ACTIVE_SESSIONS) return TPM_RC_SESSION_HANDLES;
  setContextEntry(index, slot + 1);
  freeSlots--;
  setSessionSlotOccupied(slot, true);
  const session = sessionSlot(slot);
  memory.fill(changetype<usize>(session), 0, SIZEOF_SESSION_RECORD);
  session.authHashAlg = authHash;
  if (type == TPM_SE_HMAC) store<u32>(handleOut, HMAC_SESSION_FIRST + index);
  else {
    store<u32>(handleOut, POLICY_SESSION_FIRST + index);
    session.attributes = SESSION_IS_POLICY | (type == TPM_SE_TRIAL ? SESSION_IS_TRIAL_POLICY : 0);
    sessionSetStartTime(session);
    session.u2.size = digestSizeOf(authHash);
  }
  session.nonceTPM.size = nonceCaller.size;
  cryptRandomGenerate(session.nonceTPM.buffer, session.nonceTPM.size);
  memory.copy(changetype<usize>(session.symmetric), changetype<usize>(symmetric), SIZEOF_TPMT_SYM_DEF_RECORD);
  if (bind != TPM_RH_NULL || seed.size != 0) {
    const key = changetype<TPM2B>(KEY);
    entityAuthValue(bind, key);
    concat2B(key, seed);
    session.sessionKey.size = digestSizeOf(authHash);
    cryptKdfa(
      authHash,
      key,
      LABEL_ATH,
      session.nonceTPM,
      nonceCaller,
      session.sessionKey.size * 8,
      session.sessionKey.buffer,
    );
    memory.fill(KEY, 0, 2 + 64 + 68);
  }
  if (bind != TPM_RH_NULL && type == TPM_SE_HMAC) {
    session.attributes |= SESSION_IS_BOUND;
    sessionComputeBoundEntity(bind, session.u1);
  }
  if (bind != TPM_RH_NULL && !isDAExempted(bind)) {
    session.attributes |= SESSION_IS_DA_BOUND | (bind == TPM_RH_LOCKOUT ? SESSION_IS_LOCKOUT_BOUND : 0);
  }
  return 0;
}

/** TPM2_ContextSave of a session: its slot becomes free. The context's id is written to `contextId`. */
export function sessionContextSave(handle: u32, contextId: usize): u32 {
  if (oldestSaved < MAX_ACTIVE_SESSIONS && contextEntry(oldestSaved) == masked(gr.contextCounter))
    return TPM_RC_CONTEXT_GAP;
  if (gr.contextCounter == u64.MAX_VALUE) return TPM_RC_TOO_MANY_CONTEXTS;
  store<u64>(contextId, gr.contextCounter);
  const index = handleIndex(handle);
  const slot = contextEntry(index) - 1;
  setContextEntry(index, masked(gr.contextCounter));
  gr.contextCounter++;
  // The values that mean "loaded in a slot" are no counter values.
  if (masked(gr.contextCounter) == 0) gr.contextCounter += MAX_LOADED_SESSIONS + 1;
  if (oldestSaved >= MAX_ACTIVE_SESSIONS) oldestSaved = index;
  setSessionSlotOccupied(slot, false);
  freeSlots++;
  return 0;
}

/** TPM2_ContextLoad of a session, from a SESSION record. */
export function sessionContextLoad(record: usize, handle: u32): u32 {
  if (freeSlots == 0) return TPM_RC_SESSION_MEMORY;
  const index = handleIndex(handle);
  if (
    oldestSaved < MAX_ACTIVE_SESSIONS &&
    freeSlots == 1 &&
    masked(gr.contextCounter) == contextEntry(oldestSaved) &&
    index != oldestSaved
  ) {
    return TPM_RC_CONTEXT_GAP;
  }
  const slot = freeSlot();
  setContextEntry(index, slot + 1);
  if (index == oldestSaved) setOldest();
  memory.copy(changetype<usize>(sessionSlot(slot)), record, SIZEOF_SESSION_RECORD);
  setSessionSlotOccupied(slot, true);
  freeSlots--;
  return 0;
}

/** Ends a loaded or saved session. */
export function sessionFlush(handle: u32): void {
  const index = handleIndex(handle);
  const entry = contextEntry(index);
  setContextEntry(index, 0);
  if (entry > MAX_LOADED_SESSIONS) {
    if (index == oldestSaved) setOldest();
  } else {
    memory.fill(changetype<usize>(sessionSlot(entry - 1)), 0, SIZEOF_SESSION_RECORD);
    setSessionSlotOccupied(entry - 1, false);
    freeSlots++;
  }
}

const AUTH: usize = memory.data(2 + 64, 8);

/** Bind value: the Name, padded with zeros, with the authValue XORed into its end. */
export function sessionComputeBoundEntity(handle: u32, bind: TPM2B): void {
  const auth = changetype<TPM2B>(AUTH);
  entityName(handle, bind);
  entityAuthValue(handle, auth);
  memory.fill(bind.buffer + bind.size, 0, SIZEOF_TPMU_NAME - bind.size);
  const start = bind.buffer + SIZEOF_TPMU_NAME - auth.size;
  for (let i: u32 = 0; i < auth.size; i++) store<u8>(start + i, load<u8>(start + i) ^ load<u8>(auth.buffer + i));
  bind.size = SIZEOF_TPMU_NAME;
  memory.fill(AUTH, 0, 2 + 64);
}

export function sessionSetStartTime(session: SESSION): void {
  session.startTime = g.time;
  session.epoch = gp.timeEpoch;
  session.timeout = 0;
}

/** A policy session starts over (TPM2_PolicyRestart, and after each use). */
export function sessionResetPolicyData(session: SESSION): void {
  session.commandCode = 0;
  session.commandLocality = 0;
  // The bytes too: a saved context has all of the record.
  memory.fill(changetype<usize>(session.u1), 0, 2 + SIZEOF_TPMU_NAME);
  session.timeout = 0;
  session.pcrCounter = 0;
  memory.fill(session.u2.buffer, 0, session.u2.size);
  session.attributes =
    SESSION_IS_POLICY |
    (session.attributes & (SESSION_IS_TRIAL_POLICY | SESSION_IS_DA_BOUND | SESSION_IS_LOCKOUT_BOUND));
}

/**
 * Whether u1 holds a cpHash, nameHash, parameters hash, template hash or bound entity. The size tells, not the attributes: states
 * of libtpms 0.9 have no attribute for a nameHash, and one must not take the other's place.
 */
export function isCpHashUnionOccupied(session: SESSION): bool {
  return session.u1.size != 0;
}

/** For TPM2_GetCapability: handles of loaded (or saved) sessions from `first` on; true if there are more. */
export function sessionCapGetHandles(first: u32, count: u32, list: TPML_HANDLE, saved: bool): bool {
  const max = min(count, MAX_CAP_HANDLES);
  list.count = 0;
  for (let index = handleIndex(first); index < MAX_ACTIVE_SESSIONS; index++) {
    const entry = contextEntry(index);
    if (entry == 0 || entry > MAX_LOADED_SESSIONS != saved) continue;
    if (list.count == max) return true;
    const policy = !saved && (sessionSlot(entry - 1).attributes & SESSION_IS_POLICY) != 0;
    list.set_handle(list.count, (policy ? POLICY_SESSION_FIRST : HMAC_SESSION_FIRST) + index);
    list.count++;
  }
  return false;
}

export function sessionActiveNumber(): u32 {
  let n: u32 = 0;
  for (let i: u32 = 0; i < MAX_ACTIVE_SESSIONS; i++) if (contextEntry(i) != 0) n++;
  return n;
}
