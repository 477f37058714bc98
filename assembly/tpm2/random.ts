// The TPM's random bit generator: libtpms' CTR_DRBG, whose state is part of the orderly data (Part 1, 11.4.11).
import {
  DRBG_CONTINUOUS_TEST,
  DRBG_RESEED_COUNTER,
  DRBG_RESEED_INTERVAL,
  DRBG_SEED_SIZE,
  drbgGenerate,
  drbgInstantiate,
  drbgNeedsReseed,
  drbgReseed,
} from "../crypto/drbg";
import { TPM2B } from "./cursor";
import { go } from "./data";
import { FATAL_ERROR_INTERNAL, fail } from "./failure";
import { entropy } from "./host";
import { PROFILE_DRBG_CONTINUOUS_TEST, profileRequires } from "./profile";

const ENTROPY: usize = memory.data(48, 16);
const FAIL_RANDOM: u32 = 0x5201;

/** Starts the generator: from entropy alone, or on top of the state that an orderly shutdown kept. */
export function randomStartup(resume: bool): void {
  entropy(ENTROPY, DRBG_SEED_SIZE);
  const good = resume ? drbgReseed(go.drbgState, ENTROPY, 0, 0) : drbgInstantiate(go.drbgState, ENTROPY, 0, 0);
  memory.fill(ENTROPY, 0, DRBG_SEED_SIZE);
  if (!good) fail(FAIL_RANDOM, FATAL_ERROR_INTERNAL);
  randomApplyProfile();
}

/** The profile says whether each block of the generator's is compared with the one before. */
export function randomApplyProfile(): void {
  store<u32>(go.drbgState, profileRequires(PROFILE_DRBG_CONTINUOUS_TEST) ? 1 : 0, DRBG_CONTINUOUS_TEST);
}

/** Sees to it that the generator can serve many requests in succession. */
export function randomReady(): void {
  if (load<u64>(go.drbgState, DRBG_RESEED_COUNTER) > DRBG_RESEED_INTERVAL / 2) cryptRandomStir(0, 0);
}

/** Random bytes for nonces, keys and answers. */
export function cryptRandomGenerate(out: usize, length: u32): void {
  if (drbgNeedsReseed(go.drbgState)) cryptRandomStir(0, 0);
  if (!drbgGenerate(go.drbgState, out, length)) fail(FAIL_RANDOM, FATAL_ERROR_INTERNAL);
}

/** Fills a TPM2B of the size it has. */
export function cryptRandom2B(out: TPM2B): void {
  cryptRandomGenerate(out.buffer, out.size);
}

/** TPM2_StirRandom: entropy and the caller's data go into the state. */
export function cryptRandomStir(data: usize, length: u32): void {
  entropy(ENTROPY, DRBG_SEED_SIZE);
  if (!drbgReseed(go.drbgState, ENTROPY, data, length)) fail(FAIL_RANDOM, FATAL_ERROR_INTERNAL);
  memory.fill(ENTROPY, 0, DRBG_SEED_SIZE);
}
