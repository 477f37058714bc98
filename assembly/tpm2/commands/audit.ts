// Part 3, 21: command audit.
import { commandAuditClear, commandAuditSet } from "../command-audit";
import { gp, gr, nvChanged } from "../data";
import { TPM_ALG_NULL, TPM_RC_1, TPM_RC_P, TPM_RC_VALUE } from "../generated/constants";
import { SetCommandCodeAuditStatus_In } from "../generated/records";

export function SetCommandCodeAuditStatus(input: SetCommandCodeAuditStatus_In): u32 {
  const setList = input.setList;
  const clearList = input.clearList;
  if (input.auditAlg != TPM_ALG_NULL && input.auditAlg != gp.auditHashAlg) {
    // The algorithm and the lists change in separate commands.
    if (setList.count != 0 || clearList.count != 0) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
    gp.auditHashAlg = input.auditAlg;
    // No digest of any algorithm has this size: the audit that follows starts a new digest (session-process.ts).
    gr.commandAuditDigest.size = 1;
    nvChanged();
    return 0;
  }
  let changed = false;
  for (let i: u32 = 0; i < setList.count; i++) if (commandAuditSet(setList.commandCodes(i))) changed = true;
  for (let i: u32 = 0; i < clearList.count; i++) if (commandAuditClear(clearList.commandCodes(i))) changed = true;
  if (changed) nvChanged();
  return 0;
}
