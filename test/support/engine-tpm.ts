// The engine alone as a TPM to experiment with: repeatable random numbers, a clock that a test moves, its state at hand.
import { TpmClient, TpmError } from "../../src/codec/client.ts";
import { CHANGED_PERMANENT, Engine, type EngineHost, PENDING } from "../../src/engine/engine.ts";
import { engineModule } from "../../src/engine/module.ts";
import { bytesOf } from "./recorded.ts";
import { Seeded } from "./seeded.ts";

/** Random numbers from a seed, and a clock that stands still until it is told to move. */
export class TestHost implements EngineHost {
  readonly #seeded: Seeded;
  /** Milliseconds since some moment. */
  monotonic = 1000;

  constructor(seed = "engine") {
    this.#seeded = new Seeded(seed);
  }

  random(bytes: Uint8Array<ArrayBuffer>): void {
    bytes.set(this.#seeded.bytes(bytes.length));
  }

  now(clock: number): number {
    return clock === 0 ? this.monotonic : 1_700_000_000_000 + this.monotonic;
  }

  /** Lets time pass. */
  advance(milliseconds: number): void {
    this.monotonic += milliseconds;
  }
}

export interface EngineTpmOptions {
  readonly host?: TestHost;
  /** TPM2_Startup(CLEAR) after power-on; default true. */
  readonly startup?: boolean;
  /** libtpms' JSON; the null profile when left out. */
  readonly profile?: string;
}

/** The state of a TPM, as a host keeps it. */
export interface SavedState {
  readonly permanent: Uint8Array;
  readonly volatile: Uint8Array;
}

/** A TPM 2.0 whose host is the test. */
export class EngineTpm {
  readonly host: TestHost;
  readonly client: TpmClient;
  /** Locality of the next commands. */
  locality = 0;
  #engine: Engine;
  /** What a host would have stored: the permanent state after each command that changed it. */
  #stored: Uint8Array;

  constructor(options: EngineTpmOptions = {}) {
    this.host = options.host ?? new TestHost();
    this.#engine = new Engine(engineModule(), this.host);
    const rc = this.#engine.manufacture(options.profile);
    if (rc !== 0) throw new Error(`manufacture: 0x${rc.toString(16)}`);
    this.#engine.init();
    this.#stored = this.#engine.savePermanent();
    this.client = new TpmClient((command) => this.send(command));
    if (options.startup ?? true) this.startup("CLEAR");
  }

  get engine(): Engine {
    return this.#engine;
  }

  /** Sends bytes or hexadecimal digits and returns the response. */
  send(command: Uint8Array | string): Uint8Array {
    const bytes = typeof command === "string" ? bytesOf(command) : command;
    let size = this.#engine.execute(bytes, this.locality);
    while (size === PENDING) size = this.#engine.resume();
    const response = this.#engine.response(size);
    if (this.#engine.changes & CHANGED_PERMANENT) this.#stored = this.#engine.savePermanent();
    return response;
  }

  /** The response code of a command. */
  rc(command: Uint8Array | string): number {
    return responseCode(this.send(command));
  }

  /** TPM2_Startup; its response code. */
  startup(type: "CLEAR" | "STATE"): number {
    return this.rc(`80010000000c00000144${type === "CLEAR" ? "0000" : "0001"}`);
  }

  /** TPM2_Shutdown; its response code. */
  shutdown(type: "CLEAR" | "STATE"): number {
    return this.rc(`80010000000c00000145${type === "CLEAR" ? "0000" : "0001"}`);
  }

  /** Pulls the plug and plugs in again: what was stored is all there is. Time passes meanwhile. */
  powerCycle(milliseconds = 500): void {
    this.host.advance(milliseconds);
    this.#restart(this.#stored);
  }

  /** Plugs in again with this permanent state, whatever was stored. */
  powerCycleWith(permanent: Uint8Array): void {
    this.#stored = permanent;
    this.powerCycle();
  }

  /** What it takes to go on elsewhere. */
  save(): SavedState {
    return { permanent: this.#engine.savePermanent(), volatile: this.#engine.saveVolatile() };
  }

  /** Goes on with another instance in the state given, by default that of now, as a migration of a running machine does. */
  migrate(state: SavedState = this.save()): void {
    this.#resume(state);
  }

  /** Goes on with the volatile state of now and the permanent state as it was stored last, as a suspended machine does. */
  suspend(): void {
    this.#resume({ permanent: this.#stored, volatile: this.#engine.saveVolatile() });
  }

  #resume({ permanent, volatile }: SavedState): void {
    this.#restart(permanent);
    const rc = this.#engine.loadVolatile(volatile);
    if (rc !== 0) throw new Error(`the volatile state cannot be loaded: 0x${rc.toString(16)}`);
  }

  #restart(permanent: Uint8Array): void {
    this.#engine = new Engine(engineModule(), this.host);
    const rc = this.#engine.loadPermanent(permanent);
    if (rc !== 0) throw new Error(`the permanent state cannot be loaded: 0x${rc.toString(16)}`);
    this.#engine.init();
    this.#stored = this.#engine.changes & CHANGED_PERMANENT ? this.#engine.savePermanent() : permanent;
  }
}

/** The response code in a response's header. */
export function responseCode(response: Uint8Array): number {
  return new DataView(response.buffer, response.byteOffset).getUint32(6);
}

/** The codes of the commands that the TPM lists. */
export async function listedCommands(client: TpmClient): Promise<Set<number>> {
  const { capabilityData } = await client.command("GetCapability", {
    parameters: { capability: "COMMANDS", property: 0, propertyCount: 254 },
  });
  const data = capabilityData.data as readonly { readonly commandIndex: number }[];
  return new Set(data.map((attributes) => attributes.commandIndex));
}

/** The name of the response code with which `work` ends ("TPM_RC_SUCCESS" if it does not fail), with where it is, as "TPM_RC_VALUE parameter 1". */
export async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "TPM_RC_SUCCESS";
  } catch (error) {
    if (!(error instanceof TpmError)) throw error;
    const { name, at, number } = error.parts;
    return number ? `${name} ${at} ${number}` : `${name}`;
  }
}
