// A backend that is the host's own TPM, behind Linux' /dev/tpm0 or /dev/tpmrm0, as QEMU's "-tpmdev passthrough" uses it.
import type { DeviceFile, SwitchFile } from "../platform/device-file.ts";
import * as P from "../server/protocol.ts";
import { type Backend, BackendError, type BufferSizes, type TpmFamily } from "./backend.ts";
import {
  askBufferSize,
  codeOf,
  KERNEL_BUFFER_SIZE,
  openCancelFile,
  openTpmDevice,
  probe,
  type TpmDevice,
} from "./tpm-device.ts";

export interface PassthroughOptions {
  /** The device. Default "/dev/tpm0", which one program at a time can open; /dev/tpmrm0 is shared with the host. */
  readonly path?: string;
  /**
   * The file whose writing cancels the running command; false for none. By default the driver's file in /sys is taken if it has
   * one, which only TPM 1.2 do.
   */
  readonly cancelPath?: string | false;
  /** Opens the device; for devices that are no files, and tests. */
  readonly open?: (path: string) => Promise<DeviceFile>;
}

const DEFAULT_PATH = "/dev/tpm0";
const TPM_RC_CANCELED = 0x909;
const TPM12_FAIL = 9;
const MIGRATION_BLOCKER = "the TPM is the host's own hardware, whose state cannot leave it";

/**
 * Opens a TPM device and finds out which family its TPM is of. Nothing changes in the TPM by that.
 *
 * @throws BackendError "io" when it cannot be opened or what answers is no TPM.
 */
export async function openPassthrough(options: PassthroughOptions = {}): Promise<PassthroughBackend> {
  const { path = DEFAULT_PATH, open, cancelPath } = options;
  const device = await openTpmDevice(path, open);
  try {
    const family = await probe(device);
    return new PassthroughBackend(device, family, await openCancelFile(path, cancelPath));
  } catch (error) {
    // Not waited for: a read that nothing answers ends with the device only.
    device.close().catch(() => {});
    throw error;
  }
}

/** See `openPassthrough`. */
export class PassthroughBackend implements Backend {
  readonly family: TpmFamily;
  readonly migrationBlocker: string = MIGRATION_BLOCKER;
  readonly #device: TpmDevice;
  readonly #cancelFile: SwitchFile | undefined;
  #running = false;
  #closed = false;
  /** Settles when the command under way was answered. */
  #underWay: Promise<unknown> | undefined;
  /** The device has the command and no answer yet: the only time to cancel it, for later it may be the host's turn. */
  #executing = false;
  #canceled = false;
  /** Settles when the driver has taken notice of that. */
  #canceling: Promise<void> | undefined;
  /** What the TPM says of its buffer, once it does. */
  #bufferSize: number | undefined;
  #wantedBufferSize = 0;

  constructor(device: TpmDevice, family: TpmFamily, cancelFile: SwitchFile | undefined) {
    this.#device = device;
    this.family = family;
    this.#cancelFile = cancelFile;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Whether a running command can be canceled. */
  get cancelable(): boolean {
    return this.#cancelFile !== undefined;
  }

  /**
   * Lets commands through. The TPM itself was powered on with the host, whose firmware or kernel has started it: a TPM2_Startup that
   * follows is answered TPM_RC_INITIALIZE, and PCRs hold what was measured since.
   *
   * @throws BackendError "unsupported" when a smaller buffer was asked for than the TPM's.
   */
  async powerOn(): Promise<void> {
    this.#checkOpen();
    await this.powerOff();
    const size = await this.#learnBufferSize();
    const wanted = this.#wantedBufferSize;
    if (wanted !== 0 && wanted < size) {
      throw new BackendError("unsupported", `the TPM's buffer has ${size} bytes and cannot be made ${wanted}`);
    }
    this.#running = true;
  }

  /** Cancels the command under way, if that can be, waits for its answer, and lets no more through. */
  async powerOff(): Promise<void> {
    this.#running = false;
    if (this.#executing && this.#cancelFile) this.cancel();
    await this.#underWay?.catch(() => {});
  }

  /**
   * Runs a command at the locality that the host's kernel uses, 0, whatever `locality` says.
   *
   * @throws BackendError "io" when the device fails or its answer is no response; "state" when the TPM is stopped or busy.
   */
  async execute(command: Uint8Array, _locality: number): Promise<Uint8Array> {
    if (!this.#running) throw new BackendError("state", "the TPM is not running");
    if (command.length < P.HEADER_SIZE || P.readU32(command, 2) > command.length) return this.#sizeError();
    return this.#exclusively(() => this.#transmit(command));
  }

  /**
   * Asks the driver to cancel the command under way. Recent kernels (6.1 does) let that wait until the command has ended, so it is
   * not waited for here; what comes of it shows in the response.
   *
   * @throws BackendError "unsupported" when the driver has no way to cancel a command.
   */
  cancel(): void {
    if (!this.#executing) return;
    if (!this.#cancelFile) {
      throw new BackendError(
        "unsupported",
        "the driver of the TPM has no 'cancel' file: the command cannot be canceled",
      );
    }
    this.#canceled = true;
    this.#canceling ??= this.#cancelFile
      .write("-")
      .catch(() => {})
      .finally(() => {
        this.#canceling = undefined;
      });
  }

  /** Always false: only the platform's chipset can tell. */
  getEstablished(): boolean {
    return false;
  }

  /** Does nothing, as the flag is never set. */
  resetEstablished(locality: number): void {
    if (locality < 3) throw new BackendError("locality", "TPM_ESTABLISHED can be reset at localities 3 and 4 only");
  }

  hashStart(): void {
    throw hashUnsupported();
  }

  hashData(): void {
    throw hashUnsupported();
  }

  hashEnd(): void {
    throw hashUnsupported();
  }

  /** The TPM's own buffer size, which is the only one; what else is wanted shows at `powerOn`. */
  async bufferSize(wanted = 0): Promise<BufferSizes> {
    this.#checkOpen();
    if (wanted !== 0) {
      if (this.#running) throw new BackendError("state", "the buffer size changes only while the TPM is stopped");
      this.#wantedBufferSize = wanted;
    }
    const size = await this.#learnBufferSize();
    return { current: size, min: size, max: size };
  }

  getState(): Uint8Array {
    throw stateUnsupported();
  }

  setState(): void {
    throw stateUnsupported();
  }

  storeVolatile(): void {
    throw stateUnsupported();
  }

  /** There is no stored state to lock. */
  lockStorage(): void {}
  unlockStorage(): void {}

  info(flags: number): string {
    const SPECIFICATION = 1;
    return JSON.stringify(flags & SPECIFICATION ? { TPMSpecification: { family: this.family } } : {});
  }

  /** Stops, and lets others open the device. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.powerOff();
    await this.#canceling;
    await this.#cancelFile?.close();
    await this.#device.close();
  }

  async #transmit(command: Uint8Array): Promise<Uint8Array> {
    this.#canceled = false;
    this.#executing = true;
    try {
      await this.#device.write(command);
    } catch (error) {
      const code = codeOf(error);
      if (code === "ECANCELED" && this.#canceled) return this.#answer(TPM_RC_CANCELED, TPM12_FAIL);
      if (code === "E2BIG") return this.#sizeError();
      throw error;
    } finally {
      this.#executing = false;
    }
    return this.#device.read();
  }

  /** One command at a time. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#underWay) throw new BackendError("state", "the TPM is executing a command already");
    const result = work().finally(() => {
      this.#underWay = undefined;
    });
    this.#underWay = result;
    return result;
  }

  async #learnBufferSize(): Promise<number> {
    if (this.#bufferSize === undefined && !this.#underWay) {
      // A device that fails here will say so to the first command.
      const size = this.#exclusively(() => askBufferSize(this.#device, this.family));
      this.#bufferSize = await size.catch(() => undefined);
    }
    return this.#bufferSize ?? KERNEL_BUFFER_SIZE;
  }

  /** What a TPM says to a size field that is wrong; the kernel does not hand such commands on. */
  #sizeError(): Uint8Array {
    return this.#answer(P.TPM_RC_COMMAND_SIZE, P.TPM12_BAD_PARAM_SIZE);
  }

  #answer(code: number, code12: number): Uint8Array {
    return this.family === "2.0" ? P.header(P.TPM_ST_NO_SESSIONS, code) : P.header(P.TPM12_TAG_RSP_COMMAND, code12);
  }

  #checkOpen(): void {
    if (this.#closed) throw new BackendError("state", "the TPM device was closed");
  }
}

function hashUnsupported(): BackendError {
  return new BackendError("unsupported", "the signals of a dynamic launch are the chipset's, not a program's");
}

function stateUnsupported(): BackendError {
  return new BackendError("unsupported", MIGRATION_BLOCKER);
}
