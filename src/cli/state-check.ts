// Whether a TPM can go on with a state: its structures, what the engine makes of it, and whether nothing is lost on the way.
import { Engine, EngineTrap, systemHost } from "../engine/engine.ts";
import { engineModule } from "../engine/module.ts";
import { stateErrorText } from "../engine/state-error.ts";
import { equalBytes } from "../codec/bytes.ts";
import { differences, versionChanges } from "../state/libtpms/compare.ts";
import { unfitConstants } from "../state/libtpms/constants.ts";
import { decodePermanent, encodePermanent, type PermanentState } from "../state/libtpms/permanent.ts";
import { decodeVolatile, encodeVolatile, type VolatileState } from "../state/libtpms/volatile.ts";
import { type StateBlobs, StateError } from "../state/store.ts";

/** One thing that was found out about a state. */
export interface Finding {
  readonly part: "permanent" | "volatile" | "savestate";
  /** A note says what changes when a TPM stores the state again; with a problem no TPM can run, or it loses something. */
  readonly kind: "ok" | "note" | "problem";
  readonly text: string;
}

/** Checks a state by all that this program knows. */
export function checkState(blobs: StateBlobs): Finding[] {
  const findings: Finding[] = [];
  const say = (part: Finding["part"], kind: Finding["kind"], text: string) => findings.push({ part, kind, text });
  if (blobs.savestate?.length) say("savestate", "problem", "a TPM 2.0 has no savestate");
  if (!blobs.permanent) {
    say("permanent", "problem", "there is none: a TPM that starts here is a new one");
    return findings;
  }
  const { permanent, volatile } = blobs;
  const state = decoded("permanent", permanent, decodePermanent, encodePermanent, say);
  const engine = new Engine(engineModule());
  try {
    if (!loaded("permanent", permanent, () => engine.loadPermanent(permanent), say)) {
      if (state) for (const text of unfit(state)) say("permanent", "problem", text);
      return findings;
    }
    const again = engine.savePermanent();
    if (state) compare("permanent", state, { state: decodePermanent(again), blob: again }, permanent, say);
    if (volatile) checkVolatile(permanent, volatile, say);
  } finally {
    engine.wipe();
  }
  return findings;
}

/** The compile-time constants of a state that are not as this program's. */
function unfit({ compileConstants }: PermanentState): string[] {
  const engine = new Engine(engineModule());
  engine.manufacture();
  const own = decodePermanent(engine.savePermanent()).compileConstants.values;
  engine.wipe();
  return unfitConstants(compileConstants.values, own);
}

type Say = (part: Finding["part"], kind: Finding["kind"], text: string) => void;

function checkVolatile(permanent: Uint8Array, volatile: Uint8Array, say: Say): void {
  const state = decoded("volatile", volatile, decodeVolatile, encodeVolatile, say);
  // Time stands still, so that what is saved again is the same.
  const savedAt = Number(state?.savedAt ?? 0);
  const engine = new Engine(engineModule(), { ...systemHost, now: (clock) => (clock === 0 ? 0 : savedAt) });
  try {
    engine.loadPermanent(permanent);
    engine.init();
    if (!loaded("volatile", volatile, () => engine.loadVolatile(volatile), say)) return;
    const again = engine.saveVolatile();
    if (state) compare("volatile", state, { state: decodeVolatile(again), blob: again }, volatile, say);
  } finally {
    engine.wipe();
  }
}

function decoded<T>(
  part: "permanent" | "volatile",
  blob: Uint8Array,
  decode: (blob: Uint8Array) => T,
  encode: (state: T) => Uint8Array,
  say: Say,
): T | undefined {
  try {
    const state = decode(blob);
    if (equalBytes(encode(state), blob)) say(part, "ok", `every field of its ${blob.length} bytes is understood`);
    else say(part, "note", "it has bytes in an order or form that this program would write in another way");
    return state;
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    say(part, "problem", error.message);
    return undefined;
  }
}

function loaded(part: "permanent" | "volatile", blob: Uint8Array, load: () => number, say: Say): boolean {
  try {
    const rc = load();
    if (rc === 0) say(part, "ok", "a TPM starts with it");
    else say(part, "problem", `no TPM starts with it: ${stateErrorText(part, rc, blob)}`);
    return rc === 0;
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof EngineTrap)) throw error;
    say(part, "problem", `no TPM starts with it: ${error.message}`);
    return false;
  }
}

/** What a TPM would store again, beside what is stored. */
function compare<T extends PermanentState | VolatileState>(
  part: "permanent" | "volatile",
  stored: T,
  again: { readonly state: T; readonly blob: Uint8Array },
  blob: Uint8Array,
  say: Say,
): void {
  const lost = differences(stored, again.state);
  for (const path of lost) say(part, "problem", `a TPM that stores it again changes ${path}`);
  if (lost.length > 0) return;
  const versions = versionChanges(stored, again.state);
  if (equalBytes(again.blob, blob)) say(part, "ok", "what a TPM stores again is the same to the byte");
  else if (versions.length > 0) say(part, "note", `a TPM that stores it again writes ${versions.join(", ")}`);
  else say(part, "note", "what a TPM stores again means the same, in other bytes");
}
