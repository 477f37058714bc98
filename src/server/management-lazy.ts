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
  close(): Promise<void>;
}

export interface LazyManagementOptions {
  readonly load: () => Promise<ServerManagement>;
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
    if (this.#management) this.#tell(owned);
    else if (owned) this.#timer = setTimeout(() => this.#tell(true), DELAY_MS).unref();
  }

  volatileOnce(): Awaitable<boolean> {
    if (!this.#options.hasSnapshots()) return false;
    return this.#loaded().then((management) => management.volatileOnce());
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
