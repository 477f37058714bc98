// A TPM for a machine of the v86 emulator: the device in its memory, what its firmware and ACPI need, its resets, its saved states.
import { type Backend, BackendError } from "../../src/backend/backend.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { loadEngineModule } from "../../src/engine/module.ts";
import { LOG_SIZE, linkTable, PpiMemory, ssdt, tpmFirmware } from "../../src/firmware/index.ts";
import {
  BackendPort,
  type Behaviour,
  CrbDevice,
  loadFrontendModule,
  type MemoryMappedDevice,
  TisDevice,
} from "../../src/frontend/index.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import { type EventLog, readEventLog } from "./event-log.ts";
import { type FirmwareFile, machineOf, type V86Cpu, type V86Emulator } from "./emulator.ts";
import { DEVICE_BASE, LOG_BASE, mapTpm, unmapTpm } from "./memory.ts";
import { type Observer, observedPort } from "./observed-port.ts";

export interface AttachOptions {
  /** The TPM. By default a TPM 2.0 whose state lives in memory; `close` ends that one, others are the caller's to close. */
  readonly backend?: Backend;
  /** The interface the guest sees. Default "tis". */
  readonly device?: "tis" | "crb";
  /** The interrupt line of a TIS. Default 5, as on QEMU's machines. */
  readonly irq?: number;
  /** Whose release of QEMU the device follows. Default "qemu-10.0". */
  readonly behaviour?: Behaviour;
  /** Told of every command of the guest and its response. Must not throw. */
  readonly observe?: Observer;
  /** Told what went wrong with the TPM; the guest gets a failure response meanwhile. */
  readonly onError?: (error: unknown) => void;
}

/** A machine with its TPM, stopped between two instructions. It can be kept as it is, in IndexedDB too. */
export interface MachineState {
  /** What v86's `save_state` gives. */
  readonly machine: ArrayBuffer;
  /** The interface's registers and buffer, in the fields of QEMU's vmstate. */
  readonly device: Uint8Array;
  /** The TPM's state, as libtpms writes it. It has the TPM's secrets in it. */
  readonly permanent: Uint8Array;
  readonly volatile: Uint8Array;
  /** The memory that is neither v86's nor the TPM's: the CRB's buffer, the physical presence page, the event log. */
  readonly window: Uint8Array;
  readonly presence: Uint8Array;
  readonly log: Uint8Array;
}

/** Machines that have a TPM. */
const attached = new WeakSet<V86Cpu>();

/**
 * Puts a TPM into a machine that does not run yet (`autostart: false`) and starts the TPM. The emulator has to be made with
 * `acpi: true` and a BIOS that knows TPMs.
 *
 * @throws BackendError when the TPM does not start; the machine is then as before. Error when the machine runs or has a TPM already, or
 *   when v86 is another than expected.
 */
export async function attachTpm(emulator: V86Emulator, options: AttachOptions = {}): Promise<V86Tpm> {
  const [cpu] = await Promise.all([machineOf(emulator), loadFrontendModule()]);
  if (emulator.is_running()) throw new Error("a TPM is attached before the machine runs: give V86 autostart: false");
  if (attached.has(cpu)) throw new Error("this machine has a TPM already");
  attached.add(cpu);
  const backend = options.backend ?? (await memoryBackend());
  const tpm = new V86Tpm(emulator, cpu, backend, options);
  try {
    await tpm.device.reset();
    return tpm;
  } catch (error) {
    await tpm.close().catch(() => {});
    throw error;
  }
}

async function memoryBackend(): Promise<Backend> {
  return createEngineBackend({ store: new MemoryStore(), module: await loadEngineModule() });
}

/** The TPM of a machine. `attachTpm` makes it. */
export class V86Tpm {
  readonly backend: Backend;
  readonly device: MemoryMappedDevice;
  /** The memory the firmware writes its event log to (LOG_SIZE bytes, zeros behind the log's end). */
  readonly log = new Uint8Array(LOG_SIZE);
  readonly #emulator: V86Emulator;
  readonly #cpu: V86Cpu;
  readonly #window: Uint8Array;
  readonly #presence: PpiMemory;
  readonly #files: readonly FirmwareFile[];
  readonly #reboot: () => void;
  readonly #options: AttachOptions;
  /** Settles when what the machine stands still for is done. */
  #standing: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(emulator: V86Emulator, cpu: V86Cpu, backend: Backend, options: AttachOptions) {
    this.#emulator = emulator;
    this.#cpu = cpu;
    this.backend = backend;
    this.#options = options;
    this.#presence = new PpiMemory(() => {
      cpu.mem8.fill(0);
      this.#window.fill(0);
    });

    const backendPort = new BackendPort(backend, { onError: (error) => this.#report(error) });
    const port = options.observe ? observedPort(backendPort, options.observe) : backendPort;
    const { irq = 5, behaviour = "qemu-10.0" } = options;
    if (options.device === "crb") {
      const crb = new CrbDevice(port, { behaviour });
      this.device = crb;
      this.#window = crb.window;
    } else {
      const onInterrupt = (level: boolean) => (level ? cpu.device_raise_irq(irq) : cpu.device_lower_irq(irq));
      this.device = new TisDevice(port, { behaviour, irq, onInterrupt });
      this.#window = new Uint8Array(0);
    }

    mapTpm(cpu, this.device, this.#presence.bytes, this.log);
    this.#files = firmwareFiles(backend, options.device ?? "tis", cpu.option_roms);
    cpu.option_roms.push(...this.#files);
    this.#reboot = cpu.reboot_internal;
    cpu.reboot_internal = () => this.#machineReset();
  }

  /** What the firmware has logged so far. */
  eventLog(): EventLog {
    return readEventLog(this.log);
  }

  /**
   * The machine with its TPM. If it runs, it stands still meanwhile.
   *
   * @throws BackendError when this TPM's state cannot be had, with the reason.
   */
  async saveState(): Promise<MachineState> {
    const { backend } = this;
    if (backend.migrationBlocker !== undefined) throw new BackendError("unsupported", backend.migrationBlocker);
    return this.#standStill(async () => {
      const device = await this.device.save();
      return {
        machine: await this.#emulator.save_state(),
        device,
        permanent: await backend.getState("permanent"),
        volatile: await backend.getState("volatile"),
        window: this.#window.slice(),
        presence: this.#presence.save(),
        log: this.log.slice(),
      };
    });
  }

  /**
   * Goes on where `saveState` was called: with this machine or with another that was made and attached with the same options. What this
   * TPM was before is gone, its stored state too.
   *
   * @throws BackendError "bad-state" when a part is not what it should be; the machine then has no working TPM until another state is
   *   restored.
   */
  async restoreState(state: MachineState): Promise<void> {
    const { backend } = this;
    if (state.window.length !== this.#window.length || state.log.length !== LOG_SIZE) {
      throw new BackendError("bad-state", "the state is of a machine with another TPM device");
    }
    await this.#standStill(async () => {
      this.#presence.restore(state.presence);
      await backend.powerOff();
      await backend.setState("permanent", state.permanent);
      await backend.setState("volatile", state.volatile);
      await this.device.restore(state.device);
      this.#window.set(state.window);
      this.log.set(state.log);
      await this.#emulator.restore_state(state.machine);
    });
  }

  /** Takes the TPM out of the machine and powers it off. */
  async close(): Promise<void> {
    const { option_roms } = this.#cpu;
    unmapTpm(this.#cpu);
    attached.delete(this.#cpu);
    this.#cpu.reboot_internal = this.#reboot;
    for (const file of this.#files) option_roms.splice(option_roms.indexOf(file), 1);
    await this.#standing;
    if (this.#options.backend) await this.backend.powerOff();
    else await this.backend.close();
  }

  /** The machine's reset. Its processor starts anew at once, and waits for the TPM before it has come far. */
  #machineReset(): void {
    this.#presence.reset();
    this.#reboot.call(this.#cpu);
    this.#standStill(() => this.device.reset()).catch((error: unknown) => this.#report(error));
  }

  /** Does something while the machine stands still, one after the other. */
  #standStill<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#standing.then(async () => {
      const running = this.#emulator.is_running();
      await this.#emulator.stop();
      try {
        return await work();
      } finally {
        if (running) await this.#emulator.run();
      }
    });
    this.#standing = done.catch(() => {});
    return done;
  }

  #report(error: unknown): void {
    this.#options.onError?.(error);
  }
}

/** The tables as files that SeaBIOS puts beside its own. Others may have put some there. */
function firmwareFiles(backend: Backend, device: "tis" | "crb", present: readonly FirmwareFile[]): FirmwareFile[] {
  const firmware = tpmFirmware({ machine: "pc", device, family: backend.family, base: DEVICE_BASE });
  const tables = [linkTable(firmware.table!.bytes, LOG_BASE), ssdt([firmware.device!.aml])];
  const names = new Set(present.map(({ name }) => name));
  const files: FirmwareFile[] = [];
  for (let n = 0; files.length < tables.length; n++) {
    const name = `acpi/table${n}`;
    if (!names.has(name)) files.push({ name, data: tables[files.length]! });
  }
  return files;
}
