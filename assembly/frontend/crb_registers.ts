// Registers of the Command Response Buffer interface (PC Client PTP 6.5.3), locality 0, and their bits.

export const CRB_LOC_STATE: u32 = 0x00;
export const CRB_LOC_CTRL: u32 = 0x08;
export const CRB_LOC_STS: u32 = 0x0c;
export const CRB_INTF_ID: u32 = 0x30;
export const CRB_INTF_ID_2: u32 = 0x34;
export const CRB_CTRL_REQ: u32 = 0x40;
export const CRB_CTRL_STS: u32 = 0x44;
export const CRB_CTRL_CANCEL: u32 = 0x48;
export const CRB_CTRL_START: u32 = 0x4c;
export const CRB_CTRL_CMD_SIZE: u32 = 0x58;
export const CRB_CTRL_CMD_LADDR: u32 = 0x5c;
export const CRB_CTRL_RSP_SIZE: u32 = 0x64;
export const CRB_CTRL_RSP_ADDR: u32 = 0x68;
export const CRB_DATA_BUFFER: u32 = 0x80;

/** One locality of 4 KiB: 0x80 bytes of registers, the rest is the buffer for command and response. */
export const CRB_REGION_SIZE: u32 = 0x1000;
export const CRB_WINDOW_SIZE: u32 = CRB_REGION_SIZE - CRB_DATA_BUFFER;

export const LOC_STATE_TPM_ESTABLISHED: u32 = 1 << 0;
export const LOC_STATE_LOC_ASSIGNED: u32 = 1 << 1;
export const LOC_STATE_TPM_REG_VALID_STS: u32 = 1 << 7;

export const LOC_CTRL_REQUEST_ACCESS: u32 = 1;
export const LOC_CTRL_RELINQUISH: u32 = 2;

export const LOC_STS_GRANTED: u32 = 1 << 0;
export const LOC_STS_BEEN_SEIZED: u32 = 1 << 1;

export const CTRL_REQ_CMD_READY: u32 = 1;
export const CTRL_REQ_GO_IDLE: u32 = 2;

export const CTRL_STS_TPM_STS: u32 = 1 << 0;
export const CTRL_STS_TPM_IDLE: u32 = 1 << 1;

export const CTRL_CANCEL_INVOKE: u32 = 1;
export const CTRL_START_INVOKE: u32 = 1;

/** Interface type and version 1 (CRB), transfers of 64 bytes, CapCRB, selector 1. */
export const INTF_ID_CRB: u32 = 1 | (1 << 4) | (3 << 11) | (1 << 14) | (1 << 17);
/** Vendor 0x1014 (IBM), device 0, as QEMU reports. */
export const INTF_ID_VENDOR: u32 = 0x1014;
