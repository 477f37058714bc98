// `wtpm state convert`: the same TPM in another place, encryption or profile.
import { StateError } from "../state/store.ts";
import { checkState } from "./state-check.ts";
import type { TargetOptions } from "./state-commands.ts";
import { OptionError } from "./option-list.ts";
import { rewriteSnapshots } from "./snapshot-rekey.ts";
import {
  isSamePlace,
  type Place,
  type PlaceOptions,
  placeOf,
  readPlace,
  rewritePlace,
  say,
  targetPlace,
  warn,
  writePlace,
} from "./state-place.ts";
import { eitherFormat } from "./state-formats.ts";
import { underProfile } from "./state-profile.ts";

/** Converts, without a target in place, and gives the exit status. @throws StateError, OptionError */
export async function convertCommand(
  from: PlaceOptions,
  to: TargetOptions,
  { profile }: { readonly profile?: string },
): Promise<number> {
  const given = await placeOf(from);
  const inPlace = to.place === undefined && to.tpmstate === undefined;
  const target = await targetPlace(
    given,
    inPlace ? { ...to, place: from.place, tpmstate: from.tpmstate, key: to.key } : to,
  );
  if (!inPlace && isSamePlace(given, target))
    throw new OptionError(`${target.uri}: leave the target out to convert the state where it is`);
  // A conversion that was interrupted is completed by another.
  const source = inPlace ? await placeOf({ ...from, format: eitherFormat(given.format, target.format) }) : given;
  const { generation, inUse } = await readPlace(source);
  if (inUse && inPlace) throw new StateError("locked", `${source.uri}: a running TPM uses it; stop it first`);
  if (inUse) warn(`${source.uri}: a running TPM uses it and may be ahead of what is copied`);
  const blobs = profile === undefined ? { ...generation.blobs } : await underProfile(generation.blobs, profile);
  for (const { kind, part, text } of checkState(blobs))
    if (kind === "problem") throw new StateError("damaged", `${source.uri}: ${part} state: ${text}`);
  if (inPlace && given.format !== target.format) await convertSnapshots(given, target, from);
  if (inPlace) await rewritePlace(target, blobs, source.format);
  else await writePlace(target, blobs, to);
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
