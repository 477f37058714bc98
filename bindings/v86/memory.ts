// Where the TPM lies in the machine's memory: the device and the physical presence page in one block, the event log in the next.
import { PPI_BASE } from "../../src/firmware/index.ts";
import type { MemoryMappedDevice } from "../../src/frontend/index.ts";
import { BLOCK_SIZE, type Load, type Store, UNMAPPED, type V86Cpu } from "./emulator.ts";

/** TIS and CRB have the same address on a PC. */
export const DEVICE_BASE = 0xfed40000;
/** Behind the device's block; nothing else of a PC is there. */
export const LOG_BASE = DEVICE_BASE + BLOCK_SIZE;

/** Something at an offset of a block. */
interface Region {
  readonly at: number;
  readonly size: number;
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
}

/** Memory to the guest. */
function memoryRegion(at: number, bytes: Uint8Array): Region {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    at,
    size: bytes.length,
    read: (offset, size) => (size === 4 ? view.getInt32(offset, true) : view.getUint8(offset)),
    write: (offset, size, value) => (size === 4 ? view.setInt32(offset, value, true) : view.setUint8(offset, value)),
  };
}

/** The four functions v86 wants for a block. Accesses across a region's edge are taken as bytes. */
function handlers(base: number, regions: readonly Region[]): readonly [Load, Store, Load, Store] {
  const find = (offset: number, size: number) =>
    regions.find((region) => offset >= region.at && offset + size <= region.at + region.size);
  const load8: Load = (address) => {
    const offset = (address >>> 0) - base;
    const region = find(offset, 1);
    return region ? region.read(offset - region.at, 1) : UNMAPPED;
  };
  const store8: Store = (address, value) => {
    const offset = (address >>> 0) - base;
    const region = find(offset, 1);
    region?.write(offset - region.at, 1, value & 0xff);
  };
  const load32: Load = (address) => {
    const offset = (address >>> 0) - base;
    const region = find(offset, 4);
    if (region) return region.read(offset - region.at, 4) | 0;
    return [0, 1, 2, 3].reduce((value, i) => value | (load8(address + i) << (8 * i)), 0);
  };
  const store32: Store = (address, value) => {
    const offset = (address >>> 0) - base;
    const region = find(offset, 4);
    if (region) region.write(offset - region.at, 4, value | 0);
    else for (let i = 0; i < 4; i++) store8(address + i, value >>> (8 * i));
  };
  return [load8, store8, load32, store32];
}

/** Puts the device, the physical presence page and the log's memory into the machine. */
export function mapTpm(cpu: V86Cpu, device: MemoryMappedDevice, presence: Uint8Array, log: Uint8Array): void {
  const registers: Region = {
    at: 0,
    size: device.regionSize,
    read: (offset, size) => device.read(offset, size),
    write: (offset, size, value) => device.write(offset, size, value),
  };
  const regions = [registers, memoryRegion(PPI_BASE - DEVICE_BASE, presence)];
  cpu.io.mmap_register(DEVICE_BASE, BLOCK_SIZE, ...handlers(DEVICE_BASE, regions));
  cpu.io.mmap_register(LOG_BASE, BLOCK_SIZE, ...handlers(LOG_BASE, [memoryRegion(0, log)]));
}

/** Takes them out again: nothing is there. */
export function unmapTpm(cpu: V86Cpu): void {
  for (const base of [DEVICE_BASE, LOG_BASE]) cpu.io.mmap_register(base, BLOCK_SIZE, ...handlers(base, []));
}
