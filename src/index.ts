// The package: a TPM in this process, and what one is made of. Commands and responses as values are in wtpm/codec, a typed client
// in wtpm/client, the devices that guests see in wtpm/frontend, what firmware tells about them in wtpm/firmware.

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
export { openPassthrough, PassthroughBackend, type PassthroughOptions } from "./backend/passthrough.ts";
export type { EngineHost } from "./engine/engine.ts";
export { createEngineBackend, type EngineBackendOptions } from "./engine/engine-backend.ts";
export { loadEngineModule } from "./engine/module.ts";
export { encryptedFormat, plainFormat } from "./state/container.ts";
export { DirStore, type DirStoreOptions } from "./state/dir-store.ts";
export { AesCbcKey } from "./state/encryption/aes-cbc.ts";
export { commandProvider } from "./state/encryption/command-provider.ts";
export { fileProvider, type KeyProvider, passphraseProvider } from "./state/encryption/key-provider.ts";
export { keyFromPassphrase } from "./state/encryption/passphrase.ts";
export { type SealedFormat, sealedFormat } from "./state/encryption/sealed-format.ts";
export type { StateFormat } from "./state/format.ts";
export type { DeviceFile } from "./platform/device-file.ts";
export { LinearStore, type LinearStoreOptions } from "./state/linear-store.ts";
export { MemoryStore } from "./state/memory-store.ts";
export { OverlayStore } from "./state/overlay-store.ts";
export {
  createSnapshot,
  deleteSnapshot,
  pruneSnapshots,
  type Restored,
  type RestoreOptions,
  restoreSnapshot,
  type SnapshotSubject,
  withStoredTpm,
} from "./state/snapshot/operations.ts";
export { type Snapshot, SnapshotError, type SnapshotErrorKind, type SnapshotIndex } from "./state/snapshot/record.ts";
export {
  type Capture,
  type CreateOptions,
  type RepositoryOptions,
  SnapshotRepository,
} from "./state/snapshot/repository.ts";
export { type Generation, type StateBlobs, StateError, type StateErrorKind, type StateStore } from "./state/store.ts";
export { Tpm, type TpmOptions } from "./tpm.ts";
