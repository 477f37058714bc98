// Making the secret of a new object (Part 1, 27.6; libtpms: CryptCreateObject). Everything is drawn from one generator: the
// TPM's own for ordinary objects, one seeded from the hierarchy and the template for primary objects, a KDF stream for derived
// objects. Only RSA keys take long: they are made in slices, between which the host may cancel.
import { DRBG_SEED_COMPAT_LEVEL, drbgAdditionalData } from "../crypto/drbg";
import { primeIsSmall } from "../crypto/prime-sieve";
import { RAND_STATE_SIZE, randGenerate } from "../crypto/rand";
import {
  RSA_KEYGEN_COMPAT_0,
  RSA_KEYGEN_COMPAT_1,
  RSA_KEYGEN_DONE,
  RSA_KEYGEN_MORE,
  RSA_KEYGEN_RANDOM,
  rsaKeyGenCancel,
  rsaKeyGenResult,
  rsaKeyGenStart,
  rsaKeyGenStep,
} from "../crypto/rsa-keygen";
import { TPM2B, copy2B } from "./cursor";
import { eccDrawBytes, eccKeyPairFromDraw } from "./crypt-ecc";
import { desKeyIsValid, desSetParity } from "./crypt-des";
import { eccIsConsistent, rsaIsConsistent } from "./crypt-pairwise";
import { rsaExponent, rsaLoadPrivateExponent } from "./crypt-rsa-keys";
import { computeSymmetricUnique, symKeyValidate } from "./crypt-validate";
import { go, gp } from "./data";
import { PENDING, isCanceled } from "./execute";
import {
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_sensitiveDataOrigin,
  TPMA_OBJECT_sign,
  TPM_ALG_ECC,
  TPM_ALG_ECDSA,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_SYMCIPHER,
  TPM_ALG_TDES,
  TPM_ALG_XOR,
  TPM_RC_CANCELED,
  TPM_RC_FAILURE,
  TPM_RC_KEY_SIZE,
  TPM_RC_NO_RESULT,
  TPM_RC_RANGE,
  TPM_RC_SIZE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { TPMS_SENSITIVE_CREATE } from "./generated/structures";
import { blockSizeOf, digestSizeOf } from "./hash";
import { OBJECT_EPS_HIERARCHY, OBJECT_PRIMARY, OBJECT_PRIVATE_EXP, objectSymmetric, publicName } from "./object";
import { PROFILE_PAIRWISE_CONSISTENCY_TEST, profileRequires } from "./profile";
import { cryptRandomGenerate, randomReady } from "./random";
import { selfTestBeforeUse } from "./self-test";

/** The smallest public exponent that a new key may have. */
const MIN_EXPONENT: u32 = 65537;
/** Steps of the prime search in a slice: about a millisecond. */
const STEPS_PER_SLICE: u32 = 2;

/** The generator of the object being made, for `cryptCreateObject`: a record of crypto/rand.ts, wiped when it is done. */
export const CREATION_RAND: usize = memory.data(RAND_STATE_SIZE, 16);

// The object whose RSA key is being searched (its address), and where its random bytes come from.
let pendingObject: usize = 0;
let pendingSeeded: bool = false;

/**
 * Makes the sensitive area, the unique field and the Name of `object`, whose public area is the checked template. With `seeded`
 * the random bytes come from the generator at CREATION_RAND.
 * @returns 0, PENDING (go on with cryptCreateObjectResume) or an error, after which the caller wipes the object
 */
export function cryptCreateObject(object: OBJECT, create: TPMS_SENSITIVE_CREATE, seeded: bool): u32 {
  const area = object.publicArea;
  const sensitive = object.sensitive;
  sensitive.sensitiveType = area.type;
  copy2B(sensitive.authValue, create.userAuth);
  if (area.objectAttributes & TPMA_OBJECT_sensitiveDataOrigin) create.data.size = 0;
  if (area.type == TPM_ALG_RSA) return startRsaKey(object, seeded);
  let rc: u32;
  if (area.type == TPM_ALG_ECC) rc = generateEccKey(object, seeded);
  else if (area.type == TPM_ALG_SYMCIPHER) rc = generateSymmetricKey(object, create.data, seeded);
  else rc = generateKeyedHash(object, create.data, seeded);
  return complete(object, rc, seeded);
}

/** Goes on with an object whose creation answered PENDING. */
export function cryptCreateObjectResume(): u32 {
  if (pendingObject == 0) return TPM_RC_FAILURE;
  return searchRsaKey();
}

/** Ends a creation that nobody will resume; nothing of it stays. */
export function cryptCreateObjectAbandon(): void {
  if (pendingObject == 0) return;
  rsaKeyGenCancel();
  memory.fill(CREATION_RAND, 0, RAND_STATE_SIZE);
  pendingObject = 0;
}

/** Random bytes from the object's generator; false when it has no more. */
function draw(out: usize, length: u32, seeded: bool): bool {
  if (seeded) return randGenerate(CREATION_RAND, out, length) != 0;
  cryptRandomGenerate(out, length);
  return true;
}

/** The obfuscation value or seed, the unique field of symmetric objects, and the Name. */
function complete(object: OBJECT, rc: u32, seeded: bool): u32 {
  if (rc == 0) rc = addSeed(object, seeded);
  if (seeded) memory.fill(CREATION_RAND, 0, RAND_STATE_SIZE);
  return rc;
}

function addSeed(object: OBJECT, seeded: bool): u32 {
  const area = object.publicArea;
  const seed = object.sensitive.seedValue;
  const endorsementPrimary = OBJECT_PRIMARY | OBJECT_EPS_HIERARCHY;
  if ((object.attributes & endorsementPrimary) == endorsementPrimary) {
    // What TPM2_Clear takes away: children of an endorsement key do not survive it.
    drbgAdditionalData(CREATION_RAND, gp.shProof.buffer, gp.shProof.size);
    drbgAdditionalData(CREATION_RAND, gp.ehProof.buffer, gp.ehProof.size);
  }
  seed.size = digestSizeOf(area.nameAlg);
  if (!draw(seed.buffer, seed.size, seeded)) return TPM_RC_NO_RESULT;
  if (area.type != TPM_ALG_RSA && area.type != TPM_ALG_ECC) {
    computeSymmetricUnique(area, object.sensitive, area.unique.sym);
  } else if (area.objectAttributes & TPMA_OBJECT_sign || (area.objectAttributes & TPMA_OBJECT_restricted) == 0) {
    // Only parents have a use for it.
    memory.fill(seed.buffer, 0, seed.size);
    seed.size = 0;
  }
  publicName(area, object.name);
  return 0;
}

function generateKeyedHash(object: OBJECT, data: TPM2B, seeded: bool): u32 {
  const area = object.publicArea;
  const scheme = area.parameters.keyedHashDetail.scheme;
  const bits = object.sensitive.sensitive.bits;
  let hashAlg = area.nameAlg;
  if (scheme.scheme == TPM_ALG_XOR) hashAlg = scheme.details.xor.hashAlg;
  else if (scheme.scheme != TPM_ALG_NULL) hashAlg = scheme.details.hmac.hashAlg;
  if (data.size != 0) {
    const isKey = (area.objectAttributes & (TPMA_OBJECT_decrypt | TPMA_OBJECT_sign)) != 0;
    if (isKey && data.size > blockSizeOf(hashAlg)) return TPM_RC_SIZE;
    copy2B(bits, data);
    return 0;
  }
  bits.size = digestSizeOf(hashAlg);
  return draw(bits.buffer, bits.size, seeded) && bits.size != 0 ? 0 : TPM_RC_NO_RESULT;
}

function generateSymmetricKey(object: OBJECT, data: TPM2B, seeded: bool): u32 {
  const symmetric = objectSymmetric(object.publicArea);
  const key = object.sensitive.sensitive.sym;
  const bits = symmetric.keyBits.aes;
  if (bits % 64 != 0) return TPM_RC_KEY_SIZE;
  if (data.size != 0) {
    const rc = symKeyValidate(symmetric, data);
    if (rc == 0) copy2B(key, data);
    return rc;
  }
  key.size = bits / 8;
  do {
    if (!draw(key.buffer, key.size, seeded) || key.size == 0) return TPM_RC_NO_RESULT;
    if (symmetric.algorithm != TPM_ALG_TDES) return 0;
    desSetParity(key);
  } while (!desKeyIsValid(key));
  return 0;
}

const ECC_DRAW: usize = memory.data(96, 16);

function generateEccKey(object: OBJECT, seeded: bool): u32 {
  const area = object.publicArea;
  const curve = area.parameters.eccDetail.curveID;
  selfTestBeforeUse(TPM_ALG_ECDSA);
  if (!draw(ECC_DRAW, eccDrawBytes(curve), seeded)) return TPM_RC_NO_RESULT;
  eccKeyPairFromDraw(area.unique.ecc, object.sensitive.sensitive.ecc, curve, ECC_DRAW);
  memory.fill(ECC_DRAW, 0, 96);
  const tested = profileRequires(PROFILE_PAIRWISE_CONSISTENCY_TEST) && (area.objectAttributes & TPMA_OBJECT_sign) != 0;
  return tested && !eccIsConsistent(object) ? TPM_RC_NO_RESULT : 0;
}

function startRsaKey(object: OBJECT, seeded: bool): u32 {
  const exponent = rsaExponent(object);
  if (exponent < MIN_EXPONENT || !primeIsSmall(exponent)) return complete(object, TPM_RC_RANGE, seeded);
  let mode = RSA_KEYGEN_RANDOM;
  if (seeded) mode = load<u32>(CREATION_RAND, DRBG_SEED_COMPAT_LEVEL) == 0 ? RSA_KEYGEN_COMPAT_0 : RSA_KEYGEN_COMPAT_1;
  else randomReady();
  rsaKeyGenStart(object.publicArea.parameters.rsaDetail.keyBits, exponent, seeded ? CREATION_RAND : go.drbgState, mode);
  pendingObject = changetype<usize>(object);
  pendingSeeded = seeded;
  return searchRsaKey();
}

/** One slice of the search. */
function searchRsaKey(): u32 {
  if (isCanceled()) {
    cryptCreateObjectAbandon();
    return TPM_RC_CANCELED;
  }
  let state = RSA_KEYGEN_MORE;
  for (let step: u32 = 0; step < STEPS_PER_SLICE && state == RSA_KEYGEN_MORE; step++) state = rsaKeyGenStep();
  if (state == RSA_KEYGEN_MORE) return PENDING;
  const object = changetype<OBJECT>(pendingObject);
  pendingObject = 0;
  return complete(object, state == RSA_KEYGEN_DONE ? takeRsaKey(object) : TPM_RC_FAILURE, pendingSeeded);
}

function takeRsaKey(object: OBJECT): u32 {
  const size: u32 = object.publicArea.parameters.rsaDetail.keyBits / 8;
  const modulus = object.publicArea.unique.rsa;
  const prime = object.sensitive.sensitive.rsa;
  if (!rsaKeyGenResult(prime.buffer, modulus.buffer)) return TPM_RC_FAILURE;
  modulus.size = size;
  prime.size = size / 2;
  if (!rsaLoadPrivateExponent(object)) return TPM_RC_FAILURE;
  object.attributes |= OBJECT_PRIVATE_EXP;
  return profileRequires(PROFILE_PAIRWISE_CONSISTENCY_TEST) && !rsaIsConsistent(object) ? TPM_RC_FAILURE : 0;
}
