// The Command Response Buffer device: QEMU's tpm-crb.
import { type DeviceOptions, KIND, MemoryMappedDevice, type MemoryOverwrite } from "./device.ts";
import type { DevicePort } from "./port.ts";

/** Where the CRB lies on a PC. */
export const CRB_BASE = 0xfed40000;
export const CRB_REGION_SIZE = 0x1000;
/** Where in the region the command/response buffer begins, which is memory to the guest. */
export const CRB_WINDOW_OFFSET = 0x80;

export interface CrbOptions extends DeviceOptions {
  /** The guest-physical address of the device, which its registers state. Default CRB_BASE. */
  readonly base?: number;
  /** The physical presence interface, for its memory overwrite at reset. */
  readonly ppi?: MemoryOverwrite;
}

export class CrbDevice extends MemoryMappedDevice {
  override readonly regionSize = CRB_REGION_SIZE;
  protected override readonly settlesFirst = true;

  constructor(port: DevicePort, options: CrbOptions = {}) {
    super(port, { kind: KIND.crb, options, base: options.base ?? CRB_BASE, memoryOverwrite: options.ppi });
  }

  /** The command/response buffer: guest memory, saved and restored as such and not part of `save`. */
  get window(): Uint8Array {
    const at = this.wasm.buffer();
    return this.memory.subarray(at, at + this.wasm.bufferCapacity());
  }

  protected override clearMemory(): void {
    this.window.fill(0);
  }
}
