// The salt of a session (Part 1, 19.6.13): a secret that the caller encrypted to a decryption key of the TPM.
import { TPM2B } from "./cursor";
import { TPM_ALG_ECC, TPM_ALG_RSA, TPM_RC_1, TPM_RC_H, TPM_RC_KEY } from "./generated/constants";
import { StartAuthSession_In } from "./generated/records";
import { objectIsSequence, objectOf } from "./object";

/** Decrypts encryptedSalt with tpmKey. */
export function decryptSalt(input: StartAuthSession_In, _salt: TPM2B): u32 {
  const key = objectOf(input.tpmKey);
  const type = key == null || objectIsSequence(key) ? 0 : key.publicArea.type;
  if (type != TPM_ALG_RSA && type != TPM_ALG_ECC) return TPM_RC_KEY + TPM_RC_H + TPM_RC_1;
  return TPM_RC_KEY + TPM_RC_H + TPM_RC_1;
}
