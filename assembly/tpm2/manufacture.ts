// Manufacturing, and _TPM_Init.
import { timePowerOn, timerReset, restoreOrderlyData, saveOrderlyData } from "./clock";
import { commandAuditPreInstall, setCommandBit } from "./command-audit";
import { daPreInstall } from "./da";
import { go, gp, nvChanged, resetPowerCycle } from "./data";
import { TPM_CC_PP_Commands, TPM_SU_CLEAR } from "./generated/constants";
import { SIZEOF_ORDERLY_DATA_RECORD, SIZEOF_PERSISTENT_DATA_RECORD } from "./generated/engine-records";
import { hierarchyPreInstall } from "./hierarchy";
import { setNvMaxCounter } from "./nv";
import { nvClearMemory } from "./nv-memory";
import { pcrActivateAllocation, pcrManufacture } from "./pcr";
import { FIRMWARE_V1, FIRMWARE_V2 } from "./properties";
import { randomStartup } from "./random";
import { selfTestInit } from "./self-test";

/** Makes a new TPM: new seeds and proofs, nothing defined. The profile is set before. */
export function manufacture(): void {
  memory.fill(changetype<usize>(gp), 0, SIZEOF_PERSISTENT_DATA_RECORD);
  memory.fill(changetype<usize>(go), 0, SIZEOF_ORDERLY_DATA_RECORD);
  nvClearMemory();
  setNvMaxCounter(0);
  randomStartup(false);
  pcrManufacture();
  hierarchyPreInstall();
  daPreInstall();
  setCommandBit(gp.ppList, TPM_CC_PP_Commands, true);
  commandAuditPreInstall();
  gp.orderlyState = TPM_SU_CLEAR;
  gp.firmwareV1 = FIRMWARE_V1;
  gp.firmwareV2 = FIRMWARE_V2;
  go.clock = 0;
  go.clockSafe = 1;
  saveOrderlyData();
}

/** _TPM_Init on the permanent state at hand. Sets CHANGED_PERMANENT if that has to be stored. */
export function tpmInit(): void {
  resetPowerCycle();
  timerReset();
  selfTestInit();
  restoreOrderlyData();
  pcrActivateAllocation();
  if (gp.firmwareV1 != FIRMWARE_V1 || gp.firmwareV2 != FIRMWARE_V2) {
    gp.firmwareV1 = FIRMWARE_V1;
    gp.firmwareV2 = FIRMWARE_V2;
    nvChanged();
  }
  timePowerOn();
}
