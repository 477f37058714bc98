// The exports of the TPM 2.0 engine: its ABI (docs/abi.md). Nothing here but what a host calls.
import { abortColumn, abortLine } from "../abort";
import { rsaKernelSelfTest } from "../crypto/rsa-selftest";
import { g } from "./data";
import {
  COMMAND_BUFFER,
  RESPONSE_BUFFER,
  executeCommand,
  maxCommandSize,
  minCommandSize,
  requestCancel,
  resumePending,
  setMaxCommandSize,
} from "./execute";
import { FATAL_ERROR_NV_UNRECOVERABLE, fail, inFailureMode } from "./failure";
import { MAX_COMMAND_SIZE } from "./generated/constants";
import { manufacture as manufactureTpm, tpmInit } from "./manufacture";
import { pcrResumeAllocation } from "./pcr";
import { printRuntime } from "./profile-print";
import { activeProfile, printBuiltIn, setNullProfile, setProfile } from "./profile-text";
import { cryptRandomStir } from "./random";
import { hashData, hashEnd, hashStart } from "./sequence";
import { loadPermanent, savePermanent } from "./state/permanent";
import { loadVolatile, saveVolatile } from "./state/volatile";
import { textAppend, textBegin, textLength } from "./text";

/** Larger than any state: all of the NV memory, and then some. */
const STATE_BUFFER_SIZE: u32 = 393216;
const FAIL_HOST: u32 = 0x5501;
const STATE_BUFFER: usize = memory.data(STATE_BUFFER_SIZE, 16);

/** Version of this ABI: the host refuses another major one. */
export function abi_version(): u32 {
  return 1;
}

/**
 * Whether multiplication gives known results on this WebAssembly engine: 1 or 0. The fused build needs an engine whose relaxed
 * multiply-add is fused; on others a host takes the other build. Needs no TPM; about 0.1 ms.
 */
export function kernel_self_test(): u32 {
  return rsaKernelSelfTest() != 0 ? 1 : 0;
}

/** Where the host writes a command of at most command_buffer_size() bytes. */
export function command_buffer(): usize {
  return COMMAND_BUFFER;
}
export function command_buffer_size(): u32 {
  return MAX_COMMAND_SIZE;
}
/** Where it finds the response. */
export function response_buffer(): usize {
  return RESPONSE_BUFFER;
}

/** Where state blobs are handed over: at most state_buffer_size() bytes. */
export function state_buffer(): usize {
  return STATE_BUFFER;
}
export function state_buffer_size(): u32 {
  return STATE_BUFFER_SIZE;
}

/**
 * Makes a new TPM with the null profile, or with libtpms' JSON profile of `profileSize` bytes in the state buffer.
 * Returns 0, or a TPM_RC for a profile that is none.
 */
export function manufacture(profileSize: u32): u32 {
  if (profileSize == 0) setNullProfile();
  else {
    const rc = setProfile(STATE_BUFFER, profileSize, true);
    if (rc != 0) return rc;
  }
  manufactureTpm();
  return 0;
}

/** What profile_text() tells of the profile in force, and of those that are built in. */
const TEXT_ACTIVE: u32 = 0x100;
const TEXT_BUILT_IN: u32 = 0x200;

/**
 * Writes a text about profiles to the state buffer; its size, 0 if there is none. `what` is 0x100: the JSON of the profile in
 * force; 0x200 + n: that of the n-th built-in profile; below 0x100: subject (0 algorithms, 1 commands, 2 attributes) * 16 + filter
 * (0 implemented, 1 can be disabled, 2 enabled, 3 disabled), a list.
 */
export function profile_text(what: u32): u32 {
  textBegin(STATE_BUFFER, STATE_BUFFER_SIZE);
  if (what >= TEXT_BUILT_IN) printBuiltIn(what - TEXT_BUILT_IN);
  else if (what == TEXT_ACTIVE) textAppend(activeProfile());
  else printRuntime(what >> 4, what & 15);
  return textLength(STATE_BUFFER);
}

/** Loads the permanent state of `size` bytes in the state buffer. Returns 0 or a TPM_RC; after an error the instance is spent. */
export function load_permanent(size: u32): u32 {
  return loadPermanent(STATE_BUFFER, size);
}

/** Writes the permanent state to the state buffer; its size, 0 after an error. */
export function save_permanent(): u32 {
  return savePermanent(STATE_BUFFER, STATE_BUFFER_SIZE);
}

/**
 * Loads the volatile state of `size` bytes in the state buffer into a TPM that was initialised with its permanent state.
 * Returns 0 or a TPM_RC; after an error the instance is spent.
 */
export function load_volatile(size: u32): u32 {
  const rc = loadVolatile(STATE_BUFFER, size);
  if (rc == 0) pcrResumeAllocation();
  return rc;
}

/** Writes the volatile state to the state buffer; its size, 0 after an error. */
export function save_volatile(): u32 {
  return saveVolatile(STATE_BUFFER, STATE_BUFFER_SIZE);
}

/** _TPM_Init: power on, with the state that was made or loaded. */
export function init(): void {
  tpmInit();
}

/** Runs the command of `size` bytes at `locality`; the response's size, or -1: call resume(). */
export function execute(size: u32, locality: u32): i32 {
  g.locality = locality;
  return executeCommand(size);
}

/** Goes on with a pending command for about a millisecond. As execute(). */
export function resume(): i32 {
  return resumePending();
}

/** The pending command is to end with TPM_RC_CANCELED at its next resume(). */
export function cancel(): void {
  requestCancel();
}

/** What the last call changed: bit 0 the permanent state, which has to be stored before the response leaves. */
export function changes(): u32 {
  return g.changes;
}

/** Largest command and response; 0 only asks. */
export function buffer_size(wanted: u32): u32 {
  return wanted == 0 ? maxCommandSize() : setMaxCommandSize(wanted);
}
export function buffer_size_min(): u32 {
  return minCommandSize();
}
export function buffer_size_max(): u32 {
  return MAX_COMMAND_SIZE;
}

/** _TPM_Hash_Start, _Data (of `size` bytes in the command buffer), _End. */
export function hash_start(): void {
  g.tpmEstablished = true;
  hashStart();
}
export function hash_data(size: u32): void {
  hashData(COMMAND_BUFFER, size);
}
export function hash_end(): void {
  hashEnd();
}

export function established(): u32 {
  return g.tpmEstablished ? 1 : 0;
}
export function set_established(): void {
  g.tpmEstablished = true;
}
export function reset_established(): void {
  g.tpmEstablished = false;
}

/** Entropy for the random bit generator: two TPMs that go on from one volatile state must not give the same keys and nonces. */
export function stir_random(): void {
  cryptRandomStir(0, 0);
}

export function physical_presence(asserted: u32): void {
  g.physicalPresence = asserted != 0;
}

export function in_failure_mode(): u32 {
  return inFailureMode() ? 1 : 0;
}

/** The host could not store what a command changed: nothing but failure mode is left. */
export function enter_failure_mode(): void {
  fail(FAIL_HOST, FATAL_ERROR_NV_UNRECOVERABLE);
}

/** After a trap: where in the source, line << 32 | column. */
export function abort_position(): u64 {
  return ((<u64>abortLine) << 32) | <u64>abortColumn;
}
