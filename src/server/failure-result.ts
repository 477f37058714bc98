// The result words with which the control channel answers a failure.
import { BackendError } from "../backend/backend.ts";
import { ContainerError } from "../state/container.ts";
import { RESULT, TPM_RC_FAILURE } from "./protocol.ts";

/** The result word for a failure of the backend. */
export function failureResult(error: unknown): number {
  if (error instanceof ContainerError) return error.result;
  if (!(error instanceof BackendError)) return RESULT.FAIL;
  return error.tpmCode ?? FAILURE_RESULTS[error.kind] ?? RESULT.FAIL;
}

const FAILURE_RESULTS: Partial<Record<BackendError["kind"], number>> = {
  state: RESULT.BAD_ORDINAL,
  locality: RESULT.BAD_LOCALITY,
  "bad-state": TPM_RC_FAILURE,
  io: RESULT.IOERROR,
};
