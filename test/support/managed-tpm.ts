// A TPM with its state in a folder, served with a management socket, in this process.
import fs from "node:fs";
import path from "node:path";
import { TpmClient } from "../../src/codec/client.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { nodeTransport } from "../../src/platform/node-transport.ts";
import { Management } from "../../src/server/management.ts";
import type { ManagementArguments } from "../../src/server/management-channel.ts";
import { askManagement } from "../../src/server/management-client.ts";
import { type ServeOptions, TpmServer, type TpmServerOptions } from "../../src/server/tpm-server.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { SnapshotRepository } from "../../src/state/snapshot/repository.ts";
import type { StateStore } from "../../src/state/store.ts";
import { hex, RawClient } from "./server-fakes.ts";
import { until } from "./process.ts";

export interface ManagedOptions {
  readonly server?: Partial<TpmServerOptions>;
  readonly serve?: ServeOptions;
  /** Stands between the server and the folder. */
  readonly wrap?: (store: StateStore) => StateStore;
  readonly socket?: string;
}

/** What the commands of the management channel answer. */
export type Reply = Readonly<Record<string, unknown>>;

export class ManagedTpm {
  readonly directory: string;
  readonly store: StateStore;
  readonly repository: SnapshotRepository;
  readonly server: TpmServer;
  readonly socket: string;
  /** What was logged. */
  readonly lines: string[] = [];
  readonly #options: ManagedOptions;
  readonly #clients: RawClient[] = [];

  private constructor(directory: string, options: ManagedOptions) {
    this.directory = directory;
    this.#options = options;
    const store = new DirStore(path.join(directory, "state"));
    this.store = options.wrap?.(store) ?? store;
    this.repository = repositoryIn(directory);
    this.socket = options.socket ?? path.join(directory, "state/.wtpm");
    const log = { level: 1, line: (text: string) => void this.lines.push(text) };
    this.server = new TpmServer({
      transport: nodeTransport,
      log,
      control: { type: "unix", path: path.join(directory, "ctrl") },
      data: { type: "unix", path: path.join(directory, "data") },
      receiveDescriptors: true,
      management: new Management({
        transport: nodeTransport,
        log,
        path: this.socket,
        store: this.store,
        repository: this.repository,
        version: "1.2.3",
      }),
      ...options.server,
    });
  }

  /** Serves the TPM whose state is in `state` of the directory; it is made if it is missing. */
  static async start(directory: string, options: ManagedOptions = {}): Promise<ManagedTpm> {
    fs.mkdirSync(path.join(directory, "state"), { recursive: true });
    const tpm = new ManagedTpm(directory, options);
    await tpm.server.listen();
    await tpm.server.serve(
      createEngineBackend({ store: tpm.store }),
      tpm.#options.serve ?? { powerOn: true, startup: "clear" },
    );
    return tpm;
  }

  /** Commands of the TPM over the data channel. */
  async client(): Promise<TpmClient> {
    const raw = await this.raw("data");
    return new TpmClient(async (command) => hex(await raw.ask(command)));
  }

  control(): Promise<RawClient> {
    return this.raw("ctrl");
  }

  /** A connection to a socket in the directory. */
  async raw(name: string): Promise<RawClient> {
    const client = await RawClient.connect(path.join(this.directory, name));
    this.#clients.push(client);
    return client;
  }

  /** A connection to the management socket, once it is there. */
  management(): Promise<RawClient> {
    return until("the management socket", () => this.raw("state/.wtpm").catch(() => undefined));
  }

  /** Asks the management socket, once it is there. */
  ask(command: string, values: ManagementArguments = {}): Promise<Reply> {
    return until("the management socket", () => askManagement(this.socket, command, values));
  }

  async stop(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.socket.destroy();
    await this.server.close();
  }
}

export function repositoryIn(directory: string): SnapshotRepository {
  return new SnapshotRepository(path.join(directory, "state/snapshots"), { version: "1.2.3" });
}
