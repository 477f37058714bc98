// A backend for tests of what stands in front of one: it answers as told and remembers what it was asked.
import {
  type Awaitable,
  type Backend,
  BackendError,
  type BufferSizes,
  type StartupOptions,
  type StateBlobType,
  type TpmFamily,
} from "../../src/backend/backend.ts";

/** A TPM 2.0 response without parameters. */
export function response(code: number, size = 10): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x8001);
  view.setUint32(2, size);
  view.setUint32(6, code);
  return bytes;
}

export class ScriptedBackend implements Backend {
  readonly family: TpmFamily;
  running = false;
  established = false;
  /** What `execute` answers; a promise makes it take its time. */
  answer: (command: Uint8Array, locality: number) => Awaitable<Uint8Array> = () => response(0);
  /** What `powerOn` throws. */
  startupError: Error | undefined;
  maxBufferSize = 4096;
  #bufferSize: number | undefined;
  /** Every call, in order: the method's name and what tells about it. */
  readonly calls: (readonly [method: string, ...args: unknown[]])[] = [];

  constructor(family: TpmFamily = "2.0") {
    this.family = family;
  }

  powerOn(options: StartupOptions = {}): void {
    this.calls.push(["powerOn", options.deleteVolatile ?? false]);
    if (this.startupError) throw this.startupError;
    this.running = true;
  }

  powerOff(): void {
    this.calls.push(["powerOff"]);
    this.running = false;
  }

  execute(command: Uint8Array, locality: number): Awaitable<Uint8Array> {
    this.calls.push(["execute", Buffer.from(command).toString("hex"), locality]);
    return this.answer(command, locality);
  }

  cancel(): void {
    this.calls.push(["cancel"]);
  }

  getEstablished(): boolean {
    this.calls.push(["getEstablished"]);
    return this.established;
  }

  resetEstablished(locality: number): void {
    this.calls.push(["resetEstablished", locality]);
    if (locality < 3) throw new BackendError("locality", `locality ${locality}`);
    this.established = false;
  }

  hashStart(): void {}
  hashData(): void {}
  hashEnd(): void {}

  bufferSize(wanted?: number): BufferSizes {
    if (wanted !== undefined) this.#bufferSize = Math.min(Math.max(wanted, 1024), this.maxBufferSize);
    this.calls.push(["bufferSize", wanted]);
    return { current: this.#bufferSize ?? this.maxBufferSize, min: 1024, max: this.maxBufferSize };
  }

  getState(_type: StateBlobType): Uint8Array {
    return new Uint8Array(0);
  }

  setState(): void {}
  storeVolatile(): void {}
  lockStorage(): void {}
  unlockStorage(): void {}

  info(): string {
    return "{}";
  }

  close(): void {}

  /** The calls of a method, without its name. */
  of(method: string): unknown[][] {
    return this.calls.filter(([name]) => name === method).map(([, ...args]) => args);
  }
}
