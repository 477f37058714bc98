// Persistent objects, on the engine and on Debian's swtpm with the same seeds: who may make them, where, what becomes of them,
// and how many fit.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { create, createPrimary, ecc, load, parent, rsa } from "../support/engine-templates.ts";
import { Twins } from "../support/engine-twins.ts";

const KEY = 0x8000_0000;
const SECOND = 0x8000_0001;
const fixed = { fixedTPM: true, fixedParent: true };

let twins: Twins;
beforeAll(async () => {
  twins = await Twins.start();
});
afterAll(() => twins?.[Symbol.asyncDispose]());

const evict = (auth: "OWNER" | "PLATFORM", objectHandle: number, persistentHandle: number) =>
  twins.same([auth, objectHandle, persistentHandle], (client) =>
    client.command("EvictControl", { handles: { auth, objectHandle }, parameters: { persistentHandle } }),
  );
const persistent = () =>
  twins.same("handles", (client) =>
    client.command("GetCapability", {
      parameters: { capability: "HANDLES", property: 0x8100_0000, propertyCount: 100 },
    }),
  );
const readPublic = (objectHandle: number) =>
  twins.same(objectHandle, (client) => client.command("ReadPublic", { handles: { objectHandle } }));

describe.each(["OWNER", "ENDORSEMENT", "PLATFORM"] as const)("objects of hierarchy %s", (hierarchy) => {
  const handles = [0x8100_0000, 0x817f_ffff, 0x8180_0000, 0x81ff_ffff];

  test("become persistent where owner and platform may put them", async () => {
    await twins.same(hierarchy, (client) => createPrimary(client, parent("ECC"), hierarchy));
    for (const auth of ["OWNER", "PLATFORM"] as const) for (const handle of handles) await evict(auth, KEY, handle);
    await persistent();
    await twins.flush(KEY);
  });

  test("are parents while a command uses them, and nothing else", async () => {
    for (const parentHandle of handles) {
      await readPublic(parentHandle);
      const made = await twins.alike(parentHandle, (client) =>
        create(client, parentHandle, ecc({ attributes: { sign: true } })),
      );
      for (const blob of made ?? []) {
        const loaded = await twins.same(blob.outPublic, (client) => load(client, parentHandle, blob));
        // The parent was in the first slot.
        if (loaded) await readPublic(loaded[0].objectHandle);
        if (loaded) await twins.flush(loaded[0].objectHandle);
      }
      await twins.same(parentHandle, (client) =>
        client.command("ContextSave", { handles: { saveHandle: parentHandle } }),
      );
    }
  });

  test("need a free slot for it", async () => {
    for (let slot = 0; slot < 3; slot++) {
      await twins.same(slot, (client) =>
        client.command("HashSequenceStart", { parameters: { auth: "", hashAlg: "SHA256" } }),
      );
    }
    for (const handle of [...handles, 0x8100_1234]) await readPublic(handle);
    await twins.flush(KEY, SECOND, 0x8000_0002);
  });

  test("are hidden while their hierarchy is disabled", async () => {
    const authHandle = hierarchy === "PLATFORM" ? "OWNER" : "PLATFORM";
    const enable = hierarchy === "PLATFORM" ? "OWNER" : hierarchy;
    const control = (state: boolean) =>
      twins.same([enable, state], (client) =>
        client.command("HierarchyControl", {
          handles: { authHandle: state ? "PLATFORM" : authHandle },
          parameters: { enable, state },
        }),
      );
    await control(false);
    for (const handle of handles) await readPublic(handle);
    await control(true);
  });

  test("go again by the handle they have", async () => {
    for (const auth of ["OWNER", "PLATFORM"] as const) {
      for (const handle of handles) for (const named of [0x8100_0001, handle]) await evict(auth, handle, named);
    }
    await persistent();
  });
});

test("what is temporary, cleared at startup or public only cannot become persistent", async () => {
  const stClear = ecc({ attributes: { ...fixed, sign: true, stClear: true } });
  const made = await twins.same("stClear", (client) => createPrimary(client, stClear));
  await evict("OWNER", KEY, 0x8100_0000);
  await twins.flush(KEY);
  const inPublic = { ...stClear, unique: made![0].outPublic.unique as { x: Uint8Array; y: Uint8Array } };
  await twins.same("public", (client) =>
    client.command("LoadExternal", {
      parameters: { inPrivate: null, inPublic: inPublic as typeof stClear, hierarchy: "OWNER" },
    }),
  );
  await evict("OWNER", KEY, 0x8100_0000);
  await twins.flush(KEY);
  await twins.alike("null hierarchy", (client) => createPrimary(client, parent("ECC"), "NULL"));
  await evict("OWNER", KEY, 0x8100_0000);
  await twins.flush(KEY);
});

test("TPM2_Clear and TPM2_ChangePPS take those of their hierarchies away", async () => {
  for (const [i, hierarchy] of (["OWNER", "ENDORSEMENT", "PLATFORM"] as const).entries()) {
    await twins.same(hierarchy, (client) =>
      createPrimary(client, rsa({ attributes: { ...fixed, sign: true } }), hierarchy),
    );
    await evict(
      hierarchy === "PLATFORM" ? "PLATFORM" : "OWNER",
      KEY,
      (hierarchy === "PLATFORM" ? 0x8180_0000 : 0x8100_0000) + i,
    );
    await twins.flush(KEY);
  }
  await persistent();
  await twins.same("clear", (client) => client.command("Clear", { handles: { authHandle: "PLATFORM" } }));
  await persistent();
  await twins.same("pps", (client) => client.command("ChangePPS", { handles: { authHandle: "PLATFORM" } }));
  await persistent();
});

test("65 RSA keys fit, and then no more; what goes leaves room", async () => {
  // The seed is new and random after TPM2_Clear: another key on either side, of the same size.
  await twins.alike("key", (client) => createPrimary(client, parent("RSA")));
  let fit = 0;
  for (let i = 0; i < 70; i++) if (await evict("OWNER", KEY, 0x8100_1000 + i)) fit++;
  expect(fit).toBe(65);
  const define = (dataSize: number) =>
    twins.same(dataSize, (client) =>
      client.command("NV_DefineSpace", {
        handles: { authHandle: "OWNER" },
        parameters: {
          auth: "",
          publicInfo: {
            nvIndex: 0x0150_0000 + dataSize,
            nameAlg: "SHA256",
            attributes: { OWNERWRITE: true, OWNERREAD: true },
            authPolicy: "",
            dataSize,
          },
        },
      }),
    );
  await define(1000);
  await evict("OWNER", 0x8100_1000, 0x8100_1000);
  for (const size of [2000, 1500, 1000, 400, 200, 100, 50]) await define(size);
  await evict("OWNER", KEY, 0x8100_1000);
  await persistent();
});
