// Management that is loaded when its server has nothing more urgent to do: programs wait for a TPM's start, nobody for this.
import type { Awaitable } from "../backend/backend.ts";
import type { ServedTpm } from "./served-tpm.ts";

/** What a server tells the management of its TPM, and asks it. */
export interface ServerManagement {
  /** What the commands are about; comes before the others. */
  attach(tpm: ServedTpm): void;
  /** The state's lock was taken, or is given up. */
  owned(owned: boolean): void;
  /** Whether the next start removes the stored volatile state, because a restore put it there for one start. */
  volatileOnce(): Awaitable<boolean>;
  /** Done when what was told has been acted upon, as far as anybody has to wait for that. */
  ready(): Promise<void>;
  close(): Promise<void>;
}

export interface LazyManagementOptions {
  readonly load: () => Promise<ServerManagement>;
  /** Load it at once: nothing but its socket says that the state is in use. */
  readonly eager: boolean;
  /** There are snapshots: `volatileOnce` has to be asked. */
  readonly hasSnapshots: () => boolean;
  /** Told why it could not be loaded. */
  readonly warn: (sentence: string) => void;
}

/** Time enough for a first client. */
const DELAY_MS = 50;

export class LazyManagement implements ServerManagement {
  readonly #options: LazyManagementOptions;
  #tpm: ServedTpm | undefined;
  #management: Promise<ServerManagement> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LazyManagementOptions) {
    this.#options = options;
  }

  attach(tpm: ServedTpm): void {
    this.#tpm = tpm;
  }

  owned(owned: boolean): void {
    clearTimeout(this.#timer);
    if (this.#management || (owned && this.#options.eager)) this.#tell(owned);
    else if (owned) this.#timer = setTimeout(() => this.#tell(true), DELAY_MS).unref();
  }

  volatileOnce(): Awaitable<boolean> {
    if (!this.#options.hasSnapshots()) return false;
    return this.#loaded().then((management) => management.volatileOnce());
  }

  async ready(): Promise<void> {
    if (this.#options.eager) await (await this.#management)?.ready();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await (await this.#management)?.close();
  }

  #tell(owned: boolean): void {
    this.#loaded().then(
      (management) => management.owned(owned),
      (error: Error) => this.#options.warn(`no management socket: ${error.message}`),
    );
  }

  #loaded(): Promise<ServerManagement> {
    this.#management ??= this.#options.load().then((management) => {
      if (this.#tpm) management.attach(this.#tpm);
      return management;
    });
    return this.#management;
  }
}
