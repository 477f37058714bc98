// The TIS over I2C: QEMU's tpm-tis-i2c.
import { Device, type DeviceOptions, KIND } from "./device.ts";
import type { DevicePort } from "./port.ts";

/** The address TPMs usually have on an I2C bus. */
export const I2C_ADDRESS = 0x2e;

/** An I2C slave. A bus calls `start` when its address was sent, then `send` or `receive` for each byte, then `stop`. */
export class I2cTisDevice extends Device {
  constructor(port: DevicePort, options: DeviceOptions = {}) {
    super(port, { kind: KIND.i2c, options });
  }

  /** START or a repeated START. `receive`: the controller is going to read. */
  start(receive: boolean): void {
    if (!receive) this.wasm.i2cStartSend();
  }

  /** A byte from the controller. False: not acknowledged; the controller then ends the transfer. */
  send(byte: number): boolean {
    return this.wasm.i2cSend(byte & 0xff) !== 0;
  }

  /** A byte to the controller. */
  receive(): number {
    return this.wasm.i2cReceive();
  }

  /** STOP. */
  stop(): void {
    this.wasm.i2cStop();
  }
}
