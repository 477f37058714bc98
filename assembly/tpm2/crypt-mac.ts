// Message authentication with a symmetric key: HMAC with keyed hash objects, CMAC with symmetric ciphers (Part 1, 11.4.3; libtpms:
// CryptMac). A MAC in progress is a record as those of hash.ts; in the place of the hash number stands CMAC_NUMBER for a CMAC.
import {
  CMAC_BLOCK,
  CMAC_CIPHER,
  CMAC_CONSTANT,
  CMAC_COUNT,
  CMAC_STATE_SIZE,
  cmacFinal,
  cmacInit,
  cmacUpdate,
} from "../crypto/cmac";
import { CIPHER_AES, CIPHER_CAMELLIA, cipherBlockSize } from "../crypto/modes";
import { cipherNumber, symmetricBlockSize } from "./cipher";
import { TPM2B } from "./cursor";
import {
  TPM_ALG_AES,
  TPM_ALG_CAMELLIA,
  TPM_ALG_CMAC,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_NULL,
  TPM_ALG_SHA1,
  TPM_ALG_SYMCIPHER,
  TPM_ALG_TDES,
  TPM_RC_HASH,
  TPM_RC_SCHEME,
  TPM_RC_TYPE,
  TPM_RC_VALUE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { TPMT_PUBLIC } from "./generated/structures";
import { HASH_RECORD_SIZE, cryptHmacEnd2B, cryptHmacStart, cryptHmacUpdate2B, digestSizeOf } from "./hash";
import { objectSymmetric } from "./object";
import { PROFILE_NO_SHA1_HMAC_CREATION, profileRequires } from "./profile";

const CMAC_NUMBER: u32 = 0xfe;
const NO_NUMBER: u32 = 0xff;
/** libtpms doubles the subkeys of TDES as those of ciphers with blocks of 16 bytes. */
const CMAC_SUBKEY_CONSTANT: u32 = 0x87;

/**
 * The algorithm that a key and a command's scheme together select, written to `scheme` (TPMI_ALG_MAC_SCHEME).
 * @returns TPM_RC_TYPE for a key that authenticates nothing, TPM_RC_VALUE, TPM_RC_SCHEME, TPM_RC_HASH
 */
export function cryptSelectMac(area: TPMT_PUBLIC, scheme: usize): u32 {
  let selected = TPM_ALG_NULL;
  if (area.type == TPM_ALG_KEYEDHASH) {
    const own = area.parameters.keyedHashDetail.scheme;
    if (own.scheme != TPM_ALG_NULL) selected = own.details.hmac.hashAlg;
  } else if (area.type == TPM_ALG_SYMCIPHER) {
    const own = objectSymmetric(area);
    if (own.algorithm != TPM_ALG_NULL) selected = own.mode.aes;
  } else return TPM_RC_TYPE;
  const wanted: u32 = load<u16>(scheme);
  if (wanted == TPM_ALG_NULL) {
    if (selected == TPM_ALG_NULL) return TPM_RC_VALUE;
    store<u16>(scheme, <u16>selected);
  } else if (selected != TPM_ALG_NULL && wanted != selected) return TPM_RC_VALUE;
  const alg: u32 = load<u16>(scheme);
  const fits = area.type == TPM_ALG_KEYEDHASH ? digestSizeOf(alg) != 0 : alg == TPM_ALG_CMAC;
  if (!fits) return TPM_RC_SCHEME;
  return selected == TPM_ALG_SHA1 && profileRequires(PROFILE_NO_SHA1_HMAC_CREATION) ? TPM_RC_HASH : 0;
}

/** Behind the state of a CMAC its key is kept, with its size in bits before it: a state blob has that in place of the key schedule. */
const CMAC_KEY_BITS: usize = 8 + CMAC_STATE_SIZE;
const CMAC_KEY: usize = CMAC_KEY_BITS + 4;
/** Of the longest key, in bytes. */
const CMAC_MAX_KEY: u32 = 32;
const CMAC_RECORD_SIZE: u32 = <u32>CMAC_KEY + CMAC_MAX_KEY;

/** Bytes of a record of either kind. */
export const MAC_RECORD_SIZE: u32 = CMAC_RECORD_SIZE > 8 + HASH_RECORD_SIZE ? CMAC_RECORD_SIZE : 8 + HASH_RECORD_SIZE;

/** Starts a MAC with a scheme that cryptSelectMac selected. @returns its size; 0 when the key does not fit */
export function cryptMacStart(record: usize, key: OBJECT, alg: u32): u32 {
  const bits = key.sensitive.sensitive.bits;
  if (alg != TPM_ALG_CMAC) return cryptHmacStart(record, alg, bits.buffer, bits.size);
  const symmetric = objectSymmetric(key.publicArea);
  const cipher = cipherNumber(symmetric.algorithm);
  if (cipher == 0xff || bits.size * 8 != symmetric.keyBits.aes) return 0;
  store<u32>(record + CMAC_KEY_BITS, symmetric.keyBits.aes);
  memory.copy(record + CMAC_KEY, bits.buffer, bits.size);
  startCmac(record, cipher);
  return symmetricBlockSize(symmetric.algorithm);
}

/** Starts a CMAC with the key that is in the record. */
function startCmac(record: usize, cipher: u32): void {
  store<u32>(record, CMAC_NUMBER);
  cmacInit(cipher, record + 8, record + CMAC_KEY, load<u32>(record + CMAC_KEY_BITS));
  store<u32>(record + 8, CMAC_SUBKEY_CONSTANT, CMAC_CONSTANT);
}

/** Whether a record is a CMAC in progress. */
export function isCmac(record: usize): bool {
  return load<u32>(record) == CMAC_NUMBER;
}

/** Whether a MAC came here without its state: libtpms' state blobs have no CMACs. */
export function macIsLost(record: usize): bool {
  return load<u32>(record) == NO_NUMBER;
}

// What a state blob has of a CMAC: the cipher's TPM_ALG_ID, the key, the chaining value and how much of a block is in it.

export function cmacAlgorithm(record: usize): u32 {
  const cipher = load<u32>(record + 8, CMAC_CIPHER);
  if (cipher == CIPHER_AES) return TPM_ALG_AES;
  return cipher == CIPHER_CAMELLIA ? TPM_ALG_CAMELLIA : TPM_ALG_TDES;
}
export function cmacKeyBits(record: usize): u32 {
  return load<u32>(record + CMAC_KEY_BITS);
}
export function cmacKeyAddress(record: usize): usize {
  return record + CMAC_KEY;
}
export function cmacBlockAddress(record: usize): usize {
  return record + 8 + CMAC_BLOCK;
}
export function cmacCount(record: usize): u32 {
  return load<u32>(record + 8, CMAC_COUNT);
}

function isKeySize(alg: u32, keyBits: u32): bool {
  return keyBits == 128 || keyBits == 192 || (keyBits == 256 && alg != TPM_ALG_TDES);
}

/**
 * Goes on with a CMAC whose key and chaining value are at `key` and `block`.
 * @returns false when these make no CMAC
 */
export function cmacResume(record: usize, alg: u32, keyBits: u32, key: usize, block: usize, count: u32): bool {
  const cipher = cipherNumber(alg);
  if (cipher == 0xff || !isKeySize(alg, keyBits) || count > cipherBlockSize(cipher)) return false;
  store<u32>(record + CMAC_KEY_BITS, keyBits);
  memory.copy(record + CMAC_KEY, key, keyBits >> 3);
  startCmac(record, cipher);
  memory.copy(cmacBlockAddress(record), block, cipherBlockSize(cipher));
  store<u32>(record + 8, count, CMAC_COUNT);
  return true;
}

export function cryptMacUpdate2B(record: usize, data: TPM2B): void {
  if (isCmac(record)) cmacUpdate(record + 8, data.buffer, data.size);
  else cryptHmacUpdate2B(record, data);
}

/** Ends a MAC. */
export function cryptMacEnd2B(record: usize, out: TPM2B): void {
  if (isCmac(record)) {
    out.size = cipherBlockSize(load<u32>(record + 8, CMAC_CIPHER));
    cmacFinal(record + 8, out.buffer);
    memory.fill(record + CMAC_KEY, 0, CMAC_MAX_KEY);
  } else cryptHmacEnd2B(record, out);
}
