// ECDAA as a TPM takes part in it (Part 1, Annex C). TPM2_Commit chooses r and answers K = [d]B, L = [r]B and E = [r]M (or [r]G):
// ecMultiply and ecPublic of ec.ts. TPM2_Sign answers a nonce k and s = r + T*d mod n, T = H(k || digest).
import { bnIsZero, bnToBytes } from "./bn";
import { ecPrivateValid, DRAW_EXTRA_BYTES, SIGNED, SIGN_AGAIN, SIGN_BAD_KEY } from "./ec";
import { curveLoad } from "./ec-curve";
import { scalarFromDraw, scalarIsValid, scalarLoad, scalarMulAdd, scalarReduce, scalarWipe } from "./ec-scalar";
import { hashDigestSize, hashFinal, hashInit, hashUpdate } from "./hash";
import { kdfaContinue } from "./kdf";

/** "ECDAA Commit", with its terminator. */
const COMMIT_LABEL: usize = memory.data<u8>([
  0x45, 0x43, 0x44, 0x41, 0x41, 0x20, 0x43, 0x6f, 0x6d, 0x6d, 0x69, 0x74, 0,
]);
const COMMIT_LABEL_SIZE: u32 = 13;
const MAX_ATTEMPTS: u32 = 1000000;

const SECRETS: usize = memory.data(192, 16);
const D: usize = SECRETS;
const R: usize = SECRETS + 96;
const K: usize = memory.data(96, 16);
const T: usize = memory.data(96, 16);
const S: usize = memory.data(96, 16);
const BYTES: usize = memory.data(80, 16);
const COUNTER: usize = memory.data(8, 8);
const HASH: usize = memory.data(336, 16);

/**
 * The r of a commitment, computed again when signing (Part 1, Annex C; as libtpms does it, so that a commitment survives the move
 * of a TPM's state): a KDFa stream over the commit nonce, the key's Name and the commit counter, whose blocks count from 2,
 * until it gives a number below n that has a bit set in its upper half.
 *
 * @returns 1, or 0 if a million attempts gave none
 */
export function ecdaaCommitScalar(
  id: u32,
  h: u32,
  nonce: usize,
  nonceLength: u32,
  name: usize,
  nameLength: u32,
  counter: u64,
  outR: usize,
): u32 {
  const bytes = curveLoad(id).bytes;
  store<u64>(COUNTER, bswap<u64>(counter));
  for (let blocks: u32 = 1; blocks < MAX_ATTEMPTS; ) {
    blocks = kdfaContinue(
      h,
      nonce,
      nonceLength,
      COMMIT_LABEL,
      COMMIT_LABEL_SIZE,
      name,
      nameLength,
      COUNTER,
      8,
      bytes * 8,
      blocks,
      bytes,
      outR,
    );
    let upper: u32 = 0;
    for (let i: u32 = 0; i <= bytes / 2; i++) upper |= load<u8>(outR + i);
    if (upper != 0 && ecPrivateValid(id, outR)) return 1;
  }
  return 0;
}

/**
 * The signing half. `r` is the commitment's; `nonceDraw` is curveOrderBytes(id) + DRAW_EXTRA_BYTES random bytes. k (the
 * signature's signatureR) and s are written with curveOrderBytes(id) bytes; k enters the hash, and belongs in the TPM's
 * response, without leading zero bytes.
 */
export function ecdaaSign(
  id: u32,
  h: u32,
  d: usize,
  r: usize,
  digest: usize,
  digestLength: u32,
  nonceDraw: usize,
  outK: usize,
  outS: usize,
): i32 {
  const curve = curveLoad(id);
  scalarLoad(D, d);
  scalarLoad(R, r);
  if (!(scalarIsValid(D) & scalarIsValid(R))) return SIGN_BAD_KEY;
  scalarFromDraw(K, nonceDraw, curve.bytes + DRAW_EXTRA_BYTES);
  bnToBytes(BYTES, curve.bytes, K);
  let zeros: u32 = 0;
  while (load<u8>(BYTES + zeros) == 0) zeros++;
  hashInit(h, HASH);
  hashUpdate(h, HASH, BYTES + zeros, curve.bytes - zeros);
  hashUpdate(h, HASH, digest, digestLength);
  hashFinal(h, HASH, BYTES);
  scalarReduce(T, BYTES, hashDigestSize(h));
  scalarMulAdd(S, T, D, R);
  memory.fill(SECRETS, 0, 192);
  scalarWipe();
  if (bnIsZero(T, curve.words) | bnIsZero(S, curve.words)) return SIGN_AGAIN;
  bnToBytes(outK, curve.bytes, K);
  bnToBytes(outS, curve.bytes, S);
  return SIGNED;
}
