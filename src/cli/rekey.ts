// `wtpm state rekey`: other keys for a state in wtpm's encrypted format.
import { equalBytes } from "../codec/bytes.ts";
import type { KeyProvider } from "../state/encryption/key-provider.ts";
import { type KeyRing, KeyRingError } from "../state/encryption/key-ring.ts";
import { sealedFormat } from "../state/encryption/sealed-format.ts";
import type { StateFormat } from "../state/format.ts";
import { StateKeeper } from "../state/keeper.ts";
import { BLOB_TYPES, type StateBlobs, StateError } from "../state/store.ts";
import { namesProvider } from "./key-options.ts";
import { OptionError } from "./option-list.ts";
import { keyProvider } from "./provider-options.ts";
import { rewriteSnapshots } from "./snapshot-rekey.ts";
import { type PlaceOptions, placeOf, readPlace, say, warn } from "./state-place.ts";

export interface RekeyOptions {
  /** Lists of --key. One of them opens the state; a new data key needs those of all slots. */
  readonly key?: readonly string[];
  /** Lists as those of --key, for new slots. */
  readonly add?: readonly string[];
  /** Names of slots. */
  readonly remove?: readonly string[];
  readonly newDataKey?: boolean;
  /** Show the slots; with nothing else, change nothing. */
  readonly list?: boolean;
}

type Changes = Required<Pick<RekeyOptions, "add" | "remove" | "newDataKey">>;

/** Changes the keys and gives the exit status. @throws StateError, OptionError, KeyRingError */
export async function rekeyCommand(where: PlaceOptions, options: RekeyOptions): Promise<number> {
  const { key = [], add = [], remove = [], newDataKey = false, list = false } = options;
  if (key.length === 0) throw new OptionError("which key opens the state? --key provider=…");
  const changes = add.length > 0 || remove.length > 0 || newDataKey;
  if (!changes && !list)
    throw new OptionError("what is to change? --add LIST, --remove SLOT, --new-data-key, or --list to see the slots");
  const keys = key.map(provider);
  const ring = changes ? await change(where, keys, { add, remove, newDataKey }) : await currentRing(where, keys);
  if (remove.length > 0 && !newDataKey)
    warn("the data key is the same: a removed key still opens old copies, and with what it finds there the new state");
  if (list) for (const { name, kind } of ring.slots) say(`${name}\t${kind}`);
  return 0;
}

function provider(list: string): KeyProvider {
  if (!namesProvider(list)) {
    throw new OptionError(
      `'${list}' is a key of swtpm's: to change those, or to go to wtpm's format, use wtpm state convert --to-key`,
    );
  }
  return keyProvider(list, warn);
}

async function currentRing(where: PlaceOptions, keys: readonly KeyProvider[]): Promise<KeyRing> {
  const format = sealedFormat(keys);
  await readPlace(await placeOf({ ...where, format }));
  return format.ring()!;
}

/**
 * Writes everything under the changed keys, and reads it again: the snapshots, then the blobs, the permanent state last. Each is one commit,
 * and the keys given open both what is written already and what is not yet: an interrupted change is made whole by another.
 */
async function change(where: PlaceOptions, given: readonly KeyProvider[], options: Changes): Promise<KeyRing> {
  const added = options.add.map(provider);
  const keys = [...given, ...added];
  const [permanent, reading] = [sealedFormat(keys), sealedFormat(keys)];
  let writing: StateFormat = permanent;
  const format: StateFormat = {
    name: reading.name,
    encode: (type, blob, generation) => writing.encode(type, blob, generation),
    // Its keys are those that count: others may have been written already.
    decode: (type, bytes) => (type === "permanent" ? permanent : reading).decode(type, bytes),
  };
  const place = await placeOf({ ...where, format });
  const keeper = new StateKeeper(place.open());
  try {
    const blobs = await keeper.open();
    const before = permanent.ring();
    if (!before) throw new StateError("io", `${place.uri}: there is no state of a TPM 2.0`);
    const ring = changed(before, keys, added, options);
    writing = sealedFormat(keys, ring);
    const snapshots = rewriteSnapshots(place.uri, where, reading, writing);
    for (const type of [...BLOB_TYPES].reverse()) {
      // Another object: a store writes only what is not the same one.
      if (blobs[type]) await keeper.save({ [type]: blobs[type].slice() });
    }
    await verify(where, keys, blobs);
    const parts = [ring.slots.map(({ name }) => name).join(", ")];
    if (options.newDataKey) parts.push("a new data key");
    if (snapshots > 0) parts.push(`${snapshots} snapshots too`);
    say(`${place.uri}: ${parts.join("; ")}`);
    return ring;
  } finally {
    await keeper.close();
  }
}

function changed(
  ring: KeyRing,
  keys: readonly KeyProvider[],
  added: readonly KeyProvider[],
  { remove, newDataKey }: Changes,
): KeyRing {
  let result = ring;
  // First the additions: a slot may take the place of the last one.
  for (const each of added) result = result.added(each);
  for (const name of remove) result = result.without(name);
  if (!keys.some((key) => result.opensWith(key)))
    throw new KeyRingError("none of the keys given would open the state afterwards: give one that stays with --key");
  return newDataKey ? result.renewed(keys) : result;
}

/** Reads the state with the keys that are to open it from now on. */
async function verify(where: PlaceOptions, keys: readonly KeyProvider[], expected: StateBlobs): Promise<void> {
  const place = await placeOf({ ...where, format: sealedFormat(keys) });
  const store = place.open({ readOnly: true });
  const { blobs } = await store.load();
  await store.close();
  for (const type of BLOB_TYPES) {
    if (!equalBytes(blobs[type] ?? new Uint8Array(), expected[type] ?? new Uint8Array()))
      throw new StateError("damaged", `${place.uri}: the ${type} state that was written is read differently`);
  }
}
