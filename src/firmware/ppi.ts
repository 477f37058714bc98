// The physical presence interface's memory (TCG Physical Presence Interface 1.3, as QEMU lays it out): a page that ACPI
// methods and firmware share, and the memory overwrite asked for through it.
import { BackendError } from "../backend/backend.ts";

/** Where the page lies on a PC: behind the five localities of a TIS. */
export const PPI_BASE = 0xfed45000;
export const PPI_SIZE = 0x400;

/** Offsets in the page. Words are 32 bits, little-endian, not aligned. */
export const PPI_LAYOUT = {
  /** What each of the operations 0 to 255 allows, one byte each; the firmware fills it in. */
  func: 0x000,
  /** Set by ACPI to 1 when the firmware is to be asked, u8. */
  ppin: 0x100,
  /** Where the firmware is to be entered, u32; not used. */
  ppip: 0x101,
  /** The last operation's result, u32. */
  pprp: 0x105,
  /** The operation requested, u32, and its parameter, u32. */
  pprq: 0x109,
  pprm: 0x10d,
  /** The last operation, u32. */
  lppr: 0x111,
  /** Result of firmware code, u32; not used. */
  fret: 0x115,
  /** What the firmware is to do after a reset, u8. */
  nextStep: 0x159,
  /** The memory overwrite request, u8: bit 0 asks for it. */
  movv: 0x15a,
} as const;

/** Values of PPI_LAYOUT.func. */
export const PPI_FUNCTION = {
  notImplemented: 0,
  firmwareOnly: 1,
  blocked: 2,
  allowedWithUser: 3,
  allowed: 4,
} as const;

const MEMORY_OVERWRITE_REQUESTED = 1;

/** The page: memory to the guest, zero at power-on, kept over resets. */
export class PpiMemory {
  readonly bytes = new Uint8Array(PPI_SIZE);
  readonly #clearMemory: () => void;

  /**
   * `clearMemory` zeroes the guest's memory: all of it, also a CRB's buffer if the CRB is not given this object itself,
   * but not this page.
   */
  constructor(clearMemory: () => void = () => {}) {
    this.#clearMemory = clearMemory;
  }

  /**
   * The machine's reset: clears memory if the guest asked for it, and answers whether it did. The request stays set:
   * clearing it is the firmware's part.
   */
  reset(): boolean {
    if (!(this.bytes[PPI_LAYOUT.movv]! & MEMORY_OVERWRITE_REQUESTED)) return false;
    this.#clearMemory();
    return true;
  }

  save(): Uint8Array {
    return this.bytes.slice();
  }

  /** @throws BackendError "bad-state" for anything but PPI_SIZE bytes. */
  restore(state: Uint8Array): void {
    if (state.length !== PPI_SIZE) throw new BackendError("bad-state", `a PPI page of ${state.length} bytes`);
    this.bytes.set(state);
  }
}
