// The TIS device: QEMU's tpm-tis (on the ISA bus) and tpm-tis-device (on the system bus).
import { type DeviceOptions, KIND, MemoryMappedDevice, type MemoryOverwrite } from "./device.ts";
import type { DevicePort } from "./port.ts";

/** Where the TIS lies on a PC. */
export const TIS_BASE = 0xfed40000;
export const TIS_REGION_SIZE = 0x5000;

export interface TisOptions extends DeviceOptions {
  /** What TPM_INT_VECTOR reads: the ISA interrupt. Default 5. */
  readonly irq?: number;
  /** The interrupt line, called when its level changes. */
  readonly onInterrupt?: (level: boolean) => void;
  /** The physical presence interface of an ISA TIS, for its memory overwrite at reset. */
  readonly ppi?: MemoryOverwrite;
}

export class TisDevice extends MemoryMappedDevice {
  override readonly regionSize = TIS_REGION_SIZE;

  constructor(port: DevicePort, options: TisOptions = {}) {
    super(port, {
      kind: KIND.tis,
      options,
      interruptVector: options.irq ?? 5,
      onInterrupt: options.onInterrupt,
      memoryOverwrite: options.ppi,
    });
  }
}
