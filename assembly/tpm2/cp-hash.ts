// cpHash and rpHash (Part 1, 16.7 and 16.8), computed once per command and hash algorithm, and the digests that build on them.
import { PIPELINE_HASH, command } from "./command";
import { TPM2B } from "./cursor";
import { entityName } from "./entity";
import { handleAt, handleCount } from "./handles";
import {
  cryptHashEnd2B,
  cryptHashStart,
  cryptHashUpdate,
  cryptHashUpdate2B,
  cryptHashUpdateInt,
  hashNumber,
} from "./hash";

const STRIDE: u32 = 68;
const CP: usize = memory.data(4 * STRIDE, 8);
const RP: usize = memory.data(4 * STRIDE, 8);
const NAME: usize = memory.data(2 + 68, 8);

/** Forgets the digests of the previous command. */
export function resetHashes(): void {
  for (let i: u32 = 0; i < 4; i++) {
    changetype<TPM2B>(CP + <usize>(i * STRIDE)).size = 0;
    changetype<TPM2B>(RP + <usize>(i * STRIDE)).size = 0;
  }
}

/** H(commandCode || Names of the handles || parameters as they came). */
export function computeCpHash(hashAlg: u32): TPM2B {
  const digest = changetype<TPM2B>(CP + <usize>(hashNumber(hashAlg) * STRIDE));
  if (digest.size != 0) return digest;
  cryptHashStart(PIPELINE_HASH, hashAlg);
  cryptHashUpdateInt(PIPELINE_HASH, 4, command.code);
  const name = changetype<TPM2B>(NAME);
  for (let i: u32 = 0; i < handleCount(); i++) {
    entityName(handleAt(i), name);
    cryptHashUpdate2B(PIPELINE_HASH, name);
  }
  cryptHashUpdate(PIPELINE_HASH, command.parameters, command.parameterSize);
  cryptHashEnd2B(PIPELINE_HASH, digest);
  return digest;
}

/** H(TPM_RC_SUCCESS || commandCode || response parameters as they leave). */
export function rpHash(hashAlg: u32, parameters: usize, parameterSize: u32): TPM2B {
  const digest = changetype<TPM2B>(RP + <usize>(hashNumber(hashAlg) * STRIDE));
  if (digest.size != 0) return digest;
  cryptHashStart(PIPELINE_HASH, hashAlg);
  cryptHashUpdateInt(PIPELINE_HASH, 4, 0);
  cryptHashUpdateInt(PIPELINE_HASH, 4, command.code);
  cryptHashUpdate(PIPELINE_HASH, parameters, parameterSize);
  cryptHashEnd2B(PIPELINE_HASH, digest);
  return digest;
}

/** digest := H(digest || cpHash || rpHash). */
export function auditDigestUpdate(hashAlg: u32, digest: TPM2B, parameters: usize, parameterSize: u32): void {
  const cp = changetype<TPM2B>(CP + <usize>(hashNumber(hashAlg) * STRIDE));
  const rp = rpHash(hashAlg, parameters, parameterSize);
  cryptHashStart(PIPELINE_HASH, hashAlg);
  cryptHashUpdate2B(PIPELINE_HASH, digest);
  cryptHashUpdate2B(PIPELINE_HASH, cp);
  cryptHashUpdate2B(PIPELINE_HASH, rp);
  cryptHashEnd2B(PIPELINE_HASH, digest);
}

/** H(Names of the handles), for TPM2_PolicyNameHash. */
export function computeNameHash(hashAlg: u32, out: TPM2B): void {
  cryptHashStart(PIPELINE_HASH, hashAlg);
  const name = changetype<TPM2B>(NAME);
  for (let i: u32 = 0; i < handleCount(); i++) {
    entityName(handleAt(i), name);
    cryptHashUpdate2B(PIPELINE_HASH, name);
  }
  cryptHashEnd2B(PIPELINE_HASH, out);
}

/** H(commandCode || parameters), for TPM2_PolicyParameters. */
export function computeParametersHash(hashAlg: u32, out: TPM2B): void {
  cryptHashStart(PIPELINE_HASH, hashAlg);
  cryptHashUpdateInt(PIPELINE_HASH, 4, command.code);
  cryptHashUpdate(PIPELINE_HASH, command.parameters, command.parameterSize);
  cryptHashEnd2B(PIPELINE_HASH, out);
}
