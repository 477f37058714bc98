// The snapshots of a state whose key changes change theirs with it.
import type { StateFormat } from "../state/format.ts";
import { snapshotPlace } from "./snapshot-place.ts";
import { repositoryOf } from "./snapshot-repository.ts";
import { eitherFormat } from "./state-formats.ts";
import { type StateOptions, stateOptions } from "./state-options.ts";
import type { PlaceOptions } from "./state-place.ts";

/**
 * Writes all snapshots beside the state again, in another format. The caller owns the state. Those that are in that format already, because
 * a change was interrupted before it came to the state, are read too.
 *
 * @param uri of the state that the user named by `where`.
 * @returns how many there are.
 * @throws StateError; then the snapshots are as they were.
 */
export function rewriteSnapshots(
  uri: string,
  { place, tpmstate }: PlaceOptions,
  before: StateFormat,
  after: StateFormat,
): number {
  const options: StateOptions = place === undefined ? stateOptions(tpmstate, process.env) : { uri };
  const folder = snapshotPlace(options);
  if (!folder) return 0;
  const rewritten = repositoryOf(folder, options, eitherFormat(before, after)).convert(after);
  return rewritten.index()?.snapshots.length ?? 0;
}
