// A character device as files are: opened once, written and read at no position, without holding up the event loop.
import fs from "node:fs";

/** A device that takes a request in one write and has its answer in one read. */
export interface DeviceFile {
  /** Writes all of it in one call and gives how many bytes the device took. */
  write(bytes: Uint8Array): Promise<number>;
  /** Reads once into the buffer and gives how many bytes came. */
  read(buffer: Uint8Array): Promise<number>;
  /** Resolves when calls under way are done and the device is free. */
  close(): Promise<void>;
}

/**
 * Opens a character device for reading and writing. Calls block a thread of Node's pool, of which there are four.
 *
 * @throws Error with the system's `code`; "ENOTSUP" when there is something else at that path, which is left alone.
 */
export async function openDeviceFile(path: string): Promise<DeviceFile> {
  const handle = await fs.promises.open(path, fs.constants.O_RDWR);
  if (!(await handle.stat()).isCharacterDevice()) {
    await handle.close();
    throw Object.assign(new Error(`${path} is not a character device`), { code: "ENOTSUP" });
  }
  return {
    write: async (bytes) => (await handle.write(bytes, 0, bytes.length, null)).bytesWritten,
    read: async (buffer) => {
      for (;;) {
        try {
          return (await handle.read(buffer, 0, buffer.length, null)).bytesRead;
        } catch (error) {
          // Of all calls libuv does not repeat a read that a signal interrupts.
          if ((error as NodeJS.ErrnoException).code !== "EINTR") throw error;
        }
      }
    },
    close: () => handle.close(),
  };
}

/** Opens a file of which only what is written to it matters, as those in sysfs. @throws Error with the system's `code`. */
export async function openSwitchFile(path: string): Promise<SwitchFile> {
  const handle = await fs.promises.open(path, fs.constants.O_WRONLY);
  return {
    write: async (text) => {
      await handle.write(text, null);
    },
    close: () => handle.close(),
  };
}

export interface SwitchFile {
  /** Resolves when the driver has done what that text means to it. */
  write(text: string): Promise<void>;
  close(): Promise<void>;
}
