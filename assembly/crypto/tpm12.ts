// What TPM 1.2 builds from SHA-1, HMAC and AES (TPM Main Part 1, 13 and 18; Part 3). Secrets, digests and nonces are 20 bytes.
import { AES_BLOCK_SIZE, AES_SCHEDULE_SIZE, aesEncrypt, aesExpandKey } from "./aes";
import { wipe } from "./ct";
import { HASH_SHA1, hashFinal, hashInit, hashUpdate } from "./hash";
import { hmacFinal, hmacInit, hmacUpdate } from "./hmac";

const DIGEST_SIZE: u32 = 20;

const STATE: usize = memory.data(480, 16);
const SCHEDULE: usize = memory.data(256, 16);
/** A counter and the key stream made of it; for XOR, the pad. */
const COUNTER: usize = memory.data(16, 16);
const STREAM: usize = memory.data(32, 16);

/** The shared secret of an OSAP session: HMAC(secret, nonceEvenOSAP || nonceOddOSAP), also the KDF of ACVP's kdf-components. */
export function tpm12SharedSecret(secret: usize, nonceEven: usize, nonceOdd: usize, out: usize): void {
  hmacInit(HASH_SHA1, STATE, secret, DIGEST_SIZE);
  hmacUpdate(HASH_SHA1, STATE, nonceEven, DIGEST_SIZE);
  hmacUpdate(HASH_SHA1, STATE, nonceOdd, DIGEST_SIZE);
  hmacFinal(HASH_SHA1, STATE, out);
}

/** The authorization of a command or response: HMAC(key, parameterDigest || nonceEven || nonceOdd || continueAuthSession). */
export function tpm12Authorization(
  key: usize,
  parameterDigest: usize,
  nonceEven: usize,
  nonceOdd: usize,
  continueAuthSession: u8,
  out: usize,
): void {
  hmacInit(HASH_SHA1, STATE, key, DIGEST_SIZE);
  hmacUpdate(HASH_SHA1, STATE, parameterDigest, DIGEST_SIZE);
  hmacUpdate(HASH_SHA1, STATE, nonceEven, DIGEST_SIZE);
  hmacUpdate(HASH_SHA1, STATE, nonceOdd, DIGEST_SIZE);
  store<u8>(STREAM, continueAuthSession);
  hmacUpdate(HASH_SHA1, STATE, STREAM, 1);
  hmacFinal(HASH_SHA1, STATE, out);
}

/** The authorization data insertion protocol with XOR: secret ^= SHA-1(sharedSecret || nonce), in place; undoes itself. */
export function tpm12XorSecret(sharedSecret: usize, nonce: usize, secret: usize): void {
  hashInit(HASH_SHA1, STATE);
  hashUpdate(HASH_SHA1, STATE, sharedSecret, DIGEST_SIZE);
  hashUpdate(HASH_SHA1, STATE, nonce, DIGEST_SIZE);
  hashFinal(HASH_SHA1, STATE, STREAM);
  xorStream(secret, DIGEST_SIZE);
}

/**
 * AES-128 in counter mode as TPM 1.2 uses it, in place: the counter starts as the 16 bytes at `counter`, of which only the last
 * four count (big-endian, without a carry beyond them). The protocol for authorization data takes the first 16 bytes of the
 * shared secret and of the nonce.
 */
export function tpm12CounterMode(key: usize, counter: usize, data: usize, length: u32): void {
  aesExpandKey(key, 128, SCHEDULE);
  memory.copy(COUNTER, counter, AES_BLOCK_SIZE);
  while (length > 0) {
    aesEncrypt(SCHEDULE, COUNTER, STREAM);
    store<u32>(COUNTER, bswap<u32>(bswap<u32>(load<u32>(COUNTER, 12)) + 1), 12);
    const taken = min(length, AES_BLOCK_SIZE);
    xorStream(data, taken);
    data += taken;
    length -= taken;
  }
  wipe(SCHEDULE, AES_SCHEDULE_SIZE);
}

/** XORs what is in STREAM over `data` and wipes it. */
function xorStream(data: usize, length: u32): void {
  for (let i: u32 = 0; i < length; i++) store<u8>(data + i, load<u8>(data + i) ^ load<u8>(STREAM + i));
  wipe(STREAM, 32);
}
