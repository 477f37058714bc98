// The engine and Debian's swtpm as one TPM: the same seeds and proofs, told the same things one by one. What each answers must agree.
//
// What is random in an answer is taken from one of the two for both, and a state with something random in it goes from one to the other:
// so everything that follows is the same on both sides again.
import { toHex } from "../../src/codec/bytes.ts";
import { describeCommand, describeResponseCode } from "../../src/codec/index.ts";
import { comparable as comparableAnswer } from "./engine-answers.ts";
import { type Answer, answerOf, edited, Side } from "./engine-side.ts";
import type { CommandStep, RawStep, Signal, Step } from "./engine-steps.ts";
import { EngineTpm, responseCode, TestHost } from "./engine-tpm.ts";
import { bytesOf } from "./recorded.ts";
import { SwtpmMachine } from "./swtpm-machine.ts";

/** A step to which the two TPMs answered differently. */
export interface Difference {
  /** Name of the command, or kind of the signal. */
  readonly name: string;
  readonly at: number;
  readonly step: Step;
  /** The bytes of the command as the engine got them, in hexadecimal digits. */
  readonly command: string;
  /** Response code and what was compared. */
  readonly engine: string;
  readonly swtpm: string;
  readonly codes: readonly [engine: number, swtpm: number];
}

/** What must agree of a response, as text. */
export function comparable(command: Uint8Array, response: Uint8Array): string {
  const code = commandCode(command);
  return comparableAnswer(code, answerOf(code, response));
}

const commandCode = (command: Uint8Array) =>
  command.length >= 10 ? new DataView(command.buffer, command.byteOffset).getUint32(6) : 0;

/** After these the TPM has new random secrets: Startup, Clear, ChangePPS, ChangeEPS, and CreateLoaded with an object of random numbers. */
const MAKES_SECRETS = new Set([0x144, 0x126, 0x125, 0x124, 0x191]);
const TPM_RC_RETRY = 0x922;

/** Random numbers from a seed, and the clocks that swtpm has. */
class ClockedHost extends TestHost {
  override now(clock: number): number {
    return clock === 0 ? performance.now() : Date.now();
  }
}

export class Pair implements AsyncDisposable {
  #swtpm: SwtpmMachine;
  #engine: EngineTpm;
  #sides: readonly [engine: Side, swtpm: Side];
  #at = 0;

  private constructor(swtpm: SwtpmMachine) {
    this.#swtpm = swtpm;
    this.#engine = new EngineTpm({ startup: false });
    this.#sides = [new Side(), new Side()];
  }

  /** Fails if swtpm is not installed. */
  static async start(): Promise<Pair> {
    return new Pair(await SwtpmMachine.start());
  }

  /** Both are off and on again as a new TPM of this seed; nothing is known of what was before. */
  async begin(seed: string): Promise<void> {
    this.#engine = new EngineTpm({ host: new ClockedHost(seed), startup: false });
    this.#sides = [new Side(), new Side()];
    this.#at = 0;
    const { permanent } = this.#engine.save();
    try {
      await this.#swtpm.load({ permanent });
    } catch {
      // What the sequence before this one left it in does not even let it be powered off and on.
      await this.#swtpm[Symbol.asyncDispose]();
      this.#swtpm = await SwtpmMachine.start();
      await this.#swtpm.load({ permanent });
    }
  }

  /** Tells both the same. @returns the response code on which they agree, or the difference */
  async step(step: Step): Promise<number | Difference> {
    const at = this.#at++;
    try {
      switch (step.kind) {
        case "command":
          return await this.#command(step, at);
        case "raw":
          return await this.#raw(step, at);
        default:
          await this.#signal(step);
          return 0;
      }
    } catch (error) {
      // A signal, or a state, that one of the two does not survive.
      const name = step.kind === "command" ? step.name : step.kind;
      return { name, at, step, command: "", engine: `${error}`, swtpm: "", codes: [-1, -1] };
    }
  }

  async #command(step: CommandStep, at: number): Promise<number | Difference> {
    const [ours, theirs] = this.#sides;
    const commands = [ours.command(step), theirs.command(step)] as const;
    this.#engine.locality = step.locality;
    const engine = ours.answered(this.#engine.send(commands[0]));
    const swtpm = theirs.answered(await this.#answerOfSwtpm(commands[1], step.locality));
    const difference = this.#difference(step, step.name, step.code, at, commands[0], engine, swtpm);
    if (difference) return difference;
    if (engine.code === 0) await this.#share(step);
    return engine.code;
  }

  async #raw(step: RawStep, at: number): Promise<number | Difference> {
    const command = edited(bytesOf(step.bytes), step.edits);
    this.#engine.locality = step.locality;
    const code = commandCode(command);
    const engine = answerOf(code, this.#engine.send(command));
    const swtpm = answerOf(code, await this.#answerOfSwtpm(command, step.locality));
    return this.#difference(step, "raw", code, at, command, engine, swtpm) ?? engine.code;
  }

  #difference(
    step: Step,
    name: string,
    code: number,
    at: number,
    command: Uint8Array,
    engine: Answer,
    swtpm: Answer,
  ): Difference | undefined {
    const shown = [comparableAnswer(code, engine), comparableAnswer(code, swtpm)] as const;
    if (shown[0] === shown[1]) return undefined;
    const codes = [engine.code, swtpm.code] as const;
    return { name, at, step, command: toHex(command), engine: shown[0], swtpm: shown[1], codes };
  }

  /** libtpms 0.9 wants a command that uses a protected authValue for the first time to be sent again; later ones go on at once. */
  async #answerOfSwtpm(command: Uint8Array, locality: number): Promise<Uint8Array> {
    const response = await this.#swtpm.send(command, locality);
    return responseCode(response) === TPM_RC_RETRY ? this.#swtpm.send(command, locality) : response;
  }

  /** What was random becomes the same on both sides, taken from the one and the other in turn. */
  async #share(step: CommandStep): Promise<void> {
    const [ours, theirs] = this.#sides;
    const fromEngine = step.id % 2 === 0;
    if (!MAKES_SECRETS.has(step.code)) {
      if (fromEngine) theirs.shareAnswer(ours, step.id);
      else ours.shareAnswer(theirs, step.id);
    } else if (fromEngine) {
      await this.#swtpm.load(this.#engine.save());
      theirs.takeOver(ours);
    } else {
      this.#engine.migrate(await this.#swtpm.save());
      ours.takeOver(theirs);
    }
  }

  async #signal(step: Signal): Promise<void> {
    switch (step.kind) {
      case "power":
        await this.#swtpm.powerCycle();
        return this.#engine.powerCycle(1);
      case "migrate":
        await this.#swtpm.migrate();
        return this.#engine.suspend();
      case "hash": {
        const data = bytesOf(step.data);
        await this.#swtpm.hash(data);
        const { engine } = this.#engine;
        engine.hashStart();
        engine.hashData(data);
        return engine.hashEnd();
      }
      default:
        // Physical presence and time are the engine's alone.
        return;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#swtpm[Symbol.asyncDispose]();
  }
}

/** A difference for people. */
export function describeDifference({ name, at, command, engine, swtpm, codes }: Difference): string {
  return [
    `step ${at}: ${name}`,
    ...(command ? [describeCommand(bytesOf(command))] : []),
    `  engine ${codes[0] >= 0 ? describeResponseCode(codes[0]) : ""} ${engine}`,
    `  swtpm  ${codes[1] >= 0 ? describeResponseCode(codes[1]) : ""} ${swtpm}`,
  ].join("\n");
}
