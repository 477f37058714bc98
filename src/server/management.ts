// The management socket: how commands like `wtpm snapshot` reach the process that holds a TPM's state.
//
// It is there exactly as long as the process owns the state. A migration's target, which may run beside its source on the same
// directory, therefore has it when the source has let go of it.
import { attempt, chain } from "../backend/awaitable.ts";
import type { Awaitable } from "../backend/backend.ts";
import { shortSocketPath } from "../platform/socket-path.ts";
import type { SnapshotRepository } from "../state/snapshot/repository.ts";
import { type StateBlobs, StateError, type StateStore } from "../state/store.ts";
import type { Log } from "./log.ts";
import { ManagementChannel, type ManagementCommand } from "./management-channel.ts";
import type { ServerManagement } from "./management-lazy.ts";
import { snapshotCommands } from "./management-snapshots.ts";
import type { ServedTpm } from "./served-tpm.ts";
import type { Connection, Listener, Transport } from "./transport.ts";

export interface ManagementOptions {
  readonly transport: Transport;
  readonly log: Log;
  /** Where the socket is: for the owner of the state only (mode 0600). Undefined for none. */
  readonly path: string | undefined;
  /** Where the TPM's state is; it is only read here. */
  readonly store: StateStore;
  /** The snapshots of that state. */
  readonly repository: SnapshotRepository;
  /** Of wtpm. */
  readonly version: string;
}

/** The version of the protocol: it counts up when a client has to know of a change. */
const PROTOCOL = 1;
const SOCKET_MODE = 0o600;
/** As many clients at a time; further ones are closed. */
const MAX_CLIENTS = 16;

/** The management of one served TPM. */
export class Management implements ServerManagement {
  readonly #options: ManagementOptions;
  readonly #clients = new Set<ManagementChannel>();
  #tpm: ServedTpm | undefined;
  #commands: ReadonlyMap<string, ManagementCommand> = new Map();
  #wanted = false;
  #listener: Listener | undefined;
  /** The state that was stored before the TPM started, if it can tell what became of a restore. */
  #before: StateBlobs | undefined;
  /** Opening and closing, one after the other. */
  #changing: Promise<void> = Promise.resolve();

  constructor(options: ManagementOptions) {
    this.#options = options;
  }

  attach(tpm: ServedTpm): void {
    const { store, repository, version } = this.#options;
    this.#tpm = tpm;
    const status = (): object => ({
      protocol: PROTOCOL,
      version,
      pid: process.pid,
      family: tpm.backend.family,
      running: tpm.backend.running,
    });
    this.#commands = new Map<string, ManagementCommand>([
      ["status", { members: {}, run: () => ({ ...status() }) }],
      ...snapshotCommands(tpm, store, repository),
    ]);
  }

  owned(owned: boolean): void {
    this.#wanted = owned;
    this.#changing = this.#changing.then(() => this.#adapt());
  }

  /** When it cannot be found out, the volatile state stays. */
  volatileOnce(): Awaitable<boolean> {
    const { repository, store, log } = this.#options;
    return attempt<boolean>(
      () => {
        const index = repository.index();
        if (index?.restoring === undefined && index?.resume === undefined) return false;
        return chain(store.load(), ({ blobs }) => {
          this.#before = blobs;
          return repository.resumes(blobs);
        });
      },
      (error) => {
        if (!(error instanceof StateError)) throw error;
        log.line(`Warning: the snapshots cannot be read: ${error.message}`);
        return false;
      },
    );
  }

  ready(): Promise<void> {
    return this.#changing;
  }

  close(): Promise<void> {
    this.owned(false);
    return this.#changing;
  }

  async #adapt(): Promise<void> {
    if (this.#wanted === (this.#listener !== undefined)) return;
    if (!this.#wanted) {
      this.#listener?.close();
      this.#listener = undefined;
      for (const client of this.#clients) client.finish();
      return;
    }
    await this.#settle();
    try {
      this.#listener = await this.#listen();
    } catch (error) {
      this.#options.log.line(`Warning: no management socket: ${(error as Error).message}`);
    }
  }

  /** Notes what a restore has done whose process ended before it could. */
  async #settle(): Promise<void> {
    const { repository, log } = this.#options;
    const before = this.#before;
    this.#before = undefined;
    try {
      if (before) await this.#tpm?.exclusively(() => repository.settle(before));
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      log.line(`Warning: the snapshots cannot be used: ${error.message}`);
    }
  }

  async #listen(): Promise<Listener | undefined> {
    const { path, transport } = this.#options;
    if (path === undefined) return undefined;
    const short = shortSocketPath(path);
    if (!short) throw new Error(`the path is too long for a socket: ${path}`);
    try {
      const endpoint = { type: "unix", path: short.path, mode: SOCKET_MODE } as const;
      const { port, close } = await transport.listen(endpoint, (connection) => this.#accept(connection));
      return {
        port,
        close: () => {
          close();
          short.release();
        },
      };
    } catch (error) {
      short.release();
      throw error;
    }
  }

  #accept(connection: Connection): void {
    if (this.#clients.size >= MAX_CLIENTS) {
      connection.close();
      return;
    }
    const client = new ManagementChannel(connection, this.#commands, () => this.#clients.delete(client));
    this.#clients.add(client);
  }
}
