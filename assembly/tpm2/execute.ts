// The life of a command (Part 1, 18 and Part 3, 5): header, handles, sessions, parameters, action, response. A long action answers
// PENDING and goes on with resume(); until then nothing of the command has taken effect.
import { timeUpdateToCurrent } from "./clock";
import { command, wipeCommandAuths } from "./command";
import { UNIMPLEMENTED_COMMAND_INDEX, commandIndexOf, hasResponseHandle } from "./command-attributes";
import { resetHashes } from "./cp-hash";
import {
  inputAt,
  inputLeft,
  loadBE16,
  loadBE32,
  outputAt,
  setInput,
  setOutput,
  skipInput,
  storeBE16,
  storeBE32,
} from "./cursor";
import { dropContextPadding } from "./context-protection";
import { cryptCreateObjectAbandon } from "./crypt-create";
import { SU_DA_USED_VALUE, SU_NONE_VALUE, g, gp, isOrderly, nvChanged } from "./data";
import { entityGetLoadStatus } from "./entity";
import { failureModeResponse } from "./failure-mode";
import { inFailureMode } from "./failure";
import {
  TPM_CC_ContextLoad,
  TPM_CC_Startup,
  TPM_RC_CANCELED,
  TPM_RC_COMMAND_CODE,
  TPM_RC_COMMAND_SIZE,
  TPM_RC_FAILURE,
  TPM_RC_INITIALIZE,
  TPM_RC_INSUFFICIENT,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
  TPM_RH_UNASSIGNED,
  TPM_ST_NO_SESSIONS,
  TPM_ST_SESSIONS,
} from "./generated/constants";
import {
  COMMAND_IN,
  COMMAND_IN_SIZE,
  COMMAND_OUT,
  COMMAND_OUT_SIZE,
  marshalResponse,
  resumeCommand,
  runCommand,
  unmarshalHandles,
  unmarshalParameters,
} from "./generated/dispatch";
import { clearHandles } from "./handles";
import { nvCommitOrderly } from "./nv";
import { objectCleanupEvict, objectTerminateEvent } from "./object";
import { checkAuthNoSession, parseSessionBuffer } from "./session-process";
import { buildResponseSession } from "./session-response";

/** What a command's function returns when it has more to do (Part 1 knows no such code). */
export const PENDING: u32 = 0xffffffff;
/** What execute() and resume() return for it. */
export const EXECUTE_PENDING: i32 = -1;

const HEADER: u32 = 10;
const BUFFER_SIZE: u32 = 4096;
const MIN_BUFFER_SIZE: u32 = 2896;

export const COMMAND_BUFFER: usize = memory.data(BUFFER_SIZE, 16);
// Marshalling may run past the end before the size is checked; the response records are no longer than this.
const RESPONSE_SPACE: u32 = 16384;
export const RESPONSE_BUFFER: usize = memory.data(RESPONSE_SPACE, 16);

let bufferSize: u32 = BUFFER_SIZE;
let pending = false;
let cancelRequested = false;

/** The largest command and response (TPM_PT_MAX_COMMAND_SIZE). */
@inline
export function maxCommandSize(): u32 {
  return bufferSize;
}

export function setMaxCommandSize(size: u32): u32 {
  if (size != 0) bufferSize = max(MIN_BUFFER_SIZE, min(BUFFER_SIZE, size));
  return bufferSize;
}

@inline
export function minCommandSize(): u32 {
  return MIN_BUFFER_SIZE;
}

/** A running long command ends with TPM_RC_CANCELED at its next step. */
export function requestCancel(): void {
  cancelRequested = true;
}

/** Long actions ask this between their steps. */
@inline
export function isCanceled(): bool {
  return cancelRequested;
}

@inline
export function isPending(): bool {
  return pending;
}

/** Runs the command of `size` bytes in COMMAND_BUFFER. @returns the response's size, or EXECUTE_PENDING */
export function executeCommand(size: u32): i32 {
  abandonPending();
  cancelRequested = false;
  g.changes = 0;
  g.clearOrderly = false;
  if (inFailureMode()) return failureModeResponse(size);
  timeUpdateToCurrent();
  // Any command ends a sequence of _TPM_Hash_Start/Data/End.
  if (g.drtmHandle != TPM_RH_UNASSIGNED) objectTerminateEvent();
  command.tag = TPM_ST_NO_SESSIONS;
  const rc = beginCommand(size);
  return rc == PENDING ? suspend() : finish(rc, size);
}

/** Nobody will resume the pending command: what it has made is wiped. */
export function abandonPending(): void {
  if (!pending) return;
  pending = false;
  cryptCreateObjectAbandon();
  wipe();
}

/** Goes on with a pending command. */
export function resumePending(): i32 {
  if (!pending) return 0;
  g.changes = 0;
  const rc = resumeCommand(command.index);
  return rc == PENDING ? suspend() : finish(rc == 0 ? respond() : rc, 0);
}

function suspend(): i32 {
  pending = true;
  return EXECUTE_PENDING;
}

function beginCommand(size: u32): u32 {
  let rc = parseHeader(size);
  if (rc) return rc;
  clearHandles();
  resetHashes();
  rc = unmarshalHandles(command.index);
  if (rc) return rc;
  rc = entityGetLoadStatus();
  if (rc) return rc;
  rc = authorize();
  if (rc) return rc;
  if (command.code == TPM_CC_ContextLoad) dropContextPadding();
  rc = unmarshalParameters(command.index);
  if (rc) return rc;
  rc = runCommand(command.index);
  return rc == 0 ? respond() : rc;
}

function parseHeader(size: u32): u32 {
  if (size < 2) return TPM_RC_INSUFFICIENT;
  const tag = loadBE16(COMMAND_BUFFER);
  // The specification says TPM_RC_BAD_TAG; libtpms, and so every client of it, has this.
  if (tag != TPM_ST_NO_SESSIONS && tag != TPM_ST_SESSIONS) return TPM_RC_VALUE;
  command.tag = tag;
  if (size < 6) return TPM_RC_INSUFFICIENT;
  const commandSize = loadBE32(COMMAND_BUFFER + 2);
  if (commandSize != size || commandSize > bufferSize) return TPM_RC_COMMAND_SIZE;
  if (size < HEADER) return TPM_RC_INSUFFICIENT;
  command.code = loadBE32(COMMAND_BUFFER + 6);
  command.index = commandIndexOf(command.code);
  if (command.index == UNIMPLEMENTED_COMMAND_INDEX) return TPM_RC_COMMAND_CODE;
  if (g.started == (command.code == TPM_CC_Startup)) return TPM_RC_INITIALIZE;
  setInput(COMMAND_BUFFER + HEADER, size - HEADER);
  return 0;
}

function authorize(): u32 {
  if (command.tag == TPM_ST_NO_SESSIONS) {
    command.parameters = inputAt();
    command.parameterSize = inputLeft();
    return checkAuthNoSession();
  }
  if (inputLeft() < 4) return TPM_RC_INSUFFICIENT;
  const authSize = loadBE32(inputAt());
  skipInput(4);
  if (authSize < 9 || authSize > inputLeft()) return TPM_RC_SIZE;
  return parseSessionBuffer(authSize);
}

/** Builds the response of a command that succeeded. */
function respond(): u32 {
  let at = RESPONSE_BUFFER + HEADER;
  if (hasResponseHandle(command.index)) {
    storeBE32(at, load<u32>(COMMAND_OUT));
    at += 4;
  }
  const sessions = command.tag == TPM_ST_SESSIONS;
  const parameters = sessions ? at + 4 : at;
  setOutput(parameters);
  marshalResponse(command.index);
  const parameterSize = <u32>(outputAt() - parameters);
  if (sessions) storeBE32(at, parameterSize);
  buildResponseSession(parameters, parameterSize);
  return 0;
}

/** Ends a command: header, orderly flag, what has to be cleaned up. @returns the response's size */
function finish(rc: u32, size: u32): i32 {
  pending = false;
  if (inFailureMode()) return failureModeResponse(size);
  if (g.clearOrderly && isOrderly(gp.orderlyState)) {
    gp.orderlyState = g.daUsed ? SU_DA_USED_VALUE : SU_NONE_VALUE;
    nvChanged();
  }
  objectCleanupEvict();
  nvCommitOrderly();
  const responseSize: u32 = rc == 0 ? <u32>(outputAt() - RESPONSE_BUFFER) : HEADER;
  const fits = responseSize <= bufferSize;
  storeBE16(RESPONSE_BUFFER, rc == 0 && fits ? command.tag : TPM_ST_NO_SESSIONS);
  storeBE32(RESPONSE_BUFFER + 2, fits ? responseSize : HEADER);
  storeBE32(RESPONSE_BUFFER + 6, fits ? rc : TPM_RC_FAILURE);
  wipe();
  return <i32>(fits ? responseSize : HEADER);
}

/** Secrets of the command stay nowhere. */
function wipe(): void {
  memory.fill(COMMAND_IN, 0, COMMAND_IN_SIZE);
  memory.fill(COMMAND_OUT, 0, COMMAND_OUT_SIZE);
  wipeCommandAuths();
}

/** For long actions: the response code when the command was cancelled, else 0. */
export function canceledCode(): u32 {
  return cancelRequested ? TPM_RC_CANCELED : 0;
}
