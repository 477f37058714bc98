// /dev/tpm0 without a kernel: a device file with the rules of Linux' driver and any function behind it as the TPM.
import type { DeviceFile } from "../../src/platform/device-file.ts";

/** An error as the system's calls give it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: the system says no`), { code });
}

const KERNEL_BUFFER_SIZE = 4096;

/**
 * One device: `open` fails while it is open, a write runs the command, a read gives the response once, and there is no
 * second write before that.
 */
export class FakeTpmDevice {
  /** Runs a command; what it throws is the write's error. */
  transmit: (command: Uint8Array) => Uint8Array | Promise<Uint8Array>;
  /** All commands that reached the TPM, in hexadecimal digits. */
  readonly commands: string[] = [];
  isOpen = false;
  #response: Uint8Array | undefined;

  constructor(transmit: (command: Uint8Array) => Uint8Array | Promise<Uint8Array>) {
    this.transmit = transmit;
  }

  readonly open = async (): Promise<DeviceFile> => {
    if (this.isOpen) throw systemError("EBUSY");
    this.isOpen = true;
    return {
      write: (bytes) => this.#write(bytes),
      read: async (buffer) => this.#read(buffer),
      close: async () => {
        this.isOpen = false;
      },
    };
  };

  async #write(bytes: Uint8Array): Promise<number> {
    if (bytes.length > KERNEL_BUFFER_SIZE) throw systemError("E2BIG");
    if (this.#response) throw systemError("EBUSY");
    if (bytes.length < 6 || Buffer.from(bytes).readUInt32BE(2) > bytes.length) throw systemError("EINVAL");
    this.commands.push(Buffer.from(bytes).toString("hex"));
    this.#response = await this.transmit(bytes.slice());
    return bytes.length;
  }

  #read(buffer: Uint8Array): number {
    const response = this.#response ?? new Uint8Array(0);
    this.#response = undefined;
    buffer.set(response.subarray(0, buffer.length));
    return Math.min(response.length, buffer.length);
  }
}
