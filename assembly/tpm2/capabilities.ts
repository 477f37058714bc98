// The lists behind TPM2_GetCapability (Part 3, 30.2) that no subsystem has for itself.
import { algorithmEnabled, curveEnabled } from "./algorithms";
import {
  UNIMPLEMENTED_COMMAND_INDEX,
  closestCommandIndex,
  commandCodeOf,
  commandTpmaCc,
  nextCommandIndex,
} from "./command-attributes";
import { commandBit } from "./command-audit";
import { TPM2B } from "./cursor";
import { gc, gp } from "./data";
import {
  IMPLEMENTATION_PCR,
  MAX_CAP_ALGS,
  MAX_CAP_CC,
  MAX_CAP_HANDLES,
  MAX_ECC_CURVES,
  MAX_PCR_PROPERTIES,
  MAX_TAGGED_POLICIES,
  MAX_TPM_PROPERTIES,
  TPM_PT_AUDIT_COUNTER_1,
  TPM_PT_FIRMWARE_MAX_SVN,
  TPM_RH_ENDORSEMENT,
  TPM_RH_LOCKOUT,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
} from "./generated/constants";
import {
  TPML_ALG_PROPERTY,
  TPML_CC,
  TPML_CCA,
  TPML_ECC_CURVE,
  TPML_HANDLE,
  TPML_PCR_SELECTION,
  TPML_TAGGED_PCR_PROPERTY,
  TPML_TAGGED_POLICY,
  TPML_TAGGED_TPM_PROPERTY,
  SIZEOF_TPMS_PCR_SELECTION_RECORD,
} from "./generated/structures";
import { pcrGetProperty } from "./pcr";
import { PT_FIXED, PT_GROUP, PT_VAR, tpmProperty } from "./properties";

// TPM_ALG_ID and TPMA_ALGORITHM of what is implemented, in the order of the identifiers.
const ALGORITHM_COUNT: u32 = 33;
const ALGORITHMS = memory.data<u16>([
  0x0001, 0x0009, 0x0003, 0x0002, 0x0004, 0x0004, 0x0005, 0x0104, 0x0006, 0x0002, 0x0007, 0x0404, 0x0008, 0x030c,
  0x000a, 0x0006, 0x000b, 0x0004, 0x000c, 0x0004, 0x000d, 0x0004, 0x0014, 0x0101, 0x0015, 0x0201, 0x0016, 0x0101,
  0x0017, 0x0201, 0x0018, 0x0101, 0x0019, 0x0401, 0x001a, 0x0101, 0x001b, 0x0501, 0x001c, 0x0101, 0x001d, 0x0401,
  0x0020, 0x0404, 0x0021, 0x0404, 0x0022, 0x0404, 0x0023, 0x0009, 0x0025, 0x0008, 0x0026, 0x0002, 0x003f, 0x0102,
  0x0040, 0x0202, 0x0041, 0x0202, 0x0042, 0x0202, 0x0043, 0x0202, 0x0044, 0x0202,
]);

/** TPM_ALG_ID of the n-th implemented algorithm, 0 beyond the last. */
export function algorithmByIndex(index: u32): u32 {
  return index < ALGORITHM_COUNT ? load<u16>(ALGORITHMS + 4 * <usize>index) : 0;
}

export function capAlgorithms(first: u32, count: u32, list: TPML_ALG_PROPERTY): bool {
  const max = min(count, MAX_CAP_ALGS);
  list.count = 0;
  for (let i: u32 = 0; i < ALGORITHM_COUNT; i++) {
    const alg = algorithmByIndex(i);
    if (alg < first || !algorithmEnabled(alg)) continue;
    if (list.count == max) return true;
    const property = list.algProperties(list.count);
    property.alg = alg;
    property.algProperties = load<u16>(ALGORITHMS + 4 * <usize>i + 2);
    list.count++;
  }
  return false;
}

const CURVES = memory.data<u8>([1, 2, 3, 4, 5, 0x10, 0x11, 0x20]);

export function capEccCurves(first: u32, count: u32, list: TPML_ECC_CURVE): bool {
  const max = min(count, MAX_ECC_CURVES);
  list.count = 0;
  for (let i: u32 = 0; i < 8; i++) {
    const curve: u32 = load<u8>(CURVES + i);
    if (curve < first || !curveEnabled(curve)) continue;
    if (list.count == max) return true;
    list.set_eccCurves(list.count, curve);
    list.count++;
  }
  return false;
}

export function capCommands(first: u32, count: u32, list: TPML_CCA): bool {
  const max = min(count, MAX_CAP_CC);
  list.count = 0;
  for (let i = closestCommandIndex(first); i != UNIMPLEMENTED_COMMAND_INDEX; i = nextCommandIndex(i)) {
    if (list.count == max) return true;
    list.set_commandAttributes(list.count, commandTpmaCc(i));
    list.count++;
  }
  return false;
}

/** The commands of a bit map (physical presence, audit). */
export function capCommandList(bits: usize, first: u32, count: u32, list: TPML_CC): bool {
  const max = min(count, MAX_CAP_CC);
  list.count = 0;
  for (let i = closestCommandIndex(first); i != UNIMPLEMENTED_COMMAND_INDEX; i = nextCommandIndex(i)) {
    const code = commandCodeOf(i);
    if (!commandBit(bits, code)) continue;
    if (list.count == max) return true;
    list.set_commandCodes(list.count, code);
    list.count++;
  }
  return false;
}

/** The allocation in force, less the banks that the profile takes away; asking for nothing leaves more to ask. */
export function capPcrAllocation(count: u32, list: TPML_PCR_SELECTION): bool {
  if (count == 0) {
    list.count = 0;
    return true;
  }
  list.count = 0;
  for (let i: u32 = 0; i < gp.pcrActive.count; i++) {
    const selection = gp.pcrActive.pcrSelections(i);
    if (!algorithmEnabled(selection.hash)) continue;
    const entry = list.pcrSelections(list.count);
    memory.copy(changetype<usize>(entry), changetype<usize>(selection), SIZEOF_TPMS_PCR_SELECTION_RECORD);
    list.count++;
  }
  return false;
}

export function capPcrHandles(first: u32, count: u32, list: TPML_HANDLE): bool {
  const max = min(count, MAX_CAP_HANDLES);
  list.count = 0;
  for (let pcr = first & 0x00ffffff; pcr < IMPLEMENTATION_PCR; pcr++) {
    if (list.count == max) return true;
    list.set_handle(list.count, pcr);
    list.count++;
  }
  return false;
}

const PERMANENT_COUNT: u32 = 7;
const PERMANENT = memory.data<u32>([
  0x40000001, 0x40000007, 0x40000009, 0x4000000a, 0x4000000b, 0x4000000c, 0x4000000d,
]);

export function capPermanentHandles(first: u32, count: u32, list: TPML_HANDLE): bool {
  const max = min(count, MAX_CAP_HANDLES);
  list.count = 0;
  for (let i: u32 = 0; i < PERMANENT_COUNT; i++) {
    const handle = load<u32>(PERMANENT + 4 * <usize>i);
    if (handle < first) continue;
    if (list.count == max) return true;
    list.set_handle(list.count, handle);
    list.count++;
  }
  return false;
}

export function capPcrProperties(first: u32, count: u32, list: TPML_TAGGED_PCR_PROPERTY): bool {
  const max = min(count, MAX_PCR_PROPERTIES);
  list.count = 0;
  for (let property = first; property <= 0x14; property++) {
    if (list.count == max) return true;
    const entry = list.pcrProperty(list.count);
    // Groups that this platform has no register in are no properties: POLICY and AUTH do exist, empty.
    if (!pcrGetProperty(property, changetype<usize>(entry.pcrSelect))) continue;
    entry.tag = property;
    list.count++;
  }
  return false;
}

const VALUE: usize = memory.data(4, 4);

/** Properties of one group, from `first` to the group's end. */
export function capTpmProperties(first: u32, count: u32, list: TPML_TAGGED_TPM_PROPERTY): bool {
  const max = min(count, MAX_TPM_PROPERTIES);
  list.count = 0;
  if (first < PT_FIXED) first = PT_FIXED;
  if (first >= PT_VAR + PT_GROUP) return false;
  const last = first < PT_VAR ? TPM_PT_FIRMWARE_MAX_SVN : TPM_PT_AUDIT_COUNTER_1;
  for (let property = first; property <= last; property++) {
    if (!tpmProperty(property, VALUE)) continue;
    if (list.count == max) return true;
    const entry = list.tpmProperty(list.count);
    entry.property = property;
    entry.value = load<u32>(VALUE);
    list.count++;
  }
  return false;
}

/** Policies of the permanent entities that can have one; like libtpms also those that have none, with TPM_ALG_NULL. */
export function capAuthPolicies(first: u32, count: u32, list: TPML_TAGGED_POLICY): bool {
  const max = min(count, MAX_TAGGED_POLICIES);
  list.count = 0;
  for (let i: u32 = 0; i < PERMANENT_COUNT; i++) {
    const handle = load<u32>(PERMANENT + 4 * <usize>i);
    if (handle < first) continue;
    const alg = policyAlg(handle);
    if (alg == 0) continue;
    if (list.count == max) return true;
    const entry = list.policies(list.count);
    entry.handle = handle;
    entry.policyHash.hashAlg = alg;
    const policy = policyOf(handle);
    memory.copy(entry.policyHash.digest.buffer, policy.buffer, policy.size);
    list.count++;
  }
  return false;
}

/** 0 for an entity that cannot have a policy. */
function policyAlg(handle: u32): u32 {
  switch (handle) {
    case TPM_RH_OWNER:
      return gp.ownerAlg;
    case TPM_RH_LOCKOUT:
      return gp.lockoutAlg;
    case TPM_RH_ENDORSEMENT:
      return gp.endorsementAlg;
    case TPM_RH_PLATFORM:
      return gc.platformAlg;
  }
  return 0;
}

function policyOf(handle: u32): TPM2B {
  switch (handle) {
    case TPM_RH_OWNER:
      return gp.ownerPolicy;
    case TPM_RH_LOCKOUT:
      return gp.lockoutPolicy;
    case TPM_RH_ENDORSEMENT:
      return gp.endorsementPolicy;
  }
  return gc.platformPolicy;
}
