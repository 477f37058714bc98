// The engine alone under random sequences: after each step it has answered as a TPM does, in time, and its state is one that goes on
// elsewhere as it goes on here.
import { Buffer } from "node:buffer";
import { decodeResponse } from "../../src/codec/index.ts";
import { CHANGED_PERMANENT, Engine, type EngineHost, EngineTrap, PENDING } from "../../src/engine/engine.ts";
import { engineModule } from "../../src/engine/module.ts";
import { edited, Side } from "./engine-side.ts";
import type { CommandStep, RawStep, Step } from "./engine-steps.ts";
import { FastRandom } from "./fuzz-random.ts";
import { bytesOf } from "./recorded.ts";

/** What is wrong; `kind` stays the same while a sequence is made shorter. */
export class FuzzFailure extends Error {
  override readonly name = "FuzzFailure";
  readonly kind: string;

  constructor(kind: string, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Random numbers and a clock that can be given to another engine. */
class FuzzHost implements EngineHost {
  readonly numbers: FastRandom;
  monotonic = 1000;

  constructor(seed: string) {
    this.numbers = new FastRandom(seed);
  }

  random(bytes: Uint8Array<ArrayBuffer>): void {
    this.numbers.fill(bytes);
  }

  now(clock: number): number {
    return clock === 0 ? this.monotonic : 1_700_000_000_000 + this.monotonic;
  }
}

/** A command may take this long unless it makes a key. */
const LIMIT_MS = 1000;
const MAKES_KEYS = new Set([0x131, 0x153, 0x191]);
const MAX_SIZE = 4096;

export interface FuzzOptions {
  readonly seed: string;
  /** libtpms' JSON; empty for the null profile. */
  readonly profile: string;
  /** After how many steps the state is looked at; at least 1. */
  readonly stateEvery: number;
}

const DRBG_STATE_MAGIC = "6fe83ea1";
const DRBG_STATE_SIZE = 70;
/** How many steps an imported TPM goes along with the one it was exported from. */
const TOGETHER = 12;

interface Instance {
  readonly engine: Engine;
  readonly host: FuzzHost;
}

/** A TPM of which everything is checked. */
export class FuzzTpm {
  readonly #options: FuzzOptions;
  readonly #side = new Side();
  readonly #decoded = new FastRandom("decoded");
  #main: Instance;
  /** Made from the state of the other one; has to answer the same for the rest of `#together` steps. */
  #twin: Instance | undefined;
  #together = 0;
  /** The permanent state as the host would have stored it. */
  #stored: Uint8Array;
  #steps = 0;
  /** Processor time of this process some steps ago. */
  #usedBefore = 0;
  /** The host asserts physical presence: no part of the state. */
  #presence = false;
  /** Commands answered, and how many of these with TPM_RC_SUCCESS. */
  commands = 0;
  succeeded = 0;
  /** States exported and imported. */
  states = 0;
  /** Longest time that a command took that makes no key, in milliseconds. */
  slowest = 0;

  constructor(options: FuzzOptions) {
    this.#options = options;
    const host = new FuzzHost(options.seed);
    const engine = new Engine(engineModule(), host);
    const rc = engine.manufacture(options.profile);
    if (rc !== 0) throw new Error(`the profile is refused: 0x${rc.toString(16)}`);
    engine.init();
    this.#main = { engine, host };
    this.#stored = engine.savePermanent();
  }

  get engine(): Engine {
    return this.#main.engine;
  }

  /** The state of now. */
  save(): { permanent: Uint8Array; volatile: Uint8Array } {
    return { permanent: this.engine.savePermanent(), volatile: this.engine.saveVolatile() };
  }

  /** Does a step. @returns the response code of a command. @throws FuzzFailure */
  step(step: Step): number {
    if (this.#steps % 256 === 0) this.#usedBefore = usedMilliseconds();
    try {
      const code = this.#step(step);
      this.#together--;
      if (++this.#steps % this.#options.stateEvery === 0) this.#checkState();
      return code;
    } catch (error) {
      if (error instanceof EngineTrap) throw new FuzzFailure("trap", `${error.message}: ${error.cause}`);
      throw error;
    }
  }

  #step(step: Step): number {
    this.#main.host.monotonic += 1;
    if (this.#twin) this.#twin.host.monotonic += 1;
    switch (step.kind) {
      case "command":
        return this.#command(step);
      case "raw":
        return this.#raw(step);
      case "power":
        this.#main = this.#loaded(this.#stored, undefined);
        this.#twin = undefined;
        this.#noteChanges();
        return 0;
      case "migrate":
        this.#migrate();
        return 0;
      default:
        if (step.kind === "presence") this.#presence = step.asserted;
        for (const instance of this.#both) signal(instance, step);
        this.#noteChanges();
        return 0;
    }
  }

  get #both(): Instance[] {
    return this.#twin ? [this.#main, this.#twin] : [this.#main];
  }

  #command(step: CommandStep): number {
    const bytes = this.#side.command(step);
    const response = this.#run(bytes, step.locality, MAKES_KEYS.has(step.code), step.cancelAfter);
    const { code, wrong } = this.#side.answered(response);
    if (wrong) throw new FuzzFailure("session", wrong);
    if (code === 0 && this.#decoded.below(4) === 0) expectDecodable(response, step.code);
    return code;
  }

  #raw(step: RawStep): number {
    const bytes = edited(bytesOf(step.bytes), step.edits);
    const code = bytes.length >= 10 ? new DataView(bytes.buffer).getUint32(6) : 0;
    const response = this.#run(bytes, step.locality, MAKES_KEYS.has(code));
    return new DataView(response.buffer).getUint32(6);
  }

  /** Runs a command; the twin, if there is one, has to answer the same. */
  #run(bytes: Uint8Array, locality: number, makesKey: boolean, cancelAfter?: number): Uint8Array {
    const began = performance.now();
    const response = execute(this.engine, bytes, locality, cancelAfter);
    const took = performance.now() - began;
    if (!makesKey) {
      this.slowest = Math.max(this.slowest, took);
      // On a busy machine time passes without this process.
      if (took > LIMIT_MS && usedMilliseconds() - this.#usedBefore > LIMIT_MS)
        throw new FuzzFailure("time", `the command took ${took.toFixed(0)} ms`);
    }
    this.commands++;
    expectResponse(response);
    if (response[8] === 0 && response[9] === 0) this.succeeded++;
    if (this.engine.inFailureMode) throw new FuzzFailure("failure mode", "the TPM is in failure mode");
    this.#noteChanges();
    if (this.#together <= 0) this.#twin = undefined;
    if (this.#twin) {
      const there = execute(this.#twin.engine, bytes, locality, cancelAfter);
      if (!Buffer.from(response).equals(there) && !asksForSelfTests(bytes)) this.#differs(response, there);
    }
    return response;
  }

  /** The imported TPM answers otherwise: it may, if that is random, and no longer goes along then. */
  #differs(here: Uint8Array, there: Uint8Array): void {
    const random = !sameRandom(this.engine, this.#twin!.engine);
    if (random && Buffer.from(here.subarray(0, 10)).equals(there.subarray(0, 10))) {
      this.#twin = undefined;
      return;
    }
    const [original, imported] = [here, there].map((bytes) => Buffer.from(bytes).toString("hex"));
    throw new FuzzFailure(
      "imported",
      `the imported TPM answers\n  ${imported}\nthe one it was exported from\n  ${original}`,
    );
  }

  #noteChanges(): void {
    if (this.engine.changes & CHANGED_PERMANENT) this.#stored = this.engine.savePermanent();
  }

  /** Export, import, export: the same. From here on the imported TPM goes along. */
  #checkState(): void {
    this.states++;
    const state = this.save();
    if (state.permanent.length === 0 || state.volatile.length === 0)
      throw new FuzzFailure("export", "the state cannot be exported");
    this.#twin = this.#loaded(state.permanent, state.volatile);
    this.#together = TOGETHER;
    const again = this.#twin.engine;
    expectSameState("permanent", state.permanent, again.savePermanent());
    expectSameState("volatile", state.volatile, again.saveVolatile());
  }

  #migrate(): void {
    const { permanent, volatile } = this.save();
    this.#main = this.#loaded(permanent, volatile);
    this.#twin = undefined;
    this.#noteChanges();
  }

  /** A new engine with this state, and the same random numbers to come. */
  #loaded(permanent: Uint8Array, volatile: Uint8Array | undefined): Instance {
    const host = new FuzzHost("");
    host.monotonic = this.#main.host.monotonic;
    host.numbers.copyOf(this.#main.host.numbers);
    const engine = new Engine(engineModule(), host);
    const rc = engine.loadPermanent(permanent);
    if (rc !== 0) throw new FuzzFailure("import", `its own permanent state is refused: 0x${rc.toString(16)}`);
    engine.init();
    if (volatile) {
      const rcVolatile = engine.loadVolatile(volatile);
      if (rcVolatile !== 0)
        throw new FuzzFailure("import", `its own volatile state is refused: 0x${rcVolatile.toString(16)}`);
      host.numbers.copyOf(this.#main.host.numbers);
    }
    engine.physicalPresence = this.#presence;
    return { engine, host };
  }
}

/** TPM2_IncrementalSelfTest: which algorithms were tested is no part of the state. */
function asksForSelfTests(command: Uint8Array): boolean {
  const INCREMENTAL_SELF_TEST = 0x142;
  return (
    command.length >= 10 && new DataView(command.buffer, command.byteOffset).getUint32(6) === INCREMENTAL_SELF_TEST
  );
}

/** Processor time of this process. */
function usedMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function execute(engine: Engine, bytes: Uint8Array, locality: number, cancelAfter?: number): Uint8Array {
  let size = engine.execute(bytes, locality);
  for (let resumed = 0; size === PENDING; resumed++) {
    if (resumed === cancelAfter) engine.cancel();
    size = engine.resume();
  }
  return engine.response(size);
}

function signal(
  { engine, host }: Instance,
  step: Exclude<Step, { kind: "command" | "raw" | "power" | "migrate" }>,
): void {
  if (step.kind === "presence") engine.physicalPresence = step.asserted;
  else if (step.kind === "time") host.monotonic += step.milliseconds;
  else {
    engine.hashStart();
    engine.hashData(bytesOf(step.data));
    engine.hashEnd();
  }
}

/** It has a header, a size that is its length, and nothing behind a response code that is an error. */
export function expectResponse(response: Uint8Array): void {
  const view = new DataView(response.buffer, response.byteOffset, response.byteLength);
  const isOne =
    response.length >= 10 &&
    response.length <= MAX_SIZE &&
    view.getUint32(2) === response.length &&
    (view.getUint16(0) === 0x8001 || view.getUint16(0) === 0x8002) &&
    (view.getUint32(6) === 0 || (response.length === 10 && view.getUint16(0) === 0x8001));
  if (!isOne) throw new FuzzFailure("response", `no response: ${Buffer.from(response).toString("hex")}`);
}

/** It has the fields that the specification says. */
function expectDecodable(response: Uint8Array, code: number): void {
  const { issues, rest } = decodeResponse(response, code);
  if (issues.length === 0 && rest.length === 0) return;
  const hex = Buffer.from(response).toString("hex");
  throw new FuzzFailure("decoding", `${issues[0]?.field}: ${issues[0]?.message}: ${hex}`);
}

/**
 * Whether the random bit generators of two engines are in the same state. Blinding factors of RSA keys are drawn when they are first
 * needed and are no part of the state, so that an imported TPM draws them again.
 */
function sameRandom(one: Engine, other: Engine): boolean {
  const [here, there] = [one, other].map((engine) => {
    const state = Buffer.from(engine.saveVolatile());
    const at = state.indexOf(DRBG_STATE_MAGIC, 0, "hex");
    return state.subarray(at, at + DRBG_STATE_SIZE);
  });
  return here!.equals(there!);
}

export function expectSameState(what: string, before: Uint8Array, after: Uint8Array): void {
  if (Buffer.from(before).equals(after)) return;
  let at = 0;
  while (at < before.length && before[at] === after[at]) at++;
  const [old, now] = [before, after].map((bytes) =>
    Buffer.from(bytes.subarray(Math.max(0, at - 16), at + 16)).toString("hex"),
  );
  const sizes = `${before.length} and ${after.length} bytes`;
  throw new FuzzFailure(what, `the ${what} state differs after its import at ${at} (${sizes}): …${old}… …${now}…`);
}
