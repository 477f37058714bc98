// tpm2-tools as a client of one emulator.
import type { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach } from "vitest";
import { type Emulator, type EmulatorOptions, startEmulator } from "./emulator.ts";
import { type Exit, run } from "./process.ts";

/** tpm2-tools with a folder for their files. */
export interface Tools {
  readonly emulator: Emulator;
  /** Runs a tool ("getrandom") that must succeed and returns what it printed to standard output. */
  (name: string, ...args: string[]): Promise<string>;
  /** The same with a tool that loads objects, which are flushed then: without a resource manager there is room for three. */
  flushing(name: string, ...args: string[]): Promise<string>;
  /** Runs a tool that must fail and returns its error output. */
  fails(name: string, ...args: string[]): Promise<string>;
  /** A file in the folder where the tools run. */
  read(name: string): Buffer;
  write(name: string, content: Uint8Array | string): void;
}

function toolsFor(emulator: Emulator): Tools {
  const cwd = path.join(path.dirname(emulator.dataSocket), "files");
  mkdirSync(cwd, { recursive: true });
  const tool = (name: string, args: string[]): Promise<Exit> =>
    run(`tpm2_${name}`, args, { cwd, env: { TPM2TOOLS_TCTI: emulator.tcti, TSS2_LOG: "all+error" } });
  const say = (name: string, args: string[], { status, stdout, stderr }: Exit) =>
    `'tpm2_${[name, ...args].join(" ")}' ended with status ${status}:\n${stdout}${stderr}`;

  const succeed = async (name: string, ...args: string[]): Promise<string> => {
    const exit = await tool(name, args);
    if (exit.status !== 0) throw new Error(say(name, args, exit));
    return exit.stdout;
  };
  return Object.assign(succeed, {
    emulator,
    flushing: async (name: string, ...args: string[]): Promise<string> => {
      const printed = await succeed(name, ...args);
      await succeed("flushcontext", "-t");
      return printed;
    },
    fails: async (name: string, ...args: string[]): Promise<string> => {
      const exit = await tool(name, args);
      if (exit.status === 0 || exit.status === null) throw new Error(say(name, args, exit));
      return exit.stderr;
    },
    read: (name: string) => readFileSync(path.join(cwd, name)),
    write: (name: string, content: Uint8Array | string) => writeFileSync(path.join(cwd, name), content),
  });
}

/** Gives each test of a file a TPM of its own and the tools to use it: `tools()` inside a test. */
export function useTools(options: EmulatorOptions = {}): () => Tools {
  let tools: Tools | undefined;
  beforeEach(async () => {
    tools = toolsFor(await startEmulator(options));
  });
  afterEach(async () => {
    await tools?.emulator.dispose();
    tools = undefined;
  });
  return () => tools!;
}

/** The hash algorithms of the PCR banks, as tpm2-tools and node name them, with the size of their digests in bytes. */
export const BANKS = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 } as const;
export type Bank = keyof typeof BANKS;
export const bankNames = Object.keys(BANKS) as Bank[];

export function hash(algorithm: string, ...parts: (Uint8Array | string)[]): Buffer {
  const state = createHash(algorithm);
  for (const part of parts) state.update(part);
  return state.digest();
}

/** What tpm2_pcrread prints, as bank -> PCR number -> digest in lower-case hexadecimal. */
export function parsePcrs(text: string): Map<string, Map<number, string>> {
  const banks = new Map<string, Map<number, string>>();
  let bank: Map<number, string> | undefined;
  for (const line of text.split("\n")) {
    const name = /^\s+(\w+):\s*$/.exec(line)?.[1];
    const value = /^\s+(\d+)\s*: 0x([0-9A-F]+)\s*$/.exec(line);
    if (name) {
      bank = new Map();
      banks.set(name, bank);
    } else if (value) {
      bank?.set(Number(value[1]), value[2]!.toLowerCase());
    }
  }
  return banks;
}

/** The value of a line "name: value" of a tool's output. @throws Error when there is none */
export function field(text: string, name: string): string {
  const value = new RegExp(`^\\s*${name}:\\s*(.*?)\\s*$`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`no '${name}' in:\n${text}`);
  return value;
}
