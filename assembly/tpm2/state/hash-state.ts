// Hashes in progress in libtpms' format: the members of OpenSSL's SHA contexts.
import { HASH_STATE_BUFFER, HASH_STATE_CHAIN, HASH_STATE_TOTAL, hashBlockSize } from "../../crypto/hash";
import { HMAC_STATE_KEY } from "../../crypto/hmac";
import {
  cmacAlgorithm,
  cmacBlockAddress,
  cmacCount,
  cmacKeyAddress,
  cmacKeyBits,
  cmacResume,
  isCmac,
} from "../crypt-mac";
import { TPM2B, set2B } from "../cursor";
import { MAX_HMAC_BLOCK_SIZE, TPM_RC_SIZE, TPM_RC_VALUE } from "../generated/constants";
import { digestSizeOf, hashAlgByIndex, hashNumber } from "../hash";
import {
  beginBlock,
  blockHasContent,
  endBlock,
  exactArray,
  extensionBlock,
  header,
  isReading,
  transferError,
  transferFail,
  twoB,
  u16Value,
  u32Field,
  u32Value,
  u64Field,
  u64Value,
  u8Value,
  unneededBlock,
} from "./transfer";

const HASH_STATE_MAGIC: u32 = 0x562878a2;
const ANY_HASH_STATE_MAGIC: u32 = 0x349d494b;
const SHA1_MAGIC: u32 = 0x19d46f50;
const SHA256_MAGIC: u32 = 0x6ea059d0;
const SHA384_MAGIC: u32 = 0x14814b08;
const SHA512_MAGIC: u32 = 0x269e8ae0;
const VERSION: u32 = 2;

/** In place of a hash number: no hash. */
const NO_HASH: u32 = 0xff;

/** HASH_STATE_TYPE of libtpms. */
const KIND_EMPTY: u32 = 0;
const KIND_HASH: u32 = 1;
const KIND_HMAC: u32 = 2;

/** A HASH_RECORD: the crypto's hash number (0xff for none) at `record`, its state 8 bytes further. */
export function hashRecordTransfer(record: usize, hmac: bool): void {
  const number = load<u32>(record);
  const used = number < 4;
  header(VERSION, HASH_STATE_MAGIC, 1);
  u8Value(used ? (hmac ? KIND_HMAC : KIND_HASH) : KIND_EMPTY);
  // libtpms leaves the unused places of a sequence zeroed: their algorithm is 0, not TPM_ALG_NULL. Older versions left anything there.
  const alg = u16Value(used ? hashAlgByIndex(number) : 0);
  const anyVersion = header(VERSION, ANY_HASH_STATE_MAGIC, 1);
  const found = transferError() == 0 ? hashNumber(alg) : NO_HASH;
  if (found < 4) {
    store<u32>(record, found);
    contextTransfer(found, record + 8);
  } else if (isReading()) store<u32>(record, NO_HASH);
  extensionBlock(anyVersion);
  if (hmac) cmacBlock(record);
  else extensionBlock(VERSION);
}

const CMAC_MAGIC: u32 = 0x434d4143;
const CMAC_KEY: usize = memory.data(32, 8);
const CMAC_VALUE: usize = memory.data(16, 8);

/**
 * What the block for later versions has of a CMAC. libtpms' format has no place for one: libtpms skips this, as it skips what it does not
 * know, and the sequence is empty there.
 */
function cmacBlock(record: usize): void {
  if (isReading() && !blockHasContent()) {
    unneededBlock(true);
    return;
  }
  const mark = beginBlock();
  const present = isReading() ? u32Value(0) == CMAC_MAGIC : isCmac(record);
  if (present) {
    if (!isReading()) u32Value(CMAC_MAGIC);
    const alg = u16Value(cmacAlgorithm(record));
    const keyBits = u16Value(cmacKeyBits(record));
    if (keyBits > 256) transferFail(TPM_RC_VALUE);
    else exactArray(isReading() ? CMAC_KEY : cmacKeyAddress(record), keyBits >> 3);
    exactArray(isReading() ? CMAC_VALUE : cmacBlockAddress(record), 16);
    const count = u8Value(cmacCount(record));
    if (isReading() && transferError() == 0 && !cmacResume(record, alg, keyBits, CMAC_KEY, CMAC_VALUE, count)) {
      transferFail(TPM_RC_VALUE);
    }
    memory.fill(CMAC_KEY, 0, 32);
  }
  endBlock(mark);
}

function magicOf(number: u32): u32 {
  if (number == 0) return SHA1_MAGIC;
  if (number == 1) return SHA256_MAGIC;
  return number == 2 ? SHA384_MAGIC : SHA512_MAGIC;
}

/** Chaining words, bit count, buffer, bytes in the buffer, digest size. */
function contextTransfer(number: u32, state: usize): void {
  const wide = number >= 2;
  const block = hashBlockSize(number);
  const version = header(VERSION, magicOf(number), 1);
  const words: u32 = number == 0 ? 5 : 8;
  if (number != 0 && u16Value(words) != words) transferFail(TPM_RC_SIZE);
  for (let i: u32 = 0; i < words; i++) {
    if (wide) u64Field(state + HASH_STATE_CHAIN + 8 * i);
    else u32Field(state + HASH_STATE_CHAIN + 4 * i);
  }
  const total = load<u64>(state + HASH_STATE_TOTAL);
  let bits: u64 = 0;
  if (wide) {
    bits = u64Value(total << 3);
    u64Value(total >> 61);
  } else {
    const low = u32Value(<u32>(total << 3));
    const high = u32Value(<u32>(total >> 29));
    bits = ((<u64>high) << 32) | low;
  }
  exactArray(state + HASH_STATE_BUFFER, block);
  const filled = u32Value(<u32>(total % block));
  if (number != 0) u32Value(digestSizeOf(hashAlgByIndex(number)));
  extensionBlock(version);
  if (!isReading() || transferError() != 0) return;
  if (filled != <u32>((bits >> 3) % block) || bits & 7) transferFail(TPM_RC_VALUE);
  else store<u64>(state + HASH_STATE_TOTAL, bits >> 3);
}

const KEY: usize = memory.data(2 + 128, 8);
const OUTER_PAD: u8 = 0x5c;

/** An HMAC: the inner hash, then the key combined with the outer pad as OpenSSL users keep it (libtpms: hmacKey). */
export function hmacRecordTransfer(record: usize): void {
  hashRecordTransfer(record, true);
  if (transferError() != 0) return;
  const number = load<u32>(record);
  const block = number < 4 ? hashBlockSize(number) : 0;
  const key = changetype<TPM2B>(KEY);
  const kept = record + 8 + HMAC_STATE_KEY;
  if (!isReading()) set2B(key, kept, block);
  twoB(key, MAX_HMAC_BLOCK_SIZE);
  if (!isReading() || transferError() != 0) return;
  if (key.size > block) transferFail(TPM_RC_SIZE);
  else {
    memory.copy(kept, key.buffer, key.size);
    memory.fill(kept + key.size, OUTER_PAD, block - key.size);
  }
  memory.fill(KEY, 0, 2 + 128);
}
