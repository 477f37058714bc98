// A store's failure as a backend reports it.
import { BackendError, type BackendErrorKind } from "../backend/backend.ts";
import { StateError, type StateErrorKind } from "./store.ts";

const KINDS: Readonly<Record<StateErrorKind, BackendErrorKind>> = {
  locked: "storage",
  conflict: "storage",
  io: "storage",
  unknown: "storage",
  damaged: "bad-state",
  "too-new": "bad-state",
  encrypted: "bad-state",
};

/** The error a backend throws for what its store threw; other errors are returned as they are. */
export function asBackendError(error: unknown): unknown {
  return error instanceof StateError ? new BackendError(KINDS[error.kind], error.message, { cause: error }) : error;
}
