// Objects made and loaded by the engine and by Debian's swtpm, which have the same seeds: the same answers to good and bad
// templates, and each opens what the other wrapped.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeStructure, type inputs } from "../../src/codec/index.ts";
import {
  type Blob,
  CURVES,
  create,
  createPrimary,
  ecc,
  HASHES,
  keyedHash,
  load,
  parent,
  randomTemplate,
  symmetricCipher,
  type Template,
} from "../support/engine-templates.ts";
import { Twins } from "../support/engine-twins.ts";
import { CodecError } from "../../src/codec/values.ts";
import { Seeded } from "../support/seeded.ts";

type Sym = inputs.TPMT_SYM_DEF_OBJECT;

let twins: Twins;
beforeAll(async () => {
  twins = await Twins.start();
});
afterAll(() => twins?.[Symbol.asyncDispose]());

const FIRST = 0x8000_0000;
const SECOND = 0x8000_0001;

/** Random templates that the codec can encode (a key size of another cipher, for example, it cannot). */
function* templates(seed: string, count: number) {
  const seeded = new Seeded(seed);
  for (let made = 0; made < count; ) {
    const random = randomTemplate(seeded);
    try {
      encodeStructure("TPMT_PUBLIC", random.template);
    } catch (error) {
      if (error instanceof CodecError) continue;
      throw error;
    }
    made++;
    yield random;
  }
}

test("primary objects: keys, Names, creation data and tickets, and every refusal", async () => {
  const hierarchies = ["OWNER", "ENDORSEMENT", "PLATFORM"] as const;
  const seeded = new Seeded("hierarchies");
  const before = twins.done;
  for (const { template, sensitive } of templates("primary objects", 200)) {
    const hierarchy = seeded.pick(hierarchies);
    const made = await twins.same([hierarchy, template, sensitive], async (client) => {
      const primary = await createPrimary(client, template, hierarchy, sensitive);
      return [primary, await client.command("ReadPublic", { handles: { objectHandle: primary.objectHandle } })];
    });
    if (made) await twins.flush(FIRST);
  }
  expect(twins.done - before).toBeGreaterThan(20);
  expect(twins.refused).toBeGreaterThan(50);
});

describe.each([
  ["RSA", true],
  ["ECC", true],
  ["SYMCIPHER", true],
  ["ECC", false],
] as const)("under a parent of type %s, fixed: %s", (type, fixed) => {
  beforeAll(async () => {
    await twins.same(type, (client) => createPrimary(client, parent(type, fixed)));
  });
  afterAll(() => twins.flush(FIRST));

  test("ordinary objects: what one made the other loads, before and after a stay outside as a context", async () => {
    const before = twins.done;
    for (const { template, sensitive } of templates(`ordinary objects ${type} ${fixed}`, 60)) {
      const made = await twins.alike([template, sensitive], (client) => create(client, FIRST, template, sensitive));
      for (const blob of made ?? []) await exchange(blob);
      if (made) await loadPublic(made[0].outPublic as Template);
    }
    expect(twins.done - before).toBeGreaterThan(60);
  });

  /** Loads a blob on both, takes it out as a context of each, and loads both contexts on both. */
  async function exchange(blob: Blob): Promise<void> {
    const readPublic = (objectHandle: number) =>
      twins.same(blob.outPublic, (client) => client.command("ReadPublic", { handles: { objectHandle } }));
    if (!(await twins.same(blob.outPublic, (client) => load(client, FIRST, blob)))) return;
    await readPublic(SECOND);
    const saved = await twins.alike(blob.outPublic, (client) =>
      client.command("ContextSave", { handles: { saveHandle: SECOND } }),
    );
    await twins.flush(SECOND);
    for (const { context } of saved ?? []) {
      await twins.same(blob.outPublic, (client) => client.command("ContextLoad", { parameters: { context } }));
      await readPublic(SECOND);
      await twins.flush(SECOND);
    }
  }

  async function loadPublic(inPublic: Template): Promise<void> {
    for (const hierarchy of ["OWNER", "NULL"] as const) {
      const loaded = await twins.same(inPublic, (client) =>
        client.command("LoadExternal", { parameters: { inPrivate: null, inPublic, hierarchy } }),
      );
      if (loaded) await twins.flush(SECOND);
    }
  }
});

describe("derived objects (Part 1, 28.2)", () => {
  const details = { hashAlg: "SHA1", kdf: "KDF1_SP800_108" } as const;
  const attributes = { restricted: true, decrypt: true, fixedTPM: true, fixedParent: true };
  beforeAll(async () => {
    const template = keyedHash({ attributes }, { scheme: "XOR", details });
    await twins.same(template, (client) => createPrimary(client, template));
  });
  afterAll(() => twins.flush(FIRST));

  const derive = (label: string, context: string) => encodeStructure("TPMS_DERIVE", { label, context });

  /** A template whose unique field is label and context. */
  function derivationTemplate(template: Template, label: string, context: string): Uint8Array {
    const bytes = encodeStructure("TPMT_PUBLIC", template);
    const unique = template.type === "ECC" ? 4 : 2;
    return Uint8Array.from([...bytes.subarray(0, bytes.length - unique), ...derive(label, context)]);
  }

  const seeded = new Seeded("derived objects");
  const kinds: (() => Template)[] = [
    () => keyedHash({}, { scheme: "HMAC", details: { hashAlg: seeded.pick(HASHES) } }),
    () => keyedHash({}),
    () =>
      symmetricCipher({}, { algorithm: seeded.pick(["AES", "CAMELLIA", "TDES"]), keyBits: 128, mode: "CFB" } as Sym),
    () => ecc({}, seeded.pick(CURVES)),
  ];

  test("are the same on both", async () => {
    const before = twins.done;
    for (let i = 0; i < 60; i++) {
      const kind = seeded.pick(kinds)();
      const objectAttributes = {
        fixedTPM: true,
        fixedParent: seeded.below(10) !== 0,
        userWithAuth: true,
        sensitiveDataOrigin: seeded.below(10) === 0,
        sign: kind.type !== "KEYEDHASH" || "details" in kind.parameters.scheme,
      };
      const template = { ...kind, nameAlg: seeded.pick(HASHES), objectAttributes } as Template;
      const inPublic = derivationTemplate(template, seeded.pick(["", "6c61", "6c6100"]), seeded.pick(["", "aabb"]));
      const data = seeded.pick([new Uint8Array(), derive("7a", ""), derive("7a7a", "01"), derive("", "")]);
      const made = await twins.same(template, async (client) => {
        const object = await client.command("CreateLoaded", {
          handles: { parentHandle: FIRST },
          parameters: { inSensitive: { userAuth: "6162", data }, inPublic },
        });
        return [object, await client.command("ReadPublic", { handles: { objectHandle: object.objectHandle } })];
      });
      if (made) await twins.flush(SECOND);
    }
    expect(twins.done - before).toBeGreaterThan(20);
  });
});

test("TPM2_CreateLoaded makes primary and ordinary objects as TPM2_CreatePrimary and TPM2_Create do", async () => {
  const before = twins.done;
  for (const { template, sensitive } of templates("created loaded", 60)) {
    const parameters = { inSensitive: sensitive, inPublic: encodeStructure("TPMT_PUBLIC", template) };
    const made = await twins.same([template, sensitive], (client) =>
      client.command("CreateLoaded", { handles: { parentHandle: "OWNER" }, parameters }),
    );
    if (!made) continue;
    const child = await twins.alike(template, (client) =>
      client.command("CreateLoaded", {
        handles: { parentHandle: { handle: FIRST, auth: sensitive.userAuth } },
        parameters,
      }),
    );
    await twins.flush(FIRST, ...(child ? [SECOND] : []));
  }
  expect(twins.done - before).toBeGreaterThan(10);
});
