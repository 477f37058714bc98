// --daemon: a copy of this program in the background. The first process ends when the copy serves, or fails as it does.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";

/** In the copy's environment: the descriptor on which it says that it serves. */
const READY_VARIABLE = "WTPM_DAEMON_READY_FD";
const FIRST_OWN_DESCRIPTOR = 3;

/** Whether this process is the copy. */
export function isDaemon(): boolean {
  return process.env[READY_VARIABLE] !== undefined;
}

/**
 * Starts the copy with the same command line, a session of its own, no standard input, and the descriptors the command line names.
 *
 * @param descriptors numbers of inherited descriptors, which are the same in the copy.
 * @returns the exit status: 0 once the copy serves; otherwise the copy's own, or 128 and the number of the signal that ended it.
 */
export function startDaemon(descriptors: readonly number[]): Promise<number> {
  const inherited = descriptors.filter(isOpen);
  const readyFd = Math.max(FIRST_OWN_DESCRIPTOR - 1, ...inherited) + 1;
  const stdio: (number | "ignore" | "pipe")[] = ["ignore", 1, 2];
  for (let fd = FIRST_OWN_DESCRIPTOR; fd < readyFd; fd++) stdio.push(inherited.includes(fd) ? fd : "ignore");
  stdio.push("pipe");
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio,
    env: { ...process.env, [READY_VARIABLE]: String(readyFd) },
  });
  return new Promise((resolve) => {
    child.stdio[readyFd]?.once("data", () => {
      child.unref();
      resolve(0);
    });
    child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? os.constants.signals[signal] : 0)));
    child.once("error", (error) => {
      process.stderr.write(`Failed to daemonize: ${error.message}\n`);
      resolve(1);
    });
  });
}

/** In the copy: lets the first process end, and lets go of its output. */
export function daemonReady(): void {
  const fd = Number(process.env[READY_VARIABLE]);
  delete process.env[READY_VARIABLE];
  // The numbers that become free are taken again at once, so that nothing that is opened later becomes the standard output.
  for (const stream of [1, 2]) {
    fs.closeSync(stream);
    fs.openSync("/dev/null", "r+");
  }
  fs.writeSync(fd, "\0");
  fs.closeSync(fd);
}

function isOpen(fd: number): boolean {
  try {
    fs.fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}
