// The one interface in the middle: servers and front-ends know only this; backends know nothing of who calls them.

/** A value now, or a promise of it. In-process engines answer at once; devices and sockets later. */
export type Awaitable<T> = T | Promise<T>;

/** Which library specification the TPM follows. */
export type TpmFamily = "1.2" | "2.0";

/** The state blobs of swtpm's control protocol (PTM_BLOB_TYPE_*): 1, 2 and 3. */
export type StateBlobType = "permanent" | "volatile" | "savestate";

/** Sizes of the command/response buffer in bytes. */
export interface BufferSizes {
  readonly current: number;
  readonly min: number;
  readonly max: number;
}

export interface StartupOptions {
  /** Delete the stored volatile state once it was read (CMD_INIT's flag). */
  readonly deleteVolatile?: boolean;
  /**
   * Leave the stored state unlocked; `lockStorage` follows before anything is stored (swtpm's `--migration incoming`: the
   * source still holds the lock). By default `powerOn` takes the lock and fails with kind "storage" when another has it.
   */
  readonly deferLock?: boolean;
}

/**
 * A TPM, as whatever attaches to it sees it: powered on and off, fed commands, and asked for its state.
 *
 * Only one command runs at a time: calling `execute` again before the previous answer is a caller's fault and rejects.
 * Every method but `execute` may reject with a `BackendError`.
 */
export interface Backend {
  readonly family: TpmFamily;
  /** True between a successful `powerOn` and `powerOff`. */
  readonly running: boolean;

  /** _TPM_Init: loads the state and starts the TPM. If it runs already it is powered off first. */
  powerOn(options?: StartupOptions): Awaitable<void>;
  /** Stops the TPM; what was acknowledged stays stored. */
  powerOff(): Awaitable<void>;

  /**
   * Runs one complete TPM command at the given locality and returns its response. The response is stored durably, as far
   * as the command changed anything, before it is returned. Malformed commands are answered by the TPM, they do not reject.
   */
  execute(command: Uint8Array, locality: number): Awaitable<Uint8Array>;
  /** Asks the running command, if any, to end with TPM_RC_CANCELED. */
  cancel(): void;

  /** The TPM_ESTABLISHED bit (TIS ACCESS bit 0, inverted there). */
  getEstablished(): Awaitable<boolean>;
  /** @throws BackendError "locality" below locality 3. */
  resetEstablished(locality: number): Awaitable<void>;

  /** The _TPM_Hash_Start/Data/End signals of the locality-4 interface. */
  hashStart(): Awaitable<void>;
  hashData(data: Uint8Array): Awaitable<void>;
  hashEnd(): Awaitable<void>;

  /** Only changes while stopped; the size is clamped to min..max. Without an argument it only asks. */
  bufferSize(wanted?: number): Awaitable<BufferSizes>;

  /**
   * The state as libtpms writes it, without any container of swtpm's; empty when there is none of that type. "volatile" is
   * what the running TPM has now, not what was stored. Only while running.
   */
  getState(type: StateBlobType): Awaitable<Uint8Array>;
  /** Takes effect at the next `powerOn`. Only while stopped. An empty blob removes that state. */
  setState(type: StateBlobType, blob: Uint8Array): Awaitable<void>;
  /** Writes the running TPM's volatile state to the store, where the next `powerOn` finds it (CMD_STORE_VOLATILE). */
  storeVolatile(): Awaitable<void>;
  /**
   * Takes the lock of the stored state, if it is not held; another try follows every 10 ms, `retries` times.
   * @throws BackendError "storage" when another process has it.
   */
  lockStorage(retries: number): Awaitable<void>;
  /** Lets another process have the stored state. Nothing may be executed until `lockStorage` succeeded again. */
  unlockStorage(): Awaitable<void>;
  /** JSON about the implementation; `flags` are those of CMD_GET_INFO (SWTPM_INFO_*: 1 specification, 2 attributes, 4 features, …). */
  info(flags: number): Awaitable<string>;
  /** Why this TPM cannot be migrated, or undefined when it can. */
  readonly migrationBlocker?: string | undefined;

  close(): Awaitable<void>;
}

/** What went wrong, in a form code can tell apart. `tpmCode` is the TPM's own result where there is one. */
export class BackendError extends Error {
  readonly kind: BackendErrorKind;
  readonly tpmCode: number | undefined;
  constructor(kind: BackendErrorKind, message: string, options: { cause?: unknown; tpmCode?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BackendError";
    this.kind = kind;
    this.tpmCode = options.tpmCode;
  }
}

export type BackendErrorKind =
  /** Wrong state: stopped where it must run, or running where it must be stopped; a command is under way. */
  | "state"
  | "locality"
  /** The stored state is not what it should be: damaged, too new, encrypted with another key. */
  | "bad-state"
  /** The store could not be read or written. */
  | "storage"
  /** The TPM itself refused. */
  | "tpm"
  | "unsupported"
  /** The device or the other end of a socket failed. */
  | "io";
