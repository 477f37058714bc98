// State blobs that were changed: the engine refuses them, or has a TPM that goes on elsewhere as it goes on here and answers commands.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { Engine, type EngineHost, EngineTrap, PENDING } from "../../src/engine/engine.ts";
import { engineModule } from "../../src/engine/module.ts";
import { expectResponse, expectSameState, FuzzFailure, FuzzTpm } from "./fuzz-engine.ts";
import { FastRandom } from "./fuzz-random.ts";
import { FUZZ_PROFILES, fuzzSource } from "./fuzz-run.ts";
import { shrink } from "./fuzz-shrink.ts";
import { bytesOf } from "./recorded.ts";

export interface BlobRun {
  readonly seed: string;
  readonly blobs: number;
  /** Which blobs of the seed: from `first` in steps of `every`. */
  readonly first: number;
  readonly every: number;
  /** How many failures are enough; 1 when left out. */
  readonly enough?: number;
  readonly progress?: (counts: BlobCounts) => void;
}

export interface BlobCounts {
  blobs: number;
  refused: number;
  loaded: number;
  failures: number;
  slowest: number;
}

type Kind = "permanent" | "volatile";
interface State {
  readonly permanent: Uint8Array;
  readonly volatile: Uint8Array;
}

/** A change to a blob, at a place counted modulo its size. */
interface BlobEdit {
  readonly kind: "flip" | "set" | "number" | "cut" | "insert" | "truncate" | "splice";
  readonly at: number;
  readonly length: number;
  /** Hexadecimal digits. */
  readonly bytes: string;
}

/** A blob that the engine does not take as it should, and the state it was made of. */
export interface BlobReproduction {
  readonly format: "wtpm-fuzz-blob-1";
  readonly kind: string;
  readonly message: string;
  readonly which: Kind;
  /** Hexadecimal digits. */
  readonly permanent: string;
  readonly volatile: string;
}

/** How many states the blobs are made of. */
const STATES = 80;
const STEPS = 120;
const SHA1_SIZE = 20;
const LIMIT_MS = 1000;

/** States of TPMs of all profiles, in the middle of whatever their users do. */
async function makeStates(seed: string): Promise<State[]> {
  const states: State[] = [];
  for (let n = 0; n < STATES; n++) {
    const at = n % FUZZ_PROFILES.length;
    const own = `${seed} state ${n}`;
    const tpm = new FuzzTpm({ seed: own, profile: FUZZ_PROFILES[at]!, stateEvery: 1 << 30 });
    const source = await fuzzSource(own, at);
    for (let i = 0; i < STEPS; i++) {
      const step = source.next();
      source.answered(step, tpm.step(step));
    }
    states.push(tpm.save());
  }
  return states;
}

/** What may stand where a size, a count or a version does. */
const NUMBERS = ["0000", "ffff", "0001", "7fff", "8000", "ffffffff", "00000000", "80000000", "0005", "0400", "0041"];

function randomEdit(random: FastRandom, blob: Uint8Array, donor: Uint8Array): BlobEdit {
  const kind = random.pick(["flip", "flip", "set", "number", "number", "cut", "insert", "truncate", "splice"] as const);
  const at = random.next();
  const length = 1 + random.below(random.below(4) === 0 ? 200 : 8);
  const from = random.below(donor.length);
  const digits = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  switch (kind) {
    case "number":
      return { kind, at, length: 0, bytes: random.pick(NUMBERS) };
    case "splice": {
      // From the same place of another state, or from anywhere.
      const place = random.below(2) ? at % blob.length : from;
      return { kind, at, length, bytes: digits(donor.subarray(place, place + length)) };
    }
    default:
      return { kind, at, length, bytes: digits(random.bytes(length)) };
  }
}

function applied(blob: Uint8Array, edits: readonly BlobEdit[]): Uint8Array {
  let bytes = Buffer.from(blob);
  for (const { kind, at, length, bytes: digits } of edits) {
    if (bytes.length === 0) break;
    const place = at % bytes.length;
    const put = Buffer.from(digits, "hex");
    const [before, after] = [bytes.subarray(0, place), (from: number) => bytes.subarray(place + from)];
    if (kind === "truncate") bytes = Buffer.from(before);
    else if (kind === "cut") bytes = Buffer.concat([before, after(length)]);
    else if (kind === "insert") bytes = Buffer.concat([before, put, after(0)]);
    else if (kind === "flip") bytes[place]! ^= 1 << (put[0]! & 7);
    else bytes = Buffer.concat([before, put, after(put.length)]);
  }
  return new Uint8Array(bytes);
}

/** A volatile state's body with the checksum over it. */
function summed(body: Uint8Array): Uint8Array {
  return Buffer.concat([body, createHash("sha1").update(body).digest()]);
}

function mutated(which: Kind, state: State, edits: readonly BlobEdit[]): State {
  if (which === "permanent") return { ...state, permanent: applied(state.permanent, edits) };
  // Mostly the checksum is right, or nothing behind it would be looked at.
  const wrong = edits[0] && edits[0].at % 16 === 0;
  if (wrong) return { ...state, volatile: applied(state.volatile, edits) };
  return { ...state, volatile: summed(applied(state.volatile.subarray(0, -SHA1_SIZE), edits)) };
}

/** Loads mutated blobs until there were so many or one was not taken as it should. */
export async function fuzzBlobs(run: BlobRun) {
  const counts: BlobCounts = { blobs: 0, refused: 0, loaded: 0, failures: 0, slowest: 0 };
  const states = await makeStates(run.seed);
  const failures: BlobReproduction[] = [];
  for (let n = run.first; counts.blobs < run.blobs && failures.length < (run.enough ?? 1); n += run.every) {
    const random = new FastRandom(`${run.seed} blob ${n}`);
    const which = random.pick(["permanent", "volatile"] as const);
    const [state, donor] = [random.pick(states), random.pick(states)];
    const count = 1 + random.below(3);
    const edits = Array.from({ length: count }, () => randomEdit(random, state[which], donor[which]));
    try {
      const took = performance.now();
      counts[load(which, mutated(which, state, edits)) ? "loaded" : "refused"]++;
      counts.slowest = Math.max(counts.slowest, performance.now() - took);
    } catch (error) {
      if (!(error instanceof FuzzFailure)) throw error;
      counts.failures++;
      failures.push(await reproduction(which, state, edits, error));
    }
    counts.blobs++;
    run.progress?.(counts);
  }
  return { counts, failures };
}

/** Fewer changes with which it fails in the same way. */
async function reproduction(
  which: Kind,
  state: State,
  edits: readonly BlobEdit[],
  { kind, message }: FuzzFailure,
): Promise<BlobReproduction> {
  const fails = (fewer: readonly BlobEdit[]) => failureOf(which, mutated(which, state, fewer))?.kind === kind;
  const blobs = mutated(which, state, await shrink(edits, fails));
  const digits = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const found = failureOf(which, blobs)?.message ?? message;
  const [permanent, volatile] = [digits(blobs.permanent), digits(blobs.volatile)];
  return { format: "wtpm-fuzz-blob-1", kind, message: found, which, permanent, volatile };
}

function failureOf(which: Kind, state: State): FuzzFailure | undefined {
  try {
    load(which, state);
    return undefined;
  } catch (error) {
    if (error instanceof FuzzFailure) return error;
    throw error;
  }
}

/** Loads a reproduction again. @returns whether it still fails */
export function replayBlob(reproduction: BlobReproduction, print: (line: string) => void): boolean {
  const { which, permanent, volatile } = reproduction;
  const failure = failureOf(which, { permanent: bytesOf(permanent), volatile: bytesOf(volatile) });
  print(failure ? `${failure.kind}: ${failure.message}` : "it does not fail");
  return failure !== undefined;
}

/** Random numbers and clocks that stand still. */
function stillHost(): EngineHost {
  const numbers = new FastRandom("blobs");
  return {
    random: (bytes) => numbers.fill(bytes),
    now: (clock) => (clock === 0 ? 1_000_000 : 1_700_001_000_000),
  };
}

const hexOf = (...words: string[]) => words.map(bytesOf);
/** Lists, values, NV and objects, whatever of that is there. */
const LOOK = hexOf(
  "8001000000160000017a00000006000002000000007f",
  "8001000000160000017a0000000101000000000000fe",
  "8001000000160000017a0000000102000000000000fe",
  "8001000000160000017a0000000103000000000000fe",
  "8001000000160000017a0000000180000000000000fe",
  "8001000000160000017a0000000181000000000000fe",
  "8001000000160000017a0000000500000000000000fe",
  "8001000000140000017e00000001000b03ffffff",
  "80010000000e0000017301000000",
  "80010000000e0000017380000000",
  "80010000000e0000017380000001",
  "80010000000e0000016280000000",
  "80010000000e0000016202000000",
  "80010000000e0000016903000000",
  "80010000000c0000017b0008",
  "80020000003b0000013140000001000000094000000900000000000000040000000000120008000b000400720000001000000000000000000000",
);
/** The handles that the first of a list of handles are used with. */
const LISTED_FROM = 19;
const STARTS = hexOf("80010000000c000001440000", "80010000000c000001440001");
const SHUTDOWN = bytesOf("80010000000c000001450001");

/** Loads blobs and looks at what comes of it. @returns whether they were accepted */
function load(which: Kind, state: State): boolean {
  try {
    const began = performance.now();
    const engine = new Engine(engineModule(), stillHost());
    const accepted = loadInto(engine, which, state);
    if (accepted) {
      expectGoesOn(engine, which, state);
      // Closely where one byte of it says so: that takes ten times as long as the rest.
      expectAnswers(engine, (state[which].at(-1) ?? 0) % 4 === 0);
    } else expectRefuses(engine);
    const took = performance.now() - began;
    if (took > LIMIT_MS && process.cpuUsage().user / 1000 > LIMIT_MS && tookAgain(which, state))
      throw new FuzzFailure("time", `it took ${took.toFixed(0)} ms`);
    return accepted;
  } catch (error) {
    if (error instanceof EngineTrap) throw new FuzzFailure("trap", `${error.message}: ${error.cause}`);
    throw error;
  }
}

/** On a busy machine time passes without this process. */
function tookAgain(which: Kind, state: State): boolean {
  const began = performance.now();
  loadInto(new Engine(engineModule(), stillHost()), which, state);
  return performance.now() - began > LIMIT_MS;
}

function loadInto(engine: Engine, which: Kind, { permanent, volatile }: State): boolean {
  if (engine.loadPermanent(permanent) !== 0) {
    if (which === "permanent") return false;
    throw new FuzzFailure("import", "the permanent state, which is right, is refused");
  }
  engine.init();
  return which === "permanent" || engine.loadVolatile(volatile) === 0;
}

/** Export, import, export: the same. */
function expectGoesOn(engine: Engine, which: Kind, state: State): void {
  const permanent = engine.savePermanent();
  const again = new Engine(engineModule(), stillHost());
  if (again.loadPermanent(permanent) !== 0)
    throw new FuzzFailure("import", "what was accepted is not when it is exported");
  again.init();
  if (which === "permanent") {
    expectSameState("permanent", permanent, again.savePermanent());
    return;
  }
  const volatile = engine.saveVolatile();
  if (volatile.length === 0) throw new FuzzFailure("export", "the volatile state cannot be exported");
  if (again.loadVolatile(volatile) !== 0)
    throw new FuzzFailure("import", `what was accepted (${state.volatile.length} bytes) is not when it is exported`);
  expectSameState("volatile", volatile, again.saveVolatile());
  expectSameState("permanent", permanent, again.savePermanent());
}

/** It answers, whatever it is that it answers. */
function expectAnswers(engine: Engine, closely: boolean): void {
  for (const command of STARTS) run(engine, command);
  for (const command of closely ? LOOK : []) {
    const response = run(engine, command);
    for (let at = LISTED_FROM; command[14] === 1 && at + 4 <= response.length; at += 4) {
      useHandle(engine, response.subarray(at, at + 4));
    }
  }
  run(engine, SHUTDOWN);
  if (engine.savePermanent().length === 0) throw new FuzzFailure("export", "the permanent state cannot be exported");
}

/** Reads what a handle stands for. */
function useHandle(engine: Engine, handle: Uint8Array): void {
  const digits = Buffer.from(handle).toString("hex");
  if (digits.startsWith("01")) {
    run(engine, bytesOf(`80010000000e00000169${digits}`));
    run(engine, bytesOf(`8002000000230000014e${digits}${digits}0000000940000009000000000000080000`));
    run(engine, bytesOf(`8002000000${"1f"}00000134${digits}${digits}00000009400000090000000000`));
  } else if (digits.startsWith("8")) {
    run(engine, bytesOf(`80010000000e00000173${digits}`));
    run(engine, bytesOf(`80010000000e00000163${digits}`));
    const unseal = `8002000000${"1b"}0000015e${digits}00000009400000090000000000`;
    run(engine, bytesOf(unseal));
    const sign = `${digits}000000094000000900000000000020${"ab".repeat(32)}00108024400000070000`;
    run(engine, bytesOf(`800200000049${"0000015d"}${sign}`));
    run(engine, bytesOf(`8002000000${"21"}0000013e${digits}0000000940000009000000000000000040000007`));
  } else run(engine, bytesOf(`80010000000e00000162${digits}`));
}

/** After an error it is in failure mode, and takes nothing but what failure mode takes. */
function expectRefuses(engine: Engine): void {
  const response = run(engine, STARTS[0]!);
  const TPM_RC_FAILURE = 0x101;
  if (!engine.inFailureMode || new DataView(response.buffer).getUint32(6) !== TPM_RC_FAILURE)
    throw new FuzzFailure("half-loaded", "the state was refused, and the TPM starts all the same");
}

function run(engine: Engine, command: Uint8Array): Uint8Array {
  let size = engine.execute(command, 0);
  while (size === PENDING) size = engine.resume();
  const response = engine.response(size);
  expectResponse(response);
  return response;
}
