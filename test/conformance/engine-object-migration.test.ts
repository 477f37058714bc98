// A running TPM changes sides, from the engine to Debian's swtpm and back: what is loaded, saved as a context or in progress
// goes on there.
import { createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { TpmClient } from "../../src/codec/client.ts";
import type { inputs } from "../../src/codec/index.ts";
import { create, createPrimary, ecc, HASHES, keyedHash, load, parent, rsa } from "../support/engine-templates.ts";
import { EngineTpm } from "../support/engine-tpm.ts";
import { Seeded } from "../support/seeded.ts";
import { type Swtpm, startSwtpm } from "../support/swtpm.ts";

type Side = "engine" | "swtpm";

/** A TPM that runs now here, now there. */
class Traveller implements AsyncDisposable {
  readonly client = new TpmClient(async (command) => this.#swtpm?.transmit(command) ?? this.#engine.send(command));
  readonly #engine = new EngineTpm();
  #swtpm: Swtpm | undefined;

  static async at(side: Side): Promise<Traveller> {
    const traveller = new Traveller();
    if (side === "swtpm") traveller.#swtpm = await startSwtpm();
    return traveller;
  }

  /** Goes on at the other side. */
  async move(): Promise<void> {
    const swtpm = this.#swtpm;
    if (swtpm) {
      this.#engine.migrate(await swtpm.save());
      this.#swtpm = undefined;
      await swtpm[Symbol.asyncDispose]();
    } else this.#swtpm = await startSwtpm(this.#engine.save());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#swtpm?.[Symbol.asyncDispose]();
  }
}

const LENGTHS = [0, 1, 55, 64, 127, 128, 200];
const auth = "6162";

describe.each([
  ["engine", "swtpm"],
  ["swtpm", "engine"],
] as const)("from %s to %s", (from, _to) => {
  test.each(HASHES)("sequences with %s go on", async (hashAlg) => {
    await using traveller = await Traveller.at(from);
    const { client } = traveller;
    const seeded = new Seeded(`migration ${hashAlg}`);
    const [seedValue, key] = [seeded.bytes(32), seeded.bytes(20)];
    const scheme = { scheme: "HMAC", details: { hashAlg } } as const;
    const inPublic = keyedHash({ attributes: { sign: true, sensitiveDataOrigin: false } }, scheme);
    const { objectHandle } = await client.command("LoadExternal", {
      parameters: {
        inPrivate: { sensitiveType: "KEYEDHASH", authValue: "", seedValue, sensitive: key },
        inPublic: {
          ...inPublic,
          unique: digest("SHA256", new Uint8Array([...seedValue, ...key])),
        } as inputs.TPMT_PUBLIC,
        hierarchy: "NULL",
      },
    });
    for (const length of LENGTHS) {
      const [first, rest] = [seeded.bytes(length), seeded.bytes(100)];
      const hash = await client.command("HashSequenceStart", { parameters: { auth, hashAlg } });
      const mac = await client.command("MAC_Start", {
        handles: { handle: objectHandle },
        parameters: { auth, inScheme: "NULL" },
      });
      const handles = [hash.sequenceHandle, mac.sequenceHandle].map((handle) => ({ handle: Number(handle), auth }));
      for (const sequenceHandle of handles) {
        await client.command("SequenceUpdate", { handles: { sequenceHandle }, parameters: { buffer: first } });
      }
      await traveller.move();
      const results = [];
      for (const sequenceHandle of handles) {
        const parameters = { buffer: rest, hierarchy: "NULL" } as const;
        results.push((await client.command("SequenceComplete", { handles: { sequenceHandle }, parameters })).result);
      }
      const data = new Uint8Array([...first, ...rest]);
      expect(results).toEqual([digest(hashAlg, data), hmac(hashAlg, key, data)]);
      await traveller.move();
    }
  });

  test("event sequences go on", async () => {
    await using traveller = await Traveller.at(from);
    const { client } = traveller;
    const seeded = new Seeded("migration of events");
    for (const length of LENGTHS) {
      const [first, rest] = [seeded.bytes(length), seeded.bytes(100)];
      const { sequenceHandle: handle } = await client.command("HashSequenceStart", {
        parameters: { auth, hashAlg: "NULL" },
      });
      const sequenceHandle = { handle: Number(handle), auth };
      await client.command("SequenceUpdate", { handles: { sequenceHandle }, parameters: { buffer: first } });
      await traveller.move();
      const { results } = await client.command("EventSequenceComplete", {
        handles: { pcrHandle: 16, sequenceHandle },
        parameters: { buffer: rest },
      });
      const data = new Uint8Array([...first, ...rest]);
      expect(results).toEqual(
        HASHES.map((hashAlg) => ({ hashAlg: `TPM_ALG_${hashAlg}`, digest: digest(hashAlg, data) })),
      );
    }
  });

  test("keys, sessions and their contexts go on", async () => {
    await using traveller = await Traveller.at(from);
    const { client } = traveller;
    const save = async (saveHandle: number) =>
      (await client.command("ContextSave", { handles: { saveHandle } })).context as inputs.TPMS_CONTEXT;
    const reload = (context: inputs.TPMS_CONTEXT) => client.command("ContextLoad", { parameters: { context } });
    const policy = await client.startAuthSession({ sessionType: "POLICY" });
    const policySession = policy.handle;
    await client.command("PolicyCommandCode", { handles: { policySession }, parameters: { code: "Duplicate" } });
    const before = await client.command("PolicyGetDigest", { handles: { policySession } });
    let policyContext = await save(policySession);
    const hmacSession = await client.startAuthSession({ symmetric: "AES128" });

    const sign = { sign: true, fixedTPM: true, fixedParent: true };
    const owned = await createPrimary(client, ecc({ attributes: sign }));
    await client.command("EvictControl", {
      handles: { auth: "OWNER", objectHandle: owned.objectHandle },
      parameters: { persistentHandle: 0x8100_0000 },
    });
    await client.command("FlushContext", { parameters: { flushHandle: owned.objectHandle } });
    const storage = await createPrimary(client, parent("RSA"), "NULL");
    const made = await create(client, storage.objectHandle, rsa({ attributes: sign }));
    const child = await load(client, storage.objectHandle, made);
    const childContext = await save(child.objectHandle);

    for (let moves = 0; moves < 3; moves++) {
      await traveller.move();
      await reload(policyContext);
      expect(await client.command("PolicyGetDigest", { handles: { policySession } })).toEqual(before);
      policyContext = await save(policySession);
      for (const handle of [child.objectHandle, 0x8100_0000]) {
        const keyHandle = { handle };
        const { validation } = await client.command("Hash", {
          parameters: { data: "6d", hashAlg: "SHA256", hierarchy: "OWNER" },
        });
        const scheme = handle === child.objectHandle ? "RSASSA" : "ECDSA";
        const { signature } = await client.command("Sign", {
          handles: { keyHandle },
          parameters: {
            digest: digest("SHA256", new Uint8Array([0x6d])),
            inScheme: { scheme, details: { hashAlg: "SHA256" } },
            validation: validation as inputs.TPMT_TK_HASHCHECK,
          },
          sessions: [hmacSession.use({ continueSession: true })],
        });
        await client.command("VerifySignature", {
          handles: { keyHandle: handle },
          parameters: {
            digest: digest("SHA256", new Uint8Array([0x6d])),
            signature: signature as inputs.TPMT_SIGNATURE,
          },
        });
      }
      // The parent still opens what it wrapped, and the TPM its own contexts.
      const again = await load(client, storage.objectHandle, made);
      expect(again.name).toEqual(child.name);
      await client.command("FlushContext", { parameters: { flushHandle: again.objectHandle } });
      const { loadedHandle } = await reload(childContext);
      const read = await client.command("ReadPublic", { handles: { objectHandle: Number(loadedHandle) } });
      expect(read.name).toEqual(child.name);
      await client.command("FlushContext", { parameters: { flushHandle: Number(loadedHandle) } });
    }
  });
});

const digest = (hashAlg: string, data: Uint8Array) => new Uint8Array(createHash(hashAlg).update(data).digest());
const hmac = (hashAlg: string, key: Uint8Array, data: Uint8Array) =>
  new Uint8Array(createHmac(hashAlg, key).update(data).digest());
