// Programs that tests start. Each leads a process group of its own, which ends with the test at the latest: when the test
// ends it, when the test process exits, and, by the kernel's hand (setpriv --pdeathsig), when the test process is killed.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync } from "node:fs";

/** How long to wait for what normally takes milliseconds: machines that run tests can be very slow. */
export const PATIENCE_MS = 60_000;

export interface StartOptions {
  readonly cwd?: string;
  /** Added to the environment of the test process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Written to standard input, which is then closed. */
  readonly input?: Uint8Array | string;
}

export interface Exit {
  /** The exit status, or null when a signal ended the program. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running program. */
export interface Program {
  readonly pid: number;
  /** Resolves when the program has ended and its output is complete. */
  readonly exited: Promise<Exit>;
  /** What it printed so far. */
  output(): { stdout: string; stderr: string };
  hasExited(): boolean;
  signal(name: NodeJS.Signals): void;
  /** Kills the whole process group and waits for the program's end. */
  kill(): Promise<Exit>;
  /** Waits for the program to end by itself. @throws Error after `limit` milliseconds, when it was killed */
  ended(limit?: number): Promise<Exit>;
}

const running = new Set<number>();

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody is left in it.
  }
}

process.on("exit", () => {
  for (const pid of running) killGroup(pid);
});

const SETPRIV = ["/usr/bin/setpriv", "/bin/setpriv"].find((file) => existsSync(file));

/** Starts a program. @throws Error when it cannot be started at all */
export function start(program: string, args: readonly string[], options: StartOptions = {}): Program {
  const words = SETPRIV ? [SETPRIV, "--pdeathsig", "KILL", "--", program, ...args] : [program, ...args];
  const child: ChildProcessWithoutNullStreams = spawn(words[0]!, words.slice(1), {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    detached: true,
    stdio: "pipe",
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`'${words[0]}' could not be started`);
  running.add(pid);

  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      printed[name] += text;
    });
  }
  child.stdin.on("error", () => {}); // The program need not read it.
  child.stdin.end(options.input);

  const exited = new Promise<Exit>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status, signal) => {
      running.delete(pid);
      killGroup(pid);
      resolve({ status, signal, ...printed });
    });
  });
  exited.catch(() => {});
  // A group member that outlives the leader would keep "close" from coming.
  child.once("exit", () => killGroup(pid));

  const hasExited = () => child.exitCode !== null || child.signalCode !== null;
  return {
    pid,
    exited,
    output: () => ({ ...printed }),
    hasExited,
    signal: (name) => void child.kill(name),
    kill: () => {
      if (running.has(pid)) killGroup(pid);
      return exited;
    },
    ended: async (limit = PATIENCE_MS) => {
      const exit = await within(limit, exited);
      if (exit !== TIMED_OUT) return exit;
      killGroup(pid);
      const { stdout, stderr } = await exited;
      throw new Error(`'${program} ${args.join(" ")}' did not end in ${limit} ms; it printed:\n${stdout}${stderr}`);
    },
  };
}

/** Runs a program to its end. A status other than 0 is a result like any other. */
export function run(
  program: string,
  args: readonly string[],
  options: StartOptions & { limit?: number } = {},
): Promise<Exit> {
  return start(program, args, options).ended(options.limit);
}

const TIMED_OUT = Symbol("timed out");

async function within<T>(limit: number, promise: Promise<T>): Promise<T | typeof TIMED_OUT> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof TIMED_OUT>((resolve) => {
    timer = setTimeout(resolve, limit, TIMED_OUT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits until `condition` gives something other than undefined or false, and returns that.
 *
 * @param what completes the sentence "waited … ms for"
 * @throws Error after `limit` milliseconds
 */
export async function until<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  limit = PATIENCE_MS,
): Promise<T> {
  const end = Date.now() + limit;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`waited ${limit} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
