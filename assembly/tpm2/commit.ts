// Commitments (Part 1, C.4): ephemeral scalars that TPM2_Commit and TPM2_EC_Ephemeral choose and a later command uses once. Only
// a counter and one bit per open commitment are kept; the scalar is derived again from the commit nonce.
import { ecdaaCommitScalar } from "../crypto/ecdaa";
import { TPM2B } from "./cursor";
import { curveNumber } from "./crypt-ecc";
import { gr } from "./data";
import { hashNumber } from "./hash";
import { newSecret } from "./hierarchy";
import { CONTEXT_INTEGRITY_HASH_ALG } from "./tickets";

const COMMIT_INDEX_MASK: u32 = 127;
const COMMIT_ARRAY_SIZE: u32 = 16;
const COMMIT_NONCE_SIZE: u32 = 64;

/** TPM Reset: no commitment is open. */
export function commitReset(): void {
  newSecret(gr.commitNonce, COMMIT_NONCE_SIZE);
  gr.commitCounter = 0;
  memory.fill(gr.commitArray, 0, COMMIT_ARRAY_SIZE);
}

@inline
function bitAddress(count: u32): usize {
  return gr.commitArray + ((count & COMMIT_INDEX_MASK) >> 3);
}

@inline
function bitMask(count: u32): u32 {
  return 1 << (count & 7);
}

/** The scalar of the next commitment, to `out`: as many bytes as the curve's order has. `name` is of ECDAA's key, else empty. */
export function newCommitScalar(curve: u32, name: TPM2B, out: usize): bool {
  return scalar(curve, name, gr.commitCounter, out);
}

/** The scalar of an open commitment; false when `count` is none. */
export function openCommitScalar(count: u32, curve: u32, name: TPM2B, out: usize): bool {
  if ((load<u8>(bitAddress(count)) & bitMask(count)) == 0) return false;
  // The counter as it was: `count` is its low part, and at most one round of the array ago.
  let current = gr.commitCounter;
  if ((count & COMMIT_INDEX_MASK) >= (<u32>current & COMMIT_INDEX_MASK)) current -= COMMIT_INDEX_MASK + 1;
  if ((<u32>current & 0xffff & ~COMMIT_INDEX_MASK) != (count & ~COMMIT_INDEX_MASK)) return false;
  return scalar(curve, name, (current & ~(<u64>0xffff)) | count, out);
}

function scalar(curve: u32, name: TPM2B, counter: u64, out: usize): bool {
  const nonce = gr.commitNonce;
  const hash = hashNumber(CONTEXT_INTEGRITY_HASH_ALG);
  const id = curveNumber(curve);
  return ecdaaCommitScalar(id, hash, nonce.buffer, nonce.size, name.buffer, name.size, counter, out) != 0;
}

/** Opens the commitment whose scalar newCommitScalar gave. @returns its count */
export function commit(): u32 {
  const count = <u32>gr.commitCounter & 0xffff;
  gr.commitCounter++;
  store<u8>(bitAddress(count), <u8>(load<u8>(bitAddress(count)) | bitMask(count)));
  return count;
}

/** A commitment is used up. */
export function endCommit(count: u32): void {
  store<u8>(bitAddress(count), <u8>(load<u8>(bitAddress(count)) & ~bitMask(count)));
}
