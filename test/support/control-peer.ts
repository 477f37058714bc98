// An emulator as its control and data channels show it: swtpm as a process, or our server in this one.
import { mkdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import path from "node:path";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { nodeTransport } from "../../src/platform/node-transport.ts";
import { SILENT } from "../../src/server/log.ts";
import { TpmServer } from "../../src/server/tpm-server.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { listeningSockets, temporaryFolder } from "./emulator.ts";
import { PATIENCE_MS, type Program, start, until } from "./process.ts";

/** A request whose reply begins with a constant: what comes before that constant is the reply to the request before it. */
const FENCE = Buffer.from("00000001", "hex");
const CONNECTION_CLOSED = "closed";

export interface PeerOptions {
  /** The value of --locality. */
  readonly rejectLocality4?: boolean;
}

/** An emulator that can be started again with the state it left. */
export abstract class ControlPeer implements AsyncDisposable {
  readonly folder = temporaryFolder();
  readonly stateDir: string;
  #control: Wire | undefined;
  #data: Wire | undefined;
  /** What the fence is answered with. */
  #fenceReply = "";

  constructor(stateDir?: string) {
    this.stateDir = stateDir ?? path.join(this.folder, "state");
    mkdirSync(this.stateDir, { recursive: true });
  }

  protected readonly controlPath = path.join(this.folder, "ctrl");
  protected readonly dataPath = path.join(this.folder, "data");

  /** Starts the emulator, whose TPM is then stopped. */
  async start(): Promise<void> {
    await this.launch();
    this.#control = await Wire.connect(this.controlPath);
    this.#data = await Wire.connect(this.dataPath);
    this.#fenceReply = await this.#control.ask(FENCE, (hex) => hex.length === 16);
  }

  protected abstract launch(): Promise<void>;
  /** Waits for the end that CMD_SHUTDOWN brings about. */
  abstract ended(): Promise<void>;

  /** Sends a request and gives the whole reply in hexadecimal, or "closed" when the connection was closed instead; it is then made anew. */
  async control(request: Uint8Array): Promise<string> {
    const wire = this.#control!;
    const first = await wire.ask(request, (hex) => hex.length >= 8);
    if (first === CONNECTION_CLOSED) {
      this.#control = await Wire.connect(this.controlPath).catch((error: Error) => {
        throw new Error(`the emulator is gone after ${Buffer.from(request).toString("hex")}: ${error.message}`);
      });
      return first;
    }
    const whole = await wire.ask(FENCE, (hex) => hex.length >= 24 && hex.endsWith(this.#fenceReply), first);
    return whole.slice(0, -this.#fenceReply.length);
  }

  /** CMD_SHUTDOWN: the reply, and the end. */
  async shutDown(request: Uint8Array): Promise<string> {
    const reply = await this.#control!.ask(request, (hex) => hex.length >= 8);
    await this.ended();
    this.#close();
    return reply;
  }

  /** Sends a TPM command, which must be whole, and gives the response. */
  async execute(command: Uint8Array): Promise<Uint8Array> {
    const whole = (hex: string) => hex.length >= 20 && hex.length === 2 * Number.parseInt(hex.slice(4, 12), 16);
    return new Uint8Array(Buffer.from(await this.#data!.ask(command, whole), "hex"));
  }

  #close(): void {
    this.#control?.close();
    this.#data?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  protected abstract stop(): Promise<void>;
}

/** Debian's swtpm. */
export class SwtpmPeer extends ControlPeer {
  readonly #options: PeerOptions;
  #program: Program | undefined;

  constructor(options: PeerOptions) {
    super();
    this.#options = options;
  }

  protected async launch(): Promise<void> {
    const program = start("swtpm", [
      ...["socket", "--tpm2", "--tpmstate", `dir=${this.stateDir}`],
      ...["--ctrl", `type=unixio,path=${this.controlPath}`, "--server", `type=unixio,path=${this.dataPath}`],
      ...(this.#options.rejectLocality4 ? ["--locality", "reject-locality-4"] : []),
    ]);
    this.#program = program;
    await until("swtpm to listen", () => {
      const sockets = listeningSockets();
      return [this.controlPath, this.dataPath].every((name) => sockets.has(name)) || program.hasExited();
    });
    if (program.hasExited()) throw new Error(`swtpm ended: ${(await program.exited).stderr}`);
  }

  async ended(): Promise<void> {
    await this.#program!.ended();
  }

  protected async stop(): Promise<void> {
    await this.#program?.kill();
  }
}

export interface ServerPeerOptions extends PeerOptions {
  readonly autoShutdown: boolean;
  /** --migration incoming. */
  readonly incomingMigration?: boolean;
  /** --migration release-lock-outgoing. */
  readonly releaseLockOutgoing?: boolean;
  /** The state folder; by default one of its own. */
  readonly stateDir?: string;
}

/** Our server with our engine, which keeps its state in a folder. */
export class ServerPeer extends ControlPeer {
  readonly #options: ServerPeerOptions;
  #server: TpmServer | undefined;

  constructor(options: ServerPeerOptions) {
    super(options.stateDir);
    this.#options = options;
  }

  protected async launch(): Promise<void> {
    this.#server = new TpmServer({
      transport: nodeTransport,
      log: SILENT,
      control: { type: "unix", path: this.controlPath },
      data: { type: "unix", path: this.dataPath },
      receiveDescriptors: true,
      ...this.#options,
    });
    await this.#server.listen();
    // What survives a crash is other tests' matter.
    await this.#server.serve(createEngineBackend({ store: new DirStore(this.stateDir, { fsync: false }) }));
  }

  async ended(): Promise<void> {
    await this.#server!.ended;
  }

  protected async stop(): Promise<void> {
    await this.#server?.close();
  }
}

/** A connection on which the next request follows the reply. */
class Wire {
  readonly #socket: Socket;
  #received = "";
  #closed = false;
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.#received += bytes.toString("hex");
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static connect(file: string): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const socket = connect(file);
      socket.once("error", reject);
      socket.once("connect", () => resolve(new Wire(socket)));
    });
  }

  /** Sends a request and waits until what has come (after `before`) is all; gives that, or "closed". */
  async ask(request: Uint8Array, isWhole: (hex: string) => boolean, before = ""): Promise<string> {
    this.#received = before;
    this.#socket.write(request);
    const late = new Error(`no answer to ${Buffer.from(request).toString("hex")} but ${this.#received}`);
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(late), PATIENCE_MS);
    });
    try {
      while (!isWhole(this.#received)) {
        if (this.#closed) return CONNECTION_CLOSED;
        await Promise.race([limit, new Promise<void>((resolve) => (this.#wake = resolve))]);
      }
      return this.#received;
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
