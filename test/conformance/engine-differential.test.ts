// Random sequences of commands, sent to the engine and to Debian's swtpm (libtpms 0.9.2) at once: npm run differential has more of them.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { knownDifference, knownDifferences } from "../support/differential-known.ts";
import { differential } from "../support/differential-run.ts";
import { type Difference, describeDifference, Pair } from "../support/engine-lock-step.ts";
import { RH, type Step, sized, u16, u32 } from "../support/engine-steps.ts";

/** More than the ordinary half minute: WTPM_DIFFERENTIAL_SEQUENCES=10000 WTPM_DIFFERENTIAL_SEED=tonight. */
const SEQUENCES = Number(process.env.WTPM_DIFFERENTIAL_SEQUENCES ?? 40);
const SEED = process.env.WTPM_DIFFERENTIAL_SEED ?? "differential";
/** Of one sequence on a busy machine. */
const PATIENCE_MS = 10_000;

it(
  "answers random sequences of commands as swtpm does, through power cycles and migrations between the two",
  async () => {
    const limits = { sequences: SEQUENCES, end: Number.POSITIVE_INFINITY, enough: 3 };
    const { counts, differences } = await differential({ seed: SEED, ...limits });
    expect(differences.map(({ difference, steps }) => `${difference}\n${JSON.stringify(steps)}`).join("\n\n")).toBe("");
    expect(counts.succeeded).toBeGreaterThan(100 * SEQUENCES);
    // A clock that ticked between the two answers.
    expect(counts.unstable).toBeLessThan(3 + SEQUENCES / 20);
  },
  SEQUENCES * PATIENCE_MS,
);

const EMPTY_PASSWORD = `${u32(RH.PW)}0000000000`;
let ids = 0;

function command(
  name: string,
  code: number,
  parts: { handles?: readonly (number | string)[]; auths?: readonly string[]; parameters?: string; locality?: number },
): Step {
  const handles = (parts.handles ?? []).map((handle) => (typeof handle === "number" ? u32(handle) : handle));
  const { auths = [], parameters = "", locality = 0 } = parts;
  return { kind: "command", id: ids++, name, code, locality, handles, auths, parameters };
}

const startup = () => command("Startup", 0x144, { parameters: "0000" });
const clear = () => command("Clear", 0x126, { handles: [RH.PLATFORM], auths: [EMPTY_PASSWORD] });
const ECC_SIGNING_KEY = "00040000000000180023000b000404720000001000180 00b000300100000000000000000000 0".replaceAll(
  " ",
  "",
);
const primary = (template = ECC_SIGNING_KEY) =>
  command("CreatePrimary", 0x131, { handles: [RH.OWNER], auths: [EMPTY_PASSWORD], parameters: template });

describe("differences that were found:", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await Pair.start();
  });
  afterAll(() => pair[Symbol.asyncDispose]());

  async function run(...steps: readonly Step[]): Promise<number | Difference> {
    await pair.begin("found");
    let last: number | Difference = 0;
    for (const step of steps) {
      last = await pair.step(step);
      if (typeof last !== "number") return last;
    }
    return last;
  }

  it("a session attribute that is reserved does not come into the volatile state, which libtpms would refuse", async () => {
    const RESERVED = "09";
    const withReserved = command("PCR_Reset", 0x13d, { handles: [16], auths: [`${u32(RH.PW)}0000${RESERVED}0000`] });
    // TPM2_Clear makes secrets: the state goes from one to the other, in the direction that the number of the step says.
    ids += ids % 2;
    const steps = [startup(), withReserved];
    ids += ids % 2;
    steps.push(clear());
    expect(await run(...steps)).toBe(0);
  });

  it("the authValue of a sequence object is kept with the zeros at its end", async () => {
    const start = command("HashSequenceStart", 0x186, { parameters: `${sized("6100")}000b` });
    const save = command("ContextSave", 0x162, { handles: ["80000000"] });
    expect(await run(startup(), start, save)).toBe(0);
  });

  const AES_KEY = "00040000000000120025000b0006047200000006008000430000000000000000";
  const certify = (signHandle: number, certificate: string) =>
    command("CertifyX509", 0x197, {
      handles: ["80000000", signHandle],
      auths: [EMPTY_PASSWORD, EMPTY_PASSWORD],
      parameters: `00000010${sized(certificate)}`,
    });

  it("a certificate signed with no key is looked at before that is refused", async () => {
    // The key is none that a certificate is about (handle 1), or the certificate is none (parameter 3).
    const TPM_RC_ASYMMETRIC_1 = 0x181;
    const TPM_RC_VALUE_3 = 0x3c4;
    const codes = async (...steps: readonly Step[]) => {
      const result = await run(...steps);
      return typeof result === "number" ? result : knownOrDescribed(result, steps);
    };
    expect(await codes(startup(), primary(AES_KEY), certify(RH.NULL, "3000"))).toBe(TPM_RC_ASYMMETRIC_1);
    expect(await codes(startup(), primary(), certify(RH.NULL, "3000"))).toBe(TPM_RC_VALUE_3);
  });

  function knownOrDescribed(difference: Difference, steps: readonly Step[]): number | string {
    return knownDifference(difference, steps) ? difference.codes[0] : describeDifference(difference);
  }

  it("a key's signature and everything made of it stay the same on both sides", async () => {
    const sign = command("Sign", 0x15d, {
      handles: ["80000000"],
      auths: [EMPTY_PASSWORD],
      parameters: `${sized("11".repeat(32))}${u16(0x10)}8024400000070000`,
    });
    const signature = "id" in sign ? `<${sign.id}.signature>` : "";
    const verify = command("VerifySignature", 0x177, {
      handles: ["80000000"],
      parameters: sized("11".repeat(32)) + signature,
    });
    expect(await run(startup(), primary(), sign, verify)).toBe(0);
  });
});

describe("the table of known differences", () => {
  it("gives a reason for each, and knows nothing else", () => {
    for (const { reason } of knownDifferences) expect(reason).toMatch(/^\S.*\.$/);
    const step = startup();
    const other: Difference = { name: "Startup", at: 0, step, command: "", engine: "", swtpm: "", codes: [0, 0x101] };
    expect(knownDifference(other, [step])).toBeUndefined();
  });
});
