// A TPM with something in every part of its permanent state, and what it says of itself: the same before and after a state has moved.
import { createHash } from "node:crypto";
import { type TpmClient, TpmError } from "../../src/codec/client.ts";
import type { inputs } from "../../src/codec/index.ts";
import { create, createPrimary, ecc, keyedHash, load, parent, rsa } from "./engine-templates.ts";

const OWNER = { handle: 0x40000001, auth: "0a0b0c" };
const ENDORSEMENT = { handle: 0x4000000b, auth: "e0e1" };
const LOCKOUT = { handle: 0x4000000a, auth: "10c1" };
const PLATFORM = { handle: 0x4000000c };
const NV_AUTH = "f00d";
const POLICY = createHash("sha256").update("a policy").digest("hex");

type NvType = "ORDINARY" | "COUNTER" | "BITS" | "EXTEND" | "PIN_FAIL" | "PIN_PASS";
interface Index {
  readonly handle: number;
  readonly type: NvType;
  readonly size: number;
  readonly attributes?: Exclude<inputs.TPMA_NV, number>;
  /** Who defines it; the owner by default. */
  readonly by?: "platform";
}

/** An index of every type, orderly ones, one that is never written, one of the platform's with a policy. */
const INDICES: readonly Index[] = [
  { handle: 0x01000010, type: "ORDINARY", size: 40 },
  { handle: 0x01000011, type: "COUNTER", size: 8 },
  { handle: 0x01000012, type: "BITS", size: 8 },
  { handle: 0x01000013, type: "EXTEND", size: 32 },
  { handle: 0x01000014, type: "PIN_FAIL", size: 8 },
  { handle: 0x01000015, type: "PIN_PASS", size: 8 },
  { handle: 0x01000020, type: "ORDINARY", size: 20, attributes: { ORDERLY: true } },
  { handle: 0x01000021, type: "COUNTER", size: 8, attributes: { ORDERLY: true } },
  { handle: 0x01000022, type: "BITS", size: 8, attributes: { ORDERLY: true, CLEAR_STCLEAR: true } },
  { handle: 0x01000030, type: "ORDINARY", size: 100 },
  { handle: 0x01c00002, type: "ORDINARY", size: 300, by: "platform", attributes: { PPREAD: true, POLICYREAD: true } },
];
const NEVER_WRITTEN = 0x01000030;

/** Fills a TPM that was made just now and started. */
export async function fillTpm(client: TpmClient): Promise<void> {
  await persistentKeys(client);
  for (const index of INDICES) {
    await define(client, index);
    await write(client, index, "");
  }
  await client.command("SetPrimaryPolicy", {
    handles: { authHandle: "ENDORSEMENT" },
    parameters: { authPolicy: POLICY, hashAlg: "SHA256" },
  });
  await client.command("SetCommandCodeAuditStatus", {
    handles: { auth: "OWNER" },
    parameters: { auditAlg: "SHA256", setList: [], clearList: [] },
  });
  await client.command("SetCommandCodeAuditStatus", {
    handles: { auth: "OWNER" },
    parameters: { auditAlg: "NULL", setList: ["NV_Increment", "Quote", "PolicyAuthorizeNV"], clearList: [] },
  });
  await client
    .command("PP_Commands", {
      handles: { auth: "PLATFORM" },
      parameters: { setList: ["Clear"], clearList: [] },
    })
    .catch(needsPresence);
  await client.command("DictionaryAttackParameters", {
    handles: { lockHandle: "LOCKOUT" },
    parameters: { newMaxTries: 7, newRecoveryTime: 12_345, lockoutRecovery: 54_321 },
  });
  await client.command("PCR_Allocate", {
    handles: { authHandle: "PLATFORM" },
    parameters: {
      pcrAllocation: [
        { hash: "SHA1", pcrSelect: [] },
        { hash: "SHA384", pcrSelect: [] },
      ],
    },
  });
  for (const [authHandle, { auth: newAuth }] of [
    ["OWNER", OWNER],
    ["ENDORSEMENT", ENDORSEMENT],
    ["LOCKOUT", LOCKOUT],
  ] as const)
    await client.command("HierarchyChangeAuth", { handles: { authHandle }, parameters: { newAuth } });
  await failToAuthorize(client);
}

/** Writes the orderly indices of a filled TPM again: those that are no counters lose their data when it starts. */
export async function writeOrderly(client: TpmClient): Promise<void> {
  for (const index of INDICES) if (index.attributes?.ORDERLY) await write(client, index, OWNER.auth);
}

/** Nobody is at the machine to show presence. */
function needsPresence(error: unknown): void {
  if (!(error instanceof TpmError) || error.parts.name !== "TPM_RC_PP") throw error;
}

/** RSA and ECC keys, a sealed blob and one of the platform's. */
async function persistentKeys(client: TpmClient): Promise<void> {
  const keep = (objectHandle: number, persistentHandle: number, auth: "OWNER" | "PLATFORM" = "OWNER") =>
    client.command("EvictControl", { handles: { auth, objectHandle }, parameters: { persistentHandle } });
  const flush = (flushHandle: number) => client.command("FlushContext", { parameters: { flushHandle } });
  const storage = await createPrimary(client, parent("ECC"));
  await keep(storage.objectHandle, 0x81000001);
  const signing = { attributes: { sign: true, noDA: false }, authPolicy: POLICY };
  for (const [handle, template, sensitive] of [
    [0x81000002, rsa(signing), { userAuth: "c0ffee", data: "" }],
    [0x81000003, ecc(signing), { userAuth: "bead", data: "" }],
    [0x81000004, keyedHash({ attributes: { sensitiveDataOrigin: false } }), { userAuth: "5ea1", data: "deadbeef" }],
  ] as const) {
    const blob = await create(client, storage.objectHandle, template, sensitive);
    const loaded = await load(client, storage.objectHandle, blob);
    await keep(loaded.objectHandle, handle);
    await flush(loaded.objectHandle);
  }
  await flush(storage.objectHandle);
  const platform = await createPrimary(client, parent("ECC"), "PLATFORM");
  await keep(platform.objectHandle, 0x81800001, "PLATFORM");
  await flush(platform.objectHandle);
}

async function define(client: TpmClient, { handle, type, size, attributes, by }: Index): Promise<void> {
  const rights: inputs.TPMA_NV =
    by === "platform"
      ? { PLATFORMCREATE: true, PPWRITE: true }
      : { AUTHWRITE: type !== "PIN_FAIL" && type !== "PIN_PASS", AUTHREAD: true, OWNERWRITE: true, OWNERREAD: true };
  await client.command("NV_DefineSpace", {
    handles: { authHandle: by === "platform" ? "PLATFORM" : "OWNER" },
    parameters: {
      auth: NV_AUTH,
      publicInfo: {
        nvIndex: handle,
        nameAlg: "SHA256",
        attributes: { TPM_NT: type, NO_DA: true, ...rights, ...attributes },
        authPolicy: by === "platform" ? POLICY : "",
        dataSize: size,
      },
    },
  });
}

async function write(client: TpmClient, { handle, type, size, by }: Index, authValue: string): Promise<void> {
  if (handle === NEVER_WRITTEN) return;
  const handles = { authHandle: by === "platform" ? PLATFORM : { ...OWNER, auth: authValue }, nvIndex: handle };
  switch (type) {
    case "COUNTER":
      for (let i = 0; i < 3; i++) await client.command("NV_Increment", { handles });
      return;
    case "BITS":
      await client.command("NV_SetBits", { handles, parameters: { bits: 0x8000_0000_0000_0005n } });
      return;
    case "EXTEND":
      await client.command("NV_Extend", { handles, parameters: { data: "0102" } });
      return;
    case "PIN_FAIL":
    case "PIN_PASS":
      await client.command("NV_Write", { handles, parameters: { data: "0000000100000005", offset: 0 } });
      return;
    case "ORDINARY":
      await client.command("NV_Write", { handles, parameters: { data: new Uint8Array(size).fill(handle), offset: 0 } });
  }
}

/** Two wrong passwords, which count. */
async function failToAuthorize(client: TpmClient): Promise<void> {
  for (let i = 0; i < 2; i++) {
    const outcome = await client
      .command("ObjectChangeAuth", {
        handles: { objectHandle: { handle: 0x81000002, auth: "bad0" }, parentHandle: 0x81000001 },
        parameters: { newAuth: "00" },
      })
      .then(
        () => "success",
        (error: unknown) => (error instanceof TpmError ? error.parts.name : String(error)),
      );
    if (outcome !== "TPM_RC_AUTH_FAIL") throw new Error(`a wrong password: ${outcome}`);
  }
}

/** All that a filled TPM says of itself after TPM2_Startup, as far as it does not depend on time. */
export async function answersOf(client: TpmClient): Promise<Record<string, unknown>> {
  const capability = async (
    name: "HANDLES" | "AUDIT_COMMANDS" | "PP_COMMANDS" | "PCRS" | "AUTH_POLICIES" | "TPM_PROPERTIES",
    property = 0,
  ) =>
    (await client.command("GetCapability", { parameters: { capability: name, property, propertyCount: 200 } }))
      .capabilityData.data as unknown[];
  const objects = (await capability("HANDLES", 0x81000000)) as number[];
  const indices = (await capability("HANDLES", 0x01000000)) as number[];
  const changing = ["TPM_PT_HR_", "TPM_PT_STARTUP_CLEAR", "TPM_PT_LOADED"];
  const answers: Record<string, unknown> = {
    audit: await capability("AUDIT_COMMANDS"),
    presence: await capability("PP_COMMANDS"),
    banks: await capability("PCRS"),
    policies: await capability("AUTH_POLICIES", 0x40000000),
    properties: ((await capability("TPM_PROPERTIES", 0x200)) as { property: string }[]).filter(
      ({ property }) => !changing.some((name) => String(property).startsWith(name)),
    ),
  };
  for (const objectHandle of objects)
    answers[`object ${objectHandle.toString(16)}`] = await client.command("ReadPublic", { handles: { objectHandle } });
  for (const nvIndex of indices) {
    const { nvPublic, nvName } = await client.command("NV_ReadPublic", { handles: { nvIndex } });
    const byPlatform = nvPublic?.attributes.PLATFORMCREATE;
    answers[`index ${nvIndex.toString(16)}`] = {
      nvPublic,
      nvName,
      data: nvPublic?.attributes.WRITTEN
        ? await client.command("NV_Read", {
            handles: { authHandle: byPlatform ? PLATFORM : OWNER, nvIndex },
            parameters: { size: nvPublic.dataSize, offset: 0 },
          })
        : "not written",
    };
  }
  return answers;
}

/** Primary keys of the three hierarchies that last, RSA and ECC; the authorizations of a filled TPM make them. */
export async function primariesOf(client: TpmClient): Promise<Record<string, unknown>> {
  const keys: Record<string, unknown> = {};
  for (const [name, primaryHandle] of Object.entries({ owner: OWNER, endorsement: ENDORSEMENT, platform: PLATFORM })) {
    for (const [type, inPublic] of [
      ["ECC", parent("ECC")],
      ["RSA", parent("RSA")],
      ["HMAC", keyedHash({ attributes: { sign: true } }, { scheme: "HMAC", details: { hashAlg: "SHA256" } })],
    ] as const) {
      const primary = await client.command("CreatePrimary", {
        handles: { primaryHandle },
        parameters: { inSensitive: { userAuth: "", data: "" }, inPublic, outsideInfo: "", creationPCR: [] },
      });
      keys[`${name} ${type}`] = { public: primary.outPublic, name: primary.name };
      await client.command("FlushContext", { parameters: { flushHandle: primary.objectHandle } });
    }
  }
  return keys;
}

/** Unseals the sealed blob and signs with the RSA key: the private parts are whole. */
export async function usePrivateParts(client: TpmClient): Promise<unknown> {
  const { outData } = await client.command("Unseal", {
    handles: { itemHandle: { handle: 0x81000004, auth: "5ea1" } },
  });
  const { signature } = await client.command("Sign", {
    handles: { keyHandle: { handle: 0x81000002, auth: "c0ffee" } },
    parameters: {
      digest: createHash("sha256").update("signed").digest(),
      inScheme: { scheme: "RSASSA", details: { hashAlg: "SHA256" } },
      validation: { tag: "HASHCHECK", hierarchy: "NULL", digest: "" },
    },
  });
  return { outData, signature };
}
