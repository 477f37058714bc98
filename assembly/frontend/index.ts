// The module's exports: one device of one kind per instance (docs/frontends.md).

import { abortColumn, abortLine } from "../abort.ts";
import { BUFFER, BUFFER_SIZE, failureResponse } from "./buffer.ts";
import { config, KIND_CRB, KIND_NONE, KIND_SPAPR, KIND_TIS, KIND_TIS_I2C } from "./config.ts";
import { completeCrb, CRB_STATE_SIZE, failCrb, readCrb, resetCrb, restoreCrb, saveCrb, writeCrb } from "./crb.ts";
import { CRB_REGION_SIZE, CRB_WINDOW_SIZE } from "./crb_registers.ts";
import {
  checkI2c,
  I2C_STATE_SIZE,
  i2cReceive,
  i2cSend,
  i2cStartSend,
  i2cStop,
  resetI2c,
  restoreI2c,
  saveI2c,
} from "./i2c.ts";
import {
  checkSpapr,
  completeSpapr,
  crqMessage,
  holdSpapr as hold,
  resetSpapr,
  restoreSpapr,
  saveSpapr,
} from "./spapr.ts";
import { readTis, resetTis, writeTis } from "./tis.ts";
import { completeTis } from "./tis_commands.ts";
import { TIS_REGION_SIZE } from "./tis_registers.ts";
import { checkTis, restoreTis, saveTis, TIS_STATE_SIZE } from "./tis_state.ts";
import { begin, position, STATE, STATE_CAPACITY } from "./vmstate.ts";

export { abortColumn, abortLine, crqMessage, hold, i2cReceive, i2cSend, i2cStartSend, i2cStop };

/** The version of this interface. */
export const ABI_VERSION: u32 = 1;

/**
 * Makes the instance a device, before its first reset.
 *
 * kind: 1 TIS, 2 TIS over I2C, 3 CRB, 4 SPAPR. behaviour: 0 QEMU 7.2, 1 QEMU 10.0. interruptVector: what TPM_INT_VECTOR
 * reads. base: the guest-physical address of the device's first register.
 */
export function configure(kind: u32, behaviour: u32, interruptVector: u32, base: u32): void {
  config.kind = kind;
  config.behaviour = behaviour;
  config.interruptVector = interruptVector;
  config.base = base;
}

/** The size in bytes of the device's register region; 0 for one that has none. */
@inline
function regionSize(): u32 {
  if (config.kind == KIND_TIS) return TIS_REGION_SIZE;
  return config.kind == KIND_CRB ? CRB_REGION_SIZE : 0;
}

@inline
function readAligned(offset: u32, size: u32): u32 {
  if (offset >= regionSize()) return 0;
  const value = config.kind == KIND_CRB ? readCrb(offset, size) : readTis(offset, size);
  return size == 4 ? value : value & ((1 << (8 * size)) - 1);
}

@inline
function writeAligned(offset: u32, size: u32, value: u32): void {
  if (offset >= regionSize()) return;
  const bits = size == 4 ? value : value & ((1 << (8 * size)) - 1);
  if (config.kind == KIND_CRB) writeCrb(offset, bits, size);
  else writeTis(offset, bits, size);
}

/** The width of the access to the device that starts at `offset` when `left` bytes are still to do: 4, 2 or 1. */
@inline
function pieceSize(offset: u32, left: u32): u32 {
  if (left >= 4 && (offset & 3) == 0) return 4;
  return left >= 2 && (offset & 1) == 0 ? 2 : 1;
}

/**
 * A guest's load of `size` bytes (up to 8) at any offset from the device's base. It reaches the device in naturally
 * aligned pieces of up to 4 bytes, lowest address first. Outside the region bytes read 0.
 */
export function readWide(offset: u32, size: u32): u64 {
  const total = min<u32>(size, 8);
  let value: u64 = 0;
  let done: u32 = 0;
  while (done < total && offset < regionSize()) {
    const piece = pieceSize(offset, total - done);
    value |= (<u64>readAligned(offset, piece)) << (8 * done);
    done += piece;
    offset += piece;
  }
  return value;
}

/** A guest's store, in pieces as `readWide`. Outside the region bytes are lost. */
export function writeWide(offset: u32, size: u32, value: u64): void {
  const total = min<u32>(size, 8);
  let done: u32 = 0;
  while (done < total && offset < regionSize()) {
    const piece = pieceSize(offset, total - done);
    writeAligned(offset, piece, <u32>(value >> (8 * done)));
    done += piece;
    offset += piece;
  }
}

/** As `readWide`, for up to 4 bytes. */
export function read(offset: u32, size: u32): u32 {
  if (size <= 4 && size > 0 && pieceSize(offset, size) == size) return readAligned(offset, size);
  return <u32>readWide(offset, min<u32>(size, 4));
}

/** As `writeWide`, for up to 4 bytes. */
export function write(offset: u32, size: u32, value: u32): void {
  if (size <= 4 && size > 0 && pieceSize(offset, size) == size) writeAligned(offset, size, value);
  else writeWide(offset, min<u32>(size, 4), value);
}

/** Bytes of command or response the device can hold. */
export function bufferCapacity(): u32 {
  return config.kind == KIND_CRB ? CRB_WINDOW_SIZE : BUFFER_SIZE;
}

/** Where the command/response buffer lies in the module's memory; for CRB also the guest-visible window. */
export function buffer(): usize {
  return BUFFER;
}

/**
 * Power-on and machine reset. version: 1 TPM 1.2, 2 TPM 2.0, 0 unknown. bufferSize: what the TPM takes at most, in
 * bytes; the device holds no more than `bufferCapacity`.
 */
export function reset(version: u32, bufferSize: u32): void {
  config.version = version;
  config.bufferSize = min<u32>(bufferSize, bufferCapacity());
  config.failed = 0;
  if (config.kind == KIND_TIS) resetTis();
  else if (config.kind == KIND_TIS_I2C) resetI2c();
  else if (config.kind == KIND_CRB) resetCrb();
  else if (config.kind == KIND_SPAPR) resetSpapr();
}

/** The bytes of buffer device and TPM agreed on, known after `reset`. */
export function bufferSize(): u32 {
  return config.bufferSize;
}

/** States that the TPM did not start: until the next reset, TIS registers read 0 and take no writes. */
export function setFailed(): void {
  config.failed = 1;
}

/** The TPM's response, `length` bytes, was put into the buffer. */
export function complete(length: u32): void {
  if (config.kind == KIND_CRB) completeCrb();
  else if (config.kind == KIND_SPAPR) completeSpapr();
  else if (config.kind != KIND_NONE) completeTis(length);
}

/** The TPM did not answer, or nothing that is a response: the guest gets QEMU's failure response. */
export function fail(): void {
  if (config.kind == KIND_CRB) failCrb();
  else complete(failureResponse());
}

/** Where `save` leaves and `restore` expects a device state in the module's memory, and how long it may be. */
export function state(): usize {
  return STATE;
}

export function stateCapacity(): u32 {
  return STATE_CAPACITY;
}

/** Writes the device's state, in the fields of QEMU's vmstate, to `state()`. Answers its length in bytes. */
export function save(): u32 {
  begin();
  if (config.kind == KIND_TIS) saveTis();
  else if (config.kind == KIND_TIS_I2C) saveI2c();
  else if (config.kind == KIND_CRB) saveCrb();
  else if (config.kind == KIND_SPAPR) saveSpapr();
  return position();
}

/**
 * Takes over a state of `length` bytes from `state()`, after a `reset`. Answers 1, or 0 for a state no device of this
 * kind can be in: then nothing changed.
 */
export function restore(length: u32): u32 {
  if (config.kind == KIND_TIS) {
    if (length != TIS_STATE_SIZE || !checkTis()) return 0;
    restoreTis();
  } else if (config.kind == KIND_TIS_I2C) {
    if (length != I2C_STATE_SIZE || !checkI2c()) return 0;
    restoreI2c();
  } else if (config.kind == KIND_CRB) {
    if (length != CRB_STATE_SIZE) return 0;
    restoreCrb();
  } else {
    if (config.kind != KIND_SPAPR || length > STATE_CAPACITY || !checkSpapr(length)) return 0;
    restoreSpapr();
  }
  return 1;
}
