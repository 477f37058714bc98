// Encryption of data with a symmetric key in any mode (Part 1, 11.4.2).
import {
  CIPHER_SCHEDULE_SIZE,
  cbcDecrypt,
  cbcEncrypt,
  cfbDecrypt,
  cfbEncrypt,
  cipherExpandKey,
  ctr,
  ecbDecrypt,
  ecbEncrypt,
  ofb,
} from "../crypto/modes";
import { cipherNumber } from "./cipher";
import { TPM_ALG_CBC, TPM_ALG_CFB, TPM_ALG_CTR, TPM_ALG_ECB, TPM_ALG_OFB } from "./generated/constants";
import { selfTestBeforeUse } from "./self-test";

const SCHEDULE: usize = memory.data(CIPHER_SCHEDULE_SIZE, 16);

/**
 * Encrypts or decrypts `length` bytes from `input` to `out`; `iv`, one block, becomes what the next call would need. ECB and CBC take
 * whole blocks, which the caller checks.
 */
export function cryptSymmetric(
  alg: u32,
  keyBits: u32,
  key: usize,
  iv: usize,
  mode: u32,
  encrypt: bool,
  input: usize,
  out: usize,
  length: u32,
): void {
  const number = cipherNumber(alg);
  if (length == 0 || number == 0xff) return;
  selfTestBeforeUse(alg);
  cipherExpandKey(number, key, keyBits, SCHEDULE);
  switch (mode) {
    case TPM_ALG_CTR:
      ctr(number, SCHEDULE, iv, input, out, length);
      break;
    case TPM_ALG_OFB:
      ofb(number, SCHEDULE, iv, input, out, length);
      break;
    case TPM_ALG_CBC:
      if (encrypt) cbcEncrypt(number, SCHEDULE, iv, input, out, length);
      else cbcDecrypt(number, SCHEDULE, iv, input, out, length);
      break;
    case TPM_ALG_CFB:
      if (encrypt) cfbEncrypt(number, SCHEDULE, iv, input, out, length);
      else cfbDecrypt(number, SCHEDULE, iv, input, out, length);
      break;
    case TPM_ALG_ECB:
      if (encrypt) ecbEncrypt(number, SCHEDULE, input, out, length);
      else ecbDecrypt(number, SCHEDULE, input, out, length);
      break;
  }
  memory.fill(SCHEDULE, 0, CIPHER_SCHEDULE_SIZE);
}
