// Part 3, 12 and 24.1: TPM2_Create, TPM2_CreatePrimary and TPM2_CreateLoaded.
import { DRBG_SEED_COMPAT_LEVEL, drbgInstantiateSeeded } from "../../crypto/drbg";
import { kdfInstantiate } from "../../crypto/rand";
import { CREATION_RAND, cryptCreateObject, cryptCreateObjectResume } from "../crypt-create";
import { fillInCreation } from "../creation-data";
import { TPM2B, copy2B, setInput } from "../cursor";
import { PENDING } from "../execute";
import {
  SIZEOF_TPMU_NAME,
  TPMA_OBJECT_sensitiveDataOrigin,
  TPM_ALG_ECC,
  TPM_ALG_RSA,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_ATTRIBUTES,
  TPM_RC_H,
  TPM_RC_OBJECT_MEMORY,
  TPM_RC_P,
  TPM_RC_SIZE,
  TPM_RC_TYPE,
  TPM_RH_ENDORSEMENT,
} from "../generated/constants";
import { OBJECT } from "../generated/engine-records";
import {
  CreateLoaded_In,
  CreateLoaded_Out,
  CreatePrimary_In,
  CreatePrimary_Out,
  Create_In,
  Create_Out,
} from "../generated/records";
import { SIZEOF_TPMS_DERIVE_RECORD, TPMS_DERIVE, TPMT_PUBLIC, unmarshal_TPMS_DERIVE } from "../generated/structures";
import { hashNumber } from "../hash";
import { SEED_COMPAT_LEVEL, hierarchyPrimarySeed, hierarchySeedCompatLevel } from "../hierarchy";
import {
  OBJECT_DERIVATION,
  OBJECT_EPS_HIERARCHY,
  OBJECT_IS_PARENT,
  OBJECT_PRIMARY,
  beginNewObject,
  copyPublic,
  installNewObject,
  loadedObject,
  objectOf,
  objectTransientAvailable,
  publicName,
  wipeNewObject,
} from "../object";
import { objectSetLoadedAttributes } from "../object-load";
import { sensitiveToPrivate } from "../object-private";
import { PROFILE_NO_ECC_KEY_DERIVATION, profileRequires } from "../profile";
import { addIndex } from "../response-code";
import { adjustAuthSize, createChecks, publicAttributesValidation } from "../template-checks";
import { unmarshalTemplate } from "../template";

const H1: u32 = TPM_RC_H + TPM_RC_1;
const P1: u32 = TPM_RC_P + TPM_RC_1;
const P2: u32 = TPM_RC_P + TPM_RC_2;

/** The object that is being made; it waits here while its RSA key is searched. */
let made: OBJECT = changetype<OBJECT>(0);

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
  if (rc) return loadedCreated(input, output, rc + P2);
  if (!adjustAuthSize(create.userAuth, area.nameAlg)) return loadedCreated(input, output, TPM_RC_SIZE + P1);
  if (parent != null && derivation) {
    rc = beginDerivation(parent, area, derive, create.data);
    if (rc) return loadedCreated(input, output, rc);
    return loadedCreated(input, output, cryptCreateObject(made, create, true));
  }
  rc = createChecks(parent, area, create.data.size);
  if (rc) return loadedCreated(input, output, addIndex(rc, P2));
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
