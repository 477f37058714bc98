// The emulator under test, as a process with swtpm's command line.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type Exit, PATIENCE_MS, type Program, start, until } from "./process.ts";

export const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** What `npm run build` makes of src/cli. */
export const wtpmCommand: readonly string[] = [process.execPath, path.join(repository, "dist/bin/wtpm.js")];

/** Developers may aim the tests at the peer (WTPM_TEST_EMULATOR=swtpm), to see whether a test itself is right. */
const emulatorCommand = process.env.WTPM_TEST_EMULATOR === "swtpm" ? ["swtpm"] : wtpmCommand;

export interface EmulatorOptions {
  /** The state folder; by default one that goes when the emulator is disposed of. */
  readonly stateDir?: string;
  /** Listens for commands with --server. Without it commands come through CMD_SET_DATAFD (default true). */
  readonly server?: boolean;
  /** The value of --flags; an empty string for none. */
  readonly flags?: string;
  /** Further words of the command line. */
  readonly args?: readonly string[];
}

/** A running emulator. */
export interface Emulator {
  readonly process: Program;
  readonly stateDir: string;
  readonly dataSocket: string;
  readonly controlSocket: string;
  /** The value of TPM2TOOLS_TCTI with which tpm2-tools reach it. */
  readonly tcti: string;
  /** Milliseconds from the launch until both sockets listened. */
  readonly startupMs: number;
  /** Asks it to end (SIGTERM) and waits until it did. */
  terminate(): Promise<Exit>;
  /** Kills whatever is left of it and removes its folder. */
  dispose(): Promise<void>;
}

/** A short folder name: socket paths have at most 107 bytes. */
export function temporaryFolder(): string {
  const base = tmpdir().length > 60 ? "/tmp" : tmpdir();
  return mkdtempSync(path.join(base, "wtpm-"));
}

/** The paths of UNIX sockets that listen. */
export function listeningSockets(): Set<string> {
  const SO_ACCEPTCON = 0x10000;
  const lines = readFileSync("/proc/net/unix", "utf8").split("\n").slice(1);
  const fields = lines.map((line) => line.trim().split(/\s+/));
  return new Set(fields.filter((f) => f.length > 7 && parseInt(f[3]!, 16) & SO_ACCEPTCON).map((f) => f[7]!));
}

/** The emulator's command line up to and without its options. @throws Error when it has not been built */
export function emulatorWords(): readonly string[] {
  const file = emulatorCommand.at(-1)!;
  if (path.isAbsolute(file) && !existsSync(file)) throw new Error(`${file} is missing: run 'npm run build'`);
  return emulatorCommand;
}

/** Launches the emulator with the given options after `socket`, whatever comes of it. */
export function launchEmulator(options: readonly string[], cwd?: string): Program {
  const [program, ...words] = emulatorWords();
  return start(program!, [...words, "socket", ...options], cwd ? { cwd } : {});
}

/** Starts a TPM 2.0 and waits until it listens. @throws Error, with what it printed, when it does not */
export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const folder = temporaryFolder();
  const stateDir = options.stateDir ?? path.join(folder, "state");
  mkdirSync(stateDir, { recursive: true });
  const dataSocket = path.join(folder, "tpm");
  const controlSocket = `${dataSocket}.ctrl`; // Where tpm2-tss looks for it.
  const server = options.server ?? true;
  const flags = options.flags ?? "not-need-init,startup-clear";
  const wanted = server ? [dataSocket, controlSocket] : [controlSocket];

  const launched = performance.now();
  const process = launchEmulator([
    "--tpm2",
    ...["--tpmstate", `dir=${stateDir}`],
    ...["--ctrl", `type=unixio,path=${controlSocket}`],
    ...(server ? ["--server", `type=unixio,path=${dataSocket}`] : []),
    ...(flags ? ["--flags", flags] : []),
    ...(options.args ?? []),
  ]);
  const dispose = async () => {
    await process.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await until(`the emulator to listen on ${wanted.join(" and ")}`, () => {
      const sockets = listeningSockets();
      return wanted.every((name) => sockets.has(name)) || process.hasExited();
    });
    if (process.hasExited()) {
      const { status, stdout, stderr } = await process.exited;
      throw new Error(`the emulator ended with status ${status} instead of listening:\n${stdout}${stderr}`);
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    process,
    stateDir,
    dataSocket,
    controlSocket,
    tcti: `swtpm:path=${dataSocket}`,
    startupMs: performance.now() - launched,
    terminate: () => {
      process.signal("SIGTERM");
      return process.ended(PATIENCE_MS);
    },
    dispose,
  };
}
