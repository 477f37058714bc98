// Which file of a state directory holds the newest whole permanent state.
import type { StateFormat, StoredBlob } from "./format.ts";
import type { LeftOverRole, StateFiles } from "./state-files.ts";
import { StateError } from "./store.ts";

/** A permanent state and the file it was in. */
export interface FoundState {
  readonly role: "current" | LeftOverRole;
  readonly bytes: Buffer;
  readonly stored: StoredBlob;
  /** Why it is not the current file that was taken, in a sentence; undefined when it is. */
  readonly note?: string;
}

/** In the order in which equally new ones are taken. */
const LEFT_OVERS: readonly LeftOverRole[] = ["temporary", "backup", "exchange", "previous", "retired"];
/** How often a file is read that changes while it is being read. */
const READ_ATTEMPTS = 5;

/**
 * The permanent state of a directory; undefined when there is none.
 *
 * The current file counts if it is whole: renaming it into place was the commit, and what a temporary file holds was never acknowledged.
 * When it is missing or damaged (a power loss under a program that does not sync, a crash in the middle of swtpm's way to make a backup, a
 * disk that lost it), the left-over with the highest generation that is whole takes its place.
 *
 * @throws StateError "damaged" when there is a current file and nothing whole, "too-new", "encrypted", "io".
 */
export function findPermanent(files: StateFiles, format: StateFormat): FoundState | undefined {
  let failure: StateError | undefined;
  try {
    const current = readCurrent(files, format);
    if (current) return current;
  } catch (error) {
    if (!isDamage(error)) throw error;
    failure = error;
  }
  let newest: FoundState | undefined;
  for (const role of LEFT_OVERS) {
    const found = leftOver(files, format, role);
    if (found && (!newest || (found.stored.generation ?? 0) > (newest.stored.generation ?? 0))) newest = found;
  }
  if (newest) {
    const why = failure ? failure.message : `${files.pathOf("permanent")} is missing`;
    return { ...newest, note: `${why}; the state in ${files.pathOf("permanent", newest.role)} is taken instead` };
  }
  if (failure) throw failure;
  return undefined;
}

/** The backup of the permanent state, if it is whole. */
export function findBackup(files: StateFiles, format: StateFormat): FoundState | undefined {
  return leftOver(files, format, "backup");
}

/** The current file. Its owner, if that is somebody else, may write over the file that was opened, once another has its name. */
function readCurrent(files: StateFiles, format: StateFormat): FoundState | undefined {
  for (let attempt = 1; ; attempt++) {
    const bytes = files.read("permanent");
    try {
      return bytes && decodeState(files, format, "current", bytes);
    } catch (error) {
      if (!isDamage(error) || attempt === READ_ATTEMPTS || files.read("permanent")?.equals(bytes!)) throw error;
    }
  }
}

function leftOver(files: StateFiles, format: StateFormat, role: FoundState["role"]): FoundState | undefined {
  try {
    return readState(files, format, role);
  } catch (error) {
    if (error instanceof StateError) return undefined;
    throw error;
  }
}

function readState(files: StateFiles, format: StateFormat, role: FoundState["role"]): FoundState | undefined {
  const bytes = files.read("permanent", role);
  return bytes && decodeState(files, format, role, bytes);
}

function decodeState(files: StateFiles, format: StateFormat, role: FoundState["role"], bytes: Buffer): FoundState {
  const stored = decodeFile(files.pathOf("permanent", role), () => format.decode("permanent", bytes));
  return { role, bytes, stored };
}

/** Calls `decode`, whose errors are to name the file. */
export function decodeFile(file: string, decode: () => StoredBlob): StoredBlob {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    throw new StateError(error.kind, `${file}: ${error.message}`, { cause: error });
  }
}

export function isDamage(error: unknown): error is StateError {
  return error instanceof StateError && error.kind === "damaged";
}
