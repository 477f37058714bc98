// The vTPM of IBM's PAPR machines, as QEMU's tpm-spapr: messages through a command/response queue (CRQ), commands and
// responses by DMA (PAPR 17.2.10, "Virtual TPM").
//
// A queue entry is 16 bytes, big-endian: valid u8, message u8, length u16, data u32, reserved u64.

import { BUFFER, BUFFER_SIZE, sizeField } from "./buffer.ts";
import { config, VERSION_1_2 } from "./config.ts";
import { dmaRead, dmaWrite, sendCrq, submit } from "./host.ts";
import { put8, put32, putBuffer, seek, take8, take32, takeBuffer } from "./vmstate.ts";

const CRQ_VALID_INITIALIZE: u32 = 0xc0;
const CRQ_VALID_COMMAND: u32 = 0x80;

const CRQ_INITIALIZE: u32 = 0x01;
const CRQ_INITIALIZE_COMPLETE: u32 = 0x02;

const CRQ_GET_VERSION: u32 = 0x01;
const CRQ_TPM_COMMAND: u32 = 0x02;
const CRQ_GET_RTCE_BUFFER_SIZE: u32 = 0x03;
const CRQ_PREPARE_TO_SUSPEND: u32 = 0x04;
const CRQ_MESSAGE_RESULT: u32 = 0x80;
const CRQ_ERROR: u32 = 0xff;

const ERROR_COPY_IN: u32 = 0x03;
const ERROR_COPY_OUT: u32 = 0x04;

/** Return codes of the H_SEND_CRQ hypercall. */
const H_SUCCESS: u32 = 0;
const H_BUSY: u32 = 1;

const STATE_NONE: u32 = 0;
const STATE_EXECUTION: u32 = 1;
const STATE_COMPLETION: u32 = 2;

let state: u32 = STATE_NONE;
/** The queue entry of the last command: its reply goes back in it. */
let requestHigh: u64 = 0;
let requestLow: u64 = 0;
/** While set, guest memory is out of reach: a response that comes is kept in the buffer, `kept` bytes of it. */
let holding: bool = false;
let kept: u32 = 0;

/** The first eight bytes of a queue entry. */
function entry(message: u32, length: u32, data: u32): u64 {
  return ((<u64>CRQ_VALID_COMMAND) << 56) | ((<u64>message) << 48) | ((<u64>(length & 0xffff)) << 32) | <u64>data;
}

/** Fetches the command, always a whole buffer, and submits it; a failed fetch is reported, the old contents go out. */
function tpmCommand(high: u64, low: u64): u32 {
  if (state == STATE_EXECUTION) return H_BUSY;
  requestHigh = high;
  requestLow = low;
  if (!dmaRead(<u32>high, BUFFER, config.bufferSize)) sendCrq(entry(CRQ_ERROR, 0, ERROR_COPY_IN), 0);
  state = STATE_EXECUTION;
  submit(0, BUFFER, min<u32>(sizeField(), config.bufferSize));
  return H_SUCCESS;
}

/**
 * A queue entry from the guest (H_SEND_CRQ), as its two big-endian halves. Answers the hypercall's return code: H_BUSY
 * for a TPM command while one runs, else H_SUCCESS, also for messages that do not exist.
 */
export function crqMessage(high: u64, low: u64): u32 {
  const valid = <u32>(high >> 56);
  const message = <u32>(high >> 48) & 0xff;
  if (valid == CRQ_VALID_INITIALIZE) {
    if (message == CRQ_INITIALIZE || message == CRQ_INITIALIZE_COMPLETE) {
      sendCrq(((<u64>CRQ_VALID_INITIALIZE) << 56) | ((<u64>message) << 48), 0);
    }
    return H_SUCCESS;
  }
  if (valid != CRQ_VALID_COMMAND) return H_SUCCESS;
  switch (message) {
    case CRQ_GET_VERSION:
      sendCrq(entry(CRQ_GET_VERSION | CRQ_MESSAGE_RESULT, 0, config.version == VERSION_1_2 ? 1 : 2), 0);
      break;
    case CRQ_TPM_COMMAND:
      return tpmCommand(high, low);
    case CRQ_GET_RTCE_BUFFER_SIZE:
      sendCrq(entry(CRQ_GET_RTCE_BUFFER_SIZE | CRQ_MESSAGE_RESULT, config.bufferSize, 0), 0);
      break;
    case CRQ_PREPARE_TO_SUSPEND:
      sendCrq(entry(CRQ_PREPARE_TO_SUSPEND | CRQ_MESSAGE_RESULT, 0, 0), 0);
      break;
    default:
      break;
  }
  return H_SUCCESS;
}

/** Brings the response to the guest: the bytes by DMA, then the reply with their number. */
function deliver(): void {
  const length = min<u32>(sizeField(), config.bufferSize);
  if (dmaWrite(<u32>requestHigh, BUFFER, length)) {
    sendCrq(entry(CRQ_TPM_COMMAND | CRQ_MESSAGE_RESULT, length, <u32>requestHigh), requestLow);
  } else {
    sendCrq(entry(CRQ_ERROR, 0, ERROR_COPY_OUT), requestLow);
  }
}

/** The TPM answered: its response is in the buffer. */
export function completeSpapr(): void {
  state = STATE_COMPLETION;
  if (holding) kept = min<u32>(sizeField(), config.bufferSize);
  else deliver();
}

/** Stops (1) or resumes (0) access to guest memory: set it when the guest's memory was saved. */
export function holdSpapr(hold: u32): void {
  holding = hold != 0;
  if (holding || kept == 0) return;
  kept = 0;
  deliver();
}

export function resetSpapr(): void {
  state = STATE_NONE;
  kept = 0;
}

/** Without a kept response. */
const SPAPR_STATE_MIN: u32 = 9;

/** QEMU's vmstate "tpm-spapr" without its VIO part, which is the bus's: state, kept bytes, the request's address. */
export function saveSpapr(): void {
  put8(state);
  put32(kept);
  putBuffer(kept);
  put32(<u32>requestHigh);
}

export function checkSpapr(length: u32): bool {
  if (length < SPAPR_STATE_MIN) return false;
  seek(0);
  if (take8() > STATE_COMPLETION) return false;
  const size = take32();
  return size <= BUFFER_SIZE && length == SPAPR_STATE_MIN + size;
}

/** Takes over a state `checkSpapr` passed, and holds: the bus says when guest memory can be reached. */
export function restoreSpapr(): void {
  seek(0);
  state = take8();
  kept = take32();
  takeBuffer(kept);
  requestHigh = entry(CRQ_TPM_COMMAND, 0, take32());
  requestLow = 0;
  holding = true;
}
