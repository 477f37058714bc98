// Part 3, 26: miscellaneous management functions.
import { setCommandBit } from "../command-audit";
import {
  UNIMPLEMENTED_COMMAND_INDEX,
  commandIndexOf,
  hasPhysicalPresence,
  physicalPresenceConfigurable,
} from "../command-attributes";
import { gp, nvChanged } from "../data";
import { PP_Commands_In, SetAlgorithmSet_In } from "../generated/records";

/** Codes that are not implemented, or never need physical presence, are passed over (Part 3, 26.2). */
export function PP_Commands(input: PP_Commands_In): u32 {
  const setList = input.setList;
  for (let i: u32 = 0; i < setList.count; i++) {
    const index = commandIndexOf(setList.commandCodes(i));
    if (index != UNIMPLEMENTED_COMMAND_INDEX && hasPhysicalPresence(index))
      setCommandBit(gp.ppList, setList.commandCodes(i), true);
  }
  const clearList = input.clearList;
  for (let i: u32 = 0; i < clearList.count; i++) {
    const index = commandIndexOf(clearList.commandCodes(i));
    if (index != UNIMPLEMENTED_COMMAND_INDEX && !isRequired(index))
      setCommandBit(gp.ppList, clearList.commandCodes(i), false);
  }
  nvChanged();
  return 0;
}

/** TPM2_PP_Commands itself needs physical presence always. */
function isRequired(index: u32): bool {
  return hasPhysicalPresence(index) && !physicalPresenceConfigurable(index);
}

export function SetAlgorithmSet(input: SetAlgorithmSet_In): u32 {
  gp.algorithmSet = input.algorithmSet;
  nvChanged();
  return 0;
}
