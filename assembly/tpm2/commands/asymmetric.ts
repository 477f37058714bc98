// Part 3, 14: asymmetric primitives.
import { eccDecrypt, eccEncrypt } from "../../crypto/ec-encrypt";
import { ecmqvExchange, sm2Exchange } from "../../crypto/ec-exchange";
import { endCommit, openCommitScalar } from "../commit";
import { TPM2B, set2B } from "../cursor";
import {
  ECC_BYTES_MAX,
  curveNumber,
  eccDrawBytes,
  eccGetParameters,
  eccIsPointOnCurve,
  eccNewKeyPair,
  eccParameterBytes,
  eccParameterToBytes,
  eccPointMultiply,
} from "../crypt-ecc";
import { cryptRsaDecrypt, cryptRsaEncrypt, cryptRsaSelectScheme } from "../crypt-rsa";
import {
  MAX_ECC_KEY_BYTES,
  MAX_RSA_KEY_BYTES,
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_restricted,
  TPM_ALG_ECC,
  TPM_ALG_ECDH,
  TPM_ALG_ECMQV,
  TPM_ALG_KDF2,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_SM2,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_4,
  TPM_RC_ATTRIBUTES,
  TPM_RC_ECC_POINT,
  TPM_RC_H,
  TPM_RC_KEY,
  TPM_RC_NO_RESULT,
  TPM_RC_P,
  TPM_RC_SCHEME,
  TPM_RC_TYPE,
  TPM_RC_VALUE,
} from "../generated/constants";
import { OBJECT } from "../generated/engine-records";
import {
  ECC_Decrypt_In,
  ECC_Decrypt_Out,
  ECC_Encrypt_In,
  ECC_Encrypt_Out,
  ECC_Parameters_In,
  ECC_Parameters_Out,
  ECDH_KeyGen_In,
  ECDH_KeyGen_Out,
  ECDH_ZGen_In,
  ECDH_ZGen_Out,
  RSA_Decrypt_In,
  RSA_Decrypt_Out,
  RSA_Encrypt_In,
  RSA_Encrypt_Out,
  ZGen_2Phase_In,
  ZGen_2Phase_Out,
} from "../generated/records";
import { TPMS_ECC_POINT, TPMT_KDF_SCHEME } from "../generated/structures";
import { digestSizeOf, hashNumber } from "../hash";
import { EMPTY_2B } from "../kdf";
import { loadedObject } from "../object";
import { PROFILE_NO_ECC_KEY_DERIVATION, profileRequires } from "../profile";
import { cryptRandomGenerate } from "../random";
import { addIndex } from "../response-code";

const H1: u32 = TPM_RC_H + TPM_RC_1;

/** Empty, or ended by a zero. */
function isLabel(label: TPM2B): bool {
  return label.size == 0 || load<u8>(label.buffer + label.size - 1) == 0;
}

/** An unrestricted decryption key. */
function mayDecrypt(key: OBJECT): bool {
  const relevant = TPMA_OBJECT_restricted | TPMA_OBJECT_decrypt;
  return (key.publicArea.objectAttributes & relevant) == TPMA_OBJECT_decrypt;
}

export function RSA_Encrypt(input: RSA_Encrypt_In, output: RSA_Encrypt_Out): u32 {
  const key = loadedObject(input.keyHandle);
  if (key.publicArea.type != TPM_ALG_RSA) return TPM_RC_KEY + H1;
  if ((key.publicArea.objectAttributes & TPMA_OBJECT_decrypt) == 0) return TPM_RC_ATTRIBUTES + H1;
  if (!isLabel(input.label)) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_3;
  const scheme = cryptRsaSelectScheme(key, input.inScheme);
  if (scheme == null) return TPM_RC_SCHEME + TPM_RC_P + TPM_RC_2;
  return cryptRsaEncrypt(output.outData, input.message, key, scheme, input.label);
}

export function RSA_Decrypt(input: RSA_Decrypt_In, output: RSA_Decrypt_Out): u32 {
  const key = loadedObject(input.keyHandle);
  if (key.publicArea.type != TPM_ALG_RSA) return TPM_RC_KEY + H1;
  if (!mayDecrypt(key)) return TPM_RC_ATTRIBUTES + H1;
  if (!isLabel(input.label)) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_3;
  const scheme = cryptRsaSelectScheme(key, input.inScheme);
  if (scheme == null) return TPM_RC_SCHEME + TPM_RC_P + TPM_RC_2;
  return cryptRsaDecrypt(output.message, MAX_RSA_KEY_BYTES, input.cipherText, key, scheme, input.label);
}

const D: usize = memory.data(2 + MAX_ECC_KEY_BYTES, 8);

export function ECDH_KeyGen(input: ECDH_KeyGen_In, output: ECDH_KeyGen_Out): u32 {
  const key = loadedObject(input.keyHandle);
  if (key.publicArea.type != TPM_ALG_ECC) return TPM_RC_KEY + H1;
  const curve = key.publicArea.parameters.eccDetail.curveID;
  const d = changetype<TPM2B>(D);
  eccNewKeyPair(output.pubPoint.point, d, curve);
  const rc = eccPointMultiply(output.zPoint.point, curve, key.publicArea.unique.ecc, d);
  memory.fill(D, 0, 2 + MAX_ECC_KEY_BYTES);
  return rc == TPM_RC_ECC_POINT ? TPM_RC_KEY + H1 : rc;
}

export function ECDH_ZGen(input: ECDH_ZGen_In, output: ECDH_ZGen_Out): u32 {
  const key = loadedObject(input.keyHandle);
  if (key.publicArea.type != TPM_ALG_ECC) return TPM_RC_KEY + H1;
  if (!mayDecrypt(key)) return TPM_RC_ATTRIBUTES + H1;
  const parameters = key.publicArea.parameters.eccDetail;
  const scheme = parameters.scheme.scheme;
  if (scheme != TPM_ALG_ECDH && scheme != TPM_ALG_NULL) return TPM_RC_SCHEME + H1;
  const d = key.sensitive.sensitive.ecc;
  return addIndex(
    eccPointMultiply(output.outPoint.point, parameters.curveID, input.inPoint.point, d),
    TPM_RC_P + TPM_RC_1,
  );
}

export function ECC_Parameters(input: ECC_Parameters_In, output: ECC_Parameters_Out): u32 {
  eccGetParameters(input.curveID, output.parameters);
  return 0;
}

// Numbers of a curve, each with room for the largest.
const NUMBERS: usize = memory.data(10 * ECC_BYTES_MAX, 16);

@inline
function number(index: u32): usize {
  return NUMBERS + index * ECC_BYTES_MAX;
}

export function ZGen_2Phase(input: ZGen_2Phase_In, output: ZGen_2Phase_Out): u32 {
  if (profileRequires(PROFILE_NO_ECC_KEY_DERIVATION)) return TPM_RC_TYPE;
  const key = loadedObject(input.keyA);
  if (key.publicArea.type != TPM_ALG_ECC) return TPM_RC_KEY + H1;
  if (!mayDecrypt(key)) return TPM_RC_ATTRIBUTES + H1;
  const parameters = key.publicArea.parameters.eccDetail;
  const curve = parameters.curveID;
  let scheme = parameters.scheme.scheme;
  if (scheme == TPM_ALG_NULL) scheme = input.inScheme;
  if (scheme == TPM_ALG_NULL || scheme != input.inScheme) return TPM_RC_SCHEME + TPM_RC_P + TPM_RC_3;
  if (!eccIsPointOnCurve(curve, input.inQsB.point)) return TPM_RC_ECC_POINT + TPM_RC_P + TPM_RC_1;
  if (!eccIsPointOnCurve(curve, input.inQeB.point)) return TPM_RC_ECC_POINT + TPM_RC_P + TPM_RC_2;
  const size = eccParameterBytes(curve);
  const ephemeral = changetype<TPM2B>(D);
  ephemeral.size = size;
  if (!openCommitScalar(input.counter, curve, EMPTY_2B, ephemeral.buffer)) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_4;
  const rc = exchange(scheme, key, ephemeral, input.inQsB.point, input.inQeB.point, output);
  memory.fill(D, 0, 2 + MAX_ECC_KEY_BYTES);
  if (rc == 0) endCommit(input.counter);
  return rc == TPM_RC_SCHEME ? TPM_RC_SCHEME + TPM_RC_P + TPM_RC_3 : rc;
}

function exchange(
  scheme: u32,
  key: OBJECT,
  ephemeral: TPM2B,
  staticB: TPMS_ECC_POINT,
  ephemeralB: TPMS_ECC_POINT,
  output: ZGen_2Phase_Out,
): u32 {
  const curve = key.publicArea.parameters.eccDetail.curveID;
  const d = key.sensitive.sensitive.ecc;
  if (scheme == TPM_ALG_ECDH) {
    const rc = eccPointMultiply(output.outZ1.point, curve, staticB, d);
    return rc ? rc : eccPointMultiply(output.outZ2.point, curve, ephemeralB, ephemeral);
  }
  if (scheme != TPM_ALG_ECMQV && scheme != TPM_ALG_SM2) return TPM_RC_SCHEME;
  const id = curveNumber(curve);
  const size = eccParameterBytes(curve);
  eccParameterToBytes(d, number(0), size);
  eccParameterToBytes(ephemeral, number(1), size);
  eccParameterToBytes(staticB.x, number(2), size);
  eccParameterToBytes(staticB.y, number(3), size);
  eccParameterToBytes(ephemeralB.x, number(4), size);
  eccParameterToBytes(ephemeralB.y, number(5), size);
  const done =
    scheme == TPM_ALG_ECMQV
      ? ecmqvExchange(id, number(0), number(1), number(2), number(3), number(4), number(5), number(6), number(7))
      : sm2Exchange(id, number(0), number(1), number(2), number(3), number(4), number(5), number(6), number(7));
  if (done) {
    set2B(output.outZ1.point.x, number(6), size);
    set2B(output.outZ1.point.y, number(7), size);
  }
  memory.fill(NUMBERS, 0, 10 * ECC_BYTES_MAX);
  output.outZ2.point.x.size = 0;
  output.outZ2.point.y.size = 0;
  return done ? 0 : TPM_RC_NO_RESULT;
}

/** The KDF that key and command together select, in `scheme`; false when they do not agree or select none. */
function selectKdf(key: OBJECT, scheme: TPMT_KDF_SCHEME): bool {
  const own = key.publicArea.parameters.eccDetail.kdf;
  if (scheme.scheme == TPM_ALG_NULL) {
    scheme.scheme = own.scheme;
    scheme.details.mgf1.hashAlg = own.details.mgf1.hashAlg;
  }
  if (scheme.scheme == TPM_ALG_NULL) return false;
  if (own.scheme == TPM_ALG_NULL) return true;
  return own.scheme == scheme.scheme && own.details.mgf1.hashAlg == scheme.details.mgf1.hashAlg;
}

export function ECC_Encrypt(input: ECC_Encrypt_In, output: ECC_Encrypt_Out): u32 {
  const key = loadedObject(input.keyHandle);
  if (key.publicArea.type != TPM_ALG_ECC) return TPM_RC_KEY + H1;
  if (!selectKdf(key, input.inScheme)) return TPM_RC_SCHEME + TPM_RC_P + TPM_RC_2;
  if (input.inScheme.scheme != TPM_ALG_KDF2) return TPM_RC_SCHEME;
  const curve = key.publicArea.parameters.eccDetail.curveID;
  const size = eccParameterBytes(curve);
  const point = key.publicArea.unique.ecc;
  const hashAlg = input.inScheme.details.kdf2.hashAlg;
  const fits = eccParameterToBytes(point.x, number(0), size) && eccParameterToBytes(point.y, number(1), size);
  cryptRandomGenerate(number(4), eccDrawBytes(curve));
  const done =
    fits &&
    eccEncrypt(
      curveNumber(curve),
      hashNumber(hashAlg),
      number(0),
      number(1),
      number(4),
      input.plainText.buffer,
      input.plainText.size,
      number(2),
      number(3),
      output.C2.buffer,
      output.C3.buffer,
    ) != 0;
  if (done) {
    set2B(output.C1.point.x, number(2), size);
    set2B(output.C1.point.y, number(3), size);
    output.C2.size = input.plainText.size;
    output.C3.size = digestSizeOf(hashAlg);
  }
  memory.fill(NUMBERS, 0, 10 * ECC_BYTES_MAX);
  return done ? 0 : TPM_RC_NO_RESULT;
}

export function ECC_Decrypt(input: ECC_Decrypt_In, output: ECC_Decrypt_Out): u32 {
  const key = loadedObject(input.keyHandle);
  if (key.publicArea.type != TPM_ALG_ECC) return TPM_RC_KEY + H1;
  if (!mayDecrypt(key)) return TPM_RC_ATTRIBUTES + H1;
  if (!selectKdf(key, input.inScheme)) return TPM_RC_SCHEME + TPM_RC_P + TPM_RC_4;
  if (input.inScheme.scheme != TPM_ALG_KDF2) return TPM_RC_SCHEME;
  const curve = key.publicArea.parameters.eccDetail.curveID;
  const size = eccParameterBytes(curve);
  const point = input.C1.point;
  const hashAlg = input.inScheme.details.kdf2.hashAlg;
  // Whatever is wrong is a wrong C3, as in libtpms.
  const fits =
    input.C3.size == digestSizeOf(hashAlg) &&
    eccParameterToBytes(point.x, number(0), size) &&
    eccParameterToBytes(point.y, number(1), size);
  eccParameterToBytes(key.sensitive.sensitive.ecc, number(2), size);
  const done =
    fits &&
    eccDecrypt(
      curveNumber(curve),
      hashNumber(hashAlg),
      number(2),
      number(0),
      number(1),
      input.C2.buffer,
      input.C2.size,
      input.C3.buffer,
      output.plainText.buffer,
    ) == 1;
  memory.fill(NUMBERS, 0, 10 * ECC_BYTES_MAX);
  if (!done) return TPM_RC_VALUE;
  output.plainText.size = input.C2.size;
  return 0;
}
