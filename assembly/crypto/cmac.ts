// CMAC (SP 800-38B) over any cipher of modes.ts.
//
// A CMAC in progress is a record of CMAC_STATE_SIZE bytes:
//   CMAC_BLOCK     16 bytes, the chaining value with the bytes of the current block already added
//   CMAC_COUNT     u32, how many of these bytes there are; a full block waits until more data or the end comes
//   CMAC_CIPHER    u32, cipher of modes.ts
//   CMAC_CONSTANT  u32, R of the subkeys: 0x87 for blocks of 16 bytes, 0x1B for 8
//   CMAC_SCHEDULE  the expanded key
// libtpms uses 0x87 for TDES as well; a caller that wants its result overwrites CMAC_CONSTANT after cmacInit.
import { wipe } from "./ct";
import { CIPHER_SCHEDULE_SIZE, cipherBlockSize, cipherEncryptBlock, cipherExpandKey } from "./modes";

export const CMAC_BLOCK: usize = 0;
export const CMAC_COUNT: usize = 16;
export const CMAC_CIPHER: usize = 20;
export const CMAC_CONSTANT: usize = 24;
export const CMAC_SCHEDULE: usize = 32;
export const CMAC_STATE_SIZE: u32 = 32 + CIPHER_SCHEDULE_SIZE;

const SUBKEY: usize = memory.data(16, 16);

/** Starts a CMAC with cipher `c` and a key of `keyBits` bits. */
export function cmacInit(c: u32, state: usize, key: usize, keyBits: u32): void {
  wipe(state, <u32>CMAC_SCHEDULE);
  store<u32>(state, c, CMAC_CIPHER);
  store<u32>(state, cipherBlockSize(c) == 16 ? 0x87 : 0x1b, CMAC_CONSTANT);
  cipherExpandKey(c, key, keyBits, state + CMAC_SCHEDULE);
}

/** Adds `length` bytes at `data`. */
export function cmacUpdate(state: usize, data: usize, length: u32): void {
  const c = load<u32>(state, CMAC_CIPHER);
  const blockSize = cipherBlockSize(c);
  let count = load<u32>(state, CMAC_COUNT);
  for (let i: u32 = 0; i < length; i++) {
    if (count == blockSize) {
      cipherEncryptBlock(c, state + CMAC_SCHEDULE, state, state);
      count = 0;
    }
    store<u8>(state + count, load<u8>(state + count) ^ load<u8>(data + i));
    count++;
  }
  store<u32>(state, count, CMAC_COUNT);
}

/** Writes the CMAC (cipherBlockSize bytes) to `out` and wipes the state. */
export function cmacFinal(state: usize, out: usize): void {
  const c = load<u32>(state, CMAC_CIPHER);
  const blockSize = cipherBlockSize(c);
  const constant = load<u32>(state, CMAC_CONSTANT);
  const count = load<u32>(state, CMAC_COUNT);
  v128.store(SUBKEY, i64x2.splat(0));
  cipherEncryptBlock(c, state + CMAC_SCHEDULE, SUBKEY, SUBKEY);
  doubleSubkey(blockSize, constant);
  if (count < blockSize) {
    store<u8>(state + count, load<u8>(state + count) ^ 0x80);
    doubleSubkey(blockSize, constant);
  }
  v128.store(state, v128.xor(v128.load(state), v128.load(SUBKEY)));
  cipherEncryptBlock(c, state + CMAC_SCHEDULE, state, state);
  memory.copy(out, state, blockSize);
  v128.store(SUBKEY, i64x2.splat(0));
  wipe(state, CMAC_STATE_SIZE);
}

/** The CMAC of `length` bytes at `data`, in the scratch record `state`, to `out`. */
export function cmacOnce(c: u32, state: usize, key: usize, keyBits: u32, data: usize, length: u32, out: usize): void {
  cmacInit(c, state, key, keyBits);
  cmacUpdate(state, data, length);
  cmacFinal(state, out);
}

/** Multiplies SUBKEY by x in GF(2^128) or GF(2^64); the bytes beyond a short block stay zero. */
function doubleSubkey(blockSize: u32, constant: u32): void {
  let carry = (load<u8>(SUBKEY) >> 7) * constant;
  for (let i: i32 = blockSize - 1; i >= 0; i--) {
    const byte: u32 = load<u8>(SUBKEY + i);
    store<u8>(SUBKEY + i, (byte << 1) ^ carry);
    carry = byte >> 7;
  }
}
