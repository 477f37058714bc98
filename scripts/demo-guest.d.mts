export const BIOS: string;
export const VGA_BIOS: string;
export const READY: string;
export const CMDLINE: string;
export const MEMORY_SIZE: number;

export interface ImageFiles {
  readonly bios?: string;
  readonly vgaBios?: string;
  readonly kernel?: string;
  readonly initrd?: string;
}
export interface MachineImages {
  readonly bios: Uint8Array;
  readonly vgaBios: Uint8Array;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
}
export function machineImages(files?: ImageFiles): MachineImages;
