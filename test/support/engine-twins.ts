// Two TPMs that are one: the engine and Debian's swtpm, started from the same permanent state. They have the same seeds and
// proofs, so that primary keys and tickets agree bit for bit, and what one wraps the other opens.
import { toHex } from "../../src/codec/bytes.ts";
import { TpmClient, TpmError } from "../../src/codec/client.ts";
import { EngineTpm } from "./engine-tpm.ts";
import { type Swtpm, startSwtpm } from "./swtpm.ts";

export interface Twin {
  readonly name: "engine" | "swtpm";
  readonly client: TpmClient;
  /** Sends bytes and returns the response. */
  send(command: Uint8Array): Promise<Uint8Array>;
}

/** What each of the two did, the engine first. */
export type Results<T> = readonly [T, T];
type Work<T> = (client: TpmClient, twin: Twin) => Promise<T>;
type Outcome<T> = { readonly value: T } | { readonly responseCode: number };

export class Twins implements AsyncDisposable {
  readonly engine: Twin;
  readonly swtpm: Twin;
  readonly tpm: EngineTpm;
  readonly #swtpm: Swtpm;
  /** How often they agreed to do something, and to refuse it. */
  done = 0;
  refused = 0;

  private constructor(tpm: EngineTpm, swtpm: Swtpm) {
    this.tpm = tpm;
    this.#swtpm = swtpm;
    this.engine = { name: "engine", client: tpm.client, send: async (command) => tpm.send(command) };
    this.swtpm = {
      name: "swtpm",
      client: new TpmClient((command) => swtpm.transmit(command)),
      send: (command) => swtpm.transmit(command),
    };
  }

  /** Both after TPM2_Startup(CLEAR). Fails if swtpm is not installed. */
  static async start(): Promise<Twins> {
    const tpm = new EngineTpm({ startup: false });
    const swtpm = await startSwtpm({ permanent: tpm.save().permanent });
    tpm.startup("CLEAR");
    return new Twins(tpm, swtpm);
  }

  get both(): readonly [Twin, Twin] {
    return [this.engine, this.swtpm];
  }

  /**
   * Does the same on both, which must answer the same: values bit for bit, or the response code.
   * @returns what they answered; undefined when they refused
   */
  same<T>(context: unknown, work: Work<T>): Promise<Results<T> | undefined> {
    return this.#compare(context, work, exact);
  }

  /** As `same` for what is random or keyed with something random: byte strings need only have the same length. */
  alike<T>(context: unknown, work: Work<T>): Promise<Results<T> | undefined> {
    return this.#compare(context, work, shape);
  }

  /** As `alike` for byte strings whose lengths are random as well. */
  agree<T>(context: unknown, work: Work<T>): Promise<Results<T> | undefined> {
    return this.#compare(context, work, () => "done");
  }

  async #compare<T>(
    context: unknown,
    work: Work<T>,
    text: (value: unknown) => string,
  ): Promise<Results<T> | undefined> {
    const [engine, swtpm] = [await outcome(work, this.engine), await outcome(work, this.swtpm)];
    const [ours, theirs] = [said(engine, text), said(swtpm, text)];
    if (ours !== theirs) throw new Error(`${exact(context)}:\n  engine ${ours}\n  swtpm  ${theirs}`);
    if ("value" in engine && "value" in swtpm) {
      this.done++;
      return [engine.value, swtpm.value];
    }
    this.refused++;
    return undefined;
  }

  /** Flushes handles on both. */
  async flush(...handles: number[]): Promise<void> {
    for (const flushHandle of handles) {
      for (const { client } of this.both) await client.command("FlushContext", { parameters: { flushHandle } });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#swtpm[Symbol.asyncDispose]();
  }
}

async function outcome<T>(work: Work<T>, twin: Twin): Promise<Outcome<T>> {
  try {
    return { value: await work(twin.client, twin) };
  } catch (error) {
    if (!(error instanceof TpmError)) throw error;
    return { responseCode: error.responseCode };
  }
}

const said = (result: Outcome<unknown>, text: (value: unknown) => string) =>
  "value" in result ? text(result.value) : `0x${result.responseCode.toString(16)}`;

const written = (value: unknown, bytes: (bytes: Uint8Array) => string): string =>
  JSON.stringify(value, (_, part) => {
    if (part instanceof Uint8Array) return bytes(part);
    return typeof part === "bigint" ? part.toString() : part;
  }) ?? "undefined";

const exact = (value: unknown) => written(value, toHex);
const shape = (value: unknown) => written(value, (bytes) => `${bytes.length} bytes`);
