// The file that says which process serves.
import fs from "node:fs";
import { OptionError } from "./option-list.ts";
import type { ServiceOptions } from "./socket-options.ts";

/**
 * Writes this process' id.
 *
 * @returns what removes the file again.
 * @throws OptionError
 */
export function writePidFile(options: NonNullable<ServiceOptions["pid"]>): () => void {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW = 0 } = fs.constants;
  const { file, fd } = options;
  if (fd !== undefined && !isRegularFile(fd)) throw new OptionError(`Bad filedescriptor ${fd} for pid file`);
  const path = file ?? pathOfDescriptor(fd!);
  try {
    const opened = fd ?? fs.openSync(file!, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644);
    fs.writeSync(opened, String(process.pid));
    fs.closeSync(opened);
  } catch (error) {
    throw new OptionError(`Could not open pidfile ${path ?? fd} : ${(error as Error).message}`);
  }
  return () => {
    if (path !== undefined) fs.rmSync(path, { force: true });
  };
}

function isRegularFile(fd: number): boolean {
  try {
    return fs.fstatSync(fd).isFile();
  } catch {
    return false;
  }
}

/** The name of an open file, where the system tells it. */
function pathOfDescriptor(fd: number): string | undefined {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}
