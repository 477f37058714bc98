// What is chosen once, before the first reset.

/** The kinds of device a module instance can be; one instance is one device. */
export const KIND_NONE: u32 = 0;
export const KIND_TIS: u32 = 1;
export const KIND_TIS_I2C: u32 = 2;
export const KIND_CRB: u32 = 3;
export const KIND_SPAPR: u32 = 4;

/** The TPM's version as the host states it at a reset. */
export const VERSION_UNKNOWN: u32 = 0;
export const VERSION_1_2: u32 = 1;
export const VERSION_2_0: u32 = 2;

/** Which QEMU's behaviour is followed where releases differ. */
export const QEMU_7_2: u32 = 0;
export const QEMU_10_0: u32 = 1;

@unmanaged
export class Config {
  kind: u32;
  /** QEMU_7_2 or QEMU_10_0. */
  behaviour: u32;
  /** TPM_INT_VECTOR: the interrupt's number as the guest reads it. */
  interruptVector: u32;
  /** The guest-physical address of the device: CRB states it in its registers. */
  base: u32;
  /** Set while the TPM behind the device did not start: reads are 0 and writes are ignored. */
  failed: u32;
  version: u32;
  /** Bytes of buffer the TPM and this interface agreed on. */
  bufferSize: u32;
}

const CONFIG: usize = memory.data(28);
export const config: Config = changetype<Config>(CONFIG);
