// Block ciphers and their modes of operation (SP 800-38A) as TPM2_EncryptDecrypt2 needs them.
//
// A key is expanded once into CIPHER_SCHEDULE_SIZE bytes and then used any number of times. In every mode `input` and `out`
// may be the same address but must not overlap otherwise, and `iv` (one block) is left as the next call would need it:
// the last ciphertext block (CBC, CFB), the last output block (OFB), the next counter (CTR). CFB, OFB and CTR take any length;
// after a CFB call that ended within a block, `iv` is the partial ciphertext followed by unused key stream, as OpenSSL (and
// so libtpms) leaves it. ECB and CBC need whole blocks, which the caller checks.
import { aesCfbDecrypt, aesCfbEncrypt, aesEncrypt, aesExpandKey } from "./aes";
import { aesBeginDecrypt, aesDecrypt, aesEndDecrypt } from "./aes-decrypt";
import { camelliaDecrypt, camelliaEncrypt, camelliaExpandKey } from "./camellia";
import { increment8, increment16 } from "./counter";
import { wipe } from "./ct";
import { TDES_SCHEDULE_SIZE, tdesDecrypt, tdesEncrypt, tdesExpandKey } from "./tdes";

export const CIPHER_AES: u32 = 0;
export const CIPHER_CAMELLIA: u32 = 1;
export const CIPHER_TDES: u32 = 2;

/** Bytes of the largest key schedule. */
export const CIPHER_SCHEDULE_SIZE: u32 = TDES_SCHEDULE_SIZE;
/** The largest block of any of them, in bytes. */
export const MAX_CIPHER_BLOCK_SIZE: u32 = 16;

const BLOCK_SIZES: usize = memory.data<u8>([16, 16, 8]);
/** A block of key stream, or of ciphertext that in-place decryption overwrites. */
const BLOCK: usize = memory.data(16, 16);

/** Bytes of a block of cipher `c`. */
export function cipherBlockSize(c: u32): u32 {
  return load<u8>(BLOCK_SIZES + c);
}

/**
 * Expands the `keyBits` / 8 bytes at `key` into the CIPHER_SCHEDULE_SIZE bytes at `schedule`. AES and Camellia take 128, 192
 * and 256 bits, TDES 128 (two keys) and 192.
 */
export function cipherExpandKey(c: u32, key: usize, keyBits: u32, schedule: usize): void {
  if (c == CIPHER_AES) aesExpandKey(key, keyBits, schedule);
  else if (c == CIPHER_CAMELLIA) camelliaExpandKey(key, keyBits, schedule);
  else tdesExpandKey(key, keyBits, schedule);
}

/** Encrypts the block at `input` to `out`, which may be the same. */
export function cipherEncryptBlock(c: u32, schedule: usize, input: usize, out: usize): void {
  if (c == CIPHER_AES) aesEncrypt(schedule, input, out);
  else if (c == CIPHER_CAMELLIA) camelliaEncrypt(schedule, input, out);
  else tdesEncrypt(schedule, input, out);
}

/** Between beginDecrypt and endDecrypt, decrypts the block at `input` to `out`, which may be the same. */
function decryptBlock(c: u32, schedule: usize, input: usize, out: usize): void {
  if (c == CIPHER_AES) aesDecrypt(schedule, input, out);
  else if (c == CIPHER_CAMELLIA) camelliaDecrypt(schedule, input, out);
  else tdesDecrypt(schedule, input, out);
}

/** AES decrypts with other round keys than it encrypts; they exist only while it does. */
function beginDecrypt(c: u32, schedule: usize): void {
  if (c == CIPHER_AES) aesBeginDecrypt(schedule);
}

function endDecrypt(c: u32): void {
  if (c == CIPHER_AES) aesEndDecrypt();
}

/** out = a ^ b for a block of 8 or 16 bytes, or any shorter end of the data. */
@inline
function xorBytes(a: usize, b: usize, out: usize, length: u32): void {
  if (length == 16) v128.store(out, v128.xor(v128.load(a), v128.load(b)));
  else if (length == 8) store<u64>(out, load<u64>(a) ^ load<u64>(b));
  else for (let i: u32 = 0; i < length; i++) store<u8>(out + i, load<u8>(a + i) ^ load<u8>(b + i));
}

/** Copies a block of 8 or 16 bytes. */
@inline
function copyBlock(to: usize, from: usize, size: u32): void {
  if (size == 16) v128.store(to, v128.load(from));
  else store<u64>(to, load<u64>(from));
}

/** ECB encryption of `length` bytes, whole blocks. */
export function ecbEncrypt(c: u32, schedule: usize, input: usize, out: usize, length: u32): void {
  const size = cipherBlockSize(c);
  for (let at: u32 = 0; at < length; at += size) cipherEncryptBlock(c, schedule, input + at, out + at);
}

/** ECB decryption of `length` bytes, whole blocks. */
export function ecbDecrypt(c: u32, schedule: usize, input: usize, out: usize, length: u32): void {
  const size = cipherBlockSize(c);
  beginDecrypt(c, schedule);
  for (let at: u32 = 0; at < length; at += size) decryptBlock(c, schedule, input + at, out + at);
  endDecrypt(c);
}

/** CBC encryption of `length` bytes, whole blocks. */
export function cbcEncrypt(c: u32, schedule: usize, iv: usize, input: usize, out: usize, length: u32): void {
  const size = cipherBlockSize(c);
  for (let at: u32 = 0; at < length; at += size) {
    xorBytes(iv, input + at, iv, size);
    cipherEncryptBlock(c, schedule, iv, iv);
    copyBlock(out + at, iv, size);
  }
}

/** CBC decryption of `length` bytes, whole blocks. */
export function cbcDecrypt(c: u32, schedule: usize, iv: usize, input: usize, out: usize, length: u32): void {
  const size = cipherBlockSize(c);
  beginDecrypt(c, schedule);
  for (let at: u32 = 0; at < length; at += size) {
    copyBlock(BLOCK, input + at, size);
    decryptBlock(c, schedule, input + at, out + at);
    xorBytes(out + at, iv, out + at, size);
    copyBlock(iv, BLOCK, size);
  }
  endDecrypt(c);
}

/** CFB encryption of `length` bytes, a whole block of feedback at a time. */
export function cfbEncrypt(c: u32, schedule: usize, iv: usize, input: usize, out: usize, length: u32): void {
  const size = cipherBlockSize(c);
  const rest = length % size;
  const whole = length - rest;
  if (c == CIPHER_AES) aesCfbEncrypt(schedule, iv, input, out, whole);
  else {
    for (let at: u32 = 0; at < whole; at += size) {
      cipherEncryptBlock(c, schedule, iv, iv);
      xorBytes(iv, input + at, iv, size);
      copyBlock(out + at, iv, size);
    }
  }
  if (rest == 0) return;
  cipherEncryptBlock(c, schedule, iv, iv);
  xorBytes(iv, input + whole, iv, rest);
  memory.copy(out + whole, iv, rest);
}

/** CFB decryption of `length` bytes. */
export function cfbDecrypt(c: u32, schedule: usize, iv: usize, input: usize, out: usize, length: u32): void {
  const size = cipherBlockSize(c);
  if (c == CIPHER_AES) {
    const whole = length & ~15;
    aesCfbDecrypt(schedule, iv, input, out, whole);
    input += whole;
    out += whole;
    length -= whole;
  }
  for (; length >= size; length -= size) {
    cipherEncryptBlock(c, schedule, iv, BLOCK);
    copyBlock(iv, input, size);
    xorBytes(BLOCK, iv, out, size);
    input += size;
    out += size;
  }
  if (length != 0) {
    cipherEncryptBlock(c, schedule, iv, iv);
    for (let i: u32 = 0; i < length; i++) {
      const byte = load<u8>(input + i);
      store<u8>(out + i, byte ^ load<u8>(iv + i));
      store<u8>(iv + i, byte);
    }
  }
  wipe(BLOCK, MAX_CIPHER_BLOCK_SIZE);
}

/** OFB; encryption and decryption are the same. */
export function ofb(c: u32, schedule: usize, iv: usize, input: usize, out: usize, length: u32): void {
  const size = cipherBlockSize(c);
  for (let at: u32 = 0; at < length; at += size) {
    cipherEncryptBlock(c, schedule, iv, iv);
    xorBytes(iv, input + at, out + at, min(size, length - at));
  }
}

/** CTR with a big-endian counter of a whole block; encryption and decryption are the same. */
export function ctr(c: u32, schedule: usize, iv: usize, input: usize, out: usize, length: u32): void {
  const size = cipherBlockSize(c);
  for (let at: u32 = 0; at < length; at += size) {
    cipherEncryptBlock(c, schedule, iv, BLOCK);
    if (size == 16) increment16(iv);
    else increment8(iv);
    xorBytes(BLOCK, input + at, out + at, min(size, length - at));
  }
  wipe(BLOCK, MAX_CIPHER_BLOCK_SIZE);
}
