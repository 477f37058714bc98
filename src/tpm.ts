// A TPM in this process: the package's programming interface for tests and embedders.
import type { Awaitable, Backend } from "./backend/backend.ts";
import { createEngineBackend, type EngineBackendOptions } from "./engine/engine-backend.ts";
import { MemoryStore } from "./state/memory-store.ts";

const TPM_CC_STARTUP_CLEAR = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0);

export interface TpmOptions extends Partial<EngineBackendOptions> {
  /** Send TPM2_Startup(CLEAR) after power-on. Default true. */
  readonly startup?: boolean;
}

/**
 * A TPM 2.0 in this process.
 *
 *     await using tpm = await Tpm.create();
 *     const response = await tpm.execute(command);
 */
export class Tpm implements AsyncDisposable {
  readonly backend: Backend;

  private constructor(backend: Backend) {
    this.backend = backend;
  }

  /** Makes a TPM and powers it on. Without `options.store` its state lives in memory and ends with it. */
  static async create(options: TpmOptions = {}): Promise<Tpm> {
    const { startup = true, store = new MemoryStore(), ...rest } = options;
    const backend = createEngineBackend({ ...rest, store });
    await backend.powerOn();
    const tpm = new Tpm(backend);
    if (startup) await tpm.execute(TPM_CC_STARTUP_CLEAR);
    return tpm;
  }

  /**
   * Runs one TPM command (bytes as on the wire) at a locality and returns the response's bytes: at once, or a promise of
   * them when the command takes longer. What the command changed is stored by then.
   */
  execute(command: Uint8Array, locality = 0): Awaitable<Uint8Array> {
    return this.backend.execute(command, locality);
  }

  /** Powers the TPM off and on, as a machine's reset does; TPM2_Startup is the caller's. */
  async powerCycle(): Promise<void> {
    await this.backend.powerOff();
    await this.backend.powerOn();
  }

  async close(): Promise<void> {
    await this.backend.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
