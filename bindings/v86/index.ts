// A TPM for guests of the v86 emulator: package entry wtpm/v86.
export { type AttachOptions, attachTpm, type MachineState, type V86Tpm } from "./attach.ts";
export type { V86Emulator } from "./emulator.ts";
export { type BankName, type EventLog, type LoggedEvent, readEventLog, replayEventLog } from "./event-log.ts";
export { DEVICE_BASE, LOG_BASE } from "./memory.ts";
export type { Observer } from "./observed-port.ts";
