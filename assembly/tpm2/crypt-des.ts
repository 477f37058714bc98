// Keys of TDES: odd parity, none of the weak, semi-weak and possibly weak keys of DES, no two neighbours alike (SP 800-67, 3.3).
import { TPM2B, loadBE64, storeBE64 } from "./cursor";

// The 64 keys to avoid have a structure: each half takes its bytes from four values, picked by the same four indices in both,
// and the four indices XOR to zero.
const FIRST_HALF: u32 = 0xfee01f01;
const SECOND_HALF: u32 = 0xfef10e01;
const WEAK_KEYS: u32 = 64;

const PARITY_BITS: u64 = 0x0101010101010101;

/** Sets the last bit of every byte so that the byte has an odd number of ones. */
export function setOddByteParity(key: u64): u64 {
  let parity = key & ~PARITY_BITS;
  parity ^= parity >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (key & ~PARITY_BITS) | (~parity & PARITY_BITS);
}

/** CryptDesValidateKey: two or three keys of 8 bytes. Its time tells nothing but whether the key is valid. */
export function desKeyIsValid(key: TPM2B): bool {
  const keys = key.size / 8;
  if ((keys != 2 && keys != 3) || key.size % 8 != 0) return false;
  let bad: u64 = 0;
  let previous: u64 = 0;
  for (let i: u32 = 0; i < keys; i++) {
    const k = setOddByteParity(loadBE64(key.buffer + 8 * i));
    // No key with odd parity is zero.
    bad |= isWeak(k) | equalMask(k, previous);
    previous = k;
  }
  return bad == 0;
}

/** Gives all bytes of a key odd parity. */
export function desSetParity(key: TPM2B): void {
  for (let i: u32 = 0; i + 8 <= key.size; i += 8) {
    storeBE64(key.buffer + i, setOddByteParity(loadBE64(key.buffer + i)));
  }
}

function isWeak(key: u64): u64 {
  let weak: u64 = 0;
  for (let i: u32 = 0; i < WEAK_KEYS; i++) {
    const a = i & 3;
    const b = (i >> 2) & 3;
    const c = i >> 4;
    weak |= equalMask(key, (half(FIRST_HALF, a, b, c) << 32) | half(SECOND_HALF, a, b, c));
  }
  return weak;
}

function half(values: u32, a: u32, b: u32, c: u32): u64 {
  const d = a ^ b ^ c;
  return (valueAt(values, a) << 24) | (valueAt(values, b) << 16) | (valueAt(values, c) << 8) | valueAt(values, d);
}

@inline
function valueAt(values: u32, index: u32): u64 {
  return (values >> (8 * index)) & 0xff;
}

/** 1 if equal, else 0. */
@inline
function equalMask(a: u64, b: u64): u64 {
  const difference = a ^ b;
  return ((difference | (0 - difference)) >> 63) ^ 1;
}
