// The TPM that both channels of a server share: whose turn it is, at which locality, and what swtpm adds around it.
import { attempt, chain } from "../backend/awaitable.ts";
import { type Awaitable, type Backend, BackendError, type StateBlobType } from "../backend/backend.ts";
import type { Log } from "./log.ts";
import * as P from "./protocol.ts";
import type { StateBlobKeys } from "./state-blobs.ts";

export type StartupType = "clear" | "state" | "deactivated" | "none";

export interface ServedTpmOptions {
  /** Refuse locality 4 wherever it is asked for. */
  readonly rejectLocality4?: boolean;
  /** Honour the in-band command 0x20001000. */
  readonly allowSetLocality?: boolean;
  /** Send TPM2_Shutdown before the TPM is stopped, if its user did not. Default true. */
  readonly autoShutdown?: boolean;
  /** Leave the state unlocked until it is set or used: another process migrates its TPM to this one. */
  readonly incomingMigration?: boolean;
  /** Unlock the state when the last blob was fetched. */
  readonly releaseLockOutgoing?: boolean;
  /** Keys of the blobs that the control channel hands out and takes. */
  readonly keys?: StateBlobKeys;
  /** Told when the state's lock was taken, and before it is given up. */
  readonly owned?: (owned: boolean) => void;
  /** Whether the next start removes the stored volatile state, because that was meant for one start. */
  readonly volatileOnce?: () => Awaitable<boolean>;
  /** The startup that `exchangeState` sends to a TPM that starts anew. */
  readonly startup?: StartupType;
  /** Sees every command and its response, in the order in which they ran. */
  readonly observe?: (command: Uint8Array, response: Uint8Array) => void;
}

/** How long a command waits for the lock that a migration target may hold: tries of 10 ms each. */
const LOCK_RETRIES_AFTER_MIGRATION = 300;
const MAX_LOCALITY = 4;

/** One backend as swtpm's two channels see it. Its methods never reject for what a client sent, only for what fails. */
export class ServedTpm {
  readonly backend: Backend;
  readonly log: Log;
  readonly keys: StateBlobKeys;
  readonly #options: ServedTpmOptions;
  readonly #fatal: Uint8Array;
  /** The locality of commands without one of their own; set by CMD_SET_LOCALITY. */
  locality = 0;
  #lastCommand: number | undefined;
  #incoming: boolean;
  #storageLocked = false;
  #lockRetries = 0;
  /** CMD_SET_STATEBLOB gave a volatile state, for one start. */
  #volatileSet = false;
  /** Settles when what runs now is done; undefined when nothing runs. */
  #busy: Promise<void> | undefined;

  constructor(backend: Backend, log: Log, options: ServedTpmOptions = {}) {
    this.backend = backend;
    this.log = log;
    this.#options = options;
    this.keys = options.keys ?? {};
    this.#incoming = options.incomingMigration ?? false;
    this.#fatal = this.#error(P.TPM_RC_FAILURE, P.RESULT.FAIL);
  }

  /**
   * Runs a command when those before it are done. There is an answer to everything: TPM_RC_FAILURE (1.2: TPM_FAIL) when the
   * TPM is not running or its backend fails. The command must not change before the response is there.
   */
  execute(command: Uint8Array, locality = this.locality): Awaitable<Uint8Array> {
    if (this.#busy) return this.exclusively(() => this.#execute(command, locality));
    const response = this.#execute(command, locality);
    if (response instanceof Promise) this.#hold(response);
    return response;
  }

  /** Does something when no command is under way, and keeps commands away until it is done. */
  exclusively<T>(work: () => Awaitable<T>): Awaitable<T> {
    const result = this.#busy ? this.#busy.then(work) : work();
    if (result instanceof Promise) this.#hold(result);
    return result;
  }

  /** Sets the locality of the commands that follow; false when it is none or refused. */
  setLocality(locality: number): boolean {
    if (!this.localityAllowed(locality)) return false;
    this.locality = locality;
    return true;
  }

  localityAllowed(locality: number): boolean {
    return locality < MAX_LOCALITY || (locality === MAX_LOCALITY && !this.#options.rejectLocality4);
  }

  /** CMD_INIT: stops the TPM if it runs, and starts it from its stored state. Rejects with the backend's error. */
  powerOn(deleteVolatile: boolean): Awaitable<void> {
    return chain(this.powerOff(), () =>
      chain(deleteVolatile || this.#volatileSet || (this.#options.volatileOnce?.() ?? false), (once) =>
        chain(this.backend.powerOn({ deleteVolatile: once, deferLock: this.#incoming }), () => {
          this.#volatileSet = false;
          this.#setOwned(!this.#incoming);
        }),
      ),
    );
  }

  /** CMD_SET_STATEBLOB: for the next CMD_INIT. Call it exclusively. Rejects with the backend's error, and nothing is set then. */
  setState(type: StateBlobType, blob: Uint8Array): Awaitable<void> {
    return attempt<void>(
      () =>
        chain(this.backend.setState(type, blob), () => {
          if (type === "volatile") this.#volatileSet = blob.length > 0;
        }),
      (error) => {
        this.#volatileSet = false;
        throw error;
      },
    );
  }

  /** CMD_STOP: TPM2_Shutdown if that is due, then off. */
  powerOff(): Awaitable<void> {
    return chain(this.shutdown(), () => (this.backend.running ? this.backend.powerOff() : undefined));
  }

  /** Whether this process is the one that may change the stored state. */
  get ownsState(): boolean {
    return this.#storageLocked;
  }

  /**
   * Stores another state in place of the one there is, which is not shut down, and starts the TPM with it; with `run` false only to see
   * that it can. Call it exclusively. Rejects with the backend's error; the TPM is stopped then.
   */
  async exchangeState(blobs: { readonly [type in StateBlobType]?: Uint8Array }, run: boolean): Promise<void> {
    const { backend } = this;
    if (backend.running) await backend.powerOff();
    for (const type of ["permanent", "volatile", "savestate"] as const)
      await this.setState(type, blobs[type] ?? new Uint8Array(0));
    await backend.powerOn({ deleteVolatile: run });
    if (run) this.#volatileSet = false;
    this.#lastCommand = undefined;
    const { startup = "none" } = this.#options;
    if (!run) await backend.powerOff();
    else if (!blobs.volatile && startup !== "none")
      await this.#execute(startupCommand(backend.family, startup), this.locality);
  }

  /**
   * Sends TPM2_Startup, or TPM_Startup, in place of a firmware.
   *
   * @throws Error when the family has no such startup.
   */
  startup(type: Exclude<StartupType, "none">): Awaitable<void> {
    const command = startupCommand(this.backend.family, type);
    return chain(this.execute(command), (response) => {
      const code = P.readU32(response, 6);
      // TPM_RC_INITIALIZE: a stored volatile state started it.
      const resumed = this.backend.family === "2.0" && code === P.TPM_RC_INITIALIZE;
      if (code !== 0 && !resumed) this.log.line(`The TPM refused Startup (${type}): 0x${code.toString(16)}`);
    });
  }

  /**
   * TPM2_Shutdown(STATE), or (CLEAR) where that is refused, unless the last command was TPM2_Shutdown: without it the next start
   * counts as one after a power loss, which dictionary-attack protection punishes. A state whose lock was given up is left alone.
   */
  shutdown(): Awaitable<void> {
    const due = this.backend.running && this.#storageLocked && this.#lastCommand !== P.TPM_CC_SHUTDOWN;
    if (!due || this.#options.autoShutdown === false || this.backend.family !== "2.0") return;
    return chain(this.#shutdown(P.TPM_SU_STATE), (code) => {
      // TPM_RC_INITIALIZE: it was never started; nothing is to be saved, and another try would not help.
      if (code !== 0 && code !== P.TPM_RC_INITIALIZE) return chain(this.#shutdown(P.TPM_SU_CLEAR), () => {});
    });
  }

  #shutdown(type: number): Awaitable<number> {
    const before = this.#lastCommand;
    return chain(this.#execute(P.header(P.TPM_ST_NO_SESSIONS, P.TPM_CC_SHUTDOWN, type), this.locality), (response) => {
      const code = P.readU32(response, 6);
      if (code !== 0) this.#lastCommand = before;
      return code;
    });
  }

  /** Takes the lock of the stored state, if it is not held; false when another process has it. */
  lockStorage(retries = this.#lockRetries): Awaitable<boolean> {
    if (this.#storageLocked) return true;
    return attempt<boolean>(
      () =>
        chain(this.backend.lockStorage(retries), () => {
          this.#setOwned(true);
          this.#incoming = false;
          this.#lockRetries = 0;
          return true;
        }),
      (error) => {
        this.#report("Could not lock the state", error);
        return false;
      },
    );
  }

  /** The savestate blob, the last of a migration, was fetched: the target may need the lock now. */
  outgoingMigrationDone(): Awaitable<void> {
    if (!this.#options.releaseLockOutgoing) return;
    this.#setOwned(false);
    this.#lockRetries = LOCK_RETRIES_AFTER_MIGRATION;
    return this.backend.unlockStorage();
  }

  #setOwned(owned: boolean): void {
    const before = this.#storageLocked;
    this.#storageLocked = owned;
    if (owned !== before) this.#options.owned?.(owned);
  }

  #execute(command: Uint8Array, locality: number): Awaitable<Uint8Array> {
    const response = this.#answer(command, locality);
    const observe = this.#options.observe;
    if (!observe) return response;
    return chain(response, (bytes) => {
      observe(command, bytes);
      return bytes;
    });
  }

  #answer(command: Uint8Array, locality: number): Awaitable<Uint8Array> {
    if (!this.backend.running) return this.#fatal;
    if (command.length < P.HEADER_SIZE) return this.#error(P.TPM_RC_INSUFFICIENT, P.TPM12_BAD_PARAM_SIZE);
    const code = P.readU32(command, 6);
    this.#lastCommand = code;
    if (code === P.CC_SET_LOCALITY) return this.#inBandLocality(command);
    if (!this.#storageLocked) return this.#answerLocked(command, locality);
    try {
      const response = this.backend.execute(command, locality);
      return response instanceof Promise ? response.catch((error) => this.#failure(error)) : response;
    } catch (error) {
      return this.#failure(error);
    }
  }

  /** The way of a command after the lock was given up, or before it was taken. */
  #answerLocked(command: Uint8Array, locality: number): Awaitable<Uint8Array> {
    return chain(this.lockStorage(), (locked) => {
      if (!locked) return this.#fatal;
      return attempt(
        () => this.backend.execute(command, locality),
        (error) => this.#failure(error),
      );
    });
  }

  #inBandLocality(command: Uint8Array): Uint8Array {
    if (command.length === P.HEADER_SIZE) return this.#error(P.TPM_RC_INSUFFICIENT, P.TPM12_BAD_PARAM_SIZE);
    if (!this.#options.allowSetLocality) return this.#fatal;
    return this.setLocality(command[P.HEADER_SIZE]!) ? this.#error(0, 0) : this.localityError();
  }

  /** The response to a command at a locality that is refused. */
  localityError(): Uint8Array {
    return this.#error(P.TPM_RC_LOCALITY, P.RESULT.BAD_LOCALITY);
  }

  /** The response to a command whose size cannot be. */
  sizeError(): Uint8Array {
    return this.backend.running ? this.#error(P.TPM_RC_COMMAND_SIZE, P.TPM12_BAD_PARAM_SIZE) : this.#fatal;
  }

  #failure(error: unknown): Uint8Array {
    this.#report("The command failed", error);
    return this.#fatal;
  }

  #report(what: string, error: unknown): void {
    const known = error instanceof BackendError;
    this.log.line(`${what}: ${known ? error.message : String((error as Error)?.stack ?? error)}`);
  }

  #error(code: number, code12: number): Uint8Array {
    return this.backend.family === "2.0"
      ? P.header(P.TPM_ST_NO_SESSIONS, code)
      : P.header(P.TPM12_TAG_RSP_COMMAND, code12);
  }

  #hold(work: Promise<unknown>): void {
    const done = () => {
      if (this.#busy === settled) this.#busy = undefined;
    };
    const settled: Promise<void> = work.then(done, done);
    this.#busy = settled;
  }
}

function startupCommand(family: Backend["family"], type: Exclude<StartupType, "none">): Uint8Array {
  if (family === "1.2") {
    const types = { clear: P.TPM12_ST_CLEAR, state: P.TPM12_ST_STATE, deactivated: P.TPM12_ST_DEACTIVATED };
    return P.header(P.TPM12_TAG_RQU_COMMAND, P.TPM12_ORD_STARTUP, types[type]);
  }
  if (type === "deactivated") throw new Error("TPM 2 does not support startup deactivated.");
  return P.header(P.TPM_ST_NO_SESSIONS, P.TPM_CC_STARTUP, type === "clear" ? P.TPM_SU_CLEAR : P.TPM_SU_STATE);
}
