// What the attestation commands share (Part 1, 31; Part 3, 18.1): the common fields of TPMS_ATTEST, and signing it.
import { timeFillInfo } from "./clock";
import { TPM2B, copy2B, outputAt, setOutput, storeBE32 } from "./cursor";
import { cryptSign } from "./crypt-sign";
import { clearOrderly, gp } from "./data";
import {
  TPMA_OBJECT_sign,
  TPM_ALG_NULL,
  TPM_ALG_SYMCIPHER,
  TPM_GENERATED_VALUE,
  TPM_RC_KEY,
  TPM_RC_SCHEME,
  TPM_RH_NULL,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import {
  SIZEOF_TPMS_ATTEST_RECORD,
  TPMS_ATTEST,
  TPMT_SIGNATURE,
  TPMT_SIG_SCHEME,
  marshal_TPMS_ATTEST,
} from "./generated/structures";
import { HASH_RECORD_SIZE, cryptHashBlock, cryptHashEnd2B, cryptHashStart, cryptHashUpdate2B } from "./hash";
import { EMPTY_2B, LABEL_OBFUSCATE, cryptKdfa } from "./kdf";
import { OBJECT_EPS_HIERARCHY, OBJECT_PPS_HIERARCHY, objectOf } from "./object";
import { cryptSelectSignScheme, isSplitSign } from "./schemes";
import { CONTEXT_INTEGRITY_HASH_ALG } from "./tickets";

const ATTEST: usize = memory.data(SIZEOF_TPMS_ATTEST_RECORD, 16);
const OBFUSCATION: usize = memory.data(16, 16);
const DIGEST: usize = memory.data(2 + 64, 8);
const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/** The structure that `attestBegin` fills and `attestSign` signs. */
@inline
export function attest(): TPMS_ATTEST {
  return changetype<TPMS_ATTEST>(ATTEST);
}

/** TPM_RH_NULL stands for no signature; every other key has to sign. */
function isSigningObject(key: OBJECT | null): bool {
  if (key == null) return true;
  const area = key.publicArea;
  return (area.objectAttributes & TPMA_OBJECT_sign) != 0 && area.type != TPM_ALG_SYMCIPHER;
}

/**
 * Checks the signing key and the scheme, and completes the scheme.
 * @param keyIndex,schemeIndex the response code offsets of the two
 */
export function attestCheck(signHandle: u32, scheme: TPMT_SIG_SCHEME, keyIndex: u32, schemeIndex: u32): u32 {
  const key = objectOf(signHandle);
  if (!isSigningObject(key)) return TPM_RC_KEY + keyIndex;
  return cryptSelectSignScheme(key, scheme) ? 0 : TPM_RC_SCHEME + schemeIndex;
}

/** The common fields. What the qualifying data become depends on the scheme: it stays in `data` only for an anonymous one. */
export function attestBegin(type: u32, signHandle: u32, scheme: TPMT_SIG_SCHEME, data: TPM2B): TPMS_ATTEST {
  const info = attest();
  memory.fill(ATTEST, 0, SIZEOF_TPMS_ATTEST_RECORD);
  const key = objectOf(signHandle);
  const anonymous = isSplitSign(scheme.scheme);
  info.magic = TPM_GENERATED_VALUE;
  info.type = type;
  if (key == null) {
    info.qualifiedSigner.size = 4;
    storeBE32(info.qualifiedSigner.buffer, TPM_RH_NULL);
  } else if (!anonymous) copy2B(info.qualifiedSigner, key.qualifiedName);
  timeFillInfo(info.clockInfo);
  info.firmwareVersion = ((<u64>gp.firmwareV1) << 32) + gp.firmwareV2;
  if (key == null || (key.attributes & (OBJECT_EPS_HIERARCHY | OBJECT_PPS_HIERARCHY)) == 0) obfuscate(info);
  if (!anonymous) {
    copy2B(info.extraData, data);
    data.size = 0;
  }
  return info;
}

/** Keys outside the endorsement and platform hierarchies do not tell resets and firmware (Part 1, 36.7). */
function obfuscate(info: TPMS_ATTEST): void {
  cryptKdfa(CONTEXT_INTEGRITY_HASH_ALG, gp.shProof, LABEL_OBFUSCATE, info.qualifiedSigner, EMPTY_2B, 128, OBFUSCATION);
  info.firmwareVersion += load<u64>(OBFUSCATION);
  info.clockInfo.resetCount += load<u32>(OBFUSCATION, 12);
  info.clockInfo.restartCount += load<u32>(OBFUSCATION, 8);
}

/** Marshals the structure to `blob` and signs it; without a key the signature is the null one. */
export function attestSign(
  signHandle: u32,
  scheme: TPMT_SIG_SCHEME,
  qualifyingData: TPM2B,
  blob: TPM2B,
  signature: TPMT_SIGNATURE,
): u32 {
  setOutput(blob.buffer);
  marshal_TPMS_ATTEST(ATTEST);
  blob.size = <u32>(outputAt() - blob.buffer);
  const key = objectOf(signHandle);
  if (key == null) {
    signature.sigAlg = TPM_ALG_NULL;
    return 0;
  }
  const hashAlg = scheme.details.rsassa.hashAlg;
  const digest = changetype<TPM2B>(DIGEST);
  digest.size = cryptHashBlock(hashAlg, blob.buffer, blob.size, digest.buffer);
  if (qualifyingData.size != 0) {
    cryptHashStart(WORK, hashAlg);
    cryptHashUpdate2B(WORK, qualifyingData);
    cryptHashUpdate2B(WORK, digest);
    cryptHashEnd2B(WORK, digest);
  }
  const rc = cryptSign(key, scheme, digest, signature);
  // The clock was told: what is told next must not be before it.
  if (rc == 0) clearOrderly();
  return rc;
}
