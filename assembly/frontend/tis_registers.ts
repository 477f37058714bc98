// Registers of the TPM Interface Specification (TIS 1.3; PC Client PTP for the FIFO interface of TPM 2.0), as offsets
// within a locality, and their bits.

export const TIS_LOCALITIES: u32 = 5;
export const TIS_LOCALITY_SHIFT: u32 = 12;
/** Five localities of 4 KiB each. */
export const TIS_REGION_SIZE: u32 = 0x5000;
/** In place of a locality: none. */
export const NO_LOCALITY: u32 = 0xff;

export const TPM_ACCESS: u32 = 0x00;
export const TPM_INT_ENABLE: u32 = 0x08;
export const TPM_INT_VECTOR: u32 = 0x0c;
export const TPM_INT_STATUS: u32 = 0x10;
export const TPM_INTF_CAPABILITY: u32 = 0x14;
export const TPM_STS: u32 = 0x18;
export const TPM_DATA_FIFO: u32 = 0x24;
export const TPM_INTERFACE_ID: u32 = 0x30;
export const TPM_XDATA_FIFO: u32 = 0x80;
export const TPM_XDATA_FIFO_END: u32 = 0xbc;
export const TPM_DID_VID: u32 = 0xf00;
export const TPM_RID: u32 = 0xf04;

export const ACCESS_TPM_ESTABLISHMENT: u32 = 0x01;
export const ACCESS_REQUEST_USE: u32 = 0x02;
export const ACCESS_PENDING_REQUEST: u32 = 0x04;
export const ACCESS_SEIZE: u32 = 0x08;
export const ACCESS_BEEN_SEIZED: u32 = 0x10;
export const ACCESS_ACTIVE_LOCALITY: u32 = 0x20;
export const ACCESS_TPM_REG_VALID_STS: u32 = 0x80;

export const INT_DATA_AVAILABLE: u32 = 0x01;
export const INT_STS_VALID: u32 = 0x02;
export const INT_LOCALITY_CHANGE: u32 = 0x04;
export const INT_COMMAND_READY: u32 = 0x80;
export const INTERRUPTS_SUPPORTED: u32 = INT_DATA_AVAILABLE | INT_STS_VALID | INT_LOCALITY_CHANGE | INT_COMMAND_READY;
/** typePolarity, bits 4:3 of TPM_INT_ENABLE; 1 is low level, the only kind offered. */
export const INT_POLARITY_MASK: u32 = 3 << 3;
export const INT_POLARITY_LOW_LEVEL: u32 = 1 << 3;
export const INT_GLOBAL_ENABLE: u32 = 1 << 31;

export const STS_RESPONSE_RETRY: u32 = 1 << 1;
export const STS_SELF_TEST_DONE: u32 = 1 << 2;
export const STS_EXPECT: u32 = 1 << 3;
export const STS_DATA_AVAILABLE: u32 = 1 << 4;
export const STS_TPM_GO: u32 = 1 << 5;
export const STS_COMMAND_READY: u32 = 1 << 6;
export const STS_VALID: u32 = 1 << 7;
export const STS_BURST_COUNT_SHIFT: u32 = 8;
export const STS_COMMAND_CANCEL: u32 = 1 << 24;
export const STS_RESET_ESTABLISHMENT: u32 = 1 << 25;
export const STS_TPM_FAMILY_MASK: u32 = 3 << 26;
export const STS_TPM_FAMILY_2_0: u32 = 1 << 26;

/** Low-level interrupts, dynamic burst count, transfers of up to 64 bytes, TIS 1.3. */
export const INTF_CAPABILITY_1_3: u32 = INTERRUPTS_SUPPORTED | (1 << 4) | (3 << 9) | (2 << 28);
/** As above, PTP for TPM 2.0. */
export const INTF_CAPABILITY_2_0: u32 = INTERRUPTS_SUPPORTED | (1 << 4) | (3 << 9) | (3 << 28);

/** FIFO interface, CapLocality, CapFIFO. A TPM 1.2 has no such register. */
export const INTERFACE_ID_2_0: u32 = (1 << 8) | (1 << 13);
export const INTERFACE_ID_1_3: u32 = 0xffff_ffff;
export const INTERFACE_ID_INTF_SEL_LOCK: u32 = 1 << 19;

/** Vendor 0x1014 (IBM), device 1, as QEMU reports. */
export const DID_VID: u32 = 0x0001_1014;
export const RID: u32 = 0x01;

/** What a register reads that is not there or not this locality's to read. */
export const NO_REGISTER: u32 = 0xffff_ffff;
export const NO_DATA_BYTE: u32 = 0xff;
