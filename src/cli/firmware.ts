// `wtpm firmware`: what a machine's firmware and operating system need to know about its TPM, as files for who writes a machine.
import fs from "node:fs";
import path from "node:path";
import { LOG_SIZE, linkTable, ssdt } from "../firmware/acpi.ts";
import { type FirmwareOptions, tpmFirmware } from "../firmware/firmware.ts";
import { FAMILIES, type FirmwareCommandOptions, INTERFACES, MACHINES } from "./firmware-options.ts";

/** One file of a configuration. */
export interface FirmwareFile {
  readonly name: string;
  /** What it is, in a few words. */
  readonly about: string;
  readonly bytes: Uint8Array;
}

const MANIFEST = "firmware.json";

/** Writes the files, or lists them, and gives the exit status. @throws Error whose message is for the user */
export function firmwareCommand(directory: string | undefined, options: FirmwareCommandOptions): number {
  if (options.list) return list(options);
  const files = firmwareFiles(theConfiguration(options), options.logAddress);
  if (directory === undefined) throw new Error("which directory? wtpm firmware --machine q35 --device crb DIRECTORY");
  fs.mkdirSync(directory, { recursive: true });
  for (const { name, bytes } of files) fs.writeFileSync(path.join(directory, name), bytes);
  process.stdout.write(`${files.length} files in ${directory}; ${MANIFEST} says what each is\n`);
  return 0;
}

/** Prints a line for each file: configuration, name, size in bytes, what it is. */
function list(options: FirmwareCommandOptions): number {
  const configurations = configurationsOf(options);
  if (configurations.length === 0) throw new Error(`QEMU has no TPM like this: ${describe(options)}`);
  for (const configuration of configurations) {
    for (const { name, about, bytes } of firmwareFiles(configuration, options.logAddress)) {
      const columns = [describe(configuration).padEnd(20), name.padEnd(18), String(bytes.length).padStart(5)];
      process.stdout.write(`${columns.join(" ")}  ${about}\n`);
    }
  }
  return 0;
}

/** All files of a configuration, the manifest last. Names of fw_cfg files have dashes for slashes. */
export function firmwareFiles(options: FirmwareOptions, logAddress?: number): FirmwareFile[] {
  const { files: blobs, table, device } = tpmFirmware(options);
  const files: FirmwareFile[] = [];
  const manifest: Record<string, unknown> = {
    machine: options.machine,
    device: options.device,
    family: options.family,
    fw_cfg: Object.fromEntries([...blobs].map(([name, bytes]) => [name, { file: flat(name), size: bytes.length }])),
  };
  for (const [name, bytes] of blobs) files.push({ name: flat(name), about: `fw_cfg file ${name}`, bytes });
  if (table) {
    const linked = logAddress !== undefined;
    const bytes = linked ? linkTable(table.bytes, logAddress) : table.bytes;
    const name = `${table.signature}.aml`;
    const about = `ACPI table, ${linked ? "linked" : "log address and checksum still 0"}`;
    files.push({ name, about, bytes });
    const log = { size: LOG_SIZE, addressAt: table.logAddressAt, ...(linked ? { address: logAddress } : {}) };
    manifest.table = { file: name, signature: table.signature, linked, log };
  }
  if (device) {
    const scope = device.scope === "isa" ? "the ISA bridge" : device.scope;
    files.push({
      name: "device.aml",
      about: `AML of the device, for a DSDT: in the scope of ${scope}`,
      bytes: device.aml,
    });
    files.push({ name: "SSDT.aml", about: "ACPI table with the device under \\_SB", bytes: ssdt([device.aml]) });
    manifest.acpiDevice = { file: "device.aml", scope: device.scope, ssdt: "SSDT.aml" };
  }
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  return [...files, { name: MANIFEST, about: "this configuration", bytes: new TextEncoder().encode(text) }];
}

/** "etc/tpm/log" as a file's name. */
function flat(name: string): string {
  return `${name.replaceAll("/", "-")}.bin`;
}

function theConfiguration(options: FirmwareCommandOptions): FirmwareOptions {
  const { machine, device, family = "2.0" } = options;
  if (machine === undefined) throw new Error(`which machine? --machine ${MACHINES.join("|")}`);
  const possible = configurationsOf({ ...options, machine, device: undefined, family });
  const names = possible.map((configuration) => configuration.device);
  if (device === undefined) throw new Error(`which device? --device ${names.join("|")}`);
  const found = possible.find((configuration) => configuration.device === device);
  if (!found) throw new Error(`the machine ${machine} has no device ${device}; it has ${names.join(", ")}`);
  return found;
}

/** Every configuration QEMU has that fits what is given. */
function configurationsOf(options: FirmwareCommandOptions): FirmwareOptions[] {
  const { ppi = true, base } = options;
  const some = <T>(given: T | undefined, all: readonly T[]) => (given === undefined ? all : [given]);
  return some(options.machine, MACHINES)
    .flatMap((machine) => some(options.device, INTERFACES).map((device) => ({ machine, device })))
    .flatMap((pair) => some(options.family, FAMILIES).map((family) => ({ ...pair, family, ppi })))
    .map((configuration) => (base === undefined ? configuration : { ...configuration, base }))
    .filter((configuration) => tpmFirmware(configuration).device !== undefined);
}

function describe({ machine, device, family }: FirmwareCommandOptions): string {
  return [machine, device, family].filter((word) => word !== undefined).join(" ");
}
