// Saved contexts of sequences and sessions on the engine and on Debian's swtpm: the same shapes, the same refusals of what was
// changed, used twice or too old. (Contexts of objects change sides in engine-object-create.test.ts.)
import { afterAll, beforeAll, expect, test } from "vitest";
import { type inputs, encodeStructure } from "../../src/codec/index.ts";
import { createPrimary, ecc, HASHES } from "../support/engine-templates.ts";
import { EngineTpm } from "../support/engine-tpm.ts";
import { type Results, Twins } from "../support/engine-twins.ts";
import { Seeded } from "../support/seeded.ts";

const FIRST = 0x8000_0000;
const SECOND = 0x8000_0001;
type Context = inputs.TPMS_CONTEXT;

let twins: Twins;
beforeAll(async () => {
  twins = await Twins.start();
});
afterAll(() => twins?.[Symbol.asyncDispose]());

/** Saves what is loaded on both; the contexts are alike, but in general only their own TPM opens them. */
async function save(saveHandle: number): Promise<Results<Context> | undefined> {
  const saved = await twins.alike(saveHandle, (client) => client.command("ContextSave", { handles: { saveHandle } }));
  return saved && [saved[0].context as Context, saved[1].context as Context];
}

/** Loads on each its own context, changed by `change`. */
const load = (contexts: Results<Context>, change: (context: Context) => Context = (context) => context) =>
  twins.same(String(change), (client, twin) =>
    client.command("ContextLoad", { parameters: { context: change(contexts[twin.name === "engine" ? 0 : 1]) } }),
  );

test.each([...HASHES, "NULL"] as const)(
  "a sequence with hash %s goes on from its context, as often as wanted",
  async (hashAlg) => {
    const seeded = new Seeded(`contexts ${hashAlg}`);
    const auth = "6162";
    for (const length of [0, 1, 63, 64, 127, 128, 200]) {
      await twins.same(hashAlg, async (client) => {
        const { sequenceHandle } = await client.command("HashSequenceStart", { parameters: { auth, hashAlg } });
        const handles = { sequenceHandle: { handle: sequenceHandle, auth } };
        await client.command("SequenceUpdate", {
          handles,
          parameters: { buffer: new Uint8Array(length).fill(length) },
        });
      });
      const contexts = await save(FIRST);
      await twins.flush(FIRST);
      const rest = seeded.bytes(100);
      for (const handle of [FIRST, SECOND]) expect((await load(contexts!))?.[0].loadedHandle).toBe(handle);
      for (const handle of [FIRST, SECOND]) {
        const sequenceHandle = { handle, auth };
        await twins.same<unknown>([hashAlg, length], (client) =>
          hashAlg === "NULL"
            ? client.command("EventSequenceComplete", {
                handles: { pcrHandle: 16, sequenceHandle },
                parameters: { buffer: rest },
              })
            : client.command("SequenceComplete", {
                handles: { sequenceHandle },
                parameters: { buffer: rest, hierarchy: "OWNER" },
              }),
        );
      }
    }
  },
);

const startSession = (sessionType: "HMAC" | "POLICY") =>
  twins.alike(sessionType, (client) =>
    client.command("StartAuthSession", {
      handles: { tpmKey: "NULL", bind: "NULL" },
      parameters: {
        nonceCaller: new Uint8Array(16),
        encryptedSalt: "",
        sessionType,
        symmetric: { algorithm: "NULL" },
        authHash: "SHA256",
      },
    }),
  );

const blob = (context: Context) => context.contextBlob as Uint8Array;
/** Ways in which a context is not what the TPM gave. */
const changes: ((context: Context) => Context)[] = [
  (context) => ({ ...context, sequence: Number(context.sequence) + 1 }),
  (context) => ({ ...context, savedHandle: 0x0200_0000 }),
  (context) => ({ ...context, savedHandle: 0x8000_0000 }),
  (context) => ({ ...context, savedHandle: 0x8000_0002 }),
  (context) => ({ ...context, hierarchy: "OWNER" }),
  (context) => ({ ...context, contextBlob: blob(context).subarray(0, 10) }),
  (context) => ({ ...context, contextBlob: blob(context).subarray(0, 66) }),
  (context) => ({ ...context, contextBlob: blob(context).subarray(0, 80) }),
  (context) => ({ ...context, contextBlob: new Uint8Array() }),
  (context) => ({ ...context, contextBlob: Uint8Array.from([0, 20, ...blob(context).subarray(2)]) }),
  (context) => ({ ...context, contextBlob: Uint8Array.from([0, 70, ...blob(context).subarray(2)]) }),
  (context) => ({ ...context, contextBlob: blob(context).map((byte, i) => (i === 100 ? byte ^ 1 : byte)) }),
];

test("a session's context is good once; changed ones and foreign ones are refused", async () => {
  const saved: Results<Context>[] = [];
  for (let i = 0; i < 4; i++) await startSession(i === 1 ? "HMAC" : "POLICY");
  for (const handle of [0x0300_0000, 0x0200_0001, 0x0300_0002]) saved.push((await save(handle))!);
  for (const contexts of saved) for (const change of changes) await load(contexts, change);
  for (const index of [1, 1, 0, 2, 2]) await load(saved[index]!);
  await twins.same("policy", (client) =>
    client.command("PolicyGetDigest", { handles: { policySession: 0x0300_0002 } }),
  );
  for (const [i, handle] of [0x0300_0000, 0x0200_0001, 0x0300_0002].entries()) {
    await twins.flush(handle);
    await load(saved[i]!);
  }
});

test("64 sessions can be active, three of them loaded", async () => {
  for (let i = 0; i < 66; i++) {
    const started = await startSession("HMAC");
    if (started) await save(started[0].sessionHandle);
  }
  for (const property of [0x0200_0000, 0x0300_0000]) {
    await twins.same(property, (client) =>
      client.command("GetCapability", { parameters: { capability: "HANDLES", property, propertyCount: 100 } }),
    );
  }
  for (let i = 0; i < 64; i++) await twins.flush(0x0200_0000 + i);
});

test("when the counter has come round to the oldest context, only that one can be loaded or flushed", async () => {
  // 65,536 contexts, on the engine alone; swtpm gives the same answers in the same places.
  const { client } = new EngineTpm();
  const saveOf = async (saveHandle: number) =>
    (await client.command("ContextSave", { handles: { saveHandle } })).context;
  for (let i = 0; i < 3; i++) await client.startAuthSession({ sessionType: "POLICY" });
  await saveOf(0x0300_0000);
  let context = (await saveOf(0x0300_0001)) as Context;
  let saved = 2;
  const error = await (async () => {
    for (;;) {
      await client.command("ContextLoad", { parameters: { context } });
      context = (await saveOf(0x0300_0001)) as Context;
      saved++;
    }
  })().catch((reason: unknown) => reason);
  // Of 65,536 values, four say that a session is loaded.
  expect(saved).toBe(65_532);
  expect(error).toMatchObject({ responseCode: 0x901 });
  await expect(saveOf(0x0300_0002)).rejects.toMatchObject({ responseCode: 0x901 });
  await client.command("FlushContext", { parameters: { flushHandle: 0x0300_0000 } });
  await saveOf(0x0300_0002);
});

test("a context padded to the largest size is loaded, as Windows wants it", async () => {
  const tpm = new EngineTpm();
  await createPrimary(tpm.client, ecc({ attributes: { sign: true, fixedTPM: true, fixedParent: true } }));
  const { context } = await tpm.client.command("ContextSave", { handles: { saveHandle: FIRST } });
  const bytes = encodeStructure("TPMS_CONTEXT", context as Context);
  const MAX_OBJECT_CONTEXT = 3404;
  for (const [size, code] of [
    [bytes.length, 0],
    [bytes.length + 1, 0x95],
    [MAX_OBJECT_CONTEXT, 0],
    [MAX_OBJECT_CONTEXT + 1, 0x95],
  ] as const) {
    const command = new Uint8Array(10 + size);
    const view = new DataView(command.buffer);
    view.setUint16(0, 0x8001);
    view.setUint32(2, command.length);
    view.setUint32(6, 0x161);
    command.set(bytes, 10);
    expect(tpm.rc(command), `${size} bytes`).toBe(code);
    if (code === 0) await tpm.client.command("FlushContext", { parameters: { flushHandle: SECOND } });
  }
});
