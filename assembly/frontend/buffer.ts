// The command/response buffer every interface has one of, and what the interfaces read in a command themselves.

/** Bytes in the buffer: what TIS and SPAPR hold. CRB uses the first CRB_WINDOW_SIZE of them as its guest-visible window. */
export const BUFFER_SIZE: u32 = 4096;
export const BUFFER: usize = memory.data(4096);

/** Tag, size and code: the header of every command and response (Part 1, 18.1). */
export const HEADER_SIZE: u32 = 10;

const TPM_ORD_CONTINUE_SELF_TEST: u32 = 0x53;

/** The size field of the command or response in the buffer. */
export function sizeField(): u32 {
  return bswap<u32>(load<u32>(BUFFER, 2));
}

/** True for a TPM 1.2 TPM_ContinueSelfTest of `length` bytes in the buffer; only the ordinal counts, not the tag. */
export function isSelfTest(length: u32): bool {
  return length >= HEADER_SIZE && bswap<u32>(load<u32>(BUFFER, 6)) == TPM_ORD_CONTINUE_SELF_TEST;
}

/** True when the response in the buffer carries the code 0. */
export function succeeded(length: u32): bool {
  return length >= HEADER_SIZE && load<u32>(BUFFER, 6) == 0;
}

/**
 * The response of a backend that failed: TPM_FAIL with TPM 1.2's tag. QEMU gives the same for TPM 2.0.
 * Returns its length.
 */
export function failureResponse(): u32 {
  store<u16>(BUFFER, 0xc400);
  store<u32>(BUFFER, bswap<u32>(HEADER_SIZE), 2);
  store<u32>(BUFFER, 0x0900_0000, 6);
  return HEADER_SIZE;
}
