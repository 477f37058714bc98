// A guest's physical memory for replays: the device, its PPI page, firmware and RAM where the recordings had them.
import type { MemoryMappedDevice } from "../device.ts";
import type { GuestMemory } from "../spapr-vio.ts";

/** Something at a range of addresses. An access that reaches over its end is cut there by the address space. */
export interface Region {
  readonly base: number;
  readonly size: number;
  /** A load of up to 8 bytes, `offset` bytes into the region. */
  load(offset: number, size: number): bigint;
  store(offset: number, size: number, value: bigint): void;
}

const PAGE = 0x1000;

/** Memory that takes no room until it is written. */
export class Ram implements Region {
  readonly base: number;
  readonly size: number;
  readonly #pages = new Map<number, Uint8Array>();

  constructor(base: number, size: number) {
    this.base = base;
    this.size = size;
  }

  byte(offset: number): number {
    return this.#pages.get(Math.floor(offset / PAGE))?.[offset % PAGE] ?? 0;
  }

  setByte(offset: number, value: number): void {
    const number = Math.floor(offset / PAGE);
    let page = this.#pages.get(number);
    if (!page) {
      page = new Uint8Array(PAGE);
      this.#pages.set(number, page);
    }
    page[offset % PAGE] = value;
  }

  load(offset: number, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.byte(offset + i));
    return value;
  }

  store(offset: number, size: number, value: bigint): void {
    for (let i = 0; i < size; i++) this.setByte(offset + i, Number((value >> BigInt(8 * i)) & 0xffn));
  }

  clear(): void {
    this.#pages.clear();
  }
}

/** Memory in an array of someone else's. */
export class Shared implements Region {
  readonly base: number;
  readonly size: number;
  readonly #bytes: Uint8Array;

  constructor(base: number, bytes: Uint8Array) {
    this.base = base;
    this.size = bytes.length;
    this.#bytes = bytes;
  }

  load(offset: number, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[offset + i]!);
    return value;
  }

  store(offset: number, size: number, value: bigint): void {
    for (let i = 0; i < size; i++) this.#bytes[offset + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
}

/**
 * Firmware: its bytes are not in a recording, so the first one read of each address tells it. Writes are lost; clearing
 * the machine's memory clears it.
 */
export class Firmware implements Region {
  readonly base: number;
  readonly size: number;
  readonly #known = new Map<number, number>();
  #cleared = false;

  constructor(base: number, size: number) {
    this.base = base;
    this.size = size;
  }

  learn(offset: number, bytes: Uint8Array): void {
    if (this.#cleared) return;
    bytes.forEach((byte, i) => {
      if (!this.#known.has(offset + i)) this.#known.set(offset + i, byte);
    });
  }

  load(offset: number, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#known.get(offset + i) ?? 0);
    return value;
  }

  store(): void {}

  clear(): void {
    this.#cleared = true;
    this.#known.clear();
  }
}

/** A device's registers. */
export function deviceRegion(base: number, device: MemoryMappedDevice): Region {
  return {
    base,
    size: device.regionSize,
    load: (offset, size) => device.readWide(offset, size),
    store: (offset, size, value) => device.writeWide(offset, size, value),
  };
}

/** Regions, the first that contains an address answering; where none does, reads are 0 and writes are lost. */
export class AddressSpace implements GuestMemory {
  readonly #regions: readonly Region[];

  constructor(regions: readonly Region[]) {
    this.#regions = regions;
  }

  /** The region at `address`, and how many bytes from there on belong to it before another one begins. */
  #at(address: number): { region: Region | undefined; left: number } {
    const region = this.#regions.find((r) => address >= r.base && address < r.base + r.size);
    const end = region ? region.base + region.size : Number.POSITIVE_INFINITY;
    const next = this.#regions.reduce((nearest, r) => (r.base > address ? Math.min(nearest, r.base) : nearest), end);
    return { region, left: next - address };
  }

  /** What was read of firmware: its bytes are then those. Elsewhere this does nothing. */
  learnFirmware(address: number, bytes: Uint8Array): void {
    const { region } = this.#at(address);
    if (region instanceof Firmware) region.learn(address - region.base, bytes);
  }

  /** A load of 1 to 8 bytes. */
  load(address: number, size: number): bigint {
    let value = 0n;
    for (let done = 0; done < size; ) {
      const { region, left } = this.#at(address + done);
      const n = Math.min(left, size - done);
      if (region) value |= region.load(address + done - region.base, n) << BigInt(8 * done);
      done += n;
    }
    return value;
  }

  store(address: number, size: number, value: bigint): void {
    for (let done = 0; done < size; ) {
      const { region, left } = this.#at(address + done);
      const n = Math.min(left, size - done);
      region?.store(address + done - region.base, n, value >> BigInt(8 * done));
      done += n;
    }
  }

  read(address: number, into: Uint8Array): void {
    for (let i = 0; i < into.length; i++) into[i] = Number(this.load(address + i, 1));
  }

  write(address: number, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      this.store(address + i, 1, BigInt(byte));
    });
  }
}
