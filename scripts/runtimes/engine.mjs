// The package in the process of the runtime that runs this: RUNTIME engine.mjs
//
// One check prints a digest of all responses that a TPM with fixed random numbers gave: the same on every runtime and build.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { TpmClient } from "../../dist/client.js";
import { DirStore, MemoryStore, Tpm } from "../../dist/index.js";
import { check, expectEqual } from "./report.mjs";

const NV_INDEX = 0x01800001;
const SECRET = "00112233445566778899aabbccddeeff";
const PCR = 16;
const SIZE_OF_SEED = 64;
/** The authorization area of TPM2_CreatePrimary, and what follows inPublic. */
const EMPTY_PASSWORD = "00000009400000090000000000";
const NO_OUTSIDE_INFO = "0000";
const NO_CREATION_PCR = "00000000";
const HIERARCHIES = { EPSeed: "4000000b", SPSeed: "40000001", PPSeed: "4000000c" };

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const digest = (algorithm, ...parts) => {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};
const clientOf = (tpm) => new TpmClient((command) => tpm.execute(command));

const publicArea = (parameters, attributes) => ({
  nameAlg: "SHA256",
  objectAttributes: { sensitiveDataOrigin: true, userWithAuth: true, noDA: true, ...attributes },
  authPolicy: "",
  ...parameters,
});
const STORAGE_KEY = publicArea(
  {
    type: "ECC",
    parameters: {
      symmetric: { algorithm: "AES", keyBits: 128, mode: "CFB" },
      scheme: { scheme: "NULL" },
      curveID: "NIST_P256",
      kdf: { scheme: "NULL" },
    },
    unique: { x: "", y: "" },
  },
  { restricted: true, decrypt: true },
);
const SIGNING_KEY = publicArea(
  {
    type: "RSA",
    parameters: { symmetric: { algorithm: "NULL" }, scheme: { scheme: "NULL" }, keyBits: 2048, exponent: 0 },
    unique: "",
  },
  { sign: true },
);
const create = (inPublic) => ({ inSensitive: { userAuth: "", data: "" }, inPublic, outsideInfo: "", creationPCR: [] });

/** Random numbers that are the same in every run, and a clock that stands still. */
function repeatable() {
  let state = 1;
  return {
    random(bytes) {
      for (let i = 0; i < bytes.length; i++) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        bytes[i] = state >>> 16;
      }
    },
    now: () => 1_700_000_000_000,
  };
}

await check("PCR and hash commands", async () => {
  const tpm = await Tpm.create();
  const client = clientOf(tpm);
  await client.command("PCR_Extend", {
    handles: { pcrHandle: PCR },
    parameters: { digests: [{ hashAlg: "SHA256", digest: "11".repeat(32) }] },
  });
  const { pcrValues } = await client.command("PCR_Read", {
    parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [PCR] }] },
  });
  expectEqual("PCR", hex(pcrValues[0]), digest("sha256", Buffer.alloc(32), Buffer.alloc(32, 0x11)));
  for (const algorithm of ["SHA1", "SHA256", "SHA384", "SHA512"]) {
    const { outHash } = await client.command("Hash", {
      parameters: { data: Buffer.from("abc"), hashAlg: algorithm, hierarchy: "NULL" },
    });
    expectEqual(algorithm, hex(outHash), digest(algorithm.toLowerCase(), "abc"));
  }
  const random = await client.command("GetRandom", { parameters: { bytesRequested: 32 } });
  const other = await client.command("GetRandom", { parameters: { bytesRequested: 32 } });
  expectEqual("random numbers repeat", hex(random.randomBytes) === hex(other.randomBytes), false);
  await tpm.close();
});

await check("NV in an HMAC session with encrypted parameters", async () => {
  const tpm = await Tpm.create();
  const client = clientOf(tpm);
  const { objectHandle } = await client.command("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: create(STORAGE_KEY),
  });
  const session = await client.startAuthSession({ tpmKey: { handle: objectHandle }, symmetric: "AES128" });
  const sent = [];
  await secretInNv(
    new TpmClient(async (command) => {
      const response = await tpm.execute(command);
      sent.push(hex(command), hex(response));
      return response;
    }),
    session,
  );
  expectEqual("the secret was seen on the way", sent.join().includes(SECRET), false);
  await tpm.close();
});

/** Writes the secret to an NV Index and reads it back. */
async function secretInNv(client, session) {
  const handles = { authHandle: { handle: NV_INDEX, auth: "6161" }, nvIndex: NV_INDEX };
  await client.command("NV_DefineSpace", {
    handles: { authHandle: "OWNER" },
    parameters: {
      auth: "6161",
      publicInfo: {
        nvIndex: NV_INDEX,
        nameAlg: "SHA256",
        attributes: { AUTHREAD: true, AUTHWRITE: true, NO_DA: true },
        authPolicy: "",
        dataSize: SECRET.length / 2,
      },
    },
    ...(session ? { sessions: [session.use({ decrypt: true })] } : {}),
  });
  await client.command("NV_Write", {
    handles,
    parameters: { data: SECRET, offset: 0 },
    ...(session ? { sessions: [session.use({ decrypt: true })] } : {}),
  });
  await expectSecret(client, session);
}

async function expectSecret(client, session) {
  const { data } = await client.command("NV_Read", {
    handles: { authHandle: { handle: NV_INDEX, auth: "6161" }, nvIndex: NV_INDEX },
    parameters: { size: SECRET.length / 2, offset: 0 },
    ...(session ? { sessions: [session.use({ encrypt: true })] } : {}),
  });
  expectEqual("NV", hex(data), SECRET);
}

await check("state in a folder outlives a power cycle and the TPM", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "wtpm-runtimes-"));
  try {
    const tpm = await Tpm.create({ store: new DirStore(folder) });
    await secretInNv(clientOf(tpm));
    await tpm.powerCycle();
    await clientOf(tpm).startup();
    await expectSecret(clientOf(tpm));
    await tpm.close();
    const again = await Tpm.create({ store: new DirStore(folder) });
    await expectSecret(clientOf(again));
    await again.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const { vectors } = JSON.parse(
  readFileSync(new URL("../../test/data/tpm2/engine-primary-keys.json", import.meta.url), "utf8"),
);
const recorded = vectors.filter(({ name }) => !name.endsWith("rsa4096")); // Not in the null profile.

await check("primary keys from recorded seeds", async () => {
  const tpm = await tpmWithSeeds();
  let rsaMs = 0;
  for (const vector of recorded) {
    const started = performance.now();
    const response = await tpm.execute(createPrimary(vector));
    if (vector.n) rsaMs += performance.now() - started;
    const view = new DataView(response.buffer, response.byteOffset);
    expectEqual(`${vector.name}: response code`, view.getUint32(6), 0);
    const end = 20 + view.getUint16(18);
    const unique = Buffer.from(vector.n ? digits(vector.n) : digits(vector.x) + digits(vector.y), "hex");
    const points = vector.n ? [unique] : [unique.subarray(0, unique.length / 2), unique.subarray(unique.length / 2)];
    const expected = points.map((part) => sized(hex(part))).join("");
    expectEqual(vector.name, hex(response.subarray(0, end)).slice(-expected.length), expected);
    await tpm.execute(flush(view.getUint32(10)));
  }
  await tpm.close();
  return `${recorded.length} keys, those of RSA in ${(rsaMs / 1000).toFixed(1)} s`;
});

function digits(value) {
  const text = value.replace(/^0x/, "");
  return text.padStart(text.length + (text.length & 1), "0");
}

function sized(text) {
  return (text.length / 2).toString(16).padStart(4, "0") + text;
}

/** A TPM whose primary seeds are 64 bytes 01 (EPSeed), 02 (SPSeed) and 03 (PPSeed). */
async function tpmWithSeeds() {
  const store = new MemoryStore();
  await (await Tpm.create({ store, host: repeatable() })).close();
  const permanent = Uint8Array.from((await store.load()).blobs.permanent);
  const view = new DataView(permanent.buffer);
  const size = 2 + SIZE_OF_SEED;
  // The seeds stand one after the other, each a TPM2B; nothing before them looks like that.
  let at = 0;
  while (![0, 1, 2].every((i) => view.getUint16(at + i * size) === SIZE_OF_SEED)) at++;
  for (const seed of [0, 1, 2]) permanent.fill(seed + 1, at + seed * size + 2, at + (seed + 1) * size);
  return Tpm.create({ store: new MemoryStore({ permanent }) });
}

function createPrimary({ seed, template }) {
  const sensitive = sized("00000000");
  const body = `${HIERARCHIES[seed]}${EMPTY_PASSWORD}${sensitive}${sized(template)}${NO_OUTSIDE_INFO}${NO_CREATION_PCR}`;
  return Buffer.from(`8002${(10 + body.length / 2).toString(16).padStart(8, "0")}00000131${body}`, "hex");
}

function flush(handle) {
  return Buffer.from(`80010000000e00000165${handle.toString(16).padStart(8, "0")}`, "hex");
}

await check("responses with fixed random numbers", async () => {
  const tpm = await Tpm.create({ host: repeatable() });
  const responses = createHash("sha256");
  let count = 0;
  const client = new TpmClient(async (command) => {
    const response = await tpm.execute(command);
    responses.update(response);
    count++;
    return response;
  });
  await client.command("GetRandom", { parameters: { bytesRequested: 32 } });
  const parent = await client.command("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: create(STORAGE_KEY),
  });
  const child = await client.command("Create", {
    handles: { parentHandle: parent.objectHandle },
    parameters: create(SIGNING_KEY),
  });
  const { objectHandle } = await client.command("Load", {
    handles: { parentHandle: parent.objectHandle },
    parameters: { inPrivate: child.outPrivate, inPublic: child.outPublic },
  });
  for (const scheme of ["RSASSA", "RSAPSS"]) {
    await client.command("Sign", {
      handles: { keyHandle: objectHandle },
      parameters: {
        digest: digest("sha256", "abc"),
        inScheme: { scheme, details: { hashAlg: "SHA256" } },
        validation: { tag: "HASHCHECK", hierarchy: "NULL", digest: "" },
      },
    });
  }
  await tpm.close();
  return `${count} responses, SHA-256 ${responses.digest("hex")}`;
});
