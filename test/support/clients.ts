// Programs that use a TPM through tpm2-tss: each test has a folder, a TPM of its own and a way to it.
import type { Buffer } from "node:buffer";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach } from "vitest";
import { type ReachableTpm, reachableTpm, type Way } from "./clients-ways.ts";
import { temporaryFolder } from "./emulator.ts";
import { type Exit, type Program, run, start } from "./process.ts";

/** Runs programs in a folder where their environment leads them to a TPM. */
export interface Client {
  /** The TCTI of tpm2-tss that leads to the TPM. */
  readonly tcti: string;
  readonly folder: string;
  /** Runs a program that must succeed and returns what it printed to standard output. */
  (program: string, ...args: string[]): Promise<string>;
  /** The same, with something to read from standard input. */
  feed(input: Uint8Array | string, program: string, ...args: string[]): Promise<string>;
  /** Runs a program that must fail and returns all that it printed. */
  fails(program: string, ...args: string[]): Promise<string>;
  /** The same, with something to read from standard input. */
  failsFed(input: Uint8Array | string, program: string, ...args: string[]): Promise<string>;
  /** Starts a program that goes on until it is killed, at the latest when the test ends. */
  start(program: string, ...args: string[]): Program;
  /** Ends the TPM in good order and starts it again with the state that it stored. */
  restart(): Promise<void>;
  /** A file in the folder. */
  read(name: string): Buffer;
  write(name: string, content: Uint8Array | string): void;
}

/** Gives each test of a file or group a TPM of its own that programs reach this way: `client()` inside a test. */
export function useClient(way: Way): () => Client {
  let client: Client | undefined;
  let cleanUp: (() => Promise<void>) | undefined;
  beforeEach(async () => {
    const folder = temporaryFolder();
    const tpm = reachableTpm(way, folder);
    const programs: Program[] = [];
    cleanUp = async () => {
      for (const program of programs) await program.kill();
      await tpm.stop();
      rmSync(folder, { recursive: true, force: true });
    };
    client = clientAt(path.join(folder, "files"), tpm, programs);
    await tpm.start();
  });
  afterEach(async () => {
    await cleanUp?.();
    cleanUp = client = undefined;
  });
  return () => client!;
}

/** @param programs takes those that are left running. */
function clientAt(folder: string, tpm: ReachableTpm, programs: Program[]): Client {
  mkdirSync(folder);
  const options = { cwd: folder, env: { ...environment(folder, tpm.tcti), ...tpm.env } };
  const execute = (program: string, args: string[], input?: Uint8Array | string): Promise<Exit> =>
    run(program, args, { ...options, ...(input === undefined ? {} : { input }) });

  const succeed = async (program: string, args: string[], input?: Uint8Array | string): Promise<string> => {
    const exit = await execute(program, args, input);
    if (exit.status !== 0) throw new Error(describe(program, args, exit));
    return exit.stdout;
  };
  const fail = async (program: string, args: string[], input?: Uint8Array | string): Promise<string> => {
    const exit = await execute(program, args, input);
    if (exit.status === 0 || exit.status === null) throw new Error(describe(program, args, exit));
    return exit.stdout + exit.stderr;
  };
  return Object.assign((program: string, ...args: string[]) => succeed(program, args), {
    tcti: tpm.tcti,
    folder,
    feed: (input: Uint8Array | string, program: string, ...args: string[]) => succeed(program, args, input),
    fails: (program: string, ...args: string[]) => fail(program, args),
    failsFed: (input: Uint8Array | string, program: string, ...args: string[]) => fail(program, args, input),
    start: (program: string, ...args: string[]) => {
      const started = start(program, args, options);
      programs.push(started);
      return started;
    },
    restart: async () => {
      await tpm.stop();
      await tpm.start();
    },
    read: (name: string) => readFileSync(path.join(folder, name)),
    write: (name: string, content: Uint8Array | string) => writeFileSync(path.join(folder, name), content),
  });
}

/** Each client has its own variable for the way to the TPM. */
function environment(folder: string, tcti: string): Record<string, string> {
  return {
    TPM2TOOLS_TCTI: tcti,
    TPM2OPENSSL_TCTI: tcti,
    TPM2_PKCS11_TCTI: tcti,
    TPM2_PKCS11_STORE: folder,
    SYSTEMD_TPM2_DEVICE: tcti,
    TSS2_FAPICONF: path.join(folder, "fapi-config.json"),
    TSS2_LOG: "all+error",
    LC_ALL: "C",
    HOME: folder,
    TMPDIR: folder,
  };
}

function describe(program: string, args: readonly string[], { status, stdout, stderr }: Exit): string {
  return `'${[program, ...args].join(" ")}' ended with status ${status}:\n${stdout}${stderr}`;
}
