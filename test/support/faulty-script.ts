// A life of a TPM in commands: everything that changes the permanent state in another way, and what can be seen of that afterwards.
import { type TpmClient, TpmError } from "../../src/codec/client.ts";
import { ecc } from "./engine-templates.ts";

const LOCKOUT = 0x4000000a;
const NV = { plain: 0x0180_0001, big: 0x0180_0002, counter: 0x0180_0003, bits: 0x0180_0004, extend: 0x0180_0005 };
const PERSISTENT = 0x8100_0001;
const AUTH = "736563726574";

type Attributes = Readonly<Record<string, boolean | string>>;
const OWNER_INDEX: Attributes = { OWNERWRITE: true, OWNERREAD: true, AUTHREAD: true, AUTHWRITE: true };

/** One step: a name for messages, and the commands it sends. */
export interface Step {
  readonly what: string;
  readonly run: (client: TpmClient) => Promise<unknown>;
}

function define(nvIndex: number, dataSize: number, attributes: Attributes = OWNER_INDEX, auth = ""): Step {
  return {
    what: `NV_DefineSpace ${nvIndex.toString(16)}`,
    run: (client) =>
      client.command("NV_DefineSpace", {
        handles: { authHandle: "OWNER" },
        parameters: {
          auth,
          publicInfo: { nvIndex, nameAlg: "SHA256", attributes: attributes as never, authPolicy: "", dataSize },
        },
      }),
  };
}

function write(nvIndex: number, data: string, offset = 0): Step {
  return {
    what: `NV_Write ${nvIndex.toString(16)}`,
    run: (client) =>
      client.command("NV_Write", { handles: { authHandle: "OWNER", nvIndex }, parameters: { data, offset } }),
  };
}

const increment: Step = {
  what: "NV_Increment",
  run: (client) => client.command("NV_Increment", { handles: { authHandle: "OWNER", nvIndex: NV.counter } }),
};

/** An authorization that is refused, and counts. */
const fail: Step = {
  what: "a wrong password",
  run: async (client) => {
    const wrong = client.command("NV_Write", {
      handles: { authHandle: { handle: NV.plain, auth: "00ff" }, nvIndex: NV.plain },
      parameters: { data: "ff", offset: 0 },
    });
    await wrong.catch((error: unknown) => {
      if (!(error instanceof TpmError) || error.parts.name === "TPM_RC_FAILURE") throw error;
    });
  },
};

const shutdown = (shutdownType: "CLEAR" | "STATE"): Step => ({
  what: `Shutdown ${shutdownType}`,
  run: (client) => client.command("Shutdown", { parameters: { shutdownType } }),
});

const changeAuth = (authHandle: "OWNER" | "ENDORSEMENT", old: string, newAuth: string): Step => ({
  what: `HierarchyChangeAuth ${authHandle}`,
  run: (client) =>
    client.command("HierarchyChangeAuth", {
      handles: { authHandle: { handle: authHandle === "OWNER" ? 0x40000001 : 0x4000000b, auth: old } },
      parameters: { newAuth },
    }),
});

const persist = (persistentHandle: number): Step => ({
  what: "EvictControl of a new key",
  run: async (client) => {
    const { objectHandle } = await client.command("CreatePrimary", {
      handles: { primaryHandle: "OWNER" },
      parameters: {
        inSensitive: { userAuth: "", data: "" },
        inPublic: ecc({ attributes: { sign: true } as never }),
        outsideInfo: "",
        creationPCR: [],
      },
    });
    await client.command("EvictControl", {
      handles: { auth: "OWNER", objectHandle },
      parameters: { persistentHandle },
    });
    await client.command("FlushContext", { parameters: { flushHandle: objectHandle } });
  },
});

const evict = (handle: number): Step => ({
  what: "EvictControl that removes",
  run: (client) =>
    client.command("EvictControl", {
      handles: { auth: "OWNER", objectHandle: handle },
      parameters: { persistentHandle: handle },
    }),
});

/** Steps that need nothing but a started TPM, and leave owner, endorsement and lockout authorization empty. */
export const SHORT_SCRIPT: readonly Step[] = [
  define(NV.plain, 8, OWNER_INDEX, AUTH),
  write(NV.plain, "0001020304050607"),
  define(NV.counter, 8, { ...OWNER_INDEX, TPM_NT: "COUNTER" }),
  increment,
  write(NV.plain, "ff", 3),
  changeAuth("OWNER", "", AUTH),
  changeAuth("OWNER", AUTH, ""),
  fail,
  shutdown("STATE"),
];

/** The long one. */
export const LONG_SCRIPT: readonly Step[] = [
  ...SHORT_SCRIPT.slice(0, -1),
  define(NV.big, 2000),
  write(NV.big, "ab".repeat(1000)),
  write(NV.big, "cd".repeat(1000), 1000),
  define(NV.bits, 8, { ...OWNER_INDEX, TPM_NT: "BITS" }),
  {
    what: "NV_SetBits",
    run: (client) =>
      client.command("NV_SetBits", {
        handles: { authHandle: "OWNER", nvIndex: NV.bits },
        parameters: { bits: 5n },
      }),
  },
  define(NV.extend, 32, { ...OWNER_INDEX, TPM_NT: "EXTEND" }),
  {
    what: "NV_Extend",
    run: (client) =>
      client.command("NV_Extend", {
        handles: { authHandle: "OWNER", nvIndex: NV.extend },
        parameters: { data: "aa".repeat(20) },
      }),
  },
  ...Array.from({ length: 6 }, () => increment),
  persist(PERSISTENT),
  persist(PERSISTENT + 1),
  fail,
  fail,
  {
    what: "DictionaryAttackLockReset",
    run: (client) => client.command("DictionaryAttackLockReset", { handles: { lockHandle: "LOCKOUT" } }),
  },
  {
    what: "DictionaryAttackParameters",
    run: (client) =>
      client.command("DictionaryAttackParameters", {
        handles: { lockHandle: "LOCKOUT" },
        parameters: { newMaxTries: 10, newRecoveryTime: 100, lockoutRecovery: 100 },
      }),
  },
  shutdown("STATE"),
  {
    what: "PCR_Allocate",
    run: (client) =>
      client.command("PCR_Allocate", {
        handles: { authHandle: "PLATFORM" },
        parameters: {
          pcrAllocation: [
            { hash: "SHA256", pcrSelect: Array.from({ length: 24 }, (_, pcr) => pcr) },
            { hash: "SHA384", pcrSelect: [] },
          ],
        },
      }),
  },
  {
    what: "SetPrimaryPolicy",
    run: (client) =>
      client.command("SetPrimaryPolicy", {
        handles: { authHandle: "ENDORSEMENT" },
        parameters: { authPolicy: "bb".repeat(32), hashAlg: "SHA256" },
      }),
  },
  evict(PERSISTENT),
  {
    what: "NV_WriteLock",
    run: (client) =>
      client
        .command("NV_WriteLock", { handles: { authHandle: { handle: NV.plain, auth: AUTH }, nvIndex: NV.plain } })
        .catch((error: unknown) => {
          if (!(error instanceof TpmError)) throw error;
        }),
  },
  {
    what: "NV_UndefineSpace",
    run: (client) => client.command("NV_UndefineSpace", { handles: { authHandle: "OWNER", nvIndex: NV.big } }),
  },
  shutdown("CLEAR"),
  {
    what: "ChangeEPS",
    run: (client) => client.command("ChangeEPS", { handles: { authHandle: "PLATFORM" } }),
  },
  persist(PERSISTENT + 2),
  {
    what: "Clear",
    run: (client) => client.command("Clear", { handles: { authHandle: { handle: LOCKOUT } } }),
  },
  define(NV.plain, 16, OWNER_INDEX),
  write(NV.plain, "5a".repeat(16)),
  ...Array.from({ length: 8 }, (_, i) => write(NV.plain, i.toString(16).padStart(2, "0").repeat(16))),
  shutdown("CLEAR"),
];

/** What can be seen of the permanent state, as text: indices with their data, persistent keys, banks, lockout parameters. */
export async function observe(client: TpmClient): Promise<string> {
  const seen: unknown[] = [];
  const capability = async (name: "HANDLES" | "PCRS" | "TPM_PROPERTIES", property: number, propertyCount = 100) =>
    (await client.command("GetCapability", { parameters: { capability: name, property, propertyCount } }))
      .capabilityData.data;
  const handles = async (first: number) => (await capability("HANDLES", first)) as readonly number[];
  for (const nvIndex of await handles(0x0100_0000)) {
    const { nvPublic, nvName } = await client.command("NV_ReadPublic", { handles: { nvIndex } });
    const data = await client
      .command("NV_Read", {
        handles: { authHandle: "OWNER", nvIndex },
        parameters: { size: Math.min(nvPublic.dataSize as number, 1024), offset: 0 },
      })
      .then(
        ({ data }) => data,
        (error: unknown) => String(error),
      );
    seen.push([nvIndex, nvName, data]);
  }
  for (const objectHandle of await handles(0x8100_0000))
    seen.push([objectHandle, (await client.command("ReadPublic", { handles: { objectHandle } })).name]);
  seen.push(await capability("TPM_PROPERTIES", 0x20f, 3));
  return JSON.stringify(seen, (_, value: unknown) => {
    if (typeof value === "bigint") return String(value);
    return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
  });
}
