// The command the recorder of migrations sent when a source ran on: a Startup at locality 0, through the registers.
import type { TpmFamily } from "../../backend/backend.ts";
import { CRB_WINDOW_OFFSET, type CrbDevice } from "../crb.ts";
import type { TisDevice } from "../tis.ts";

/** TPM_Startup(ST_CLEAR) and TPM2_Startup(TPM_SU_CLEAR). */
const STARTUP: Record<TpmFamily, Uint8Array> = {
  "1.2": Uint8Array.of(0x00, 0xc1, 0, 0, 0, 12, 0, 0, 0, 0x99, 0, 1),
  "2.0": Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0),
};

const CRB_LOC_STATE = 0x00;
const CRB_LOC_CTRL = 0x08;
const CRB_CTRL_START = 0x4c;
const TPM_ACCESS = 0x00;
const TPM_STS = 0x18;
const TPM_DATA_FIFO = 0x24;
const ACCESS_REQUEST_USE = 0x02;
const STS_COMMAND_READY = 0x40;
const STS_TPM_GO = 0x20;

export function startThroughCrb(device: CrbDevice, family: TpmFamily = "2.0"): void {
  device.read(CRB_LOC_STATE, 4);
  device.write(CRB_LOC_CTRL, 4, 1);
  STARTUP[family].forEach((byte, i) => {
    device.write(CRB_WINDOW_OFFSET + i, 1, byte);
  });
  device.write(CRB_CTRL_START, 4, 1);
}

export function startThroughTis(device: TisDevice, family: TpmFamily = "2.0"): void {
  device.write(TPM_ACCESS, 1, ACCESS_REQUEST_USE);
  device.read(TPM_ACCESS, 1);
  device.write(TPM_STS, 1, STS_COMMAND_READY);
  for (const byte of STARTUP[family]) device.write(TPM_DATA_FIFO, 1, byte);
  device.write(TPM_STS, 1, STS_TPM_GO);
}
