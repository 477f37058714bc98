// A repository of snapshots on a simulated disk.
import { Buffer } from "node:buffer";
import type { SnapshotIndex } from "../../src/state/snapshot/record.ts";
import { type RepositoryOptions, SnapshotRepository } from "../../src/state/snapshot/repository.ts";
import type { StateBlobs } from "../../src/state/store.ts";
import type { Disk } from "./snapshot-disk.ts";

export const FOLDER = "/state/snapshots";
export const text = (value: string) => new TextEncoder().encode(value);
export const stateOf = (permanent: string, volatile?: string): StateBlobs => ({
  permanent: text(permanent),
  ...(volatile === undefined ? {} : { volatile: text(volatile) }),
});
export const capture = (permanent: string, volatile?: string) => ({
  blobs: stateOf(permanent, volatile),
  running: volatile !== undefined,
});
export const textOf = (blobs: StateBlobs) =>
  [blobs.permanent, blobs.volatile].map((blob) => blob && Buffer.from(blob).toString());

export function repositoryOn(disk: Disk, options: RepositoryOptions = {}): SnapshotRepository {
  return new SnapshotRepository(FOLDER, { fileSystem: disk.fileSystem, now: () => 0, version: "1.2.3", ...options });
}

/** Name and parent of each snapshot, and the head. */
export const shape = (index: SnapshotIndex | undefined) => ({
  head: index?.head,
  snapshots: (index?.snapshots ?? []).map(({ name, parent }) => `${parent ?? ""}>${name}`),
});

/** A restore as its callers do it, without a store. */
export function restore(repository: SnapshotRepository, name: string, before?: StateBlobs): string | undefined {
  const { blobs } = repository.load(name);
  const kept = repository.beginRestore(name, { keep: before && { blobs: before, running: false } });
  repository.settle(blobs);
  return kept;
}
