// The pairwise consistency test of a new key pair, for profiles that want it (attribute "pct"; FIPS 140-3, IG 10.3.A): what one half
// does, the other undoes and verifies.
import { cryptEccSign, cryptEccValidateSignature } from "./crypt-ecc-sign";
import { cryptRsaDecrypt, cryptRsaEncrypt, cryptRsaSign, cryptRsaValidateSignature } from "./crypt-rsa";
import { TPM2B } from "./cursor";
import {
  MAX_DIGEST_SIZE,
  MAX_RSA_KEY_BYTES,
  TPM_ALG_ECDSA,
  TPM_ALG_OAEP,
  TPM_ALG_RSAPSS,
  TPM_ALG_SHA256,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import {
  SIZEOF_TPMT_RSA_DECRYPT_RECORD,
  SIZEOF_TPMT_SIGNATURE_RECORD,
  SIZEOF_TPMT_SIG_SCHEME_RECORD,
  TPMT_RSA_DECRYPT,
  TPMT_SIGNATURE,
  TPMT_SIG_SCHEME,
} from "./generated/structures";
import { EMPTY_2B } from "./kdf";
import { cryptRandom2B } from "./random";

const MESSAGE_SIZE: u32 = 20;
const DIGEST_SIZE: u32 = 32;

const MESSAGE: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);
const CIPHER: usize = memory.data(2 + MAX_RSA_KEY_BYTES, 8);
const PLAIN: usize = memory.data(2 + MAX_RSA_KEY_BYTES, 8);
const SCHEME: usize = memory.data(SIZEOF_TPMT_RSA_DECRYPT_RECORD, 4);
const SIG_SCHEME: usize = memory.data(SIZEOF_TPMT_SIG_SCHEME_RECORD, 4);
const SIGNATURE: usize = memory.data(SIZEOF_TPMT_SIGNATURE_RECORD, 8);

/** A random message of `size` bytes. */
function newMessage(size: u32): TPM2B {
  const message = changetype<TPM2B>(MESSAGE);
  message.size = size;
  cryptRandom2B(message);
  return message;
}

/** OAEP and PSS, whatever the key is for. */
export function rsaIsConsistent(key: OBJECT): bool {
  const scheme = changetype<TPMT_RSA_DECRYPT>(SCHEME);
  scheme.scheme = TPM_ALG_OAEP;
  scheme.details.oaep.hashAlg = TPM_ALG_SHA256;
  const message = newMessage(MESSAGE_SIZE);
  const cipher = changetype<TPM2B>(CIPHER);
  const plain = changetype<TPM2B>(PLAIN);
  if (cryptRsaEncrypt(cipher, message, key, scheme, EMPTY_2B) != 0) return false;
  if (cryptRsaDecrypt(plain, MAX_RSA_KEY_BYTES, cipher, key, scheme, EMPTY_2B) != 0) return false;
  if (plain.size != MESSAGE_SIZE || memory.compare(plain.buffer, message.buffer, MESSAGE_SIZE) != 0) return false;
  const signature = changetype<TPMT_SIGNATURE>(SIGNATURE);
  signature.sigAlg = TPM_ALG_RSAPSS;
  signature.signature.rsapss.hash = TPM_ALG_SHA256;
  const digest = newMessage(DIGEST_SIZE);
  return cryptRsaSign(signature, key, digest) == 0 && cryptRsaValidateSignature(signature, key, digest) == 0;
}

/** ECDSA, for keys that sign. */
export function eccIsConsistent(key: OBJECT): bool {
  const signature = changetype<TPMT_SIGNATURE>(SIGNATURE);
  signature.sigAlg = TPM_ALG_ECDSA;
  signature.signature.ecdsa.hash = TPM_ALG_SHA256;
  const digest = newMessage(DIGEST_SIZE);
  return (
    cryptEccSign(signature, key, digest, changetype<TPMT_SIG_SCHEME>(SIG_SCHEME)) == 0 &&
    cryptEccValidateSignature(signature, key, digest) == 0
  );
}
