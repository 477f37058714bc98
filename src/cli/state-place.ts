// Where the commands of `wtpm state` find a state, and where they put one: the places of `wtpm socket`, or simply a directory.
import fs from "node:fs";
import { plainFormat } from "../state/container.ts";
import type { StateFormat } from "../state/format.ts";
import { StateKeeper } from "../state/keeper.ts";
import { openStore } from "../state/open-store.ts";
import { BLOB_TYPES, type Generation, type StateBlobs, StateError, type StateStore } from "../state/store.ts";
import { equalBytes } from "../codec/bytes.ts";
import { stateFormat } from "./key-options.ts";
import { OptionError } from "./option-list.ts";
import { type StateOptions, stateOptions } from "./state-options.ts";

/** What the user said of a place. */
export interface PlaceOptions {
  /** A directory, a file or a URI. */
  readonly place?: string | undefined;
  /** swtpm's --tpmstate, instead of `place`. */
  readonly tpmstate?: string | undefined;
  /** swtpm's --key. */
  readonly key?: string | undefined;
  /** Instead of what `key` says. */
  readonly format?: StateFormat | undefined;
}

interface OpenOptions {
  /** Never write there, not even to put right what a crash left. */
  readonly readOnly?: boolean;
  /** How what is there was written, if it is not as it is to be written. */
  readonly before?: StateFormat | undefined;
}

/** A place of state, opened or not. */
export interface Place {
  /** "dir:///var/lib/tpm" */
  readonly uri: string;
  readonly format: StateFormat;
  open(options?: OpenOptions): StateStore;
}

/** The place to copy to: with the source's key, unless something else was said. @throws OptionError */
export async function targetPlace(
  source: Place,
  { decrypt, ...to }: PlaceOptions & { decrypt: boolean },
): Promise<Place> {
  if (to.place === undefined && to.tpmstate === undefined)
    throw new OptionError("where to? Name a directory, or use --to-tpmstate dir=DIRECTORY");
  if (decrypt && to.key !== undefined) throw new OptionError("--decrypt and --to-key exclude each other");
  if (to.key !== undefined) return placeOf(to);
  return placeOf({ ...to, format: decrypt ? plainFormat : source.format });
}

/** What a place holds. */
export interface FoundState {
  readonly generation: Generation;
  /** A process has the place's lock: what was read may be a moment old. */
  readonly inUse: boolean;
}

/** Tells the user what may matter, beside the output. */
export const warn = (sentence: string): void => void process.stderr.write(`wtpm: Warning: ${sentence}\n`);
/** Prints a line. */
export const say = (sentence: string): void => void process.stdout.write(`${sentence}\n`);

/** The place that the user named. @throws OptionError when there is none, or it cannot be understood */
export async function placeOf({ place, tpmstate, key, format: given }: PlaceOptions): Promise<Place> {
  if (place !== undefined && tpmstate !== undefined)
    throw new OptionError(`'${place}' and --tpmstate both say where the state is: leave one out`);
  const options: StateOptions = place === undefined ? stateOptions(tpmstate, process.env) : { uri: uriOf(place) };
  const { uri } = options;
  if (uri === undefined)
    throw new OptionError("where is the state? Name a directory, or use --tpmstate dir=DIRECTORY, or set TPM_PATH");
  if (options.ephemeral)
    throw new OptionError(
      "'ephemeral' is for a TPM that runs: leave it out, the commands of wtpm state are about what is stored",
    );
  const format = given ?? (await stateFormat(key, warn));
  return {
    uri,
    format,
    open: ({ readOnly = false, before } = {}) =>
      openStore(uri, {
        family: "2.0",
        warn,
        ...options,
        format: before ? { ...format, decode: before.decode.bind(before) } : format,
        readOnly,
      }),
  };
}

/** Whether two places are one, by whichever names. */
export function isSamePlace(one: Place, other: Place): boolean {
  return realUri(one.uri) === realUri(other.uri);
}

function realUri(uri: string): string {
  const scheme = /^[a-z]+:\/\//.exec(uri)?.[0] ?? "";
  try {
    return scheme + fs.realpathSync(uri.slice(scheme.length));
  } catch {
    // There is nothing yet.
    return uri;
  }
}

function uriOf(place: string): string {
  if (/^[a-z]+:\/\//.test(place)) return place;
  if (/^(dir|backend-uri)=/.test(place))
    throw new OptionError(`'${place}' is a value of --tpmstate: name a directory or file alone, or use the option`);
  const isFile = fs.statSync(place, { throwIfNoEntry: false })?.isFile() ?? false;
  return `${isFile ? "file" : "dir"}://${place}`;
}

/**
 * What the place holds now. Nothing is changed there.
 *
 * @throws StateError, also when there is no state.
 */
export async function readPlace(place: Place): Promise<FoundState> {
  const inUse = await isInUse(place);
  const store = place.open({ readOnly: true });
  try {
    const generation = await store.load();
    if (!hasState(generation)) throw new StateError("io", `${place.uri}: there is no state of a TPM 2.0`);
    return { generation, inUse };
  } finally {
    await store.close();
  }
}

export function hasState({ blobs }: Generation): boolean {
  return BLOB_TYPES.some((type) => blobs[type] !== undefined);
}

/** Whether another process holds the lock. Where there is nothing to lock nobody does, and nothing is made for that. */
async function isInUse({ uri, open }: Place): Promise<boolean> {
  const [, scheme, file] = /^(dir|file):\/\/(.*)$/s.exec(uri) ?? [];
  if (file !== undefined && !fs.existsSync(scheme === "dir" ? `${file}/.lock` : file)) return false;
  const store = open();
  try {
    await store.acquire();
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    return error.kind === "locked";
  } finally {
    await store.close();
  }
  return false;
}

/**
 * Makes `blobs` all that the place holds, reads it again and compares. A directory is made if it is missing. What is there already, to the
 * byte, is not written again: a volatile state that stays is never missing.
 *
 * @param replace put it in the place of what is there.
 * @throws StateError "locked" when a TPM runs there; "conflict" when there is a state and it is not to be replaced.
 */
export async function writePlace(
  place: Place,
  blobs: StateBlobs,
  { replace = false }: { readonly replace?: boolean } = {},
): Promise<void> {
  if (place.uri.startsWith("dir://")) fs.mkdirSync(place.uri.slice("dir://".length), { recursive: true, mode: 0o700 });
  await withKeeper(place.open(), async (keeper, before) => {
    if (!replace && hasState({ number: 0, blobs: before }))
      throw new StateError(
        "conflict",
        `${place.uri}: there is a state already; --replace puts the new one in its place`,
      );
    const entries = BLOB_TYPES.map((type) => {
      const [old, blob] = [before[type], blobs[type]];
      return [type, old && blob && equalBytes(old, blob) ? old : blob];
    });
    await keeper.save(Object.fromEntries(entries));
  });
  await verifyPlace(place, blobs);
}

/**
 * Writes a state again where it is, in another format or form, reads it again and compares.
 *
 * @param before how what is there was written.
 * @throws StateError "locked" when a TPM runs there.
 */
export async function rewritePlace(place: Place, blobs: StateBlobs, before: StateFormat): Promise<void> {
  await withKeeper(place.open({ before }), async (keeper) => keeper.save(freshly(blobs)));
  await verifyPlace(place, blobs);
}

/** All blobs as new objects: a store writes only what is not the same one. */
function freshly(blobs: StateBlobs): StateBlobs {
  return Object.fromEntries(BLOB_TYPES.map((type) => [type, blobs[type]?.slice()]));
}

async function withKeeper(
  store: StateStore,
  work: (keeper: StateKeeper, blobs: StateBlobs) => Promise<void>,
): Promise<void> {
  const keeper = new StateKeeper(store);
  try {
    await work(keeper, await keeper.open());
  } finally {
    await keeper.close();
  }
}

async function verifyPlace(place: Place, expected: StateBlobs): Promise<void> {
  const { blobs } = (await readPlace(place)).generation;
  for (const type of BLOB_TYPES) {
    if (!equalBytes(blobs[type] ?? new Uint8Array(), expected[type] ?? new Uint8Array()))
      throw new StateError("damaged", `${place.uri}: the ${type} state that was written is read differently`);
  }
}
