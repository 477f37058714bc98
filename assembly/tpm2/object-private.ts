// Sensitive areas outside the TPM: as the private part of an object under its parent (Part 1, 23.4), and as a duplication blob
// between parents (Part 1, 23.3).
import { ctEqual } from "../crypto/ct";
import {
  TPM2B,
  inputAt,
  inputLeft,
  outputAt,
  setInput,
  setOutput,
  storeBE16,
  unmarshalTPM2B,
  unmarshalU16,
} from "./cursor";
import { cryptCfb } from "./cipher";
import {
  MAX_DIGEST_SIZE,
  MAX_SYM_BLOCK_SIZE,
  TPM_ALG_NULL,
  TPM_RC_INTEGRITY,
  TPM_RC_SENSITIVE,
  TPM_RC_SIZE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import {
  TPMT_SENSITIVE,
  TPMT_SYM_DEF_OBJECT,
  marshal_TPMT_SENSITIVE,
  unmarshal_TPMT_SENSITIVE,
} from "./generated/structures";
import {
  HASH_RECORD_SIZE,
  cryptHashEnd2B,
  cryptHashStart,
  cryptHashUpdate,
  cryptHashUpdate2B,
  digestSizeOf,
} from "./hash";
import { integritySizeOf, ivSizeOf, produceOuterWrap, unwrapOuter } from "./object-wrap";
import { cryptRandom2B } from "./random";

const SIZE: usize = memory.data(4, 4);
const IV: usize = memory.data(MAX_SYM_BLOCK_SIZE, 16);
const INTEGRITY: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);
const COMPARE: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);
const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/** Writes TPM2B_SENSITIVE to `at`; the authValue is padded to the digest of nameAlg. @returns its size */
function marshalSensitive(sensitive: TPMT_SENSITIVE, nameAlg: u32, at: usize): u32 {
  const auth = sensitive.authValue;
  const digestSize = digestSizeOf(nameAlg);
  if (auth.size < digestSize) {
    memory.fill(auth.buffer + auth.size, 0, digestSize - auth.size);
    auth.size = digestSize;
  }
  const was = outputAt();
  setOutput(at + 2);
  marshal_TPMT_SENSITIVE(changetype<usize>(sensitive));
  const size = <u32>(outputAt() - at);
  storeBE16(at, size - 2);
  setOutput(was);
  return size;
}

/**
 * Reads TPM2B_SENSITIVE, which must be all that is left of the input.
 * @returns TPM_RC_SIZE for a wrong size, unmarshalling errors
 */
function unmarshalSensitive(sensitive: TPMT_SENSITIVE): u32 {
  let rc = unmarshalU16(SIZE);
  if (rc) return rc;
  if (load<u16>(SIZE) != inputLeft()) return TPM_RC_SIZE;
  rc = unmarshal_TPMT_SENSITIVE(changetype<usize>(sensitive));
  return rc == 0 && inputLeft() != 0 ? TPM_RC_SIZE : rc;
}

/** The private part of an object under `parent`, to `out` (TPM2B_PRIVATE). */
export function sensitiveToPrivate(
  sensitive: TPMT_SENSITIVE,
  name: TPM2B,
  parent: OBJECT,
  nameAlg: u32,
  out: TPM2B,
): void {
  const hashAlg = parent.publicArea.nameAlg;
  const at = out.buffer + integritySizeOf(hashAlg) + ivSizeOf(parent);
  const size = marshalSensitive(sensitive, nameAlg, at);
  out.size = produceOuterWrap(parent, name, hashAlg, parent.sensitive.seedValue, true, size, out.buffer);
}

/**
 * Opens a private part, which is decrypted in place.
 * @returns TPM_RC_INTEGRITY, TPM_RC_VALUE (IV), TPM_RC_SENSITIVE for a content that is no sensitive area, unmarshalling errors
 */
export function privateToSensitive(blob: TPM2B, name: TPM2B, parent: OBJECT, sensitive: TPMT_SENSITIVE): u32 {
  const hashAlg = parent.publicArea.nameAlg;
  let rc = unwrapOuter(parent, name, hashAlg, parent.sensitive.seedValue, true, blob.size, blob.buffer);
  if (rc) return rc;
  if (inputLeft() < 2) return unmarshalU16(SIZE);
  rc = unmarshalSensitive(sensitive);
  return rc == 0 ? 0 : TPM_RC_SENSITIVE;
}

/** H(data || Name) in front of a duplication blob's inner part. */
function innerIntegrity(hashAlg: u32, name: TPM2B, data: usize, length: u32, out: TPM2B): void {
  cryptHashStart(WORK, hashAlg);
  cryptHashUpdate(WORK, data, length);
  cryptHashUpdate2B(WORK, name);
  cryptHashEnd2B(WORK, out);
}

function innerCipher(symmetric: TPMT_SYM_DEF_OBJECT, key: TPM2B, data: usize, length: u32, encrypt: bool): void {
  memory.fill(IV, 0, MAX_SYM_BLOCK_SIZE);
  cryptCfb(symmetric.algorithm, symmetric.keyBits.aes, key.buffer, IV, data, length, encrypt);
}

/**
 * A duplication blob, to `out`: with an inner wrap unless `symmetric` is null, with an outer one unless `seed` is empty. An
 * empty innerKey is drawn and stays for the caller; one that was given becomes empty.
 */
export function sensitiveToDuplicate(
  sensitive: TPMT_SENSITIVE,
  name: TPM2B,
  newParent: OBJECT | null,
  nameAlg: u32,
  seed: TPM2B,
  symmetric: TPMT_SYM_DEF_OBJECT,
  innerKey: TPM2B,
  out: TPM2B,
): void {
  const inner = symmetric.algorithm != TPM_ALG_NULL;
  let at = out.buffer;
  if (seed.size != 0 && newParent != null) at += integritySizeOf(newParent.publicArea.nameAlg);
  const innerAt = at;
  if (inner) at += integritySizeOf(nameAlg);
  let size = marshalSensitive(sensitive, nameAlg, at);
  if (inner) {
    const integrity = changetype<TPM2B>(INTEGRITY);
    innerIntegrity(nameAlg, name, at, size, integrity);
    storeBE16(innerAt, integrity.size);
    memory.copy(innerAt + 2, integrity.buffer, integrity.size);
    size += integritySizeOf(nameAlg);
    const given = innerKey.size != 0;
    if (!given) {
      innerKey.size = (symmetric.keyBits.aes + 7) / 8;
      cryptRandom2B(innerKey);
    }
    innerCipher(symmetric, innerKey, innerAt, size, true);
    if (given) innerKey.size = 0;
  }
  if (seed.size != 0 && newParent != null) {
    size = produceOuterWrap(newParent, name, newParent.publicArea.nameAlg, seed, false, size, out.buffer);
  }
  out.size = size;
}

/** Opens a duplication blob in place. @returns TPM_RC_INTEGRITY, TPM_RC_SIZE, unmarshalling errors */
export function duplicateToSensitive(
  blob: TPM2B,
  name: TPM2B,
  parent: OBJECT,
  nameAlg: u32,
  seed: TPM2B,
  symmetric: TPMT_SYM_DEF_OBJECT,
  innerKey: TPM2B,
  sensitive: TPMT_SENSITIVE,
): u32 {
  setInput(blob.buffer, blob.size);
  if (seed.size != 0) {
    const rc = unwrapOuter(parent, name, parent.publicArea.nameAlg, seed, false, blob.size, blob.buffer);
    if (rc) return rc;
  }
  if (symmetric.algorithm != TPM_ALG_NULL) {
    innerCipher(symmetric, innerKey, inputAt(), inputLeft(), false);
    const given = changetype<TPM2B>(COMPARE);
    const rc = unmarshalTPM2B(COMPARE, MAX_DIGEST_SIZE);
    if (rc) return rc;
    const integrity = changetype<TPM2B>(INTEGRITY);
    innerIntegrity(nameAlg, name, inputAt(), inputLeft(), integrity);
    if (given.size != integrity.size || ctEqual(given.buffer, integrity.buffer, given.size) == 0)
      return TPM_RC_INTEGRITY;
  }
  return unmarshalSensitive(sensitive);
}
