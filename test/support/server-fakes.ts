// A scripted backend and a plain client, for tests of the server.
import net from "node:net";
import {
  type Awaitable,
  type Backend,
  BackendError,
  type BufferSizes,
  type StartupOptions,
  type StateBlobType,
} from "../../src/backend/backend.ts";
import { header, TPM_ST_NO_SESSIONS } from "../../src/server/protocol.ts";

export const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** A command of a header and a body. */
export function command(code: number, body: Uint8Array = new Uint8Array(0), tag = TPM_ST_NO_SESSIONS): Uint8Array {
  const out = new Uint8Array(10 + body.length);
  out.set(header(tag, code));
  new DataView(out.buffer).setUint32(2, out.length);
  out.set(body, 10);
  return out;
}

/** Answers every command with a success response that holds the command's bytes, and notes what was asked of it. */
export class FakeBackend implements Backend {
  readonly family: "1.2" | "2.0";
  readonly log: string[] = [];
  readonly state = new Map<StateBlobType, Uint8Array>();
  running = false;
  migrationBlocker: string | undefined;
  established = true;
  /** Replaces the answer to commands of a code. */
  readonly answers = new Map<number, (command: Uint8Array, locality: number) => Awaitable<Uint8Array>>();
  /** Errors that the next call of a method throws. */
  readonly errors = new Map<string, Error>();
  buffer: BufferSizes = { current: 4096, min: 2808, max: 4096 };
  infoText = '{"TPMSpecification":{"family":"2.0"}}';

  constructor(family: "1.2" | "2.0" = "2.0") {
    this.family = family;
  }

  #note(method: string, text = ""): void {
    this.log.push(text ? `${method} ${text}` : method);
    const error = this.errors.get(method);
    this.errors.delete(method);
    if (error) throw error;
  }

  powerOn(options: StartupOptions = {}): void {
    this.#note(
      "powerOn",
      [options.deleteVolatile && "delete-volatile", options.deferLock && "defer-lock"].filter(Boolean).join(" "),
    );
    this.running = true;
  }
  powerOff(): void {
    this.#note("powerOff");
    this.running = false;
  }
  execute(bytes: Uint8Array, locality: number): Awaitable<Uint8Array> {
    this.#note("execute", `${toHex(bytes)} at ${locality}`);
    const code = bytes.length >= 10 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(6) : -1;
    return this.answers.get(code)?.(bytes, locality) ?? command(0, bytes);
  }
  cancel(): void {
    this.#note("cancel");
  }
  getEstablished(): boolean {
    return this.established;
  }
  resetEstablished(locality: number): void {
    this.#note("resetEstablished", String(locality));
    if (locality < 3) throw new BackendError("locality", "locality too low");
    this.established = false;
  }
  hashStart(): void {
    this.#note("hashStart");
  }
  hashData(data: Uint8Array): void {
    this.#note("hashData", toHex(data));
  }
  hashEnd(): void {
    this.#note("hashEnd");
  }
  bufferSize(wanted?: number): BufferSizes {
    if (wanted !== undefined) {
      const current = Math.min(Math.max(wanted, this.buffer.min), this.buffer.max);
      this.buffer = { ...this.buffer, current };
    }
    return this.buffer;
  }
  getState(type: StateBlobType): Uint8Array {
    this.#note("getState", type);
    return this.state.get(type) ?? new Uint8Array(0);
  }
  setState(type: StateBlobType, blob: Uint8Array): void {
    this.#note("setState", `${type} ${toHex(blob)}`);
  }
  storeVolatile(): void {
    this.#note("storeVolatile");
  }
  lockStorage(retries: number): void {
    this.#note("lockStorage", String(retries));
  }
  unlockStorage(): void {
    this.#note("unlockStorage");
  }
  info(flags: number): string {
    this.#note("info", String(flags));
    return this.infoText;
  }
  close(): void {
    this.#note("close");
  }
}

/** A client of one socket that notes everything it receives. */
export class RawClient {
  readonly socket: net.Socket;
  received: Buffer = Buffer.alloc(0);
  /** Each piece as it was read: the server writes every reply at once. */
  readonly pieces: Buffer[] = [];
  ended = false;
  #wake: () => void = () => {};

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes]);
      this.pieces.push(bytes);
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.ended = true;
      this.#wake();
    });
  }

  static async connect(address: string | number): Promise<RawClient> {
    const socket = typeof address === "string" ? net.connect(address) : net.connect(address, "127.0.0.1");
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return client;
  }

  send(bytes: Uint8Array | string): void {
    this.socket.write(typeof bytes === "string" ? hex(bytes) : bytes);
  }

  /** The next bytes, in hexadecimal, once there are so many. */
  async read(size: number): Promise<string> {
    await this.#until(() => this.received.length >= size);
    const bytes = this.received.subarray(0, size);
    this.received = this.received.subarray(size);
    return bytes.toString("hex");
  }

  /** Sends a request and gives the whole reply, which comes in one piece. */
  async ask(bytes: Uint8Array | string): Promise<string> {
    if (this.received.length > 0) throw new Error(`unexpected bytes: ${this.received.toString("hex")}`);
    this.send(bytes);
    await this.#until(() => this.received.length > 0);
    return this.read(this.received.length);
  }

  async closed(): Promise<void> {
    await this.#until(() => this.ended);
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.ended)
        throw new Error(`the server closed the connection; received ${this.received.toString("hex") || "nothing"}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
