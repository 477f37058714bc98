export { BackendPort, type BackendPortOptions } from "./backend-port.ts";
export { CRB_BASE, CRB_REGION_SIZE, CRB_WINDOW_OFFSET, CrbDevice, type CrbOptions } from "./crb.ts";
export {
  type Behaviour,
  Device,
  type DeviceOptions,
  MemoryMappedDevice,
  type MemoryOverwrite,
  type SpaprBus,
} from "./device.ts";
export { I2C_ADDRESS, I2cTisDevice } from "./i2c.ts";
export { frontendModule, loadFrontendModule } from "./module.ts";
export type { Answer, DevicePort } from "./port.ts";
export { SpaprDevice } from "./spapr.ts";
export { type GuestMemory, HYPERCALL, SpaprVio, type SpaprVioOptions } from "./spapr-vio.ts";
export { TIS_BASE, TIS_REGION_SIZE, TisDevice, type TisOptions } from "./tis.ts";
