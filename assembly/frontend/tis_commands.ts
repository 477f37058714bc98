// A command's way through the TIS interface: the STS register, the FIFO, submission and completion (TIS 1.3, 11.2.12).

import { BUFFER, BUFFER_SIZE, isSelfTest, sizeField, succeeded } from "./buffer.ts";
import { config, VERSION_2_0 } from "./config.ts";
import { cancel, resetEstablished, submit } from "./host.ts";
import { raiseInterrupt } from "./tis_interrupts.ts";
import { abort, prepareAbort, setStatus } from "./tis_localities.ts";
import {
  INT_COMMAND_READY,
  INT_DATA_AVAILABLE,
  INT_STS_VALID,
  NO_DATA_BYTE,
  NO_REGISTER,
  STS_BURST_COUNT_SHIFT,
  STS_COMMAND_CANCEL,
  STS_COMMAND_READY,
  STS_DATA_AVAILABLE,
  STS_EXPECT,
  STS_RESET_ESTABLISHMENT,
  STS_RESPONSE_RETRY,
  STS_SELF_TEST_DONE,
  STS_TPM_GO,
  STS_VALID,
  TIS_LOCALITIES,
} from "./tis_registers.ts";
import {
  isLocality,
  Locality,
  localityAt,
  TIS_COMPLETION,
  TIS_EXECUTION,
  TIS_IDLE,
  TIS_READY,
  TIS_RECEPTION,
  tis,
} from "./tis_state.ts";

/** Bytes of the response in the buffer that the guest may read. */
function responseSize(): u32 {
  return min<u32>(sizeField(), config.bufferSize);
}

/** STS of locality `index`: status bits and, above them, the burst count. `size` is the access width in bytes. */
export function readStatus(index: u32, size: u32): u32 {
  if (tis.activeLocality != index) return NO_REGISTER;
  const status = localityAt(index).sts;
  let burst: u32;
  if (status & STS_DATA_AVAILABLE) {
    burst = responseSize() - tis.rwOffset;
  } else {
    burst = config.bufferSize - tis.rwOffset;
    // A driver that reads the two bytes of the burst count one by one must not see 0 for 0x100.
    if (size == 1 && burst > 0xff) burst = 0xff;
  }
  return (burst << STS_BURST_COUNT_SHIFT) | status;
}

/** The next byte of the response, or NO_DATA_BYTE. */
function readResponseByte(locality: Locality): u32 {
  if (!(locality.sts & STS_DATA_AVAILABLE) || tis.rwOffset >= BUFFER_SIZE) return NO_DATA_BYTE;
  const byte = load<u8>(BUFFER + tis.rwOffset);
  tis.rwOffset++;
  if (tis.rwOffset >= responseSize()) {
    setStatus(locality, STS_VALID);
    raiseInterrupt(locality, INT_STS_VALID);
  }
  return byte;
}

/** The next `size` bytes of the response; which byte lane was addressed makes no difference. */
export function readFifo(index: u32, size: u32): u32 {
  if (tis.activeLocality != index) return NO_REGISTER;
  const locality = localityAt(index);
  let value: u32 = 0;
  for (let i: u32 = 0; i < size; i++) {
    const byte = locality.state == TIS_COMPLETION ? readResponseByte(locality) : NO_DATA_BYTE;
    value |= byte << (8 * i);
  }
  return value;
}

/** Takes `size` bytes of a command. Whatever one access brings is stored before the command's size field is looked at. */
export function writeFifo(index: u32, value: u32, size: u32): void {
  if (tis.activeLocality != index) return;
  const locality = localityAt(index);
  if (locality.state == TIS_READY) {
    locality.state = TIS_RECEPTION;
    setStatus(locality, STS_EXPECT | STS_VALID);
  } else if (locality.state != TIS_RECEPTION) {
    return;
  }
  for (let i: u32 = 0; i < size && locality.sts & STS_EXPECT; i++) {
    if (tis.rwOffset < config.bufferSize) {
      store<u8>(BUFFER + tis.rwOffset, value >> (8 * i));
      tis.rwOffset++;
    } else {
      setStatus(locality, STS_VALID);
    }
  }
  if (tis.rwOffset > 5 && locality.sts & STS_EXPECT) {
    // Only 16 bits of the size count: a command of 0x10000 bytes is complete with its sixth byte.
    const more = <u32>(<u16>sizeField()) > tis.rwOffset;
    setStatus(locality, more ? STS_EXPECT | STS_VALID : STS_VALID);
  }
}

function commandReady(index: u32, locality: Locality): void {
  const state = locality.state;
  if (state == TIS_READY) {
    tis.rwOffset = 0;
  } else if (state == TIS_IDLE) {
    locality.state = TIS_READY;
    setStatus(locality, STS_COMMAND_READY);
    raiseInterrupt(locality, INT_COMMAND_READY);
  } else if (state == TIS_COMPLETION) {
    tis.rwOffset = 0;
    locality.state = TIS_READY;
    if (!(locality.sts & STS_COMMAND_READY)) {
      setStatus(locality, STS_COMMAND_READY);
      raiseInterrupt(locality, INT_COMMAND_READY);
    }
    locality.sts &= ~STS_DATA_AVAILABLE;
  } else {
    prepareAbort(index, index);
  }
}

/** tpmGo: sends the bytes received, however many the command's size field announced. */
function go(index: u32, locality: Locality): void {
  if (locality.state != TIS_RECEPTION || locality.sts & STS_EXPECT) return;
  locality.state = TIS_EXECUTION;
  tis.commandLocality = index;
  // A command refused because another runs is lost, but the response of that other now belongs to this locality.
  const selfTest = isSelfTest(tis.rwOffset);
  const before = tis.selfTest;
  tis.selfTest = selfTest;
  if (!submit(index, BUFFER, tis.rwOffset)) tis.selfTest = before;
}

function responseRetry(locality: Locality): void {
  if (locality.state != TIS_COMPLETION) return;
  tis.rwOffset = 0;
  setStatus(locality, STS_VALID | STS_DATA_AVAILABLE);
}

/** A write to STS. Of commandReady, tpmGo and responseRetry exactly one must be set for any to count. */
export function writeStatus(index: u32, value: u32): void {
  if (tis.activeLocality != index) return;
  const locality = localityAt(index);
  if (config.version == VERSION_2_0) {
    if (value & STS_COMMAND_CANCEL && locality.state == TIS_EXECUTION) cancel();
    if (value & STS_RESET_ESTABLISHMENT && index >= 3) resetEstablished(index);
  }
  const request = value & (STS_COMMAND_READY | STS_TPM_GO | STS_RESPONSE_RETRY);
  if (request == STS_COMMAND_READY) commandReady(index, locality);
  else if (request == STS_TPM_GO) go(index, locality);
  else if (request == STS_RESPONSE_RETRY) responseRetry(locality);
}

/** The TPM answered: its response of `length` bytes is in the buffer. */
export function completeTis(length: u32): void {
  if (tis.selfTest && succeeded(length)) {
    for (let i: u32 = 0; i < TIS_LOCALITIES; i++) localityAt(i).sts |= STS_SELF_TEST_DONE;
  }
  tis.selfTest = 0;
  const locality = localityAt(tis.commandLocality);
  setStatus(locality, STS_VALID | STS_DATA_AVAILABLE);
  locality.state = TIS_COMPLETION;
  tis.rwOffset = 0;
  if (isLocality(tis.nextLocality)) abort();
  raiseInterrupt(locality, INT_DATA_AVAILABLE | INT_STS_VALID);
}
