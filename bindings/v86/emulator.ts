// What is used of the v86 emulator (npm v86): its documented methods, and the parts inside that a device needs, which have no
// documentation. Written against v86 0.5.462.

/** An emulator: an instance of v86's class `V86`. */
export interface V86Emulator {
  add_listener(event: "emulator-ready", listener: () => void): void;
  remove_listener(event: "emulator-ready", listener: () => void): void;
  is_running(): boolean;
  run(): Promise<void>;
  stop(): Promise<void>;
  save_state(): Promise<ArrayBuffer>;
  restore_state(state: ArrayBuffer): Promise<void>;
}

/** Takes a physical address, as a signed 32-bit number. */
export type Load = (address: number) => number;
export type Store = (address: number, value: number) => void;

/** A file of the firmware configuration device, which has no other way in. */
export interface FirmwareFile {
  readonly name: string;
  readonly data: Uint8Array;
}

/** The machine inside the emulator. */
export interface V86Cpu {
  readonly io: {
    /** Sends accesses to functions. Address and size are multiples of BLOCK_SIZE; accesses need not be aligned. */
    mmap_register(address: number, size: number, load8: Load, store8: Store, load32: Load, store32: Store): void;
  };
  readonly option_roms: FirmwareFile[];
  /** The guest's memory. */
  readonly mem8: Uint8Array;
  device_raise_irq(line: number): void;
  device_lower_irq(line: number): void;
  /** The reset, whoever asks for it: the guest, or the emulator's `restart`. */
  reboot_internal(): void;
}

/** The unit in which v86 maps memory to devices. */
export const BLOCK_SIZE = 0x20000;

/** What v86 gives for addresses at which nothing is. */
export const UNMAPPED = 0xff;

function cpuOf(emulator: V86Emulator): V86Cpu | undefined {
  const cpu = (emulator as { v86?: { cpu?: Partial<V86Cpu> } }).v86?.cpu;
  return cpu?.io === undefined ? undefined : (cpu as V86Cpu);
}

/**
 * Waits for "emulator-ready" and gives the machine.
 *
 * @throws Error when the emulator is not as this file expects it: another version of v86, probably.
 */
export async function machineOf(emulator: V86Emulator): Promise<V86Cpu> {
  if (!cpuOf(emulator)) {
    await new Promise<void>((resolve) => {
      const ready = () => {
        emulator.remove_listener("emulator-ready", ready);
        resolve();
      };
      emulator.add_listener("emulator-ready", ready);
    });
  }
  const cpu = cpuOf(emulator);
  const missing = (["device_raise_irq", "device_lower_irq", "reboot_internal"] as const).filter(
    (name) => typeof cpu?.[name] !== "function",
  );
  if (!cpu || typeof cpu.io.mmap_register !== "function" || !Array.isArray(cpu.option_roms) || missing.length > 0) {
    throw new Error("this v86 has no place for a TPM: wtpm is made for v86 0.5.462");
  }
  return cpu;
}
