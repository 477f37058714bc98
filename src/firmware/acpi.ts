// The ACPI tables of a TPM: TPM2 and TCPA (TCG ACPI Specification 1.3), and an SSDT for machines that bring no DSDT of
// their own.
import { type Aml, root, scope } from "./aml.ts";

/** Identification in a table's header; by default QEMU's. */
export interface AcpiOem {
  /** Up to 6, 8 and 4 characters. */
  readonly oemId: string;
  readonly oemTableId: string;
  readonly creatorId: string;
}

export const QEMU_OEM: AcpiOem = { oemId: "BOCHS ", oemTableId: "BXPC    ", creatorId: "BXPC" };

const HEADER_SIZE = 36;
const CHECKSUM_AT = 9;
const REVISION_OF = { TPM2: 4, TCPA: 2, SSDT: 1 } as const;

/** Where a table points to its event log: 8 bytes there. */
export const LOG_ADDRESS_AT = { TPM2: 68, TCPA: 42 } as const;
/** Bytes of event log the tables promise. */
export const LOG_SIZE = 0x10000;

/** How commands get to a TPM 2.0 (TPM2 table, start method). */
export const START_METHOD = { mmio: 6, crb: 7 } as const;

function table(signature: keyof typeof REVISION_OF, size: number, oem: AcpiOem): DataView {
  const view = new DataView(new ArrayBuffer(size));
  const put = (at: number, text: string, length: number) => {
    for (let i = 0; i < length; i++) view.setUint8(at + i, (text[i] ?? " ").charCodeAt(0));
  };
  put(0, signature, 4);
  view.setUint32(4, size, true);
  view.setUint8(8, REVISION_OF[signature]);
  put(10, oem.oemId, 6);
  put(16, oem.oemTableId, 8);
  view.setUint32(24, 1, true);
  put(28, oem.creatorId, 4);
  view.setUint32(32, 1, true);
  return view;
}

/**
 * The TPM2 table: `controlArea` is the address of a CRB's control area, 0 for a TIS. Log address and checksum are 0, as
 * in the files QEMU gives to a firmware that links them; `linkTable` fills them in.
 */
export function tpm2Table(startMethod: number, controlArea: number, oem: AcpiOem = QEMU_OEM): Uint8Array {
  const view = table("TPM2", 76, oem);
  const platformClassClient = 0;
  view.setUint16(36, platformClassClient, true);
  view.setBigUint64(40, BigInt(controlArea), true);
  view.setUint32(48, startMethod, true);
  view.setUint32(64, LOG_SIZE, true);
  return new Uint8Array(view.buffer);
}

/** The TCPA table of a TPM 1.2, unlinked as `tpm2Table`. */
export function tcpaTable(oem: AcpiOem = QEMU_OEM): Uint8Array {
  const view = table("TCPA", 50, oem);
  const platformClassClient = 0;
  view.setUint16(36, platformClassClient, true);
  view.setUint32(38, LOG_SIZE, true);
  return new Uint8Array(view.buffer);
}

/** A secondary table with devices under \_SB, for a machine whose DSDT cannot be extended. It has its checksum. */
export function ssdt(devices: readonly Aml[], oem: AcpiOem = QEMU_OEM): Uint8Array {
  const body = scope(root("_SB"), ...devices);
  const view = table("SSDT", HEADER_SIZE + body.length, oem);
  const bytes = new Uint8Array(view.buffer);
  bytes.set(body, HEADER_SIZE);
  return withChecksum(bytes);
}

/** A copy of a TPM2 or TCPA table that points to a log of LOG_SIZE bytes at `logAddress`, with its checksum. */
export function linkTable(unlinked: Uint8Array, logAddress: number): Uint8Array {
  const bytes = unlinked.slice();
  const at = bytes[1] === 0x43 ? LOG_ADDRESS_AT.TCPA : LOG_ADDRESS_AT.TPM2;
  new DataView(bytes.buffer).setBigUint64(at, BigInt(logAddress), true);
  return withChecksum(bytes);
}

/** A table's bytes sum up to 0 modulo 256. */
function withChecksum(bytes: Uint8Array): Uint8Array {
  bytes[CHECKSUM_AT] = 0;
  bytes[CHECKSUM_AT] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return bytes;
}
