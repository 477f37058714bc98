// A backend that is somebody else's emulator: swtpm, or anything that speaks its control protocol, as QEMU's "-tpmdev emulator" uses it.
import net from "node:net";
import { descriptorSender, socketPair } from "../platform/descriptor-sender.ts";
import {
  CMD,
  header,
  INIT_FLAG_DELETE_VOLATILE,
  RESULT,
  readU16,
  readU32,
  TPM_ST_NO_SESSIONS,
  words,
} from "../server/protocol.ts";
import { decodeMigrationBlob, encodeMigrationBlob } from "../state/container.ts";
import { StateError } from "../state/store.ts";
import {
  type Backend,
  BackendError,
  type BackendErrorKind,
  type BufferSizes,
  type StartupOptions,
  type StateBlobType,
  type TpmFamily,
} from "./backend.ts";

export type EmulatorAddress = { readonly path: string } | { readonly port: number; readonly host?: string };

export interface EmulatorOptions {
  /** The emulator's control socket. */
  readonly control: EmulatorAddress;
  /** Its data socket. Without one a socket is handed over by CMD_SET_DATAFD, which needs a UNIX control socket. */
  readonly data?: EmulatorAddress;
  /** Send CMD_SHUTDOWN at `close`, so that the emulator ends, as QEMU does. Default true. */
  readonly shutdown?: boolean;
}

const PTM_CAP_GET_STATEBLOB = 1 << 8;
const PTM_CAP_SET_STATEBLOB = 1 << 9;
const PTM_CAP_STOP = 1 << 10;
const PTM_CAP_LOCK_STORAGE = 1 << 16;
const TPM_CC_READ_CLOCK = 0x181;

const BLOB_NUMBERS: Readonly<Record<StateBlobType, number>> = { permanent: 1, volatile: 2, savestate: 3 };
const FLAG_DECRYPTED = 1;

const RESULT_KINDS: Readonly<Record<number, BackendErrorKind>> = {
  [RESULT.BAD_ORDINAL]: "state",
  [RESULT.BAD_LOCALITY]: "locality",
  [RESULT.IOERROR]: "io",
  [RESULT.FAIL]: "storage",
  13: "bad-state",
  33: "bad-state",
  40: "bad-state",
  43: "bad-state",
  46: "bad-state",
};

/**
 * Connects to an emulator and finds out which family its TPM is of.
 *
 * @throws BackendError "io" when a socket cannot be reached or does not answer as an emulator does.
 */
export async function connectEmulator(options: EmulatorOptions): Promise<EmulatorBackend> {
  const socket = await connect(options.control);
  let control: Channel;
  let dataSocket: net.Socket;
  if (options.data) {
    control = new Channel(socket);
    dataSocket = await connect(options.data);
  } else {
    const sender = descriptorSender(socket);
    const [near, far] = await socketPair();
    control = new Channel(sender.socket);
    const reply = control.transact(() => sender.send("\0\0\0\x10", far), takeResult);
    expectSuccess("SET_DATAFD", readU32(await reply, 0));
    dataSocket = near;
  }
  const data = new Channel(dataSocket);
  const capabilities = readU32(await control.request(words(CMD.GET_CAPABILITY), takeFixed(8)), 4);
  const established = await control.request(words(CMD.GET_TPMESTABLISHED), takeFixed(8));
  const clock = await data.request(header(TPM_ST_NO_SESSIONS, TPM_CC_READ_CLOCK), takeResponse);
  const family = readU16(clock, 0) === TPM_ST_NO_SESSIONS ? "2.0" : "1.2";
  return new EmulatorBackend(control, data, {
    family,
    capabilities,
    running: readU32(established, 0) === 0,
    ...options,
  });
}

/** See `connectEmulator`. Every method but `cancel` returns a promise. */
export class EmulatorBackend implements Backend {
  readonly family: TpmFamily;
  readonly migrationBlocker: string | undefined;
  readonly #control: Channel;
  readonly #data: Channel;
  readonly #capabilities: number;
  readonly #shutdown: boolean;
  #running: boolean;
  #locality = 0;

  constructor(
    control: Channel,
    data: Channel,
    options: { family: TpmFamily; capabilities: number; running: boolean; shutdown?: boolean },
  ) {
    this.#control = control;
    this.#data = data;
    this.family = options.family;
    this.#capabilities = options.capabilities;
    this.#running = options.running;
    this.#shutdown = options.shutdown ?? true;
    const needed = PTM_CAP_GET_STATEBLOB | PTM_CAP_SET_STATEBLOB | PTM_CAP_STOP;
    this.migrationBlocker =
      (options.capabilities & needed) === needed ? undefined : "the emulator cannot give away its state";
  }

  get running(): boolean {
    return this.#running;
  }

  async powerOn(options: StartupOptions = {}): Promise<void> {
    this.#running = false;
    await this.#command("INIT", words(CMD.INIT, options.deleteVolatile ? INIT_FLAG_DELETE_VOLATILE : 0));
    this.#running = true;
  }

  async powerOff(): Promise<void> {
    await this.#command("STOP", words(CMD.STOP));
    this.#running = false;
  }

  async execute(command: Uint8Array, locality: number): Promise<Uint8Array> {
    if (locality !== this.#locality) {
      await this.#command("SET_LOCALITY", Uint8Array.of(0, 0, 0, CMD.SET_LOCALITY, locality, 0, 0, 0));
      this.#locality = locality;
    }
    return this.#data.request(command, takeResponse);
  }

  /** Asks for the end of the running command; a single-threaded emulator reads that only when the command is done. */
  cancel(): void {
    this.#command("CANCEL_TPM_CMD", words(CMD.CANCEL_TPM_CMD)).catch(() => {
      // TPM 1.2 emulators answer FAIL: there was nothing to cancel.
    });
  }

  async getEstablished(): Promise<boolean> {
    const reply = await this.#command("GET_TPMESTABLISHED", words(CMD.GET_TPMESTABLISHED), takeFixed(8));
    return reply[4] !== 0;
  }

  async resetEstablished(locality: number): Promise<void> {
    await this.#command("RESET_TPMESTABLISHED", Uint8Array.of(0, 0, 0, CMD.RESET_TPMESTABLISHED, locality, 0, 0, 0));
  }

  async hashStart(): Promise<void> {
    await this.#command("HASH_START", words(CMD.HASH_START));
  }

  async hashData(data: Uint8Array): Promise<void> {
    await this.#command("HASH_DATA", withBody(words(CMD.HASH_DATA, data.length), data));
  }

  async hashEnd(): Promise<void> {
    await this.#command("HASH_END", words(CMD.HASH_END));
  }

  async bufferSize(wanted = 0): Promise<BufferSizes> {
    const reply = await this.#command("SET_BUFFERSIZE", words(CMD.SET_BUFFERSIZE, wanted), takeFixed(16));
    return { current: readU32(reply, 4), min: readU32(reply, 8), max: readU32(reply, 12) };
  }

  async getState(type: StateBlobType): Promise<Uint8Array> {
    const { flags, blob } = await this.getStateBlob(type);
    if (blob.length === 0) return blob;
    return openBlob(blob, flags !== 0);
  }

  async setState(type: StateBlobType, blob: Uint8Array): Promise<void> {
    await this.setStateBlob(type, 0, blob.length === 0 ? blob : encodeMigrationBlob(blob));
  }

  /** A state blob as the emulator gives it, for handing on as it is: in its container, perhaps encrypted with a migration key. */
  async getStateBlob(type: StateBlobType): Promise<{ flags: number; blob: Uint8Array }> {
    const request = words(CMD.GET_STATEBLOB, FLAG_DECRYPTED, BLOB_NUMBERS[type], 0);
    const reply = await this.#control.request(request, takeStateBlob);
    const result = readU32(reply, 0);
    if (result === RESULT.RETRY) return { flags: 0, blob: new Uint8Array(0) };
    expectSuccess("GET_STATEBLOB", result);
    return { flags: readU32(reply, 4), blob: reply.slice(16) };
  }

  /** Gives the emulator back what `getStateBlob` gave. */
  async setStateBlob(type: StateBlobType, flags: number, blob: Uint8Array): Promise<void> {
    await this.#command(
      "SET_STATEBLOB",
      withBody(words(CMD.SET_STATEBLOB, flags, BLOB_NUMBERS[type], blob.length), blob),
    );
  }

  async storeVolatile(): Promise<void> {
    await this.#command("STORE_VOLATILE", words(CMD.STORE_VOLATILE));
  }

  async lockStorage(retries: number): Promise<void> {
    if (this.#capabilities & PTM_CAP_LOCK_STORAGE)
      await this.#command("LOCK_STORAGE", words(CMD.LOCK_STORAGE, retries));
  }

  /** Nothing to do: an emulator gives its lock up by itself when the last state blob was fetched. */
  unlockStorage(): void {}

  async info(flags: number): Promise<string> {
    let text = "";
    for (;;) {
      const reply = await this.#command("GET_INFO", words(CMD.GET_INFO, 0, flags, text.length, 0), takeInfo);
      text += new TextDecoder("latin1").decode(reply.subarray(12));
      if (text.length >= readU32(reply, 4)) return text.replace(/\0$/, "");
    }
  }

  async close(): Promise<void> {
    try {
      if (this.#shutdown) await this.#command("SHUTDOWN", words(CMD.SHUTDOWN));
    } finally {
      this.#running = false;
      this.#data.close();
      this.#control.close();
    }
  }

  async #command(name: string, request: Uint8Array, take: Take = takeResult): Promise<Uint8Array> {
    const reply = await this.#control.request(request, take);
    expectSuccess(name, readU32(reply, 0));
    return reply;
  }
}

/** How many of the bytes that are there make the whole reply; undefined while it is not whole. */
type Take = (bytes: Uint8Array) => number | undefined;

const takeResult: Take = (bytes) => (bytes.length >= 4 ? 4 : undefined);

/** A reply of this size if its result is 0, of the result alone otherwise. */
function takeFixed(size: number): Take {
  return (bytes) => {
    if (bytes.length < 4) return undefined;
    const wanted = readU32(bytes, 0) === 0 ? size : 4;
    return bytes.length >= wanted ? wanted : undefined;
  };
}

const takeResponse: Take = (bytes) =>
  bytes.length >= 10 && bytes.length >= readU32(bytes, 2) ? Math.max(readU32(bytes, 2), 10) : undefined;

const takeStateBlob: Take = (bytes) => {
  if (bytes.length < 4) return undefined;
  // Refusals come as the result alone or with three more words, in one write either way.
  if (readU32(bytes, 0) !== 0) return bytes.length;
  return bytes.length >= 16 && bytes.length >= 16 + readU32(bytes, 12) ? 16 + readU32(bytes, 12) : undefined;
};

const takeInfo: Take = (bytes) => {
  if (bytes.length < 4) return undefined;
  if (readU32(bytes, 0) !== 0) return 4;
  return bytes.length >= 12 && bytes.length >= 12 + readU32(bytes, 8) ? 12 + readU32(bytes, 8) : undefined;
};

interface Transaction {
  readonly send: () => void;
  readonly take: Take;
  readonly resolve: (reply: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/** One socket to the emulator: requests one after the other, each with its reply. */
class Channel {
  readonly #socket: net.Socket;
  readonly #queue: Transaction[] = [];
  #received: Uint8Array = new Uint8Array(0);
  #failure: BackendError | undefined;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Uint8Array) => this.#receive(bytes));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(undefined));
  }

  request(bytes: Uint8Array, take: Take): Promise<Uint8Array> {
    return this.transact(() => this.#socket.write(bytes), take);
  }

  transact(send: () => void, take: Take): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      this.#queue.push({ send, take, resolve, reject });
      if (this.#queue.length === 1) this.#start();
    });
  }

  close(): void {
    this.#socket.destroySoon();
  }

  #start(): void {
    this.#received = new Uint8Array(0);
    this.#queue[0]?.send();
  }

  #receive(bytes: Uint8Array): void {
    const current = this.#queue[0];
    if (!current) return;
    this.#received = this.#received.length === 0 ? bytes : withBody(this.#received, bytes);
    const size = current.take(this.#received);
    if (size === undefined) return;
    const reply = this.#received.slice(0, size);
    this.#queue.shift();
    this.#start();
    current.resolve(reply);
  }

  #fail(cause: Error | undefined): void {
    this.#failure ??= new BackendError("io", `the emulator closed the connection${cause ? `: ${cause.message}` : ""}`, {
      cause,
    });
    for (const waiting of this.#queue.splice(0)) waiting.reject(this.#failure);
  }
}

async function connect(address: EmulatorAddress): Promise<net.Socket> {
  const where = "path" in address ? address.path : `${address.host ?? "127.0.0.1"}:${address.port}`;
  const socket =
    "path" in address
      ? net.connect({ path: address.path })
      : net.connect({ host: "127.0.0.1", noDelay: true, ...address });
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    socket.once("error", (cause) =>
      reject(new BackendError("io", `no emulator can be reached at ${where}: ${cause.message}`, { cause })),
    );
  });
}

function openBlob(blob: Uint8Array, encrypted: boolean): Uint8Array {
  try {
    return decodeMigrationBlob(blob, encrypted);
  } catch (cause) {
    if (!(cause instanceof StateError)) throw cause;
    throw new BackendError("bad-state", cause.message, { cause });
  }
}

function expectSuccess(name: string, result: number): void {
  if (result === RESULT.SUCCESS) return;
  const code = `0x${result.toString(16)}`;
  throw new BackendError(RESULT_KINDS[result] ?? "tpm", `the emulator answered ${code} to CMD_${name}`, {
    tpmCode: result,
  });
}

function withBody(first: Uint8Array, second: Uint8Array): Uint8Array {
  const out = new Uint8Array(first.length + second.length);
  out.set(first);
  out.set(second, first.length);
  return out;
}
