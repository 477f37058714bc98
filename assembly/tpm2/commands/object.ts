// Part 3, 12: object commands, and TPM2_CreatePrimary (24.1).
import { DRBG_SEED_COMPAT_LEVEL, drbgInstantiateSeeded } from "../../crypto/drbg";
import { kdfInstantiate } from "../../crypto/rand";
import { CREATION_RAND, cryptCreateObject, cryptCreateObjectResume } from "../crypt-create";
import { fillInCreation } from "../creation-data";
import { credentialToSecret, secretToCredential } from "../credential";
import { TPM2B, copy2B, setInput } from "../cursor";
import { PENDING } from "../execute";
import {
  SIZEOF_TPMT_HA,
  SIZEOF_TPMU_NAME,
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_fixedParent,
  TPMA_OBJECT_fixedTPM,
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_sensitiveDataOrigin,
  TPMA_OBJECT_sign,
  TPM_ALG_ECC,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_RSA,
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
  TPM_RH_ENDORSEMENT,
  TPM_RH_NULL,
} from "../generated/constants";
import { OBJECT } from "../generated/engine-records";
import {
  ActivateCredential_In,
  ActivateCredential_Out,
  CreateLoaded_In,
  CreateLoaded_Out,
  CreatePrimary_In,
  CreatePrimary_Out,
  Create_In,
  Create_Out,
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
import {
  SIZEOF_TPMS_DERIVE_RECORD,
  SIZEOF_TPMT_PUBLIC_RECORD,
  SIZEOF_TPMT_SENSITIVE_RECORD,
  TPMS_DERIVE,
  TPMT_PUBLIC,
  TPMT_SENSITIVE,
  unmarshal_TPMS_DERIVE,
} from "../generated/structures";
import { digestSizeOf, hashNumber } from "../hash";
import { SEED_COMPAT_LEVEL, hierarchyIsEnabled, hierarchyPrimarySeed, hierarchySeedCompatLevel } from "../hierarchy";
import { LABEL_IDENTITY } from "../kdf";
import {
  OBJECT_DERIVATION,
  OBJECT_EPS_HIERARCHY,
  OBJECT_EXTERNAL,
  OBJECT_IS_PARENT,
  OBJECT_PRIMARY,
  beginNewObject,
  computeQualifiedName,
  installNewObject,
  loadedObject,
  objectIsSequence,
  objectOf,
  objectTransientAvailable,
  publicName,
  wipeNewObject,
} from "../object";
import { objectLoad, objectSetLoadedAttributes, qualifiedName } from "../object-load";
import { privateToSensitive, sensitiveToPrivate } from "../object-private";
import { PROFILE_NO_ECC_KEY_DERIVATION, profileRequires } from "../profile";
import { addIndex } from "../response-code";
import { isAsymAlgorithm } from "../schemes";
import { cryptSecretDecrypt, cryptSecretEncrypt } from "../secret";
import { adjustAuthSize, createChecks, publicAttributesValidation } from "../template-checks";
import { unmarshalTemplate } from "../template";

const H1: u32 = TPM_RC_H + TPM_RC_1;
const P1: u32 = TPM_RC_P + TPM_RC_1;
const P2: u32 = TPM_RC_P + TPM_RC_2;

/** The object that is being made; it waits here while its RSA key is searched. */
let made: OBJECT = changetype<OBJECT>(0);

function copyPublic(to: TPMT_PUBLIC, from: TPMT_PUBLIC): void {
  memory.copy(changetype<usize>(to), changetype<usize>(from), SIZEOF_TPMT_PUBLIC_RECORD);
}

export function Create(input: Create_In, output: Create_Out): u32 {
  const parent = loadedObject(input.parentHandle);
  if ((parent.attributes & OBJECT_IS_PARENT) == 0) return TPM_RC_TYPE + H1;
  // libtpms works in a free slot, although the object does not stay.
  if (objectTransientAvailable() == 0) return TPM_RC_OBJECT_MEMORY;
  const create = input.inSensitive.sensitive;
  const area = input.inPublic.publicArea;
  const rc = createChecks(parent, area, create.data.size);
  if (rc) return addIndex(rc, P2);
  if (!adjustAuthSize(create.userAuth, area.nameAlg)) return TPM_RC_SIZE + P1;
  made = beginNewObject();
  copyPublic(made.publicArea, area);
  return created(input, output, cryptCreateObject(made, create, false));
}

export function Create_resume(input: Create_In, output: Create_Out): u32 {
  return created(input, output, cryptCreateObjectResume());
}

function created(input: Create_In, output: Create_Out, rc: u32): u32 {
  if (rc == PENDING) return rc;
  if (rc == 0) {
    const nameAlg = made.publicArea.nameAlg;
    fillInCreation(
      input.parentHandle,
      nameAlg,
      input.creationPCR,
      input.outsideInfo,
      made.name,
      output.creationData,
      output.creationHash,
      output.creationTicket,
    );
    sensitiveToPrivate(made.sensitive, made.name, loadedObject(input.parentHandle), nameAlg, output.outPrivate);
    copyPublic(output.outPublic.publicArea, made.publicArea);
  }
  wipeNewObject();
  return rc;
}

// "Primary Object Creation" with its terminating zero.
const PRIMARY_OBJECT_CREATION = memory.data<u8>([
  0x50, 0x72, 0x69, 0x6d, 0x61, 0x72, 0x79, 0x20, 0x4f, 0x62, 0x6a, 0x65, 0x63, 0x74, 0x20, 0x43, 0x72, 0x65, 0x61,
  0x74, 0x69, 0x6f, 0x6e, 0,
]);
const PRIMARY_OBJECT_CREATION_SIZE: u32 = 24;
const NAME: usize = memory.data(2 + SIZEOF_TPMU_NAME, 8);

/** Makes a primary object: its generator comes from the hierarchy's seed, the template's name and the caller's data. */
function createPrimaryObject(object: OBJECT, hierarchy: u32, data: TPM2B): void {
  const seed = hierarchyPrimarySeed(hierarchy);
  const name = changetype<TPM2B>(NAME);
  publicName(object.publicArea, name);
  drbgInstantiateSeeded(
    CREATION_RAND,
    seed.buffer,
    seed.size,
    PRIMARY_OBJECT_CREATION,
    PRIMARY_OBJECT_CREATION_SIZE,
    name.buffer,
    name.size,
    data.buffer,
    data.size,
  );
  store<u32>(CREATION_RAND, hierarchySeedCompatLevel(hierarchy), DRBG_SEED_COMPAT_LEVEL);
  object.attributes = OBJECT_PRIMARY | (hierarchy == TPM_RH_ENDORSEMENT ? OBJECT_EPS_HIERARCHY : 0);
}

export function CreatePrimary(input: CreatePrimary_In, output: CreatePrimary_Out): u32 {
  if (objectTransientAvailable() == 0) return TPM_RC_OBJECT_MEMORY;
  const create = input.inSensitive.sensitive;
  const area = input.inPublic.publicArea;
  const rc = createChecks(null, area, create.data.size);
  if (rc) return addIndex(rc, P2);
  if (!adjustAuthSize(create.userAuth, area.nameAlg)) return TPM_RC_SIZE + P1;
  made = beginNewObject();
  copyPublic(made.publicArea, area);
  createPrimaryObject(made, input.primaryHandle, create.data);
  return primaryCreated(input, output, cryptCreateObject(made, create, true));
}

export function CreatePrimary_resume(input: CreatePrimary_In, output: CreatePrimary_Out): u32 {
  return primaryCreated(input, output, cryptCreateObjectResume());
}

function primaryCreated(input: CreatePrimary_In, output: CreatePrimary_Out, rc: u32): u32 {
  if (rc == PENDING) return rc;
  if (rc) {
    wipeNewObject();
    return rc;
  }
  const hierarchy = input.primaryHandle;
  copyPublic(output.outPublic.publicArea, made.publicArea);
  copy2B(output.name, made.name);
  fillInCreation(
    hierarchy,
    made.publicArea.nameAlg,
    input.creationPCR,
    input.outsideInfo,
    made.name,
    output.creationData,
    output.creationHash,
    output.creationTicket,
  );
  objectSetLoadedAttributes(made, hierarchy, hierarchySeedCompatLevel(hierarchy));
  return installNewObject(changetype<usize>(output));
}

const DERIVE: usize = memory.data(SIZEOF_TPMS_DERIVE_RECORD, 8);
const DERIVE_FROM_DATA: usize = memory.data(SIZEOF_TPMS_DERIVE_RECORD, 8);
/** TPM_MAX_DERIVATION_BITS. */
const MAX_DERIVATION_BITS: u32 = 8192;

export function CreateLoaded(input: CreateLoaded_In, output: CreateLoaded_Out): u32 {
  const parent = objectOf(input.parentHandle);
  const derivation = parent != null && (parent.attributes & OBJECT_DERIVATION) != 0;
  if (parent != null && !derivation && (parent.attributes & OBJECT_IS_PARENT) == 0) return TPM_RC_TYPE + H1;
  if (objectTransientAvailable() == 0) return TPM_RC_OBJECT_MEMORY;
  const create = input.inSensitive.sensitive;
  made = beginNewObject();
  const area = made.publicArea;
  const derive = changetype<TPMS_DERIVE>(DERIVE);
  let rc = unmarshalTemplate(area, input.inPublic, derivation ? derive : null);
  if (rc) return rc + P2;
  if (!adjustAuthSize(create.userAuth, area.nameAlg)) return TPM_RC_SIZE + P1;
  if (parent != null && derivation) {
    rc = beginDerivation(parent, area, derive, create.data);
    if (rc) return rc;
    return loadedCreated(input, output, cryptCreateObject(made, create, true));
  }
  rc = createChecks(parent, area, create.data.size);
  if (rc) return addIndex(rc, P2);
  if (parent == null) createPrimaryObject(made, input.parentHandle, create.data);
  return loadedCreated(input, output, cryptCreateObject(made, create, parent == null));
}

export function CreateLoaded_resume(input: CreateLoaded_In, output: CreateLoaded_Out): u32 {
  return loadedCreated(input, output, cryptCreateObjectResume());
}

/** Checks a derived object's template and starts the stream that its secrets are taken from (Part 1, 28.2). */
function beginDerivation(parent: OBJECT, area: TPMT_PUBLIC, derive: TPMS_DERIVE, data: TPM2B): u32 {
  if (area.type == TPM_ALG_RSA) return TPM_RC_TYPE + P2;
  if (area.type == TPM_ALG_ECC && profileRequires(PROFILE_NO_ECC_KEY_DERIVATION)) return TPM_RC_TYPE + P2;
  if (area.objectAttributes & TPMA_OBJECT_sensitiveDataOrigin) return TPM_RC_ATTRIBUTES;
  let rc = publicAttributesValidation(parent, area);
  if (rc) return addIndex(rc, P2);
  rc = addLabelAndContext(derive, data);
  if (rc) return rc;
  const secret = parent.sensitive.sensitive.bits;
  kdfInstantiate(
    CREATION_RAND,
    hashNumber(parent.publicArea.parameters.keyedHashDetail.scheme.details.xor.hashAlg),
    secret.buffer,
    secret.size,
    derive.label.buffer,
    derive.label.size,
    derive.context.buffer,
    derive.context.size,
    MAX_DERIVATION_BITS,
  );
  data.size = 0;
  return 0;
}

/** What the template leaves empty comes from the sensitive data. */
function addLabelAndContext(derive: TPMS_DERIVE, data: TPM2B): u32 {
  if (data.size == 0) return 0;
  const given = changetype<TPMS_DERIVE>(DERIVE_FROM_DATA);
  setInput(data.buffer, data.size);
  const rc = unmarshal_TPMS_DERIVE(DERIVE_FROM_DATA);
  if (rc) return rc;
  if (derive.label.size == 0) copy2B(derive.label, given.label);
  if (derive.context.size == 0) copy2B(derive.context, given.context);
  return 0;
}

function loadedCreated(input: CreateLoaded_In, output: CreateLoaded_Out, rc: u32): u32 {
  if (rc == PENDING) return rc;
  memory.fill(DERIVE, 0, SIZEOF_TPMS_DERIVE_RECORD);
  memory.fill(DERIVE_FROM_DATA, 0, SIZEOF_TPMS_DERIVE_RECORD);
  if (rc) {
    wipeNewObject();
    return rc;
  }
  const parent = objectOf(input.parentHandle);
  let level = hierarchySeedCompatLevel(input.parentHandle);
  output.outPrivate.size = 0;
  if (parent != null) {
    const derived = (parent.attributes & OBJECT_DERIVATION) != 0;
    level = derived ? parent.seedCompatLevel : SEED_COMPAT_LEVEL;
    if (!derived) sensitiveToPrivate(made.sensitive, made.name, parent, made.publicArea.nameAlg, output.outPrivate);
  }
  copyPublic(output.outPublic.publicArea, made.publicArea);
  copy2B(output.name, made.name);
  objectSetLoadedAttributes(made, input.parentHandle, level);
  return installNewObject(changetype<usize>(output));
}

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
