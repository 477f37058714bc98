// Part 3, 30: capability commands.
import {
  capAlgorithms,
  capAuthPolicies,
  capCommandList,
  capCommands,
  capEccCurves,
  capPcrAllocation,
  capPcrHandles,
  capPcrProperties,
  capPermanentHandles,
  capTpmProperties,
} from "../capabilities";
import { gp } from "../data";
import {
  TPM_CAP_ACT,
  TPM_CAP_ALGS,
  TPM_CAP_AUDIT_COMMANDS,
  TPM_CAP_AUTH_POLICIES,
  TPM_CAP_COMMANDS,
  TPM_CAP_ECC_CURVES,
  TPM_CAP_HANDLES,
  TPM_CAP_PCRS,
  TPM_CAP_PCR_PROPERTIES,
  TPM_CAP_PP_COMMANDS,
  TPM_CAP_TPM_PROPERTIES,
  TPM_HT_LOADED_SESSION,
  TPM_HT_NV_INDEX,
  TPM_HT_PCR,
  TPM_HT_PERMANENT,
  TPM_HT_PERSISTENT,
  TPM_HT_SAVED_SESSION,
  TPM_HT_TRANSIENT,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_HANDLE,
  TPM_RC_P,
  TPM_RC_VALUE,
  TPM_RH_ACT_0,
  TPM_RH_ACT_F,
} from "../generated/constants";
import { GetCapability_In, GetCapability_Out, TestParms_In } from "../generated/records";
import { TPML_HANDLE } from "../generated/structures";
import { handleType } from "../handles";
import { nvCapGetHandles } from "../nv";
import { objectCapGetLoaded } from "../object";
import { sessionCapGetHandles } from "../session";

const VALUE_P2: u32 = TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;

export function GetCapability(input: GetCapability_In, output: GetCapability_Out): u32 {
  const property = input.property;
  const count = input.propertyCount;
  const data = output.capabilityData.data;
  let more = false;
  output.capabilityData.capability = input.capability;
  switch (input.capability) {
    case TPM_CAP_ALGS:
      more = capAlgorithms(property & 0xffff, count, data.algorithms);
      break;
    case TPM_CAP_HANDLES:
      if (!handlesSupported(handleType(property))) return TPM_RC_HANDLE + TPM_RC_P + TPM_RC_2;
      more = handles(property, count, data.handles);
      break;
    case TPM_CAP_COMMANDS:
      more = capCommands(property, count, data.command);
      break;
    case TPM_CAP_PP_COMMANDS:
      more = capCommandList(gp.ppList, property, count, data.ppCommands);
      break;
    case TPM_CAP_AUDIT_COMMANDS:
      more = capCommandList(gp.auditCommands, property, count, data.auditCommands);
      break;
    case TPM_CAP_PCRS:
      if (property != 0) return VALUE_P2;
      more = capPcrAllocation(count, data.assignedPCR);
      break;
    case TPM_CAP_TPM_PROPERTIES:
      more = capTpmProperties(property, count, data.tpmProperties);
      break;
    case TPM_CAP_PCR_PROPERTIES:
      more = capPcrProperties(property, count, data.pcrProperties);
      break;
    case TPM_CAP_ECC_CURVES:
      more = capEccCurves(property & 0xffff, count, data.eccCurves);
      break;
    case TPM_CAP_AUTH_POLICIES:
      if (handleType(property) != TPM_HT_PERMANENT) return VALUE_P2;
      more = capAuthPolicies(property, count, data.authPolicies);
      break;
    case TPM_CAP_ACT:
      // There is no authenticated countdown timer.
      if (property < TPM_RH_ACT_0 || property > TPM_RH_ACT_F) return VALUE_P2;
      data.actData.count = 0;
      break;
    default:
      return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
  }
  output.moreData = more ? 1 : 0;
  return 0;
}

function handlesSupported(type: u32): bool {
  switch (type) {
    case TPM_HT_TRANSIENT:
    case TPM_HT_PERSISTENT:
    case TPM_HT_NV_INDEX:
    case TPM_HT_LOADED_SESSION:
    case TPM_HT_SAVED_SESSION:
    case TPM_HT_PCR:
    case TPM_HT_PERMANENT:
      return true;
  }
  return false;
}

function handles(first: u32, count: u32, list: TPML_HANDLE): bool {
  switch (handleType(first)) {
    case TPM_HT_TRANSIENT:
      return objectCapGetLoaded(first, count, list);
    case TPM_HT_LOADED_SESSION:
      return sessionCapGetHandles(first, count, list, false);
    case TPM_HT_SAVED_SESSION:
      return sessionCapGetHandles(first, count, list, true);
    case TPM_HT_PCR:
      return capPcrHandles(first, count, list);
    case TPM_HT_PERMANENT:
      return capPermanentHandles(first, count, list);
  }
  return nvCapGetHandles(first, count, list);
}

/** Unmarshalling the parameters is the test. */
export function TestParms(_input: TestParms_In): u32 {
  return 0;
}
