// The source a key is drawn from: the DRBG, or for derived objects a KDFa stream (Part 1, 28.2; libtpms' RAND_STATE).
//
// Both are records of at most RAND_STATE_SIZE bytes that start with a u64 counter and a u32 magic number. A KDF stream:
//   KDF_COUNTER        u64, blocks made so far
//   KDF_STATE_MAGIC    u32, KDF_MAGIC
//   KDF_LIMIT          u32, bits the stream may give; also the size that enters every KDFa block
//   KDF_HASH           u32, hash of hash.ts
//   KDF_KEY, KDF_LABEL, KDF_CONTEXT   pointer and length (u32 each); the bytes stay the caller's and must stay in place
//   KDF_RESIDUAL_SIZE  u32, bytes of the last block not yet given
//   KDF_RESIDUAL       that block, at most MAX_DIGEST_SIZE bytes
import { wipe } from "./ct";
import { DRBG_MAGIC, drbgGenerate } from "./drbg";
import { hashDigestSize } from "./hash";
import { kdfaContinue } from "./kdf";

export const KDF_COUNTER: usize = 0;
export const KDF_STATE_MAGIC: usize = 8;
export const KDF_LIMIT: usize = 12;
export const KDF_HASH: usize = 16;
export const KDF_KEY: usize = 20;
export const KDF_LABEL: usize = 28;
export const KDF_CONTEXT: usize = 36;
export const KDF_RESIDUAL_SIZE: usize = 44;
export const KDF_RESIDUAL: usize = 48;
export const KDF_STATE_SIZE: u32 = 112;
export const RAND_STATE_SIZE: u32 = 112;

export const KDF_MAGIC: u32 = 0x4048444a;

/**
 * The next `length` bytes of the generator at `state`, to `out`.
 *
 * @returns 1, or 0 when it can make no more: drbgGenerate's reasons, the end of a KDF stream, or no generator at `state`
 */
export function randGenerate(state: usize, out: usize, length: u32): u32 {
  const magic = load<u32>(state, KDF_STATE_MAGIC);
  if (magic == DRBG_MAGIC) return drbgGenerate(state, out, length);
  if (magic == KDF_MAGIC) return kdfGenerate(state, out, length);
  return 0;
}

/** Starts a KDFa stream of at most `limitBits` bits with empty contextV; `key`, `label`, `context` must stay in place. */
export function kdfInstantiate(
  state: usize,
  h: u32,
  key: usize,
  keyLength: u32,
  label: usize,
  labelLength: u32,
  context: usize,
  contextLength: u32,
  limitBits: u32,
): void {
  wipe(state, KDF_STATE_SIZE);
  store<u32>(state, KDF_MAGIC, KDF_STATE_MAGIC);
  store<u32>(state, limitBits, KDF_LIMIT);
  store<u32>(state, h, KDF_HASH);
  store<u32>(state, <u32>key, KDF_KEY);
  store<u32>(state, keyLength, KDF_KEY + 4);
  store<u32>(state, <u32>label, KDF_LABEL);
  store<u32>(state, labelLength, KDF_LABEL + 4);
  store<u32>(state, <u32>context, KDF_CONTEXT);
  store<u32>(state, contextLength, KDF_CONTEXT + 4);
}

/** As libtpms counts it, the limit holds for whole blocks begun before this call plus all of `length`. */
function kdfGenerate(state: usize, out: usize, length: u32): u32 {
  const digestSize = hashDigestSize(load<u32>(state, KDF_HASH));
  if ((load<u64>(state, KDF_COUNTER) * digestSize + length) * 8 > load<u32>(state, KDF_LIMIT)) return 0;
  while (length > 0) {
    const residual = load<u32>(state, KDF_RESIDUAL_SIZE);
    let made: u32;
    if (residual > 0) {
      made = min(residual, length);
      memory.copy(out, state + KDF_RESIDUAL + (digestSize - residual), made);
      store<u32>(state, residual - made, KDF_RESIDUAL_SIZE);
    } else if (length >= digestSize) {
      made = length - (length % digestSize);
      blocks(state, out, made);
    } else {
      made = 0;
      blocks(state, state + KDF_RESIDUAL, digestSize);
      store<u32>(state, digestSize, KDF_RESIDUAL_SIZE);
    }
    out += made;
    length -= made;
  }
  return 1;
}

/** Whole blocks of the stream, `length` bytes. */
function blocks(state: usize, out: usize, length: u32): void {
  const counter = kdfaContinue(
    load<u32>(state, KDF_HASH),
    load<u32>(state, KDF_KEY),
    load<u32>(state, KDF_KEY + 4),
    load<u32>(state, KDF_LABEL),
    load<u32>(state, KDF_LABEL + 4),
    load<u32>(state, KDF_CONTEXT),
    load<u32>(state, KDF_CONTEXT + 4),
    0,
    0,
    load<u32>(state, KDF_LIMIT),
    <u32>load<u64>(state, KDF_COUNTER),
    length,
    out,
  );
  store<u64>(state, counter, KDF_COUNTER);
}
