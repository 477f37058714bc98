// The TPM's data, in the groups of the reference: what survives everything (gp), what an orderly shutdown keeps (go), what lives
// from TPM Reset to TPM Reset (gr), from Restart to Restart (gc), and the rest, which a power cycle ends.
import {
  ORDERLY_DATA,
  PERSISTENT_DATA,
  SIZEOF_ORDERLY_DATA_RECORD,
  SIZEOF_PERSISTENT_DATA_RECORD,
  SIZEOF_STATE_CLEAR_RECORD,
  SIZEOF_STATE_RESET_RECORD,
  STATE_CLEAR,
  STATE_RESET,
} from "./generated/engine-records";
import { TPM_RH_UNASSIGNED } from "./generated/constants";

/** PERSISTENT_DATA. */
export const gp = changetype<PERSISTENT_DATA>(memory.data(SIZEOF_PERSISTENT_DATA_RECORD, 16));
/** ORDERLY_DATA. */
export const go = changetype<ORDERLY_DATA>(memory.data(SIZEOF_ORDERLY_DATA_RECORD, 16));
/** STATE_CLEAR_DATA. */
export const gc = changetype<STATE_CLEAR>(memory.data(SIZEOF_STATE_CLEAR_RECORD, 16));
/** STATE_RESET_DATA. */
export const gr = changetype<STATE_RESET>(memory.data(SIZEOF_STATE_RESET_RECORD, 16));

/** The copies of gc and gr that TPM2_Shutdown(STATE) leaves in NV, read back by TPM2_Startup. */
export const savedStateClear: usize = memory.data(SIZEOF_STATE_CLEAR_RECORD, 16);
export const savedStateReset: usize = memory.data(SIZEOF_STATE_RESET_RECORD, 16);
/** The copy of go in NV: what a power cycle without shutdown finds. */
export const savedOrderly: usize = memory.data(SIZEOF_ORDERLY_DATA_RECORD, 16);

/** orderlyState values beside TPM_SU_CLEAR and TPM_SU_STATE. */
export const SU_NONE_VALUE: u32 = 0xffff;
export const SU_DA_USED_VALUE: u32 = 0xfffe;
export const PRE_STARTUP_FLAG: u32 = 0x8000;
export const STARTUP_LOCALITY_3: u32 = 0x4000;

/** What a startup is (Part 1, 12.2.3): after CLEAR or nothing; CLEAR after STATE; STATE after STATE. */
export const SU_RESET: u32 = 0;
export const SU_RESTART: u32 = 1;
export const SU_RESUME: u32 = 2;

/** What a command changed (bits of the ABI's changes()). */
export const CHANGED_PERMANENT: u32 = 1;

/** The record of a power cycle: everything here starts over at _TPM_Init. */
@unmanaged
export class PowerCycle {
  /** Locality of the command being run. */
  locality: u32;
  started: bool;
  phEnable: bool;
  /** A PCR_Allocate waits for the next TPM Reset: TPM2_Shutdown(STATE) is refused. */
  pcrReConfig: bool;
  /** An H-CRTM event sequence ran before TPM2_Startup. */
  drtmPreStartup: bool;
  startupLocality3: bool;
  daUsed: bool;
  /** Command data that Shutdown(STATE) keeps changed: the orderly flag has to go. */
  clearOrderly: bool;
  daPendingOnNV: bool;
  nvOk: bool;
  physicalPresence: bool;
  tpmEstablished: bool;
  powerWasLost: bool;
  prevOrderlyState: u32;
  /** Object handle of the event sequence of _TPM_Hash_Start, or TPM_RH_UNASSIGNED. */
  drtmHandle: u32;
  exclusiveAuditSession: u32;
  /** CHANGED_* of the command being run. */
  changes: u32;
  /** Milliseconds since power-on. */
  time: u64;
}

export const g = changetype<PowerCycle>(memory.data(128, 16));

/** Back to what _TPM_Init finds, before the state is read. */
export function resetPowerCycle(): void {
  memory.fill(changetype<usize>(g), 0, offsetof<PowerCycle>());
  g.drtmHandle = TPM_RH_UNASSIGNED;
  g.exclusiveAuditSession = TPM_RH_UNASSIGNED;
  g.nvOk = true;
}

/** Marks the permanent state as changed: it is stored before the response leaves. */
@inline
export function nvChanged(): void {
  g.changes |= CHANGED_PERMANENT;
}

/** Shutdown state of the data in NV: anything but "none" and "DA used". */
@inline
export function isOrderly(state: u32): bool {
  return state < SU_DA_USED_VALUE;
}

/** Part 1, 37.7.2: data that Shutdown(STATE) preserved is about to change. */
@inline
export function clearOrderly(): void {
  g.clearOrderly = true;
}
