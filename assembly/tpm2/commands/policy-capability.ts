// Part 3, 23.26: TPM2_PolicyCapability.
import {
  capAlgorithms,
  capAuthPolicies,
  capCommandList,
  capCommands,
  capEccCurves,
  capPcrHandles,
  capPcrProperties,
  capPermanentHandles,
  capTpmProperties,
} from "../capabilities";
import { marshalU16, marshalU32, outputAt, setOutput } from "../cursor";
import { gp } from "../data";
import {
  TPM_CAP_ACT,
  TPM_CAP_ALGS,
  TPM_CAP_AUDIT_COMMANDS,
  TPM_CAP_AUTH_POLICIES,
  TPM_CAP_COMMANDS,
  TPM_CAP_ECC_CURVES,
  TPM_CAP_HANDLES,
  TPM_CAP_PCR_PROPERTIES,
  TPM_CAP_PP_COMMANDS,
  TPM_CAP_TPM_PROPERTIES,
  TPM_CC_PolicyCapability,
  TPM_EO_NEQ,
  TPM_HT_LOADED_SESSION,
  TPM_HT_NV_INDEX,
  TPM_HT_PCR,
  TPM_HT_PERMANENT,
  TPM_HT_PERSISTENT,
  TPM_HT_SAVED_SESSION,
  TPM_HT_TRANSIENT,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_4,
  TPM_RC_5,
  TPM_RC_HANDLE,
  TPM_RC_P,
  TPM_RC_POLICY,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
  TPM_RH_ACT_0,
  TPM_RH_ACT_F,
} from "../generated/constants";
import { PolicyCapability_In } from "../generated/records";
import {
  SIZEOF_TPMU_CAPABILITIES_RECORD,
  TPMU_CAPABILITIES,
  marshal_TPMS_ALG_PROPERTY,
  marshal_TPMS_TAGGED_PCR_SELECT,
  marshal_TPMS_TAGGED_POLICY,
  marshal_TPMS_TAGGED_PROPERTY,
} from "../generated/structures";
import { handleType } from "../handles";
import { nvCapGetHandles } from "../nv";
import { objectCapGetLoaded } from "../object";
import {
  argumentsBegin,
  argumentsEnd,
  isTrial,
  policyAdd2B,
  policyAddInt,
  policyBegin,
  policyConditionHolds,
  policyEnd,
} from "../policy";
import { sessionCapGetHandles, sessionGet } from "../session";

const CAPABILITY: usize = memory.data(SIZEOF_TPMU_CAPABILITIES_RECORD, 16);
const CAPABILITY_BYTES: usize = memory.data(128, 8);

export function PolicyCapability(input: PolicyCapability_In): u32 {
  const session = sessionGet(input.policySession);
  const operandB = input.operandB;
  const offset: u32 = input.offset;
  if (!isTrial(session)) {
    setOutput(CAPABILITY_BYTES);
    const rc = marshalCapability(input.capability, input.property);
    if (rc) return rc;
    const size = <u32>(outputAt() - CAPABILITY_BYTES);
    if (size == 0) {
      // What is not there differs from everything, and compares in no other way.
      if (input.operation != TPM_EO_NEQ) return TPM_RC_POLICY;
    } else {
      if (offset > size) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
      if (size - offset < operandB.size) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
      if (!policyConditionHolds(input.operation, CAPABILITY_BYTES + offset, operandB.buffer, operandB.size))
        return TPM_RC_POLICY;
    }
  }
  argumentsBegin(session, operandB, offset, input.operation);
  policyAddInt(4, input.capability);
  policyAddInt(4, input.property);
  const digest = argumentsEnd();
  policyBegin(session, TPM_CC_PolicyCapability);
  policyAdd2B(digest);
  policyEnd(session);
  return 0;
}

/** Marshals the one property, if it is there: the first one from `property` on, when it is that one. */
function marshalCapability(capability: u32, property: u32): u32 {
  const data = changetype<TPMU_CAPABILITIES>(CAPABILITY);
  switch (capability) {
    case TPM_CAP_ALGS: {
      const list = data.algorithms;
      capAlgorithms(property & 0xffff, 1, list);
      if (list.count == 1 && list.algProperties(0).alg == (property & 0xffff))
        marshal_TPMS_ALG_PROPERTY(changetype<usize>(list.algProperties(0)));
      return 0;
    }
    case TPM_CAP_HANDLES:
      return marshalHandle(property, data);
    case TPM_CAP_COMMANDS: {
      const list = data.command;
      capCommands(property, 1, list);
      if (list.count == 1 && (list.commandAttributes(0) & 0xffff) == property) marshalU32(list.commandAttributes(0));
      return 0;
    }
    case TPM_CAP_PP_COMMANDS:
    case TPM_CAP_AUDIT_COMMANDS: {
      const list = data.ppCommands;
      capCommandList(capability == TPM_CAP_PP_COMMANDS ? gp.ppList : gp.auditCommands, property, 1, list);
      if (list.count == 1 && list.commandCodes(0) == property) marshalU32(property);
      return 0;
    }
    case TPM_CAP_PCR_PROPERTIES: {
      const list = data.pcrProperties;
      capPcrProperties(property, 1, list);
      if (list.count == 1 && list.pcrProperty(0).tag == property)
        marshal_TPMS_TAGGED_PCR_SELECT(changetype<usize>(list.pcrProperty(0)));
      return 0;
    }
    case TPM_CAP_TPM_PROPERTIES: {
      const list = data.tpmProperties;
      capTpmProperties(property, 1, list);
      if (list.count == 1 && list.tpmProperty(0).property == property)
        marshal_TPMS_TAGGED_PROPERTY(changetype<usize>(list.tpmProperty(0)));
      return 0;
    }
    case TPM_CAP_ECC_CURVES: {
      const list = data.eccCurves;
      capEccCurves(property & 0xffff, 1, list);
      if (list.count == 1 && list.eccCurves(0) == (property & 0xffff)) marshalU16(property);
      return 0;
    }
    case TPM_CAP_AUTH_POLICIES: {
      if (handleType(property) != TPM_HT_PERMANENT) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_5;
      const list = data.authPolicies;
      capAuthPolicies(property, 1, list);
      if (list.count == 1 && list.policies(0).handle == property)
        marshal_TPMS_TAGGED_POLICY(changetype<usize>(list.policies(0)));
      return 0;
    }
    case TPM_CAP_ACT:
      return property < TPM_RH_ACT_0 || property > TPM_RH_ACT_F ? TPM_RC_VALUE + TPM_RC_P + TPM_RC_5 : 0;
  }
  return TPM_RC_VALUE + TPM_RC_P + TPM_RC_4;
}

function marshalHandle(handle: u32, data: TPMU_CAPABILITIES): u32 {
  const list = data.handles;
  switch (handleType(handle)) {
    case TPM_HT_TRANSIENT:
      objectCapGetLoaded(handle, 1, list);
      break;
    case TPM_HT_PERSISTENT:
    case TPM_HT_NV_INDEX:
      nvCapGetHandles(handle, 1, list);
      break;
    case TPM_HT_LOADED_SESSION:
      sessionCapGetHandles(handle, 1, list, false);
      break;
    case TPM_HT_SAVED_SESSION:
      sessionCapGetHandles(handle, 1, list, true);
      break;
    case TPM_HT_PCR:
      capPcrHandles(handle, 1, list);
      break;
    case TPM_HT_PERMANENT:
      capPermanentHandles(handle, 1, list);
      break;
    default:
      return TPM_RC_HANDLE + TPM_RC_P + TPM_RC_5;
  }
  if (list.count == 1 && list.handle(0) == handle) marshalU32(handle);
  return 0;
}
