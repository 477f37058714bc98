// Recordings of what libtpms does with profiles (test/data/tpm2/profile*.json.gz; each says where it comes from), and an engine
// made with one.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { Engine, PENDING } from "../../src/engine/engine.ts";
import { engineModule } from "../../src/engine/module.ts";
import { TestHost } from "./engine-tpm.ts";
import { bytesOf } from "./recorded.ts";

function read<T>(file: string): T {
  const packed = readFileSync(new URL(`../data/tpm2/${file}.json.gz`, import.meta.url));
  return JSON.parse(gunzipSync(packed).toString("utf8")) as T;
}

export interface RecordedProfile {
  readonly profile: string;
  readonly rc: number;
  /** What TPMLIB_GetInfo tells of an accepted one: the active profile, and algorithms, commands, attributes. */
  readonly active?: string;
  readonly runtime?: string;
}

export const recordedProfiles = () => read<{ cases: readonly RecordedProfile[] }>("profiles").cases;

export interface RecordedState {
  readonly name: string;
  readonly profile: string;
  /** Hexadecimal digits: after Shutdown(STATE), and a moment before. */
  readonly permanent: string;
  readonly volatile: string;
}

export const recordedStates = () => read<{ states: readonly RecordedState[] }>("profile-states").states;

export interface RecordedAnswers {
  /** What it is, and its bytes as hexadecimal digits. */
  readonly commands: readonly (readonly [string, string])[];
  readonly profiles: readonly {
    readonly name: string;
    readonly profile: string;
    readonly responses: readonly string[];
  }[];
}

export const recordedAnswers = () => read<RecordedAnswers>("profile-answers");

/** An engine that is made, and not yet powered on. @throws Error with the response code of a profile that is refused */
export function engineWith(profile: string): Engine {
  const engine = new Engine(engineModule(), new TestHost(profile));
  const rc = engine.manufacture(profile);
  if (rc !== 0) throw new Error(`manufacture: 0x${rc.toString(16)}`);
  return engine;
}

/** An engine with a stored permanent state, powered on. */
export function engineFrom(permanent: Uint8Array): Engine {
  const engine = new Engine(engineModule(), new TestHost("stored"));
  const rc = engine.loadPermanent(permanent);
  if (rc !== 0) throw new Error(`load_permanent: 0x${rc.toString(16)}`);
  engine.init();
  return engine;
}

/** The response to a command in hexadecimal digits. */
export function send(engine: Engine, command: string): Uint8Array {
  let size = engine.execute(bytesOf(command), 0);
  while (size === PENDING) size = engine.resume();
  return engine.response(size);
}
