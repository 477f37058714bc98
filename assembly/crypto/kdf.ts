// The key derivation functions of the TPM library specification.
//
// All take byte strings as pointer and length; a length of 0 stands for an absent string. Output never overlaps input.
import { wipe } from "./ct";
import { MAX_DIGEST_SIZE, hashDigestSize, hashFinal, hashInit, hashUpdate } from "./hash";
import { hmacFinal, hmacInit, hmacUpdate } from "./hmac";

const STATE: usize = memory.data(480, 16);
/** One digest, when the output wants less than that. */
const BLOCK: usize = memory.data(64, 16);
/** A big-endian u32 on its way into a hash. */
const WORD: usize = memory.data(4, 4);

const XOR_LABEL: usize = memory.data<u8>([0x58, 0x4f, 0x52, 0]);
const XOR_LABEL_SIZE: u32 = 4;

/**
 * KDFa (Part 1, 11.4.10.2): SP 800-108 in counter mode over HMAC. A zero byte follows the label unless the label already
 * ends in one. When `bits` is no multiple of eight, the unused high bits of the first byte are cleared.
 *
 * @returns bytes written to `out`: ceil(bits / 8)
 */
export function kdfa(
  h: u32,
  key: usize,
  keyLength: u32,
  label: usize,
  labelLength: u32,
  contextU: usize,
  contextULength: u32,
  contextV: usize,
  contextVLength: u32,
  bits: u32,
  out: usize,
): u32 {
  const length = (bits + 7) / 8;
  kdfaContinue(
    h,
    key,
    keyLength,
    label,
    labelLength,
    contextU,
    contextULength,
    contextV,
    contextVLength,
    bits,
    0,
    length,
    out,
  );
  maskFirstByte(out, bits);
  return length;
}

/**
 * A part of a KDFa stream: `length` bytes from the block after the first `counter` ones, where `bits` is the size that
 * enters every block. The rest of the last block is lost; who needs it asks for whole blocks and keeps the remainder
 * (derived objects, Part 1, 28.2).
 *
 * @returns the counter after the last block made
 */
export function kdfaContinue(
  h: u32,
  key: usize,
  keyLength: u32,
  label: usize,
  labelLength: u32,
  contextU: usize,
  contextULength: u32,
  contextV: usize,
  contextVLength: u32,
  bits: u32,
  counter: u32,
  length: u32,
  out: usize,
): u32 {
  const digestSize = hashDigestSize(h);
  while (length > 0) {
    counter++;
    hmacInit(h, STATE, key, keyLength);
    updateWord(h, counter);
    hmacUpdate(h, STATE, label, labelLength);
    if (labelLength == 0 || load<u8>(label + labelLength - 1) != 0) updateZero(h);
    hmacUpdate(h, STATE, contextU, contextULength);
    hmacUpdate(h, STATE, contextV, contextVLength);
    updateWord(h, bits);
    hmacFinal(h, STATE, BLOCK);
    const taken = min(length, digestSize);
    memory.copy(out, BLOCK, taken);
    out += taken;
    length -= taken;
  }
  wipe(BLOCK, MAX_DIGEST_SIZE);
  return counter;
}

/**
 * KDFe (Part 1, 11.4.10.3): the one-step KDF of SP 800-56A over H(counter || Z || Use || PartyUInfo || PartyVInfo). `use`
 * is hashed as given, with its terminator if it has one. When `bits` is no multiple of eight, the unused high bits of the
 * first byte are cleared.
 *
 * @returns bytes written to `out`: ceil(bits / 8)
 */
export function kdfe(
  h: u32,
  z: usize,
  zLength: u32,
  use: usize,
  useLength: u32,
  partyU: usize,
  partyULength: u32,
  partyV: usize,
  partyVLength: u32,
  bits: u32,
  out: usize,
): u32 {
  const length = (bits + 7) / 8;
  const digestSize = hashDigestSize(h);
  let counter: u32 = 0;
  for (let done: u32 = 0; done < length; done += digestSize) {
    hashInit(h, STATE);
    updateWord(h, ++counter);
    hashUpdate(h, STATE, z, zLength);
    hashUpdate(h, STATE, use, useLength);
    hashUpdate(h, STATE, partyU, partyULength);
    hashUpdate(h, STATE, partyV, partyVLength);
    hashFinal(h, STATE, BLOCK);
    memory.copy(out + done, BLOCK, min(length - done, digestSize));
  }
  wipe(BLOCK, MAX_DIGEST_SIZE);
  maskFirstByte(out, bits);
  return length;
}

/** MGF1 (RFC 8017, B.2.1): XORs `length` bytes of mask into `data`. `seed` must not lie in `data`. */
export function mgf1(h: u32, seed: usize, seedLength: u32, data: usize, length: u32): void {
  hashCounterMask(h, seed, seedLength, 0, data, length);
}

/** KDF2 (ISO 18033-2, Part 1, C.7): as MGF1 with a counter that starts at 1; XORs `length` bytes into `data`. */
export function kdf2(h: u32, seed: usize, seedLength: u32, data: usize, length: u32): void {
  hashCounterMask(h, seed, seedLength, 1, data, length);
}

/**
 * XOR obfuscation (Part 1, 11.4.7.3): XORs KDFa(h, key, "XOR", contextU, contextV, 8 * length) into `data`; the same call
 * undoes it.
 */
export function kdfXorObfuscate(
  h: u32,
  key: usize,
  keyLength: u32,
  contextU: usize,
  contextULength: u32,
  contextV: usize,
  contextVLength: u32,
  data: usize,
  length: u32,
): void {
  const digestSize = hashDigestSize(h);
  const bits = length * 8;
  let counter: u32 = 0;
  for (let done: u32 = 0; done < length; done += digestSize) {
    hmacInit(h, STATE, key, keyLength);
    updateWord(h, ++counter);
    hmacUpdate(h, STATE, XOR_LABEL, XOR_LABEL_SIZE);
    hmacUpdate(h, STATE, contextU, contextULength);
    hmacUpdate(h, STATE, contextV, contextVLength);
    updateWord(h, bits);
    hmacFinal(h, STATE, BLOCK);
    xorInto(data + done, BLOCK, min(length - done, digestSize));
  }
  wipe(BLOCK, MAX_DIGEST_SIZE);
}

function hashCounterMask(h: u32, seed: usize, seedLength: u32, counter: u32, data: usize, length: u32): void {
  const digestSize = hashDigestSize(h);
  for (let done: u32 = 0; done < length; done += digestSize) {
    hashInit(h, STATE);
    hashUpdate(h, STATE, seed, seedLength);
    updateWord(h, counter++);
    hashFinal(h, STATE, BLOCK);
    xorInto(data + done, BLOCK, min(length - done, digestSize));
  }
  wipe(BLOCK, MAX_DIGEST_SIZE);
}

function xorInto(data: usize, mask: usize, length: u32): void {
  for (let i: u32 = 0; i < length; i++) store<u8>(data + i, load<u8>(data + i) ^ load<u8>(mask + i));
}

/** A state's hash part comes first, so these serve the plain hash and the HMAC at STATE alike. */
function updateWord(h: u32, value: u32): void {
  store<u32>(WORD, bswap<u32>(value));
  hashUpdate(h, STATE, WORD, 4);
}

function updateZero(h: u32): void {
  store<u8>(WORD, 0);
  hashUpdate(h, STATE, WORD, 1);
}

function maskFirstByte(out: usize, bits: u32): void {
  const used = bits & 7;
  if (used == 0) return;
  const mask: u32 = (1 << used) - 1;
  store<u8>(out, <u8>(load<u8>(out) & mask));
}
