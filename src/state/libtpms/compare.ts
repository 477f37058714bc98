// Whether two states mean the same, when newer and older versions of libtpms write it in different ways.
import { commandNames } from "./facts.ts";
import { type Json, toJson } from "./json.ts";
import type { PermanentState } from "./permanent.ts";
import type { VolatileState } from "./volatile.ts";

type Fields = { [name: string]: Json };

/** Fields that say how a state is written, or that nothing reads. */
const FORM =
  /^(version|minVersion|compileConstants|areaSize|entrySize|contextSlotMask|evictNvEnd|unused|unknown|manufactured)$/;

/**
 * Paths of the fields in which `again`, a state that a TPM stored again at once, differs in its meaning from what was stored.
 * Empty if nothing was lost.
 */
export function differences<T extends PermanentState | VolatileState>(stored: T, again: T): string[] {
  const [before, after] = [meaning(stored), meaning(again)];
  // What a later version of the volatile state added says nothing about an earlier one.
  for (const name of Object.keys(after)) if (!(name in before)) delete after[name];
  return compare(before, after, "", (left, right, path) => (left === right ? [] : [path]));
}

/** "version 4 of persistentData instead of 3", for each structure that `again` has in another version. */
export function versionChanges<T extends PermanentState | VolatileState>(stored: T, again: T): string[] {
  return compare(toJson(stored), toJson(again), "", (left, right, path) => {
    const of = /^(?:(.*)\.)?version$/.exec(path);
    return of && left !== undefined && left !== right
      ? [`version ${right} of ${of[1] ?? "the state"} instead of ${left}`]
      : [];
  });
}

function compare(
  a: Json | undefined,
  b: Json | undefined,
  path: string,
  leaf: (a: Json | undefined, b: Json | undefined, path: string) => string[],
): string[] {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return leaf(a, b, path);
  const [left, right] = [a as Fields, b as Fields];
  const names = [...new Set([...Object.keys(left), ...Object.keys(right)])];
  return names.flatMap((name) => {
    const inner = Array.isArray(a) ? `${path}[${name}]` : path === "" ? name : `${path}.${name}`;
    return compare(left[name], right[name], inner, leaf);
  });
}

/** The state as JSON, secrets too, in the words of the newest version. */
function meaning(state: PermanentState | VolatileState): Fields {
  const fields = withoutForm(toJson(state, { secrets: true })) as Fields;
  if (!("persistentData" in state)) return fields;
  const data = state.persistentData;
  fields.persistentData = {
    // Before version 4 there was one way to derive keys, before version 3 one allocation.
    EPSeedCompatLevel: 0,
    SPSeedCompatLevel: 0,
    PPSeedCompatLevel: 0,
    ...(fields.persistentData as Fields),
    pcrActive: toJson(data.pcrActive ?? data.pcrAllocated),
    ppList: commandNames(data.ppList, data.version),
    auditCommands: commandNames(data.auditCommands, data.version),
  };
  // Version 2 always had these; without TPM2_Shutdown(STATE) they mean nothing.
  if ((data.orderlyState & 0x3fff) !== 1) {
    delete fields.stateReset;
    delete fields.stateClear;
  }
  return fields;
}

function withoutForm(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutForm);
  if (typeof value !== "object" || value === null) return value;
  const fields: Fields = {};
  for (const [name, part] of Object.entries(value)) if (!FORM.test(name)) fields[name] = withoutForm(part);
  if ("qualifiedName" in fields) fields.seedCompatLevel ??= 0;
  if ("nullSeed" in fields) fields.nullSeedCompatLevel ??= 0;
  // A place of a sequence that is not used.
  if ("hashAlg" in fields && Object.keys((fields.state as Fields | undefined) ?? { used: 1 }).length === 0) return null;
  return fields;
}
