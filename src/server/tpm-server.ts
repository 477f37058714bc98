// A TPM behind swtpm's sockets: listening, one client at a time on each channel, and the reasons to end.
import type { Backend } from "../backend/backend.ts";
import { ControlChannel } from "./control-channel.ts";
import { DataChannel } from "./data-channel.ts";
import { type Log, SILENT } from "./log.ts";
import type { ServerManagement } from "./management-lazy.ts";
import { RESULT } from "./protocol.ts";
import { ServedTpm, type ServedTpmOptions, type StartupType } from "./served-tpm.ts";
import type { Connection, Endpoint, Listener, Transport } from "./transport.ts";

/** A channel's end: a place to listen, or a descriptor of a connected client. */
export type ChannelEndpoint = Endpoint | { readonly type: "client-fd"; readonly fd: number };

export interface TpmServerOptions extends ServedTpmOptions {
  readonly transport: Transport;
  readonly log?: Log;
  readonly control?: ChannelEndpoint | readonly ChannelEndpoint[];
  /** The control channel takes a data channel by CMD_SET_DATAFD: true for UNIX sockets. */
  readonly receiveDescriptors?: boolean;
  /** End when a control client goes. */
  readonly terminateWithControl?: boolean;
  readonly data?: ChannelEndpoint | readonly ChannelEndpoint[];
  /** Take a data channel by CMD_SET_DATAFD even if there is a data socket; swtpm does not. */
  readonly descriptorBesideData?: boolean;
  /** End when a data client goes. */
  readonly terminateWithData?: boolean;
  /** Close the data connection after every response. */
  readonly disconnect?: boolean;
  /** Lets commands like `wtpm snapshot` reach the TPM. */
  readonly management?: ServerManagement;
  /** See DataChannelOptions and ControlChannelOptions; milliseconds. */
  readonly assemblyTimeout?: number;
  readonly requestTimeout?: number;
}

export interface ServeOptions {
  /** Start the TPM now instead of at CMD_INIT. */
  readonly powerOn?: boolean;
  /** The startup to send then. */
  readonly startup?: StartupType;
}

export type EndReason = "shutdown-command" | "data-client-gone" | "control-client-gone" | "closed";

/** As many connections wait on each channel; further ones are closed. */
const MAX_WAITING = 64;
const FLUSH_LIMIT_MS = 500;

/**
 * swtpm's server. `listen` first, so that clients can connect while the TPM is being made; `serve` then begins to read what they sent.
 *
 *     const server = new TpmServer({ transport, control: { type: "unix", path } });
 *     await server.listen();
 *     await server.serve(backend);
 *     await server.ended;
 */
export class TpmServer {
  readonly #options: TpmServerOptions;
  readonly #log: Log;
  readonly #listeners: Listener[] = [];
  readonly #control: ClientQueue;
  readonly #data: ClientQueue;
  #dataDescriptor: Connection | undefined;
  #tpm: ServedTpm | undefined;
  #starting: Promise<void> | undefined;
  #maxCommandSize = 0;
  #ending: Promise<void> | undefined;
  #resolveEnded: (reason: EndReason) => void = () => {};
  /** Fulfilled when everything is closed; rejected when closing the backend failed. */
  readonly ended: Promise<EndReason>;

  constructor(options: TpmServerOptions) {
    this.#options = options;
    this.#log = options.log ?? SILENT;
    this.#control = new ClientQueue((connection) => this.#serveControl(connection));
    this.#data = new ClientQueue((connection) => this.#serveData(connection));
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  /**
   * Binds the sockets.
   *
   * @returns the ports of the TCP endpoints.
   * @throws an Error whose message is a sentence for the user.
   */
  async listen(): Promise<{ controlPorts: number[]; dataPorts: number[] }> {
    const { control, data, receiveDescriptors = false } = this.#options;
    try {
      const controlPorts = await this.#open(control, this.#control, receiveDescriptors);
      const dataPorts = await this.#open(data, this.#data, false);
      return { controlPorts, dataPorts };
    } catch (error) {
      for (const listener of this.#listeners) listener.close();
      throw error;
    }
  }

  /**
   * Serves the backend to the clients. With `powerOn` the TPM is started first.
   *
   * @throws the backend's error when the start fails.
   */
  serve(backend: Backend, options: ServeOptions = {}): Promise<void> {
    this.#starting = this.#start(backend, options);
    return this.#starting;
  }

  async #start(backend: Backend, options: ServeOptions): Promise<void> {
    if (this.#ending) return backend.close();
    const tpm = new ServedTpm(backend, this.#log, { ...this.#options, ...this.#managed(options.startup) });
    this.#options.management?.attach(tpm);
    if (options.powerOn) await tpm.powerOn(false);
    if (options.startup && options.startup !== "none") await tpm.startup(options.startup);
    this.#tpm = tpm;
    this.#maxCommandSize = (await backend.bufferSize()).max;
    await this.#options.management?.ready();
    this.#control.start();
    this.#data.start();
  }
  /** Ends as a signal makes swtpm end: TPM2_Shutdown if due, then everything is closed. */
  close(): Promise<void> {
    return this.#end("closed");
  }

  #managed(startup: StartupType = "none"): ServedTpmOptions {
    const { management } = this.#options;
    if (!management) return {};
    return { startup, owned: (owned) => management.owned(owned), volatileOnce: () => management.volatileOnce() };
  }

  async #open(endpoints: TpmServerOptions["data"], queue: ClientQueue, receiveDescriptors: boolean): Promise<number[]> {
    const { transport } = this.#options;
    const ports: number[] = [];
    for (const endpoint of listOf(endpoints)) {
      if (endpoint.type === "client-fd") {
        queue.add(transport.adopt(endpoint.fd, { receiveDescriptors }));
        continue;
      }
      const options = { receiveDescriptors: receiveDescriptors && endpoint.type !== "tcp" };
      const listener = await transport.listen(endpoint, (connection) => queue.add(connection), options);
      this.#listeners.push(listener);
      if (listener.port !== undefined) ports.push(listener.port);
    }
    return ports;
  }

  #serveControl(connection: Connection): void {
    new ControlChannel(this.#tpm!, connection, {
      attachData: (descriptor) => this.#attachData(descriptor),
      shutDown: () => void this.#end("shutdown-command"),
      closed: () => {
        this.#control.next();
        if (this.#options.terminateWithControl) void this.#end("control-client-gone");
      },
      ...(this.#options.requestTimeout === undefined ? {} : { requestTimeout: this.#options.requestTimeout }),
    });
  }

  #serveData(connection: Connection): void {
    new DataChannel(this.#tpm!, connection, {
      maxCommandSize: this.#maxCommandSize,
      disconnect: this.#options.disconnect ?? false,
      ...(this.#options.assemblyTimeout === undefined ? {} : { assemblyTimeout: this.#options.assemblyTimeout }),
      closed: () => {
        if (connection === this.#dataDescriptor) this.#dataDescriptor = undefined;
        else this.#data.next();
        if (this.#ending) return;
        if (!this.#options.disconnect && this.#log.level > 0) this.#log.line("Data client disconnected");
        if (this.#options.terminateWithData) void this.#end("data-client-gone");
      },
    });
  }

  /** CMD_SET_DATAFD: one data channel only, and none beside --server. */
  #attachData(descriptor: Connection | undefined): number {
    const { data, descriptorBesideData } = this.#options;
    if ((listOf(data).length > 0 && !descriptorBesideData) || this.#dataDescriptor) {
      descriptor?.close();
      return RESULT.IOERROR;
    }
    if (!descriptor) {
      const { withoutDescriptors } = this.#options.transport;
      this.#log.line(
        withoutDescriptors
          ? `no data socket: ${withoutDescriptors}. Give clients a data socket with --server`
          : "no valid data socket in message",
      );
      return RESULT.BAD_PARAMETER;
    }
    this.#dataDescriptor = descriptor;
    this.#serveData(descriptor);
    return RESULT.SUCCESS;
  }

  #end(reason: EndReason): Promise<void> {
    this.#ending ??= this.#shutDown().then(
      () => this.#resolveEnded(reason),
      (error: unknown) => {
        this.#log.line(`Error: ${(error as Error).message}`);
        this.#resolveEnded(reason);
      },
    );
    return this.#ending;
  }

  async #shutDown(): Promise<void> {
    // What begins to serve ends like what serves.
    await this.#starting?.catch(() => {});
    const tpm = this.#tpm;
    try {
      await this.#options.management?.close();
      if (tpm) {
        tpm.backend.cancel();
        await tpm.exclusively(() => tpm.powerOff());
        await tpm.backend.close();
      }
    } finally {
      for (const listener of this.#listeners) listener.close();
      const closed = [this.#control.close(), this.#data.close()];
      this.#dataDescriptor?.close();
      await Promise.race([Promise.all(closed), new Promise((resolve) => setTimeout(resolve, FLUSH_LIMIT_MS).unref())]);
    }
  }
}

function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  return value === undefined ? [] : Array.isArray(value) ? (value as readonly T[]) : [value as T];
}

/** The clients of one channel: one is served, the others wait as they would in the backlog of swtpm's socket. */
class ClientQueue {
  readonly #serve: (connection: Connection) => void;
  readonly #waiting: Connection[] = [];
  #active: Connection | undefined;
  #started = false;
  #closed = false;
  #allClosed: () => void = () => {};

  constructor(serve: (connection: Connection) => void) {
    this.#serve = serve;
  }

  add(connection: Connection): void {
    if (this.#closed || this.#waiting.length >= MAX_WAITING) {
      connection.close();
      return;
    }
    this.#waiting.push(connection);
    if (this.#started && !this.#active) this.next();
  }

  start(): void {
    this.#started = true;
    if (!this.#active) this.next();
  }

  /** The client that was served has gone. */
  next(): void {
    this.#active = this.#closed ? undefined : this.#waiting.shift();
    if (this.#active) this.#serve(this.#active);
    else if (this.#closed) this.#allClosed();
  }

  /** Closes all; fulfilled when the one that was served has got its last bytes. */
  close(): Promise<void> {
    this.#closed = true;
    for (const connection of this.#waiting.splice(0)) connection.close();
    const active = this.#active;
    if (!active) return Promise.resolve();
    return new Promise((resolve) => {
      this.#allClosed = resolve;
      active.close();
    });
  }
}
