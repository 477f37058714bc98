// The CRB device, as QEMU's tpm-crb: 32 registers of one locality and a buffer the guest reads and writes as memory.
//
// Writes count by exact address and exact value, whatever their width.

import { BUFFER, failureResponse, sizeField } from "./buffer.ts";
import { config } from "./config.ts";
import {
  CRB_CTRL_CANCEL,
  CRB_CTRL_CMD_LADDR,
  CRB_CTRL_CMD_SIZE,
  CRB_CTRL_REQ,
  CRB_CTRL_RSP_ADDR,
  CRB_CTRL_RSP_SIZE,
  CRB_CTRL_START,
  CRB_CTRL_STS,
  CRB_DATA_BUFFER,
  CRB_INTF_ID,
  CRB_INTF_ID_2,
  CRB_LOC_CTRL,
  CRB_LOC_STATE,
  CRB_LOC_STS,
  CRB_WINDOW_SIZE,
  CTRL_CANCEL_INVOKE,
  CTRL_REQ_CMD_READY,
  CTRL_REQ_GO_IDLE,
  CTRL_START_INVOKE,
  CTRL_STS_TPM_IDLE,
  CTRL_STS_TPM_STS,
  INTF_ID_CRB,
  INTF_ID_VENDOR,
  LOC_CTRL_RELINQUISH,
  LOC_CTRL_REQUEST_ACCESS,
  LOC_STATE_LOC_ASSIGNED,
  LOC_STATE_TPM_ESTABLISHED,
  LOC_STATE_TPM_REG_VALID_STS,
  LOC_STS_BEEN_SEIZED,
  LOC_STS_GRANTED,
} from "./crb_registers.ts";
import { cancel, established, submit } from "./host.ts";
import { put32, seek, take32 } from "./vmstate.ts";

const REGISTERS: usize = memory.data(128);
export const CRB_STATE_SIZE: u32 = 128;

@inline
function register(offset: u32): u32 {
  return load<u32>(REGISTERS + offset);
}

@inline
function setRegister(offset: u32, value: u32): void {
  store<u32>(REGISTERS + offset, value);
}

function setBits(offset: u32, bits: u32): void {
  setRegister(offset, register(offset) | bits);
}

function clearBits(offset: u32, bits: u32): void {
  setRegister(offset, register(offset) & ~bits);
}

/** Reads 1, 2 or 4 bytes at `address`. The value's upper bits are not cut to `size`. */
export function readCrb(address: u32, size: u32): u32 {
  if (address >= CRB_DATA_BUFFER) return readWindow(address - CRB_DATA_BUFFER, size);
  let value = register(address & ~3) >> (8 * (address & 3));
  // The bit is inverted: 0 says that a dynamic launch took place.
  if (address == CRB_LOC_STATE && !established()) value |= LOC_STATE_TPM_ESTABLISHED;
  return value;
}

function readWindow(offset: u32, size: u32): u32 {
  if (size == 4) return load<u32>(BUFFER + offset);
  return size == 2 ? load<u16>(BUFFER + offset) : load<u8>(BUFFER + offset);
}

function writeWindow(offset: u32, value: u32, size: u32): void {
  if (size == 4) store<u32>(BUFFER + offset, value);
  else if (size == 2) store<u16>(BUFFER + offset, value);
  else store<u8>(BUFFER + offset, value);
}

function writeLocalityControl(value: u32): void {
  if (value == LOC_CTRL_REQUEST_ACCESS) {
    setBits(CRB_LOC_STS, LOC_STS_GRANTED);
    clearBits(CRB_LOC_STS, LOC_STS_BEEN_SEIZED);
    setBits(CRB_LOC_STATE, LOC_STATE_LOC_ASSIGNED);
  } else if (value == LOC_CTRL_RELINQUISH) {
    clearBits(CRB_LOC_STS, LOC_STS_GRANTED);
    clearBits(CRB_LOC_STATE, LOC_STATE_LOC_ASSIGNED);
  }
}

function start(): void {
  if (register(CRB_CTRL_START) & CTRL_START_INVOKE) return;
  if (!(register(CRB_LOC_STATE) & LOC_STATE_LOC_ASSIGNED)) return;
  setBits(CRB_CTRL_START, CTRL_START_INVOKE);
  submit(0, BUFFER, min<u32>(sizeField(), config.bufferSize));
}

/** Writes 1, 2 or 4 bytes at `address`; `value` has no bits above them. */
export function writeCrb(address: u32, value: u32, size: u32): void {
  if (address >= CRB_DATA_BUFFER) {
    writeWindow(address - CRB_DATA_BUFFER, value, size);
  } else if (address == CRB_CTRL_START) {
    if (value == CTRL_START_INVOKE) start();
  } else if (address == CRB_CTRL_CANCEL) {
    if (value == CTRL_CANCEL_INVOKE && register(CRB_CTRL_START) & CTRL_START_INVOKE) cancel();
  } else if (address == CRB_CTRL_REQ) {
    if (value == CTRL_REQ_CMD_READY) clearBits(CRB_CTRL_STS, CTRL_STS_TPM_IDLE);
    else if (value == CTRL_REQ_GO_IDLE) setBits(CRB_CTRL_STS, CTRL_STS_TPM_IDLE);
  } else if (address == CRB_LOC_CTRL) {
    writeLocalityControl(value);
  }
}

/** The TPM answered: its response is in the window. */
export function completeCrb(): void {
  clearBits(CRB_CTRL_START, CTRL_START_INVOKE);
}

/** The backend failed: the window gets a failure response and the device a fatal status, until it is reset. */
export function failCrb(): void {
  failureResponse();
  setBits(CRB_CTRL_STS, CTRL_STS_TPM_STS);
  completeCrb();
}

/** Power-on and machine reset. The window keeps its contents. */
export function resetCrb(): void {
  memory.fill(REGISTERS, 0, CRB_STATE_SIZE);
  setRegister(CRB_LOC_STATE, LOC_STATE_TPM_REG_VALID_STS);
  setRegister(CRB_CTRL_STS, CTRL_STS_TPM_IDLE);
  setRegister(CRB_INTF_ID, INTF_ID_CRB);
  setRegister(CRB_INTF_ID_2, INTF_ID_VENDOR);
  setRegister(CRB_CTRL_CMD_SIZE, CRB_WINDOW_SIZE);
  setRegister(CRB_CTRL_CMD_LADDR, config.base + CRB_DATA_BUFFER);
  setRegister(CRB_CTRL_RSP_SIZE, CRB_WINDOW_SIZE);
  setRegister(CRB_CTRL_RSP_ADDR, config.base + CRB_DATA_BUFFER);
}

/** QEMU's vmstate "tpm-crb" (version 0): the registers. The window is guest memory and migrates as such. */
export function saveCrb(): void {
  for (let offset: u32 = 0; offset < CRB_STATE_SIZE; offset += 4) put32(register(offset));
}

export function restoreCrb(): void {
  seek(0);
  for (let offset: u32 = 0; offset < CRB_STATE_SIZE; offset += 4) setRegister(offset, take32());
}
