// Credentials (Part 1, 24): a secret that only the TPM with both the key and the named object gives away.
import { TPM2B, inputLeft, storeBE16, unmarshalTPM2B } from "./cursor";
import { MAX_DIGEST_SIZE, TPM_RC_SIZE } from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { integritySizeOf, produceOuterWrap, unwrapOuter } from "./object-wrap";

/** TPM2B_ID_OBJECT for the object `name`, protected by `seed` for `protector`. */
export function secretToCredential(secret: TPM2B, name: TPM2B, seed: TPM2B, protector: OBJECT, out: TPM2B): void {
  const hashAlg = protector.publicArea.nameAlg;
  const at = out.buffer + integritySizeOf(hashAlg);
  storeBE16(at, secret.size);
  memory.copy(at + 2, secret.buffer, secret.size);
  out.size = produceOuterWrap(protector, name, hashAlg, seed, false, 2 + secret.size, out.buffer);
}

/** Opens a credential in place. @returns TPM_RC_INTEGRITY, TPM_RC_SIZE, unmarshalling errors */
export function credentialToSecret(blob: TPM2B, name: TPM2B, seed: TPM2B, protector: OBJECT, secret: TPM2B): u32 {
  let rc = unwrapOuter(protector, name, protector.publicArea.nameAlg, seed, false, blob.size, blob.buffer);
  if (rc) return rc;
  rc = unmarshalTPM2B(changetype<usize>(secret), MAX_DIGEST_SIZE);
  return rc == 0 && inputLeft() != 0 ? TPM_RC_SIZE : rc;
}
