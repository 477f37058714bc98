// Where the snapshots of a state are, and the socket of the process that runs its TPM.
import fs from "node:fs";
import path from "node:path";
import type { Log } from "../server/log.ts";
import { LazyManagement } from "../server/management-lazy.ts";
import type { StateFormat } from "../state/format.ts";
import type { StateStore } from "../state/store.ts";
import type { StateOptions } from "./state-options.ts";

export interface SnapshotPlace {
  /** The directory or file of the state. */
  readonly state: string;
  /** The folder of the repository. */
  readonly folder: string;
  /** The management socket, unless the user says another. */
  readonly socket: string;
}

/** The value of --management for a server without a socket. */
const NO_MANAGEMENT = "off";

/** Beside the state; undefined for what has no place on a disk of its own, or whose changes vanish. */
export function snapshotPlace({ uri, ephemeral }: StateOptions): SnapshotPlace | undefined {
  if (uri === undefined || ephemeral) return undefined;
  if (uri.startsWith("dir://")) {
    const directory = uri.slice("dir://".length);
    return {
      state: directory,
      folder: path.join(directory, "snapshots"),
      socket: path.join(directory, ".wtpm"),
    };
  }
  if (!uri.startsWith("file://")) return undefined;
  const file = uri.slice("file://".length);
  // Nothing can lie beside a device.
  const isDevice = fs.statSync(file, { throwIfNoEntry: false })?.isFile() === false;
  return isDevice ? undefined : { state: file, folder: `${file}.snapshots`, socket: `${file}.wtpm` };
}

/** As the stores do: a directory is locked, a single file is not. */
function locksByDefault({ uri }: StateOptions): boolean {
  return uri?.startsWith("dir://") ?? false;
}

/**
 * The management of a TPM that is going to be served; none where there can be no snapshots.
 *
 * @param wanted what --management says.
 */
export function managementOf(
  state: StateOptions,
  store: StateStore,
  format: StateFormat,
  log: Log,
  wanted?: string,
): { management?: LazyManagement } {
  const place = snapshotPlace(state);
  if (!place) return {};
  const socket = wanted === NO_MANAGEMENT || process.platform === "win32" ? undefined : (wanted ?? place.socket);
  const management = new LazyManagement({
    eager: !(state.lock ?? locksByDefault(state)),
    hasSnapshots: () => fs.existsSync(place.folder),
    warn: (sentence) => log.line(`Warning: ${sentence}`),
    load: async () => {
      const { newManagement } = await import("./snapshot-management.ts");
      return newManagement({ place, state, store, format, log, socket });
    },
  });
  return { management };
}
