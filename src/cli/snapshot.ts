// `wtpm snapshot`: keeping states of a TPM and going back to them. A running TPM's server does it itself; otherwise this process.
import fs from "node:fs";
import type { ManagementArguments } from "../server/management-channel.ts";
import { askManagement } from "../server/management-client.ts";
import {
  createSnapshot,
  deleteSnapshot,
  pruneSnapshots,
  type Restored,
  restoreSnapshot,
  type SnapshotSubject,
  withStoredTpm,
} from "../state/snapshot/operations.ts";
import { plainFormat } from "../state/container.ts";
import type { StateFormat } from "../state/format.ts";
import type { Snapshot, SnapshotIndex } from "../state/snapshot/record.ts";
import type { SnapshotRepository } from "../state/snapshot/repository.ts";
import { StateError } from "../state/store.ts";
import { stateFormat } from "./key-options.ts";
import { OptionError } from "./option-list.ts";
import { type SnapshotPlace, snapshotPlace } from "./snapshot-place.ts";
import { repositoryOf } from "./snapshot-repository.ts";
import { snapshotJson, snapshotTable, snapshotTree } from "./snapshot-text.ts";
import { openState, type StateOptions, stateOptions } from "./state-options.ts";

/** Where the state is, and what opens it. */
export interface PlaceWords {
  /** A directory. */
  readonly state?: string;
  /** swtpm's --tpmstate. */
  readonly tpmstate?: string;
  /** swtpm's --key. */
  readonly key?: string;
  /** The server's --management. */
  readonly management?: string;
}

const DEFAULT_STATE = "./wtpm-state";
/** Another such command may have the lock; a server that has it may not have its socket yet, or no longer. */
const PATIENCE_MS = 3000;
const RETRY_INTERVAL_MS = 50;
/** More than these, and the user is told how to be rid of them. */
const MANY_UNDO_SNAPSHOTS = 10;

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const warn = (text: string): void => void process.stderr.write(`wtpm: Warning: ${text}\n`);

/** `wtpm snapshot create [NAME]` */
export async function createCommand(
  name: string | undefined,
  options: PlaceWords & { readonly description?: string },
): Promise<void> {
  const { description } = options;
  const about = { ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }) };
  const { snapshot } = (await perform(options, "snapshot-create", about, async (repository, subject) => ({
    snapshot: await createSnapshot(repository, subject, about),
  }))) as { snapshot: Snapshot };
  say(`snapshot ${snapshot.name} of the ${snapshot.running ? "running" : "stopped"} TPM`);
}

/** `wtpm snapshot restore NAME` */
export async function restoreCommand(
  name: string,
  options: PlaceWords & { readonly running?: boolean; readonly cold?: boolean; readonly undo?: boolean },
): Promise<void> {
  const { running = false, cold = false, undo = true } = options;
  const how = { running, cold, undo };
  const restored = (await perform(options, "snapshot-restore", { name, ...how }, async (repository, subject) => ({
    ...(await restoreSnapshot(repository, subject, name, how)),
  }))) as unknown as Restored;
  say(`the state is that of snapshot ${name}; ${restored.resumes ? "the TPM goes on there" : "the TPM starts anew"}`);
  if (restored.kept !== undefined) say(`the state before is snapshot ${restored.kept}`);
  const many = undoSnapshots(options);
  if (many > MANY_UNDO_SNAPSHOTS) say(`there are ${many} undo snapshots; wtpm snapshot prune forgets them`);
}

function undoSnapshots(words: PlaceWords): number {
  const { place, options } = placeOf(words);
  const index = repositoryOf(place, options, plainFormat).index(false);
  return index?.snapshots.filter(({ automatic }) => automatic).length ?? 0;
}

/** `wtpm snapshot delete NAME` */
export async function deleteCommand(
  name: string,
  options: PlaceWords & { readonly children?: boolean },
): Promise<void> {
  const { children: descendants = false } = options;
  const { deleted } = (await perform(
    options,
    "snapshot-delete",
    { name, descendants },
    async (repository, subject) => ({
      deleted: await deleteSnapshot(repository, subject, name, { descendants }),
    }),
  )) as { deleted: string[] };
  say(`deleted ${deleted.join(", ")}`);
}

/** `wtpm snapshot prune` */
export async function pruneCommand(options: PlaceWords & { readonly keep: number }): Promise<void> {
  const { keep } = options;
  const { deleted } = (await perform(options, "snapshot-prune", { keep }, async (repository, subject) => ({
    deleted: await pruneSnapshots(repository, subject, keep),
  }))) as { deleted: string[] };
  say(deleted.length > 0 ? `deleted ${deleted.join(", ")}` : "there is nothing to forget");
}

/** `wtpm snapshot list` */
export async function listCommand(options: PlaceWords & { readonly json?: boolean }): Promise<void> {
  const index = await readIndex(options);
  if (options.json) say(snapshotJson(index));
  else if (index?.snapshots.length) say(snapshotTable(index));
  else say("there are no snapshots");
}

/** `wtpm snapshot tree` */
export async function treeCommand(options: PlaceWords): Promise<void> {
  const index = await readIndex(options);
  say(index?.snapshots.length ? snapshotTree(index) : "there are no snapshots");
}

/** The list, also while a TPM runs. With a key it is checked, without it believed. */
async function readIndex(words: PlaceWords): Promise<SnapshotIndex | undefined> {
  const { place, options } = placeOf(words);
  const repository = repositoryOf(place, options, await stateFormat(words.key, warn));
  try {
    return repository.index();
  } catch (error) {
    if (words.key !== undefined || !(error instanceof StateError) || error.kind !== "encrypted") throw error;
    return repository.index(false);
  }
}

function placeOf(words: PlaceWords): { place: SnapshotPlace; options: StateOptions } {
  const { state, tpmstate } = words;
  if (state !== undefined && tpmstate !== undefined)
    throw new OptionError("--state and --tpmstate both say where the state is: leave one out");
  const named = state === undefined ? stateOptions(tpmstate, process.env) : { uri: `dir://${state}` };
  const options = named.uri === undefined ? { ...named, uri: `dir://${DEFAULT_STATE}` } : named;
  const place = snapshotPlace(options);
  if (!place) throw new OptionError(`${options.uri}: there can be no snapshots: nothing lies beside this state`);
  if (!fs.existsSync(place.state))
    throw new OptionError(`there is no ${place.state}: name the state with --state DIRECTORY or --tpmstate LIST`);
  return { place, options };
}

type Work = (repository: SnapshotRepository, subject: SnapshotSubject) => Promise<Readonly<Record<string, unknown>>>;

/** Has the TPM's server do it, if there is one, and does it otherwise. */
async function perform(
  words: PlaceWords,
  command: string,
  values: ManagementArguments,
  work: Work,
): Promise<Readonly<Record<string, unknown>>> {
  const { place, options } = placeOf(words);
  const socket = words.management ?? place.socket;
  // A key is read once: it may come through a pipe.
  let format: StateFormat | undefined;
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const reply = await askManagement(socket, command, values);
    if (reply) return reply;
    format ??= await stateFormat(words.key, warn);
    const repository = repositoryOf(place, options, format);
    const store = openState({ lock: true, ...options }, "2.0", warn, format)!;
    try {
      return await withStoredTpm(store, (subject) => work(repository, subject));
    } catch (error) {
      if (!(error instanceof StateError) || error.kind !== "locked") throw error;
      if (performance.now() > end) {
        const message = `${error.message}. If that is wtpm, it serves no management socket at ${socket}`;
        throw new StateError("locked", message, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_INTERVAL_MS));
    } finally {
      await store.close();
    }
  }
}
