// The log of `wtpm socket`: lines with a prefix, to standard error, a file or a descriptor.
import fs from "node:fs";
import type { Log } from "../server/log.ts";
import { OptionError } from "./option-list.ts";
import type { LogOptions } from "./socket-options.ts";

const STDERR = 2;

/** Writes each line at once; what cannot be written is lost, because nobody is left to tell. */
export class LineLog implements Log {
  readonly level: number;
  readonly #fd: number | undefined;
  readonly #prefix: string;

  /** @param fd undefined for silence. */
  constructor(fd: number | undefined, level: number, prefix: string) {
    this.#fd = fd;
    this.level = fd === undefined ? 0 : level;
    this.#prefix = prefix;
  }

  line(text: string): void {
    if (this.#fd === undefined) return;
    try {
      fs.writeSync(this.#fd, `${this.#prefix}${text}\n`);
    } catch {
      // The reader of a pipe is gone, or the disk is full.
    }
  }
}

/** What is logged until --log was understood. */
export function consoleLog(program: string): LineLog {
  return new LineLog(STDERR, 1, `${program}: `);
}

/**
 * Opens what --log names.
 *
 * @throws OptionError
 */
export function openLog(options: LogOptions): LineLog {
  const { file, fd, level, prefix, truncate } = options;
  if (file === "-") return new LineLog(undefined, 0, "");
  if (file !== undefined) {
    const { O_WRONLY, O_CREAT, O_APPEND, O_TRUNC, O_NOFOLLOW = 0 } = fs.constants;
    try {
      const opened = fs.openSync(file, O_WRONLY | O_CREAT | O_NOFOLLOW | (truncate ? O_TRUNC : O_APPEND), 0o600);
      return new LineLog(opened, level, prefix);
    } catch (error) {
      throw new OptionError(`Could not open logfile for writing: ${(error as Error).message}`);
    }
  }
  if (fd !== undefined) {
    try {
      fs.fstatSync(fd);
    } catch (error) {
      throw new OptionError(`Could not access logfile using fd ${fd}: ${(error as Error).message}`);
    }
    return new LineLog(fd, level, prefix);
  }
  return new LineLog(STDERR, level, prefix);
}
