// Random sequences for the engine and Debian's swtpm at once; the shortest sequence for each difference.
import { CommandSource } from "./engine-commands.ts";
import { type Difference, describeDifference, Pair } from "./engine-lock-step.ts";
import type { Step } from "./engine-steps.ts";
import { EngineTpm, listedCommands } from "./engine-tpm.ts";
import { knownDifference, stillTogether } from "./differential-known.ts";
import { FastRandom } from "./fuzz-random.ts";
import { shrink } from "./fuzz-shrink.ts";
import { recorded } from "./recorded.ts";

const LENGTH = 400;
/** Whoever says so may be in failure mode: nothing more is to be learned. */
const TPM_RC_FAILURE = 0x101;
const corpus = recorded("corpus-commands.tsv").map(([, command]) => command!);
const SHRINKING = { attempts: 300, milliseconds: 20_000 };

/** A sequence on which the two TPMs differ, as short as it became. */
export interface DifferentialSequence {
  readonly format: "wtpm-differential-1";
  readonly seed: string;
  readonly steps: readonly Step[];
  /** What differs, for people. */
  readonly difference: string;
}

export interface DifferentialCounts {
  sequences: number;
  /** Commands on which the two agreed, and how many of these succeeded. */
  commands: number;
  succeeded: number;
  /** Known differences. */
  known: number;
  /** Sequences that ended at a difference that does not happen again: the clocks of two TPMs do not tick at once. */
  unstable: number;
}

export interface DifferentialRun {
  readonly seed: string;
  /** Until when, in milliseconds since 1970. */
  readonly end: number;
  /** How many sequences at most; without limit when left out. */
  readonly sequences?: number;
  /** How many differences are enough. */
  readonly enough: number;
  readonly found?: (sequence: DifferentialSequence) => void;
  readonly progress?: (counts: DifferentialCounts) => void;
}

/** Runs sequences of a seed until it is time or there are enough differences. Fails if swtpm is not installed. */
export async function differential(run: DifferentialRun) {
  const counts: DifferentialCounts = { sequences: 0, commands: 0, succeeded: 0, known: 0, unstable: 0 };
  const differences: DifferentialSequence[] = [];
  const listed = await listedCommands(new EngineTpm().client);
  const pair = await Pair.start();
  try {
    const { sequences = Number.POSITIVE_INFINITY } = run;
    while (Date.now() < run.end && counts.sequences < sequences && differences.length < run.enough) {
      const seed = `${run.seed} ${counts.sequences++}`;
      const found = await oneSequence(pair, seed, listed, run.end, counts);
      if (found) {
        differences.push(found);
        run.found?.(found);
      }
      run.progress?.(counts);
    }
  } finally {
    await pair[Symbol.asyncDispose]();
  }
  return { counts, differences };
}

/** Runs the sequence of a seed. @returns the first difference that is not known */
async function oneSequence(
  pair: Pair,
  seed: string,
  listed: ReadonlySet<number>,
  end: number,
  counts: DifferentialCounts,
): Promise<DifferentialSequence | undefined> {
  const source = new CommandSource(new FastRandom(seed), { listed, careful: true, corpus });
  const steps: Step[] = [];
  await pair.begin(seed);
  while (steps.length < LENGTH && Date.now() < end) {
    const step = source.next();
    steps.push(step);
    const result = await pair.step(step);
    if (typeof result !== "number" && !knownDifference(result, steps)) {
      if (await happensAgain(pair, { seed, steps }, result)) return shortest(pair, seed, steps, result);
      counts.unstable++;
      return undefined;
    }
    if (typeof result !== "number") {
      counts.known++;
      if (!stillTogether(result)) return undefined;
    }
    const code = typeof result === "number" ? result : result.codes[0];
    if (code === TPM_RC_FAILURE) return undefined;
    source.answered(step, code);
    if (step.kind !== "command" && step.kind !== "raw") continue;
    counts.commands++;
    if (code === 0) counts.succeeded++;
  }
  return undefined;
}

/** Runs a sequence from the start. @returns the first difference that is not known */
export async function replayDifferential(
  pair: Pair,
  { seed, steps }: Pick<DifferentialSequence, "seed" | "steps">,
  told?: (step: Step, code: number) => void,
): Promise<Difference | undefined> {
  await pair.begin(seed);
  for (const step of steps) {
    const result = await pair.step(step);
    if (typeof result !== "number") {
      if (!knownDifference(result, steps)) return result;
      if (!stillTogether(result)) return undefined;
    } else if (result === TPM_RC_FAILURE) return undefined;
    else told?.(step, result);
  }
  return undefined;
}

async function happensAgain(
  pair: Pair,
  sequence: Pick<DifferentialSequence, "seed" | "steps">,
  { name, codes }: Difference,
): Promise<boolean> {
  const found = await replayDifferential(pair, sequence);
  return found !== undefined && found.name === name && found.codes[0] === codes[0] && found.codes[1] === codes[1];
}

async function shortest(pair: Pair, seed: string, steps: readonly Step[], found: Difference) {
  const fails = (candidate: readonly Step[]) => happensAgain(pair, { seed, steps: candidate }, found);
  const short = await shrink(steps, fails, SHRINKING);
  const difference = await replayDifferential(pair, { seed, steps: short });
  return {
    format: "wtpm-differential-1",
    seed,
    steps: short,
    difference: difference ? describeDifference(difference) : "it does not happen again",
  } as const;
}
