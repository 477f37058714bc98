// The client and its sessions against a TPM that others wrote.
import { Buffer } from "node:buffer";
import { createHash, createPublicKey, verify } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ResponseHmacError } from "../../src/codec/authorization.ts";
import { toHex } from "../../src/codec/bytes.ts";
import { TpmClient, TpmError } from "../../src/codec/client.ts";
import { describeCommand, encodeStructure } from "../../src/codec/index.ts";
import { objectName } from "../../src/codec/name.ts";
import type { AuthSession } from "../../src/codec/session.ts";
import { bytesOf } from "../support/recorded.ts";
import { type Swtpm, startSwtpm } from "../support/swtpm.ts";

let swtpm: Swtpm;
let client: TpmClient;
/** Every command that was sent. */
const sent: Uint8Array[] = [];

beforeAll(async () => {
  swtpm = await startSwtpm();
  client = new TpmClient((command) => {
    sent.push(command);
    return swtpm.transmit(command);
  });
  await client.startup();
});

afterAll(async () => {
  await swtpm?.[Symbol.asyncDispose]();
});

const auth = bytesOf("6e762070617373776f726400");
const secret = bytesOf("00112233445566778899aabbccddeeff");

const eccStorageKey = {
  type: "ECC",
  nameAlg: "SHA256",
  objectAttributes: {
    fixedTPM: true,
    fixedParent: true,
    sensitiveDataOrigin: true,
    userWithAuth: true,
    restricted: true,
    decrypt: true,
  },
  authPolicy: "",
  parameters: {
    symmetric: { algorithm: "AES", keyBits: 128, mode: "CFB" },
    scheme: { scheme: "NULL" },
    curveID: "NIST_P256",
    kdf: { scheme: "NULL" },
  },
  unique: { x: "", y: "" },
} as const;

const rsaStorageKey = {
  ...eccStorageKey,
  type: "RSA",
  parameters: { symmetric: eccStorageKey.parameters.symmetric, scheme: { scheme: "NULL" }, keyBits: 2048, exponent: 0 },
  unique: "",
} as const;

async function createPrimary(inPublic: typeof eccStorageKey | typeof rsaStorageKey): Promise<number> {
  const { objectHandle, outPublic, name } = await client.command("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: { inSensitive: { userAuth: "", data: "" }, inPublic, outsideInfo: "", creationPCR: [] },
  });
  expect(objectName(outPublic)).toEqual(name);
  return objectHandle;
}

const flush = (flushHandle: number | AuthSession): Promise<unknown> =>
  client.command("FlushContext", { parameters: { flushHandle } });

async function defineIndex(handle: number, authPolicy: Uint8Array | string = ""): Promise<void> {
  await client.command("NV_DefineSpace", {
    handles: { authHandle: "OWNER" },
    parameters: {
      auth,
      publicInfo: {
        nvIndex: handle,
        nameAlg: "SHA256",
        attributes: authPolicy.length
          ? { POLICYREAD: true, AUTHWRITE: true }
          : { AUTHREAD: true, AUTHWRITE: true, NO_DA: true },
        authPolicy,
        dataSize: secret.length,
      },
    },
  });
}

const undefineIndex = (nvIndex: number): Promise<unknown> =>
  client.command("NV_UndefineSpace", { handles: { authHandle: "OWNER", nvIndex } });

describe("errors", () => {
  it("carry the response code and what it points at", async () => {
    const error = await client
      .command("ReadPublic", { handles: { objectHandle: 0x81000001 } })
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(TpmError);
    expect(error).toMatchObject({ responseCode: 0x18b, parts: { name: "TPM_RC_HANDLE", at: "handle", number: 1 } });
    expect(String(error)).toBe("TpmError: TPM2_ReadPublic: TPM_RC_HANDLE (handle 1) 0x18b");
  });

  it("come before anything is sent when a value is wrong", async () => {
    const before = sent.length;
    const wrong = client.command("GetRandom", { parameters: { bytesRequested: -1 } });
    await expect(wrong).rejects.toThrow("parameters.bytesRequested: -1 does not fit into 2 bytes");
    expect(sent.length).toBe(before);
  });
});

describe("an NV index", () => {
  const nvIndex = 0x01800001;
  const index = { handle: nvIndex, auth };

  beforeAll(() => defineIndex(nvIndex));
  afterAll(() => undefineIndex(nvIndex));

  it("is written and read with its password", async () => {
    await client.command("NV_Write", {
      handles: { authHandle: index, nvIndex },
      parameters: { data: secret, offset: 0 },
    });
    const { data } = await client.command("NV_Read", {
      handles: { authHandle: index, nvIndex },
      parameters: { size: secret.length, offset: 0 },
    });
    expect(data).toEqual(secret);
  });

  it.each(["SHA1", "SHA256", "SHA384", "SHA512"] as const)(
    "is written and read with an HMAC session of %s",
    async (authHash) => {
      const session = await client.startAuthSession({ authHash });
      const handles = { authHandle: index, nvIndex };
      for (const data of [secret.slice(0, 8), secret]) {
        await client.command("NV_Write", { handles, parameters: { data, offset: 0 }, sessions: [session] });
      }
      const { data } = await client.command("NV_Read", {
        handles,
        parameters: { size: secret.length, offset: 0 },
        sessions: [session.use({ continueSession: false })],
      });
      expect(data).toEqual(secret);
      await expect(flush(session)).rejects.toThrow("TPM_RC_HANDLE");
    },
  );

  it("refuses an HMAC made with another authValue", async () => {
    const session = await client.startAuthSession();
    const wrong = { handle: nvIndex, auth: bytesOf("00ff") };
    const write = client.command("NV_Write", {
      handles: { authHandle: wrong, nvIndex },
      parameters: { data: secret, offset: 0 },
      sessions: [session],
    });
    await expect(write).rejects.toThrow("TPM_RC_BAD_AUTH (session 1)");
    await flush(session);
  });

  it("is read through a session that is bound to it", async () => {
    const session = await client.startAuthSession({ bind: index, symmetric: "AES256" });
    const { data } = await client.command("NV_Read", {
      handles: { authHandle: index, nvIndex },
      parameters: { size: secret.length, offset: 0 },
      sessions: [session.use({ encrypt: true })],
    });
    expect(data).toEqual(secret);
    await flush(session);
  });
});

describe.each([
  ["ECC", eccStorageKey],
  ["RSA", rsaStorageKey],
])("a session salted with an %s key", (_, template) => {
  let tpmKey: number;
  const nvIndex = 0x01800002;
  const index = { handle: nvIndex, auth };
  const handles = { authHandle: index, nvIndex };

  beforeAll(async () => {
    tpmKey = await createPrimary(template);
    await defineIndex(nvIndex);
  });
  afterAll(async () => {
    await undefineIndex(nvIndex);
    await flush(tpmKey);
  });

  it.each(["AES128", "AES256", "XOR"] as const)("encrypts parameters with %s", async (symmetric) => {
    const session = await client.startAuthSession({ tpmKey: { handle: tpmKey }, symmetric });
    const before = sent.length;
    await client.command("NV_Write", {
      handles,
      parameters: { data: secret, offset: 0 },
      sessions: [session.use({ decrypt: true })],
    });
    const { data } = await client.command("NV_Read", {
      handles,
      parameters: { size: secret.length, offset: 0 },
      sessions: [session.use({ encrypt: true })],
    });
    expect(data).toEqual(secret);
    for (const command of sent.slice(before)) expect(toHex(command)).not.toContain(toHex(secret));
    const described = sent.slice(before).map((command) => describeCommand(command));
    expect(
      described.filter((text) => text.startsWith("TPM2_NV_Write") && text.includes("data=<encrypted, 16 bytes>")),
    ).toHaveLength(1);
    await flush(session);
  });

  it("encrypts beside a session that authorizes", async () => {
    const authorizing = await client.startAuthSession();
    const encrypting = await client.startAuthSession({
      tpmKey: { handle: tpmKey },
      symmetric: "AES128",
      authHash: "SHA384",
    });
    await client.command("NV_Write", {
      handles,
      parameters: { data: secret, offset: 0 },
      sessions: [authorizing, encrypting.use({ decrypt: true })],
    });
    const { data } = await client.command("NV_Read", {
      handles,
      parameters: { size: secret.length, offset: 0 },
      sessions: [authorizing, encrypting.use({ encrypt: true, audit: true })],
    });
    expect(data).toEqual(secret);
    // Beside a password too.
    const read = await client.command("NV_Read", {
      handles,
      parameters: { size: 4, offset: 0 },
      sessions: [{ password: auth }, encrypting.use({ encrypt: true })],
    });
    expect(read.data).toEqual(secret.slice(0, 4));
    const { randomBytes } = await client.command("GetRandom", {
      parameters: { bytesRequested: 20 },
      sessions: [encrypting.use({ encrypt: true })],
    });
    expect(randomBytes.length).toBe(20);
    await flush(authorizing);
    await flush(encrypting);
  });
});

describe("authValues that a command changes", () => {
  it.each([{}, { bind: { handle: 0x40000001 } }])("are in the HMAC of its response (%o)", async (options) => {
    const session = await client.startAuthSession({ ...options, symmetric: "AES128" });
    await client.command("HierarchyChangeAuth", {
      handles: { authHandle: 0x40000001 },
      parameters: { newAuth: auth },
      sessions: [session.use({ decrypt: true })],
    });
    await client.command("HierarchyChangeAuth", {
      handles: { authHandle: { handle: 0x40000001, auth } },
      parameters: { newAuth: "" },
      sessions: [session.use({ decrypt: true })],
    });
    await flush(session);
  });

  it("are gone after TPM2_Clear with lockoutAuth", async () => {
    const lockout = { handle: 0x4000000a, auth };
    await client.command("HierarchyChangeAuth", { handles: { authHandle: "LOCKOUT" }, parameters: { newAuth: auth } });
    const session = await client.startAuthSession();
    await client.command("Clear", { handles: { authHandle: lockout }, sessions: [session] });
    await flush(session);
    await client.command("DictionaryAttackLockReset", { handles: { lockHandle: "LOCKOUT" } });
  });
});

describe("a policy session", () => {
  /** The digest of a policy, computed in a trial session. */
  async function digestOf(satisfy: (session: AuthSession) => Promise<unknown>): Promise<Uint8Array> {
    const trial = await client.startAuthSession({ sessionType: "TRIAL" });
    await satisfy(trial);
    const { policyDigest } = await client.command("PolicyGetDigest", { handles: { policySession: trial } });
    await flush(trial);
    return policyDigest;
  }

  const policies: [name: string, satisfy: (session: AuthSession) => Promise<unknown>][] = [
    [
      "PolicySecret",
      (policySession) =>
        client.command("PolicySecret", {
          handles: { authHandle: "OWNER", policySession },
          parameters: { nonceTPM: policySession.nonceTPM, cpHashA: "", policyRef: "aabb", expiration: 0 },
        }),
    ],
    [
      "PolicyPCR",
      (policySession) =>
        client.command("PolicyPCR", {
          handles: { policySession },
          parameters: { pcrDigest: "", pcrs: [{ hash: "SHA256", pcrSelect: [0, 7, 16] }] },
        }),
    ],
    ["PolicyAuthValue", (policySession) => client.command("PolicyAuthValue", { handles: { policySession } })],
    ["PolicyPassword", (policySession) => client.command("PolicyPassword", { handles: { policySession } })],
  ];

  it.each(policies)("authorizes by TPM2_%s", async (_, satisfy) => {
    const nvIndex = 0x01800003;
    const index = { handle: nvIndex, auth };
    await defineIndex(nvIndex, await digestOf(satisfy));
    await client.command("NV_Write", {
      handles: { authHandle: index, nvIndex },
      parameters: { data: secret, offset: 0 },
    });
    for (const options of [{}, { symmetric: "AES128" } as const]) {
      const session = await client.startAuthSession({ sessionType: "POLICY", ...options });
      await satisfy(session);
      const { data } = await client.command("NV_Read", {
        handles: { authHandle: index, nvIndex },
        parameters: { size: secret.length, offset: 0 },
        sessions: [session.use({ encrypt: "symmetric" in options })],
      });
      expect(data).toEqual(secret);
      await client.command("PolicyRestart", { handles: { sessionHandle: session } });
      await flush(session);
    }
    await undefineIndex(nvIndex);
  });
});

describe("objects", () => {
  it("are created, loaded and unsealed", async () => {
    const parentHandle = await createPrimary(eccStorageKey);
    const session = await client.startAuthSession({ tpmKey: { handle: parentHandle }, symmetric: "AES128" });
    const created = await client.command("Create", {
      handles: { parentHandle },
      parameters: {
        inSensitive: { userAuth: auth, data: secret },
        inPublic: {
          type: "KEYEDHASH",
          nameAlg: "SHA256",
          objectAttributes: { fixedTPM: true, fixedParent: true, userWithAuth: true },
          authPolicy: "",
          parameters: { scheme: { scheme: "NULL" } },
          unique: "",
        },
        outsideInfo: "",
        creationPCR: [{ hash: "SHA256", pcrSelect: [0] }],
      },
      sessions: [session.use({ decrypt: true, encrypt: true })],
    });
    expect(created.creationData.parentNameAlg).toBe("TPM_ALG_SHA256");
    const { objectHandle } = await client.command("Load", {
      handles: { parentHandle },
      parameters: { inPrivate: created.outPrivate, inPublic: created.outPublic },
    });
    const { outData } = await client.command("Unseal", {
      handles: { itemHandle: { handle: objectHandle, auth } },
      sessions: [session.use({ encrypt: true })],
    });
    expect(outData).toEqual(secret);
    await flush(session);
    await flush(objectHandle);
    await flush(parentHandle);
  });

  it("sign what others can verify", async () => {
    const parentHandle = await createPrimary(eccStorageKey);
    const { outPrivate, outPublic } = await client.command("Create", {
      handles: { parentHandle },
      parameters: {
        inSensitive: { userAuth: "", data: "" },
        inPublic: {
          ...eccStorageKey,
          objectAttributes: {
            fixedTPM: true,
            fixedParent: true,
            sensitiveDataOrigin: true,
            userWithAuth: true,
            sign: true,
          },
          parameters: {
            symmetric: { algorithm: "NULL" },
            scheme: { scheme: "ECDSA", details: { hashAlg: "SHA256" } },
            curveID: "NIST_P256",
            kdf: { scheme: "NULL" },
          },
        },
        outsideInfo: "",
        creationPCR: [],
      },
    });
    const { objectHandle } = await client.command("Load", {
      handles: { parentHandle },
      parameters: { inPrivate: outPrivate, inPublic: outPublic },
    });
    const message = bytesOf("68656c6c6f");
    const session = await client.startAuthSession();
    const { signature } = await client.command("Sign", {
      handles: { keyHandle: objectHandle },
      parameters: {
        digest: createHash("sha256").update(message).digest(),
        inScheme: { scheme: "NULL" },
        validation: { tag: "HASHCHECK", hierarchy: "NULL", digest: "" },
      },
      sessions: [session],
    });
    if (signature.sigAlg !== "TPM_ALG_ECDSA" || outPublic.type !== "TPM_ALG_ECC") throw new Error("not ECDSA");
    const { signatureR, signatureS } = signature.signature;
    const { x, y } = outPublic.unique;
    const padded = (bytes: Uint8Array): Buffer => Buffer.concat([Buffer.alloc(32 - bytes.length), bytes]);
    const base64 = (bytes: Uint8Array): string => padded(bytes).toString("base64url");
    const key = createPublicKey({
      format: "jwk",
      key: { kty: "EC", crv: "P-256", x: base64(x), y: base64(y) },
    });
    expect(
      verify(
        "sha256",
        message,
        { key, dsaEncoding: "ieee-p1363" },
        Buffer.concat([padded(signatureR), padded(signatureS)]),
      ),
    ).toBe(true);
    await flush(session);
    await flush(objectHandle);
    await flush(parentHandle);
  });
});

describe("a response that was changed on its way", () => {
  it("is refused", async () => {
    let change = false;
    const liar = new TpmClient(async (command) => {
      const response = await swtpm.transmit(command);
      // The first byte of the data that NV_Read and GetRandom return.
      if (change) response[16] = response[16]! ^ 1;
      return response;
    });
    const session = await liar.startAuthSession();
    const request = { parameters: { bytesRequested: 8 }, sessions: [session.use({ audit: true })] };
    await liar.command("GetRandom", request);
    change = true;
    await expect(liar.command("GetRandom", request)).rejects.toThrow(ResponseHmacError);
    await flush(session);
  });
});

it("structures that the TPM returns encode to the bytes it sent", async () => {
  const { capabilityData } = await client.command("GetCapability", {
    parameters: { capability: "ALGS", property: 0, propertyCount: 100 },
  });
  if (capabilityData.capability !== "TPM_CAP_ALGS") throw new Error("not the algorithms");
  expect(capabilityData.data.find(({ alg }) => alg === "TPM_ALG_SHA256")?.algProperties).toMatchObject({ hash: true });
  expect(encodeStructure("TPMS_CAPABILITY_DATA", capabilityData).length).toBe(4 + 4 + 6 * capabilityData.data.length);
});
