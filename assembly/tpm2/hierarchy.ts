// Hierarchies (Part 1, 13 and 14): seeds, proofs, authorizations, enables.
import { TPM2B } from "./cursor";
import { SU_RESTART, SU_RESUME, g, gc, gp, gr } from "./data";
import {
  PRIMARY_SEED_SIZE,
  PROOF_SIZE,
  TPM_ALG_NULL,
  TPM_RC_HIERARCHY,
  TPM_RC_VALUE,
  TPM_RH_ENDORSEMENT,
  TPM_RH_NULL,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
} from "./generated/constants";
import { cryptRandom2B } from "./random";

/** The derivation that new seeds get: libtpms 0.8 and later. */
export const SEED_COMPAT_LEVEL: u32 = 1;

/** Gives a seed or proof a new value. */
export function newSecret(secret: TPM2B, size: u32): void {
  secret.size = size;
  cryptRandom2B(secret);
}

/** Manufacturing. */
export function hierarchyPreInstall(): void {
  gp.disableClear = 0;
  newSecret(gp.EPSeed, PRIMARY_SEED_SIZE);
  newSecret(gp.SPSeed, PRIMARY_SEED_SIZE);
  newSecret(gp.PPSeed, PRIMARY_SEED_SIZE);
  gp.EPSeedCompatLevel = SEED_COMPAT_LEVEL;
  gp.SPSeedCompatLevel = SEED_COMPAT_LEVEL;
  gp.PPSeedCompatLevel = SEED_COMPAT_LEVEL;
  gp.ownerAuth.size = 0;
  gp.endorsementAuth.size = 0;
  gp.lockoutAuth.size = 0;
  gp.ownerAlg = TPM_ALG_NULL;
  gp.endorsementAlg = TPM_ALG_NULL;
  gp.lockoutAlg = TPM_ALG_NULL;
  gp.ownerPolicy.size = 0;
  gp.endorsementPolicy.size = 0;
  gp.lockoutPolicy.size = 0;
  newSecret(gp.phProof, PROOF_SIZE);
  newSecret(gp.shProof, PROOF_SIZE);
  newSecret(gp.ehProof, PROOF_SIZE);
}

/** TPM2_Startup. */
export function hierarchyStartup(type: u32): void {
  g.phEnable = true;
  if (type != SU_RESUME) {
    gc.platformAuth.size = 0;
    gc.platformPolicy.size = 0;
    gc.platformAlg = TPM_ALG_NULL;
    gc.shEnable = 1;
    gc.ehEnable = 1;
    gc.phEnableNV = 1;
  }
  if (type != SU_RESUME && type != SU_RESTART) {
    newSecret(gr.nullProof, PROOF_SIZE);
    newSecret(gr.nullSeed, PRIMARY_SEED_SIZE);
    gr.nullSeedCompatLevel = SEED_COMPAT_LEVEL;
  }
}

export function hierarchyProof(hierarchy: u32): TPM2B {
  switch (hierarchy) {
    case TPM_RH_PLATFORM:
      return gp.phProof;
    case TPM_RH_ENDORSEMENT:
      return gp.ehProof;
    case TPM_RH_OWNER:
      return gp.shProof;
  }
  return gr.nullProof;
}

export function hierarchyPrimarySeed(hierarchy: u32): TPM2B {
  switch (hierarchy) {
    case TPM_RH_PLATFORM:
      return gp.PPSeed;
    case TPM_RH_OWNER:
      return gp.SPSeed;
    case TPM_RH_ENDORSEMENT:
      return gp.EPSeed;
  }
  return gr.nullSeed;
}

export function hierarchySeedCompatLevel(hierarchy: u32): u32 {
  switch (hierarchy) {
    case TPM_RH_PLATFORM:
      return gp.PPSeedCompatLevel;
    case TPM_RH_OWNER:
      return gp.SPSeedCompatLevel;
    case TPM_RH_ENDORSEMENT:
      return gp.EPSeedCompatLevel;
  }
  return gr.nullSeedCompatLevel;
}

/** 0 if objects of the hierarchy may be used, TPM_RC_HIERARCHY if it is disabled, TPM_RC_VALUE if it is none. */
export function validateHierarchy(hierarchy: u32): u32 {
  let enabled = false;
  switch (hierarchy) {
    case TPM_RH_PLATFORM:
      enabled = g.phEnable;
      break;
    case TPM_RH_OWNER:
      enabled = gc.shEnable != 0;
      break;
    case TPM_RH_ENDORSEMENT:
      enabled = gc.ehEnable != 0;
      break;
    case TPM_RH_NULL:
      enabled = true;
      break;
    default:
      return TPM_RC_VALUE;
  }
  return enabled ? 0 : TPM_RC_HIERARCHY;
}

export function hierarchyIsEnabled(hierarchy: u32): bool {
  return validateHierarchy(hierarchy) == 0;
}
