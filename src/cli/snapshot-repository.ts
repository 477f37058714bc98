// The repository that belongs to a place.
import type { StateFormat } from "../state/format.ts";
import { SnapshotRepository } from "../state/snapshot/repository.ts";
import type { SnapshotPlace } from "./snapshot-place.ts";
import type { StateOptions } from "./state-options.ts";
import { packageVersion } from "./version.ts";

/** The snapshots of a state, in its format, with its modes. */
export function repositoryOf(place: SnapshotPlace, options: StateOptions, format: StateFormat): SnapshotRepository {
  const { mode, fsync } = options;
  return new SnapshotRepository(place.folder, {
    format,
    family: "2.0",
    version: packageVersion(),
    ...(mode === undefined ? {} : { mode }),
    ...(fsync === undefined ? {} : { fsync }),
  });
}
