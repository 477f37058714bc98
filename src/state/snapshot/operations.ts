// Keeping and putting back the state of a TPM, whoever holds it: a store that nobody uses, or a server with its TPM.
import type { Awaitable } from "../../backend/backend.ts";
import { StateKeeper } from "../keeper.ts";
import { type StateBlobs, StateError, type StateStore } from "../store.ts";
import type { Snapshot } from "./record.ts";
import { SnapshotError } from "./record.ts";
import type { Capture, CreateOptions, SnapshotRepository } from "./repository.ts";

/** A TPM whose state is held by the caller. */
export interface SnapshotSubject {
  readonly running: boolean;
  /** What is stored. */
  stored(): Awaitable<StateBlobs>;
  /** The whole state: of a running TPM with the volatile state it has now. */
  capture(): Awaitable<Capture>;
  /** Stores another state, as one change. A running TPM goes on with it. */
  replace(blobs: StateBlobs): Awaitable<void>;
}

export interface RestoreOptions {
  /** Replace the state of a running TPM. Without it that is refused. */
  readonly running?: boolean;
  /** Leave the volatile state out: the TPM is then as after a power loss. */
  readonly cold?: boolean;
  /** Keep the state before as a snapshot. Default true. */
  readonly undo?: boolean;
}

/** What a restore did. */
export interface Restored {
  readonly snapshot: Snapshot;
  /** The TPM goes on where the snapshot was made, instead of starting anew. */
  readonly resumes: boolean;
  /** The snapshot that holds the state before. */
  readonly kept?: string;
}

/** Keeps the state as a snapshot. @throws SnapshotError, StateError */
export async function createSnapshot(
  repository: SnapshotRepository,
  subject: SnapshotSubject,
  options: CreateOptions = {},
): Promise<Snapshot> {
  repository.settle(await subject.stored());
  return repository.create(await subject.capture(), options);
}

/**
 * Puts a snapshot in place of the state. When it fails the state is the one before, or, after StateError "unknown", one of the two.
 *
 * @throws SnapshotError, StateError, BackendError
 */
export async function restoreSnapshot(
  repository: SnapshotRepository,
  subject: SnapshotSubject,
  name: string,
  options: RestoreOptions = {},
): Promise<Restored> {
  const { running = false, cold = false, undo = true } = options;
  const { snapshot, blobs } = repository.load(name);
  if (snapshot.family !== repository.family)
    throw new SnapshotError("unsuitable", `snapshot '${name}' is of a TPM ${snapshot.family}`);
  if (subject.running && !running) {
    throw new SnapshotError(
      "running",
      "the TPM is running: what uses it would find another TPM. Stop it first, or add --running to exchange its state now",
    );
  }
  repository.settle(await subject.stored());
  const { volatile, ...lasting } = blobs;
  const resumes = volatile !== undefined && !cold;
  const kept = repository.beginRestore(name, {
    keep: undo ? await subject.capture() : undefined,
    resume: resumes ? snapshot.objects.volatile : undefined,
  });
  let done = false;
  try {
    await subject.replace(resumes ? blobs : lasting);
    done = true;
  } finally {
    await settleQuietly(repository, subject, done);
  }
  return { snapshot, resumes, ...(kept === undefined ? {} : { kept }) };
}

/**
 * If it cannot be noted now, the next change of the repository does.
 *
 * @param done the restore took place; if not that is found out.
 */
async function settleQuietly(repository: SnapshotRepository, subject: SnapshotSubject, done: boolean): Promise<void> {
  try {
    repository.settle(await subject.stored(), done);
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
  }
}

/** Forgets a snapshot, and notes before that what a restore that broke off has done. */
export async function deleteSnapshot(
  repository: SnapshotRepository,
  subject: Pick<SnapshotSubject, "stored">,
  name: string,
  options: { readonly descendants?: boolean } = {},
): Promise<string[]> {
  repository.settle(await subject.stored());
  return repository.delete(name, options);
}

/**
 * Forgets the snapshots that restores made of what they replaced, but for the newest ones and the one that the state comes from.
 *
 * @param keep how many of the newest stay.
 */
export async function pruneSnapshots(
  repository: SnapshotRepository,
  subject: Pick<SnapshotSubject, "stored">,
  keep = 0,
): Promise<string[]> {
  repository.settle(await subject.stored());
  return repository.prune(keep);
}

/**
 * Does something with the state of a TPM that nobody runs, as its owner.
 *
 * @throws StateError "locked" when somebody does run it.
 */
export async function withStoredTpm<T>(store: StateStore, work: (subject: SnapshotSubject) => Promise<T>): Promise<T> {
  const keeper = new StateKeeper(store);
  await keeper.open();
  try {
    return await work(storedTpm(keeper));
  } finally {
    await keeper.unlock();
  }
}

function storedTpm(keeper: StateKeeper): SnapshotSubject {
  return {
    running: false,
    stored: () => keeper.blobs,
    capture: () => ({ blobs: keeper.blobs, running: false }),
    replace: ({ permanent, volatile, savestate }) => keeper.save({ permanent, volatile, savestate }),
  };
}
