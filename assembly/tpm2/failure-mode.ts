// Failure mode's own little command set (Part 1, 12.3.4): TPM2_GetTestResult and TPM2_GetCapability of properties, in fixed shapes.
import { loadBE16, loadBE32, storeBE16, storeBE32, storeBE64 } from "./cursor";
import { COMMAND_BUFFER, RESPONSE_BUFFER } from "./execute";
import { failureCode, failureFunction, failureLine } from "./failure";
import {
  TPM_CAP_TPM_PROPERTIES,
  TPM_CC_GetCapability,
  TPM_CC_GetTestResult,
  TPM_PT_FIRMWARE_VERSION_2,
  TPM_PT_MANUFACTURER,
  TPM_RC_FAILURE,
  TPM_ST_NO_SESSIONS,
} from "./generated/constants";
import { fixedProperty } from "./properties";

const HEADER: u32 = 10;

/** @returns the size of the response to the command of `size` bytes in COMMAND_BUFFER */
export function failureModeResponse(size: u32): i32 {
  const plain =
    size >= HEADER && loadBE16(COMMAND_BUFFER) == TPM_ST_NO_SESSIONS && loadBE32(COMMAND_BUFFER + 2) == size;
  if (plain) {
    const code = loadBE32(COMMAND_BUFFER + 6);
    if (code == TPM_CC_GetTestResult && size == HEADER) return testResult();
    if (code == TPM_CC_GetCapability && size == HEADER + 12) return capability();
  }
  return header(HEADER, TPM_RC_FAILURE);
}

function header(size: u32, rc: u32): i32 {
  storeBE16(RESPONSE_BUFFER, TPM_ST_NO_SESSIONS);
  storeBE32(RESPONSE_BUFFER + 2, size);
  storeBE32(RESPONSE_BUFFER + 6, rc);
  return <i32>size;
}

/** TPM2B of 12 bytes: where (UINT64) and what (UINT32); then TPM_RC_FAILURE as the result. */
function testResult(): i32 {
  const at = RESPONSE_BUFFER + HEADER;
  storeBE16(at, 12);
  storeBE64(at + 2, ((<u64>failureFunction()) << 32) | failureLine());
  storeBE32(at + 10, failureCode());
  storeBE32(at + 14, TPM_RC_FAILURE);
  return header(HEADER + 18, 0);
}

/** One property per answer, TPM_PT_MANUFACTURER to TPM_PT_FIRMWARE_VERSION_2; what lies below is answered as the first. */
function capability(): i32 {
  const at = COMMAND_BUFFER + HEADER;
  let property = loadBE32(at + 4);
  const count = loadBE32(at + 8);
  if (loadBE32(at) != TPM_CAP_TPM_PROPERTIES || count == 0) return header(HEADER, TPM_RC_FAILURE);
  if (property < TPM_PT_MANUFACTURER) property = TPM_PT_MANUFACTURER;
  const known = property <= TPM_PT_FIRMWARE_VERSION_2;
  const out = RESPONSE_BUFFER + HEADER;
  store<u8>(out, property < TPM_PT_FIRMWARE_VERSION_2 ? 1 : 0);
  storeBE32(out + 1, TPM_CAP_TPM_PROPERTIES);
  storeBE32(out + 5, known ? 1 : 0);
  if (!known) return header(HEADER + 9, 0);
  storeBE32(out + 9, property);
  storeBE32(out + 13, fixedProperty(property));
  return header(HEADER + 17, 0);
}
