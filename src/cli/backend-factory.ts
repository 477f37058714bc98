// What the commands need of an engine.
import type { Backend } from "../backend/backend.ts";
import type { StateStore } from "../state/store.ts";

/** Makes a TPM 2.0 over a store; it is not running yet. */
export type BackendFactory = (options: { readonly store: StateStore }) => Promise<Backend>;
