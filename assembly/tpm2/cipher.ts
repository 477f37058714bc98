// Block ciphers by TPM algorithm identifier, and the protection of parameters by sessions (Part 1, 21).
import { kdfXorObfuscate } from "../crypto/kdf";
import {
  CIPHER_AES,
  CIPHER_CAMELLIA,
  CIPHER_SCHEDULE_SIZE,
  CIPHER_TDES,
  cfbDecrypt,
  cfbEncrypt,
  cipherBlockSize,
  cipherExpandKey,
} from "../crypto/modes";
import { TPM2B, concat2B, copy2B } from "./cursor";
import { TPM_ALG_AES, TPM_ALG_CAMELLIA, TPM_ALG_TDES, TPM_ALG_XOR } from "./generated/constants";
import { SESSION } from "./generated/engine-records";
import { hashNumber } from "./hash";
import { LABEL_CFB, cryptKdfa } from "./kdf";
import { selfTestBeforeUse } from "./self-test";

/** The crypto's number of a block cipher; 0xff for what is none. */
export function cipherNumber(alg: u32): u32 {
  switch (alg) {
    case TPM_ALG_AES:
      return CIPHER_AES;
    case TPM_ALG_CAMELLIA:
      return CIPHER_CAMELLIA;
    case TPM_ALG_TDES:
      return CIPHER_TDES;
  }
  return 0xff;
}

/** Block size in bytes; 0 for what is no implemented block cipher. */
export function symmetricBlockSize(alg: u32): u32 {
  const number = cipherNumber(alg);
  return number == 0xff ? 0 : cipherBlockSize(number);
}

const SCHEDULE: usize = memory.data(CIPHER_SCHEDULE_SIZE, 16);

/** CFB in place with a key of `keyBits`; `iv` is one block and is used up. */
export function cryptCfb(alg: u32, keyBits: u32, key: usize, iv: usize, data: usize, length: u32, encrypt: bool): void {
  const number = cipherNumber(alg);
  if (number == 0xff || length == 0) return;
  selfTestBeforeUse(alg);
  cipherExpandKey(number, key, keyBits, SCHEDULE);
  if (encrypt) cfbEncrypt(number, SCHEDULE, iv, data, data, length);
  else cfbDecrypt(number, SCHEDULE, iv, data, data, length);
  memory.fill(SCHEDULE, 0, CIPHER_SCHEDULE_SIZE);
}

const KEY: usize = memory.data(2 + 64 + 64, 8);
const DERIVED: usize = memory.data(48, 16);

/**
 * Encrypts or decrypts the bytes of a first parameter in place (Part 1, 21.2 and 21.3): XOR obfuscation, or CFB with key
 * and IV from KDFa over sessionKey || authValue of the entity the session authorizes.
 */
export function cryptParameter(
  session: SESSION,
  extraKey: TPM2B,
  nonceNewer: TPM2B,
  nonceOlder: TPM2B,
  data: usize,
  length: u32,
  encrypt: bool,
): void {
  const key = changetype<TPM2B>(KEY);
  copy2B(key, session.sessionKey);
  concat2B(key, extraKey);
  const algorithm = session.symmetric.algorithm;
  if (algorithm == TPM_ALG_XOR) {
    kdfXorObfuscate(
      hashNumber(session.authHashAlg),
      key.buffer,
      key.size,
      nonceNewer.buffer,
      nonceNewer.size,
      nonceOlder.buffer,
      nonceOlder.size,
      data,
      length,
    );
  } else {
    const keyBits = session.symmetric.keyBits.aes;
    const keyBytes = (keyBits + 7) / 8;
    const bits = (keyBytes + symmetricBlockSize(algorithm)) * 8;
    cryptKdfa(session.authHashAlg, key, LABEL_CFB, nonceNewer, nonceOlder, bits, DERIVED);
    cryptCfb(algorithm, keyBits, DERIVED, DERIVED + keyBytes, data, length, encrypt);
    memory.fill(DERIVED, 0, 48);
  }
  memory.fill(KEY, 0, 2 + 64 + 64);
}
