// Stores by the names users give them.
import type { TpmFamily } from "../backend/backend.ts";
import { DirStore, type DirStoreOptions } from "./dir-store.ts";
import { MemoryStore } from "./memory-store.ts";
import { type Generation, StateError, type StateStore } from "./store.ts";

/**
 * The store of `--tpmstate backend-uri=`: `dir://PATH`, or `memory://` for state that vanishes with the process.
 *
 * @throws StateError "io" with a sentence for any other.
 */
export function openStore(uri: string, options: DirStoreOptions & { readonly family: TpmFamily }): StateStore {
  if (uri.startsWith("dir://")) return new DirStore(uri.slice("dir://".length), options);
  if (uri.startsWith("memory://")) return new MemoryStore({}, uri);
  if (uri.startsWith("file://")) {
    throw new StateError("io", `${uri}: state in a single file is not supported yet; use dir://DIRECTORY`);
  }
  throw new StateError("io", `${uri}: unsupported state backend; use dir://DIRECTORY`);
}

/** Stands in where no place was given: control commands work, starting the TPM does not. */
export class NoStore implements StateStore {
  readonly name = "nowhere";
  acquire(): number {
    throw new StateError("io", "no place for the state was given: use --tpmstate dir=DIRECTORY, or set TPM_PATH");
  }
  release(): void {}
  load(): Generation {
    return { number: 0, blobs: {} };
  }
  commit(): void {
    this.acquire();
  }
  close(): void {}
}
