// HMAC and policy sessions, parameter encryption and their limits (Part 1, 17 to 21), through a client that proves each response.
import { beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import type { AuthSession, StartAuthSessionOptions } from "../../src/codec/client.ts";
import { EngineTpm, outcome } from "../support/engine-tpm.ts";

const index = 0x01000002;
const auth = "70617373776f7264";
const data = "00112233445566778899aabbccddeeff";
const hashes = ["SHA1", "SHA256", "SHA384", "SHA512"] as const;
const ciphers = ["AES128", "AES256", "XOR"] as const;

let tpm: EngineTpm;

const define = (extra: Readonly<Record<string, boolean>> = {}, authPolicy = "") =>
  tpm.client.command("NV_DefineSpace", {
    handles: { authHandle: "OWNER" },
    parameters: {
      auth,
      publicInfo: {
        nvIndex: index,
        nameAlg: "SHA256",
        attributes: { AUTHREAD: true, AUTHWRITE: true, ...extra },
        authPolicy,
        dataSize: 16,
      },
    },
  });

const nv = { handle: index, auth };
type Sessions = NonNullable<Parameters<typeof tpm.client.command<"NV_Write">>[1]["sessions"]>;
const write = (sessions: Sessions, entity: { handle: number; auth: string } = nv) =>
  tpm.client.command("NV_Write", {
    handles: { authHandle: entity, nvIndex: index },
    parameters: { data, offset: 0 },
    sessions,
  });
const read = async (sessions: Sessions) => {
  const handles = { authHandle: nv, nvIndex: index };
  const response = await tpm.client.command("NV_Read", { handles, parameters: { size: 16, offset: 0 }, sessions });
  return toHex(response.data);
};

beforeEach(async () => {
  tpm = new EngineTpm();
  await define();
});

describe.each(hashes)("an HMAC session with %s", (authHash) => {
  it.each([
    ["unbound", {}],
    ["bound to the entity", { bind: nv }],
    ["bound to another entity", { bind: { handle: 0x40000001 } }],
  ] as const)("authorizes command after command: %s", async (_, options) => {
    const session = await tpm.client.startAuthSession({ authHash, ...options });
    await write([session]);
    for (let i = 0; i < 3; i++) expect(await read([session])).toBe(data);
    tpm.migrate();
    expect(await read([session])).toBe(data);
  });

  it.each(ciphers)("encrypts parameters both ways with %s", async (symmetric) => {
    const session = await tpm.client.startAuthSession({ authHash, symmetric, bind: nv });
    await write([session.use({ decrypt: true })]);
    expect(await read([session.use({ encrypt: true })])).toBe(data);
    const other = await tpm.client.startAuthSession({ authHash, symmetric, bind: nv });
    expect(await read([session, other.use({ encrypt: true })])).toBe(data);
    await write([session, other.use({ decrypt: true })]);
    await write([{ password: auth }, other.use({ decrypt: true })]);
    expect(await read([])).toBe(data);
  });
});

describe("a session", () => {
  it("ends after its last use, only if the command succeeds", async () => {
    const session = await tpm.client.startAuthSession();
    expect(await outcome(write([session.use({ continueSession: false })], { ...nv, auth: "ff" }))).toBe(
      "TPM_RC_AUTH_FAIL session 1",
    );
    await write([session]);
    await write([session.use({ continueSession: false })]);
    expect(await outcome(write([session]))).toBe("TPM_RC_REFERENCE_S0");
  });

  it("without a cipher cannot encrypt, and a command without a sized parameter has nothing to encrypt", async () => {
    const plain = await tpm.client.startAuthSession();
    const aes: AuthSession = await tpm.client.startAuthSession({ symmetric: "AES128" });
    await write([]);
    const raw = (session: AuthSession, attributes: string) =>
      tpm.rc(
        `8002000000230000014e010000020100000200000009${session.handle.toString(16).padStart(8, "0")}0000${attributes}000000100000`,
      );
    expect(raw(plain, "41")).toBe(0x996);
    expect(raw(aes, "21")).toBe(0x982);
    expect(raw(plain, "09")).toBe(0x9a1);
  });

  it("that is bound stays good for its entity only while the authValue is the same", async () => {
    const session = await tpm.client.startAuthSession({ bind: { handle: 0x40000001 } });
    const change = (newAuth: string, was: string) =>
      tpm.client.command("HierarchyChangeAuth", {
        handles: { authHandle: { handle: 0x40000001, auth: was } },
        parameters: { newAuth },
        sessions: [session],
      });
    await change("6e6577", "");
    await change("", "6e6577");
    await change("6f6e6365", "");
  });

  it("is one of 3 loaded ones, and 64 in all", async () => {
    for (let i = 0; i < 3; i++) await tpm.client.startAuthSession();
    expect(await outcome(tpm.client.startAuthSession())).toBe("TPM_RC_SESSION_MEMORY");
    await tpm.client.command("FlushContext", { parameters: { flushHandle: 0x02000001 } });
    expect((await tpm.client.startAuthSession()).handle).toBe(0x02000001);
    expect(await outcome(tpm.client.startAuthSession({ sessionType: "POLICY" }))).toBe("TPM_RC_SESSION_MEMORY");
  });

  it("that is loaded ends with the power, also across TPM2_Shutdown(STATE)", async () => {
    const session = await tpm.client.startAuthSession();
    tpm.shutdown("STATE");
    tpm.powerCycle();
    tpm.startup("STATE");
    // A loaded session is not saved: only contexts are (Part 1, 11.4).
    expect(await outcome(write([session]))).toBe("TPM_RC_REFERENCE_S0");
  });

  it("audits: the digest grows, exclusivity is lost to any other command", async () => {
    const session = await tpm.client.startAuthSession();
    await write([]);
    // With its Name at hand the client asks the TPM nothing in between.
    const name = await tpm.client.nameOf(nv);
    const audited = (attributes: { auditExclusive?: boolean; auditReset?: boolean }) =>
      outcome(
        tpm.client.command("NV_Write", {
          handles: { authHandle: { ...nv, name }, nvIndex: { handle: index, name } },
          parameters: { data, offset: 0 },
          sessions: [{ password: auth }, session.use({ audit: true, ...attributes })],
        }),
      );
    expect(await audited({})).toBe("TPM_RC_SUCCESS");
    expect(await audited({ auditExclusive: true })).toBe("TPM_RC_SUCCESS");
    await tpm.client.command("GetRandom", { parameters: { bytesRequested: 4 } });
    expect(await audited({ auditExclusive: true })).toBe("TPM_RC_EXCLUSIVE");
    expect(await audited({ auditReset: true })).toBe("TPM_RC_SUCCESS");
    expect(await audited({ auditExclusive: true })).toBe("TPM_RC_SUCCESS");
  });

  it("with a key size that the null profile lacks is refused", async () => {
    expect(await outcome(tpm.client.startAuthSession({ symmetric: "AES192" }))).toBe("TPM_RC_VALUE parameter 4");
  });
});

describe("a policy session", () => {
  const policyOf = async (steps: (session: AuthSession) => Promise<unknown>) => {
    const trial = await tpm.client.startAuthSession({ sessionType: "TRIAL" });
    await steps(trial);
    const { policyDigest } = await tpm.client.command("PolicyGetDigest", { handles: { policySession: trial } });
    await tpm.client.command("FlushContext", { parameters: { flushHandle: trial.handle } });
    return toHex(policyDigest);
  };
  const redefine = async (steps: (session: AuthSession) => Promise<unknown>) => {
    await tpm.client.command("NV_UndefineSpace", { handles: { authHandle: "OWNER", nvIndex: index } });
    await define({ AUTHREAD: false, AUTHWRITE: false, POLICYREAD: true, POLICYWRITE: true }, await policyOf(steps));
  };
  const start = (options: StartAuthSessionOptions = {}) =>
    tpm.client.startAuthSession({ sessionType: "POLICY", ...options });

  it("with PolicyAuthValue needs an HMAC with the authValue, with PolicyPassword the password", async () => {
    for (const name of ["PolicyAuthValue", "PolicyPassword"] as const) {
      const steps = (policySession: AuthSession) => tpm.client.command(name, { handles: { policySession } });
      await redefine(steps);
      const session = await start();
      expect(await outcome(write([session]))).toBe("TPM_RC_POLICY_FAIL session 1");
      await steps(session);
      await write([session]);
      // Its policy starts over after each use.
      expect(await outcome(write([session]))).toBe("TPM_RC_POLICY_FAIL session 1");
      await steps(session);
      expect(await outcome(write([session], { ...nv, auth: "ff" }))).toBe("TPM_RC_AUTH_FAIL session 1");
      expect(await read([session])).toBe(data);
      await tpm.client.command("FlushContext", { parameters: { flushHandle: session.handle } });
    }
  });

  it("with PolicyPCR fails when a register changes in between", async () => {
    const steps = (policySession: AuthSession) =>
      tpm.client.command("PolicyPCR", {
        handles: { policySession },
        parameters: { pcrDigest: "", pcrs: [{ hash: "SHA256", pcrSelect: [0, 7] }] },
      });
    await redefine(steps);
    const session = await start();
    await steps(session);
    await write([session]);
    await steps(session);
    await tpm.client.command("PCR_Event", { handles: { pcrHandle: 10 }, parameters: { eventData: "00" } });
    expect(await outcome(write([session]))).toBe("TPM_RC_PCR_CHANGED");
    await tpm.client.command("PolicyRestart", { handles: { sessionHandle: session } });
    await steps(session);
    await write([session]);
    await tpm.client.command("PCR_Event", { handles: { pcrHandle: 7 }, parameters: { eventData: "00" } });
    await steps(session);
    expect(await outcome(write([session]))).toBe("TPM_RC_POLICY_FAIL session 1");
  });

  it("with PolicyCommandCode authorizes that command only", async () => {
    const steps = (policySession: AuthSession) =>
      tpm.client.command("PolicyCommandCode", { handles: { policySession }, parameters: { code: "NV_Write" } });
    await redefine(steps);
    const session = await start({ symmetric: "AES256" });
    await steps(session);
    await write([session.use({ decrypt: true })]);
    await steps(session);
    expect(await outcome(read([session]))).toBe("TPM_RC_POLICY_CC session 1");
  });

  it("with PolicyLocality authorizes from there only", async () => {
    const steps = (policySession: AuthSession) =>
      tpm.client.command("PolicyLocality", { handles: { policySession }, parameters: { locality: 0x08 } });
    await redefine(steps);
    const session = await start();
    await steps(session);
    expect(await outcome(write([session]))).toBe("TPM_RC_LOCALITY");
    tpm.locality = 3;
    await write([session]);
  });
});
