// What the commands need of an engine.
import type { Backend } from "../backend/backend.ts";
import type { StateStore } from "../state/store.ts";

/** Makes a TPM 2.0 over a store; it is not running yet. */
export type BackendFactory = (options: {
  readonly store: StateStore;
  /** libtpms' JSON profile: the TPM has to be made with it, and cannot exist already. */
  readonly profile?: string;
  /** Where to say why the TPM went into failure mode. */
  readonly warn?: (sentence: string) => void;
}) => Promise<Backend>;
