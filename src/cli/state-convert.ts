// `wtpm state convert`: the same TPM in another place, encryption or profile.
import { StateError } from "../state/store.ts";
import { checkState } from "./state-check.ts";
import type { TargetOptions } from "./state-commands.ts";
import { rewriteSnapshots } from "./snapshot-rekey.ts";
import {
  type Place,
  type PlaceOptions,
  placeOf,
  readPlace,
  say,
  targetPlace,
  warn,
  writePlace,
} from "./state-place.ts";
import { underProfile } from "./state-profile.ts";

/** Converts, without a target in place, and gives the exit status. @throws StateError, OptionError */
export async function convertCommand(
  from: PlaceOptions,
  to: TargetOptions,
  { profile }: { readonly profile?: string },
): Promise<number> {
  const source = await placeOf(from);
  const inPlace = to.place === undefined && to.tpmstate === undefined;
  const target = await targetPlace(
    source,
    inPlace ? { ...to, place: from.place, tpmstate: from.tpmstate, key: to.key } : to,
  );
  const { generation, inUse } = await readPlace(source);
  if (inUse && inPlace) throw new StateError("locked", `${source.uri}: a running TPM uses it; stop it first`);
  if (inUse) warn(`${source.uri}: a running TPM uses it and may be ahead of what is copied`);
  const blobs = profile === undefined ? { ...generation.blobs } : await underProfile(generation.blobs, profile);
  for (const { kind, part, text } of checkState(blobs))
    if (kind === "problem") throw new StateError("damaged", `${source.uri}: ${part} state: ${text}`);
  if (inPlace && source.format !== target.format) await convertSnapshots(source, target, from);
  await writePlace(target, blobs, inPlace ? { replace: true, before: source.format } : to);
  say(`${target.uri}: ${target.format.name}`);
  return 0;
}

/** What lies beside the state has the same key: before the state, so that what cannot be read there stops everything. */
async function convertSnapshots(source: Place, target: Place, where: PlaceOptions): Promise<void> {
  const store = source.open();
  try {
    await store.acquire();
    rewriteSnapshots(source.uri, where, source.format, target.format);
  } finally {
    await store.close();
  }
}
