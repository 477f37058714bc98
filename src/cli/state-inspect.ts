// `wtpm state inspect`: what a stored state holds.
import { profileOf, nvIndices } from "../state/libtpms/facts.ts";
import { type Json, toJson, type ViewOptions } from "../state/libtpms/json.ts";
import { decodePermanent, type PermanentState } from "../state/libtpms/permanent.ts";
import { permanentText, volatileText } from "../state/libtpms/text.ts";
import { decodeVolatile } from "../state/libtpms/volatile.ts";
import type { StateBlobs } from "../state/store.ts";
import { type FoundState, type PlaceOptions, placeOf, readPlace } from "./state-place.ts";

export interface InspectOptions extends ViewOptions {
  readonly json?: boolean;
}

/** Prints the state and gives the exit status. @throws StateError, OptionError */
export async function inspectCommand(options: PlaceOptions, view: InspectOptions): Promise<number> {
  const place = await placeOf(options);
  const found = await readPlace(place);
  if (view.secrets)
    process.stderr.write("wtpm: Warning: this shows every secret of the TPM: keep it as you keep a private key\n");
  const text = view.json
    ? JSON.stringify(document(place.uri, place.format.name, found, view), null, 2)
    : page(place.uri, place.format.name, found, view);
  process.stdout.write(`${text}\n`);
  return 0;
}

function page(uri: string, format: string, { generation, inUse }: FoundState, view: ViewOptions): string {
  const { permanent, volatile } = generation.blobs;
  return [
    `${uri}: generation ${generation.number}, ${format}${inUse ? "; in use: a running TPM may be ahead of it" : ""}`,
    ...(permanent ? [permanentText(decodePermanent(permanent), view)] : ["No permanent state"]),
    ...(volatile ? [volatileText(decodeVolatile(volatile), view)] : []),
  ].join("\n\n");
}

/** Everything as JSON; `facts` is what takes more than one field to say. */
function document(uri: string, format: string, { generation, inUse }: FoundState, view: ViewOptions): Json {
  const state = decoded(generation.blobs);
  return {
    place: uri,
    generation: generation.number,
    format,
    inUse,
    ...(state.permanent ? { facts: facts(state.permanent, view), permanent: toJson(state.permanent, view) } : {}),
    ...(state.volatile ? { volatile: toJson(state.volatile, view) } : {}),
  };
}

function decoded({ permanent, volatile }: StateBlobs) {
  return {
    permanent: permanent && decodePermanent(permanent),
    volatile: volatile && decodeVolatile(volatile),
  };
}

function facts(state: PermanentState, view: ViewOptions): Json {
  const { name, stateFormatLevel } = profileOf(state);
  return toJson({ profile: { name, stateFormatLevel }, nvIndices: nvIndices(state) }, view);
}
