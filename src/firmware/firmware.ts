// What a machine tells its firmware and operating system about its TPM: fw_cfg files, ACPI tables, the ACPI device; for
// each machine as QEMU does it.
import type { TpmFamily } from "../backend/backend.ts";
import { CRB_BASE, CRB_REGION_SIZE } from "../frontend/crb.ts";
import { TIS_BASE, TIS_REGION_SIZE } from "../frontend/tis.ts";
import { LOG_ADDRESS_AT, LOG_SIZE, START_METHOD, tcpaTable, tpm2Table } from "./acpi.ts";
import type { Aml } from "./aml.ts";
import { PPI_BASE } from "./ppi.ts";
import { crbDevice, isaTisDevice, sysbusTisDevice } from "./tpm-aml.ts";

/** The machines: PCs, the minimal PC, and Arm's virt. */
export type MachineType = "pc" | "q35" | "microvm" | "virt";
/** The interfaces: on the ISA bus and CRB on PCs, on the system bus on Arm. */
export type InterfaceType = "tis" | "crb" | "tis-sysbus";

export interface FirmwareOptions {
  readonly machine: MachineType;
  readonly device: InterfaceType;
  readonly family: TpmFamily;
  /** The physical presence interface, on PCs. Default true. */
  readonly ppi?: boolean;
  /** The device's address. Default: where QEMU has it. */
  readonly base?: number;
}

/** A table for the firmware to link: `logAddressAt` is the offset of the 8 bytes that are to point to etc/tpm/log. */
export interface TpmTable {
  readonly signature: "TPM2" | "TCPA";
  readonly bytes: Uint8Array;
  readonly logAddressAt: number;
}

export interface TpmFirmware {
  /** fw_cfg files by name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly table: TpmTable | undefined;
  /** The device's AML, and the scope it belongs into: the ISA bridge or \_SB. */
  readonly device: { readonly scope: "isa" | "\\_SB"; readonly aml: Aml } | undefined;
}

export const CONFIG_FILE = "etc/tpm/config";
export const LOG_FILE = "etc/tpm/log";

/** Where the first device of virt's platform bus lies. */
const VIRT_BASE = 0x0c000000;
/** The control area in a CRB's registers. */
const CRB_CONTROL_AREA = 0x40;
const PPI_VERSION_1_30 = 1;

/** etc/tpm/config: the PPI page's address, the TPM's version and the PPI's, 6 bytes. */
export function tpmConfig(family: TpmFamily): Uint8Array {
  const bytes = new Uint8Array(6);
  new DataView(bytes.buffer).setUint32(0, PPI_BASE, true);
  bytes[4] = family === "2.0" ? 2 : 1;
  bytes[5] = PPI_VERSION_1_30;
  return bytes;
}

function tpmTable({ machine, device, family, base }: FirmwareOptions): TpmTable | undefined {
  if (machine === "microvm") return undefined;
  if (family === "2.0") {
    const bytes =
      device === "crb"
        ? tpm2Table(START_METHOD.crb, (base ?? CRB_BASE) + CRB_CONTROL_AREA)
        : tpm2Table(START_METHOD.mmio, 0);
    return { signature: "TPM2", bytes, logAddressAt: LOG_ADDRESS_AT.TPM2 };
  }
  if (machine === "virt") return undefined;
  return { signature: "TCPA", bytes: tcpaTable(), logAddressAt: LOG_ADDRESS_AT.TCPA };
}

function tpmDevice({ machine, device, family, base, ppi = true }: FirmwareOptions): TpmFirmware["device"] {
  if (device === "tis-sysbus") {
    if (machine !== "virt") return undefined;
    return { scope: "\\_SB", aml: sysbusTisDevice(base ?? VIRT_BASE, TIS_REGION_SIZE) };
  }
  if (machine === "virt" || (machine === "microvm" && device === "crb")) return undefined;
  if (device === "crb") return { scope: "\\_SB", aml: crbDevice(base ?? CRB_BASE, CRB_REGION_SIZE, ppi) };
  return { scope: "isa", aml: isaTisDevice(family, base ?? TIS_BASE, TIS_REGION_SIZE, ppi) };
}

/**
 * All of it for one machine. Combinations QEMU does not have get what QEMU gives a machine without that device; microvm
 * has no table for a TPM, and virt none for a TPM 1.2.
 */
export function tpmFirmware(options: FirmwareOptions): TpmFirmware {
  const { machine, family, ppi = true } = options;
  const table = tpmTable(options);
  const files = new Map<string, Uint8Array>();
  const pc = machine === "pc" || machine === "q35";
  if (pc && ppi) files.set(CONFIG_FILE, tpmConfig(family));
  // virt has the file also when no table points to it.
  if (machine !== "microvm") files.set(LOG_FILE, new Uint8Array(table ? LOG_SIZE : 0));
  return { files, table, device: tpmDevice(options) };
}
