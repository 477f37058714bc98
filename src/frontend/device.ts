// What all hardware interfaces have in common: a module instance, a TPM behind it, reset, save and restore.
import { BackendError, type TpmFamily } from "../backend/backend.ts";
import { type FrontendExports, frontendModule, instantiateFrontend } from "./module.ts";
import type { DevicePort } from "./port.ts";

/** Whose behaviour is followed where releases of QEMU differ. */
export type Behaviour = "qemu-7.2" | "qemu-10.0";

/** The memory of the physical presence interface, as a device's reset needs it. */
export interface MemoryOverwrite {
  /** Clears the guest's memory if the guest asked for it. Answers whether it did. */
  reset(): boolean;
}

/** The guest's side of an SPAPR device: its memory by I/O address, and its command/response queue. */
export interface SpaprBus {
  /** Fills `into` from the I/O address on. False when any byte could not be read. */
  dmaRead(address: number, into: Uint8Array): boolean;
  /** Writes `bytes` from the I/O address on. False when any byte could not be written. */
  dmaWrite(address: number, bytes: Uint8Array): boolean;
  /** Queues an entry of 16 bytes, given as its two big-endian halves. */
  sendCrq(high: bigint, low: bigint): void;
}

export interface DeviceOptions {
  /** Default "qemu-10.0". */
  readonly behaviour?: Behaviour;
  /** The compiled module; by default the one of this package. */
  readonly module?: WebAssembly.Module;
}

/** The device kinds of the module's `configure`. */
export const KIND = { tis: 1, i2c: 2, crb: 3, spapr: 4 } as const;
const BEHAVIOUR: Record<Behaviour, number> = { "qemu-7.2": 0, "qemu-10.0": 1 };
const VERSION: Record<TpmFamily, number> = { "1.2": 1, "2.0": 2 };

/** A kind's fixed properties and connections to the machine. */
export interface DeviceWiring {
  readonly kind: number;
  readonly options: DeviceOptions;
  readonly interruptVector?: number;
  readonly base?: number;
  readonly onInterrupt?: ((level: boolean) => void) | undefined;
  readonly memoryOverwrite?: MemoryOverwrite | undefined;
  readonly bus?: SpaprBus;
}

export abstract class Device {
  protected readonly wasm: FrontendExports;
  protected readonly memory: Uint8Array;
  readonly #port: DevicePort;
  readonly #memoryOverwrite: MemoryOverwrite | undefined;
  /** CRB asks for the buffer size only when the command in flight has ended; the others before. */
  protected readonly settlesFirst: boolean = false;

  protected constructor(port: DevicePort, wiring: DeviceWiring) {
    this.#port = port;
    this.#memoryOverwrite = wiring.memoryOverwrite;
    const { onInterrupt, bus } = wiring;
    this.wasm = instantiateFrontend(wiring.options.module ?? frontendModule(), {
      submit: (locality, command, length) => Number(this.#submit(locality, command, length)),
      cancel: () => port.cancel(),
      established: () => Number(port.established()),
      resetEstablished: (locality) => port.resetEstablished(locality),
      interrupt: (level) => onInterrupt?.(level !== 0),
      dmaRead: (address, to, length) =>
        Number(bus?.dmaRead(address >>> 0, this.memory.subarray(to, to + length)) ?? false),
      dmaWrite: (address, from, length) =>
        Number(bus?.dmaWrite(address >>> 0, this.memory.subarray(from, from + length)) ?? false),
      sendCrq: (high, low) => bus?.sendCrq(BigInt.asUintN(64, high), BigInt.asUintN(64, low)),
    });
    this.memory = new Uint8Array(this.wasm.memory.buffer);
    const behaviour = BEHAVIOUR[wiring.options.behaviour ?? "qemu-10.0"];
    this.wasm.configure(wiring.kind, behaviour, wiring.interruptVector ?? 0, wiring.base ?? 0);
  }

  #submit(locality: number, command: number, length: number): boolean {
    return this.#port.submit(this.memory.subarray(command, command + length), locality, (response) =>
      this.#answer(response),
    );
  }

  #answer(response: Uint8Array | undefined): void {
    if (response === undefined || response.length > this.wasm.bufferCapacity()) {
      this.wasm.fail();
    } else {
      this.memory.set(response, this.wasm.buffer());
      this.wasm.complete(response.length);
    }
  }

  /** Bytes of buffer agreed on with the TPM; known after `reset`. */
  get bufferSize(): number {
    return this.wasm.bufferSize();
  }

  /**
   * Power-on and machine reset: registers to their initial values, the TPM started anew. A command in flight is waited
   * for first.
   *
   * @throws BackendError when the TPM does not start; a TIS then reads as zeros.
   */
  async reset(): Promise<void> {
    await this.#start(() => this.#memoryOverwrite?.reset() && this.clearMemory(), undefined);
  }

  /** The device's state in the fields of QEMU's vmstate. A command in flight is waited for first. */
  async save(): Promise<Uint8Array> {
    await this.#port.settle();
    const at = this.wasm.state();
    return this.memory.slice(at, at + this.wasm.save());
  }

  /**
   * Brings back a state from `save`, of this or another instance, and starts the TPM from the state the backend was
   * given (`Backend.setState`). In a guest that migrates, that is the destination's start.
   *
   * @throws BackendError "bad-state" when the bytes are no state of such a device; it is then as after a reset, with the
   *   TPM stopped. Whatever the TPM's start throws.
   */
  async restore(state: Uint8Array): Promise<void> {
    await this.#start(() => {}, state);
  }

  async #start(overwriteMemory: () => void, state: Uint8Array | undefined): Promise<void> {
    const port = this.#port;
    try {
      if (this.settlesFirst) await port.settle();
      const size = await port.queryBufferSize();
      overwriteMemory();
      await port.settle();
      this.wasm.reset(port.family ? VERSION[port.family] : 0, size);
      if (state) this.#load(state);
      await port.startup(this.wasm.bufferSize(), state !== undefined);
    } catch (error) {
      this.wasm.setFailed();
      throw error;
    }
  }

  #load(state: Uint8Array): void {
    const fits = state.length <= this.wasm.stateCapacity();
    if (fits) this.memory.set(state, this.wasm.state());
    if (!fits || !this.wasm.restore(state.length)) {
      throw new BackendError("bad-state", `${state.length} bytes that are no state of this device`);
    }
  }

  /** Clears what of the guest's memory lies in the device. */
  protected clearMemory(): void {}
}

/** A device whose registers lie in the guest's memory or port space. */
export abstract class MemoryMappedDevice extends Device {
  /** The size of the register region in bytes. */
  abstract readonly regionSize: number;

  /**
   * A guest's load of 1, 2, 3 or 4 bytes, `offset` bytes into the region. Any offset and alignment will do: the device
   * sees naturally aligned pieces, lowest address first. Bytes outside the region are 0.
   */
  read(offset: number, size: number): number {
    return this.wasm.read(offset, size) >>> 0;
  }

  /** As `read`, for up to 8 bytes. */
  readWide(offset: number, size: number): bigint {
    return BigInt.asUintN(64, this.wasm.readWide(offset, size));
  }

  /** A guest's store of up to 4 bytes. Bytes outside the region are lost. */
  write(offset: number, size: number, value: number): void {
    this.wasm.write(offset, size, value);
  }

  /** As `write`, for up to 8 bytes. */
  writeWide(offset: number, size: number, value: bigint): void {
    this.wasm.writeWide(offset, size, value);
  }
}
