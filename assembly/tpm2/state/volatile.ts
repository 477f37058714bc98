// The volatile state (libtpms: VOLATILE_STATE, swtpm's "volatilestate"): what a running TPM has beside its permanent state, so that
// it can go on elsewhere. It fits only the permanent state it was saved with.
import { HASH_SHA1, hashOnce } from "../../crypto/hash";
import { timer } from "../clock";
import {
  associatedHandleAt,
  command,
  inputAuthAt,
  nonceCallerAt,
  sessionAttributesAt,
  sessionHandleAddress,
  sessionHandleAt,
  setAssociatedHandle,
  setSessionAttributes,
} from "../command";
import { TPM2B, equal2B } from "../cursor";
import { g, gc, go, gp, gr } from "../data";
import {
  FATAL_ERROR_NV_UNRECOVERABLE,
  fail,
  failureCode,
  failureFunction,
  failureLine,
  inFailureMode,
  setFailure,
} from "../failure";
import {
  HASH_COUNT,
  IMPLEMENTATION_PCR,
  MAX_ACTIVE_SESSIONS,
  MAX_DIGEST_SIZE,
  MAX_LOADED_OBJECTS,
  MAX_LOADED_SESSIONS,
  MAX_SESSION_NUM,
  NV_MEMORY_SIZE,
  PRIMARY_SEED_SIZE,
  RAM_INDEX_SPACE,
  SIZEOF_TPMU_NAME,
  TPM_ALG_NULL,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
} from "../generated/constants";
import { SESSION } from "../generated/engine-records";
import { marshal_TPMT_SYM_DEF, unmarshal_TPMT_SYM_DEF } from "../generated/structures";
import { digestSizeOf, hashAlgByIndex, hashNumber } from "../hash";
import { monotonicMilliseconds, wallClockMilliseconds } from "../host";
import { nvMaxCounter, setNvMaxCounter } from "../nv";
import { ORDERLY_RAM, RAM_ENTRY_HEADER } from "../nv-memory";
import { objectSlot } from "../object";
import { keepLimits, restoreLimits } from "../profile";
import { enableAllAlgorithms } from "../profile-lists";
import { randomApplyProfile } from "../random";
import { pcrAddress } from "../pcr";
import {
  sessionFreeSlots,
  sessionOldestSaved,
  sessionSlot,
  sessionSlotOccupied,
  setSessionCounters,
  setSessionSlotOccupied,
} from "../session";
import { TPM_RC_BAD_PARAMETER } from "./codes";
import { orderlyDataTransfer, stateClearTransfer, stateResetTransfer } from "./data-transfer";
import { anyObjectTransfer } from "./object-transfer";
import {
  beginBlock,
  beginRead,
  beginWrite,
  blockHasContent,
  boolValue,
  endBlock,
  exactArray,
  extensionBlock,
  header,
  isReading,
  lendCursor,
  reclaimCursor,
  transferAt,
  transferError,
  transferFail,
  twoB,
  u16Value,
  u32Value,
  u64Value,
  u8Value,
  unneededBlock,
} from "./transfer";

const IGNORED: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);

const FAIL_STATE: u32 = 0x5702;

const MAGIC: u32 = 0x45637889;
const VERSION: u32 = 4;
const SESSION_SLOT_MAGIC: u32 = 0x3664aebc;
const SESSION_MAGIC: u32 = 0x44be9f45;
const PCR_MAGIC: u32 = 0xe95f0387;
const VERSION_2: u32 = 2;
const CLOCK_NONCE_SIZE: u32 = 4;
const SHA1_SIZE: u32 = 20;

const DIGEST: usize = memory.data(20, 8);

/** Writes the volatile state to `out`; returns its length, 0 after an error. */
export function saveVolatile(out: usize, capacity: u32): u32 {
  beginWrite(out, capacity - SHA1_SIZE);
  volatileTransfer();
  if (transferError() != 0) return 0;
  const length = <u32>(transferAt() - out);
  hashOnce(HASH_SHA1, out, length, out + length);
  return length + SHA1_SIZE;
}

/** Reads a volatile state of `size` bytes into a TPM that was just initialised. Returns 0 or a TPM_RC, and is in failure mode then. */
export function loadVolatile(at: usize, size: u32): u32 {
  const rc = readVolatile(at, size);
  if (rc != 0) fail(FAIL_STATE, FATAL_ERROR_NV_UNRECOVERABLE);
  return rc;
}

function readVolatile(at: usize, size: u32): u32 {
  if (size < SHA1_SIZE) return TPM_RC_SIZE;
  hashOnce(HASH_SHA1, at, size - SHA1_SIZE, DIGEST);
  if (memory.compare(DIGEST, at + size - SHA1_SIZE, SHA1_SIZE) != 0) return TPM_RC_BAD_PARAMETER;
  beginRead(at, size - SHA1_SIZE);
  keepLimits();
  enableAllAlgorithms();
  volatileTransfer();
  restoreLimits();
  randomApplyProfile();
  if (transferError() == 0 && transferAt() != at + size - SHA1_SIZE) transferFail(TPM_RC_SIZE);
  return transferError();
}

function volatileTransfer(): void {
  const version = header(VERSION, MAGIC, 1);
  g.exclusiveAuditSession = u32Value(g.exclusiveAuditSession);
  g.time = u64Value(g.time);
  g.phEnable = boolValue(g.phEnable);
  g.pcrReConfig = boolValue(g.pcrReConfig);
  g.drtmHandle = u32Value(g.drtmHandle);
  g.drtmPreStartup = boolValue(g.drtmPreStartup);
  g.startupLocality3 = boolValue(g.startupLocality3);
  const daUsed = beginBlock();
  g.daUsed = boolValue(g.daUsed);
  endBlock(daUsed);
  g.powerWasLost = boolValue(g.powerWasLost);
  g.prevOrderlyState = u16Value(g.prevOrderlyState);
  g.nvOk = boolValue(g.nvOk);
  // A text that stands for a value of the platform in libtpms 0.9, and that nothing uses.
  const unused = changetype<TPM2B>(IGNORED);
  unused.size = 0;
  twoB(unused, MAX_DIGEST_SIZE);
  orderlyDataTransfer(go);
  stateClearTransfer(gc);
  stateResetTransfer(gr);
  boolValue(true);
  g.started = boolValue(g.started);
  commandBlock();
  unneededBlock(false);
  nvBlock();
  slotsTransfer();
  failureTransfer();
  timeTransfer(version);
  if (u32Value(MAGIC) != MAGIC) transferFail(TPM_RC_VALUE);
}

/** What the last command left of its sessions. */
function commandBlock(): void {
  const mark = beginBlock();
  if (u16Value(MAX_SESSION_NUM) != MAX_SESSION_NUM) transferFail(TPM_RC_SIZE);
  for (let i: u32 = 0; i < MAX_SESSION_NUM; i++) {
    store<u32>(sessionHandleAddress(i), u32Value(sessionHandleAt(i)));
    setSessionAttributes(i, u8Value(sessionAttributesAt(i)));
    setAssociatedHandle(i, u32Value(associatedHandleAt(i)));
    twoB(nonceCallerAt(i), MAX_DIGEST_SIZE);
    twoB(inputAuthAt(i), MAX_DIGEST_SIZE);
  }
  command.encryptSession = u32Value(command.encryptSession);
  command.decryptSession = u32Value(command.decryptSession);
  command.auditSession = u32Value(command.auditSession);
  const audit = beginBlock();
  const digest = changetype<TPM2B>(IGNORED);
  digest.size = 0;
  twoB(digest, MAX_DIGEST_SIZE);
  endBlock(audit);
  g.daPendingOnNV = boolValue(g.daPendingOnNV);
  endBlock(mark);
}

/** The orderly indexes' table as it lies in the memory of a little-endian machine. */
function nvBlock(): void {
  const mark = beginBlock();
  u32Value(NV_MEMORY_SIZE);
  exactArray(ORDERLY_RAM, RAM_INDEX_SPACE);
  if (isReading() && transferError() == 0 && !orderlyRamIsSound()) transferFail(TPM_RC_VALUE);
  setNvMaxCounter(u64Value(nvMaxCounter()));
  endBlock(mark);
}

function orderlyRamIsSound(): bool {
  let offset: u32 = 0;
  while (offset + RAM_ENTRY_HEADER <= RAM_INDEX_SPACE) {
    const size = load<u32>(ORDERLY_RAM + offset);
    if (size == 0) return true;
    if (size < RAM_ENTRY_HEADER || size > RAM_INDEX_SPACE - offset) return false;
    offset += size;
  }
  return true;
}

function slotsTransfer(): void {
  const objects = beginBlock();
  if (u16Value(MAX_LOADED_OBJECTS) != MAX_LOADED_OBJECTS) transferFail(TPM_RC_SIZE);
  for (let i: u32 = 0; i < MAX_LOADED_OBJECTS; i++) anyObjectTransfer(objectSlot(i));
  endBlock(objects);
  const registers = beginBlock();
  if (u16Value(IMPLEMENTATION_PCR) != IMPLEMENTATION_PCR) transferFail(TPM_RC_SIZE);
  for (let pcr: u32 = 0; pcr < IMPLEMENTATION_PCR; pcr++) pcrTransfer(pcr);
  endBlock(registers);
  const sessions = beginBlock();
  if (u16Value(MAX_LOADED_SESSIONS) != MAX_LOADED_SESSIONS) transferFail(TPM_RC_SIZE);
  for (let i: u32 = 0; i < MAX_LOADED_SESSIONS; i++) sessionSlotTransfer(i);
  const oldest = u32Value(sessionOldestSaved());
  const free = u32Value(sessionFreeSlots());
  if (free > MAX_LOADED_SESSIONS || oldest > MAX_ACTIVE_SESSIONS + 1) transferFail(TPM_RC_VALUE);
  else setSessionCounters(oldest, free);
  endBlock(sessions);
  if (isReading() && transferError() == 0 && !contextArrayIsSound()) transferFail(TPM_RC_VALUE);
}

/** Every loaded session's handle leads to an occupied slot, and each slot has one handle. */
function contextArrayIsSound(): bool {
  let seen: u32 = 0;
  for (let i: u32 = 0; i < MAX_ACTIVE_SESSIONS; i++) {
    const entry: u32 = load<u16>(gr.contextArray + 2 * <usize>i);
    if (entry == 0 || entry > MAX_LOADED_SESSIONS) continue;
    if ((seen >> entry) & 1 || !sessionSlotOccupied(entry - 1)) return false;
    seen |= (<u32>1) << entry;
  }
  return true;
}

/** One register in all banks. */
function pcrTransfer(pcr: u32): void {
  const version = header(VERSION_2, PCR_MAGIC, 1);
  for (let bank: u32 = 0; bank <= HASH_COUNT; bank++) {
    const alg = u16Value(bank == HASH_COUNT ? TPM_ALG_NULL : hashAlgByIndex(bank));
    if (transferError() != 0) return;
    if (alg == TPM_ALG_NULL) break;
    if (hashNumber(alg) > 3) {
      transferFail(TPM_RC_BAD_PARAMETER);
      return;
    }
    exactArray(pcrAddress(alg, pcr), digestSizeOf(alg));
  }
  extensionBlock(version);
}

function sessionSlotTransfer(slot: u32): void {
  const version = header(VERSION_2, SESSION_SLOT_MAGIC, 1);
  const occupied = boolValue(sessionSlotOccupied(slot));
  if (transferError() != 0) return;
  setSessionSlotOccupied(slot, occupied);
  // A free slot ends here.
  if (!occupied) return;
  sessionTransfer(sessionSlot(slot));
  extensionBlock(version);
}

export function sessionTransfer(session: SESSION): void {
  const version = header(VERSION_2, SESSION_MAGIC, 1);
  session.attributes = u32Value(session.attributes);
  session.pcrCounter = u32Value(session.pcrCounter);
  session.startTime = u64Value(session.startTime);
  session.timeout = u64Value(session.timeout);
  if (u8Value(CLOCK_NONCE_SIZE) != CLOCK_NONCE_SIZE) transferFail(TPM_RC_SIZE);
  session.epoch = u32Value(session.epoch);
  session.commandCode = u32Value(session.commandCode);
  session.authHashAlg = u16Value(session.authHashAlg);
  if (digestSizeOf(session.authHashAlg) == 0) transferFail(TPM_RC_VALUE);
  session.commandLocality = u8Value(session.commandLocality);
  lendCursor();
  let rc: u32 = 0;
  if (isReading()) rc = unmarshal_TPMT_SYM_DEF(changetype<usize>(session.symmetric), true);
  else marshal_TPMT_SYM_DEF(changetype<usize>(session.symmetric));
  reclaimCursor(rc);
  twoB(session.sessionKey, MAX_DIGEST_SIZE);
  twoB(session.nonceTPM, MAX_DIGEST_SIZE);
  twoB(session.u1, SIZEOF_TPMU_NAME);
  twoB(session.u2, MAX_DIGEST_SIZE);
  extensionBlock(version);
}

function failureTransfer(): void {
  const failed = boolValue(inFailureMode());
  g.tpmEstablished = boolValue(g.tpmEstablished);
  const mark = beginBlock();
  const where = u32Value(failureFunction());
  const line = u32Value(failureLine());
  const code = u32Value(failureCode());
  endBlock(mark);
  if (isReading() && transferError() == 0) setFailure(failed, where, line, code);
}

const SEED: usize = memory.data(2 + 64, 8);

/** The timer, the seeds that tie this state to its permanent one, and where the host's clocks stood. */
function timeTransfer(version: u32): void {
  const mark = beginBlock();
  timer.realTimePrevious = u64Value(timer.realTimePrevious);
  timer.tpmTime = u64Value(timer.tpmTime);
  endBlock(mark);
  timer.reset = boolValue(timer.reset);
  timer.stopped = boolValue(timer.stopped);
  timer.adjustRate = u32Value(timer.adjustRate);
  if (transferError() == 0 && timer.adjustRate == 0) transferFail(TPM_RC_VALUE);
  const savedAt = u64Value(wallClockMilliseconds());
  let monotonicTimes = false;
  if (version >= 2) {
    if (isReading() && !blockHasContent()) unneededBlock(true);
    else {
      const seeds = beginBlock();
      seedTransfer(gp.EPSeed);
      seedTransfer(gp.SPSeed);
      seedTransfer(gp.PPSeed);
      if (isReading() && !blockHasContent()) unneededBlock(true);
      else {
        monotonicTimes = true;
        clockTransfer();
      }
      endBlock(seeds);
    }
  }
  if (isReading() && transferError() == 0) resumeTimer(savedAt, monotonicTimes);
}

/** The seed of the permanent state has to be the one this state was saved with. */
function seedTransfer(own: TPM2B): void {
  const seed = changetype<TPM2B>(SEED);
  memory.copy(SEED, changetype<usize>(own), 2 + PRIMARY_SEED_SIZE);
  twoB(seed, PRIMARY_SEED_SIZE);
  if (transferError() == 0 && !equal2B(seed, own)) transferFail(TPM_RC_VALUE);
  memory.fill(SEED, 0, 2 + PRIMARY_SEED_SIZE);
}

function clockTransfer(): void {
  const mark = beginBlock();
  const now = monotonicMilliseconds();
  const host = u64Value(now + <u64>timer.hostMonotonicAdjustTime);
  timer.suspendedElapsedTime = u64Value(timer.suspendedElapsedTime);
  timer.lastSystemTime = u64Value(timer.lastSystemTime);
  timer.lastReportedTime = u64Value(timer.lastReportedTime);
  if (isReading()) timer.hostMonotonicAdjustTime = <i64>(host - now);
  extensionBlock(VERSION_2);
  endBlock(mark);
}

/** The time of the suspension passes for the TPM too; states up to version 3 counted in wall-clock time. */
function resumeTimer(savedAt: u64, monotonicTimes: bool): void {
  const now = wallClockMilliseconds();
  if (monotonicTimes) {
    if (now > savedAt) timer.suspendedElapsedTime += now - savedAt;
    return;
  }
  timer.suspendedElapsedTime = now;
  timer.hostMonotonicAdjustTime = -(<i64>monotonicMilliseconds());
  timer.lastSystemTime = now;
  timer.lastReportedTime = now;
}
