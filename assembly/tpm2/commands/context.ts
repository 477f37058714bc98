// Part 3, 28: context management.
import { TPM_HT_HMAC_SESSION, TPM_HT_POLICY_SESSION, TPM_RC_1, TPM_RC_HANDLE, TPM_RC_P } from "../generated/constants";
import { FlushContext_In } from "../generated/records";
import { handleType } from "../handles";
import { flushObject, objectIsPresent } from "../object";
import { sessionFlush, sessionIsLoaded, sessionIsSaved } from "../session";

/** The handle is a parameter: absence is an error of parameter 1. */
export function FlushContext(input: FlushContext_In): u32 {
  const handle = input.flushHandle;
  const type = handleType(handle);
  if (type == TPM_HT_HMAC_SESSION || type == TPM_HT_POLICY_SESSION) {
    if (!sessionIsLoaded(handle) && !sessionIsSaved(handle)) return TPM_RC_HANDLE + TPM_RC_P + TPM_RC_1;
    sessionFlush(handle);
    return 0;
  }
  if (!objectIsPresent(handle)) return TPM_RC_HANDLE + TPM_RC_P + TPM_RC_1;
  flushObject(handle);
  return 0;
}
