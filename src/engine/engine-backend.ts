// The TPM 2.0 engine as a backend: one Wasm instance per power cycle, its permanent state in a store. What a command changed
// is stored before its response is handed out.
import { attempt, chain } from "../backend/awaitable.ts";
import type { Awaitable, Backend, BufferSizes, StartupOptions, StateBlobType } from "../backend/backend.ts";
import { BackendError } from "../backend/backend.ts";
import { nextTurn } from "../platform/next-turn.ts";
import { type StateChange, StateKeeper } from "../state/keeper.ts";
import { BLOB_TYPES, StateError, type StateStore } from "../state/store.ts";
import { CHANGED_PERMANENT, Engine, type EngineHost, EngineTrap, PENDING, systemHost } from "./engine.ts";
import { engineInfo } from "./info.ts";
import { engineModule } from "./module.ts";
import { stateErrorText } from "./state-error.ts";

export interface EngineBackendOptions {
  /** Where the state is kept. */
  readonly store: StateStore;
  /** Told, in a sentence, why the TPM went into failure mode: what a response cannot say. */
  readonly warn?: (sentence: string) => void;
  /** libtpms' JSON profile for a TPM that has no state yet; the null profile without one. */
  readonly profile?: string;
  /** With `profile`: the first power-on fails if the TPM has a state already, as swtpm's does. */
  readonly profileMustApply?: boolean;
  /** Random source and clocks; the runtime's own by default. */
  readonly host?: EngineHost;
  /** The compiled engine; the package's own by default. */
  readonly module?: WebAssembly.Module;
}

/** The failure that libtpms and the specification give for anything in failure mode (Part 1, 12.3). */
const FAILURE_RESPONSE = Uint8Array.of(0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 1);
const TPM_RC_FAILURE = 0x101;
/** libtpms' result for a profile that it does not take. */
const TPM_FAIL = 9;
/** libtpms' result for a savestate of a TPM 2.0. */
const BAD_TYPE = 0x34;
const EMPTY = new Uint8Array(0);

/** An engine that keeps its state in `options.store`. It is stopped until `powerOn`. */
export function createEngineBackend(options: EngineBackendOptions): Backend {
  return new EngineBackend(options);
}

class EngineBackend implements Backend {
  readonly family = "2.0";
  readonly #options: EngineBackendOptions;
  readonly #keeper: StateKeeper;
  #engine: Engine | undefined;
  /** What the TPM, which started without the store's lock, has to store once that is taken. */
  #unsaved: StateChange | undefined;
  /** The running TPM has had the store's lock. */
  #owned = false;
  /** The running TPM has not, and somebody else has changed the state from which it was started. */
  #superseded = false;
  /** The engine whose command is under way, or being stored. */
  #busy: Engine | undefined;
  #bufferSize = 0;
  /** The TPM of these options started once: their profile is either in its state or does not matter. */
  #started = false;
  /** TPM_ESTABLISHED when the TPM was stopped. It outlasts a power cycle; a volatile state brings its own. */
  #established = false;
  /** Blobs set while stopped, stored by the first power-on that succeeds with them. */
  #staged: Partial<Record<StateBlobType, Uint8Array>> = {};

  constructor(options: EngineBackendOptions) {
    this.#options = options;
    this.#keeper = new StateKeeper(options.store);
  }

  get running(): boolean {
    return this.#engine !== undefined;
  }

  powerOn(options: StartupOptions = {}): Awaitable<void> {
    this.powerOff();
    return chain(this.#open(options.deferLock ?? false), () =>
      attempt(
        () => this.#start(options),
        (error) => this.#startPrevious(options, error),
      ),
    );
  }

  powerOff(): void {
    this.#established = this.#engine?.established ?? this.#established;
    this.#engine?.wipe();
    this.#engine = undefined;
    this.#busy = undefined;
  }

  execute(command: Uint8Array, locality: number): Awaitable<Uint8Array> {
    const engine = this.#running();
    if (this.#busy) throw new BackendError("state", "the TPM is executing a command already");
    let size: number;
    try {
      size = engine.execute(command, locality);
    } catch (error) {
      return this.#fail(engine, error);
    }
    const response = size === PENDING ? this.#continue(engine) : this.#finish(engine, size);
    if (!(response instanceof Promise)) return response;
    this.#busy = engine;
    return response.finally(() => {
      if (this.#busy === engine) this.#busy = undefined;
    });
  }

  cancel(): void {
    this.#engine?.cancel();
  }

  getEstablished(): boolean {
    return this.#running().established;
  }

  resetEstablished(locality: number): void {
    if (locality < 3) throw new BackendError("locality", "TPM_ESTABLISHED can be reset at localities 3 and 4 only");
    this.#running().resetEstablished();
  }

  hashStart(): void {
    this.#running().hashStart();
  }

  hashData(data: Uint8Array): void {
    this.#running().hashData(data);
  }

  hashEnd(): void {
    this.#running().hashEnd();
  }

  bufferSize(wanted?: number): BufferSizes {
    if (wanted !== undefined && wanted !== 0) {
      if (this.#engine) throw new BackendError("state", "the buffer size changes only while the TPM is stopped");
      this.#bufferSize = wanted;
    }
    const engine = this.#engine ?? new Engine(this.#module(), this.#options.host);
    return engine.bufferSize(this.#engine ? 0 : this.#bufferSize);
  }

  getState(type: StateBlobType): Awaitable<Uint8Array> {
    const engine = this.#running();
    switch (type) {
      case "permanent":
        return engine.savePermanent();
      case "volatile":
        return this.#takeVolatile(engine);
      case "savestate":
        return EMPTY;
    }
  }

  setState(type: StateBlobType, blob: Uint8Array): void {
    if (this.#engine) throw new BackendError("state", "state is set only while the TPM is stopped");
    const staged = { ...this.#staged, [type]: blob.slice() };
    this.#staged = {};
    if (blob.length > 0) this.#check(type, blob, { ...this.#keeper.blobs, ...staged }.permanent);
    this.#staged = staged;
  }

  storeVolatile(): Awaitable<void> {
    const blob = this.#running().saveVolatile();
    return this.#stored(() => this.#keeper.save({ volatile: blob }));
  }

  lockStorage(retries: number): Awaitable<void> {
    if (this.#keeper.locked) return;
    return this.#stored(() => chain(this.#keeper.lock(retries), () => this.#readLocked()));
  }

  unlockStorage(): Awaitable<void> {
    return this.#stored(() => this.#keeper.unlock());
  }

  info(flags: number): string {
    return engineInfo(flags, () => this.#engine ?? new Engine(this.#module(), this.#options.host));
  }

  close(): Awaitable<void> {
    this.powerOff();
    return this.#keeper.close();
  }

  #module(): WebAssembly.Module {
    return this.#options.module ?? engineModule();
  }

  #running(): Engine {
    if (!this.#engine) throw new BackendError("state", "the TPM is not running");
    return this.#engine;
  }

  /** Makes the keeper's blobs those of the store: what was being stored when the TPM was stopped is waited for. */
  #open(deferLock: boolean): Awaitable<void> {
    return this.#stored(() =>
      chain(this.#keeper.settle(), () => {
        if (!this.#keeper.locked) return chain(this.#keeper.open({ deferLock }), () => {});
      }),
    );
  }

  /** The volatile state now. An older one that was stored must not come back at the next start: it goes, as swtpm's does. */
  #takeVolatile(engine: Engine): Awaitable<Uint8Array> {
    const blob = engine.saveVolatile();
    if (!this.#keeper.locked || !this.#keeper.blobs.volatile) return blob;
    return this.#stored(() => chain(this.#keeper.save({ volatile: undefined }), () => blob));
  }

  /**
   * Learns what the store holds, now that nobody else can write. A TPM that ran with the lock, gave it up and runs on is the one that
   * counts (the target of a migration took the state and failed): what it has is stored over what was written meanwhile.
   */
  #readLocked(): Awaitable<void> {
    const known = this.#keeper.blobs;
    return chain(this.#keeper.open(), (stored) => {
      const engine = this.#engine;
      const foreign = BLOB_TYPES.some((type) => stored[type] !== known[type]);
      this.#superseded ||= engine !== undefined && foreign && !this.#owned;
      if (this.#superseded) return this.#refuseForeign();
      this.#owned = true;
      if (!engine || !(foreign || this.#unsaved)) return;
      const change = { volatile: known.volatile, ...this.#unsaved, permanent: engine.savePermanent() };
      return chain(this.#keeper.save(change), () => {
        this.#unsaved = undefined;
      });
    });
  }

  #refuseForeign(): Awaitable<void> {
    return chain(this.#keeper.unlock(), () => {
      const text = `${this.#options.store.name}: another process has changed the state from which this TPM was started; start it again`;
      throw new StateError("conflict", text);
    });
  }

  /** A new TPM, with the profile of the options. */
  #made(): Engine {
    const engine = new Engine(this.#module(), this.#options.host ?? systemHost);
    const rc = engine.manufacture(this.#options.profile);
    if (rc === 0) return engine;
    throw new BackendError("tpm", `the profile is not one this TPM can be made with (0x${rc.toString(16)})`, {
      tpmCode: TPM_FAIL,
    });
  }

  /** @throws BackendError "bad-state" with the engine's code. */
  #loaded(permanent: Uint8Array): Engine {
    const engine = new Engine(this.#module(), this.#options.host ?? systemHost);
    const rc = engine.loadPermanent(permanent);
    if (rc === 0) return engine;
    throw new BackendError("bad-state", this.#stateError("permanent", rc, permanent), { tpmCode: rc });
  }

  /** A TPM that goes on with its volatile state, if there is one. @throws BackendError "bad-state" with the engine's code. */
  #powered(engine: Engine, volatile: Uint8Array | undefined): Engine {
    engine.init();
    if (this.#established) engine.setEstablished();
    if (!volatile?.length) return engine;
    const rc = engine.loadVolatile(volatile);
    if (rc !== 0) throw new BackendError("bad-state", this.#stateError("volatile", rc, volatile), { tpmCode: rc });
    // The same state may be loaded again: the nonces of two signatures must differ, or they give the key away.
    engine.stirRandom();
    return engine;
  }

  /** @throws BackendError "bad-state" when the blob, with the others there are, is not one that a TPM can start with. */
  #check(type: StateBlobType, blob: Uint8Array, permanent: Uint8Array | undefined): void {
    if (type === "savestate") throw new BackendError("bad-state", "a TPM 2.0 has no savestate", { tpmCode: BAD_TYPE });
    if (type === "permanent") this.#loaded(blob).wipe();
    else if (permanent?.length) this.#powered(this.#loaded(permanent), blob).wipe();
    else throw new BackendError("bad-state", "a volatile state is of no use without a permanent one");
  }

  #start(options: StartupOptions): Awaitable<void> {
    const staged = this.#staged;
    const { permanent, volatile } = { ...this.#keeper.blobs, ...staged };
    const made = !permanent?.length;
    if (!made && this.#options.profile && this.#options.profileMustApply && !this.#started) {
      throw new BackendError("tpm", "the profile cannot be applied to a TPM that exists already", {
        tpmCode: TPM_FAIL,
      });
    }
    const engine = refusedAs(TPM_RC_FAILURE, () =>
      this.#powered(made ? this.#made() : this.#loaded(permanent), volatile),
    );
    if (this.#bufferSize !== 0) engine.bufferSize(this.#bufferSize);
    const change: { -readonly [type in StateBlobType]?: Uint8Array | undefined } = { ...staged };
    if (made || engine.changes & CHANGED_PERMANENT) change.permanent = engine.savePermanent();
    if (volatile?.length && options.deleteVolatile) change.volatile = undefined;
    const started = () => {
      this.#engine = engine;
      this.#started = true;
      this.#staged = {};
    };
    const changed = Object.keys(change).length > 0;
    const locked = this.#keeper.locked || Object.keys(staged).length > 0;
    this.#unsaved = changed && !locked ? change : undefined;
    this.#owned = locked;
    this.#superseded = false;
    if (!changed || !locked) return started();
    // The lock that an incoming migration put off is due now.
    return chain(
      this.#stored(() => chain(this.#keeper.lock(0), () => this.#keeper.save(change))),
      started,
    );
  }

  /** Starts with the permanent state before the last one, where the store kept it and the last one is none that a TPM can start with. */
  #startPrevious(options: StartupOptions, error: unknown): Awaitable<void> {
    const { permanent } = this.#keeper.blobs;
    const isAtFault = permanent?.length && Object.keys(this.#staged).length === 0 && !this.#isLoadable(permanent);
    if (!(error instanceof BackendError) || error.kind !== "bad-state" || !isAtFault) throw error;
    return chain(
      this.#stored(() => this.#keeper.openPrevious()),
      (previous) => {
        if (!previous) throw error;
        this.#options.warn?.(`${error.message}; the TPM starts with the state before the last one`);
        return this.#start(options);
      },
    );
  }

  #isLoadable(permanent: Uint8Array): boolean {
    try {
      this.#loaded(permanent).wipe();
      return true;
    } catch {
      return false;
    }
  }

  /** The rest of a long command, a slice at a turn of the event loop. */
  async #continue(engine: Engine): Promise<Uint8Array> {
    try {
      let size = PENDING;
      while (size === PENDING) {
        await nextTurn();
        if (this.#engine !== engine) throw new BackendError("state", "the TPM was stopped during the command");
        size = engine.resume();
      }
      return await this.#finish(engine, size);
    } catch (error) {
      if (error instanceof BackendError) throw error;
      return this.#fail(engine, error);
    }
  }

  /** Takes the response, and stores what the command changed before anybody sees it. */
  #finish(engine: Engine, size: number): Awaitable<Uint8Array> {
    const response = engine.response(size);
    if ((engine.changes & CHANGED_PERMANENT) === 0) return response;
    return attempt<Uint8Array>(
      () => chain(this.#keeper.save({ permanent: engine.savePermanent() }), () => response),
      (error) => {
        // Part 1, 37.7.3: a write to NV that was begun has to succeed.
        return this.#enterFailureMode(engine, `the state could not be stored: ${(error as Error).message}`);
      },
    );
  }

  #fail(engine: Engine, error: unknown): Uint8Array {
    if (!(error instanceof EngineTrap)) throw error;
    return this.#enterFailureMode(engine, error.message);
  }

  #stateError(type: "permanent" | "volatile", rc: number, blob: Uint8Array): string {
    return `${this.#options.store.name}: ${stateErrorText(type, rc, blob)}`;
  }

  #enterFailureMode(engine: Engine, reason: string): Uint8Array {
    engine.enterFailureMode();
    this.#options.warn?.(`the TPM is in failure mode until it is started again: ${reason}`);
    return FAILURE_RESPONSE.slice();
  }

  #stored<T>(work: () => Awaitable<T>): Awaitable<T> {
    return attempt(work, (error) => {
      if (!(error instanceof StateError)) throw error;
      const kind =
        error.kind === "damaged" || error.kind === "too-new" || error.kind === "encrypted" ? "bad-state" : "storage";
      throw new BackendError(kind, error.message, { cause: error });
    });
  }
}

/** What the work gives; a state that it refuses is answered with the code. */
function refusedAs<T>(tpmCode: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof BackendError) || error.kind !== "bad-state") throw error;
    throw new BackendError(error.kind, error.message, { cause: error, tpmCode });
  }
}
