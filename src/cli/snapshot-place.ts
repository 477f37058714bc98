// Where the snapshots of a state are, and the socket of the process that runs its TPM.
import fs from "node:fs";
import path from "node:path";
import { nodeTransport } from "../platform/node-transport.ts";
import type { Log } from "../server/log.ts";
import { Management } from "../server/management.ts";
import type { StateFormat } from "../state/format.ts";
import { SnapshotRepository } from "../state/snapshot/repository.ts";
import type { StateStore } from "../state/store.ts";
import type { StateOptions } from "./state-options.ts";
import { packageVersion } from "./version.ts";

export interface SnapshotPlace {
  /** The folder of the repository. */
  readonly folder: string;
  /** The management socket, unless the user says another. */
  readonly socket: string;
}

/** The value of --management for a server without a socket. */
export const NO_MANAGEMENT = "off";

/** Beside the state; undefined for what has no place on a disk of its own, or whose changes vanish. */
export function snapshotPlace({ uri, ephemeral }: StateOptions): SnapshotPlace | undefined {
  if (uri === undefined || ephemeral) return undefined;
  if (uri.startsWith("dir://")) {
    const directory = uri.slice("dir://".length);
    return { folder: path.join(directory, "snapshots"), socket: path.join(directory, ".wtpm") };
  }
  if (!uri.startsWith("file://")) return undefined;
  const file = uri.slice("file://".length);
  // Nothing can lie beside a device.
  const isDevice = fs.statSync(file, { throwIfNoEntry: false })?.isFile() === false;
  return isDevice ? undefined : { folder: `${file}.snapshots`, socket: `${file}.wtpm` };
}

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

/**
 * The management of a TPM that is going to be served; undefined where there can be no snapshots.
 *
 * @param socket what --management says.
 */
export function managementOf(
  options: StateOptions,
  store: StateStore,
  format: StateFormat,
  log: Log,
  socket?: string,
): { management?: Management } {
  const place = snapshotPlace(options);
  if (!place) return {};
  const management = new Management({
    transport: nodeTransport,
    log,
    path: socket === NO_MANAGEMENT || process.platform === "win32" ? undefined : (socket ?? place.socket),
    store,
    repository: repositoryOf(place, options, format),
    version: packageVersion(),
  });
  return { management };
}
