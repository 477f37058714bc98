// --print-capabilities: swtpm's words for what works here.
import { packageVersion } from "./version.ts";

const FEATURES = [
  "tpm-2.0",
  "tpm-send-command-header",
  "flags-opt-startup",
  "flags-opt-disable-auto-shutdown",
  "ctrl-opt-terminate",
  "cmdarg-seccomp",
  "cmdarg-key-fd",
  "cmdarg-pwd-fd",
  "cmdarg-print-states",
  "cmdarg-migration",
  "nvram-backend-dir",
  "nvram-backend-file",
];
/** Words that are printed where TPM 2.0 is asked about, after the key sizes. */
const TPM2_FEATURES = ["cmdarg-profile", "cmdarg-print-profiles", "profile-opt-remove-disabled"];
/** Words that come after those. */
const LATER_FEATURES = [
  "cmdarg-print-info",
  "tpmstate-opt-lock",
  "tpmstate-dir-backend-opt-backup",
  "tpmstate-dir-backend-opt-fsync",
];

interface Info {
  readonly TPMFeatures: { readonly RSAKeySizes: readonly number[] };
  readonly RuntimeAlgorithms: Lists;
  readonly RuntimeCommands: Lists;
  readonly AvailableProfiles: readonly { readonly Name: string }[];
}
interface Lists {
  readonly Implemented: string;
  readonly CanBeDisabled: string;
}

/**
 * The JSON text, in swtpm's layout.
 *
 * @param tpm2 what the TPM tells (CMD_GET_INFO) of features, algorithms, commands and profiles; undefined when the question was
 *   not about TPM 2.0.
 */
export function capabilities(tpm2: string | undefined): string {
  const info = tpm2 === undefined ? undefined : (JSON.parse(tpm2) as Info);
  const sizes = info?.TPMFeatures.RSAKeySizes.map((size) => `rsa-keysize-${size}`) ?? [];
  const words = [...FEATURES, ...sizes, ...(info ? TPM2_FEATURES : []), ...LATER_FEATURES];
  const features = words.map((word) => `"${word}"`).join(", ");
  const profiles = info ? `${profilesText(info)} ` : "";
  return `{ "type": "swtpm", "features": [ ${features} ], "profiles": { ${profiles}}, "version": "${packageVersion()}" }`;
}

function profilesText(info: Info): string {
  const names = info.AvailableProfiles.map(({ Name }) => `"${Name}"`).join(", ");
  const lists = ({ CanBeDisabled, Implemented }: Lists) =>
    `{ "canbedisabled": "${CanBeDisabled}", "implemented": "${Implemented}" }`;
  return `"names": [ ${names} ], "algorithms": ${lists(info.RuntimeAlgorithms)}, "commands": ${lists(info.RuntimeCommands)}`;
}
