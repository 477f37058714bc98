// Registers of the TIS over I2C (PC Client PTP 7.3), one byte each of address, and what the bus lets through of them.

export const I2C_LOC_SEL: u32 = 0x00;
export const I2C_ACCESS: u32 = 0x04;
export const I2C_INT_ENABLE: u32 = 0x08;
export const I2C_INT_CAPABILITY: u32 = 0x14;
/** Four byte registers, 0x18 to 0x1b. */
export const I2C_STS: u32 = 0x18;
export const I2C_STS_END: u32 = 0x1b;
export const I2C_DATA_FIFO: u32 = 0x24;
export const I2C_INTF_CAPABILITY: u32 = 0x30;
export const I2C_DATA_CSUM_ENABLE: u32 = 0x40;
export const I2C_DATA_CSUM_GET: u32 = 0x44;
export const I2C_DID_VID: u32 = 0x48;
export const I2C_RID: u32 = 0x4c;

/** Bits of STS that exist on the bus: reserved ones read 0, and only requests can be written. */
export const I2C_STS_READ_MASK: u32 = 0x00ff_ffdd;
export const I2C_STS_WRITE_MASK: u32 = 0x0300_0062;

export const DATA_CSUM_ENABLED: u32 = 1;

/** Interface FIFO over I2C, TPM 2.0, guard times and speeds as QEMU reports. */
export const I2C_INTERFACE_CAPABILITY: u32 = 0x0260_0082;
