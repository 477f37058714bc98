// The groups of the TPM's data in libtpms' format: PERSISTENT_DATA, ORDERLY_DATA, STATE_RESET, STATE_CLEAR.
import { DRBG_LAST_VALUE, DRBG_RESEED_COUNTER, DRBG_SEED, DRBG_SEED_SIZE, DRBG_STATE_MAGIC } from "../../crypto/drbg";
import { gp } from "../data";
import {
  HASH_COUNT,
  MAX_ACTIVE_SESSIONS,
  MAX_DIGEST_SIZE,
  PRIMARY_SEED_SIZE,
  PROOF_SIZE,
  TPM_ALG_NULL,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
} from "../generated/constants";
import { ORDERLY_DATA, STATE_CLEAR, STATE_RESET } from "../generated/engine-records";
import { TPML_PCR_SELECTION, marshal_TPML_PCR_SELECTION, unmarshal_TPML_PCR_SELECTION } from "../generated/structures";
import { digestSizeOf, hashAlgByIndex } from "../hash";
import { pcrActivateAllocation } from "../pcr";
import { profile } from "../profile";
import { commandListTransfer } from "./command-list";
import {
  arrayField,
  beginBlock,
  blockHasContent,
  endBlock,
  exactArray,
  extensionBlock,
  header,
  isReading,
  lendCursor,
  reclaimCursor,
  transferError,
  transferFail,
  twoB,
  u16Value,
  u32Field,
  u32Value,
  u64Field,
  u64Value,
  u8Value,
  unneededBlock,
} from "./transfer";

const PERSISTENT_DATA_MAGIC: u32 = 0x12213443;
const PERSISTENT_DATA_VERSION: u32 = 5;
const PCR_POLICY_MAGIC: u32 = 0x176be626;
const ORDERLY_DATA_MAGIC: u32 = 0x56657887;
const DRBG_STATE_TRANSFER_MAGIC: u32 = 0x6fe83ea1;
const STATE_RESET_MAGIC: u32 = 0x01102332;
const STATE_RESET_VERSION: u32 = 4;
const STATE_CLEAR_MAGIC: u32 = 0x98897667;
const PCR_SAVE_MAGIC: u32 = 0x7372eabc;
const PCR_AUTHVALUE_MAGIC: u32 = 0x6be82eaf;
const VERSION_2: u32 = 2;
const SAVED_PCR: u32 = 16;
const CLOCK_NONCE_SIZE: u32 = 4;

/** The version of PERSISTENT_DATA that this StateFormatLevel writes. */
function persistentVersion(): u32 {
  return profile.stateFormatLevel >= 3 ? 5 : 4;
}

export function persistentDataTransfer(): void {
  const written = persistentVersion();
  const version = header(isReading() ? PERSISTENT_DATA_VERSION : written, PERSISTENT_DATA_MAGIC, written);
  gp.disableClear = u8Value(gp.disableClear);
  gp.ownerAlg = u16Value(gp.ownerAlg);
  gp.endorsementAlg = u16Value(gp.endorsementAlg);
  gp.lockoutAlg = u16Value(gp.lockoutAlg);
  twoB(gp.ownerPolicy, MAX_DIGEST_SIZE);
  twoB(gp.endorsementPolicy, MAX_DIGEST_SIZE);
  twoB(gp.lockoutPolicy, MAX_DIGEST_SIZE);
  twoB(gp.ownerAuth, MAX_DIGEST_SIZE);
  twoB(gp.endorsementAuth, MAX_DIGEST_SIZE);
  twoB(gp.lockoutAuth, MAX_DIGEST_SIZE);
  twoB(gp.EPSeed, PRIMARY_SEED_SIZE);
  twoB(gp.SPSeed, PRIMARY_SEED_SIZE);
  twoB(gp.PPSeed, PRIMARY_SEED_SIZE);
  twoB(gp.phProof, PROOF_SIZE);
  twoB(gp.shProof, PROOF_SIZE);
  twoB(gp.ehProof, PROOF_SIZE);
  gp.totalResetCount = u64Value(gp.totalResetCount);
  gp.resetCount = u32Value(gp.resetCount);
  pcrPolicyTransfer();
  pcrSelectionTransfer(gp.pcrAllocated);
  // Up to version 2 there is no other.
  if (isReading()) pcrActivateAllocation();
  commandListTransfer(gp.ppList, version, 0);
  gp.failedTries = u32Value(gp.failedTries);
  gp.maxTries = u32Value(gp.maxTries);
  gp.recoveryTime = u32Value(gp.recoveryTime);
  gp.lockoutRecovery = u32Value(gp.lockoutRecovery);
  gp.lockOutAuthEnabled = u8Value(gp.lockOutAuthEnabled);
  gp.orderlyState = u16Value(gp.orderlyState);
  commandListTransfer(gp.auditCommands, version, 1);
  gp.auditHashAlg = u16Value(gp.auditHashAlg);
  gp.auditCounter = u64Value(gp.auditCounter);
  gp.algorithmSet = u32Value(gp.algorithmSet);
  gp.firmwareV1 = u32Value(gp.firmwareV1);
  gp.firmwareV2 = u32Value(gp.firmwareV2);
  if (u8Value(CLOCK_NONCE_SIZE) != CLOCK_NONCE_SIZE) transferFail(TPM_RC_SIZE);
  gp.timeEpoch = u32Value(gp.timeEpoch);
  if (version >= 2) persistentAdditions(version);
}

/** Version 3: the allocation in force. Version 4: how the seeds' keys are derived. */
function persistentAdditions(version: u32): void {
  if (isReading() && version < 3) {
    unneededBlock(true);
    setSeedCompatLevels(0);
    return;
  }
  const active = beginBlock();
  pcrSelectionTransfer(gp.pcrActive);
  if (isReading() && version < 4) {
    unneededBlock(true);
    setSeedCompatLevels(0);
  } else {
    const seeds = beginBlock();
    gp.EPSeedCompatLevel = u8Value(gp.EPSeedCompatLevel);
    gp.SPSeedCompatLevel = u8Value(gp.SPSeedCompatLevel);
    gp.PPSeedCompatLevel = u8Value(gp.PPSeedCompatLevel);
    extensionBlock(VERSION_2);
    endBlock(seeds);
  }
  endBlock(active);
}

function setSeedCompatLevels(level: u32): void {
  gp.EPSeedCompatLevel = level;
  gp.SPSeedCompatLevel = level;
  gp.PPSeedCompatLevel = level;
}

/** One policy group, to which no register of this platform belongs. */
function pcrPolicyTransfer(): void {
  const mark = beginBlock();
  const version = header(VERSION_2, PCR_POLICY_MAGIC, 1);
  if (u16Value(1) != 1) transferFail(TPM_RC_SIZE);
  gp.pcrPolicyAlg = u16Value(isReading() ? 0 : gp.pcrPolicyAlg);
  twoB(gp.pcrPolicy, MAX_DIGEST_SIZE);
  extensionBlock(version);
  endBlock(mark);
}

function pcrSelectionTransfer(selection: TPML_PCR_SELECTION): void {
  lendCursor();
  let rc: u32 = 0;
  if (isReading()) rc = unmarshal_TPML_PCR_SELECTION(changetype<usize>(selection));
  else marshal_TPML_PCR_SELECTION(changetype<usize>(selection));
  reclaimCursor(rc);
}

export function orderlyDataTransfer(data: ORDERLY_DATA): void {
  const version = header(VERSION_2, ORDERLY_DATA_MAGIC, 1);
  data.clock = u64Value(data.clock);
  data.clockSafe = u8Value(data.clockSafe);
  drbgTransfer(data.drbgState);
  const mark = beginBlock();
  data.selfHealTimer = u64Value(data.selfHealTimer);
  data.lockoutTimer = u64Value(data.lockoutTimer);
  data.time = u64Value(data.time);
  endBlock(mark);
  extensionBlock(version);
}

function drbgTransfer(state: usize): void {
  const version = header(VERSION_2, DRBG_STATE_TRANSFER_MAGIC, 1);
  u64Field(state + DRBG_RESEED_COUNTER);
  u32Field(state + DRBG_STATE_MAGIC);
  exactArray(state + DRBG_SEED, DRBG_SEED_SIZE);
  if (u16Value(4) != 4) transferFail(TPM_RC_SIZE);
  for (let i: usize = 0; i < 4; i++) u32Field(state + DRBG_LAST_VALUE + 4 * i);
  extensionBlock(version);
}

export function stateResetTransfer(data: STATE_RESET): void {
  const version = header(STATE_RESET_VERSION, STATE_RESET_MAGIC, STATE_RESET_VERSION);
  twoB(data.nullProof, PROOF_SIZE);
  twoB(data.nullSeed, PRIMARY_SEED_SIZE);
  data.clearCount = u32Value(data.clearCount);
  data.objectContextID = u64Value(data.objectContextID);
  if (u16Value(MAX_ACTIVE_SESSIONS) != MAX_ACTIVE_SESSIONS) transferFail(TPM_RC_SIZE);
  for (let i: u32 = 0; i < MAX_ACTIVE_SESSIONS; i++) {
    const at = data.contextArray + 2 * <usize>i;
    // Up to version 3 the contexts were counted in eight bits.
    store<u16>(at, <u16>(version <= 3 ? u8Value(load<u16>(at)) : u16Value(load<u16>(at))));
  }
  // Before the first TPM2_Startup nothing has set it.
  if (!isReading() && data.contextSlotMask == 0) data.contextSlotMask = 0xffff;
  if (version > 3) data.contextSlotMask = u16Value(data.contextSlotMask);
  else data.contextSlotMask = 0xff;
  if (transferError() == 0 && data.contextSlotMask != 0xff && data.contextSlotMask != 0xffff)
    transferFail(TPM_RC_VALUE);
  data.contextCounter = u64Value(data.contextCounter);
  twoB(data.commandAuditDigest, MAX_DIGEST_SIZE);
  data.restartCount = u32Value(data.restartCount);
  data.pcrCounter = u32Value(data.pcrCounter);
  const commit = beginBlock();
  data.commitCounter = u64Value(data.commitCounter);
  twoB(data.commitNonce, MAX_DIGEST_SIZE);
  exactArray(data.commitArray, 16);
  endBlock(commit);
  if (version < 2) return;
  if (isReading() && !blockHasContent()) {
    unneededBlock(true);
    data.nullSeedCompatLevel = 0;
    return;
  }
  const seed = beginBlock();
  data.nullSeedCompatLevel = u8Value(data.nullSeedCompatLevel);
  extensionBlock(VERSION_2);
  endBlock(seed);
}

export function stateClearTransfer(data: STATE_CLEAR): void {
  const version = header(VERSION_2, STATE_CLEAR_MAGIC, 1);
  data.shEnable = u8Value(data.shEnable);
  data.ehEnable = u8Value(data.ehEnable);
  data.phEnableNV = u8Value(data.phEnableNV);
  data.platformAlg = u16Value(data.platformAlg);
  twoB(data.platformPolicy, MAX_DIGEST_SIZE);
  twoB(data.platformAuth, MAX_DIGEST_SIZE);
  pcrSaveTransfer(data);
  const found = header(VERSION_2, PCR_AUTHVALUE_MAGIC, 1);
  if (u16Value(1) != 1) transferFail(TPM_RC_SIZE);
  twoB(data.pcrAuthValue, MAX_DIGEST_SIZE);
  extensionBlock(found);
  extensionBlock(version);
}

/** The saved registers, bank by bank: 16 digests each. */
function pcrSaveTransfer(data: STATE_CLEAR): void {
  const version = header(VERSION_2, PCR_SAVE_MAGIC, 1);
  if (u16Value(SAVED_PCR) != SAVED_PCR) transferFail(TPM_RC_SIZE);
  let at = data.pcrSave;
  for (let bank: u32 = 0; bank <= HASH_COUNT; bank++) {
    const expected = bank == HASH_COUNT ? TPM_ALG_NULL : hashAlgByIndex(bank);
    const alg = u16Value(expected);
    if (transferError() != 0) return;
    if (alg == TPM_ALG_NULL) break;
    if (alg != expected) {
      transferFail(TPM_RC_VALUE);
      return;
    }
    const size = SAVED_PCR * digestSizeOf(alg);
    arrayField(at, size);
    at += size;
  }
  extensionBlock(version);
}
