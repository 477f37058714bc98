// Part 3, 20: signing and signature verification.
import { cryptSign, cryptValidateSignature } from "../crypt-sign";
import { ctEqual } from "../../crypto/ct";
import { entityHierarchy } from "../entity";
import {
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_sign,
  TPMA_OBJECT_x509sign,
  TPM_ALG_NULL,
  TPM_ALG_SYMCIPHER,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_ATTRIBUTES,
  TPM_RC_H,
  TPM_RC_KEY,
  TPM_RC_P,
  TPM_RC_SCHEME,
  TPM_RC_SIZE,
  TPM_RC_TICKET,
  TPM_RH_NULL,
  TPM_ST_VERIFIED,
} from "../generated/constants";
import { Sign_In, Sign_Out, VerifySignature_In, VerifySignature_Out } from "../generated/records";
import { SIZEOF_TPMT_TK_HASHCHECK_RECORD, TPMT_TK_HASHCHECK } from "../generated/structures";
import { digestSizeOf } from "../hash";
import { loadedObject } from "../object";
import { addIndex } from "../response-code";
import { cryptSelectSignScheme } from "../schemes";
import { ticketComputeHashCheck, ticketComputeVerified } from "../tickets";

const TICKET: usize = memory.data(SIZEOF_TPMT_TK_HASHCHECK_RECORD, 8);

export function VerifySignature(input: VerifySignature_In, output: VerifySignature_Out): u32 {
  const key = loadedObject(input.keyHandle);
  if ((key.publicArea.objectAttributes & TPMA_OBJECT_sign) == 0) return TPM_RC_ATTRIBUTES + TPM_RC_H + TPM_RC_1;
  const rc = cryptValidateSignature(key, input.digest, input.signature);
  if (rc) return addIndex(rc, TPM_RC_P + TPM_RC_2);
  const hierarchy = entityHierarchy(input.keyHandle);
  output.validation.tag = TPM_ST_VERIFIED;
  output.validation.hierarchy = TPM_RH_NULL;
  output.validation.digest.size = 0;
  if (hierarchy != TPM_RH_NULL && key.publicArea.nameAlg != TPM_ALG_NULL) {
    ticketComputeVerified(hierarchy, input.digest, key.name, output.validation);
  }
  return 0;
}

export function Sign(input: Sign_In, output: Sign_Out): u32 {
  const key = loadedObject(input.keyHandle);
  const attributes = key.publicArea.objectAttributes;
  if ((attributes & TPMA_OBJECT_sign) == 0 || key.publicArea.type == TPM_ALG_SYMCIPHER)
    return TPM_RC_KEY + TPM_RC_H + TPM_RC_1;
  if (attributes & TPMA_OBJECT_x509sign) return TPM_RC_ATTRIBUTES + TPM_RC_H + TPM_RC_1;
  const scheme = input.inScheme;
  if (!cryptSelectSignScheme(key, scheme)) return TPM_RC_SCHEME + TPM_RC_P + TPM_RC_2;
  const hashAlg = scheme.details.rsassa.hashAlg;
  const given = input.validation.digest;
  if (given.size != 0 || attributes & TPMA_OBJECT_restricted) {
    // A restricted key signs only what the TPM hashed and found not to look like its own statements.
    const ticket = changetype<TPMT_TK_HASHCHECK>(TICKET);
    ticketComputeHashCheck(input.validation.hierarchy, hashAlg, input.digest, ticket);
    if (given.size != ticket.digest.size || ctEqual(given.buffer, ticket.digest.buffer, given.size) == 0)
      return TPM_RC_TICKET + TPM_RC_P + TPM_RC_3;
  } else if (input.digest.size != digestSizeOf(hashAlg)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  return cryptSign(key, scheme, input.digest, output.signature);
}
