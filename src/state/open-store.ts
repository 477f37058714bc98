// Stores by the names users give them.
import fs from "node:fs";
import type { TpmFamily } from "../backend/backend.ts";
import { DirStore, type DirStoreOptions, listStates } from "./dir-store.ts";
import { LinearFile, listLinearStates } from "./linear-file.ts";
import { LinearStore } from "./linear-store.ts";
import { MemoryStore } from "./memory-store.ts";
import { OverlayStore } from "./overlay-store.ts";
import { type Generation, StateError, type StateStore } from "./store.ts";

/** Options of all stores; each takes those that it knows. `fileSystem` is for tests of single stores. */
export interface OpenStoreOptions extends Omit<DirStoreOptions, "fileSystem"> {
  readonly family: TpmFamily;
  /** Keep changes in memory only, and leave the stored state as it is. Default false. */
  readonly ephemeral?: boolean;
  /** Told what swtpm says in its log too. */
  readonly inform?: (sentence: string) => void;
}

const [DIR, FILE, MEMORY] = ["dir://", "file://", "memory://"] as const;

/**
 * The store of `--tpmstate backend-uri=`: `dir://PATH`, `file://PATH` for a file or block device with everything in it, or `memory://` for
 * state that vanishes with the process.
 *
 * @throws StateError "io" with a sentence for any other, and for options that the place does not have.
 */
export function openStore(uri: string, options: OpenStoreOptions): StateStore {
  const { ephemeral = false, ...rest } = options;
  if (!ephemeral) return openBase(uri, rest);
  // Nothing would ever complain of a directory that is not there.
  if (uri.startsWith(DIR)) checkDirectory(uri);
  return new OverlayStore(openBase(uri, { ...rest, readOnly: true }));
}

function openBase(uri: string, options: Omit<OpenStoreOptions, "ephemeral">): StateStore {
  if (uri.startsWith(DIR)) return new DirStore(uri.slice(DIR.length), options);
  if (uri.startsWith(MEMORY)) return new MemoryStore({}, uri);
  if (uri.startsWith(FILE)) {
    if (options.backup)
      throw new StateError("io", `${uri}: The backup option is not supported with this storage backend`);
    return new LinearStore(uri.slice(FILE.length), options);
  }
  throw unsupported(uri);
}

/**
 * Which blobs the place has, and the size of their containers in bytes: what --print-states prints.
 *
 * A file that is missing is made, as swtpm makes it: swtpm_setup asks this first, and then removes the file to start anew.
 *
 * @throws StateError "io" for a place that is none.
 */
export function statesAt(
  uri: string,
  { family, mode, ephemeral = false }: Pick<OpenStoreOptions, "family" | "mode" | "ephemeral">,
): { name: string; size: number }[] {
  if (uri.startsWith(DIR)) {
    checkDirectory(uri);
    return listStates(uri.slice(DIR.length), family);
  }
  if (uri.startsWith(MEMORY)) return [];
  if (!uri.startsWith(FILE)) throw unsupported(uri);
  const file = uri.slice(FILE.length);
  if (!ephemeral && !fs.existsSync(file)) LinearFile.write(file, { mode, fsync: false, fileSystem: fs }).close();
  return listLinearStates(file);
}

function checkDirectory(uri: string): void {
  if (!fs.statSync(uri.slice(DIR.length), { throwIfNoEntry: false })?.isDirectory())
    throw new StateError("io", `${uri}: there is no such directory`);
}

const unsupported = (uri: string) =>
  new StateError("io", `${uri}: unsupported state backend; use dir://DIRECTORY or file://FILE`);

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
