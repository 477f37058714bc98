// --print-capabilities: swtpm's words for what works here.
import { packageVersion } from "./version.ts";

const FEATURES = [
  "tpm-2.0",
  "tpm-send-command-header",
  "flags-opt-startup",
  "flags-opt-disable-auto-shutdown",
  "ctrl-opt-terminate",
  "cmdarg-seccomp",
  "cmdarg-print-states",
  "cmdarg-migration",
  "nvram-backend-dir",
];
/** Words that swtpm prints after the key sizes. */
const LATER_FEATURES = ["cmdarg-print-info", "tpmstate-opt-lock", "tpmstate-dir-backend-opt-fsync"];

/**
 * The JSON text, in swtpm's layout.
 *
 * @param rsaKeySizes in bits; undefined when the question was not about TPM 2.0.
 */
export function capabilities(rsaKeySizes: readonly number[] | undefined): string {
  const sizes = (rsaKeySizes ?? []).map((size) => `rsa-keysize-${size}`);
  const features = [...FEATURES, ...sizes, ...LATER_FEATURES].map((word) => `"${word}"`).join(", ");
  return `{ "type": "swtpm", "features": [ ${features} ], "profiles": { }, "version": "${packageVersion()}" }`;
}
