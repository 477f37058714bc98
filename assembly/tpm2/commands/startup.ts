// Part 3, 9: TPM2_Startup, TPM2_Shutdown.
import { saveOrderlyData, timeStartup } from "../clock";
import { commandAuditStartup } from "../command-audit";
import { daStartup } from "../da";
import { commitReset } from "../commit";
import {
  PRE_STARTUP_FLAG,
  STARTUP_LOCALITY_3,
  SU_DA_USED_VALUE,
  SU_NONE_VALUE,
  SU_RESET,
  SU_RESTART,
  SU_RESUME,
  g,
  gc,
  go,
  gp,
  gr,
  isOrderly,
  nvChanged,
  savedStateClear,
  savedStateReset,
} from "../data";
import {
  TPM_RC_1,
  TPM_RC_LOCALITY,
  TPM_RC_NV_UNINITIALIZED,
  TPM_RC_P,
  TPM_RC_TYPE,
  TPM_RC_VALUE,
  TPM_SU_STATE,
} from "../generated/constants";
import { SIZEOF_STATE_CLEAR_RECORD, SIZEOF_STATE_RESET_RECORD } from "../generated/engine-records";
import { Shutdown_In, Startup_In } from "../generated/records";
import { hierarchyStartup } from "../hierarchy";
import { nvEntityStartup, nvSaveOrderlyRam } from "../nv";
import { objectStartup } from "../object";
import { pcrStartup, pcrStateSave } from "../pcr";
import { randomStartup } from "../random";
import { sessionStartup } from "../session";

export function Startup(input: Startup_In): u32 {
  let locality = g.locality;
  if (locality != 0 && locality != 3) return TPM_RC_LOCALITY;
  if (g.drtmPreStartup) locality = 0;
  g.startupLocality3 = locality == 3;
  g.daUsed = gp.orderlyState == SU_DA_USED_VALUE;
  if (g.daUsed) gp.orderlyState = SU_NONE_VALUE;
  g.prevOrderlyState = gp.orderlyState;
  if (isOrderly(g.prevOrderlyState)) g.prevOrderlyState &= ~(PRE_STARTUP_FLAG | STARTUP_LOCALITY_3);
  const resume = input.startupType == TPM_SU_STATE;
  if (resume) {
    if (g.prevOrderlyState != TPM_SU_STATE) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
    if (!g.nvOk) return TPM_RC_NV_UNINITIALIZED;
    // The H-CRTM and the locality have to be what they were at the shutdown.
    if (g.drtmPreStartup != ((gp.orderlyState & PRE_STARTUP_FLAG) != 0)) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
    if (g.startupLocality3 != ((gp.orderlyState & STARTUP_LOCALITY_3) != 0)) return TPM_RC_LOCALITY;
  }
  gp.orderlyState = g.prevOrderlyState;
  const type = startupType(resume);
  randomStartup(type == SU_RESUME);
  g.started = true;
  timeStartup();
  daStartup();
  hierarchyStartup(type);
  pcrStartup(type, locality);
  commandAuditStartup(type);
  count(type);
  sessionStartup(type);
  objectStartup();
  nvEntityStartup(type);
  gp.orderlyState = SU_NONE_VALUE;
  nvChanged();
  g.powerWasLost = false;
  return 0;
}

/** Restart and Resume bring back what the shutdown kept (Part 1, 12.2.3). */
function startupType(resume: bool): u32 {
  if (gp.orderlyState != TPM_SU_STATE || !g.nvOk) return SU_RESET;
  memory.copy(changetype<usize>(gr), savedStateReset, SIZEOF_STATE_RESET_RECORD);
  if (!resume) return SU_RESTART;
  memory.copy(changetype<usize>(gc), savedStateClear, SIZEOF_STATE_CLEAR_RECORD);
  return SU_RESUME;
}

function count(type: u32): void {
  switch (type) {
    case SU_RESUME:
      gr.restartCount++;
      break;
    case SU_RESTART:
      gr.clearCount++;
      gr.restartCount++;
      break;
    default:
      gr.objectContextID = 0;
      gr.clearCount = 0;
      gp.resetCount++;
      gp.totalResetCount++;
      gr.restartCount = 0;
      commitReset();
  }
}

export function Shutdown(input: Shutdown_In): u32 {
  const state = input.shutdownType == TPM_SU_STATE;
  // PCR that are about to be allocated differently cannot be kept.
  if (g.pcrReConfig && state) return TPM_RC_TYPE + TPM_RC_P + TPM_RC_1;
  gp.orderlyState = input.shutdownType;
  g.daUsed = false;
  if (state) pcrStateSave();
  nvSaveOrderlyRam();
  go.time = g.time;
  saveOrderlyData();
  if (state) {
    memory.copy(savedStateClear, changetype<usize>(gc), SIZEOF_STATE_CLEAR_RECORD);
    memory.copy(savedStateReset, changetype<usize>(gr), SIZEOF_STATE_RESET_RECORD);
    if (g.drtmPreStartup) gp.orderlyState = TPM_SU_STATE | PRE_STARTUP_FLAG;
    else if (g.startupLocality3) gp.orderlyState = TPM_SU_STATE | STARTUP_LOCALITY_3;
  }
  nvChanged();
  return 0;
}
