// `wtpm state verify`: whether a TPM can go on with a stored state.
import { StateError } from "../state/store.ts";
import { checkState } from "./state-check.ts";
import { type FoundState, type PlaceOptions, placeOf, readPlace } from "./state-place.ts";

/** Prints what was found and gives the exit status: 0, or 1 when there is a problem. @throws OptionError */
export async function verifyCommand(options: PlaceOptions): Promise<number> {
  const place = await placeOf(options);
  const say = (sentence: string) => process.stdout.write(`${sentence}\n`);
  let found: FoundState;
  try {
    found = await readPlace(place);
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    say(`problem: ${error.message}`);
    return 1;
  }
  if (found.inUse) say("note: a running TPM uses it and may be ahead of it");
  say(`ok: ${place.uri}: containers and checksums, generation ${found.generation.number}, ${place.format.name}`);
  const findings = checkState(found.generation.blobs);
  for (const { part, kind, text } of findings) say(`${kind}: ${part} state: ${text}`);
  return findings.some(({ kind }) => kind === "problem") ? 1 : 0;
}
