// What must not stand in a log: authorization values, sensitive areas, what keys encrypt and decrypt, random numbers (callers
// make keys of them), the content of NV indices (it may be a disk's key).
import { parseTypeReference } from "../spec/registry.ts";

const secretTypes: ReadonlySet<string> = new Set([
  "TPM2B_AUTH",
  "TPM2B_SENSITIVE_DATA",
  "TPM2B_SENSITIVE",
  "TPMT_SENSITIVE",
  "TPM2B_SYM_KEY",
  "TPM2B_PRIVATE_KEY_RSA",
  // Encrypted as a rule, but what TPM2_Duplicate gives out for TPM_RH_NULL is not.
  "TPM2B_PRIVATE",
  "TPM2B_MAX_BUFFER",
  "TPM2B_MAX_NV_BUFFER",
]);

/** Parameters that are secret though their type does not say so, by command. */
const secretParameters: Readonly<Record<string, readonly string[]>> = {
  ActivateCredential: ["certInfo"],
  MakeCredential: ["credential"],
  Duplicate: ["encryptionKeyIn", "encryptionKeyOut"],
  Import: ["encryptionKey"],
  RSA_Encrypt: ["message"],
  RSA_Decrypt: ["message"],
  ECDH_KeyGen: ["zPoint"],
  ECDH_ZGen: ["outPoint"],
  ZGen_2Phase: ["outZ1", "outZ2"],
  GetRandom: ["randomBytes"],
  PCR_SetAuthValue: ["auth"],
};

/** Whether values of this type are secret wherever they stand. */
export function isSecretType(type: string): boolean {
  return secretTypes.has(parseTypeReference(type).name);
}

/** Whether this parameter of the command, or of its response, is secret. */
export function isSecretParameter(command: string, parameter: string): boolean {
  return secretParameters[command]?.includes(parameter) ?? false;
}
