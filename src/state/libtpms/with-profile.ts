// A permanent state as a TPM with another profile would have written it.
import { commandBits, commandCodes, hierarchyOf } from "./facts.ts";
import type { KeyObject, ObjectAttributes } from "./object.ts";
import { type PermanentState, VERSION_WITH_PROFILE } from "./permanent.ts";
import { Secret } from "./secret.ts";

/** The StateFormatLevels from which on structures have newer versions. */
const LEVEL_COMMANDS_BY_CODE = 3;
const LEVEL_OBJECT_HIERARCHY = 6;

const TPM_RH = { owner: 0x40000001, null: 0x40000007, endorsement: 0x4000000b, platform: 0x4000000c } as const;

/** A profile as libtpms prints it; no JSON for the null profile. */
export interface TargetProfile {
  readonly json: string | undefined;
  readonly stateFormatLevel: number;
}

/**
 * The state under another profile. Whether the profile has all algorithms and commands that the state uses is not looked at.
 *
 * @param state whose structures have the versions that libtpms 0.9 or later writes
 */
export function withProfile(state: PermanentState, { json, stateFormatLevel }: TargetProfile): PermanentState {
  const { profile: _, ...rest } = state;
  const version = json === undefined ? VERSION_WITH_PROFILE - 1 : VERSION_WITH_PROFILE;
  const data = state.persistentData;
  const dataVersion = stateFormatLevel >= LEVEL_COMMANDS_BY_CODE ? 5 : 4;
  const commands = (list: Uint8Array) => commandBits(commandCodes(list, data.version), dataVersion);
  return {
    ...rest,
    ...(json === undefined ? {} : { profile: json }),
    version,
    minVersion: version,
    persistentData: {
      ...data,
      version: dataVersion,
      minVersion: dataVersion,
      ppList: commands(data.ppList),
      auditCommands: commands(data.auditCommands),
    },
    userNvram: {
      ...state.userNvram,
      entries: state.userNvram.entries.map((entry) =>
        entry.object?.object
          ? {
              ...entry,
              object: {
                ...entry.object,
                object: objectAtLevel(entry.object.object, entry.object.attributes, stateFormatLevel),
              },
            }
          : entry,
      ),
    },
  };
}

/** OBJECT of version 4 says its hierarchy, and has CRT exponents with RSA keys only. */
function objectAtLevel(object: KeyObject, attributes: ObjectAttributes, level: number): KeyObject {
  const { hierarchy, privateExponent, ...rest } = object;
  if (level < LEVEL_OBJECT_HIERARCHY)
    return { ...rest, version: 3, minVersion: 3, privateExponent: privateExponent ?? NO_EXPONENT };
  return {
    ...rest,
    version: 4,
    minVersion: 4,
    privateExponent: object.sensitive.sensitiveType === "TPM_ALG_RSA" ? (privateExponent ?? NO_EXPONENT) : undefined,
    hierarchy: hierarchy ?? TPM_RH[hierarchyOf(attributes)],
  };
}

const HEADER = { version: 2, minVersion: 1 } as const;
const ZERO = { ...HEADER, value: new Secret(new Uint8Array()) } as const;
const NO_EXPONENT = { ...HEADER, Q: ZERO, dP: ZERO, dQ: ZERO, qInv: ZERO } as const;
