// Part 3, 13: duplication commands.
import { TPM2B, copy2B, inputAt, inputLeft, set2B } from "../cursor";
import {
  SIZEOF_TPMT_HA,
  SIZEOF_TPMU_NAME,
  SIZEOF__PRIVATE,
  TPMA_OBJECT_encryptedDuplication,
  TPMA_OBJECT_fixedParent,
  TPMA_OBJECT_fixedTPM,
  TPM_ALG_NULL,
  TPM_ALG_SYMCIPHER,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_4,
  TPM_RC_ATTRIBUTES,
  TPM_RC_H,
  TPM_RC_HANDLE,
  TPM_RC_HASH,
  TPM_RC_HIERARCHY,
  TPM_RC_P,
  TPM_RC_SIZE,
  TPM_RC_SYMMETRIC,
  TPM_RC_TYPE,
  TPM_RC_VALUE,
} from "../generated/constants";
import { Duplicate_In, Duplicate_Out, Import_In, Import_Out, Rewrap_In, Rewrap_Out } from "../generated/records";
import { SIZEOF_TPMT_SENSITIVE_RECORD, TPMT_SENSITIVE } from "../generated/structures";
import { EMPTY_2B, LABEL_DUPLICATE } from "../kdf";
import {
  OBJECT_IS_PARENT,
  beginNewObject,
  loadedObject,
  objectIsStorage,
  objectOf,
  publicName,
  wipeNewObject,
} from "../object";
import { objectLoad } from "../object-load";
import { duplicateToSensitive, sensitiveToDuplicate, sensitiveToPrivate } from "../object-private";
import { integritySizeOf, produceOuterWrap, unwrapOuter } from "../object-wrap";
import { addIndex } from "../response-code";
import { cryptSecretDecrypt, cryptSecretEncrypt } from "../secret";

const H1: u32 = TPM_RC_H + TPM_RC_1;
const H2: u32 = TPM_RC_H + TPM_RC_2;
const P1: u32 = TPM_RC_P + TPM_RC_1;
const P2: u32 = TPM_RC_P + TPM_RC_2;
const P3: u32 = TPM_RC_P + TPM_RC_3;
const P4: u32 = TPM_RC_P + TPM_RC_4;

const SEED: usize = memory.data(2 + SIZEOF_TPMT_HA, 8);
const SENSITIVE: usize = memory.data(SIZEOF_TPMT_SENSITIVE_RECORD, 8);
const NAME: usize = memory.data(2 + SIZEOF_TPMU_NAME, 8);

function wipe(): void {
  memory.fill(SEED, 0, 2 + SIZEOF_TPMT_HA);
  memory.fill(SENSITIVE, 0, SIZEOF_TPMT_SENSITIVE_RECORD);
}

export function Duplicate(input: Duplicate_In, output: Duplicate_Out): u32 {
  const object = loadedObject(input.objectHandle);
  // Null for TPM_RH_NULL.
  const newParent = objectOf(input.newParentHandle);
  const attributes = object.publicArea.objectAttributes;
  const nameAlg = object.publicArea.nameAlg;
  const symmetric = input.symmetricAlg;
  const innerKey = input.encryptionKeyIn;
  if (attributes & TPMA_OBJECT_fixedParent) return TPM_RC_ATTRIBUTES + H1;
  if (nameAlg == TPM_ALG_NULL) return TPM_RC_TYPE + H1;
  if (newParent != null && !objectIsStorage(newParent)) return TPM_RC_TYPE + H2;
  if (attributes & TPMA_OBJECT_encryptedDuplication) {
    if (symmetric.algorithm == TPM_ALG_NULL) return TPM_RC_SYMMETRIC + P2;
    if (newParent == null) return TPM_RC_HIERARCHY + H2;
  }
  const innerKeySize: u32 = symmetric.algorithm == TPM_ALG_NULL ? 0 : (symmetric.keyBits.aes + 7) / 8;
  if (innerKey.size != 0 && innerKey.size != innerKeySize) return TPM_RC_SIZE + P1;
  const seed = changetype<TPM2B>(SEED);
  seed.size = 0;
  output.outSymSeed.size = 0;
  if (newParent != null) {
    const rc = cryptSecretEncrypt(newParent, LABEL_DUPLICATE, seed, output.outSymSeed);
    if (rc) return rc;
  }
  memory.copy(SENSITIVE, changetype<usize>(object.sensitive), SIZEOF_TPMT_SENSITIVE_RECORD);
  sensitiveToDuplicate(
    changetype<TPMT_SENSITIVE>(SENSITIVE),
    object.name,
    newParent,
    nameAlg,
    seed,
    symmetric,
    innerKey,
    output.duplicate,
  );
  copy2B(output.encryptionKeyOut, innerKey);
  wipe();
  return 0;
}

export function Rewrap(input: Rewrap_In, output: Rewrap_Out): u32 {
  const oldParent = objectOf(input.oldParent);
  const newParent = objectOf(input.newParent);
  if ((input.inSymSeed.size == 0) != (oldParent == null)) return TPM_RC_HANDLE + H1;
  const seed = changetype<TPM2B>(SEED);
  const blob = input.inDuplicate;
  let at = blob.buffer;
  let length = blob.size;
  if (oldParent != null) {
    if (!objectIsStorage(oldParent)) return TPM_RC_TYPE + H1;
    if (cryptSecretDecrypt(oldParent, LABEL_DUPLICATE, input.inSymSeed, seed) != 0) return TPM_RC_VALUE + P3;
    const rc = unwrapOuter(oldParent, input.name, oldParent.publicArea.nameAlg, seed, false, length, at);
    memory.fill(SEED, 0, 2 + SIZEOF_TPMT_HA);
    if (rc) return addIndex(rc, P1);
    at = inputAt();
    length = inputLeft();
  }
  if (newParent == null) {
    output.outSymSeed.size = 0;
    set2B(output.outDuplicate, at, length);
    return 0;
  }
  if (!objectIsStorage(newParent)) return TPM_RC_TYPE + H2;
  const rc = cryptSecretEncrypt(newParent, LABEL_DUPLICATE, seed, output.outSymSeed);
  if (rc) return rc;
  const hashAlg = newParent.publicArea.nameAlg;
  const integritySize = integritySizeOf(hashAlg);
  if (length + integritySize > SIZEOF__PRIVATE) return TPM_RC_VALUE + P1;
  const out = output.outDuplicate;
  memory.copy(out.buffer + integritySize, at, length);
  out.size = produceOuterWrap(newParent, input.name, hashAlg, seed, false, length, out.buffer);
  wipe();
  return 0;
}

export function Import(input: Import_In, output: Import_Out): u32 {
  const area = input.objectPublic.publicArea;
  const attributes = area.objectAttributes;
  if (attributes & (TPMA_OBJECT_fixedTPM | TPMA_OBJECT_fixedParent)) return TPM_RC_ATTRIBUTES + P2;
  const parent = loadedObject(input.parentHandle);
  if ((parent.attributes & OBJECT_IS_PARENT) == 0) return TPM_RC_TYPE + H1;
  const symmetric = input.symmetricAlg;
  const encrypted = (attributes & TPMA_OBJECT_encryptedDuplication) != 0;
  const innerKeySize: u32 = symmetric.algorithm == TPM_ALG_NULL ? 0 : (symmetric.keyBits.aes + 7) / 8;
  if (input.encryptionKey.size != innerKeySize) return TPM_RC_SIZE + P1;
  if (symmetric.algorithm == TPM_ALG_NULL && encrypted) return TPM_RC_ATTRIBUTES + P1;
  const seed = changetype<TPM2B>(SEED);
  seed.size = 0;
  if (input.inSymSeed.size != 0) {
    if (parent.publicArea.type == TPM_ALG_SYMCIPHER) return TPM_RC_TYPE + H1;
    const rc = cryptSecretDecrypt(parent, LABEL_DUPLICATE, input.inSymSeed, seed);
    if (rc) return addIndex(rc, P4);
  } else if (encrypted) return TPM_RC_ATTRIBUTES + P4;
  const name = changetype<TPM2B>(NAME);
  publicName(area, name);
  if (name.size == 0) return TPM_RC_HASH + P2;
  const sensitive = changetype<TPMT_SENSITIVE>(SENSITIVE);
  let rc = duplicateToSensitive(
    input.duplicate,
    name,
    parent,
    area.nameAlg,
    seed,
    symmetric,
    input.encryptionKey,
    sensitive,
  );
  rc = addIndex(rc, P3);
  if (rc == 0 && (parent.publicArea.objectAttributes & TPMA_OBJECT_fixedTPM) != 0) {
    // Under a parent that cannot leave the TPM nobody will check again.
    rc = objectLoad(beginNewObject(), null, area, sensitive, P2, P3, EMPTY_2B);
    wipeNewObject();
  }
  if (rc == 0) sensitiveToPrivate(sensitive, name, parent, area.nameAlg, output.outPrivate);
  wipe();
  return rc;
}
