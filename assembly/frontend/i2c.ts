// The TIS over I2C, as QEMU's tpm-tis-i2c: a byte-wide bus face on the TIS device.

import { BUFFER } from "./buffer.ts";
import {
  DATA_CSUM_ENABLED,
  I2C_ACCESS,
  I2C_DATA_CSUM_ENABLE,
  I2C_DATA_CSUM_GET,
  I2C_DATA_FIFO,
  I2C_DID_VID,
  I2C_INT_CAPABILITY,
  I2C_INT_ENABLE,
  I2C_INTERFACE_CAPABILITY,
  I2C_INTF_CAPABILITY,
  I2C_LOC_SEL,
  I2C_RID,
  I2C_STS,
  I2C_STS_END,
  I2C_STS_READ_MASK,
  I2C_STS_WRITE_MASK,
} from "./i2c_registers.ts";
import { readTis, resetTis, writeTis } from "./tis.ts";
import {
  NO_REGISTER,
  TIS_LOCALITIES,
  TIS_LOCALITY_SHIFT,
  TPM_ACCESS,
  TPM_DATA_FIFO,
  TPM_DID_VID,
  TPM_INT_ENABLE,
  TPM_INTF_CAPABILITY,
  TPM_RID,
  TPM_STS,
} from "./tis_registers.ts";
import { checkTis, restoreTis, saveTis, TIS_STATE_SIZE, tis } from "./tis_state.ts";
import { put8, seek, take8 } from "./vmstate.ts";

const OPERATION_NONE: u32 = 0;
const OPERATION_SEND: u32 = 1;
const OPERATION_RECEIVE: u32 = 2;

/** A register's number and up to four bytes of its value. */
const DATA_SIZE: u32 = 5;
const DATA: usize = memory.data(5);
/** Bytes of DATA written or, in a read, handed out. */
let offset: u32 = 0;
let operation: u32 = OPERATION_NONE;
let localitySelected: u32 = 0;
let checksumEnabled: u32 = 0;
/** Where the selected register lies in the TIS: found when the register's number comes, with the locality of then. */
let tisAddress: u32 = NO_REGISTER;

/** The register's place in a TIS locality, or NO_REGISTER. */
function tisRegister(number: u32): u32 {
  if (number >= I2C_STS && number <= I2C_STS_END) return TPM_STS + (number - I2C_STS);
  switch (number) {
    case I2C_ACCESS:
      return TPM_ACCESS;
    case I2C_INT_ENABLE:
      return TPM_INT_ENABLE;
    case I2C_DATA_FIFO:
      return TPM_DATA_FIFO;
    case I2C_INTF_CAPABILITY:
      return TPM_INTF_CAPABILITY;
    case I2C_DID_VID:
      return TPM_DID_VID;
    case I2C_RID:
      return TPM_RID;
    default:
      return NO_REGISTER;
  }
}

/** Registers the bus face answers itself. */
function isOwnRegister(number: u32): bool {
  return (
    number == I2C_LOC_SEL ||
    number == I2C_INT_CAPABILITY ||
    number == I2C_DATA_CSUM_ENABLE ||
    number == I2C_DATA_CSUM_GET
  );
}

function selectRegister(number: u32): bool {
  const register = tisRegister(number);
  tisAddress = register == NO_REGISTER ? NO_REGISTER : register + (localitySelected << TIS_LOCALITY_SHIFT);
  return register != NO_REGISTER || isOwnRegister(number);
}

function clear(): void {
  memory.fill(DATA, 0, DATA_SIZE);
  offset = 0;
  operation = OPERATION_NONE;
  tisAddress = NO_REGISTER;
}

/** CRC-16 of the buffer up to the read/write offset: polynomial 0x8408 reflected, no initial value, no final inversion. */
function checksum(): u32 {
  let crc: u32 = 0;
  for (let i: u32 = 0; i < tis.rwOffset; i++) {
    crc ^= load<u8>(BUFFER + i);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0x8408 : crc >> 1;
  }
  return crc;
}

/** What a read of the selected register yields, first byte lowest. */
function readSelected(): u32 {
  const number: u32 = load<u8>(DATA);
  if (number == I2C_LOC_SEL) return localitySelected;
  if (number == I2C_DATA_CSUM_ENABLE) return checksumEnabled;
  if (number == I2C_DATA_CSUM_GET) return bswap<u16>(<u16>checksum());
  if (number == I2C_INTF_CAPABILITY) return I2C_INTERFACE_CAPABILITY;
  if (tisAddress == NO_REGISTER) return 0;
  const value = readTis(tisAddress, 4);
  if (number < I2C_STS || number > I2C_STS_END) return value;
  return value & (I2C_STS_READ_MASK >> (8 * (number - I2C_STS)));
}

/** Carries out the write the controller has ended. */
function writeSelected(): void {
  const number: u32 = load<u8>(DATA);
  const value = load<u32>(DATA, 1);
  if (number == I2C_LOC_SEL) {
    const locality = value & 0xff;
    if (locality < TIS_LOCALITIES) localitySelected = locality;
  } else if (number == I2C_DATA_CSUM_ENABLE) {
    checksumEnabled = value & DATA_CSUM_ENABLED;
  } else if (tisAddress != NO_REGISTER) {
    if (number == I2C_INT_ENABLE) writeTis(tisAddress, 0, 4);
    else if (number == I2C_STS) writeTis(tisAddress, value & I2C_STS_WRITE_MASK, 4);
    else if (number > I2C_STS && number <= I2C_STS_END) {
      writeTis(tisAddress, value & (I2C_STS_WRITE_MASK >> (8 * (number - I2C_STS))), 1);
    } else writeTis(tisAddress, value, 4);
  }
}

/** START for writing, the first or a repeated one; what was written since and not ended is lost. */
export function i2cStartSend(): void {
  clear();
}

/** One byte from the controller. Answers 1 to acknowledge it, 0 not to. */
export function i2cSend(byte: u32): u32 {
  if (offset >= DATA_SIZE) return 0;
  operation = OPERATION_SEND;
  if (offset == 0) {
    store<u8>(DATA, byte);
    offset = 1;
    return selectRegister(byte & 0xff) ? 1 : 0;
  }
  if (load<u8>(DATA) == I2C_DATA_FIFO) {
    writeTis(tisAddress, byte & 0xff, 1);
  } else {
    store<u8>(DATA + offset, byte);
    offset++;
  }
  return 1;
}

/** One byte to the controller. A register's value is taken when its first byte is read; the FIFO is read byte by byte. */
export function i2cReceive(): u32 {
  if (operation == OPERATION_NONE) return 0;
  if (load<u8>(DATA) == I2C_DATA_FIFO) {
    operation = OPERATION_RECEIVE;
    return readTis(tisAddress, 1) & 0xff;
  }
  if (operation == OPERATION_SEND) {
    operation = OPERATION_RECEIVE;
    store<u32>(DATA, readSelected(), 1);
    offset = 1;
  }
  if (offset >= DATA_SIZE) return 0;
  return load<u8>(DATA + offset++);
}

/** STOP. It ends a write; after a read it also forgets the register. */
export function i2cStop(): void {
  if (operation != OPERATION_SEND) {
    clear();
  } else if (offset > 1) {
    writeSelected();
    clear();
  }
}

export function resetI2c(): void {
  clear();
  localitySelected = 0;
  checksumEnabled = 0;
  resetTis();
}

export const I2C_STATE_SIZE: u32 = TIS_STATE_SIZE + 9;

/** QEMU's vmstate "tpm-tis-i2c" (version 0): the TIS fields, then the transfer's. */
export function saveI2c(): void {
  saveTis();
  put8(offset);
  put8(operation);
  for (let i: u32 = 0; i < DATA_SIZE; i++) put8(load<u8>(DATA + i));
  put8(localitySelected);
  put8(checksumEnabled);
}

export function checkI2c(): bool {
  if (!checkTis()) return false;
  seek(TIS_STATE_SIZE);
  if (take8() > DATA_SIZE || take8() > OPERATION_RECEIVE) return false;
  seek(TIS_STATE_SIZE + 2 + DATA_SIZE);
  return take8() < TIS_LOCALITIES && take8() <= DATA_CSUM_ENABLED;
}

export function restoreI2c(): void {
  restoreTis();
  offset = take8();
  operation = take8();
  for (let i: u32 = 0; i < DATA_SIZE; i++) store<u8>(DATA + i, take8());
  localitySelected = take8();
  checksumEnabled = take8();
  tisAddress = NO_REGISTER;
  if (offset >= 1) selectRegister(load<u8>(DATA));
}
