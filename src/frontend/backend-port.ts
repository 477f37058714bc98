// Any backend as what a device needs.
import { attempt, chain } from "../backend/awaitable.ts";
import { type Awaitable, type Backend, BackendError, type TpmFamily } from "../backend/backend.ts";
import type { Answer, DevicePort } from "./port.ts";

const HEADER_SIZE = 10;

export interface BackendPortOptions {
  /** Told what went wrong with the backend; the guest gets a failure response meanwhile. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Drives a `Backend` for one device: one command at a time, answers checked to be responses, TPM_ESTABLISHED known
 * without waiting. The backend stays the caller's to close.
 */
export class BackendPort implements DevicePort {
  readonly #backend: Backend;
  readonly #onError: (error: unknown) => void;
  /** Resolves when the command under way was answered. */
  #underWay: Promise<void> | undefined;
  #established = false;

  constructor(backend: Backend, options: BackendPortOptions = {}) {
    this.#backend = backend;
    this.#onError = options.onError ?? (() => {});
  }

  get family(): TpmFamily {
    return this.#backend.family;
  }

  settle(): Awaitable<void> {
    return this.#underWay;
  }

  async queryBufferSize(): Promise<number> {
    await this.#underWay;
    await this.#backend.powerOff();
    return (await this.#backend.bufferSize()).current;
  }

  async startup(bufferSize: number, resume: boolean): Promise<void> {
    await this.#backend.bufferSize(bufferSize);
    await this.#backend.powerOn({ deleteVolatile: resume });
    this.#established = await this.#backend.getEstablished();
  }

  submit(command: Uint8Array, locality: number, answer: Answer): boolean {
    if (this.#underWay) return false;
    const failed = (error: unknown): Uint8Array | undefined => {
      this.#onError(error);
      return undefined;
    };
    const bytes = command.slice();
    const response = attempt<Uint8Array | undefined>(
      () => chain(this.#backend.execute(bytes, locality), check),
      failed,
    );
    if (!(response instanceof Promise)) {
      answer(response);
      return true;
    }
    this.#underWay = response.then((bytes) => {
      this.#underWay = undefined;
      answer(bytes);
    });
    return true;
  }

  cancel(): void {
    try {
      this.#backend.cancel();
    } catch (error) {
      this.#onError(error);
    }
  }

  established(): boolean {
    return this.#established;
  }

  resetEstablished(locality: number): void {
    const again = attempt<boolean>(
      () => chain(this.#backend.resetEstablished(locality), () => this.#backend.getEstablished()),
      (error) => {
        this.#onError(error);
        return this.#established;
      },
    );
    chain(again, (established) => {
      this.#established = established;
    });
  }
}

/** What is no response is treated as none, so that a guest never reads a size that is not there. */
function check(response: Uint8Array): Uint8Array {
  const size = new DataView(response.buffer, response.byteOffset, response.byteLength);
  if (response.length < HEADER_SIZE || size.getUint32(2) !== response.length) {
    throw new BackendError("io", `the TPM answered ${response.length} bytes that are no response`);
  }
  return response;
}
