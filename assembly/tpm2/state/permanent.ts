// The permanent state (libtpms: PERSISTENT_ALL, swtpm's "permall"): everything that survives a power cycle.
import { gp, savedOrderly, savedStateClear, savedStateReset } from "../data";
import { FATAL_ERROR_NV_UNRECOVERABLE, fail } from "../failure";
import { TPM_RC_SIZE, TPM_RC_VALUE, TPM_SU_STATE } from "../generated/constants";
import { ORDERLY_DATA, STATE_CLEAR, STATE_RESET } from "../generated/engine-records";
import { SAVED_ORDERLY_RAM, nvClearMemory } from "../nv-memory";
import { keepLimits, profile, restoreLimits } from "../profile";
import { enableAllAlgorithms } from "../profile-lists";
import { activeProfile, setNullProfile, setProfile } from "../profile-text";
import { textLength } from "../text";
import { compileConstantsTransfer } from "./compile-constants";
import { orderlyDataTransfer, persistentDataTransfer, stateClearTransfer, stateResetTransfer } from "./data-transfer";
import { orderlyRamTransfer, userNvramTransfer } from "./nv-transfer";
import {
  beginRead,
  beginWrite,
  extensionBlock,
  header,
  bytesField,
  bytesInPlace,
  isReading,
  transferAt,
  transferError,
  transferFail,
  u16Value,
  u32Value,
} from "./transfer";

const FAIL_STATE: u32 = 0x5701;

const MAGIC: u32 = 0xab364723;
/** Version 3 has no profile; version 4 begins with it. */
const VERSION_NULL_PROFILE: u32 = 3;
const VERSION: u32 = 4;
/** orderlyState without its flags. */
const SU_STATE_MASK: u32 = 0x3fff;

/** Writes the permanent state to `out`; returns its length. */
export function savePermanent(out: usize, capacity: u32): u32 {
  beginWrite(out, capacity);
  permanentTransfer();
  return transferError() == 0 ? <u32>(transferAt() - out) : 0;
}

/** Reads a permanent state of `size` bytes into a TPM that has nothing yet. Returns 0 or a TPM_RC, and is in failure mode then. */
export function loadPermanent(at: usize, size: u32): u32 {
  setNullProfile();
  nvClearMemory();
  beginRead(at, size);
  permanentTransfer();
  if (transferError() == 0 && transferAt() != at + size) transferFail(TPM_RC_SIZE);
  // What was read until then is no TPM.
  if (transferError() != 0) fail(FAIL_STATE, FATAL_ERROR_NV_UNRECOVERABLE);
  return transferError();
}

function permanentTransfer(): void {
  const written = profile.stateFormatLevel == 1 ? VERSION_NULL_PROFILE : VERSION;
  const version = header(isReading() ? VERSION : written, MAGIC, written);
  if (version >= VERSION) profileTransfer();
  // What the profile takes away today may be in the state all the same.
  if (isReading()) {
    keepLimits();
    enableAllAlgorithms();
  }
  compileConstantsTransfer();
  persistentDataTransfer();
  orderlyDataTransfer(changetype<ORDERLY_DATA>(savedOrderly));
  // Version 2 always had these two.
  if (version < 3 || (gp.orderlyState & SU_STATE_MASK) == TPM_SU_STATE) {
    stateResetTransfer(changetype<STATE_RESET>(savedStateReset));
    stateClearTransfer(changetype<STATE_CLEAR>(savedStateClear));
  }
  orderlyRamTransfer(SAVED_ORDERLY_RAM);
  userNvramTransfer();
  extensionBlock(version);
  if (u32Value(MAGIC) != MAGIC) transferFail(TPM_RC_VALUE);
  if (isReading()) restoreLimits();
}

/** The profile's JSON: UINT16 length with its zero; 0 stands for the null profile. */
function profileTransfer(): void {
  const text = activeProfile();
  const size = u16Value(textLength(text) + 1);
  if (!isReading()) {
    bytesField(text, size);
    return;
  }
  const at = bytesInPlace(size);
  if (at == 0 || size == 0) return;
  let length: u32 = 0;
  while (length < size && load<u8>(at + length) != 0) length++;
  const rc = setProfile(at, length, false);
  if (rc != 0) transferFail(rc);
}
