// KDFa with the labels of the library specification, by TPM algorithm identifier (Part 1, 11.4.10).
import { kdfa } from "../crypto/kdf";
import { TPM2B } from "./cursor";
import { TPM_ALG_KDF1_SP800_108 } from "./generated/constants";
import { hashNumber } from "./hash";
import { selfTestBeforeUse } from "./self-test";

// Labels: length, then the characters with their terminating zero.
export const LABEL_ATH = memory.data<u8>([4, 0x41, 0x54, 0x48, 0]);
export const LABEL_CFB = memory.data<u8>([4, 0x43, 0x46, 0x42, 0]);
export const LABEL_XOR = memory.data<u8>([4, 0x58, 0x4f, 0x52, 0]);
export const LABEL_STORAGE = memory.data<u8>([8, 0x53, 0x54, 0x4f, 0x52, 0x41, 0x47, 0x45, 0]);
export const LABEL_INTEGRITY = memory.data<u8>([10, 0x49, 0x4e, 0x54, 0x45, 0x47, 0x52, 0x49, 0x54, 0x59, 0]);
export const LABEL_CONTEXT = memory.data<u8>([8, 0x43, 0x4f, 0x4e, 0x54, 0x45, 0x58, 0x54, 0]);
export const LABEL_SECRET = memory.data<u8>([7, 0x53, 0x45, 0x43, 0x52, 0x45, 0x54, 0]);
export const LABEL_IDENTITY = memory.data<u8>([9, 0x49, 0x44, 0x45, 0x4e, 0x54, 0x49, 0x54, 0x59, 0]);
export const LABEL_DUPLICATE = memory.data<u8>([10, 0x44, 0x55, 0x50, 0x4c, 0x49, 0x43, 0x41, 0x54, 0x45, 0]);
export const LABEL_OBFUSCATE = memory.data<u8>([10, 0x4f, 0x42, 0x46, 0x55, 0x53, 0x43, 0x41, 0x54, 0x45, 0]);

/** KDFa; writes ceil(bits / 8) bytes to `out`. */
export function cryptKdfa(
  hashAlg: u32,
  key: TPM2B,
  label: usize,
  contextU: TPM2B,
  contextV: TPM2B,
  bits: u32,
  out: usize,
): void {
  selfTestBeforeUse(TPM_ALG_KDF1_SP800_108);
  kdfa(
    hashNumber(hashAlg),
    key.buffer,
    key.size,
    label + 1,
    load<u8>(label),
    contextU.buffer,
    contextU.size,
    contextV.buffer,
    contextV.size,
    bits,
    out,
  );
}

/** An empty TPM2B, for absent contexts. */
export const EMPTY_2B = changetype<TPM2B>(memory.data(4, 4));
