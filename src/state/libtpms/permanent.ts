// libtpms' permanent state (PERSISTENT_ALL; swtpm's "permall"), field for field.
import { StateError } from "../store.ts";
import { orderlyData, persistentData, stateClear, stateReset } from "./data.ts";
import { indexOrderlyRam, userNvram } from "./nv.ts";
import { Reader, Writer } from "./cursor.ts";
import { fields, list, type Shape, u32, type ValueOf } from "./shape.ts";
import { structure } from "./structure.ts";

const MAGIC = 0xab364723;
/** The first that begins with a profile; before it the profile is "null". */
export const VERSION_WITH_PROFILE = 4;
/** From this version on the two parts that only TPM2_Shutdown(STATE) leaves are there after it alone. */
const VERSION_STATE_OPTIONAL = 3;
/** orderlyState without its flags (startup at locality 3, H-CRTM before startup). */
const ORDERLY_STATE_MASK = 0x3fff;
const TPM_SU_STATE = 1;

/** The writer's compile-time constants, in the order of libtpms' table; their names are in constants.ts. */
const compileConstants = structure(
  { name: "PA_COMPILE_CONSTANTS", magic: 0xc9ea6431, version: 3 },
  fields({ values: list(u32, 4) }),
);

/** A text with its zero, UINT16 length before it; length 0 for none. */
const text: Shape<string> = {
  read(reader) {
    const bytes = reader.take(reader.number(2));
    if (bytes.length > 0 && bytes.indexOf(0) !== bytes.length - 1) reader.damaged("a text without a zero at its end");
    return new TextDecoder().decode(bytes.subarray(0, Math.max(0, bytes.length - 1)));
  },
  write(writer, value) {
    const bytes = new TextEncoder().encode(value);
    writer.number(value === "" ? 0 : bytes.length + 1, 2);
    if (value !== "") writer.put(Uint8Array.of(...bytes, 0));
  },
};

interface PermanentContent {
  /** libtpms' JSON; only in version 4. */
  profile?: string;
  compileConstants: ValueOf<typeof compileConstants>;
  persistentData: ValueOf<typeof persistentData>;
  orderlyData: ValueOf<typeof orderlyData>;
  /** With stateClear what TPM2_Shutdown(STATE) kept. */
  stateReset?: ValueOf<typeof stateReset>;
  stateClear?: ValueOf<typeof stateClear>;
  indexOrderlyRam: ValueOf<typeof indexOrderlyRam>;
  userNvram: ValueOf<typeof userNvram>;
}

const permanentContent: Shape<PermanentContent> = {
  read(reader) {
    const { version } = reader;
    const part = <T>(name: string, shape: Shape<T>) => reader.at(name, () => shape.read(reader));
    const head = {
      ...(version >= VERSION_WITH_PROFILE ? { profile: part("profile", text) } : {}),
      compileConstants: part("compileConstants", compileConstants),
      persistentData: part("persistentData", persistentData),
      orderlyData: part("orderlyData", orderlyData),
    };
    const kept =
      version < VERSION_STATE_OPTIONAL || (head.persistentData.orderlyState & ORDERLY_STATE_MASK) === TPM_SU_STATE;
    return {
      ...head,
      ...(kept ? { stateReset: part("stateReset", stateReset), stateClear: part("stateClear", stateClear) } : {}),
      indexOrderlyRam: part("indexOrderlyRam", indexOrderlyRam),
      userNvram: part("userNvram", userNvram),
    };
  },
  write(writer, value) {
    if (value.profile !== undefined) text.write(writer, value.profile);
    compileConstants.write(writer, value.compileConstants);
    persistentData.write(writer, value.persistentData);
    orderlyData.write(writer, value.orderlyData);
    if (value.stateReset) stateReset.write(writer, value.stateReset);
    if (value.stateClear) stateClear.write(writer, value.stateClear);
    indexOrderlyRam.write(writer, value.indexOrderlyRam);
    userNvram.write(writer, value.userNvram);
  },
};

const persistentAll = structure({ name: "PERSISTENT_ALL", magic: MAGIC, version: 4 }, permanentContent);
export type PermanentState = ValueOf<typeof persistentAll>;

/**
 * The permanent state that a TPM stored, without swtpm's container.
 *
 * @throws StateError "damaged" or "too-new", with what is wrong and where.
 */
export function decodePermanent(blob: Uint8Array): PermanentState {
  const reader = new Reader(blob, "permanent state");
  const state = persistentAll.read(reader);
  const end = reader.number(4);
  if (end !== MAGIC) reader.damaged(`0x${end.toString(16)} where the state's magic number ends it`, reader.offset - 4);
  if (reader.offset !== blob.length) reader.damaged(`${blob.length - reader.offset} bytes after its end`);
  return state;
}

/** The bytes of a permanent state: of what `decodePermanent` gave, exactly those that it was given. */
export function encodePermanent(state: PermanentState): Uint8Array {
  const writer = new Writer();
  persistentAll.write(writer, state);
  u32.write(writer, MAGIC);
  return writer.take();
}

/** What a profile's JSON says. @throws StateError "damaged" when it is none */
export function parseProfile(json: string): Record<string, unknown> {
  try {
    const profile = JSON.parse(json) as unknown;
    if (typeof profile === "object" && profile !== null) return profile as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new StateError("damaged", "the permanent state is damaged: its profile is no JSON object");
}
