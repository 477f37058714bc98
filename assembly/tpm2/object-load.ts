// From checked areas to a loaded object (Part 1, 23 and 30.4).
import { TPM2B, copy2B, storeBE32 } from "./cursor";
import { rsaLoadPrivateExponent } from "./crypt-rsa-keys";
import { cryptValidateKeys } from "./crypt-validate";
import {
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_fixedTPM,
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_stClear,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_RC_BINDING,
  TPM_RC_KEY_SIZE,
  TPM_RH_ENDORSEMENT,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { SIZEOF_TPMT_SENSITIVE_RECORD, TPMT_PUBLIC, TPMT_SENSITIVE } from "./generated/structures";
import { digestSizeOf } from "./hash";
import {
  OBJECT_DERIVATION,
  OBJECT_EPS_HIERARCHY,
  OBJECT_EXTERNAL,
  OBJECT_IS_PARENT,
  OBJECT_OCCUPIED,
  OBJECT_PPS_HIERARCHY,
  OBJECT_PRIMARY,
  OBJECT_PRIVATE_EXP,
  OBJECT_PUBLIC_ONLY,
  OBJECT_SPS_HIERARCHY,
  OBJECT_ST_CLEAR,
  OBJECT_TEMPORARY,
  computeQualifiedName,
  objectOf,
  copyPublic,
} from "./object";
import { addIndex } from "./response-code";
import { publicAttributesValidation, schemeChecks } from "./template-checks";

/**
 * Checks what is to be loaded under `parent` (null: from outside), `sensitive` null for a public area alone, and fills in
 * `object`.
 * @returns a response code with `blamePublic` or `blameSensitive` added as libtpms does
 */
export function objectLoad(
  object: OBJECT,
  parent: OBJECT | null,
  area: TPMT_PUBLIC,
  sensitive: TPMT_SENSITIVE | null,
  blamePublic: u32,
  blameSensitive: u32,
  name: TPM2B,
): u32 {
  let rc: u32;
  if (sensitive == null || area.nameAlg == TPM_ALG_NULL) rc = schemeChecks(null, area);
  else {
    if (sensitive.seedValue.size > digestSizeOf(area.nameAlg)) return TPM_RC_KEY_SIZE + blameSensitive;
    rc = publicAttributesValidation(parent, area);
  }
  if (rc) return addIndex(rc, blamePublic);
  // What a parent that cannot leave the TPM protects was made by the TPM.
  if (parent == null || (parent.publicArea.objectAttributes & TPMA_OBJECT_fixedTPM) == 0) {
    rc = cryptValidateKeys(area, sensitive, blamePublic, blameSensitive);
    if (rc) return rc;
  }
  copyPublic(object.publicArea, area);
  copy2B(object.name, name);
  if (sensitive == null) {
    object.attributes |= OBJECT_PUBLIC_ONLY;
    return 0;
  }
  memory.copy(changetype<usize>(object.sensitive), changetype<usize>(sensitive), SIZEOF_TPMT_SENSITIVE_RECORD);
  if (area.type != TPM_ALG_RSA) return 0;
  if (!rsaLoadPrivateExponent(object)) return TPM_RC_BINDING;
  object.attributes |= OBJECT_PRIVATE_EXP;
  return 0;
}

const HANDLE_NAME: usize = memory.data(2 + 4, 4);

/** The hierarchy, the parent's share of the attributes, and the Qualified Name; the slot is taken from here on. */
export function objectSetLoadedAttributes(object: OBJECT, parentHandle: u32, seedCompatLevel: u32): void {
  const parent = objectOf(parentHandle);
  const area = object.publicArea;
  const attributes = area.objectAttributes;
  object.seedCompatLevel = seedCompatLevel;
  if (attributes & TPMA_OBJECT_stClear) object.attributes |= OBJECT_ST_CLEAR;
  if (parent == null) {
    object.hierarchy = parentHandle;
    object.attributes &= ~OBJECT_PRIMARY;
    object.attributes |= hierarchyAttributes(parentHandle);
  } else {
    const inherited = OBJECT_EPS_HIERARCHY | OBJECT_SPS_HIERARCHY | OBJECT_PPS_HIERARCHY | OBJECT_ST_CLEAR;
    object.attributes |= parent.attributes & inherited;
    if ((parent.attributes & OBJECT_TEMPORARY) != 0 || (object.attributes & OBJECT_EXTERNAL) != 0)
      object.attributes |= OBJECT_TEMPORARY;
    object.hierarchy = parent.hierarchy;
  }
  if (object.attributes & OBJECT_EXTERNAL) copy2B(object.qualifiedName, object.name);
  else {
    const parentKey = TPMA_OBJECT_restricted | TPMA_OBJECT_decrypt;
    if (
      (attributes & parentKey) == parentKey &&
      (object.attributes & OBJECT_PUBLIC_ONLY) == 0 &&
      area.nameAlg != TPM_ALG_NULL
    ) {
      object.attributes |= area.type == TPM_ALG_KEYEDHASH ? OBJECT_DERIVATION : OBJECT_IS_PARENT;
    }
    computeQualifiedName(qualifiedName(parentHandle), area.nameAlg, object.name, object.qualifiedName);
  }
  object.attributes |= OBJECT_OCCUPIED;
}

function hierarchyAttributes(hierarchy: u32): u32 {
  switch (hierarchy) {
    case TPM_RH_ENDORSEMENT:
      return OBJECT_PRIMARY | OBJECT_EPS_HIERARCHY;
    case TPM_RH_OWNER:
      return OBJECT_PRIMARY | OBJECT_SPS_HIERARCHY;
    case TPM_RH_PLATFORM:
      return OBJECT_PRIMARY | OBJECT_PPS_HIERARCHY;
  }
  return OBJECT_TEMPORARY;
}

/** The Qualified Name of a parent; of a hierarchy its handle. */
export function qualifiedName(handle: u32): TPM2B {
  const object = objectOf(handle);
  if (object != null) return object.qualifiedName;
  const name = changetype<TPM2B>(HANDLE_NAME);
  name.size = 4;
  storeBE32(name.buffer, handle);
  return name;
}
