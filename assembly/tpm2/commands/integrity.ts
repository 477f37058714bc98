// Part 3, 22: integrity collection, the commands of the PCR.
import { clearOrderly, g, gp, gr, nvChanged } from "../data";
import {
  HASH_COUNT,
  IMPLEMENTATION_PCR,
  TPM_RC_1,
  TPM_RC_3,
  TPM_RC_LOCALITY,
  TPM_RC_P,
  TPM_RC_PCR,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
  TPM_RH_NULL,
} from "../generated/constants";
import {
  PCR_Allocate_In,
  PCR_Allocate_Out,
  PCR_Event_In,
  PCR_Event_Out,
  PCR_Extend_In,
  PCR_Read_In,
  PCR_Read_Out,
  PCR_Reset_In,
  PCR_SetAuthPolicy_In,
  PCR_SetAuthValue_In,
} from "../generated/records";
import { SIZEOF_TPML_PCR_SELECTION_RECORD, TPML_PCR_SELECTION } from "../generated/structures";
import { cryptHashBlock, digestSizeOf, hashAlgByIndex } from "../hash";
import {
  DRTM_PCR,
  HCRTM_PCR,
  PCR_MEMORY,
  pcrChanged,
  pcrExtend,
  pcrIsExtendAllowed,
  pcrIsResetAllowed,
  pcrIsStateSaved,
  pcrRead,
  pcrSetValue,
} from "../pcr";

export function PCR_Extend(input: PCR_Extend_In): u32 {
  const pcr = input.pcrHandle;
  if (pcr == TPM_RH_NULL) return 0;
  if (!pcrIsExtendAllowed(pcr)) return TPM_RC_LOCALITY;
  if (pcrIsStateSaved(pcr)) clearOrderly();
  const count = input.digests.count;
  for (let i: u32 = 0; i < count; i++) {
    const digest = input.digests.digests(i);
    pcrExtend(pcr, digest.hashAlg, digest.digest.buffer, digestSizeOf(digest.hashAlg));
  }
  return 0;
}

export function PCR_Event(input: PCR_Event_In, output: PCR_Event_Out): u32 {
  const pcr = input.pcrHandle;
  if (pcr != TPM_RH_NULL) {
    if (!pcrIsExtendAllowed(pcr)) return TPM_RC_LOCALITY;
    if (pcrIsStateSaved(pcr)) clearOrderly();
  }
  output.digests.count = HASH_COUNT;
  for (let i: u32 = 0; i < HASH_COUNT; i++) {
    const alg = hashAlgByIndex(i);
    const digest = output.digests.digests(i);
    digest.hashAlg = alg;
    const size = cryptHashBlock(alg, input.eventData.buffer, input.eventData.size, digest.digest.buffer);
    if (pcr != TPM_RH_NULL) pcrExtend(pcr, alg, digest.digest.buffer, size);
  }
  return 0;
}

export function PCR_Read(input: PCR_Read_In, output: PCR_Read_Out): u32 {
  pcrRead(input.pcrSelectionIn, output.pcrValues);
  memory.copy(
    changetype<usize>(output.pcrSelectionOut),
    changetype<usize>(input.pcrSelectionIn),
    SIZEOF_TPML_PCR_SELECTION_RECORD,
  );
  output.pcrUpdateCounter = gr.pcrCounter;
  return 0;
}

const NEW: usize = memory.data(SIZEOF_TPML_PCR_SELECTION_RECORD, 8);

/** The allocation holds from the next TPM Reset on. It is a change of the one in force: what an earlier call asked for is forgotten. */
export function PCR_Allocate(input: PCR_Allocate_In, output: PCR_Allocate_Out): u32 {
  const wanted = input.pcrAllocation;
  const result = changetype<TPML_PCR_SELECTION>(NEW);
  memory.copy(NEW, changetype<usize>(gp.pcrActive), SIZEOF_TPML_PCR_SELECTION_RECORD);
  const wantedCount = wanted.count;
  for (let i: u32 = 0; i < wantedCount; i++) {
    const selection = wanted.pcrSelections(i);
    for (let j: u32 = 0; j < result.count; j++) {
      const bank = result.pcrSelections(j);
      if (bank.hash != selection.hash) continue;
      const size: u32 = load<u8>(changetype<usize>(selection.pcrSelect));
      memory.copy(changetype<usize>(bank.pcrSelect), changetype<usize>(selection.pcrSelect), 1 + size);
      break;
    }
  }
  let sizeNeeded: u32 = 0;
  let drtm = false;
  let hcrtm = false;
  for (let i: u32 = 0; i < result.count; i++) {
    const bank = result.pcrSelections(i);
    const select = changetype<usize>(bank.pcrSelect);
    const size: u32 = load<u8>(select);
    const digestSize = digestSizeOf(bank.hash);
    for (let pcr: u32 = 0; pcr < size * 8; pcr++) {
      if (((load<u8>(select + 1 + (pcr >> 3)) >> (pcr & 7)) & 1) == 0) continue;
      sizeNeeded += digestSize;
      if (pcr == DRTM_PCR) drtm = true;
      if (pcr == HCRTM_PCR) hcrtm = true;
    }
  }
  if (!drtm || !hcrtm) return TPM_RC_PCR;
  memory.copy(changetype<usize>(gp.pcrAllocated), NEW, SIZEOF_TPML_PCR_SELECTION_RECORD);
  nvChanged();
  g.pcrReConfig = true;
  output.allocationSuccess = 1;
  output.maxPCR = IMPLEMENTATION_PCR;
  output.sizeNeeded = sizeNeeded;
  output.sizeAvailable = PCR_MEMORY;
  return 0;
}

/** No PCR of this platform belongs to a group with a policy. */
export function PCR_SetAuthPolicy(input: PCR_SetAuthPolicy_In): u32 {
  if (input.authPolicy.size != digestSizeOf(input.hashAlg)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  return TPM_RC_VALUE + TPM_RC_P + TPM_RC_3;
}

/** No PCR of this platform belongs to a group with an authValue. */
export function PCR_SetAuthValue(_input: PCR_SetAuthValue_In): u32 {
  return TPM_RC_VALUE;
}

export function PCR_Reset(input: PCR_Reset_In): u32 {
  const pcr = input.pcrHandle;
  if (!pcrIsResetAllowed(pcr)) return TPM_RC_LOCALITY;
  if (pcrIsStateSaved(pcr)) clearOrderly();
  pcrSetValue(pcr, 0);
  pcrChanged(pcr);
  return 0;
}
