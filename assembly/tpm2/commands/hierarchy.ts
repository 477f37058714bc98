// Part 3, 24: hierarchy commands (TPM2_CreatePrimary stands with the objects).
import { saveOrderlyData } from "../clock";
import { TPM2B, copy2B } from "../cursor";
import { daPreInstall } from "../da";
import { clearOrderly, g, gc, go, gp, gr, nvChanged } from "../data";
import { removeTrailingZeros } from "../entity";
import { nvFlushHierarchy } from "../evict";
import {
  MAX_DIGEST_SIZE,
  PRIMARY_SEED_SIZE,
  PROOF_SIZE,
  TPM_ALG_NULL,
  TPM_RC_1,
  TPM_RC_AUTH_FAIL,
  TPM_RC_AUTH_TYPE,
  TPM_RC_DISABLED,
  TPM_RC_P,
  TPM_RC_SIZE,
  TPM_RH_ENDORSEMENT,
  TPM_RH_LOCKOUT,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
} from "../generated/constants";
import {
  ChangeEPS_In,
  ChangePPS_In,
  ClearControl_In,
  Clear_In,
  HierarchyChangeAuth_In,
  HierarchyControl_In,
  SetPrimaryPolicy_In,
} from "../generated/records";
import { digestSizeOf } from "../hash";
import { SEED_COMPAT_LEVEL, newSecret } from "../hierarchy";
import { objectFlushHierarchy } from "../object";
import { pcrChanged, pcrForgetAllocation } from "../pcr";

export function HierarchyControl(input: HierarchyControl_In): u32 {
  const enable = input.enable;
  const on = input.state == 1;
  const byPlatform = input.authHandle == TPM_RH_PLATFORM;
  switch (enable) {
    case TPM_RH_OWNER:
      if (!byPlatform && (input.authHandle != TPM_RH_OWNER || (on && gc.shEnable == 0))) return TPM_RC_AUTH_TYPE;
      break;
    case TPM_RH_ENDORSEMENT:
      if (!byPlatform && (input.authHandle != TPM_RH_ENDORSEMENT || (on && gc.ehEnable == 0))) return TPM_RC_AUTH_TYPE;
      break;
    default:
      // The platform hierarchy and its NV are the platform's alone.
      if (!byPlatform) return TPM_RC_AUTH_TYPE;
  }
  if (isEnabled(enable) == on) return 0;
  setEnabled(enable, on);
  if (!on) objectFlushHierarchy(enable);
  clearOrderly();
  return 0;
}

function isEnabled(hierarchy: u32): bool {
  switch (hierarchy) {
    case TPM_RH_OWNER:
      return gc.shEnable != 0;
    case TPM_RH_ENDORSEMENT:
      return gc.ehEnable != 0;
    case TPM_RH_PLATFORM:
      return g.phEnable;
  }
  return gc.phEnableNV != 0;
}

function setEnabled(hierarchy: u32, on: bool): void {
  switch (hierarchy) {
    case TPM_RH_OWNER:
      gc.shEnable = on ? 1 : 0;
      break;
    case TPM_RH_ENDORSEMENT:
      gc.ehEnable = on ? 1 : 0;
      break;
    case TPM_RH_PLATFORM:
      g.phEnable = on;
      break;
    default:
      gc.phEnableNV = on ? 1 : 0;
  }
}

export function SetPrimaryPolicy(input: SetPrimaryPolicy_In): u32 {
  if (input.authPolicy.size != digestSizeOf(input.hashAlg)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  switch (input.authHandle) {
    case TPM_RH_OWNER:
      gp.ownerAlg = input.hashAlg;
      copy2B(gp.ownerPolicy, input.authPolicy);
      nvChanged();
      break;
    case TPM_RH_ENDORSEMENT:
      gp.endorsementAlg = input.hashAlg;
      copy2B(gp.endorsementPolicy, input.authPolicy);
      nvChanged();
      break;
    case TPM_RH_LOCKOUT:
      gp.lockoutAlg = input.hashAlg;
      copy2B(gp.lockoutPolicy, input.authPolicy);
      nvChanged();
      break;
    case TPM_RH_PLATFORM:
      gc.platformAlg = input.hashAlg;
      copy2B(gc.platformPolicy, input.authPolicy);
      clearOrderly();
      break;
  }
  return 0;
}

export function ChangePPS(_input: ChangePPS_In): u32 {
  newSecret(gp.PPSeed, PRIMARY_SEED_SIZE);
  gp.PPSeedCompatLevel = SEED_COMPAT_LEVEL;
  newSecret(gp.phProof, PROOF_SIZE);
  gc.platformAlg = TPM_ALG_NULL;
  gc.platformPolicy.size = 0;
  objectFlushHierarchy(TPM_RH_PLATFORM);
  nvFlushHierarchy(TPM_RH_PLATFORM);
  nvChanged();
  clearOrderly();
  return 0;
}

export function ChangeEPS(_input: ChangeEPS_In): u32 {
  newSecret(gp.EPSeed, PRIMARY_SEED_SIZE);
  gp.EPSeedCompatLevel = SEED_COMPAT_LEVEL;
  newSecret(gp.ehProof, PROOF_SIZE);
  gc.ehEnable = 1;
  clear2B(gp.endorsementAuth);
  gp.endorsementAlg = TPM_ALG_NULL;
  gp.endorsementPolicy.size = 0;
  objectFlushHierarchy(TPM_RH_ENDORSEMENT);
  nvFlushHierarchy(TPM_RH_ENDORSEMENT);
  nvChanged();
  clearOrderly();
  return 0;
}

function clear2B(value: TPM2B): void {
  memory.fill(changetype<usize>(value), 0, 2 + MAX_DIGEST_SIZE);
}

/** Gives the TPM to a new owner: storage and endorsement objects go, what is the platform's and EPS stay. */
export function Clear(_input: Clear_In): u32 {
  if (gp.disableClear != 0) return TPM_RC_DISABLED;
  newSecret(gp.SPSeed, PRIMARY_SEED_SIZE);
  gp.SPSeedCompatLevel = SEED_COMPAT_LEVEL;
  newSecret(gp.shProof, PROOF_SIZE);
  newSecret(gp.ehProof, PROOF_SIZE);
  gc.shEnable = 1;
  gc.ehEnable = 1;
  clear2B(gp.ownerAuth);
  clear2B(gp.endorsementAuth);
  clear2B(gp.lockoutAuth);
  gp.ownerAlg = TPM_ALG_NULL;
  gp.endorsementAlg = TPM_ALG_NULL;
  gp.lockoutAlg = TPM_ALG_NULL;
  clear2B(gp.ownerPolicy);
  clear2B(gp.endorsementPolicy);
  clear2B(gp.lockoutPolicy);
  objectFlushHierarchy(TPM_RH_OWNER);
  objectFlushHierarchy(TPM_RH_ENDORSEMENT);
  nvFlushHierarchy(TPM_RH_OWNER);
  nvFlushHierarchy(TPM_RH_ENDORSEMENT);
  daPreInstall();
  go.clock = 0;
  go.clockSafe = 1;
  saveOrderlyData();
  gp.resetCount = 0;
  gr.restartCount = 0;
  gr.clearCount = 0;
  gp.auditCounter = 0;
  gc.pcrAuthValue.size = 0;
  // As with libtpms, which writes all of the persistent data here, a pending TPM2_PCR_Allocate is forgotten.
  pcrForgetAllocation();
  pcrChanged(0);
  nvChanged();
  clearOrderly();
  return 0;
}

export function ClearControl(input: ClearControl_In): u32 {
  // lockoutAuth may disable TPM2_Clear, only the platform may enable it again.
  if (input.auth == TPM_RH_LOCKOUT && input.disable == 0) return TPM_RC_AUTH_FAIL;
  gp.disableClear = input.disable;
  nvChanged();
  return 0;
}

export function HierarchyChangeAuth(input: HierarchyChangeAuth_In): u32 {
  removeTrailingZeros(input.newAuth);
  switch (input.authHandle) {
    case TPM_RH_OWNER:
      copy2B(gp.ownerAuth, input.newAuth);
      nvChanged();
      break;
    case TPM_RH_ENDORSEMENT:
      copy2B(gp.endorsementAuth, input.newAuth);
      nvChanged();
      break;
    case TPM_RH_LOCKOUT:
      copy2B(gp.lockoutAuth, input.newAuth);
      nvChanged();
      break;
    case TPM_RH_PLATFORM:
      copy2B(gc.platformAuth, input.newAuth);
      clearOrderly();
      break;
  }
  return 0;
}
