// The snapshots of a TPM that is being served, for the management channel.
import { chain } from "../backend/awaitable.ts";
import type { Awaitable } from "../backend/backend.ts";
import {
  createSnapshot,
  deleteSnapshot,
  pruneSnapshots,
  restoreSnapshot,
  type SnapshotSubject,
} from "../state/snapshot/operations.ts";
import type { Capture, SnapshotRepository } from "../state/snapshot/repository.ts";
import { BLOB_TYPES, type StateBlobs, StateError, type StateStore } from "../state/store.ts";
import type { ManagementCommand, ManagementResult } from "./management-channel.ts";
import type { ServedTpm } from "./served-tpm.ts";

/**
 * The commands that keep and put back the state. Each runs when no command of the TPM is under way, and keeps them away until it is done.
 *
 * @param store where the TPM's state is; it is only read.
 */
export function snapshotCommands(
  tpm: ServedTpm,
  store: StateStore,
  repository: SnapshotRepository,
): [string, ManagementCommand][] {
  const subject = servedTpm(tpm, store);
  const alone = (work: () => Promise<ManagementResult>): Awaitable<ManagementResult> =>
    tpm.exclusively(() => {
      if (tpm.ownsState) return work();
      throw new StateError("locked", `${store.name}: the state was given to another process`);
    });
  return [
    [
      "snapshot-create",
      {
        members: { name: "string", description: "string" },
        run: (values) => alone(async () => ({ snapshot: await createSnapshot(repository, subject, values) })),
      },
    ],
    [
      "snapshot-restore",
      {
        members: { name: "string", running: "boolean", cold: "boolean", undo: "boolean" },
        run: ({ name = "", ...options }) =>
          alone(async () => ({ ...(await restoreSnapshot(repository, subject, String(name), options)) })),
      },
    ],
    [
      "snapshot-delete",
      {
        members: { name: "string", descendants: "boolean" },
        run: ({ name = "", ...options }) =>
          alone(async () => ({ deleted: await deleteSnapshot(repository, subject, String(name), options) })),
      },
    ],
    [
      "snapshot-prune",
      {
        members: { keep: "number" },
        run: ({ keep = 0 }) =>
          alone(async () => ({ deleted: await pruneSnapshots(repository, subject, Number(keep)) })),
      },
    ],
  ];
}

/** A served TPM, to be used exclusively. */
function servedTpm(tpm: ServedTpm, store: StateStore): SnapshotSubject {
  const { backend } = tpm;
  const stored = (): Awaitable<StateBlobs> => chain(store.load(), ({ blobs }) => blobs);
  const capture = async (): Promise<Capture> => {
    if (!backend.running) return { blobs: await stored(), running: false };
    const blobs: { -readonly [type in keyof StateBlobs]: Uint8Array } = {};
    for (const type of BLOB_TYPES) {
      const blob = await backend.getState(type);
      if (blob.length > 0) blobs[type] = blob;
    }
    return { blobs, running: true };
  };
  return {
    get running() {
      return backend.running;
    },
    stored,
    capture,
    async replace(blobs) {
      const before = await capture();
      try {
        await tpm.exchangeState(blobs, before.running);
      } catch (error) {
        // The state cannot be used, or not be stored: the TPM goes on as it was.
        await tpm.exchangeState(before.blobs, before.running);
        throw error;
      }
    },
  };
}
