// swtpm's directory backend: one file for each state blob, replaced atomically.
import nodeFs from "node:fs";
import path from "node:path";
import type { StateBlobType, TpmFamily } from "../backend/backend.ts";
import { BackgroundSync } from "./background-sync.ts";
import { plainFormat } from "./container.ts";
import { encodeJournal, volatileIn } from "./dir-journal.ts";
import { decodeFile, type FoundState, findBackup, findPermanent } from "./dir-recovery.ts";
import type { StateFormat } from "./format.ts";
import { BLOB_FILE_NAMES, type DirectoryFileSystem, type LeftOverRole, StateFiles } from "./state-files.ts";
import { StoreLock } from "./store-lock.ts";
import { BLOB_TYPES, type Generation, StateError, type StateStore } from "./store.ts";

export interface DirStoreOptions {
  readonly family?: TpmFamily;
  /** What is put around the blobs. Default: swtpm's container, unencrypted. */
  readonly format?: StateFormat;
  /** Permission bits of new files, which also are put right on existing ones. Without it 0640 and the umask count. */
  readonly mode?: number;
  /** Hold a lock on `.lock` while owning the state. Default true. */
  readonly lock?: boolean;
  /** Let every commit reach the disk before it is done; without it that follows within about a second. Default true. */
  readonly fsync?: boolean;
  /** Keep the permanent state before the last one as `….permall.bak`, as swtpm does. Default false. */
  readonly backup?: boolean;
  /** Never write, not even a mode; `acquire` fails. Default false. */
  readonly readOnly?: boolean;
  /** Told what the user should know: that a state was recovered, or that the lock cannot keep out a foreign swtpm. */
  readonly warn?: (sentence: string) => void;
  readonly fileSystem?: DirectoryFileSystem;
}

/** What a file holds as far as this store knows: as read or written last. */
interface KnownFile {
  /** Undefined when it was removed, and that was not synced for certain. */
  readonly bytes: Uint8Array | undefined;
  /** The blob in it; undefined when what was done to it was not synced for certain. */
  readonly blob: Uint8Array | undefined;
}

/** The files that a commit writes. */
interface Attempt {
  readonly next: Generation;
  readonly files: { readonly [type in StateBlobType]?: Uint8Array };
  /** Needed when the volatile state changes together with another. */
  readonly journal: Uint8Array | undefined;
}

/** What the directory holds. */
type FoundFiles = { readonly [type in StateBlobType]?: Buffer } & {
  /** The permanent state, of which `bytes` are the same. */
  readonly state?: FoundState;
  readonly journal?: "needed" | "left over";
};

type KnownFiles = { [type in StateBlobType]?: KnownFile };

/**
 * State in a directory, in swtpm's files: `tpm2-00.permall`, `tpm2-00.volatilestate`, written as `TMP2-00.…` and renamed.
 *
 * The number of a generation is in the files' format; where another program wrote them it is counted. The content of the files tells
 * whether somebody else wrote between an unlocked `load` and `acquire`, and without a lock before every commit. When the volatile state changes
 * together with others, it is removed first and the new one is written last, so that no program ever finds one that does not fit; in between a
 * journal has the one that does.
 */
export class DirStore implements StateStore {
  readonly name: string;
  readonly #options: DirStoreOptions;
  readonly #files: StateFiles;
  readonly #format: StateFormat;
  readonly #lock: StoreLock;
  readonly #syncLater: BackgroundSync | undefined;
  #current: Generation = { number: 0, blobs: {} };
  #known: KnownFiles = {};
  /** Where the permanent state was found, if not in its own file: the first commit puts that right. */
  #recoveredFrom: LeftOverRole | undefined;
  /** A commit that failed when some of it was done. */
  #begun: Generation | undefined;
  /** What the commit under way, or one that failed, writes: it is repeated byte for byte. */
  #attempt: Attempt | undefined;
  /** A journal that was found: "needed" when the volatile state was taken from it. The first commit puts that right. */
  #journal: "needed" | "left over" | undefined;
  #told = "";
  #verified = false;

  constructor(directory: string, options: DirStoreOptions = {}) {
    this.name = `dir://${directory}`;
    this.#options = options;
    this.#format = options.format ?? plainFormat;
    const { family, mode, fileSystem, fsync = true, backup = false, readOnly = false } = options;
    this.#files = new StateFiles(directory, { family, mode, fileSystem, fsync, backup, readOnly });
    if (!fsync && !fileSystem) this.#syncLater = new BackgroundSync([this.#files.pathOf("permanent"), directory]);
    this.#lock = new StoreLock({
      file: path.join(directory, ".lock"),
      wanted: options.lock ?? true,
      warn: options.warn,
      inUse: `the state in ${directory} is in use by another process; stop it first, or give this TPM a directory of its own`,
      place: directory,
    });
  }

  acquire(): number {
    if (this.#options.readOnly) throw new StateError("io", `${this.name} was opened for reading only`);
    if (!this.#lock.owned) this.#verified = false;
    return this.#lock.acquire();
  }

  release(): void {
    this.#syncLater?.finish();
    this.#files.removePrevious();
    this.#lock.release();
  }

  load(): Generation {
    const files: KnownFiles = {};
    const found = this.#readFiles();
    let number = 0;
    for (const type of BLOB_TYPES) {
      const bytes = found[type];
      const known = this.#known[type];
      // An unchanged file keeps its object: that is how a commit knows that it need not write it.
      if (bytes && known?.blob && known.bytes && bytes.equals(known.bytes)) files[type] = known;
      else if (bytes) {
        const stored =
          type === "permanent"
            ? found.state!.stored
            : decodeFile(this.#files.pathOf(type), () => this.#format.decode(type, bytes));
        files[type] = { bytes, blob: stored.blob };
        number = Math.max(number, stored.generation ?? 0);
      }
    }
    if (BLOB_TYPES.some((type) => files[type] !== this.#known[type])) {
      const blobs: { [type in StateBlobType]?: Uint8Array } = {};
      for (const type of BLOB_TYPES) if (files[type]?.blob) blobs[type] = files[type].blob;
      this.#current = { number: Math.max(number, this.#current.number + 1), blobs };
    }
    this.#known = files;
    this.#journal = found.journal;
    this.#attempt = undefined;
    const { role, note } = found.state ?? {};
    this.#recoveredFrom = role === "current" ? undefined : role;
    this.#verified = this.#lock.owned;
    if (note) this.#tell(note);
    return this.#current;
  }

  /** With the option `backup`: what `….permall.bak` holds, as swtpm starts from it when it cannot load the permanent state. */
  loadPrevious(): Generation | undefined {
    if (!this.#options.backup || this.#recoveredFrom) return undefined;
    const backup = findBackup(this.#files, this.#format);
    if (!backup) return undefined;
    this.#recoveredFrom = "backup";
    // A volatile state belongs to the permanent state it was stored with.
    this.#current = { number: this.#current.number, blobs: { permanent: backup.stored.blob } };
    this.#tell(`the state in ${this.#files.pathOf("permanent", "backup")} is taken instead`);
    return this.#current;
  }

  commit(next: Generation, fence: number): void {
    this.#lock.check(fence, this.name);
    if (next === this.#current) return;
    // A lock keeps others away; without one they may have written at any time.
    if (!this.#verified || !this.#lock.held) this.#verify();
    if (next.number !== this.#current.number + 1) {
      throw new StateError(
        "conflict",
        `${this.name}: generation ${this.#current.number} is there, not ${next.number - 1}`,
      );
    }
    if (this.#recoveredFrom) this.#adopt();
    if (this.#journal && this.#begun !== next) this.#settleJournal();
    if (this.#attempt?.next !== next) this.#attempt = this.#prepare(next);
    const { journal } = this.#attempt;
    // Nothing has changed as long as this alone is there.
    if (journal && this.#begun !== next) this.#writeJournal(journal);
    try {
      for (const step of this.#steps(next)) {
        step();
        this.#begun = next;
      }
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      if (error.kind === "unknown") this.#begun = next;
      if (this.#begun !== next) throw error;
      throw new StateError("unknown", error.message, { cause: error });
    }
    this.#begun = undefined;
    this.#attempt = undefined;
    this.#current = next;
    this.#syncLater?.touch();
  }

  close(): void {
    this.release();
  }

  #changed(next: Generation): StateBlobType[] {
    return BLOB_TYPES.filter((type) => {
      const known = this.#known[type];
      return next.blobs[type] !== known?.blob || (known && !known.blob);
    });
  }

  #prepare(next: Generation): Attempt {
    const files: { [type in StateBlobType]?: Uint8Array } = {};
    const changed = this.#changed(next);
    for (const type of changed) {
      const blob = next.blobs[type];
      if (blob) files[type] = this.#format.encode(type, blob, next.number);
    }
    if (!changed.includes("permanent") || !changed.includes("volatile")) return { next, files, journal: undefined };
    const { permanent, volatile } = this.#known;
    return { next, files, journal: encodeJournal({ permanent: permanent?.bytes, volatile: volatile?.bytes }, files) };
  }

  /** What is to be done to the files, in the order that leaves a consistent state wherever it ends. */
  #steps(next: Generation): (() => void)[] {
    const { files, journal } = this.#attempt!;
    const changed = this.#changed(next);
    const steps: (() => void)[] = [];
    if (changed.length > 1 && changed.includes("volatile")) steps.push(() => this.#remove("volatile"));
    for (const type of ["permanent", "savestate", "volatile"] as const) {
      if (!changed.includes(type)) continue;
      const [blob, bytes] = [next.blobs[type], files[type]];
      steps.push(blob && bytes ? () => this.#replace(type, blob, bytes) : () => this.#remove(type));
    }
    if (journal) steps.push(() => this.#removeJournal(false));
    return steps;
  }

  #writeJournal(journal: Uint8Array): void {
    try {
      this.#journal = "left over";
      this.#files.writeJournal(journal);
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      throw new StateError("io", error.message, { cause: error });
    }
  }

  /** Gives a volatile state that was found in the journal its own file. */
  #settleJournal(): void {
    const { volatile } = this.#known;
    if (this.#journal === "needed" && volatile?.bytes) this.#files.replace("volatile", volatile.bytes, false);
    this.#removeJournal(true);
  }

  #removeJournal(durably: boolean): void {
    this.#files.removeJournal(durably);
    this.#journal = undefined;
  }

  #replace(type: StateBlobType, blob: Uint8Array, bytes: Uint8Array): void {
    // What is written again, because it was not synced for certain, is not its own backup.
    const keepOld =
      type === "permanent" && (this.#options.backup ?? false) && this.#known.permanent?.blob !== undefined;
    try {
      this.#files.replace(type, bytes, keepOld);
      this.#known[type] = { bytes, blob };
    } catch (error) {
      if (isUnknown(error)) this.#known[type] = { bytes, blob: undefined };
      throw error;
    }
  }

  #remove(type: StateBlobType): void {
    if (this.#known[type] === undefined) return;
    try {
      this.#files.remove(type);
      delete this.#known[type];
    } catch (error) {
      if (isUnknown(error)) this.#known[type] = { bytes: undefined, blob: undefined };
      throw error;
    }
  }

  /** Gives a state that was found elsewhere its own file. */
  #adopt(): void {
    this.#files.adopt(this.#recoveredFrom!);
    this.#recoveredFrom = undefined;
  }

  /** What is stored now; the permanent state is `state.bytes` too. */
  #readFiles(): FoundFiles {
    const state = findPermanent(this.#files, this.#format);
    const found: { [type in StateBlobType]?: Buffer } = {};
    for (const type of BLOB_TYPES) {
      const bytes = type === "permanent" ? state?.bytes : this.#files.read(type);
      if (bytes) found[type] = bytes;
    }
    const journal = this.#files.read("volatile", "journal");
    const volatile = journal && !found.volatile ? volatileIn(journal, found.permanent) : undefined;
    if (volatile) found.volatile = Buffer.from(volatile);
    return { ...found, ...(state && { state }), ...(journal && { journal: volatile ? "needed" : "left over" }) };
  }

  /** Reads again what was loaded: somebody may have written since. */
  #verify(): void {
    for (const type of BLOB_TYPES) {
      // A temporary file of a commit that failed is nobody's state as long as there was none in its place.
      const elsewhere =
        (type === "permanent" && this.#recoveredFrom !== undefined) ||
        (type === "volatile" && this.#journal === "needed");
      const bytes = elsewhere ? this.#readFiles()[type] : this.#files.read(type);
      const known = this.#known[type]?.bytes;
      // A disk that went away: what the TPM runs on is all there is.
      if (known && !bytes) throw new StateError("io", `${this.#files.pathOf(type)} has vanished`);
      if (bytes && !(known && bytes.equals(known)))
        throw new StateError("conflict", `${this.name}: the state was changed by another process after it was read`);
    }
    this.#verified = true;
  }

  #tell(sentence: string): void {
    if (sentence === this.#told) return;
    this.#told = sentence;
    this.#options.warn?.(sentence);
  }
}

const isUnknown = (error: unknown) => error instanceof StateError && error.kind === "unknown";

/** Which blobs a state directory has, and the size of their files in bytes: what --print-states prints. */
export function listStates(directory: string, family: TpmFamily = "2.0"): { name: string; size: number }[] {
  const found: { name: string; size: number }[] = [];
  for (const type of BLOB_TYPES) {
    const name = BLOB_FILE_NAMES[type];
    const file = path.join(directory, `tpm${family === "2.0" ? "2" : ""}-00.${name}`);
    const stat = nodeFs.statSync(file, { throwIfNoEntry: false });
    if (!stat) continue;
    if (!stat.isFile()) throw new StateError("damaged", `${file} is not a state file`);
    found.push({ name, size: stat.size });
  }
  return found;
}
