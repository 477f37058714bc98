// The commands that the benchmarks measure: what prepares them, their bytes, what undoes them.
import { encodeCommand } from "../dist/codec.js";

const EMPTY_AUTH = [{ password: "" }];
const NV_INDEX = 0x01800100;
/** Eight bytes that stand for a counter in a command which must differ every time. */
const COUNTER = Uint8Array.of(0xc0, 0x17, 0xe5, 0x5a, 0x0d, 0xf1, 0x1e, 0xed);
const DIGEST = Uint8Array.from({ length: 32 }, (_, i) => i);
const KIBIBYTE = Uint8Array.from({ length: 1024 }, (_, i) => (i * 7) & 255);
const NO_TICKET = { tag: "HASHCHECK", hierarchy: "NULL", digest: "" };
const NULL = { scheme: "NULL" };

const ATTRIBUTES = { fixedTPM: true, fixedParent: true, noDA: true, sensitiveDataOrigin: true, userWithAuth: true };
const AES = { algorithm: "AES", keyBits: 128, mode: "CFB" };

const withCounter = (size) => Uint8Array.from({ length: size }, (_, i) => COUNTER[i] ?? 0);

function key(type, use, unique) {
  const storage = use === "storage";
  const symmetric = storage ? AES : { algorithm: "NULL" };
  const common = { nameAlg: "SHA256", authPolicy: "" };
  const objectAttributes = storage ? { ...ATTRIBUTES, restricted: true, decrypt: true } : { ...ATTRIBUTES, sign: true };
  return type === "ECC"
    ? {
        ...common,
        type,
        objectAttributes,
        parameters: { symmetric, scheme: NULL, curveID: "NIST_P256", kdf: NULL },
        unique: { x: unique ?? "", y: "" },
      }
    : {
        ...common,
        type,
        objectAttributes,
        parameters: { symmetric, scheme: NULL, keyBits: 2048, exponent: 0 },
        unique: unique ?? "",
      };
}

const symmetricKey = (mode) => ({
  type: "SYMCIPHER",
  nameAlg: "SHA256",
  objectAttributes: { ...ATTRIBUTES, sign: true, decrypt: true },
  authPolicy: "",
  parameters: { sym: { ...AES, mode } },
  unique: "",
});

const hmacKey = {
  type: "KEYEDHASH",
  nameAlg: "SHA256",
  objectAttributes: { ...ATTRIBUTES, sign: true },
  authPolicy: "",
  parameters: { scheme: { scheme: "HMAC", details: { hashAlg: "SHA256" } } },
  unique: "",
};

const creation = (inPublic) => ({
  inSensitive: { userAuth: "", data: "" },
  inPublic,
  outsideInfo: "",
  creationPCR: [],
});

async function primary(client, inPublic) {
  const { objectHandle } = await client.command("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: creation(inPublic),
  });
  return objectHandle;
}

const createPrimary = (inPublic) =>
  encodeCommand("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: creation(inPublic),
    sessions: EMPTY_AUTH,
  });

/** An operation that is one command with nothing to prepare. */
const plain = (name, input) => async () => ({ command: encodeCommand(name, input) });

const authorized = (name, input) => plain(name, { ...input, sessions: EMPTY_AUTH });

/** An operation with a primary key, which is flushed afterwards. */
const withKey = (inPublic, command) => async (client) => {
  const handle = await primary(client, inPublic);
  return { command: await command(handle, client), handles: [handle] };
};

/** An operation on an NV Index of 32 bytes, which exists as long. */
const withIndex = (attributes, written, command) => async (client) => {
  await client.command("NV_DefineSpace", {
    handles: { authHandle: "OWNER" },
    parameters: {
      auth: "",
      publicInfo: {
        nvIndex: NV_INDEX,
        nameAlg: "SHA256",
        attributes: { AUTHREAD: true, AUTHWRITE: true, NO_DA: true, ...attributes },
        authPolicy: "",
        dataSize: 32,
      },
    },
  });
  if (written) {
    await client.command("NV_Write", {
      handles: { authHandle: NV_INDEX, nvIndex: NV_INDEX },
      parameters: { data: DIGEST, offset: 0 },
    });
  }
  return {
    command,
    end: () => client.command("NV_UndefineSpace", { handles: { authHandle: "OWNER", nvIndex: NV_INDEX } }),
  };
};

const nvWrite = encodeCommand("NV_Write", {
  handles: { authHandle: NV_INDEX, nvIndex: NV_INDEX },
  parameters: { data: withCounter(32), offset: 0 },
  sessions: EMPTY_AUTH,
});

const sign = (scheme) => (keyHandle) =>
  encodeCommand("Sign", {
    handles: { keyHandle },
    parameters: { digest: DIGEST, inScheme: { scheme, details: { hashAlg: "SHA256" } }, validation: NO_TICKET },
    sessions: EMPTY_AUTH,
  });

const verify = (scheme) => async (keyHandle, client) => {
  const { signature } = await client.command("Sign", {
    handles: { keyHandle },
    parameters: { digest: DIGEST, inScheme: { scheme, details: { hashAlg: "SHA256" } }, validation: NO_TICKET },
  });
  return encodeCommand("VerifySignature", { handles: { keyHandle }, parameters: { digest: DIGEST, signature } });
};

const startSession = (sessionType) =>
  plain("StartAuthSession", {
    handles: { tpmKey: "NULL", bind: "NULL" },
    parameters: {
      nonceCaller: DIGEST,
      encryptedSalt: "",
      sessionType,
      symmetric: { algorithm: "NULL" },
      authHash: "SHA256",
    },
  });

/** An operation on a policy session. */
const withPolicySession = (name, parameters) => async (client) => {
  const session = await client.startAuthSession({ sessionType: "TRIAL" });
  return {
    command: encodeCommand(name, { handles: { [sessionHandleOf(name)]: session.handle }, parameters }),
    handles: [session.handle],
  };
};
const sessionHandleOf = (name) => (name === "PolicyRestart" ? "sessionHandle" : "policySession");

/**
 * Every operation by name. `kind` is "plain" for what the targets of plain commands are for, "store" for what writes the permanent
 * state, "crypto" for the rest. `prepare(client)` makes what the command needs; `made` says that a response has a handle to flush.
 */
export const operations = {
  "GetRandom 32": { kind: "plain", prepare: plain("GetRandom", { parameters: { bytesRequested: 32 } }) },
  PCR_Read: {
    kind: "plain",
    prepare: plain("PCR_Read", { parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [0] }] } }),
  },
  PCR_Extend: {
    kind: "plain",
    prepare: authorized("PCR_Extend", {
      handles: { pcrHandle: 10 },
      parameters: { digests: [{ hashAlg: "SHA256", digest: DIGEST }] },
    }),
  },
  ReadClock: { kind: "plain", prepare: plain("ReadClock") },
  "GetCapability (fixed properties)": {
    kind: "plain",
    prepare: plain("GetCapability", {
      parameters: { capability: "TPM_PROPERTIES", property: 0x100, propertyCount: 64 },
    }),
  },
  "Hash 1 KiB (SHA-256)": {
    kind: "plain",
    prepare: plain("Hash", { parameters: { data: KIBIBYTE, hashAlg: "SHA256", hierarchy: "NULL" } }),
  },
  "NV_Read 32": {
    kind: "plain",
    prepare: withIndex(
      {},
      true,
      encodeCommand("NV_Read", {
        handles: { authHandle: NV_INDEX, nvIndex: NV_INDEX },
        parameters: { size: 32, offset: 0 },
        sessions: EMPTY_AUTH,
      }),
    ),
  },
  NV_ReadPublic: {
    kind: "plain",
    prepare: withIndex({}, true, encodeCommand("NV_ReadPublic", { handles: { nvIndex: NV_INDEX } })),
  },
  "NV_Write 32, orderly index": { kind: "plain", prepare: withIndex({ ORDERLY: true }, true, nvWrite) },
  "StartAuthSession HMAC": { kind: "plain", made: true, prepare: startSession("HMAC") },
  "StartAuthSession policy": { kind: "plain", made: true, prepare: startSession("POLICY") },
  PolicyCommandCode: { kind: "plain", prepare: withPolicySession("PolicyCommandCode", { code: "NV_Read" }) },
  PolicyGetDigest: { kind: "plain", prepare: withPolicySession("PolicyGetDigest") },
  PolicyRestart: { kind: "plain", prepare: withPolicySession("PolicyRestart") },
  "NV_Write 32": { kind: "store", prepare: withIndex({}, true, nvWrite) },
  "HMAC 1 KiB (SHA-256)": {
    kind: "crypto",
    prepare: withKey(hmacKey, (handle) =>
      encodeCommand("MAC", {
        handles: { handle },
        parameters: { buffer: KIBIBYTE, inScheme: "SHA256" },
        sessions: EMPTY_AUTH,
      }),
    ),
  },
  "EncryptDecrypt2 1 KiB (AES-128-CFB)": {
    kind: "crypto",
    prepare: withKey(symmetricKey("CFB"), (keyHandle) =>
      encodeCommand("EncryptDecrypt2", {
        handles: { keyHandle },
        parameters: { inData: KIBIBYTE, decrypt: false, mode: "CFB", ivIn: DIGEST.subarray(0, 16) },
        sessions: EMPTY_AUTH,
      }),
    ),
  },
  "CreatePrimary ECC P-256": {
    kind: "crypto",
    made: true,
    prepare: async () => ({ command: createPrimary(key("ECC", "storage", withCounter(32))) }),
  },
  "Create ECC P-256": {
    kind: "crypto",
    prepare: withKey(key("ECC", "storage"), (parentHandle) =>
      encodeCommand("Create", {
        handles: { parentHandle },
        parameters: creation(key("ECC", "sign")),
        sessions: EMPTY_AUTH,
      }),
    ),
  },
  "Create RSA-2048": {
    kind: "crypto",
    slow: true,
    prepare: withKey(key("ECC", "storage"), (parentHandle) =>
      encodeCommand("Create", {
        handles: { parentHandle },
        parameters: creation(key("RSA", "sign")),
        sessions: EMPTY_AUTH,
      }),
    ),
  },
  "Sign ECDSA P-256": { kind: "crypto", prepare: withKey(key("ECC", "sign"), sign("ECDSA")) },
  "VerifySignature ECDSA P-256": { kind: "crypto", prepare: withKey(key("ECC", "sign"), verify("ECDSA")) },
  "Sign RSA-2048": { kind: "crypto", prepare: withKey(key("RSA", "sign"), sign("RSASSA")) },
  "VerifySignature RSA-2048": { kind: "crypto", prepare: withKey(key("RSA", "sign"), verify("RSASSA")) },
  "CreatePrimary RSA-2048": {
    kind: "crypto",
    made: true,
    slow: true,
    prepare: async () => ({ command: createPrimary(key("RSA", "storage", withCounter(256))) }),
  },
};

/**
 * Prepares an operation on a TPM: its command, where in it a counter belongs (-1: nowhere), whether its response has a handle
 * to flush, and what cleans up.
 */
export async function prepareOperation(operation, client) {
  const { command, handles = [], end } = await operation.prepare(client);
  return {
    command,
    counter: indexOf(command, COUNTER),
    made: operation.made ?? false,
    async end() {
      for (const flushHandle of handles) await client.command("FlushContext", { parameters: { flushHandle } });
      await end?.();
    },
  };
}

/** TPM2_FlushContext of the handle that a response begins with. */
export function flushOf(response) {
  const command = encodeCommand("FlushContext", { parameters: { flushHandle: 0 } });
  command.set(response.subarray(10, 14), 10);
  return command;
}

function indexOf(bytes, part) {
  for (let at = 0; at + part.length <= bytes.length; at++) {
    if (part.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}
