// What a device asks of the TPM behind it.
import type { Awaitable, TpmFamily } from "../backend/backend.ts";

/** Takes the response, or undefined when there is none: the guest then gets a failure response. */
export type Answer = (response: Uint8Array | undefined) => void;

/**
 * The TPM as a device sees it: QEMU's contract between a TPM device and its backend. `BackendPort` makes one of any
 * `Backend`.
 *
 * A guest's access cannot wait, so what an access asks for is answered at once; what only happens at a reset may take
 * its time.
 */
export interface DevicePort {
  /** Undefined when it could not be found out. */
  readonly family: TpmFamily | undefined;

  /** Waits until no command is under way. */
  settle(): Awaitable<void>;
  /** Stops the TPM and asks for the size of its command buffer in bytes. */
  queryBufferSize(): Awaitable<number>;
  /**
   * Starts the TPM with a buffer of `bufferSize` bytes. `resume` continues from restored state, whose volatile part is
   * deleted once it was read.
   */
  startup(bufferSize: number, resume: boolean): Awaitable<void>;

  /**
   * Runs a command; `answer` is called once, at any time, also before this returns. Answers false when a command is
   * under way already: this one is then dropped. `command` is only valid during the call.
   */
  submit(command: Uint8Array, locality: number, answer: Answer): boolean;
  /** Asks the command under way to end early; its answer still comes. */
  cancel(): void;
  /** The TPM_ESTABLISHED flag. */
  established(): boolean;
  resetEstablished(locality: number): void;
}
