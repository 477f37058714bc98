// Runs random sequences on the engine until so many commands were answered, and makes the first that fails shorter.
import { TpmClient } from "../../src/codec/client.ts";
import { describeResponseCode } from "../../src/codec/index.ts";
import { CommandSource } from "./engine-commands.ts";
import type { Step } from "./engine-steps.ts";
import { listedCommands } from "./engine-tpm.ts";
import { FuzzFailure, type FuzzOptions, FuzzTpm } from "./fuzz-engine.ts";
import { FastRandom } from "./fuzz-random.ts";
import { shrink } from "./fuzz-shrink.ts";
import { recorded } from "./recorded.ts";

/** Profiles in turn; the null profile is the empty text. */
export const FUZZ_PROFILES = [
  "",
  '{"Name":"default-v2"}',
  '{"Name":"default-v1"}',
  '{"Name":"custom:fuzz","Attributes":"no-unpadded-encryption,no-sha1-signing,drbg-continous-test"}',
  '{"Name":"custom:few","StateFormatLevel":4,"Commands":"0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x159,0x15b-0x15e,0x160-0x165,0x167-0x174,0x176-0x178,0x17a-0x18a"}',
] as const;
const LENGTH = 400;
const STATE_EVERY = 50;

export interface FuzzRun {
  readonly seed: string;
  readonly commands: number;
  /** Which sequences of the seed: from `first` in steps of `every`. */
  readonly first: number;
  readonly every: number;
  /** How many failures are enough; 1 when left out. */
  readonly enough?: number;
  /** Is told the counts now and then. */
  readonly progress?: (counts: FuzzCounts) => void;
}

export interface FuzzCounts {
  commands: number;
  succeeded: number;
  sequences: number;
  states: number;
  failures: number;
  slowest: number;
}

/** A sequence that fails, as short as it became, and how. It can be replayed: see replayFuzz. */
export interface FuzzReproduction {
  readonly format: "wtpm-fuzz-1";
  readonly kind: string;
  readonly message: string;
  readonly options: FuzzOptions;
  readonly steps: readonly Step[];
}

export interface FuzzOutcome {
  readonly counts: FuzzCounts;
  readonly failures: readonly FuzzReproduction[];
}

/** Codes of the commands that a TPM with this profile lists. */
async function commandsOf(profile: string): Promise<ReadonlySet<number>> {
  const tpm = new FuzzTpm({ seed: "list", profile, stateEvery: 1 << 30 });
  const send = (command: Uint8Array) => {
    const size = tpm.engine.execute(command, 0);
    return tpm.engine.response(size);
  };
  send(Uint8Array.from([0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]));
  return listedCommands(new TpmClient(send));
}

/** Random commands for a TPM with one of the profiles. */
export async function fuzzSource(seed: string, profile: number): Promise<CommandSource> {
  const listed = listedOf[profile] ?? (await commandsOf(FUZZ_PROFILES[profile]!));
  listedOf[profile] = listed;
  return new CommandSource(new FastRandom(seed), { listed, careful: false, corpus });
}

const corpus = recorded("corpus-commands.tsv").map(([, command]) => command!);
const listedOf: ReadonlySet<number>[] = [];

/** Runs sequences until `commands` commands were answered or enough have failed. */
export async function fuzzEngine(run: FuzzRun): Promise<FuzzOutcome> {
  const counts: FuzzCounts = { commands: 0, succeeded: 0, sequences: 0, states: 0, failures: 0, slowest: 0 };
  const failures: FuzzReproduction[] = [];
  for (let n = run.first; counts.commands < run.commands && failures.length < (run.enough ?? 1); n += run.every) {
    const at = n % FUZZ_PROFILES.length;
    const seed = `${run.seed} ${n}`;
    const options: FuzzOptions = { seed, profile: FUZZ_PROFILES[at]!, stateEvery: STATE_EVERY };
    const tpm = new FuzzTpm(options);
    const source = await fuzzSource(seed, at);
    const steps: Step[] = [];
    try {
      while (steps.length < LENGTH) {
        const step = source.next();
        steps.push(step);
        source.answered(step, tpm.step(step));
      }
    } catch (error) {
      if (!(error instanceof FuzzFailure)) throw error;
      counts.failures++;
      failures.push(await reproduction(options, steps, error));
    } finally {
      counts.commands += tpm.commands;
      counts.succeeded += tpm.succeeded;
      counts.states += tpm.states;
      counts.slowest = Math.max(counts.slowest, tpm.slowest);
      counts.sequences++;
    }
    run.progress?.(counts);
  }
  return { counts, failures };
}

/** How a sequence fails; undefined if it does not. */
function failureOf(options: FuzzOptions, steps: readonly Step[]): FuzzFailure | undefined {
  const tpm = new FuzzTpm(options);
  try {
    for (const step of steps) tpm.step(step);
    return undefined;
  } catch (error) {
    if (error instanceof FuzzFailure) return error;
    throw error;
  }
}

/** Shorter, with the state looked at after each step. */
async function reproduction(options: FuzzOptions, steps: readonly Step[], failure: FuzzFailure) {
  const often = { ...options, stateEvery: 1 };
  const { kind } = failure;
  const same = (candidate: readonly Step[], how: FuzzOptions) => failureOf(how, candidate)?.kind === kind;
  const used = same(steps, often) ? often : options;
  const shortest = await shrink(steps, (candidate) => same(candidate, used));
  const { message } = failureOf(used, shortest) ?? failure;
  return { format: "wtpm-fuzz-1", kind, message, options: used, steps: shortest } as const;
}

/** Runs a reproduction again and tells what happens. @returns whether it still fails */
export function replayFuzz({ options, steps }: FuzzReproduction, print: (line: string) => void): boolean {
  const tpm = new FuzzTpm(options);
  try {
    for (const step of steps) {
      const code = tpm.step(step);
      if (step.kind === "command") print(`${step.name} at locality ${step.locality}: ${describeResponseCode(code)}`);
      else if (step.kind === "raw") print(`${step.bytes}: ${describeResponseCode(code)}`);
      else print(step.kind);
    }
    print("it does not fail");
    return false;
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error;
    print(`${error.kind}: ${error.message}`);
    return true;
  }
}
