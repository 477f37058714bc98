// Random sequences of commands, sent to the engine and to Debian's swtpm (libtpms 0.9.2) at once.
import { expect, it } from "vitest";
import { type Difference, describeDifference, lockStep } from "../support/engine-lock-step.ts";

/** More than the ordinary half minute: WTPM_DIFFERENTIAL_SECONDS=3600 WTPM_DIFFERENTIAL_SEED=tonight. */
const SECONDS = Number(process.env.WTPM_DIFFERENTIAL_SECONDS ?? 25);
const SEED = process.env.WTPM_DIFFERENTIAL_SEED ?? "differential";
/** Differences to collect before giving up. */
const ENOUGH = Number(process.env.WTPM_DIFFERENTIAL_ENOUGH ?? 5);
const LENGTH = 400;

/** Where libtpms 0.9.2 is known to differ from the version whose behaviour the engine has. */
const knownDifferences: readonly { readonly reason: string; readonly is: (difference: Difference) => boolean }[] = [
  {
    reason:
      "A wrong lockoutAuth with lockoutRecovery 0 disables it until the next TPM Reset. libtpms keeps that in memory only, so that a migration enables it again; the engine's state has it.",
    is: ({ command, engine, history }) =>
      command.includes("4000000a") && engine.includes("TPM_RC_LOCKOUT") && history.includes("migrate"),
  },
  {
    reason: "libtpms 0.9 answers TPM_RC_VALUE to a second, different templateHash, later versions TPM_RC_CPHASH.",
    is: ({ command, engine, swtpm }) =>
      command.startsWith("PolicyTemplate") && engine.includes("TPM_RC_CPHASH") && swtpm.includes("TPM_RC_VALUE"),
  },
  {
    reason:
      "libtpms 0.9 writes the a and b of TPMS_ALGORITHM_DETAIL_ECC without leading zeros, later versions as long as p.",
    is: ({ command, engine, swtpm }) =>
      command.startsWith("ECC_Parameters") && engine.startsWith("SUCCESS") && swtpm.startsWith("SUCCESS"),
  },
];

it(
  "answers random sequences of commands as swtpm does, through power cycles and migrations",
  async () => {
    const differences: Difference[] = [];
    const end = Date.now() + SECONDS * 1000;
    let sequences = 0;
    while (Date.now() < end && differences.length < ENOUGH) {
      const difference = await lockStep(`${SEED} ${sequences++}`, LENGTH, (found) =>
        knownDifferences.some(({ is }) => is(found)),
      );
      if (difference) differences.push(difference);
    }
    expect(sequences).toBeGreaterThan(5);
    expect(differences.map(describeDifference).join("\n\n")).toBe("");
  },
  SECONDS * 1000 + 120_000,
);
