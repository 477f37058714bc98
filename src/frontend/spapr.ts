// The vTPM of PAPR machines: QEMU's tpm-spapr.
import { Device, type DeviceOptions, KIND, type SpaprBus } from "./device.ts";
import type { DevicePort } from "./port.ts";

export class SpaprDevice extends Device {
  constructor(port: DevicePort, bus: SpaprBus, options: DeviceOptions = {}) {
    super(port, { kind: KIND.spapr, options, bus });
  }

  /**
   * The H_SEND_CRQ hypercall: an entry of 16 bytes as its two big-endian halves. Answers the return code: 1 (H_BUSY) for
   * a TPM command while one runs, else 0 (H_SUCCESS).
   */
  crqMessage(high: bigint, low: bigint): number {
    return this.wasm.crqMessage(high, low);
  }

  /**
   * Keeps responses away from guest memory while it is being saved (true), or brings a kept one there (false). After
   * `restore` the device holds until the guest's memory is there again.
   */
  hold(hold: boolean): void {
    this.wasm.hold(Number(hold));
  }
}
