// Why a state could not be loaded, in a sentence.

const TPM_RC_BAD_VERSION = 0x2e;
const BAD_PARAMETER = 0x03;

/** The sentence for the code that loading a state answered. */
export function stateErrorText(type: "permanent" | "volatile", rc: number): string {
  switch (rc) {
    case TPM_RC_BAD_VERSION:
      return `the ${type} state was written by a newer version of libtpms or wtpm than this one can read: start it with that version`;
    case BAD_PARAMETER:
      return `the ${type} state was written by a libtpms built with other algorithms or limits than this TPM has`;
    default:
      return `the ${type} state is damaged (response code 0x${rc.toString(16).padStart(3, "0")})`;
  }
}
