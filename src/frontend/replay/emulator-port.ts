// QEMU's emulator backend as a device sees it: the dialogue with an swtpm, in QEMU's order and with its messages.
//
// It exists to replay recordings and to explain them; to drive a real swtpm take the emulator backend (src/backend).
import type { TpmFamily } from "../../backend/backend.ts";
import type { Answer, DevicePort } from "../port.ts";

/** The two channels to the emulator. */
export interface EmulatorChannel {
  /** Sends a control command and waits for its response. */
  control(code: number, request: Uint8Array): Uint8Array;
  /** Sends a TPM command; the answer comes by `EmulatorPort.receive`. `locality` is the one set last, 255 for none. */
  send(command: Uint8Array, locality: number): void;
  /** What QEMU would print on its standard error. */
  message(text: string): void;
}

/** Control commands (swtpm's ptm_cmd codes). */
export const CONTROL = {
  GET_CAPABILITY: 0x01,
  INIT: 0x02,
  SHUTDOWN: 0x03,
  GET_TPMESTABLISHED: 0x04,
  SET_LOCALITY: 0x05,
  CANCEL_TPM_CMD: 0x09,
  RESET_TPMESTABLISHED: 0x0b,
  GET_STATEBLOB: 0x0c,
  SET_STATEBLOB: 0x0d,
  STOP: 0x0e,
  SET_DATAFD: 0x10,
  SET_BUFFERSIZE: 0x11,
  LOCK_STORAGE: 0x13,
} as const;

/** Capability bits (PTM_CAP_*). */
const CAP = {
  INIT: 1 << 0,
  SHUTDOWN: 1 << 1,
  GET_TPMESTABLISHED: 1 << 2,
  SET_LOCALITY: 1 << 3,
  CANCEL_TPM_CMD: 1 << 5,
  RESET_TPMESTABLISHED: 1 << 7,
  GET_STATEBLOB: 1 << 8,
  SET_STATEBLOB: 1 << 9,
  STOP: 1 << 10,
  SET_DATAFD: 1 << 12,
  SET_BUFFERSIZE: 1 << 13,
  LOCK_STORAGE: 1 << 16,
} as const;

const REQUIRED_1_2 =
  CAP.INIT | CAP.SHUTDOWN | CAP.GET_TPMESTABLISHED | CAP.SET_LOCALITY | CAP.SET_DATAFD | CAP.STOP | CAP.SET_BUFFERSIZE;
const REQUIRED_2_0 = REQUIRED_1_2 | CAP.RESET_TPMESTABLISHED;
const REQUIRED_TO_MIGRATE = CAP.GET_STATEBLOB | CAP.SET_STATEBLOB | CAP.STOP;

/** Header-only TPM2_ReadClock and TPM_GetTicks: whether the answer has the tag of the family tells which it is. */
const PROBE_2_0 = Uint8Array.of(0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x81);
const PROBE_1_2 = Uint8Array.of(0x00, 0xc1, 0, 0, 0, 10, 0, 0, 0, 0xf1);

const NO_LOCALITY = 0xff;
const DEFAULT_BUFFER_SIZE = 4096;
const STATE_BLOB_TYPES = [1, 2, 3];
const STATE_FLAG_DECRYPTED = 1;
const STATE_BLOB_HEADER_SIZE = 16;
const INIT_FLAG_DELETE_VOLATILE = 1;
const LOCK_RETRIES = 300;
/** Bit of a result that a state blob came with all the same. */
const RESULT_NON_FATAL = 0x800;

/** The emulator refused or answered nonsense; the message is QEMU's. */
export class EmulatorError extends Error {}

/** A state blob as it migrates: its flags and its bytes. */
export interface StateBlob {
  readonly flags: number;
  readonly data: Uint8Array;
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setUint32(4 * i, value);
  });
  return bytes;
}

/** The big-endian word at byte `offset`; 0 behind the end of a response that was too short. */
function word(bytes: Uint8Array, offset: number): number {
  if (bytes.length < offset + 4) return 0;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset);
}

/** QEMU's words for the two results that only say "failed" (TPM 1.2's TPM_FAIL, TPM 2.0's TPM_RC_FAILURE). */
function describe(result: number): string {
  const text = result === 0x009 || result === 0x101 ? "operation failed" : "";
  return `0x${result.toString(16)} ${text}`;
}

export class EmulatorPort implements DevicePort {
  family: TpmFamily | undefined;
  readonly #channel: EmulatorChannel;
  #capabilities = 0;
  #locality = NO_LOCALITY;
  #established: boolean | undefined;
  #pending: Answer | undefined;
  #settled: (() => void)[] = [];
  #probe: ((response: Uint8Array) => void) | undefined;
  /** What the next `startup` with `resume` hands the emulator. */
  #stateBlobs: readonly StateBlob[] = [];

  constructor(channel: EmulatorChannel) {
    this.#channel = channel;
  }

  /**
   * What happens before there is a device: data channel, TPM version, capabilities.
   * @throws EmulatorError; SHUTDOWN was sent then.
   */
  async open(): Promise<void> {
    try {
      if (this.#result(CONTROL.SET_DATAFD) !== 0) {
        throw new EmulatorError("Failed to send CMD_SET_DATAFD: Operation not supported");
      }
      this.family = await this.#probeFamily();
      this.#capabilities = word(this.#channel.control(CONTROL.GET_CAPABILITY, new Uint8Array(0)), 4);
      const required = this.family === "2.0" ? REQUIRED_2_0 : REQUIRED_1_2;
      if ((this.#capabilities & required) !== required) {
        const version = this.family === "2.0" ? "TPM 2" : "TPM 1.2";
        throw new EmulatorError(
          `TPM does not implement minimum set of required capabilities for ${version} (0x${required.toString(16)})`,
        );
      }
    } catch (error) {
      this.shutdown();
      throw error;
    }
  }

  async #probeFamily(): Promise<TpmFamily> {
    const probe = (command: Uint8Array) =>
      new Promise<Uint8Array>((resolve) => {
        this.#probe = resolve;
        this.#channel.send(command, this.#locality);
      });
    if (word(await probe(PROBE_2_0), 0) >>> 16 === 0x8001) return "2.0";
    if (word(await probe(PROBE_1_2), 0) >>> 16 === 0x00c4) return "1.2";
    throw new EmulatorError("no TPM answered");
  }

  /** The data channel's answer to what was sent last. */
  receive(response: Uint8Array): void {
    if (this.#probe) {
      const probe = this.#probe;
      this.#probe = undefined;
      probe(response);
      return;
    }
    this.#finish(response);
  }

  #finish(response: Uint8Array | undefined): void {
    const answer = this.#pending;
    this.#pending = undefined;
    answer?.(response);
    for (const settled of this.#settled.splice(0)) settled();
  }

  #result(code: number, request: Uint8Array = new Uint8Array(0)): number {
    return word(this.#channel.control(code, request), 0);
  }

  settle(): Promise<void> | undefined {
    if (!this.#pending) return undefined;
    return new Promise((resolve) => {
      this.#settled.push(resolve);
    });
  }

  #stop(): boolean {
    const result = this.#result(CONTROL.STOP);
    if (result !== 0) this.#channel.message(`tpm-emulator: TPM result for CMD_STOP: ${describe(result)}`);
    return result === 0;
  }

  /** STOP and SET_BUFFERSIZE; the size in use, or undefined when the emulator refused. 0 only asks. */
  #setBufferSize(size: number): number | undefined {
    if (!this.#stop()) return undefined;
    const response = this.#channel.control(CONTROL.SET_BUFFERSIZE, words(size));
    const result = word(response, 0);
    if (result === 0) return word(response, 4);
    this.#channel.message(`tpm-emulator: TPM result for set buffer size : ${describe(result)}`);
    return undefined;
  }

  queryBufferSize(): number {
    return this.#setBufferSize(0) ?? DEFAULT_BUFFER_SIZE;
  }

  startup(bufferSize: number, resume: boolean): void {
    if (this.#setBufferSize(bufferSize) === undefined) throw new EmulatorError("the buffer size was refused");
    if (resume) this.#loadState();
    const flags = resume ? INIT_FLAG_DELETE_VOLATILE : 0;
    const result = this.#result(CONTROL.INIT, words(flags));
    if (result === 0) return;
    this.#channel.message(`tpm-emulator: TPM result for CMD_INIT: ${describe(result)}`);
    throw new EmulatorError("the TPM did not start");
  }

  submit(command: Uint8Array, locality: number, answer: Answer): boolean {
    if (this.#pending) {
      this.#channel.message("There is a TPM request pending");
      return false;
    }
    this.#pending = answer;
    if (!this.#setLocality(locality)) this.#finish(undefined);
    else if (command.length > 0) this.#channel.send(command, this.#locality);
    return true;
  }

  #setLocality(locality: number): boolean {
    if (this.#locality === locality) return true;
    const result = this.#result(CONTROL.SET_LOCALITY, Uint8Array.of(locality, 0, 0, 0));
    if (result === 0) this.#locality = locality;
    else this.#channel.message(`tpm-emulator: TPM result for set locality : 0x${result.toString(16)}`);
    return result === 0;
  }

  cancel(): void {
    if (this.#capabilities & CAP.CANCEL_TPM_CMD) this.#result(CONTROL.CANCEL_TPM_CMD);
  }

  established(): boolean {
    // The result is ignored, only the flag in the byte behind it counts.
    this.#established ??= this.#channel.control(CONTROL.GET_TPMESTABLISHED, new Uint8Array(0))[4] === 1;
    return this.#established;
  }

  /** Names the locality of the last command, not the one asked for, as QEMU does. */
  resetEstablished(): void {
    const result = this.#result(CONTROL.RESET_TPMESTABLISHED, Uint8Array.of(this.#locality, 0, 0, 0));
    if (result === 0) this.#established = undefined;
  }

  /** The end of the backend object. */
  shutdown(): void {
    const result = this.#result(CONTROL.SHUTDOWN);
    if (result !== 0) this.#channel.message(`tpm-emulator: TPM result for shutdown: ${describe(result)}`);
  }

  /** False when the emulator lacks what migration needs; it is refused then. */
  get migratable(): boolean {
    return (this.#capabilities & REQUIRED_TO_MIGRATE) === REQUIRED_TO_MIGRATE;
  }

  /** The state blobs, as the source of a migration reads them. @throws EmulatorError */
  readState(): StateBlob[] {
    return STATE_BLOB_TYPES.map((type) => {
      const response = this.#channel.control(CONTROL.GET_STATEBLOB, words(STATE_FLAG_DECRYPTED, type, 0));
      const result = word(response, 0);
      const length = word(response, 12);
      if (result !== 0 && !(result & RESULT_NON_FATAL)) throw new EmulatorError(`state blob ${type}: 0x${result}`);
      if (word(response, 8) !== length) throw new EmulatorError(`state blob ${type}: not whole`);
      return {
        flags: word(response, 4),
        data: response.subarray(STATE_BLOB_HEADER_SIZE, STATE_BLOB_HEADER_SIZE + length),
      };
    });
  }

  /** What `startup` with `resume` is to load. */
  setState(blobs: readonly StateBlob[]): void {
    this.#stateBlobs = blobs;
  }

  #loadState(): void {
    if (!this.#stop()) throw new EmulatorError("the TPM did not stop");
    this.#stateBlobs.forEach(({ flags, data }, i) => {
      if (data.length === 0) return;
      const header = words(flags, STATE_BLOB_TYPES[i]!, data.length);
      const request = new Uint8Array(header.length + data.length);
      request.set(header);
      request.set(data, header.length);
      if (this.#result(CONTROL.SET_STATEBLOB, request) !== 0) throw new EmulatorError("a state blob was refused");
    });
  }

  /** The source of a migration runs on: it takes the storage back. */
  resumeAfterMigration(): void {
    if (this.#capabilities & CAP.LOCK_STORAGE) this.#result(CONTROL.LOCK_STORAGE, words(LOCK_RETRIES));
  }
}

/** QEMU's vmstate "tpm-emulator": flags, size and bytes of the three blobs. */
export function encodeStateBlobs(blobs: readonly StateBlob[]): Uint8Array {
  const parts = blobs.flatMap(({ flags, data }) => [words(flags, data.length), data]);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** @throws EmulatorError when the bytes are not three blobs. */
export function decodeStateBlobs(bytes: Uint8Array): StateBlob[] {
  let at = 0;
  const blobs = STATE_BLOB_TYPES.map(() => {
    const size = word(bytes, at + 4);
    const blob = { flags: word(bytes, at), data: bytes.subarray(at + 8, at + 8 + size) };
    if (blob.data.length !== size) throw new EmulatorError("the state blobs are cut off");
    at += 8 + size;
    return blob;
  });
  if (at !== bytes.length) throw new EmulatorError("bytes behind the state blobs");
  return blobs;
}
