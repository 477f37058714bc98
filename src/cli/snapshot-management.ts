// The management of a TPM that a command serves.
import { nodeTransport } from "../platform/node-transport.ts";
import type { Log } from "../server/log.ts";
import { Management } from "../server/management.ts";
import type { StateFormat } from "../state/format.ts";
import type { StateStore } from "../state/store.ts";
import { repositoryOf } from "./snapshot-repository.ts";
import type { SnapshotPlace } from "./snapshot-place.ts";
import type { StateOptions } from "./state-options.ts";
import { packageVersion } from "./version.ts";

export interface ManagementPlace {
  readonly place: SnapshotPlace;
  /** What the user said of the state. */
  readonly state: StateOptions;
  readonly store: StateStore;
  readonly format: StateFormat;
  readonly log: Log;
  /** The path of the socket; undefined for none. */
  readonly socket: string | undefined;
}

export function newManagement({ place, state, store, format, log, socket }: ManagementPlace): Management {
  return new Management({
    transport: nodeTransport,
    log,
    path: socket,
    store,
    repository: repositoryOf(place, state, format),
    version: packageVersion(),
  });
}
