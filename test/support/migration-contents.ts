// What a TPM holds, of every kind that a migration or a snapshot has to carry, and the proof that all of it is there and works.
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { expect } from "vitest";
import type { AuthSession, TpmClient } from "../../src/codec/client.ts";
import type { inputs, values } from "../../src/codec/index.ts";
import { ecc } from "./engine-templates.ts";

/** Neither PCR ends policy sessions that have seen other PCRs: its changes are not counted (TCG PC Client PFP). */
const PCR = 23;
const POLICY_PCR = 16;
const NV_INDEX = 0x0180_0007;
const NV_SIZE = 32;
const PERSISTENT = 0x8101_0077;
const AUTH = "6162";

const KEY_PCR = { pcrDigest: "", pcrs: [{ hash: "SHA256", pcrSelect: [POLICY_PCR] }] } as const;
const SCHEME = { scheme: "ECDSA", details: { hashAlg: "SHA256" } } as const;
const NO_TICKET = { tag: "HASHCHECK", hierarchy: "NULL", digest: "" } as const;

/** A key that was made, with its public area as the TPM gave it. */
interface Key {
  readonly handle: number;
  readonly outPublic: values.TPMT_PUBLIC;
}

type Context = inputs.TPMS_CONTEXT;

const sha256 = (...parts: Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

/** Whether the key made the ECDSA signature of the digest. */
function signedBy({ outPublic }: Key, message: Uint8Array, signature: values.TPMT_SIGNATURE): boolean {
  const point = outPublic.unique as { x: Uint8Array; y: Uint8Array };
  const { signatureR, signatureS } = (signature as { signature: { signatureR: Uint8Array; signatureS: Uint8Array } })
    .signature;
  const word = (bytes: Uint8Array) => Buffer.concat([Buffer.alloc(32 - bytes.length), bytes]);
  const key = createPublicKey({
    format: "jwk",
    key: {
      kty: "EC",
      crv: "P-256",
      x: word(point.x).toString("base64url"),
      y: word(point.y).toString("base64url"),
    },
  });
  const raw = Buffer.concat([word(signatureR), word(signatureS)]);
  return verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, raw);
}

/** The part of it that changes as time goes on. */
export interface Values {
  readonly pcr: Uint8Array;
  readonly nv: Uint8Array;
}

/**
 * A PCR, an NV Index, a persistent and a transient key, the saved context of another key, and a policy session, bound to another PCR,
 * that authorizes the use of a third.
 */
export class TpmContents {
  readonly #client: TpmClient;
  readonly #persistent: Key;
  readonly #transient: Key;
  readonly #saved: { readonly key: Key; readonly context: Context };
  readonly #policyKey: Key;
  readonly #session: AuthSession;
  #values: Values;

  private constructor(
    client: TpmClient,
    keys: { persistent: Key; transient: Key; saved: { key: Key; context: Context }; policyKey: Key },
    session: AuthSession,
    values: Values,
  ) {
    this.#client = client;
    this.#persistent = keys.persistent;
    this.#transient = keys.transient;
    this.#saved = keys.saved;
    this.#policyKey = keys.policyKey;
    this.#session = session;
    this.#values = values;
  }

  /** Fills a TPM that has nothing loaded. */
  static async make(client: TpmClient): Promise<TpmContents> {
    const nv = new Uint8Array(randomBytes(NV_SIZE));
    const nvPublic = {
      nvIndex: NV_INDEX,
      nameAlg: "SHA256",
      attributes: { AUTHREAD: true, AUTHWRITE: true, NO_DA: true },
      authPolicy: "",
      dataSize: NV_SIZE,
    } as const;
    await client.command("NV_DefineSpace", {
      handles: { authHandle: "OWNER" },
      parameters: { auth: AUTH, publicInfo: nvPublic },
    });
    await writeNv(client, nv);
    const pcr = await extendPcr(client, await readPcr(client));
    await client.command("PCR_Extend", {
      handles: { pcrHandle: POLICY_PCR },
      parameters: { digests: [{ hashAlg: "SHA256", digest: pcr }] },
    });

    const persistent = await primary(client, "persistent");
    await client.command("EvictControl", {
      handles: { auth: "OWNER", objectHandle: persistent.handle },
      parameters: { persistentHandle: PERSISTENT },
    });
    await flush(client, persistent.handle);
    const saved = await primary(client, "saved");
    const { context } = await client.command("ContextSave", { handles: { saveHandle: saved.handle } });
    await flush(client, saved.handle);
    const transient = await primary(client, "transient");

    const trial = await client.startAuthSession({ sessionType: "TRIAL" });
    await client.command("PolicyPCR", { handles: { policySession: trial }, parameters: KEY_PCR });
    const { policyDigest } = await client.command("PolicyGetDigest", { handles: { policySession: trial } });
    await flush(client, trial.handle);
    const policyKey = await primary(client, "policy", policyDigest);
    const session = await client.startAuthSession({ sessionType: "POLICY" });
    const keys = {
      persistent: { ...persistent, handle: PERSISTENT },
      transient,
      saved: { key: saved, context: context as Context },
      policyKey,
    };
    const contents = new TpmContents(client, keys, session, { pcr, nv });
    await contents.#arm(policyDigest);
    return contents;
  }

  /** What it holds now. */
  get values(): Values {
    return this.#values;
  }

  /** Everything is there and works. With `values` that were noted earlier, the TPM is as it was then, and goes on from there. */
  async check(values: Values = this.#values): Promise<void> {
    const client = this.#client;
    this.#values = values;
    expect(await readPcr(client), "the PCR").toEqual(values.pcr);
    expect(await readNv(client), "the NV Index").toEqual(values.nv);
    await this.#sign("the persistent key", this.#persistent);
    await this.#sign("the transient key", this.#transient);
    const { loadedHandle } = await client.command("ContextLoad", { parameters: { context: this.#saved.context } });
    await this.#sign("the key whose context was saved", { ...this.#saved.key, handle: loadedHandle });
    await flush(client, loadedHandle);
    // The session, which was bound to the PCR before, authorizes the key now, and is bound again for another time.
    const handles = { policySession: this.#session };
    const { policyDigest } = await client.command("PolicyGetDigest", { handles });
    await this.#sign("the key with a policy", this.#policyKey, this.#session);
    await this.#arm(policyDigest);
  }

  async #arm(expected: Uint8Array): Promise<void> {
    const handles = { policySession: this.#session };
    await this.#client.command("PolicyRestart", { handles: { sessionHandle: this.#session } });
    await this.#client.command("PolicyPCR", { handles, parameters: KEY_PCR });
    const { policyDigest } = await this.#client.command("PolicyGetDigest", { handles });
    expect(policyDigest, "the policy session's digest").toEqual(expected);
  }

  /** New data in the NV Index, and the PCR extended. */
  async change(): Promise<void> {
    const nv = new Uint8Array(randomBytes(NV_SIZE));
    await writeNv(this.#client, nv);
    this.#values = { nv, pcr: await extendPcr(this.#client, this.#values.pcr) };
  }

  async #sign(what: string, key: Key, session?: AuthSession): Promise<void> {
    const message = new Uint8Array(randomBytes(20));
    const { signature } = await this.#client.command("Sign", {
      handles: { keyHandle: { handle: key.handle, auth: AUTH } },
      parameters: { digest: sha256(message), inScheme: { scheme: "NULL" }, validation: NO_TICKET },
      ...(session ? { sessions: [session] } : {}),
    });
    expect(signedBy(key, message, signature), `a signature by ${what}`).toBe(true);
  }
}

/** The NV Index of TpmContents, read with its own authorization. */
export async function readNv(client: TpmClient): Promise<Uint8Array> {
  const handles = { authHandle: { handle: NV_INDEX, auth: AUTH }, nvIndex: NV_INDEX };
  return (await client.command("NV_Read", { handles, parameters: { size: NV_SIZE, offset: 0 } })).data;
}

async function writeNv(client: TpmClient, data: Uint8Array): Promise<void> {
  const handles = { authHandle: { handle: NV_INDEX, auth: AUTH }, nvIndex: NV_INDEX };
  await client.command("NV_Write", { handles, parameters: { data, offset: 0 } });
}

async function readPcr(client: TpmClient): Promise<Uint8Array> {
  const pcrSelectionIn = [{ hash: "SHA256", pcrSelect: [PCR] }] as const;
  return (await client.command("PCR_Read", { parameters: { pcrSelectionIn } })).pcrValues[0]!;
}

/** Extends the PCR, whose value is given, and gives the value that follows. */
async function extendPcr(client: TpmClient, value: Uint8Array): Promise<Uint8Array> {
  const digest = new Uint8Array(randomBytes(32));
  await client.command("PCR_Extend", {
    handles: { pcrHandle: PCR },
    parameters: { digests: [{ hashAlg: "SHA256", digest }] },
  });
  return sha256(value, digest);
}

/** A signing key of the owner's with authValue AUTH, or with a policy. The name makes it another key than the others. */
async function primary(client: TpmClient, name: string, authPolicy?: Uint8Array): Promise<Key> {
  const attributes = { sign: true, fixedTPM: true, fixedParent: true, userWithAuth: !authPolicy };
  const template = ecc({ attributes, ...(authPolicy ? { authPolicy: toHex(authPolicy) } : {}) }, "NIST_P256", SCHEME);
  const unique = { x: toHex(sha256(Buffer.from(name))), y: "" };
  const { objectHandle, outPublic } = await client.command("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: {
      inSensitive: { userAuth: AUTH, data: "" },
      inPublic: { ...template, unique } as inputs.TPMT_PUBLIC,
      outsideInfo: "",
      creationPCR: [],
    },
  });
  return { handle: objectHandle, outPublic: outPublic as values.TPMT_PUBLIC };
}

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

async function flush(client: TpmClient, flushHandle: number): Promise<void> {
  await client.command("FlushContext", { parameters: { flushHandle } });
}
