// The control side of an emulator that runs no TPM: what tests put behind QEMU's TPM devices.
import { CONTROL } from "../../src/frontend/replay/emulator-port.ts";

export interface FakeSwtpmOptions {
  /** 1: a TPM 1.2, 2: a TPM 2.0. Default 2. */
  readonly version?: 1 | 2;
  /** The largest command buffer it grants, in bytes. Default 4096. */
  readonly maxBufferSize?: number;
  readonly established?: boolean;
  /** Capability bits; default all QEMU knows. */
  readonly capabilities?: number;
}

const MIN_BUFFER_SIZE = 1024;
const ALL_CAPABILITIES = 0x1ffff;

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  values.forEach((value, i) => {
    new DataView(bytes.buffer).setUint32(4 * i, value);
  });
  return bytes;
}

export class FakeSwtpm {
  readonly #version: 1 | 2;
  readonly #maxBufferSize: number;
  readonly #capabilities: number;
  #bufferSize: number;
  #established: boolean;
  /** The locality set last, 255 for none. */
  locality = 0xff;

  constructor(options: FakeSwtpmOptions = {}) {
    this.#version = options.version ?? 2;
    this.#maxBufferSize = options.maxBufferSize ?? 4096;
    this.#capabilities = options.capabilities ?? ALL_CAPABILITIES;
    this.#bufferSize = this.#maxBufferSize;
    this.#established = options.established ?? false;
  }

  /** The answer to a control command. */
  control(code: number, request: Uint8Array): Uint8Array {
    switch (code) {
      case CONTROL.GET_CAPABILITY:
        return words(0, this.#capabilities);
      case CONTROL.GET_TPMESTABLISHED:
        return Uint8Array.of(0, 0, 0, 0, Number(this.#established), 0, 0, 0);
      case CONTROL.RESET_TPMESTABLISHED:
        this.#established = false;
        return words(0);
      case CONTROL.SET_LOCALITY:
        this.locality = request[0]!;
        return words(0);
      case CONTROL.SET_BUFFERSIZE: {
        const wanted = new DataView(request.buffer, request.byteOffset).getUint32(0);
        if (wanted !== 0) this.#bufferSize = Math.min(Math.max(wanted, MIN_BUFFER_SIZE), this.#maxBufferSize);
        return words(0, this.#bufferSize, MIN_BUFFER_SIZE, this.#maxBufferSize);
      }
      default:
        return words(0);
    }
  }

  /** The answer to a command of QEMU's version probe: only the family of this TPM answers with its own tag. */
  probe(command: Uint8Array): Uint8Array {
    const asks2 = command[0] === 0x80;
    if (this.#version === 2 && asks2) return Uint8Array.of(0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01);
    return Uint8Array.of(0x00, 0xc4, 0, 0, 0, 10, 0, 0, 0, 0x1e);
  }
}

/** The length of a control command's request behind its code. */
export function requestLength(code: number): number {
  switch (code) {
    case CONTROL.INIT:
    case CONTROL.SET_LOCALITY:
    case CONTROL.RESET_TPMESTABLISHED:
    case CONTROL.SET_BUFFERSIZE:
      return 4;
    default:
      return 0;
  }
}
