// What `wtpm firmware` takes, apart from what it does: the help needs only this.
import type { TpmFamily } from "../backend/backend.ts";
import type { InterfaceType, MachineType } from "../firmware/firmware.ts";

export const MACHINES: readonly MachineType[] = ["pc", "q35", "microvm", "virt"];
export const INTERFACES: readonly InterfaceType[] = ["tis", "crb", "tis-sysbus"];
export const FAMILIES: readonly TpmFamily[] = ["2.0", "1.2"];

export interface FirmwareCommandOptions {
  readonly machine?: MachineType | undefined;
  readonly device?: InterfaceType | undefined;
  readonly family?: TpmFamily | undefined;
  readonly ppi?: boolean;
  readonly base?: number;
  /** Print the files instead of writing them; machine, device and family that are not given stand for all. */
  readonly list?: boolean;
  /** Where the event log lies: the table is linked to it. Without it the firmware links the table, as QEMU's does. */
  readonly logAddress?: number;
}
