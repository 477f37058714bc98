// Secrets shared through an asymmetric key (Part 1, B.10 and C.6): salts, the seeds of duplication blobs and of credentials.
import { kdfe } from "../crypto/kdf";
import { TPM2B, outputAt, set2B, setInput, setOutput } from "./cursor";
import { eccIsPointOnCurve, eccNewKeyPair, eccPointMultiply } from "./crypt-ecc";
import { cryptRsaDecrypt, cryptRsaEncrypt } from "./crypt-rsa";
import {
  MAX_ECC_KEY_BYTES,
  MAX_RSA_KEY_BYTES,
  SIZEOF_TPMT_HA,
  TPMA_OBJECT_decrypt,
  TPM_ALG_ECC,
  TPM_ALG_NULL,
  TPM_ALG_OAEP,
  TPM_ALG_RSA,
  TPM_RC_ATTRIBUTES,
  TPM_RC_FAILURE,
  TPM_RC_KEY,
  TPM_RC_SCHEME,
  TPM_RC_VALUE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import {
  SIZEOF_TPMS_ECC_POINT_RECORD,
  SIZEOF_TPMT_RSA_DECRYPT_RECORD,
  TPMS_ECC_POINT,
  TPMT_RSA_DECRYPT,
  marshal_TPMS_ECC_POINT,
  unmarshal_TPMS_ECC_POINT,
} from "./generated/structures";
import { digestSizeOf, hashNumber } from "./hash";
import { cryptRandom2B } from "./random";

const SCHEME: usize = memory.data(SIZEOF_TPMT_RSA_DECRYPT_RECORD, 4);
const LABEL_2B: usize = memory.data(2 + 32, 4);
const DECRYPTED: usize = memory.data(2 + MAX_RSA_KEY_BYTES, 8);
const PUBLIC: usize = memory.data(SIZEOF_TPMS_ECC_POINT_RECORD, 8);
const SHARED: usize = memory.data(SIZEOF_TPMS_ECC_POINT_RECORD, 8);
const PRIVATE: usize = memory.data(2 + MAX_ECC_KEY_BYTES, 8);

/** A label of kdf.ts as TPM2B. */
function label2B(label: usize): TPM2B {
  const text = changetype<TPM2B>(LABEL_2B);
  set2B(text, label + 1, load<u8>(label));
  return text;
}

/** KDFe over the shared point's x with both public x coordinates, as long as the digest of the key's nameAlg. */
function seedFromPoint(key: OBJECT, label: usize, data: TPM2B): void {
  const nameAlg = key.publicArea.nameAlg;
  const shared = changetype<TPMS_ECC_POINT>(SHARED).x;
  const partyU = changetype<TPMS_ECC_POINT>(PUBLIC).x;
  const partyV = key.publicArea.unique.ecc.x;
  data.size = digestSizeOf(nameAlg);
  kdfe(
    hashNumber(nameAlg),
    shared.buffer,
    shared.size,
    label + 1,
    load<u8>(label),
    partyU.buffer,
    partyU.size,
    partyV.buffer,
    partyV.size,
    data.size * 8,
    data.buffer,
  );
  memory.fill(SHARED, 0, SIZEOF_TPMS_ECC_POINT_RECORD);
}

/**
 * Makes a secret for the owner of `key`: the secret to `data` (room for SIZEOF_TPMT_HA bytes), what its owner needs to
 * recover it to `secret` (TPM2B_ENCRYPTED_SECRET).
 * @returns 0, TPM_RC_ATTRIBUTES for a key that does not decrypt, TPM_RC_KEY, and what encryption refuses
 */
export function cryptSecretEncrypt(key: OBJECT, label: usize, data: TPM2B, secret: TPM2B): u32 {
  const area = key.publicArea;
  if ((area.objectAttributes & TPMA_OBJECT_decrypt) == 0) return TPM_RC_ATTRIBUTES;
  if (area.type == TPM_ALG_RSA) {
    const scheme = changetype<TPMT_RSA_DECRYPT>(SCHEME);
    scheme.scheme = TPM_ALG_OAEP;
    scheme.details.oaep.hashAlg = area.nameAlg;
    data.size = digestSizeOf(area.nameAlg);
    cryptRandom2B(data);
    return cryptRsaEncrypt(secret, data, key, scheme, label2B(label));
  }
  if (area.type != TPM_ALG_ECC) return TPM_RC_FAILURE;
  const curve = area.parameters.eccDetail.curveID;
  if (!eccIsPointOnCurve(curve, area.unique.ecc)) return TPM_RC_KEY;
  const ephemeral = changetype<TPMS_ECC_POINT>(PUBLIC);
  const d = changetype<TPM2B>(PRIVATE);
  eccNewKeyPair(ephemeral, d, curve);
  const rc = eccPointMultiply(changetype<TPMS_ECC_POINT>(SHARED), curve, area.unique.ecc, d);
  memory.fill(PRIVATE, 0, 2 + MAX_ECC_KEY_BYTES);
  if (rc) return TPM_RC_KEY;
  const was = outputAt();
  setOutput(secret.buffer);
  marshal_TPMS_ECC_POINT(PUBLIC);
  secret.size = <u32>(outputAt() - secret.buffer);
  setOutput(was);
  seedFromPoint(key, label, data);
  return 0;
}

/**
 * Recovers a secret with the private part of `key` to `data` (room for SIZEOF_TPMT_HA bytes).
 * @returns 0, TPM_RC_SCHEME, TPM_RC_SIZE, TPM_RC_VALUE, TPM_RC_ECC_POINT, TPM_RC_NO_RESULT, unmarshalling errors
 */
export function cryptSecretDecrypt(key: OBJECT, label: usize, secret: TPM2B, data: TPM2B): u32 {
  if (key.publicArea.type == TPM_ALG_RSA) return decryptRsa(key, label, secret, data);
  if (key.publicArea.type != TPM_ALG_ECC) return TPM_RC_FAILURE;
  setInput(secret.buffer, secret.size);
  let rc = unmarshal_TPMS_ECC_POINT(PUBLIC);
  if (rc) return rc;
  const curve = key.publicArea.parameters.eccDetail.curveID;
  const ephemeral = changetype<TPMS_ECC_POINT>(PUBLIC);
  rc = eccPointMultiply(changetype<TPMS_ECC_POINT>(SHARED), curve, ephemeral, key.sensitive.sensitive.ecc);
  if (rc) return rc;
  seedFromPoint(key, label, data);
  return 0;
}

function decryptRsa(key: OBJECT, label: usize, secret: TPM2B, data: TPM2B): u32 {
  const keyScheme = key.publicArea.parameters.rsaDetail.scheme;
  const scheme = changetype<TPMT_RSA_DECRYPT>(SCHEME);
  const isNull = keyScheme.scheme == TPM_ALG_NULL;
  scheme.scheme = isNull ? TPM_ALG_OAEP : keyScheme.scheme;
  scheme.details.oaep.hashAlg = isNull ? key.publicArea.nameAlg : keyScheme.details.oaep.hashAlg;
  const digestSize = digestSizeOf(scheme.details.oaep.hashAlg);
  if (scheme.scheme != TPM_ALG_OAEP || digestSize == 0) return TPM_RC_SCHEME;
  const out = changetype<TPM2B>(DECRYPTED);
  let rc = cryptRsaDecrypt(out, MAX_RSA_KEY_BYTES, secret, key, scheme, label2B(label));
  if (rc == 0 && out.size > SIZEOF_TPMT_HA) rc = TPM_RC_FAILURE;
  else if (rc == 0 && out.size > digestSize) rc = TPM_RC_VALUE;
  if (rc == 0) set2B(data, out.buffer, out.size);
  memory.fill(DECRYPTED, 0, 2 + MAX_RSA_KEY_BYTES);
  return rc;
}
