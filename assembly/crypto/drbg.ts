// CTR_DRBG with AES-256 (SP 800-90A, 10.2.1) as libtpms has it, so that the same seed gives the same keys.
//
// A generator is a record of DRBG_STATE_SIZE bytes:
//   DRBG_RESEED_COUNTER     u64, 1 after a (re)seed, one more after each request
//   DRBG_STATE_MAGIC        u32, DRBG_MAGIC
//   DRBG_SEED_COMPAT_LEVEL  u32, how primes are made from this state (0: before libtpms 0.8, 1: now); kept for the caller
//   DRBG_SEED               32 bytes Key, 16 bytes V
//   DRBG_LAST_VALUE         16 bytes, the last block made while the continuous test is on
//   DRBG_CONTINUOUS_TEST    u32, not 0: two equal blocks in succession are a failure (profile attribute drbg-continous-test)
// All but the last field enter the state format.
import { AES_SCHEDULE_SIZE, aesEncrypt, aesExpandKey } from "./aes";
import { increment16 } from "./counter";
import { ctEqual, wipe } from "./ct";

export const DRBG_RESEED_COUNTER: usize = 0;
export const DRBG_STATE_MAGIC: usize = 8;
export const DRBG_SEED_COMPAT_LEVEL: usize = 12;
export const DRBG_SEED: usize = 16;
export const DRBG_LAST_VALUE: usize = 64;
export const DRBG_CONTINUOUS_TEST: usize = 80;
export const DRBG_STATE_SIZE: u32 = 88;

export const DRBG_MAGIC: u32 = 0x47425244;
/** Bytes of Key and V together, and so of entropy and of the derivation function's output. */
export const DRBG_SEED_SIZE: u32 = 48;
/** A state that has served this many requests refuses more until it is reseeded. */
export const DRBG_RESEED_INTERVAL: u64 = 1 << 20;

const KEY_BITS: u32 = 256;
const BLOCK_SIZE: u32 = 16;
/** V within the record, after the 32 bytes of Key. */
const V: usize = DRBG_SEED + 32;

const SCHEDULE: usize = memory.data(256, 16);
/** A seed's worth of entropy or derived data, while it is combined. */
const MATERIAL: usize = memory.data(48, 16);
const BLOCK: usize = memory.data(16, 16);

/** The derivation function: its fixed key, three chaining values, the block being filled and how far it is. */
const DF_KEY: usize = memory.data<u8>([
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
]);
const DF_CHAINS: usize = memory.data(48, 16);
const DF_BLOCK: usize = memory.data(16, 16);
let dfFilled: u32 = 0;

/**
 * Starts a state from the caller's `entropy` (DRBG_SEED_SIZE bytes) and an optional personalization string.
 * The continuous test is off; the caller sets DRBG_CONTINUOUS_TEST afterwards if its profile asks for it.
 *
 * @returns 1, or 0 when the generator failed
 */
export function drbgInstantiate(state: usize, entropy: usize, personalization: usize, length: u32): u32 {
  clear(state);
  return drbgReseed(state, entropy, personalization, length);
}

/**
 * Starts a state that makes the same bytes every time: the reseed material is the derivation function of
 * seed || purpose || name || extra. Primary keys are drawn from it with purpose "Primary Object Creation\0".
 *
 * @returns 1, or 0 when the generator failed
 */
export function drbgInstantiateSeeded(
  state: usize,
  seed: usize,
  seedLength: u32,
  purpose: usize,
  purposeLength: u32,
  name: usize,
  nameLength: u32,
  extra: usize,
  extraLength: u32,
): u32 {
  clear(state);
  dfStart(seedLength + purposeLength + nameLength + extraLength);
  dfUpdate(seed, seedLength);
  dfUpdate(purpose, purposeLength);
  dfUpdate(name, nameLength);
  dfUpdate(extra, extraLength);
  dfEnd(MATERIAL);
  return reseedFromMaterial(state);
}

/**
 * Reseeds from the caller's `entropy` (DRBG_SEED_SIZE bytes), combined with the derivation function of `additional` if
 * there is any (TPM2_StirRandom).
 *
 * @returns 1, or 0 when the generator failed
 */
export function drbgReseed(state: usize, entropy: usize, additional: usize, length: u32): u32 {
  if (length != 0) drbgDerivationFunction(additional, length, MATERIAL);
  else wipe(MATERIAL, DRBG_SEED_SIZE);
  xorSeed(MATERIAL, entropy);
  return reseedFromMaterial(state);
}

/**
 * Reseeds from the derivation function of `data` alone (not empty): what mixes shProof and ehProof into the seedValue of a
 * primary key of the endorsement hierarchy.
 *
 * @returns 1, or 0 when the generator failed
 */
export function drbgAdditionalData(state: usize, data: usize, length: u32): u32 {
  drbgDerivationFunction(data, length, MATERIAL);
  return reseedFromMaterial(state);
}

/** Whether the next drbgGenerate will refuse until drbgReseed is called. */
export function drbgNeedsReseed(state: usize): bool {
  return load<u64>(state, DRBG_RESEED_COUNTER) >= DRBG_RESEED_INTERVAL;
}

/**
 * Writes `length` (up to 65535) random bytes to `out` and moves the state on; every call costs one update.
 *
 * @returns 1, or 0 when nothing usable was made: the state needs a reseed, or the continuous test failed
 */
export function drbgGenerate(state: usize, out: usize, length: u32): u32 {
  if (drbgNeedsReseed(state)) return 0;
  aesExpandKey(state + DRBG_SEED, KEY_BITS, SCHEDULE);
  let good = encryptCounter(state, out, length);
  good &= update(state);
  wipe(SCHEDULE, AES_SCHEDULE_SIZE);
  store<u64>(state, load<u64>(state, DRBG_RESEED_COUNTER) + 1, DRBG_RESEED_COUNTER);
  return good;
}

/**
 * libtpms' derivation function: DRBG_SEED_SIZE bytes from `length` bytes at `data`. It differs from SP 800-90A, 10.3.2 in
 * that the three chains share a running sum, that the lengths replace the start of the first chaining value instead of
 * being input, and that the final encryption under a derived key is left out.
 */
export function drbgDerivationFunction(data: usize, length: u32, out: usize): void {
  dfStart(length);
  dfUpdate(data, length);
  dfEnd(out);
}

function clear(state: usize): void {
  wipe(state, DRBG_STATE_SIZE);
  store<u32>(state, DRBG_MAGIC, DRBG_STATE_MAGIC);
  store<u32>(state, 1, DRBG_SEED_COMPAT_LEVEL);
}

/** CTR_DRBG_Update with MATERIAL as provided data, which is wiped. */
function reseedFromMaterial(state: usize): u32 {
  aesExpandKey(state + DRBG_SEED, KEY_BITS, SCHEDULE);
  const good = update(state);
  wipe(SCHEDULE, AES_SCHEDULE_SIZE);
  xorSeed(state + DRBG_SEED, MATERIAL);
  wipe(MATERIAL, DRBG_SEED_SIZE);
  store<u64>(state, 1, DRBG_RESEED_COUNTER);
  return good;
}

/** CTR_DRBG_Update without data, under SCHEDULE: three blocks, the last of which replaces V itself. */
function update(state: usize): u32 {
  return encryptCounter(state, state + DRBG_SEED, DRBG_SEED_SIZE);
}

/** `length` bytes of E(V + 1) || E(V + 2) || … to `out`; V is left at the last value used. */
function encryptCounter(state: usize, out: usize, length: u32): u32 {
  const v = state + V;
  const tested = load<u32>(state, DRBG_CONTINUOUS_TEST) != 0;
  let good: u32 = 1;
  while (length > 0) {
    increment16(v);
    aesEncrypt(SCHEDULE, v, BLOCK);
    if (tested) {
      good &= ~ctEqual(BLOCK, state + DRBG_LAST_VALUE, BLOCK_SIZE);
      v128.store(state, v128.load(BLOCK), DRBG_LAST_VALUE);
    }
    const taken = min(length, BLOCK_SIZE);
    if (taken == BLOCK_SIZE) v128.store(out, v128.load(BLOCK));
    else memory.copy(out, BLOCK, taken);
    out += taken;
    length -= taken;
  }
  wipe(BLOCK, BLOCK_SIZE);
  return good;
}

function xorSeed(to: usize, from: usize): void {
  for (let i: usize = 0; i < DRBG_SEED_SIZE; i += 16) {
    v128.store(to + i, v128.xor(v128.load(to + i), v128.load(from + i)));
  }
}

/** Starts the derivation function for `length` bytes of input. */
function dfStart(length: u32): void {
  aesExpandKey(DF_KEY, KEY_BITS, SCHEDULE);
  wipe(DF_CHAINS, DRBG_SEED_SIZE);
  store<u8>(DF_CHAINS, 1, 16 + 3);
  store<u8>(DF_CHAINS, 2, 32 + 3);
  dfCompute();
  store<u32>(DF_CHAINS, bswap<u32>(length));
  store<u32>(DF_CHAINS, bswap<u32>(DRBG_SEED_SIZE), 4);
  dfFilled = 4;
}

function dfUpdate(data: usize, length: u32): void {
  while (length > 0) {
    const taken = min(length, BLOCK_SIZE - dfFilled);
    memory.copy(DF_BLOCK + dfFilled, data, taken);
    dfFilled += taken;
    data += taken;
    length -= taken;
    if (dfFilled == BLOCK_SIZE) dfCompute();
  }
}

/** Pads, writes the DRBG_SEED_SIZE bytes of result and wipes. */
function dfEnd(out: usize): void {
  store<u8>(DF_BLOCK + dfFilled, 0x80);
  dfCompute();
  memory.copy(out, DF_CHAINS, DRBG_SEED_SIZE);
  wipe(DF_CHAINS, DRBG_SEED_SIZE);
}

/** One block into all three chains; the block is empty again afterwards. */
function dfCompute(): void {
  let sum = i64x2.splat(0);
  const block = v128.load(DF_BLOCK);
  for (let chain = DF_CHAINS; chain < DF_CHAINS + DRBG_SEED_SIZE; chain += BLOCK_SIZE) {
    sum = v128.xor(sum, v128.xor(v128.load(chain), block));
    v128.store(chain, sum);
    aesEncrypt(SCHEDULE, chain, chain);
  }
  v128.store(DF_BLOCK, i64x2.splat(0));
  dfFilled = 0;
}
