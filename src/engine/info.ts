// What CMD_GET_INFO tells about this TPM (swtpm's --print-info): JSON, with the parts that the flags ask for, as libtpms 0.11
// writes it.
import { type Engine, PROFILE_ACTIVE, PROFILE_BUILT_IN, PROFILE_LISTS } from "./engine.ts";

/** SWTPM_INFO_*. */
export const INFO = {
  TPMSPECIFICATION: 1,
  TPMATTRIBUTES: 2,
  TPMFEATURES: 4,
  RUNTIME_ALGORITHMS: 8,
  RUNTIME_COMMANDS: 0x10,
  ACTIVE_PROFILE: 0x20,
  AVAILABLE_PROFILES: 0x40,
  RUNTIME_ATTRIBUTES: 0x80,
} as const;

const SPECIFICATION = '"TPMSpecification":{"family":"2.0","level": 0,"revision": 183}';
const ATTRIBUTES = '"TPMAttributes":{"manufacturer":"id:00001014","version":"id:20240125","model":"swtpm"}';
const FEATURES = '"TPMFeatures":{"RSAKeySizes":[1024,2048,3072,4096],"CamelliaKeySizes":[128,192,256]}';

/**
 * JSON text; `flags` are those of CMD_GET_INFO. Profiles are put in as they are, without an escape, as libtpms does.
 *
 * @param engine gives the running TPM, or one that has no profile yet; asked only where it has something to tell.
 */
export function engineInfo(flags: number, engine: () => Engine): string {
  const parts: string[] = [];
  const add = (flag: number, part: () => string | undefined) => {
    const text = flags & flag ? part() : undefined;
    if (text !== undefined) parts.push(text);
  };
  add(INFO.TPMSPECIFICATION, () => SPECIFICATION);
  add(INFO.TPMATTRIBUTES, () => ATTRIBUTES);
  add(INFO.TPMFEATURES, () => FEATURES);
  add(INFO.RUNTIME_ALGORITHMS, () => runtime("Algorithms", engine()));
  add(INFO.RUNTIME_COMMANDS, () => runtime("Commands", engine()));
  add(INFO.RUNTIME_ATTRIBUTES, () => runtime("Attributes", engine()));
  add(INFO.ACTIVE_PROFILE, () => {
    const active = engine().profileText(PROFILE_ACTIVE);
    return active && `"ActiveProfile":${active}`;
  });
  add(INFO.AVAILABLE_PROFILES, () => `"AvailableProfiles":[${builtInProfiles(engine()).join(",")}]`);
  return `{${parts.filter(Boolean).join(",")}}`;
}

/** What there is, and what of it the profile in force has. */
function runtime(subject: keyof typeof PROFILE_LISTS, engine: Engine): string {
  const lists = ["Implemented", "CanBeDisabled", "Enabled", "Disabled"].map(
    (filter, i) => `"${filter}":"${engine.profileText(PROFILE_LISTS[subject] + i)}"`,
  );
  return `"Runtime${subject}":{${lists.join(",")}}`;
}

function builtInProfiles(engine: Engine): string[] {
  const profiles: string[] = [];
  for (let text = engine.profileText(PROFILE_BUILT_IN); text; ) {
    profiles.push(text);
    text = engine.profileText(PROFILE_BUILT_IN + profiles.length);
  }
  return profiles;
}
