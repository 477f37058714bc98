// The command being run: what the stages of the pipeline hand to one another.
import { TPM2B } from "./cursor";
import { MAX_SESSION_NUM } from "./generated/constants";
import { HASH_RECORD_SIZE } from "./hash";

@unmanaged
export class Command {
  tag: u32;
  code: u32;
  index: u32;
  /** Number of sessions in the authorization area. */
  sessionNum: u32;
  /** Parameters as they came: address and length. */
  parameters: usize;
  parameterSize: u32;
  /** Index of the session that decrypts, encrypts, audits; UNDEFINED_INDEX without one. */
  decryptSession: u32;
  encryptSession: u32;
  auditSession: u32;
}

export const UNDEFINED_INDEX: u32 = 0xffff;
export const command = changetype<Command>(memory.data(64, 8));

// What came with each session.
const HANDLES: usize = memory.data(4 * 4, 4);
const ASSOCIATED: usize = memory.data(4 * 4, 4);
const ATTRIBUTES: usize = memory.data(4 * 4, 4);
const NONCE_STRIDE: u32 = 68;
const NONCES: usize = memory.data(4 * NONCE_STRIDE, 8);
const AUTHS: usize = memory.data(4 * NONCE_STRIDE, 8);

@inline
export function sessionHandleAt(i: u32): u32 {
  return load<u32>(HANDLES + 4 * <usize>i);
}
@inline
export function sessionHandleAddress(i: u32): usize {
  return HANDLES + 4 * <usize>i;
}
/** The entity that the i-th session authorizes, or TPM_RH_UNASSIGNED. */
@inline
export function associatedHandleAt(i: u32): u32 {
  return load<u32>(ASSOCIATED + 4 * <usize>i);
}
@inline
export function setAssociatedHandle(i: u32, handle: u32): void {
  store<u32>(ASSOCIATED + 4 * <usize>i, handle);
}
/** TPMA_SESSION of the i-th session. */
@inline
export function sessionAttributesAt(i: u32): u32 {
  return load<u8>(ATTRIBUTES + 4 * <usize>i);
}
@inline
export function sessionAttributesAddress(i: u32): usize {
  return ATTRIBUTES + 4 * <usize>i;
}
@inline
export function setSessionAttributes(i: u32, value: u32): void {
  store<u8>(ATTRIBUTES + 4 * <usize>i, <u8>value);
}
@inline
export function nonceCallerAt(i: u32): TPM2B {
  return changetype<TPM2B>(NONCES + <usize>(i * NONCE_STRIDE));
}
/** The password or HMAC that came with the i-th session. */
@inline
export function inputAuthAt(i: u32): TPM2B {
  return changetype<TPM2B>(AUTHS + <usize>(i * NONCE_STRIDE));
}

/** After the command nothing of its authorizations stays. */
export function wipeCommandAuths(): void {
  memory.fill(AUTHS, 0, 4 * NONCE_STRIDE);
}

/** A session's association ends with its entity (a sequence completed, an index undefined). */
export function removeAssociation(handle: u32, replacement: u32): void {
  for (let i: u32 = 0; i < MAX_SESSION_NUM; i++)
    if (associatedHandleAt(i) == handle) setAssociatedHandle(i, replacement);
}

/** Scratch for the hashes of the pipeline. */
export const PIPELINE_HASH: usize = memory.data(HASH_RECORD_SIZE, 16);
