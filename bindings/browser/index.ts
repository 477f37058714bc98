// The package in a browser: package entry wtpm/browser. What has no place there is missing: folders, sockets, the host's TPM.
export {
  type Awaitable,
  type Backend,
  BackendError,
  type BackendErrorKind,
  type BufferSizes,
  type StartupOptions,
  type StateBlobType,
  type TpmFamily,
} from "../../src/backend/backend.ts";
export type { EngineHost } from "../../src/engine/engine.ts";
export { createEngineBackend, type EngineBackendOptions } from "../../src/engine/engine-backend.ts";
export { loadEngineModule } from "../../src/engine/module.ts";
export * from "../../src/firmware/index.ts";
export * from "../../src/frontend/index.ts";
export { MemoryStore } from "../../src/state/memory-store.ts";
export {
  type Generation,
  type StateBlobs,
  StateError,
  type StateErrorKind,
  type StateStore,
} from "../../src/state/store.ts";
export { Tpm, type TpmOptions } from "../../src/tpm.ts";
export { IndexedDbStore } from "./indexed-db-store.ts";
