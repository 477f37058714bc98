// Dictionary attack protection (Part 1, 19.8): failures of protected authorizations count, time heals, lockoutAuth resets.
import { timeUpdate, timerWasReset } from "./clock";
import { g, go, gp, isOrderly, nvChanged } from "./data";
import { TPM_RH_LOCKOUT } from "./generated/constants";

/** Manufacturing. */
export function daPreInstall(): void {
  gp.failedTries = 0;
  gp.maxTries = 3;
  gp.recoveryTime = 1000;
  gp.lockoutRecovery = 1000;
  gp.lockOutAuthEnabled = 1;
}

/** TPM2_Startup: the timers go on from an orderly shutdown; a pulled plug after DA was used counts as a failure. */
export function daStartup(): void {
  if (timerWasReset()) {
    if (!isOrderly(gp.orderlyState)) {
      go.selfHealTimer = 0;
      go.lockoutTimer = 0;
    } else {
      go.selfHealTimer -= go.time;
      go.lockoutTimer -= go.time;
    }
  }
  if (gp.lockoutRecovery == 0) {
    gp.lockOutAuthEnabled = 1;
    nvChanged();
  }
  if (gp.recoveryTime != 0 && gp.failedTries < gp.maxTries && !isOrderly(g.prevOrderlyState)) {
    gp.failedTries += g.daUsed ? 1 : 0;
    g.daUsed = false;
    nvChanged();
  }
  timeUpdate();
}

/** Starts the timer that heals this failure. */
export function daRegisterFailure(handle: u32): void {
  if (handle == TPM_RH_LOCKOUT) go.lockoutTimer = g.time;
  else go.selfHealTimer = g.time;
}

/** Takes back as many failures as recovery intervals have passed. The timers may lie before the zero of the time. */
export function daSelfHeal(): void {
  if (gp.failedTries != 0) {
    if (gp.recoveryTime == 0) {
      gp.failedTries = 0;
      nvChanged();
    } else {
      const healed = (g.time - go.selfHealTimer) / 1000 / gp.recoveryTime;
      if (gp.failedTries <= <u32>healed) gp.failedTries = 0;
      else gp.failedTries -= <u32>healed;
      go.selfHealTimer += healed * gp.recoveryTime * 1000;
      if (healed != 0) nvChanged();
    }
  }
  if (gp.lockOutAuthEnabled == 0 && gp.lockoutRecovery != 0) {
    if ((g.time - go.lockoutTimer) / 1000 >= gp.lockoutRecovery) {
      gp.lockOutAuthEnabled = 1;
      nvChanged();
    }
  }
}
