// A TPM for guests of the v86 emulator: package entry wtpm/v86. What else such a program needs of the package is here too, because in
// a browser this is the entry.
export { type Backend, BackendError } from "../../src/backend/backend.ts";
export { createEngineBackend, type EngineBackendOptions } from "../../src/engine/engine-backend.ts";
export { loadEngineModule } from "../../src/engine/module.ts";
export { MemoryStore } from "../../src/state/memory-store.ts";
export type { StateStore } from "../../src/state/store.ts";
export { IndexedDbStore } from "../browser/indexed-db-store.ts";
export { type AttachOptions, attachTpm, type MachineState, type V86Tpm } from "./attach.ts";
export type { V86Emulator } from "./emulator.ts";
export { type BankName, type EventLog, type LoggedEvent, readEventLog, replayEventLog } from "./event-log.ts";
export { DEVICE_BASE, LOG_BASE } from "./memory.ts";
export type { Observer } from "./observed-port.ts";
