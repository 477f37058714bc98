// Hierarchies, PCR banks and localities (Part 1, 13, 17 and 35; Part 3, 22 and 24), and TPM2_GetCapability of what they change.
import { beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { EngineTpm, outcome } from "../support/engine-tpm.ts";

let tpm: EngineTpm;
const [owner, endorsement, lockout, platform] = [0x40000001, 0x4000000b, 0x4000000a, 0x4000000c];
const index = 0x01000030;

beforeEach(() => {
  tpm = new EngineTpm();
});

const changeAuth = (handle: number, newAuth: string, auth = "") =>
  outcome(
    tpm.client.command("HierarchyChangeAuth", { handles: { authHandle: { handle, auth } }, parameters: { newAuth } }),
  );
const setPolicy = (handle: number, authPolicy: string, hashAlg: "SHA256" | "NULL" = "SHA256", auth = "") =>
  outcome(
    tpm.client.command("SetPrimaryPolicy", {
      handles: { authHandle: { handle, auth } },
      parameters: { authPolicy, hashAlg },
    }),
  );
const control = (enable: "OWNER" | "ENDORSEMENT" | "PLATFORM" | "PLATFORM_NV", state: boolean, by = platform) =>
  outcome(tpm.client.command("HierarchyControl", { handles: { authHandle: by }, parameters: { enable, state } }));
const clear = (by: number, auth = "") =>
  outcome(tpm.client.command("Clear", { handles: { authHandle: { handle: by, auth } } }));
const define = (by: number, nvIndex = index, attributes: Readonly<Record<string, boolean>> = {}) =>
  outcome(
    tpm.client.command("NV_DefineSpace", {
      handles: { authHandle: by },
      parameters: {
        auth: "",
        publicInfo: {
          nvIndex,
          nameAlg: "SHA256",
          attributes: { AUTHREAD: true, AUTHWRITE: true, NO_DA: true, ...attributes },
          authPolicy: "",
          dataSize: 8,
        },
      },
    }),
  );
const exists = async (nvIndex = index) =>
  (await outcome(tpm.client.command("NV_ReadPublic", { handles: { nvIndex } }))) === "TPM_RC_SUCCESS";
const permanent = async (tag: number) => {
  const { capabilityData } = await tpm.client.command("GetCapability", {
    parameters: { capability: "TPM_PROPERTIES", property: tag, propertyCount: 1 },
  });
  return (capabilityData.data as readonly { readonly value: number }[])[0]!.value;
};

describe("TPM2_HierarchyChangeAuth", () => {
  it.each([
    ["owner", owner, 1],
    ["endorsement", endorsement, 2],
    ["lockout", lockout, 4],
  ] as const)("sets %sAuth, which TPM_PT_PERMANENT shows and which outlives the power", async (_, handle, bit) => {
    expect((await permanent(0x200)) & bit).toBe(0);
    expect(await changeAuth(handle, "6e65770000")).toBe("TPM_RC_SUCCESS");
    expect((await permanent(0x200)) & bit).toBe(bit);
    tpm.migrate();
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await changeAuth(handle, "", "6e6577")).toBe("TPM_RC_SUCCESS");
    expect(await changeAuth(handle, "00".repeat(65))).toBe("TPM_RC_SIZE parameter 1");
  });
});

describe("TPM2_SetPrimaryPolicy", () => {
  it("wants a digest of the hash it names, shown by TPM_CAP_AUTH_POLICIES", async () => {
    const policy = "ab".repeat(32);
    for (const handle of [owner, endorsement, lockout, platform])
      expect(await setPolicy(handle, policy)).toBe("TPM_RC_SUCCESS");
    expect(await setPolicy(owner, "ab")).toBe("TPM_RC_SIZE parameter 1");
    expect(await setPolicy(owner, "ab", "NULL")).toBe("TPM_RC_SIZE parameter 1");
    const list = toHex(tpm.send("8001000000160000017a000000094000000000000010"));
    const entry = (handle: number) => `${handle.toString(16)}000b${policy}`;
    expect(list.slice(38)).toBe([owner, lockout, endorsement, platform].map(entry).join(""));
    expect(await setPolicy(owner, "", "NULL")).toBe("TPM_RC_SUCCESS");
  });
});

describe("TPM2_HierarchyControl", () => {
  it("disables hierarchies until the next TPM Reset or Restart; only platformAuth enables them", async () => {
    expect(await control("OWNER", false, owner)).toBe("TPM_RC_SUCCESS");
    expect(await define(owner)).toBe("TPM_RC_HIERARCHY handle 1");
    expect(await control("OWNER", true, owner)).toMatch(/TPM_RC_(HIERARCHY|AUTH_TYPE)/);
    tpm.migrate();
    expect(await define(owner)).toBe("TPM_RC_HIERARCHY handle 1");
    expect(await control("OWNER", true)).toBe("TPM_RC_SUCCESS");
    expect(await define(owner)).toBe("TPM_RC_SUCCESS");
    expect(await control("ENDORSEMENT", false, endorsement)).toBe("TPM_RC_SUCCESS");
    tpm.shutdown("CLEAR");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await setPolicy(endorsement, "", "NULL")).toBe("TPM_RC_SUCCESS");
  });

  it("without the platform's own there is nothing more to do until the next start", async () => {
    expect(await control("PLATFORM", false)).toBe("TPM_RC_SUCCESS");
    expect(await control("PLATFORM", true)).toBe("TPM_RC_HIERARCHY handle 1");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await control("PLATFORM", true)).toBe("TPM_RC_SUCCESS");
  });

  it("hides the platform's NV with phEnableNV, the owner's with shEnable", async () => {
    await define(platform, index, { PLATFORMCREATE: true });
    await define(owner, index + 1);
    expect(await control("PLATFORM_NV", false)).toBe("TPM_RC_SUCCESS");
    expect([await exists(), await exists(index + 1)]).toEqual([false, true]);
    expect(await control("OWNER", false)).toBe("TPM_RC_SUCCESS");
    expect(await exists(index + 1)).toBe(false);
  });
});

describe("TPM2_Clear", () => {
  it("takes what the owner made and set, leaves what the platform has", async () => {
    await define(owner);
    await define(platform, index + 1, { PLATFORMCREATE: true });
    for (const handle of [owner, endorsement, lockout, platform]) await changeAuth(handle, "6161");
    expect(await clear(lockout)).toBe("TPM_RC_AUTH_FAIL session 1");
    expect(await clear(platform, "6161")).toBe("TPM_RC_SUCCESS");
    tpm.migrate();
    expect([await exists(), await exists(index + 1)]).toEqual([false, true]);
    expect((await permanent(0x200)) & 7).toBe(0);
    expect(await clear(platform)).toBe("TPM_RC_BAD_AUTH session 1");
    // The lockout that the failure began is over.
    expect(await clear(lockout)).toBe("TPM_RC_SUCCESS");
  });

  it("is disabled by TPM2_ClearControl, for good until the platform enables it", async () => {
    const disable = (by: number, state: boolean) =>
      outcome(tpm.client.command("ClearControl", { handles: { auth: by }, parameters: { disable: state } }));
    expect(await disable(lockout, true)).toBe("TPM_RC_SUCCESS");
    expect(await clear(lockout)).toBe("TPM_RC_DISABLED");
    expect(await clear(platform)).toBe("TPM_RC_DISABLED");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await disable(lockout, false)).toMatch(/TPM_RC_AUTH_FAIL/);
    expect(await disable(platform, false)).toBe("TPM_RC_SUCCESS");
    expect(await clear(platform)).toBe("TPM_RC_SUCCESS");
  });
});

describe("PCR banks", () => {
  const banks = async () => {
    const text = toHex(tpm.send("8001000000160000017a000000050000000000000010"));
    return text.slice(38);
  };

  it("change with the next TPM Reset, not before, not with a migration", async () => {
    const all = "000403ffffff000b03ffffff000c03ffffff000d03ffffff";
    const allocation = [
      { hash: "SHA1", pcrSelect: [] },
      { hash: "SHA384", pcrSelect: [] },
    ] as const;
    const result = await tpm.client.command("PCR_Allocate", {
      handles: { authHandle: "PLATFORM" },
      parameters: { pcrAllocation: allocation },
    });
    expect(result).toEqual({ allocationSuccess: true, maxPCR: 24, sizeNeeded: 24 * (32 + 64), sizeAvailable: 3936 });
    expect(await banks()).toBe(all);
    tpm.migrate();
    expect(await banks()).toBe(all);
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await banks()).toBe("000403000000000b03ffffff000c03000000000d03ffffff");
    const { pcrSelectionOut, pcrValues } = await tpm.client.command("PCR_Read", {
      parameters: { pcrSelectionIn: [{ hash: "SHA1", pcrSelect: [0, 1] }] },
    });
    expect(pcrValues).toEqual([]);
    expect(toHex(pcrSelectionOut[0]!.pcrSelect)).toBe("000000");
  });

  it("need the registers of the H-CRTM and the D-RTM in one bank at least", async () => {
    const none = (["SHA1", "SHA256", "SHA384", "SHA512"] as const).map((hash) => ({ hash, pcrSelect: [] }));
    const allocate = tpm.client.command("PCR_Allocate", {
      handles: { authHandle: "PLATFORM" },
      parameters: { pcrAllocation: none },
    });
    expect(await outcome(allocate)).toBe("TPM_RC_PCR");
  });

  it("are extended and reset from the localities of TPM_CAP_PCR_PROPERTIES only", async () => {
    const properties = toHex(tpm.send("8001000000160000017a0000000700000000000000ff")).slice(38).match(/.{16}/g)!;
    const allowed = (tag: number) => {
      const bits = properties.find((entry) => Number.parseInt(entry.slice(0, 8), 16) === tag)!.slice(10);
      return (pcr: number) =>
        ((Number.parseInt(bits.slice(2 * (pcr >> 3), 2 * (pcr >> 3) + 2), 16) >> (pcr & 7)) & 1) === 1;
    };
    for (let locality = 0; locality <= 4; locality++) {
      const [extend, reset] = [allowed(1 + 2 * locality), allowed(2 + 2 * locality)];
      for (let pcr = 0; pcr < 24; pcr++) {
        tpm.locality = locality;
        const event = tpm.client.command("PCR_Event", { handles: { pcrHandle: pcr }, parameters: { eventData: "00" } });
        expect(await outcome(event), `extend ${pcr} at ${locality}`).toBe(
          extend(pcr) ? "TPM_RC_SUCCESS" : "TPM_RC_LOCALITY",
        );
        // Those of locality 4 are for the D-RTM signals.
        const may = locality < 4 && reset(pcr);
        const back = tpm.client.command("PCR_Reset", { handles: { pcrHandle: pcr } });
        expect(await outcome(back), `reset ${pcr} at ${locality}`).toBe(may ? "TPM_RC_SUCCESS" : "TPM_RC_LOCALITY");
      }
    }
  });
});
