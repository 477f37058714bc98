// Signatures with elliptic curves on TPM structures (Part 1, C.4): ECDSA, ECDAA, EC Schnorr, SM2.
import { MAX_CURVE_BYTES } from "../crypto/ec-curve";
import { SIGNED, SIGN_AGAIN } from "../crypto/ec";
import { ecdaaSign } from "../crypto/ecdaa";
import { ecdsaSign, ecdsaVerify } from "../crypto/ecdsa";
import { ecschnorrSign, ecschnorrVerify } from "../crypto/ecschnorr";
import { sm2Sign, sm2Verify } from "../crypto/sm2";
import { endCommit, openCommitScalar } from "./commit";
import { TPM2B, set2B } from "./cursor";
import { curveNumber, eccDrawBytes, eccParameterBytes, eccParameterToBytes } from "./crypt-ecc";
import {
  TPM_ALG_ECDAA,
  TPM_ALG_ECDSA,
  TPM_ALG_ECSCHNORR,
  TPM_ALG_SHA1,
  TPM_ALG_SM2,
  TPM_RC_HASH,
  TPM_RC_NO_RESULT,
  TPM_RC_SCHEME,
  TPM_RC_SIGNATURE,
  TPM_RC_VALUE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { TPMT_SIGNATURE, TPMT_SIG_SCHEME } from "./generated/structures";
import { digestSizeOf, hashNumber } from "./hash";
import { PROFILE_NO_SHA1_VERIFICATION, profileRequires } from "./profile";
import { cryptRandomGenerate } from "./random";
import { selfTestBeforeUse } from "./self-test";

const D: usize = memory.data(MAX_CURVE_BYTES, 16);
const COMMITTED: usize = memory.data(MAX_CURVE_BYTES, 16);
const DRAW: usize = memory.data(MAX_CURVE_BYTES + 8, 16);
const R: usize = memory.data(MAX_CURVE_BYTES, 16);
const S: usize = memory.data(MAX_CURVE_BYTES, 16);
const X: usize = memory.data(MAX_CURVE_BYTES, 16);
const Y: usize = memory.data(MAX_CURVE_BYTES, 16);

const BAD_SCHEME: i32 = -2;

/** Signs a digest as `signature.sigAlg` and its hash say; `scheme` has the count of an ECDAA commitment. */
export function cryptEccSign(signature: TPMT_SIGNATURE, key: OBJECT, digest: TPM2B, scheme: TPMT_SIG_SCHEME): u32 {
  const curve = key.publicArea.parameters.eccDetail.curveID;
  const size = eccParameterBytes(curve);
  const isEcdaa = signature.sigAlg == TPM_ALG_ECDAA;
  const count = scheme.details.ecdaa.count;
  selfTestBeforeUse(signature.sigAlg);
  if (isEcdaa && !openCommitScalar(count, curve, key.name, COMMITTED)) return TPM_RC_VALUE;
  eccParameterToBytes(key.sensitive.sensitive.ecc, D, size);
  let result = SIGN_AGAIN;
  while (result == SIGN_AGAIN) {
    cryptRandomGenerate(DRAW, eccDrawBytes(curve));
    result = signWith(signature, curve, digest);
  }
  memory.fill(D, 0, MAX_CURVE_BYTES);
  memory.fill(COMMITTED, 0, MAX_CURVE_BYTES);
  memory.fill(DRAW, 0, MAX_CURVE_BYTES + 8);
  if (result != SIGNED) return result == BAD_SCHEME ? TPM_RC_SCHEME : TPM_RC_NO_RESULT;
  let zeros: u32 = 0;
  if (isEcdaa) {
    endCommit(count);
    // signatureR is a nonce, which has no leading zeros.
    while (load<u8>(R + zeros) == 0) zeros++;
  }
  set2B(signature.signature.ecdsa.signatureR, R + zeros, size - zeros);
  set2B(signature.signature.ecdsa.signatureS, S, size);
  return 0;
}

function signWith(signature: TPMT_SIGNATURE, curve: u32, digest: TPM2B): i32 {
  const id = curveNumber(curve);
  const hash = hashNumber(signature.signature.ecdsa.hash);
  const data = digest.buffer;
  switch (signature.sigAlg) {
    case TPM_ALG_ECDSA:
      return ecdsaSign(id, D, data, digest.size, DRAW, R, S);
    case TPM_ALG_ECDAA:
      return ecdaaSign(id, hash, D, COMMITTED, data, digest.size, DRAW, R, S);
    case TPM_ALG_ECSCHNORR:
      return ecschnorrSign(id, hash, D, data, digest.size, DRAW, R, S);
    case TPM_ALG_SM2:
      return sm2Sign(id, D, data, digest.size, DRAW, R, S);
  }
  return BAD_SCHEME;
}

/** TPM_RC_SCHEME for what is no ECC signature, TPM_RC_SIGNATURE for one that is not valid. */
export function cryptEccValidateSignature(signature: TPMT_SIGNATURE, key: OBJECT, digest: TPM2B): u32 {
  const scheme = signature.sigAlg;
  if (scheme != TPM_ALG_ECDSA && scheme != TPM_ALG_ECSCHNORR && scheme != TPM_ALG_SM2) return TPM_RC_SCHEME;
  const given = signature.signature.ecdsa;
  const curve = key.publicArea.parameters.eccDetail.curveID;
  const size = eccParameterBytes(curve);
  const point = key.publicArea.unique.ecc;
  // Numbers that are longer are not below the order.
  const fits =
    eccParameterToBytes(given.signatureR, R, size) &&
    eccParameterToBytes(given.signatureS, S, size) &&
    eccParameterToBytes(point.x, X, size) &&
    eccParameterToBytes(point.y, Y, size);
  if (!fits) return TPM_RC_SIGNATURE;
  if (profileRequires(PROFILE_NO_SHA1_VERIFICATION) && isSha1(signature, digest)) return TPM_RC_HASH;
  return verifyWith(scheme, curve, given.hash, digest) != 0 ? 0 : TPM_RC_SIGNATURE;
}

/** ECDSA and SM2 take a digest of any hash: its size tells. */
function isSha1(signature: TPMT_SIGNATURE, digest: TPM2B): bool {
  if (signature.sigAlg == TPM_ALG_ECSCHNORR) return signature.signature.ecschnorr.hash == TPM_ALG_SHA1;
  return digest.size == digestSizeOf(TPM_ALG_SHA1);
}

function verifyWith(scheme: u32, curve: u32, hashAlg: u32, digest: TPM2B): u32 {
  const id = curveNumber(curve);
  const data = digest.buffer;
  switch (scheme) {
    case TPM_ALG_ECDSA:
      return ecdsaVerify(id, X, Y, data, digest.size, R, S);
    case TPM_ALG_ECSCHNORR:
      return ecschnorrVerify(id, hashNumber(hashAlg), X, Y, data, digest.size, R, S);
  }
  return sm2Verify(id, X, Y, data, digest.size, R, S);
}
