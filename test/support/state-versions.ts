// States as older and newer versions of libtpms would have written them, forged from a decoded one.
import type { PermanentState } from "../../src/state/libtpms/permanent.ts";

type Node = Record<string, unknown>;

/** A place in a decoded state: names of fields and numbers of elements. */
export type Path = readonly (string | number)[];

/** The places of all structures in a decoded state that have a version, the state itself first. */
export function structuresOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return [];
  const own: Path[] = "minVersion" in value ? [path] : [];
  const isList = Array.isArray(value);
  return [
    ...own,
    ...Object.entries(value).flatMap(([name, part]) => structuresOf(part, [...path, isList ? Number(name) : name])),
  ];
}

/** A copy in which the part at `path` is changed. */
export function changed<T>(value: T, path: Path, change: (part: Node) => Node): T {
  const [name, ...rest] = path;
  if (name === undefined) return change(value as Node) as T;
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Node;
  copy[name] = changed(copy[name], rest, change);
  return copy as T;
}

/** Without the fields of these names. */
const without = (node: object, ...names: string[]): Node =>
  Object.fromEntries(Object.entries(node).filter(([name]) => !names.includes(name)));

/** The first 88 constants, with the values of a libtpms that knew no RSA-3072. */
const OLD_CONSTANTS: Readonly<Record<number, number>> = { 34: 2048, 63: 2474, 68: 131072 };
const OLD_CONSTANT_COUNT = 88;

/** What libtpms 0.6 and 0.7 wrote: before seedCompatLevels, contexts counted in eight bits. */
export function asLibtpms07(state: PermanentState): PermanentState {
  const oldObject = (object: object) => ({ ...without(object, "seedCompatLevel"), version: 2, minVersion: 1 });
  const old = {
    ...state,
    version: 3,
    minVersion: 3,
    compileConstants: {
      version: 2,
      minVersion: 1,
      values: state.compileConstants.values.slice(0, OLD_CONSTANT_COUNT).map((value, i) => OLD_CONSTANTS[i] ?? value),
    },
    persistentData: {
      ...without(state.persistentData, "EPSeedCompatLevel", "SPSeedCompatLevel", "PPSeedCompatLevel"),
      version: 3,
      minVersion: 1,
    },
    ...(state.stateReset && {
      stateReset: {
        ...without(state.stateReset, "contextSlotMask", "nullSeedCompatLevel"),
        version: 2,
        minVersion: 1,
      },
    }),
    userNvram: {
      ...state.userNvram,
      entries: state.userNvram.entries.map((entry) =>
        entry.object?.object
          ? { ...entry, object: { ...entry.object, object: oldObject(entry.object.object) } }
          : entry,
      ),
    },
  };
  return old as unknown as PermanentState;
}

/** What snapshots before libtpms 0.6 wrote: version 2, one allocation of PCRs. */
export function asVersion2(state: PermanentState): PermanentState {
  const old = asLibtpms07(state);
  const persistentData = { ...without(old.persistentData, "pcrActive"), version: 2, minVersion: 1 };
  return { ...old, version: 2, minVersion: 1, persistentData } as unknown as PermanentState;
}
