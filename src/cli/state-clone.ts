// `wtpm state clone`: a second TPM from the state of one.
import { StateError } from "../state/store.ts";
import { checkState } from "./state-check.ts";
import type { TargetOptions } from "./state-commands.ts";
import { newIdentity } from "./state-identity.ts";
import { OptionError } from "./option-list.ts";
import {
  isSamePlace,
  type PlaceOptions,
  placeOf,
  readPlace,
  say,
  targetPlace,
  warn,
  writePlace,
} from "./state-place.ts";

export interface CloneOptions {
  readonly newIdentity?: boolean;
  readonly removeEkCertificates?: boolean;
}

/** Copies a state and gives the exit status. @throws StateError, OptionError */
export async function cloneCommand(from: PlaceOptions, to: TargetOptions, options: CloneOptions): Promise<number> {
  if (options.removeEkCertificates && !options.newIdentity)
    throw new OptionError("--remove-ek-certificates goes with --new-identity: in a plain copy the certificates fit");
  const source = await placeOf(from);
  const target = await targetPlace(source, to);
  if (isSamePlace(source, target))
    throw new OptionError(`${target.uri}: the clone would take the place of the original, which would be lost`);
  const { generation, inUse } = await readPlace(source);
  if (inUse) warn(`${source.uri}: a running TPM uses it and may be ahead of what is copied`);
  const { blobs } = generation;
  for (const { kind, part, text } of checkState(blobs))
    if (kind === "problem") throw new StateError("damaged", `${source.uri}: ${part} state: ${text}`);
  if (!options.newIdentity) {
    await writePlace(target, blobs, to);
    say(`${target.uri}: the same TPM once more; it has the keys of ${source.uri}, and whoever trusts one trusts both`);
    return 0;
  }
  const clone = await newIdentity(blobs.permanent!, { removeCertificates: options.removeEkCertificates ?? false });
  await writePlace(target, { permanent: clone.permanent }, to);
  say(`${target.uri}: a TPM of its own; endorsement, owner and platform hierarchy have new seeds and proofs`);
  if (blobs.volatile) say("the volatile state was left out: it belongs to the old seeds");
  for (const sentence of clone.lost) say(sentence);
  for (const { handle, subject, removed } of clone.certificates)
    say(`0x${handle.toString(16).padStart(8, "0")}: ${subject}: ${removed ? "removed" : "no longer fits"}`);
  return 0;
}
