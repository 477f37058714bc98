// A TPM behind Linux' character device: what QEMU's passthrough asks it before it serves a guest.
import { type DeviceFile, openDeviceFile, openSwitchFile, type SwitchFile } from "../platform/device-file.ts";
import * as P from "../server/protocol.ts";
import { BackendError, type TpmFamily } from "./backend.ts";

/** The kernel's buffer for a command or a response. */
export const KERNEL_BUFFER_SIZE = 4096;
/** How long a device may take to have an answer for a probe after it took the command, as in QEMU. */
const PROBE_MS = 1000;
const TPM_CC_READ_CLOCK = 0x181;
const TPM_CC_GET_CAPABILITY = 0x17a;
const TPM_ORD_GET_TICKS = 0xf1;
const TPM_ORD_GET_CAPABILITY = 0x65;

/** What is wrong when a device cannot be opened, by the system's error code. */
const OPEN_ERRORS: Readonly<Record<string, string>> = {
  EBUSY: "another program has it open",
  EACCES: "you are not allowed to open it",
  EPERM: "you are not allowed to open it",
  ENOENT: "there is no such device",
  ENODEV: "there is no such device",
  ENXIO: "there is no such device",
  ENOTSUP: "it is not a character device",
};

/** What is wrong when a device does not carry a command. */
const TRANSMIT_ERRORS: Readonly<Record<string, string>> = {
  ETIME: "it did not answer in time",
  EPIPE: "it was taken away",
};
/** libuv has no name for it. */
const ERRNO_ETIME = -62;

/** Opens a device with `open`, by default as a file. @throws BackendError "io" that says why not */
export async function openTpmDevice(
  path: string,
  open: (path: string) => Promise<DeviceFile> = openDeviceFile,
): Promise<TpmDevice> {
  try {
    return new TpmDevice(path, await open(path));
  } catch (cause) {
    throw new BackendError("io", `the TPM device '${path}' cannot be opened: ${textOf(cause, OPEN_ERRORS)}`, { cause });
  }
}

/** Commands and responses as the kernel's driver takes and gives them: each in one piece. */
export class TpmDevice {
  readonly path: string;
  readonly #file: DeviceFile;

  constructor(path: string, file: DeviceFile) {
    this.path = path;
    this.#file = file;
  }

  /** Gives the device a command; the driver returns when the TPM has answered. @throws BackendError "io" */
  async write(command: Uint8Array): Promise<void> {
    const taken = await this.#file.write(command).catch((cause) => {
      throw new BackendError("io", `the TPM device '${this.path}' failed: ${textOf(cause, TRANSMIT_ERRORS)}`, {
        cause,
      });
    });
    if (taken !== command.length) {
      throw new BackendError("io", `the TPM device '${this.path}' took ${taken} of ${command.length} bytes`);
    }
  }

  /** Its response. @throws BackendError "io" when that is none */
  async read(): Promise<Uint8Array> {
    const buffer = new Uint8Array(KERNEL_BUFFER_SIZE);
    const size = await this.#file.read(buffer).catch((cause) => {
      throw new BackendError("io", `the TPM device '${this.path}' failed: ${textOf(cause, TRANSMIT_ERRORS)}`, {
        cause,
      });
    });
    if (size < P.HEADER_SIZE || P.readU32(buffer, 2) !== size) {
      throw new BackendError("io", `the TPM device '${this.path}' gave ${size} bytes that are no response`);
    }
    return buffer.slice(0, size);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/**
 * The family, by the tag of answers (errors will do): a TPM 2.0 answers its own kind of command in kind, a TPM 1.2
 * answers everything with its own tag.
 */
export async function probe(device: TpmDevice): Promise<TpmFamily> {
  const probes = [
    ["2.0", P.header(P.TPM_ST_NO_SESSIONS, TPM_CC_READ_CLOCK), P.TPM_ST_NO_SESSIONS],
    ["1.2", P.header(P.TPM12_TAG_RQU_COMMAND, TPM_ORD_GET_TICKS), P.TPM12_TAG_RSP_COMMAND],
  ] as const;
  let cause: unknown;
  for (const [family, command, tag] of probes) {
    try {
      await device.write(command);
      const response = await within(PROBE_MS, device.read());
      if (P.readU16(response, 0) === tag) return family;
    } catch (error) {
      cause = error;
    }
  }
  throw new BackendError("io", `'${device.path}' is not a TPM device`, { cause });
}

/** The larger of a TPM's command and response sizes in bytes, or undefined when it does not tell (before TPM2_Startup). */
export async function askBufferSize(device: TpmDevice, family: TpmFamily): Promise<number | undefined> {
  const CAP_TPM_PROPERTIES = 6;
  const PT_MAX_COMMAND_SIZE = 0x11e;
  const TPM12_CAP_PROPERTY = 5;
  const TPM12_CAP_PROP_INPUT_BUFFER = 0x124;
  if (family === "2.0") {
    const request = P.header(P.TPM_ST_NO_SESSIONS, TPM_CC_GET_CAPABILITY);
    const response = await ask(device, withWords(request, CAP_TPM_PROPERTIES, PT_MAX_COMMAND_SIZE, 2));
    // moreData, capability, count, then a property and its value, twice.
    const size = 35;
    if (response.length !== size || P.readU32(response, 15) !== 2) return undefined;
    return Math.max(P.readU32(response, 23), P.readU32(response, 31));
  }
  const request = P.header(P.TPM12_TAG_RQU_COMMAND, TPM_ORD_GET_CAPABILITY);
  const response = await ask(device, withWords(request, TPM12_CAP_PROPERTY, 4, TPM12_CAP_PROP_INPUT_BUFFER));
  const size = 18;
  if (response.length !== size || P.readU32(response, 10) !== 4) return undefined;
  return P.readU32(response, 14);
}

async function ask(device: TpmDevice, command: Uint8Array): Promise<Uint8Array> {
  await device.write(command);
  return device.read();
}

/** A command with 32-bit parameters behind its header. */
function withWords(header: Uint8Array, ...parameters: number[]): Uint8Array {
  const body = P.words(...parameters);
  const command = new Uint8Array(header.length + body.length);
  command.set(header);
  command.set(body, header.length);
  new DataView(command.buffer).setUint32(2, command.length);
  return command;
}

/** The driver's file for canceling: in the TPM class, before Linux 4.0 in that of miscellaneous devices. */
export async function openCancelFile(path: string, given: string | false | undefined): Promise<SwitchFile | undefined> {
  if (given === false) return undefined;
  if (given !== undefined) {
    try {
      return await openSwitchFile(given);
    } catch (cause) {
      throw new BackendError("io", `the cancel file '${given}' cannot be opened: ${textOf(cause)}`, { cause });
    }
  }
  const name = path.slice(path.lastIndexOf("/") + 1);
  for (const folder of ["tpm", "misc"]) {
    try {
      return await openSwitchFile(`/sys/class/${folder}/${name}/device/cancel`);
    } catch {
      // The next, or none: most TPMs have no such file.
    }
  }
  return undefined;
}

async function within<T>(limit: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new BackendError("io", `no answer in ${limit} ms`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The system's error code, also of what wraps it. */
export function codeOf(error: unknown): string | undefined {
  const { code, errno, cause } = error as { code?: string; errno?: number; cause?: unknown };
  if (errno === ERRNO_ETIME) return "ETIME";
  return code ?? (cause === undefined ? undefined : codeOf(cause));
}

function textOf(error: unknown, known: Readonly<Record<string, string>> = {}): string {
  return known[codeOf(error) ?? ""] ?? (error instanceof Error ? error.message : String(error));
}
