// What the tables say about a command (generated/dispatch.ts has the words, src/spec/engine-commands-generator.ts lays out the bits).
import {
  COMMAND_ATTRIBUTES,
  COMMAND_COUNT,
  COMMAND_FIRST,
  COMMAND_INDEX_BY_CODE,
  COMMAND_LAST,
} from "./generated/dispatch";
import { commandEnabled } from "./profile";
import {
  TPM_CC_NV_Extend,
  TPM_CC_NV_Increment,
  TPM_CC_NV_SetBits,
  TPM_CC_NV_Write,
  TPM_CC_NV_WriteLock,
} from "./generated/constants";

export const UNIMPLEMENTED_COMMAND_INDEX: u32 = 0xff;

/** Authorization roles (Part 1, 19.2). */
export const AUTH_NONE: u32 = 0;
export const AUTH_USER: u32 = 1;
export const AUTH_ADMIN: u32 = 2;
export const AUTH_DUP: u32 = 3;

/** Index of a command that is implemented and enabled by the profile; UNIMPLEMENTED_COMMAND_INDEX otherwise. */
export function commandIndexOf(code: u32): u32 {
  if (code < COMMAND_FIRST || code > COMMAND_LAST) return UNIMPLEMENTED_COMMAND_INDEX;
  const index: u32 = load<u8>(COMMAND_INDEX_BY_CODE + (code - COMMAND_FIRST));
  if (index == UNIMPLEMENTED_COMMAND_INDEX || !commandEnabled(code)) return UNIMPLEMENTED_COMMAND_INDEX;
  return index;
}

/** Index of the first enabled command whose code is not below `code`; UNIMPLEMENTED_COMMAND_INDEX if there is none. */
export function closestCommandIndex(code: u32): u32 {
  let index: u32 = 0;
  while (index < COMMAND_COUNT && commandCodeOf(index) < code) index++;
  return enabledCommandFrom(index);
}

/** The next enabled command. Indices are in the order of the codes. */
export function nextCommandIndex(index: u32): u32 {
  return enabledCommandFrom(index + 1);
}

function enabledCommandFrom(first: u32): u32 {
  for (let index = first; index < COMMAND_COUNT; index++) {
    if (commandEnabled(commandCodeOf(index))) return index;
  }
  return UNIMPLEMENTED_COMMAND_INDEX;
}

@inline
function word(index: u32): u64 {
  return load<u64>(COMMAND_ATTRIBUTES + 8 * <usize>index);
}

@inline
export function commandCodeOf(index: u32): u32 {
  return <u32>word(index) & 0xffff;
}

/** TPMA_CC. */
@inline
export function commandTpmaCc(index: u32): u32 {
  return <u32>word(index);
}

/** The role that the n-th handle needs. */
@inline
export function commandAuthRole(index: u32, handle: u32): u32 {
  return <u32>(word(index) >> (32 + 2 * handle)) & 3;
}

@inline
export function sessionsAllowed(index: u32): bool {
  return ((word(index) >> 40) & 1) == 0;
}

/** Size field in bytes of a first parameter that a session may decrypt: 2, or 0 when none may. */
@inline
export function decryptSize(index: u32): u32 {
  return <u32>((word(index) >> 41) & 1) * 2;
}

@inline
export function encryptSize(index: u32): u32 {
  return <u32>((word(index) >> 42) & 1) * 2;
}

/** May stand on the list of commands that need physical presence. */
@inline
export function physicalPresenceConfigurable(index: u32): bool {
  return ((word(index) >> 43) & 3) == 1;
}

@inline
export function hasPhysicalPresence(index: u32): bool {
  return ((word(index) >> 43) & 1) != 0;
}

@inline
export function hasResponseHandle(index: u32): bool {
  return ((word(index) >> 28) & 1) != 0;
}

/** Commands for which the WRITE attributes of an NV Index decide, not the READ ones. */
export function isNvWrite(code: u32): bool {
  switch (code) {
    case TPM_CC_NV_Write:
    case TPM_CC_NV_Increment:
    case TPM_CC_NV_SetBits:
    case TPM_CC_NV_Extend:
    case TPM_CC_NV_WriteLock:
      return true;
  }
  return false;
}
