// The TIS device: five localities of registers over one command buffer, as QEMU's tpm-tis and tpm-tis-device.

import { config, QEMU_7_2, VERSION_1_2, VERSION_2_0 } from "./config.ts";
import { established } from "./host.ts";
import { readFifo, readStatus, writeFifo, writeStatus } from "./tis_commands.ts";
import { clearInterrupts, enableInterrupts } from "./tis_interrupts.ts";
import { isRequestPending, writeAccess } from "./tis_localities.ts";
import {
  ACCESS_PENDING_REQUEST,
  ACCESS_SEIZE,
  ACCESS_TPM_ESTABLISHMENT,
  ACCESS_TPM_REG_VALID_STS,
  DID_VID,
  INT_POLARITY_LOW_LEVEL,
  INTERFACE_ID_1_3,
  INTERFACE_ID_2_0,
  INTERFACE_ID_INTF_SEL_LOCK,
  INTF_CAPABILITY_1_3,
  INTF_CAPABILITY_2_0,
  NO_LOCALITY,
  NO_REGISTER,
  RID,
  STS_TPM_FAMILY_2_0,
  TIS_LOCALITIES,
  TIS_LOCALITY_SHIFT,
  TPM_ACCESS,
  TPM_DATA_FIFO,
  TPM_DID_VID,
  TPM_INT_ENABLE,
  TPM_INT_STATUS,
  TPM_INT_VECTOR,
  TPM_INTERFACE_ID,
  TPM_INTF_CAPABILITY,
  TPM_RID,
  TPM_STS,
  TPM_XDATA_FIFO,
  TPM_XDATA_FIFO_END,
} from "./tis_registers.ts";
import { Locality, localityAt, TIS_IDLE, tis } from "./tis_state.ts";

function readAccess(index: u32): u32 {
  let value = localityAt(index).access & ~ACCESS_SEIZE;
  if (isRequestPending(index)) value |= ACCESS_PENDING_REQUEST;
  // The bit is inverted: 0 says that a dynamic launch took place.
  if (!established()) value |= ACCESS_TPM_ESTABLISHMENT;
  return value;
}

function interfaceCapability(): u32 {
  if (config.version == VERSION_2_0) return INTF_CAPABILITY_2_0;
  return config.version == VERSION_1_2 ? INTF_CAPABILITY_1_3 : 0;
}

@inline
function isFifo(register: u32): bool {
  return register == TPM_DATA_FIFO || (register >= TPM_XDATA_FIFO && register <= TPM_XDATA_FIFO_END);
}

/** The 32-bit register at `register`, a multiple of 4; not the FIFO. */
function readRegister(index: u32, register: u32, size: u32): u32 {
  switch (register) {
    case TPM_ACCESS:
      return readAccess(index);
    case TPM_INT_ENABLE:
      return localityAt(index).intEnable;
    case TPM_INT_VECTOR:
      return config.interruptVector;
    case TPM_INT_STATUS:
      return localityAt(index).intStatus;
    case TPM_INTF_CAPABILITY:
      return interfaceCapability();
    case TPM_STS:
      return readStatus(index, size);
    case TPM_INTERFACE_ID:
      return localityAt(index).interfaceId;
    case TPM_DID_VID:
      return DID_VID;
    case TPM_RID:
      return RID;
    default:
      return NO_REGISTER;
  }
}

/**
 * Reads 1, 2 or 4 bytes at `address` (locality in bits 14:12). The value's upper bits are not cut to `size`.
 * A read across a word's end yields what is left of the word.
 */
export function readTis(address: u32, size: u32): u32 {
  if (config.failed) return 0;
  const index = address >> TIS_LOCALITY_SHIFT;
  const register = address & 0xffc;
  const lane = address & 3;
  if (isFifo(register)) return readFifo(index, min<u32>(size, 4 - lane));
  return readRegister(index, register, size) >> (8 * lane);
}

/** QEMU 7.2 takes the interrupt registers from the active locality only, 10.0 from any. */
@inline
function mayConfigureInterrupts(index: u32): bool {
  return config.behaviour != QEMU_7_2 || tis.activeLocality == index;
}

function lockInterface(): void {
  for (let i: u32 = 0; i < TIS_LOCALITIES; i++) localityAt(i).interfaceId |= INTERFACE_ID_INTF_SEL_LOCK;
}

/** Writes 1, 2 or 4 bytes at `address`. Locality 4 belongs to the chipset and takes none. */
export function writeTis(address: u32, value: u32, size: u32): void {
  const index = address >> TIS_LOCALITY_SHIFT;
  if (config.failed || index >= TIS_LOCALITIES - 1) return;
  const register = address & 0xffc;
  const lane = address & 3;
  if (isFifo(register)) {
    writeFifo(index, value, min<u32>(size, 4 - lane));
    return;
  }
  const mask: u32 = size >= 4 ? 0xffff_ffff : (1 << (8 * size)) - 1;
  const bits = (value & mask) << (8 * lane);
  if (register == TPM_STS) writeStatus(index, bits);
  else if (register == TPM_ACCESS) writeAccess(index, bits);
  else if (register == TPM_INT_ENABLE) {
    if (mayConfigureInterrupts(index)) enableInterrupts(localityAt(index), bits, ~(mask << (8 * lane)));
  } else if (register == TPM_INT_STATUS) {
    if (mayConfigureInterrupts(index)) clearInterrupts(localityAt(index), bits);
  } else if (register == TPM_INTERFACE_ID) {
    if (bits & INTERFACE_ID_INTF_SEL_LOCK) lockInterface();
  }
}

function resetLocality(locality: Locality): void {
  locality.state = TIS_IDLE;
  locality.access = ACCESS_TPM_REG_VALID_STS;
  locality.sts = config.version == VERSION_2_0 ? STS_TPM_FAMILY_2_0 : 0;
  locality.interfaceId = config.version == VERSION_2_0 ? INTERFACE_ID_2_0 : INTERFACE_ID_1_3;
  locality.intEnable = INT_POLARITY_LOW_LEVEL;
  locality.intStatus = 0;
}

/** Power-on and machine reset. The command buffer and the interrupt line stay as they are. */
export function resetTis(): void {
  for (let i: u32 = 0; i < TIS_LOCALITIES; i++) resetLocality(localityAt(i));
  tis.rwOffset = 0;
  tis.activeLocality = NO_LOCALITY;
  tis.abortingLocality = NO_LOCALITY;
  tis.nextLocality = NO_LOCALITY;
  tis.selfTest = 0;
}
