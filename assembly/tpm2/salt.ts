// The salt of a session (Part 1, 19.6.13): a secret that the caller encrypted to a decryption key of the TPM.
import { TPM2B } from "./cursor";
import {
  TPMA_OBJECT_decrypt,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_ATTRIBUTES,
  TPM_RC_H,
  TPM_RC_HANDLE,
  TPM_RC_KEY,
  TPM_RC_P,
  TPM_RC_VALUE,
} from "./generated/constants";
import { StartAuthSession_In } from "./generated/records";
import { LABEL_SECRET } from "./kdf";
import { OBJECT_PUBLIC_ONLY, loadedObject, objectIsSequence } from "./object";
import { isAsymAlgorithm } from "./schemes";
import { cryptSecretDecrypt } from "./secret";

/** Decrypts encryptedSalt with tpmKey. */
export function decryptSalt(input: StartAuthSession_In, salt: TPM2B): u32 {
  const key = loadedObject(input.tpmKey);
  if (objectIsSequence(key) || !isAsymAlgorithm(key.publicArea.type)) return TPM_RC_KEY + TPM_RC_H + TPM_RC_1;
  if (input.encryptedSalt.size == 0) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
  if (key.attributes & OBJECT_PUBLIC_ONLY) return TPM_RC_HANDLE + TPM_RC_H + TPM_RC_1;
  if ((key.publicArea.objectAttributes & TPMA_OBJECT_decrypt) == 0) return TPM_RC_ATTRIBUTES + TPM_RC_H + TPM_RC_1;
  const rc = cryptSecretDecrypt(key, LABEL_SECRET, input.encryptedSalt, salt);
  return rc == 0 ? 0 : TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
}
