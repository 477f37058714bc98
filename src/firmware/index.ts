export { type AcpiOem, LOG_SIZE, linkTable, QEMU_OEM, START_METHOD, ssdt, tcpaTable, tpm2Table } from "./acpi.ts";
export {
  CONFIG_FILE,
  type FirmwareOptions,
  type InterfaceType,
  LOG_FILE,
  type MachineType,
  type TpmFirmware,
  type TpmTable,
  tpmConfig,
  tpmFirmware,
} from "./firmware.ts";
export { PPI_BASE, PPI_FUNCTION, PPI_LAYOUT, PPI_SIZE, PpiMemory } from "./ppi.ts";
export { crbDevice, isaTisDevice, sysbusTisDevice } from "./tpm-aml.ts";
