// What is wrong with a state, where the library specification has no code for it: libtpms' codes.

/** A structure needs a newer implementation. */
export const TPM_RC_BAD_VERSION: u32 = 0x2e;
/** A compile-time constant of the writer does not fit this engine. */
export const TPM_RC_BAD_PARAMETER: u32 = 0x03;
