// Part 3, 25: dictionary attack functions.
import { gp, nvChanged } from "../data";
import { DictionaryAttackLockReset_In, DictionaryAttackParameters_In } from "../generated/records";

export function DictionaryAttackLockReset(_input: DictionaryAttackLockReset_In): u32 {
  gp.failedTries = 0;
  nvChanged();
  return 0;
}

export function DictionaryAttackParameters(input: DictionaryAttackParameters_In): u32 {
  gp.maxTries = input.newMaxTries;
  gp.recoveryTime = input.newRecoveryTime;
  gp.lockoutRecovery = input.lockoutRecovery;
  nvChanged();
  return 0;
}
