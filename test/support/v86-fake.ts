// A stand-in for the v86 emulator: what a TPM is attached to, without a processor.
import type { Backend } from "../../src/backend/backend.ts";
import type { FirmwareFile, Load, Store, V86Cpu, V86Emulator } from "../../bindings/v86/emulator.ts";

const BLOCK_BITS = 17;

interface Block {
  readonly load8: Load;
  readonly store8: Store;
  readonly load32: Load;
  readonly store32: Store;
}

export class FakeEmulator implements V86Emulator {
  /** Where v86 has its inside; absent until it is ready. */
  v86: { cpu: V86Cpu } | undefined;
  readonly files: FirmwareFile[] = [];
  readonly memory = new Uint8Array(64);
  /** What happened, in order. */
  readonly events: string[] = [];
  running = false;
  readonly #blocks = new Map<number, Block>();
  #ready: (() => void) | undefined;

  constructor(ready = true) {
    if (ready) this.becomeReady();
  }

  becomeReady(): void {
    this.v86 = {
      cpu: {
        io: {
          mmap_register: (address, size, load8, store8, load32, store32) => {
            for (let at = 0; at < size; at += 1 << BLOCK_BITS) {
              this.#blocks.set((address + at) >>> BLOCK_BITS, { load8, store8, load32, store32 });
            }
          },
        },
        option_roms: this.files,
        mem8: this.memory,
        device_raise_irq: (line) => this.events.push(`irq ${line} up`),
        device_lower_irq: (line) => this.events.push(`irq ${line} down`),
        reboot_internal: () => this.events.push("processor reset"),
      },
    };
    this.#ready?.();
  }

  get cpu(): V86Cpu {
    return this.v86!.cpu;
  }

  add_listener(_event: "emulator-ready", listener: () => void): void {
    this.#ready = listener;
  }
  remove_listener(): void {
    this.#ready = undefined;
  }
  is_running(): boolean {
    return this.running;
  }
  async run(): Promise<void> {
    this.running = true;
    this.events.push("run");
  }
  async stop(): Promise<void> {
    if (this.running) this.events.push("stop");
    this.running = false;
  }
  async save_state(): Promise<ArrayBuffer> {
    this.events.push(`save while ${this.running ? "running" : "standing"}`);
    return new ArrayBuffer(4);
  }
  async restore_state(): Promise<void> {
    this.events.push(`restore while ${this.running ? "running" : "standing"}`);
  }

  /** A load as v86 does it: addresses are signed, 16 bits are two loads of 8. */
  load(address: number, size: 1 | 2 | 4): number {
    const block = this.#blocks.get(address >>> BLOCK_BITS)!;
    if (size === 4) return block.load32(address | 0);
    return size === 2 ? block.load8(address | 0) | (block.load8((address + 1) | 0) << 8) : block.load8(address | 0);
  }

  /** A store as v86 does it: 16 bits are two stores of 8, more than 32 several of 32, whose addresses may be out of range. */
  store(address: number, size: 1 | 2 | 4 | 8 | 16, value: number): void {
    const block = this.#blocks.get(address >>> BLOCK_BITS)!;
    const signed = address | 0;
    if (size === 1) block.store8(signed, value & 0xff);
    else if (size === 2) {
      block.store8(signed, value & 0xff);
      block.store8((signed + 1) | 0, (value >> 8) & 0xff);
    } else for (let at = 0; at < size; at += 4) block.store32(signed + at, value | 0);
  }
}

/** A backend with one member made of its own. */
export function withMember<K extends keyof Backend>(
  backend: Backend,
  name: K,
  replace: (own: Backend[K]) => Backend[K],
): Backend {
  return new Proxy(backend, {
    get: (target, member) => {
      const own = Reflect.get(target, member, target) as unknown;
      const bound = typeof own === "function" ? own.bind(target) : own;
      return member === name ? replace(bound) : bound;
    },
  });
}
