// Where libtpms 0.9.2 is known to differ from the version whose behaviour the engine has, and why.
import type { Difference } from "./engine-lock-step.ts";
import type { Step } from "./engine-steps.ts";

export interface KnownDifference {
  readonly reason: string;
  readonly is: (difference: Difference, steps: readonly Step[]) => boolean;
}

const RC = {
  VALUE: 0x84,
  SIZE: 0x95,
  INSUFFICIENT: 0x9a,
  RESERVED_BITS: 0xa1,
  FAILURE: 0x101,
  AUTH_TYPE: 0x124,
  AUTH_UNAVAILABLE: 0x12f,
  CPHASH: 0x151,
  LOCKOUT: 0x921,
} as const;

/** A response code without what it stands at; whether both stand at handles (Part 2, 6.6.3). */
const code = (rc: number) => (rc & 0x80 ? rc & 0xbf : rc);
const bothAtHandles = (codes: readonly number[]) =>
  codes.every((rc) => (rc & 0x80) !== 0 && (rc & 0x40) === 0 && rc >> 8 >= 1 && rc >> 8 <= 7);
const means = (rc: number, wanted: number) => code(rc) === wanted;

const hasMac = (steps: readonly Step[]) => steps.some((step) => "name" in step && step.name === "MAC_Start");

/** Create, CreatePrimary, CreateLoaded, Load, LoadExternal, Import. */
const WITH_PUBLIC_AREA = new Set([0x153, 0x131, 0x191, 0x157, 0x167, 0x156]);
/** StartAuthSession, ActivateCredential, RSA_Encrypt, RSA_Decrypt, Rewrap. */
const WITH_RSA_KEY_SIZE = new Set([0x176, 0x147, 0x174, 0x159, 0x152]);
const codeOf = ({ command }: Difference) => Number.parseInt(command.slice(12, 20), 16);
const hasPublicArea = (difference: Difference) => WITH_PUBLIC_AREA.has(codeOf(difference));

export const knownDifferences: readonly KnownDifference[] = [
  {
    reason:
      "A wrong lockoutAuth with lockoutRecovery 0 disables it until the next TPM Reset. libtpms keeps that in memory only, so that a state that goes elsewhere has it enabled again; the engine's state has it.",
    is: ({ command, codes }) =>
      command.includes("4000000a") && codes.includes(RC.LOCKOUT) && codes.some((rc) => rc !== RC.LOCKOUT),
  },
  {
    reason: "libtpms 0.9 answers TPM_RC_VALUE to a second, different templateHash, later versions TPM_RC_CPHASH.",
    is: ({ name, codes }) => name === "PolicyTemplate" && means(codes[0], RC.CPHASH) && means(codes[1], RC.VALUE),
  },
  {
    reason:
      "libtpms 0.9 writes the a and b of TPMS_ALGORITHM_DETAIL_ECC without leading zeros, later versions as long as p.",
    is: ({ name, codes }) => name === "ECC_Parameters" && codes[0] === 0 && codes[1] === 0,
  },
  {
    reason:
      "libtpms 0.9 says that it is parameter 1 that is no sequence object; later versions say handle 1, as it is.",
    is: ({ name, codes }) => name === "SequenceUpdate" && codes[0] === 0x189 && codes[1] === 0x1c9,
  },
  {
    reason:
      "libtpms 0.9 counts the handles of TPM2_CertifyX509 the other way round; later versions as Part 3 has them.",
    is: ({ name, codes }) => name === "CertifyX509" && code(codes[0]) === code(codes[1]) && bothAtHandles(codes),
  },
  {
    reason: "libtpms 0.9 answers TPM_RC_FAILURE to what an RSA key cannot decrypt; later versions TPM_RC_VALUE.",
    is: ({ name, codes }) => name === "RSA_Decrypt" && codes[0] === RC.VALUE && codes[1] === RC.FAILURE,
  },
  {
    reason:
      "libtpms' state has no place for a CMAC in progress: a sequence of one does not go on elsewhere, nor does one of libtpms' here.",
    is: ({ name, codes }, steps) =>
      name.startsWith("Sequence") && hasMac(steps) && (codes.includes(RC.FAILURE) || codes[0] < 0),
  },
  {
    reason:
      "libtpms fails an assertion when a bound session is to authorize a key of which only the public part is loaded. By Part 3, 5.6 the answer is TPM_RC_AUTH_UNAVAILABLE.",
    is: ({ codes }) => codes[0] === RC.AUTH_UNAVAILABLE && codes[1] === RC.FAILURE,
  },
  {
    reason: "A saved CMAC sequence has its state in it; libtpms' has not.",
    is: ({ name, codes }, steps) => name === "ContextSave" && codes[0] === 0 && codes[1] === 0 && hasMac(steps),
  },
  {
    reason:
      "TPM2_ZGen_2Phase: libtpms fails an assertion over ECMQV, and over SM2 on wide curves; its SM2 keeps one bit less of the ephemeral keys than GM/T 0003.3.",
    is: ({ name, codes, command }) => name === "ZGen_2Phase" && codes[0] === 0 && /00(1d|1b)....$/.test(command),
  },
  {
    reason:
      "The bits 8 and 9 of TPMA_OBJECT, to which version 1.83 has given a meaning, are reserved for libtpms 0.9. Later ones refuse them later, or not at all in a public area alone.",
    is: (difference) => hasPublicArea(difference) && means(difference.codes[1], RC.RESERVED_BITS),
  },
  {
    reason:
      "The largest private and sensitive areas, and what an RSA key encrypts: later versions have room for RSA-4096.",
    is: (difference) =>
      (hasPublicArea(difference) || WITH_RSA_KEY_SIZE.has(codeOf(difference))) &&
      means(difference.codes[0], RC.INSUFFICIENT) &&
      means(difference.codes[1], RC.SIZE),
  },
  {
    reason: "PCR 20 to 22 have an authorization policy in libtpms 0.9, and none later.",
    is: ({ command, codes }) => /^.{20}0000001[456]/.test(command) && codes[1] === RC.AUTH_TYPE,
  },
];

/** The entry for a difference, if it is known. */
export function knownDifference(difference: Difference, steps: readonly Step[]): KnownDifference | undefined {
  return knownDifferences.find(({ is }) => is(difference, steps));
}

/**
 * Whether the two TPMs are in the same state after a difference: both have refused the command, or both have carried it out. libtpms may be
 * in failure mode when it says so.
 */
export const stillTogether = ({ codes }: Difference): boolean =>
  codes[0] >= 0 && (codes[0] === 0) === (codes[1] === 0) && codes[1] !== RC.FAILURE;
