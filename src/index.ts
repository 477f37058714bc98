// The package: a TPM in this process, the parts it is made of, and the parts that go around one.

export {
  type Awaitable,
  type Backend,
  BackendError,
  type BackendErrorKind,
  type BufferSizes,
  type StartupOptions,
  type StateBlobType,
  type TpmFamily,
} from "./backend/backend.ts";
export { connectEmulator, type EmulatorAddress, EmulatorBackend, type EmulatorOptions } from "./backend/emulator.ts";
export * as codec from "./codec/index.ts";
export { type Entity, TpmClient, TpmError, type Transport } from "./codec/client.ts";
export { AuthSession } from "./codec/session.ts";
export { createEngineBackend, type EngineBackendOptions } from "./engine/engine-backend.ts";
export type { EngineHost } from "./engine/engine.ts";
export * as firmware from "./firmware/index.ts";
export * as frontend from "./frontend/index.ts";
export { DirStore, type DirStoreOptions } from "./state/dir-store.ts";
export { MemoryStore } from "./state/memory-store.ts";
export { type Generation, type StateBlobs, StateError, type StateErrorKind, type StateStore } from "./state/store.ts";
export { Tpm, type TpmOptions } from "./tpm.ts";
