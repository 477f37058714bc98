// The machine a recording was made on, as far as a TPM device meets it: its memory map, its bus, its TPM's emulator.
import { PPI_BASE, PpiMemory } from "../../firmware/ppi.ts";
import { CRB_BASE, CrbDevice } from "../crb.ts";
import type { Behaviour, Device } from "../device.ts";
import { I2cTisDevice } from "../i2c.ts";
import { SpaprDevice } from "../spapr.ts";
import { SpaprVio } from "../spapr-vio.ts";
import { TIS_BASE, TisDevice } from "../tis.ts";
import { AddressSpace, deviceRegion, Firmware, Ram, type Region, Shared } from "./address-space.ts";
import type { EmulatorPort } from "./emulator-port.ts";
import type { TraceConfig, TraceHeader, TraceSequence } from "./trace.ts";

export type DeviceKind = "tis" | "tis-sysbus" | "i2c" | "crb" | "spapr";

/** What machine a sequence wants. */
export interface MachineSpec {
  readonly kind: DeviceKind;
  readonly behaviour: Behaviour;
  /** Address of the device, where it has one. */
  readonly base: number;
  readonly unit: number;
  readonly properties: NonNullable<TraceConfig["dev"]>;
}

/** Where what the machine does is recorded. */
export interface MachineOutputs {
  interrupt(level: boolean): void;
  queued(slot: number, entry: Uint8Array): void;
  message(text: string): void;
}

const KINDS: readonly DeviceKind[] = ["tis", "tis-sysbus", "i2c", "crb", "spapr"];
const SYSBUS_BASE = 0x0c000000;
const BASE: Record<DeviceKind, number> = { tis: TIS_BASE, crb: CRB_BASE, "tis-sysbus": SYSBUS_BASE, i2c: 0, spapr: 0 };
const DEVICE_NAME: Record<DeviceKind, string> = {
  tis: "tpm-tis",
  "tis-sysbus": "tpm-tis-device",
  i2c: "tpm-tis-i2c",
  crb: "tpm-crb",
  spapr: "tpm-spapr",
};
const PROPERTIES: Record<DeviceKind, readonly string[]> = {
  tis: ["irq", "ppi"],
  "tis-sysbus": ["irq"],
  i2c: [],
  crb: ["ppi"],
  spapr: [],
};

/** @throws Error when the recording is of a device unknown here. */
export function machineSpec(header: TraceHeader, sequence: TraceSequence): MachineSpec {
  const name = sequence.device ?? header.device ?? "";
  const kind = KINDS.find((k) => k === name.replace(/10$/, ""));
  if (!kind) throw new Error(`no device '${name}'`);
  const major = Number(/version (\d+)/.exec(sequence.qemu ?? header.qemu ?? "")?.[1]);
  return {
    kind,
    behaviour: major >= 10 ? "qemu-10.0" : "qemu-7.2",
    base: header.base && kind !== "i2c" ? Number.parseInt(header.base, 16) : BASE[kind],
    unit: Number.parseInt(header.unit ?? "0", 16),
    properties: sequence.cfg.dev ?? {},
  };
}

/** The name of vmstate section a device's state migrates in. */
export const SECTION: Record<DeviceKind, string> = {
  tis: "tpm-tis",
  "tis-sysbus": "tpm-tis",
  i2c: "tpm-tis-i2c",
  crb: "tpm-crb",
  spapr: "tpm-spapr",
};

export class Machine {
  readonly device: Device;
  readonly memory: AddressSpace;
  readonly #i2c: I2cTisDevice | undefined;
  readonly #vio: SpaprVio | undefined;
  /** An I2C transfer is under way. */
  #transferring = false;

  /** @throws Error with QEMU's message for a property the device has not. */
  constructor(spec: MachineSpec, port: EmulatorPort, outputs: MachineOutputs) {
    const name = DEVICE_NAME[spec.kind];
    for (const [key, value] of Object.entries(spec.properties)) {
      if (PROPERTIES[spec.kind].includes(key)) continue;
      throw new Error(`-device ${name},tpmdev=tpm0,${key}=${value}: Property '${name}.${key}' not found`);
    }
    const ram = new Ram(0, 2 ** 31);
    const firmware = [new Firmware(0xf0000, 0x10000), new Firmware(0xfffc0000, 0x40000)];
    const page = new PpiMemory(() => {
      ram.clear();
      for (const rom of firmware) rom.clear();
    });
    const ppi = spec.properties.ppi === "off" ? {} : { ppi: page };
    const options = { behaviour: spec.behaviour };
    const regions: Region[] = [];
    if (spec.kind === "i2c") {
      this.#i2c = new I2cTisDevice(port, options);
      this.device = this.#i2c;
    } else if (spec.kind === "spapr") {
      const vioOptions = { unit: spec.unit, onQueued: outputs.queued, onMessage: outputs.message };
      this.#vio = new SpaprVio(
        { read: (a, b) => this.memory.read(a, b), write: (a, b) => this.memory.write(a, b) },
        vioOptions,
      );
      const device = new SpaprDevice(port, this.#vio, options);
      this.#vio.attach(device);
      this.device = device;
    } else if (spec.kind === "crb") {
      const device = new CrbDevice(port, { ...options, ...ppi, base: spec.base });
      regions.push(deviceRegion(spec.base, device));
      if (ppi.ppi) regions.push(new Shared(PPI_BASE, page.bytes));
      this.device = device;
    } else {
      const irq = spec.properties.irq === undefined ? {} : { irq: Number(spec.properties.irq) };
      const onInterrupt = outputs.interrupt;
      const device = new TisDevice(port, { ...options, ...irq, ...(spec.kind === "tis" ? ppi : {}), onInterrupt });
      regions.push(deviceRegion(spec.base, device));
      if (spec.kind === "tis" && ppi.ppi) regions.push(new Shared(PPI_BASE, page.bytes));
      this.device = device;
    }
    const x86 = spec.kind === "tis" || spec.kind === "crb";
    this.memory = new AddressSpace([...regions, ...(x86 ? firmware : []), ram]);
  }

  /** Power-on and reset. */
  async reset(): Promise<void> {
    this.#transferring = false;
    this.#vio?.reset();
    await this.device.reset();
  }

  /** The CRB's buffer, which migrates as guest memory. */
  get window(): Uint8Array | undefined {
    return this.device instanceof CrbDevice ? this.device.window : undefined;
  }

  /** The bus controller's write: answers the acknowledgements, the address's first. It ends after one that is missing. */
  i2cWrite(start: boolean, bytes: Uint8Array, stop: boolean): string {
    const device = this.#i2c!;
    if (start) {
      device.start(false);
      this.#transferring = true;
    }
    let acks = start ? "1" : "";
    for (const byte of bytes) {
      const ack = device.send(byte);
      acks += ack ? "1" : "0";
      if (ack) continue;
      this.#i2cStop();
      return acks;
    }
    if (stop) this.#i2cStop();
    return acks;
  }

  /** The bus controller's read. Without a transfer under way the idle bus reads as ones. */
  i2cRead(start: boolean, length: number, stop: boolean): Uint8Array {
    if (start) {
      this.#i2c!.start(true);
      this.#transferring = true;
    }
    const bytes = new Uint8Array(length).map(() => (this.#transferring ? this.#i2c!.receive() : 0xff));
    if (stop) this.#i2cStop();
    return bytes;
  }

  #i2cStop(): void {
    if (!this.#transferring) return;
    this.#transferring = false;
    this.#i2c!.stop();
  }

  /** A hypercall of a PAPR guest. */
  hypercall(opcode: number, args: readonly bigint[]): bigint {
    return BigInt.asUintN(64, BigInt(this.#vio!.hypercall(opcode, args)));
  }
}
