// Part 3, 31: non-volatile storage (TPM2_NV_Certify stands with the attestation).
import { removeAssociation } from "../command";
import { copy2B } from "../cursor";
import { gc, nvChanged } from "../data";
import { removeTrailingZeros } from "../entity";
import {
  MAX_DIGEST_SIZE,
  MAX_NV_BUFFER_SIZE,
  MAX_ORDERLY_COUNT,
  TPMA_NV_AUTHREAD,
  TPMA_NV_AUTHWRITE,
  TPMA_NV_CLEAR_STCLEAR,
  TPMA_NV_GLOBALLOCK,
  TPMA_NV_NO_DA,
  TPMA_NV_ORDERLY,
  TPMA_NV_OWNERREAD,
  TPMA_NV_OWNERWRITE,
  TPMA_NV_PLATFORMCREATE,
  TPMA_NV_POLICYREAD,
  TPMA_NV_POLICYWRITE,
  TPMA_NV_POLICY_DELETE,
  TPMA_NV_PPREAD,
  TPMA_NV_PPWRITE,
  TPMA_NV_READLOCKED,
  TPMA_NV_READ_STCLEAR,
  TPMA_NV_WRITEALL,
  TPMA_NV_WRITEDEFINE,
  TPMA_NV_WRITELOCKED,
  TPMA_NV_WRITE_STCLEAR,
  TPMA_NV_WRITTEN,
  TPM_NT_BITS,
  TPM_NT_COUNTER,
  TPM_NT_EXTEND,
  TPM_NT_ORDINARY,
  TPM_NT_PIN_FAIL,
  TPM_NT_PIN_PASS,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_ATTRIBUTES,
  TPM_RC_H,
  TPM_RC_HIERARCHY,
  TPM_RC_NV_AUTHORIZATION,
  TPM_RC_NV_DEFINED,
  TPM_RC_NV_LOCKED,
  TPM_RC_NV_RANGE,
  TPM_RC_P,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
  TPM_RH_NULL,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
} from "../generated/constants";
import {
  NV_ChangeAuth_In,
  NV_DefineSpace_In,
  NV_Extend_In,
  NV_GlobalWriteLock_In,
  NV_Increment_In,
  NV_ReadLock_In,
  NV_ReadPublic_In,
  NV_ReadPublic_Out,
  NV_Read_In,
  NV_Read_Out,
  NV_SetBits_In,
  NV_UndefineSpaceSpecial_In,
  NV_UndefineSpace_In,
  NV_WriteLock_In,
  NV_Write_In,
} from "../generated/records";
import { TPMS_NV_PUBLIC } from "../generated/structures";
import { HASH_RECORD_SIZE, cryptHashEnd, cryptHashStart, cryptHashUpdate, digestSizeOf } from "../hash";
import {
  isNvBits,
  isNvCounter,
  isNvExtend,
  nvAttributes,
  nvData,
  nvDefineIndex,
  nvDeleteIndex,
  nvGetUint64,
  nvIndexName,
  nvIndexType,
  nvMaxCounter,
  nvPublic,
  nvSetAttributes,
  nvSetGlobalLock,
  nvUpdateOrderly,
  nvWriteData,
  nvWriteUint64,
} from "../nv";
import { nvReadAccessChecks, nvWriteAccessChecks } from "../nv-access";
import { NvEntry, nvFind } from "../nv-memory";

/** The index of a handle that the pipeline found accessible. */
@inline
function indexOf(handle: u32): NvEntry {
  return changetype<NvEntry>(changetype<usize>(nvFind(handle)));
}

const ATTRIBUTES_P2: u32 = TPM_RC_ATTRIBUTES + TPM_RC_P + TPM_RC_2;
const SIZE_P2: u32 = TPM_RC_SIZE + TPM_RC_P + TPM_RC_2;
const ATTRIBUTES_H2: u32 = TPM_RC_ATTRIBUTES + TPM_RC_H + TPM_RC_2;

export function NV_DefineSpace(input: NV_DefineSpace_In): u32 {
  const area = input.publicInfo.nvPublic;
  const digestSize = digestSizeOf(area.nameAlg);
  if (area.authPolicy.size != 0 && area.authPolicy.size != digestSize) return SIZE_P2;
  removeTrailingZeros(input.auth);
  if (input.auth.size > digestSize) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  if (input.authHandle == TPM_RH_PLATFORM && gc.phEnableNV == 0) return TPM_RC_HIERARCHY + TPM_RC_H + TPM_RC_1;
  const rc = checkPublic(area, digestSize);
  if (rc) return rc;
  const attributes = area.attributes;
  const platform = input.authHandle == TPM_RH_PLATFORM;
  if (((attributes & TPMA_NV_PLATFORMCREATE) != 0) != platform) return TPM_RC_ATTRIBUTES + TPM_RC_H + TPM_RC_1;
  if (attributes & TPMA_NV_POLICY_DELETE && !platform) return ATTRIBUTES_P2;
  if (area.dataSize > MAX_NV_BUFFER_SIZE && attributes & TPMA_NV_WRITEALL) return SIZE_P2;
  if (nvFind(area.nvIndex) != null) return TPM_RC_NV_DEFINED;
  return nvDefineIndex(area, input.auth);
}

/** What the type of the index and its attributes demand of one another. */
function checkPublic(area: TPMS_NV_PUBLIC, digestSize: u32): u32 {
  const attributes = area.attributes;
  const type = nvIndexType(attributes);
  switch (type) {
    case TPM_NT_ORDINARY:
      break;
    case TPM_NT_EXTEND:
      if (area.dataSize != digestSize) return SIZE_P2;
      break;
    case TPM_NT_COUNTER:
    case TPM_NT_BITS:
    case TPM_NT_PIN_PASS:
    case TPM_NT_PIN_FAIL:
      if (area.dataSize != 8) return SIZE_P2;
      break;
    default:
      return ATTRIBUTES_P2;
  }
  if (type == TPM_NT_COUNTER && attributes & TPMA_NV_CLEAR_STCLEAR) return ATTRIBUTES_P2;
  if (type == TPM_NT_PIN_FAIL && (attributes & TPMA_NV_NO_DA) == 0) return ATTRIBUTES_P2;
  if (type == TPM_NT_PIN_FAIL || type == TPM_NT_PIN_PASS) {
    if (attributes & (TPMA_NV_AUTHWRITE | TPMA_NV_GLOBALLOCK | TPMA_NV_WRITEDEFINE)) return ATTRIBUTES_P2;
  }
  if (attributes & (TPMA_NV_WRITTEN | TPMA_NV_WRITELOCKED | TPMA_NV_READLOCKED)) return ATTRIBUTES_P2;
  if ((attributes & (TPMA_NV_OWNERREAD | TPMA_NV_PPREAD | TPMA_NV_AUTHREAD | TPMA_NV_POLICYREAD)) == 0)
    return ATTRIBUTES_P2;
  if ((attributes & (TPMA_NV_OWNERWRITE | TPMA_NV_PPWRITE | TPMA_NV_AUTHWRITE | TPMA_NV_POLICYWRITE)) == 0) {
    return ATTRIBUTES_P2;
  }
  if (attributes & TPMA_NV_CLEAR_STCLEAR && attributes & TPMA_NV_WRITEDEFINE) return ATTRIBUTES_P2;
  return 0;
}

export function NV_UndefineSpace(input: NV_UndefineSpace_In): u32 {
  const entry = indexOf(input.nvIndex);
  const attributes = nvAttributes(entry);
  if (attributes & TPMA_NV_POLICY_DELETE) return ATTRIBUTES_H2;
  if (input.authHandle == TPM_RH_OWNER && attributes & TPMA_NV_PLATFORMCREATE) return TPM_RC_NV_AUTHORIZATION;
  nvDeleteIndex(entry);
  return 0;
}

export function NV_UndefineSpaceSpecial(input: NV_UndefineSpaceSpecial_In): u32 {
  const entry = indexOf(input.nvIndex);
  if ((nvAttributes(entry) & TPMA_NV_POLICY_DELETE) == 0) return TPM_RC_ATTRIBUTES + TPM_RC_H + TPM_RC_1;
  nvDeleteIndex(entry);
  removeAssociation(input.nvIndex, TPM_RH_NULL);
  return 0;
}

export function NV_ReadPublic(input: NV_ReadPublic_In, output: NV_ReadPublic_Out): u32 {
  const entry = indexOf(input.nvIndex);
  nvPublic(entry, output.nvPublic.nvPublic);
  nvIndexName(entry, output.nvName);
  return 0;
}

export function NV_Write(input: NV_Write_In): u32 {
  const entry = indexOf(input.nvIndex);
  const attributes = nvAttributes(entry);
  const rc = nvWriteAccessChecks(input.authHandle, input.nvIndex, attributes);
  if (rc) return rc;
  if (isNvCounter(attributes) || isNvBits(attributes) || isNvExtend(attributes)) return TPM_RC_ATTRIBUTES;
  const dataSize = entry.index.publicArea.dataSize;
  if (input.offset > dataSize) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
  if (input.data.size > dataSize - input.offset) return TPM_RC_NV_RANGE;
  if (attributes & TPMA_NV_WRITEALL && input.data.size < dataSize) return TPM_RC_NV_RANGE;
  nvWriteData(entry, input.offset, input.data.buffer, input.data.size);
  return 0;
}

export function NV_Increment(input: NV_Increment_In): u32 {
  const entry = indexOf(input.nvIndex);
  const attributes = nvAttributes(entry);
  const rc = nvWriteAccessChecks(input.authHandle, input.nvIndex, attributes);
  if (rc) return rc;
  if (!isNvCounter(attributes)) return ATTRIBUTES_H2;
  const value = (attributes & TPMA_NV_WRITTEN ? nvGetUint64(entry) : nvMaxCounter()) + 1;
  nvWriteUint64(entry, value);
  // An orderly counter goes to NV each time its low bits roll over.
  if (attributes & TPMA_NV_ORDERLY && (value & MAX_ORDERLY_COUNT) == 0) nvUpdateOrderly();
  return 0;
}

const DIGEST: usize = memory.data(MAX_DIGEST_SIZE, 8);
const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

export function NV_Extend(input: NV_Extend_In): u32 {
  const entry = indexOf(input.nvIndex);
  const attributes = nvAttributes(entry);
  const rc = nvWriteAccessChecks(input.authHandle, input.nvIndex, attributes);
  if (rc) return rc;
  if (!isNvExtend(attributes)) return ATTRIBUTES_H2;
  const nameAlg = entry.index.publicArea.nameAlg;
  const size = digestSizeOf(nameAlg);
  if (attributes & TPMA_NV_WRITTEN) memory.copy(DIGEST, nvData(entry), size);
  else memory.fill(DIGEST, 0, size);
  cryptHashStart(WORK, nameAlg);
  cryptHashUpdate(WORK, DIGEST, size);
  cryptHashUpdate(WORK, input.data.buffer, input.data.size);
  cryptHashEnd(WORK, DIGEST);
  nvWriteData(entry, 0, DIGEST, size);
  return 0;
}

export function NV_SetBits(input: NV_SetBits_In): u32 {
  const entry = indexOf(input.nvIndex);
  const attributes = nvAttributes(entry);
  const rc = nvWriteAccessChecks(input.authHandle, input.nvIndex, attributes);
  if (rc) return rc;
  if (!isNvBits(attributes)) return ATTRIBUTES_H2;
  nvWriteUint64(entry, (attributes & TPMA_NV_WRITTEN ? nvGetUint64(entry) : 0) | input.bits);
  return 0;
}

/** Locking what is locked already is no error. */
export function NV_WriteLock(input: NV_WriteLock_In): u32 {
  const entry = indexOf(input.nvIndex);
  const attributes = nvAttributes(entry);
  const rc = nvWriteAccessChecks(input.authHandle, input.nvIndex, attributes);
  if (rc) return rc == TPM_RC_NV_AUTHORIZATION ? rc : 0;
  if ((attributes & (TPMA_NV_WRITEDEFINE | TPMA_NV_WRITE_STCLEAR)) == 0) return ATTRIBUTES_H2;
  nvSetAttributes(entry, attributes | TPMA_NV_WRITELOCKED);
  return 0;
}

export function NV_GlobalWriteLock(_input: NV_GlobalWriteLock_In): u32 {
  nvSetGlobalLock();
  return 0;
}

export function NV_Read(input: NV_Read_In, output: NV_Read_Out): u32 {
  const entry = indexOf(input.nvIndex);
  const attributes = nvAttributes(entry);
  const rc = nvReadAccessChecks(input.authHandle, input.nvIndex, attributes);
  if (rc) return rc;
  if (input.size > MAX_NV_BUFFER_SIZE) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
  const dataSize = entry.index.publicArea.dataSize;
  if (input.offset > dataSize) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
  if (input.size > dataSize - input.offset) return TPM_RC_NV_RANGE;
  output.data.size = input.size;
  memory.copy(output.data.buffer, nvData(entry) + input.offset, input.size);
  return 0;
}

export function NV_ReadLock(input: NV_ReadLock_In): u32 {
  const entry = indexOf(input.nvIndex);
  const attributes = nvAttributes(entry);
  const rc = nvReadAccessChecks(input.authHandle, input.nvIndex, attributes);
  if (rc == TPM_RC_NV_AUTHORIZATION) return rc;
  if (rc == TPM_RC_NV_LOCKED) return 0;
  if ((attributes & TPMA_NV_READ_STCLEAR) == 0) return ATTRIBUTES_H2;
  nvSetAttributes(entry, attributes | TPMA_NV_READLOCKED);
  return 0;
}

export function NV_ChangeAuth(input: NV_ChangeAuth_In): u32 {
  const entry = indexOf(input.nvIndex);
  removeTrailingZeros(input.newAuth);
  if (input.newAuth.size > digestSizeOf(entry.index.publicArea.nameAlg)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  copy2B(entry.index.authValue, input.newAuth);
  nvChanged();
  return 0;
}
