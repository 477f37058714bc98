// A PC in the v86 emulator, in this process, with a TPM: Debian's SeaBIOS, and its 686 kernel with a shell on the serial port.
import { createRequire } from "node:module";
import path from "node:path";
import { V86, type V86Options } from "v86";
import { type AttachOptions, attachTpm, type V86Tpm } from "../../bindings/v86/index.ts";
import { CMDLINE, MEMORY_SIZE, machineImages, READY } from "../../scripts/demo-guest.mjs";
import { until } from "./process.ts";

/** A boot takes 12 seconds on a quiet machine and minutes on a loaded one. */
export const BOOT_LIMIT_MS = 900_000;
const STEP_LIMIT_MS = 180_000;

const DONE = "guest done";
const EXTENDS = [/* TPM_ORD_Extend */ 0x14, /* TPM_CC_PCR_Extend */ 0x182];
/** SeaBIOS closes this PCR last. */
const LAST_PCR = 7;
const WASM = path.join(path.dirname(createRequire(import.meta.url).resolve("v86")), "v86.wasm");

export interface SeenCommand {
  readonly command: Uint8Array;
  readonly response: Uint8Array | undefined;
}

export interface MachineOptions extends Omit<AttachOptions, "observe" | "onError"> {
  /** With the kernel; without, the firmware finds nothing to boot. */
  readonly linux: boolean;
}

const buffer = (bytes: Uint8Array): { buffer: ArrayBuffer } => ({ buffer: Uint8Array.from(bytes).buffer });

export class V86Machine {
  readonly emulator: V86;
  readonly tpm: V86Tpm;
  /** Every command of the guest so far. */
  readonly commands: readonly SeenCommand[];
  /** What went wrong with the TPM. */
  readonly errors: readonly unknown[];
  #console = "";

  private constructor(emulator: V86, tpm: V86Tpm, commands: SeenCommand[], errors: unknown[]) {
    this.emulator = emulator;
    this.tpm = tpm;
    this.commands = commands;
    this.errors = errors;
    emulator.add_listener("serial0-output-byte", (byte) => {
      this.#console += String.fromCharCode(byte);
    });
  }

  /** A machine that stands before its first instruction. */
  static async make({ linux, ...options }: MachineOptions): Promise<V86Machine> {
    const { bios, vgaBios, kernel, initrd } = machineImages();
    const settings: V86Options = {
      wasm_path: WASM,
      bios: buffer(bios),
      vga_bios: buffer(vgaBios),
      ...(linux ? { bzimage: buffer(kernel), initrd: buffer(initrd), cmdline: CMDLINE } : {}),
      memory_size: linux ? MEMORY_SIZE : 32 << 20,
      acpi: true,
      autostart: false,
      disable_speaker: true,
    };
    const emulator = new V86(settings);
    const commands: SeenCommand[] = [];
    const errors: unknown[] = [];
    const tpm = await attachTpm(emulator, {
      ...options,
      observe: (command, response) => commands.push({ command, response }),
      onError: (error) => errors.push(error),
    });
    return new V86Machine(emulator, tpm, commands, errors);
  }

  /** Waits until the firmware has measured for the `times`th time: extended its last PCR, and logged that. */
  async measured(times: number): Promise<void> {
    const closing = () =>
      this.commands.filter(({ command }) => {
        const bytes = Buffer.from(command);
        return EXTENDS.includes(bytes.readUInt32BE(6)) && bytes.readUInt32BE(10) === LAST_PCR;
      }).length;
    await until(
      "SeaBIOS to close its measurements",
      () => closing() === times && this.tpm.eventLog().events.at(-1)?.pcr === LAST_PCR,
      BOOT_LIMIT_MS,
    );
  }

  /** Runs it until the guest's shell is there, which then prints nothing but answers. */
  async boot(): Promise<void> {
    await this.emulator.run();
    await until("the guest's shell", () => this.#console.includes(READY), BOOT_LIMIT_MS).catch((error) => {
      throw new Error(`${(error as Error).message}; its console ends with:\n${this.#console.slice(-2000)}`);
    });
    await this.shell("stty -echo; PS1=");
  }

  /** Runs a line in the guest's shell. @throws Error when its exit status is not 0 */
  async shell(line: string): Promise<string> {
    const from = this.#console.length;
    this.emulator.serial0_send(`${line}; echo "${DONE}" $?\n`);
    const pattern = new RegExp(`${DONE} (\\d+)\\r?\\n`);
    const match = await until(
      `the guest to run '${line}'`,
      () => pattern.exec(this.#console.slice(from)) ?? undefined,
      STEP_LIMIT_MS,
    );
    const output = this.#console.slice(from, from + match.index).replaceAll("\r", "");
    if (match[1] !== "0") throw new Error(`'${line}' ended with status ${match[1]} in the guest:\n${output}`);
    return output;
  }

  /** The bytes of a file in the guest. */
  async read(file: string): Promise<Uint8Array> {
    return Buffer.from(await this.shell(`base64 ${file}`), "base64");
  }

  async dispose(): Promise<void> {
    await this.emulator.destroy();
    await this.tpm.close();
  }
}
