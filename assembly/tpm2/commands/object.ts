// Part 3, 12: object commands but those that create one (object-create.ts).
import { credentialToSecret, secretToCredential } from "../credential";
import { TPM2B, copy2B } from "../cursor";
import {
  SIZEOF_TPMT_HA,
  SIZEOF_TPMU_NAME,
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_fixedParent,
  TPMA_OBJECT_fixedTPM,
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_sign,
  TPM_ALG_KEYEDHASH,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_ATTRIBUTES,
  TPM_RC_FAILURE,
  TPM_RC_H,
  TPM_RC_HASH,
  TPM_RC_HIERARCHY,
  TPM_RC_KEY,
  TPM_RC_OBJECT_MEMORY,
  TPM_RC_P,
  TPM_RC_SEQUENCE,
  TPM_RC_SIZE,
  TPM_RC_TYPE,
  TPM_RH_NULL,
} from "../generated/constants";
import { OBJECT } from "../generated/engine-records";
import {
  ActivateCredential_In,
  ActivateCredential_Out,
  LoadExternal_In,
  LoadExternal_Out,
  Load_In,
  Load_Out,
  MakeCredential_In,
  MakeCredential_Out,
  ObjectChangeAuth_In,
  ObjectChangeAuth_Out,
  ReadPublic_In,
  ReadPublic_Out,
  Unseal_In,
  Unseal_Out,
} from "../generated/records";
import { SIZEOF_TPMT_SENSITIVE_RECORD, TPMT_SENSITIVE } from "../generated/structures";
import { digestSizeOf } from "../hash";
import { hierarchyIsEnabled } from "../hierarchy";
import { LABEL_IDENTITY } from "../kdf";
import {
  copyPublic,
  OBJECT_EXTERNAL,
  OBJECT_IS_PARENT,
  beginNewObject,
  computeQualifiedName,
  installNewObject,
  loadedObject,
  objectIsSequence,
  objectTransientAvailable,
  publicName,
  wipeNewObject,
} from "../object";
import { objectLoad, objectSetLoadedAttributes, qualifiedName } from "../object-load";
import { privateToSensitive, sensitiveToPrivate } from "../object-private";
import { addIndex } from "../response-code";
import { isAsymAlgorithm } from "../schemes";
import { cryptSecretDecrypt, cryptSecretEncrypt } from "../secret";
import { adjustAuthSize } from "../template-checks";

const H1: u32 = TPM_RC_H + TPM_RC_1;
const P1: u32 = TPM_RC_P + TPM_RC_1;
const P2: u32 = TPM_RC_P + TPM_RC_2;

const NAME: usize = memory.data(2 + SIZEOF_TPMU_NAME, 8);
const SENSITIVE: usize = memory.data(SIZEOF_TPMT_SENSITIVE_RECORD, 8);

export function Load(input: Load_In, output: Load_Out): u32 {
  if (objectTransientAvailable() == 0) return TPM_RC_OBJECT_MEMORY;
  if (input.inPrivate.size == 0) return TPM_RC_SIZE + P1;
  const parent = loadedObject(input.parentHandle);
  if ((parent.attributes & OBJECT_IS_PARENT) == 0) return TPM_RC_TYPE + H1;
  const area = input.inPublic.publicArea;
  publicName(area, output.name);
  if (output.name.size == 0) return TPM_RC_HASH + P2;
  const sensitive = changetype<TPMT_SENSITIVE>(SENSITIVE);
  const object = beginNewObject();
  let rc = addIndex(privateToSensitive(input.inPrivate, output.name, parent, sensitive), P1);
  if (rc == 0) rc = objectLoad(object, parent, area, sensitive, P2, P1, output.name);
  memory.fill(SENSITIVE, 0, SIZEOF_TPMT_SENSITIVE_RECORD);
  if (rc) {
    wipeNewObject();
    return rc;
  }
  objectSetLoadedAttributes(object, input.parentHandle, parent.seedCompatLevel);
  return installNewObject(changetype<usize>(output));
}

const NOT_FOR_EXTERNAL: u32 = TPMA_OBJECT_fixedTPM | TPMA_OBJECT_fixedParent | TPMA_OBJECT_restricted;

export function LoadExternal(input: LoadExternal_In, output: LoadExternal_Out): u32 {
  if (objectTransientAvailable() == 0) return TPM_RC_OBJECT_MEMORY;
  if (!hierarchyIsEnabled(input.hierarchy)) return TPM_RC_HIERARCHY + TPM_RC_P + TPM_RC_3;
  const area = input.inPublic.publicArea;
  let sensitive: TPMT_SENSITIVE | null = null;
  if (input.inPrivate.size != 0) {
    if (input.hierarchy != TPM_RH_NULL) return TPM_RC_HIERARCHY + TPM_RC_P + TPM_RC_3;
    if (area.objectAttributes & NOT_FOR_EXTERNAL) return TPM_RC_ATTRIBUTES + P2;
    sensitive = input.inPrivate.sensitiveArea;
  }
  publicName(area, output.name);
  const object = beginNewObject();
  const rc = objectLoad(object, null, area, sensitive, P2, P1, output.name);
  if (rc) {
    wipeNewObject();
    return rc;
  }
  object.attributes |= OBJECT_EXTERNAL;
  objectSetLoadedAttributes(object, input.hierarchy, 0);
  return installNewObject(changetype<usize>(output));
}

export function ReadPublic(input: ReadPublic_In, output: ReadPublic_Out): u32 {
  const object = loadedObject(input.objectHandle);
  if (objectIsSequence(object)) return TPM_RC_SEQUENCE;
  copyPublic(output.outPublic.publicArea, object.publicArea);
  copy2B(output.name, object.name);
  copy2B(output.qualifiedName, object.qualifiedName);
  return 0;
}

const RESTRICTED_DECRYPT: u32 = TPMA_OBJECT_restricted | TPMA_OBJECT_decrypt;

/** A key that credentials may be made for: an asymmetric parent. */
function isCredentialKey(object: OBJECT): bool {
  return (
    !objectIsSequence(object) &&
    isAsymAlgorithm(object.publicArea.type) &&
    (object.publicArea.objectAttributes & RESTRICTED_DECRYPT) == RESTRICTED_DECRYPT
  );
}

const SEED: usize = memory.data(2 + SIZEOF_TPMT_HA, 8);

export function MakeCredential(input: MakeCredential_In, output: MakeCredential_Out): u32 {
  const key = loadedObject(input.handle);
  if (!isCredentialKey(key)) return TPM_RC_TYPE + H1;
  if (input.credential.size > digestSizeOf(key.publicArea.nameAlg)) return TPM_RC_SIZE + P1;
  const seed = changetype<TPM2B>(SEED);
  const rc = cryptSecretEncrypt(key, LABEL_IDENTITY, seed, output.secret);
  if (rc == 0) secretToCredential(input.credential, input.objectName, seed, key, output.credentialBlob);
  memory.fill(SEED, 0, 2 + SIZEOF_TPMT_HA);
  return rc;
}

export function ActivateCredential(input: ActivateCredential_In, output: ActivateCredential_Out): u32 {
  const key = loadedObject(input.keyHandle);
  const activated = loadedObject(input.activateHandle);
  if (!isCredentialKey(key)) return TPM_RC_TYPE + TPM_RC_H + TPM_RC_2;
  const seed = changetype<TPM2B>(SEED);
  let rc = cryptSecretDecrypt(key, LABEL_IDENTITY, input.secret, seed);
  if (rc) return rc == TPM_RC_KEY ? TPM_RC_FAILURE : addIndex(rc, P2);
  rc = credentialToSecret(input.credentialBlob, activated.name, seed, key, output.certInfo);
  memory.fill(SEED, 0, 2 + SIZEOF_TPMT_HA);
  return addIndex(rc, P1);
}

export function Unseal(input: Unseal_In, output: Unseal_Out): u32 {
  const object = loadedObject(input.itemHandle);
  if (objectIsSequence(object) || object.publicArea.type != TPM_ALG_KEYEDHASH) return TPM_RC_TYPE + H1;
  const forKeys = TPMA_OBJECT_decrypt | TPMA_OBJECT_sign | TPMA_OBJECT_restricted;
  if (object.publicArea.objectAttributes & forKeys) return TPM_RC_ATTRIBUTES + H1;
  copy2B(output.outData, object.sensitive.sensitive.bits);
  return 0;
}

/** The new authorization is in the private part that is returned; the loaded object keeps the old one. */
export function ObjectChangeAuth(input: ObjectChangeAuth_In, output: ObjectChangeAuth_Out): u32 {
  const object = loadedObject(input.objectHandle);
  if (objectIsSequence(object)) return TPM_RC_TYPE + H1;
  const nameAlg = object.publicArea.nameAlg;
  if (!adjustAuthSize(input.newAuth, nameAlg)) return TPM_RC_SIZE + P1;
  const name = changetype<TPM2B>(NAME);
  computeQualifiedName(qualifiedName(input.parentHandle), nameAlg, object.name, name);
  const expected = object.qualifiedName;
  if (name.size != expected.size || memory.compare(name.buffer, expected.buffer, name.size) != 0)
    return TPM_RC_TYPE + TPM_RC_H + TPM_RC_2;
  const sensitive = changetype<TPMT_SENSITIVE>(SENSITIVE);
  memory.copy(SENSITIVE, changetype<usize>(object.sensitive), SIZEOF_TPMT_SENSITIVE_RECORD);
  copy2B(sensitive.authValue, input.newAuth);
  sensitiveToPrivate(sensitive, object.name, loadedObject(input.parentHandle), nameAlg, output.outPrivate);
  memory.fill(SENSITIVE, 0, SIZEOF_TPMT_SENSITIVE_RECORD);
  return 0;
}
