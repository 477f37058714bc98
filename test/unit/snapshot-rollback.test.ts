// What going back to a snapshot does to the things that are meant only to go forward: the rules in docs/snapshots.md.
import fs from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AuthSession, TpmClient } from "../../src/codec/client.ts";
import { decodeStructure, type inputs } from "../../src/codec/index.ts";
import { temporaryFolder } from "../support/emulator.ts";
import { ecc } from "../support/engine-templates.ts";
import { outcome } from "../support/engine-tpm.ts";
import { ManagedTpm } from "../support/managed-tpm.ts";

let directory: string;
let tpm: ManagedTpm;
let client: TpmClient;
beforeEach(async () => {
  directory = temporaryFolder();
  tpm = await ManagedTpm.start(directory);
  client = await tpm.client();
});
afterEach(async () => {
  await tpm.stop();
  fs.rmSync(directory, { recursive: true, force: true });
});

const keep = () => tpm.ask("snapshot-create", { name: "a" });
const goBack = (options = {}) => tpm.ask("snapshot-restore", { name: "a", running: true, ...options });
/** A running TPM goes on with all it had, or starts with the permanent state alone. */
const ways = [
  ["going on", {}],
  ["starting anew", { cold: true }],
] as const;

const property = async (name: "TPM_PT_LOCKOUT_COUNTER" | "TPM_PT_PERMANENT"): Promise<number> => {
  const number = { TPM_PT_PERMANENT: 0x200, TPM_PT_LOCKOUT_COUNTER: 0x20e }[name];
  const { capabilityData } = await client.command("GetCapability", {
    parameters: { capability: "TPM_PROPERTIES", property: number, propertyCount: 1 },
  });
  return (capabilityData as unknown as { data: { value: number }[] }).data[0]!.value;
};
const clock = async () => (await client.command("ReadClock")).currentTime;
const COUNTER = 0x0100_0020;
const nv = { authHandle: "OWNER", nvIndex: COUNTER } as const;
const counter = async (): Promise<number> => {
  const { data } = await client.command("NV_Read", { handles: nv, parameters: { size: 8, offset: 0 } });
  return Number(Buffer.from(data).readBigUInt64BE());
};

async function define(attributes: object, size = 8, auth = ""): Promise<void> {
  await client.command("NV_DefineSpace", {
    handles: { authHandle: "OWNER" },
    parameters: {
      auth,
      publicInfo: {
        nvIndex: COUNTER,
        nameAlg: "SHA256",
        attributes: { OWNERREAD: true, OWNERWRITE: true, ...attributes },
        authPolicy: "",
        dataSize: size,
      },
    },
  });
}

async function primary(): Promise<{ handle: number; name: string }> {
  const { objectHandle, name } = await client.command("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: {
      inSensitive: { userAuth: "", data: "" },
      inPublic: ecc({ attributes: { sign: true, fixedTPM: true, fixedParent: true } }),
      outsideInfo: "",
      creationPCR: [],
    },
  });
  return { handle: objectHandle, name: Buffer.from(name).toString("hex") };
}
const flush = (flushHandle: number | AuthSession) => client.command("FlushContext", { parameters: { flushHandle } });

describe.each(ways)("%s", (_way, how) => {
  test("an NV counter is what it was", async () => {
    await define({ TPM_NT: "COUNTER" });
    await client.command("NV_Increment", { handles: nv });
    const before = await counter();
    await keep();
    await client.command("NV_Increment", { handles: nv });
    await client.command("NV_Increment", { handles: nv });
    expect(await counter()).toBe(before + 2);
    await goBack(how);
    expect(await counter()).toBe(before);
  });

  test("authorizations are what they were, and TPM2_Clear is undone", async () => {
    const key = await primary();
    await flush(key.handle);
    await keep();
    await client.command("HierarchyChangeAuth", {
      handles: { authHandle: "OWNER" },
      parameters: { newAuth: "616263" },
    });
    await client.command("Clear", { handles: { authHandle: "LOCKOUT" } });
    const other = await primary();
    expect(other.name).not.toBe(key.name);
    await goBack(how);
    const again = await primary();
    expect(again.name).toBe(key.name);
  });

  test("failed authorizations are forgotten", async () => {
    await define({ AUTHREAD: true, AUTHWRITE: true, NO_DA: false }, 8, "70696e");
    await keep();
    const wrong = { authHandle: { handle: COUNTER, auth: "00" }, nvIndex: COUNTER };
    for (let at = 0; at < 3; at++)
      await outcome(client.command("NV_Write", { handles: wrong, parameters: { data: "00", offset: 0 } }));
    expect(await property("TPM_PT_LOCKOUT_COUNTER")).toBe(3);
    await goBack(how);
    expect(await property("TPM_PT_LOCKOUT_COUNTER")).toBe(0);
  });
});

test("an orderly counter that was not stored goes on above every value from before the snapshot", async () => {
  await define({ TPM_NT: "COUNTER", ORDERLY: true });
  for (let at = 0; at < 3; at++) await client.command("NV_Increment", { handles: nv });
  const before = await counter();
  await keep();
  await goBack();
  expect(await counter()).toBe(before);
  await goBack({ cold: true });
  await client.command("NV_Increment", { handles: nv });
  expect(await counter()).toBeGreaterThan(before);
});

describe("the clock", () => {
  test("of a TPM that goes on has counted the time between too; no reset is counted", async () => {
    await keep();
    const before = await clock();
    while (Number((await clock()).clockInfo.clock) < Number(before.clockInfo.clock) + 50);
    const later = await clock();
    await goBack();
    const after = await clock();
    expect(Number(after.clockInfo.clock)).toBeGreaterThanOrEqual(Number(later.clockInfo.clock));
    expect({ ...after.clockInfo, clock: 0n }).toEqual({ ...before.clockInfo, clock: 0n });
  });

  test("of one that starts anew is the stored one, and not safe without a shutdown before the snapshot", async () => {
    await keep();
    const before = await clock();
    for (let time = 0; time < 2; time++) {
      await goBack({ cold: true });
      const { clockInfo } = await clock();
      // Every start anew from one snapshot has the same count.
      expect(clockInfo).toMatchObject({ safe: false, resetCount: before.clockInfo.resetCount + 1 });
      expect(Number(clockInfo.clock)).toBeLessThan(5000);
    }
  });

  test("is safe after a shutdown before the snapshot", async () => {
    await client.command("Shutdown", { parameters: { shutdownType: "CLEAR" } });
    await keep();
    await goBack({ cold: true });
    expect((await clock()).clockInfo.safe).toBe(true);
  });
});

describe("contexts", () => {
  type Context = inputs.TPMS_CONTEXT;
  const save = async (saveHandle: number): Promise<Context> =>
    (await client.command("ContextSave", { handles: { saveHandle } })).context as Context;
  const load = (context: Context) => outcome(client.command("ContextLoad", { parameters: { context } }));

  test("of keys are loaded in every branch, wherever they were saved", async () => {
    const key = await primary();
    const before = await save(key.handle);
    await keep();
    const after = await save(key.handle);
    await flush(key.handle);
    await goBack();
    expect([await load(before), await load(after)]).toEqual(["TPM_RC_SUCCESS", "TPM_RC_SUCCESS"]);
  });

  test("of sessions are loaded again after going back, but not those saved later", async () => {
    const [first, second] = [await client.startAuthSession(), await client.startAuthSession()];
    const before = await save(first.handle);
    await keep();
    expect(await load(before)).toBe("TPM_RC_SUCCESS");
    const later = await save(second.handle);
    await goBack();
    expect(await load(before)).toBe("TPM_RC_SUCCESS");
    expect(await load(later)).not.toBe("TPM_RC_SUCCESS");
  });

  test("are lost by starting anew", async () => {
    const key = await primary();
    const before = await save(key.handle);
    await keep();
    await goBack({ cold: true });
    expect(await load(before)).not.toBe("TPM_RC_SUCCESS");
  });
});

test("the audit digest is what it was", async () => {
  const digest = async () => {
    const { auditInfo } = await client.command("GetCommandAuditDigest", {
      handles: { privacyHandle: "ENDORSEMENT", signHandle: "NULL" },
      parameters: { qualifyingData: "", inScheme: { scheme: "NULL" } },
    });
    const { attested } = decodeStructure("TPMS_ATTEST", auditInfo) as unknown as {
      attested: { auditDigest: Uint8Array };
    };
    return attested.auditDigest;
  };
  const audited = () => client.command("GetRandom", { parameters: { bytesRequested: 1 } });
  const parameters = { auditAlg: "NULL", setList: ["GetRandom"], clearList: [] } as const;
  await client.command("SetCommandCodeAuditStatus", { handles: { auth: "OWNER" }, parameters });
  await audited();
  const before = await digest();
  await keep();
  await audited();
  expect(await digest()).not.toEqual(before);
  await goBack();
  expect(await digest()).toEqual(before);
  await goBack({ cold: true });
  expect(await digest()).toHaveLength(0);
});
