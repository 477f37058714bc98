// Command audit (Part 1, 32.3): which commands are audited. The lists are bit maps by command code - 0x11F.
import { commandIndexOf, UNIMPLEMENTED_COMMAND_INDEX } from "./command-attributes";
import { TPM2B } from "./cursor";
import { SU_RESTART, SU_RESUME, gp, gr } from "./data";
import { TPM_ALG_SHA512, TPM_CC_SetCommandCodeAuditStatus, TPM_CC_Shutdown } from "./generated/constants";
import { HASH_RECORD_SIZE, cryptHashEnd2B, cryptHashStart, cryptHashUpdateInt } from "./hash";

const FIRST: u32 = 0x11f;
const COUNT: u32 = 128;

/** A bit of a command list. */
export function commandBit(list: usize, code: u32): bool {
  const index = code - FIRST;
  return index < COUNT && ((load<u8>(list + (index >> 3)) >> (index & 7)) & 1) != 0;
}

export function setCommandBit(list: usize, code: u32, value: bool): void {
  const index = code - FIRST;
  if (index >= COUNT) return;
  const at = list + (index >> 3);
  const mask: u8 = <u8>((<u32>1) << (index & 7));
  store<u8>(at, value ? load<u8>(at) | mask : load<u8>(at) & ~mask);
}

/** Manufacturing: only TPM2_SetCommandCodeAuditStatus is audited. */
export function commandAuditPreInstall(): void {
  memory.fill(gp.auditCommands, 0, COUNT / 8);
  setCommandBit(gp.auditCommands, TPM_CC_SetCommandCodeAuditStatus, true);
  gp.auditHashAlg = TPM_ALG_SHA512;
  gp.auditCounter = 0;
}

export function commandAuditStartup(type: u32): void {
  if (type != SU_RESTART && type != SU_RESUME) gr.commandAuditDigest.size = 0;
}

@inline
export function commandAuditIsRequired(code: u32): bool {
  return commandBit(gp.auditCommands, code);
}

/** True if the list changed; TPM2_Shutdown is never audited. */
export function commandAuditSet(code: u32): bool {
  if (commandIndexOf(code) == UNIMPLEMENTED_COMMAND_INDEX || code == TPM_CC_Shutdown) return false;
  if (commandAuditIsRequired(code)) return false;
  setCommandBit(gp.auditCommands, code, true);
  return true;
}

/** True if the list changed; TPM2_SetCommandCodeAuditStatus stays audited. */
export function commandAuditClear(code: u32): bool {
  if (commandIndexOf(code) == UNIMPLEMENTED_COMMAND_INDEX || code == TPM_CC_SetCommandCodeAuditStatus) return false;
  if (!commandAuditIsRequired(code)) return false;
  setCommandBit(gp.auditCommands, code, false);
  return true;
}

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/** Digest over the codes of the audited commands. */
export function commandAuditGetDigest(digest: TPM2B): void {
  cryptHashStart(WORK, gp.auditHashAlg);
  for (let code = FIRST; code < FIRST + COUNT; code++) {
    if (commandIndexOf(code) != UNIMPLEMENTED_COMMAND_INDEX && commandAuditIsRequired(code)) {
      cryptHashUpdateInt(WORK, 4, code);
    }
  }
  cryptHashEnd2B(WORK, digest);
}
