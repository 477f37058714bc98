// The part of PAPR's virtual I/O a vTPM needs, for machines that have none: the DMA window and the command/response queue
// (PAPR 17.2; QEMU's spapr_vio).
import type { SpaprBus } from "./device.ts";

/** Guest-physical memory. */
export interface GuestMemory {
  read(address: number, into: Uint8Array): void;
  write(address: number, bytes: Uint8Array): void;
}

export const HYPERCALL = {
  H_PUT_TCE: 0x20,
  H_REG_CRQ: 0xfc,
  H_FREE_CRQ: 0x100,
  H_SEND_CRQ: 0x108,
} as const;

export const H_SUCCESS = 0;
export const H_FUNCTION = -2;
export const H_PARAMETER = -4;
export const H_RESOURCE = -16;

const PAGE = 0x1000;
/** Bits of a translation entry. */
const TCE_READ = 1n;
const TCE_WRITE = 2n;
const WINDOW_SIZE = 0x10000000n;
const ENTRY_SIZE = 16;

export interface SpaprVioOptions {
  /** The device's unit address, which is also the number of its DMA window. */
  readonly unit: number;
  /** An entry was queued in that slot: the guest's interrupt. */
  readonly onQueued?: (slot: number, entry: Uint8Array) => void;
  /** What QEMU would print on its standard error. */
  readonly onMessage?: (text: string) => void;
}

/** One device's slot on the virtual I/O bus. */
export class SpaprVio implements SpaprBus {
  readonly #memory: GuestMemory;
  readonly #options: SpaprVioOptions;
  /** I/O page number to translation entry. */
  readonly #translations = new Map<number, bigint>();
  #queue: { readonly address: number; readonly size: number; next: number } | undefined;
  #device: { crqMessage(high: bigint, low: bigint): number } | undefined;

  constructor(memory: GuestMemory, options: SpaprVioOptions) {
    this.#memory = memory;
    this.#options = options;
  }

  attach(device: { crqMessage(high: bigint, low: bigint): number }): void {
    this.#device = device;
  }

  /** The machine's reset: no translations, no queue. */
  reset(): void {
    this.#translations.clear();
    this.#queue = undefined;
  }

  /** A hypercall of this device; other opcodes answer H_FUNCTION, other units H_PARAMETER. */
  hypercall(opcode: number, args: readonly bigint[]): number {
    const [unit = 0n, first = 0n, second = 0n] = args;
    if (unit !== BigInt(this.#options.unit)) return H_PARAMETER;
    switch (opcode) {
      case HYPERCALL.H_PUT_TCE:
        return this.#putTce(first, second);
      case HYPERCALL.H_REG_CRQ:
        return this.#registerQueue(first, second);
      case HYPERCALL.H_FREE_CRQ:
        this.#queue = undefined;
        return H_SUCCESS;
      case HYPERCALL.H_SEND_CRQ:
        return this.#device?.crqMessage(first, second) ?? H_FUNCTION;
      default:
        return H_FUNCTION;
    }
  }

  #registerQueue(address: bigint, size: bigint): number {
    if (size < BigInt(PAGE) || size > WINDOW_SIZE || address % BigInt(PAGE) !== 0n) return H_PARAMETER;
    if (address >= WINDOW_SIZE) return H_PARAMETER;
    if (this.#queue) return H_RESOURCE;
    this.#queue = { address: Number(address), size: Number(size), next: 0 };
    return H_SUCCESS;
  }

  #putTce(address: bigint, entry: bigint): number {
    if (address >= WINDOW_SIZE) return H_PARAMETER;
    this.#translations.set(Math.floor(Number(address) / PAGE), entry);
    return H_SUCCESS;
  }

  /** Calls `access` for each page of an I/O range; false when any of them is not there with that right. */
  #eachPage(address: number, length: number, right: bigint, access: (physical: number, at: number, n: number) => void) {
    let complete = true;
    for (let at = 0; at < length; ) {
      const page = Math.floor((address + at) / PAGE);
      const offset = (address + at) % PAGE;
      const n = Math.min(PAGE - offset, length - at);
      const entry = this.#translations.get(page) ?? 0n;
      if (entry & right) access(Number(entry & ~BigInt(PAGE - 1)) + offset, at, n);
      else complete = false;
      at += n;
    }
    return complete;
  }

  #read(address: number, into: Uint8Array): boolean {
    return this.#eachPage(address, into.length, TCE_READ, (physical, at, n) =>
      this.#memory.read(physical, into.subarray(at, at + n)),
    );
  }

  #write(address: number, bytes: Uint8Array): boolean {
    return this.#eachPage(address, bytes.length, TCE_WRITE, (physical, at, n) =>
      this.#memory.write(physical, bytes.subarray(at, at + n)),
    );
  }

  dmaRead(address: number, into: Uint8Array): boolean {
    const complete = this.#read(address, into);
    if (!complete) this.#options.onMessage?.("tpm_spapr_got_payload: DMA read failure");
    return complete;
  }

  dmaWrite(address: number, bytes: Uint8Array): boolean {
    const complete = this.#write(address, bytes);
    if (!complete) this.#options.onMessage?.("tpm_spapr_request_completed: DMA write failure");
    return complete;
  }

  /** Queues an entry in the next slot, if the guest has freed it. */
  sendCrq(high: bigint, low: bigint): void {
    const queue = this.#queue;
    if (!queue) {
      this.#options.onMessage?.("spapr_vio_send_creq on uninitialized queue");
      return;
    }
    const slot = queue.address + queue.next;
    const valid = new Uint8Array(1);
    if (!this.#read(slot, valid) || valid[0] !== 0) return;
    const entry = new Uint8Array(ENTRY_SIZE);
    new DataView(entry.buffer).setBigUint64(0, high);
    new DataView(entry.buffer).setBigUint64(8, low);
    if (!this.#write(slot, entry)) return;
    this.#options.onQueued?.(queue.next / ENTRY_SIZE, entry);
    queue.next = (queue.next + ENTRY_SIZE) % queue.size;
  }
}
