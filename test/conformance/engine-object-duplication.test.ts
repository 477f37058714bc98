// Objects that move between parents: duplicated, rewrapped and imported by the engine and by Debian's swtpm in turn.
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { inputs } from "../../src/codec/index.ts";
import {
  type Blob,
  create,
  createPrimary,
  ecc,
  keyedHash,
  load,
  parent,
  rsa,
  type Template,
} from "../support/engine-templates.ts";
import { Twins } from "../support/engine-twins.ts";
import { Seeded } from "../support/seeded.ts";

const PARENT = 0x8000_0000;
const CHILD = 0x8000_0001;
const NEW_PARENT = 0x8000_0002;

/** PolicyCommandCode(TPM_CC_Duplicate), by Part 3, 23.11. */
const authPolicy = createHash("sha256")
  .update(new Uint8Array(32))
  .update(Uint8Array.of(0, 0, 1, 0x6c, 0, 0, 1, 0x4b))
  .digest("hex");
type Symmetric = inputs.TPMT_SYM_DEF_OBJECT;

let twins: Twins;
beforeAll(async () => {
  twins = await Twins.start();
});
afterAll(() => twins?.[Symbol.asyncDispose]());

describe.each([
  ["fixed to the TPM", true],
  ["that may leave the TPM", false],
])("under a parent %s", (_, fixed) => {
  const seeded = new Seeded(`duplication ${fixed}`);
  // A child of a parent that may leave has its encryptedDuplication.
  const encrypted = fixed ? { encryptedDuplication: true } : {};
  const secret = { sensitiveDataOrigin: false };
  const children: Template[] = [
    ecc({ authPolicy, attributes: { sign: true } }),
    ecc({ authPolicy, attributes: { sign: true, ...encrypted } }),
    rsa({ authPolicy, attributes: { sign: true, decrypt: true } }),
    keyedHash({ authPolicy, attributes: secret }),
    keyedHash({ authPolicy, attributes: { ...secret, ...encrypted } }),
  ];
  const blobs: Blob[] = [];
  const parents: Blob[] = [];

  beforeAll(async () => {
    await twins.same("parent", (client) => createPrimary(client, parent("ECC", fixed)));
    const make = (template: Template, data = "") =>
      create(seeded.pick(twins.both).client, PARENT, template, { userAuth: "", data });
    for (const template of children) blobs.push(await make(template, template.type === "KEYEDHASH" ? "010203" : ""));
    for (const type of ["RSA", "ECC", "SYMCIPHER"] as const) parents.push(await make(parent(type, false)));
  });
  afterAll(() => twins.flush(PARENT));

  test("the other TPM imports what one duplicated or rewrapped, and refuses what was changed", async () => {
    const before = twins.done;
    for (const blob of blobs) {
      for (const newParent of parents) {
        for (const inner of [false, true]) {
          await twins.same("child", (client) => load(client, PARENT, blob));
          await twins.same("new parent", (client) => load(client, PARENT, newParent));
          await duplicate(blob, inner);
          await twins.flush(CHILD, NEW_PARENT);
        }
      }
    }
    expect(twins.done - before).toBeGreaterThan(100);
  });

  async function duplicate({ outPublic }: Blob, inner: boolean): Promise<void> {
    const objectPublic = outPublic as Template;
    const newParentHandle = seeded.below(4) === 0 ? ("NULL" as const) : NEW_PARENT;
    const keyBits = seeded.pick([128, 256]);
    const algorithm = seeded.pick(["AES", "CAMELLIA"]);
    const symmetricAlg = (inner ? { algorithm, keyBits, mode: "CFB" } : { algorithm: "NULL" }) as Symmetric;
    const given = seeded.bytes(inner ? seeded.pick([0, keyBits / 8, keyBits / 8, 5]) : seeded.pick([0, 0, 0, 16]));
    const context = { objectPublic, newParentHandle, symmetricAlg, given };
    const duplicates = await twins.alike(context, async (client) => {
      const session = await client.startAuthSession({ sessionType: "POLICY" });
      try {
        const handles = { policySession: session.handle };
        await client.command("PolicyCommandCode", { handles, parameters: { code: "Duplicate" } });
        return await client.command("Duplicate", {
          handles: { objectHandle: CHILD, newParentHandle },
          parameters: { encryptionKeyIn: given, symmetricAlg },
          sessions: [session],
        });
      } finally {
        await client.command("FlushContext", { parameters: { flushHandle: session.handle } });
      }
    });
    for (const made of duplicates ?? []) {
      const encryptionKey = given.length ? given : made.encryptionKeyOut;
      const parameters = {
        encryptionKey,
        objectPublic,
        duplicate: made.duplicate,
        inSymSeed: made.outSymSeed,
        symmetricAlg,
      };
      const target = newParentHandle === "NULL" ? PARENT : newParentHandle;
      const imported = await importInto(context, target, parameters);
      await importWrong(context, target, parameters);
      await rewrap(context, newParentHandle, parameters);
      for (const { outPrivate } of imported ?? []) await loadImported(context, target, { outPrivate, outPublic });
    }
  }

  type ImportParameters = inputs.Commands["Import"]["parameters"];
  const importInto = (context: unknown, parentHandle: number, parameters: ImportParameters) =>
    twins.alike([context, parentHandle, parameters], (client) =>
      client.command("Import", { handles: { parentHandle }, parameters }),
    );

  async function importWrong(context: unknown, target: number, parameters: ImportParameters): Promise<void> {
    const duplicate = Uint8Array.from(parameters.duplicate as Uint8Array);
    for (const at of [0, 1, 2, 40, duplicate.length - 1]) {
      const changed = duplicate.map((byte, i) => (i === at ? byte ^ seeded.pick([1, 0x80]) : byte));
      await importInto(context, target, { ...parameters, duplicate: changed });
    }
    for (const length of [0, 16, 32]) {
      await importInto(context, target, { ...parameters, encryptionKey: new Uint8Array(length) });
    }
    for (const handle of [PARENT, CHILD, NEW_PARENT]) await importInto(context, handle, parameters);
    const area = parameters.objectPublic;
    for (const attribute of ["fixedTPM", "noDA", "encryptedDuplication", "sign"] as const) {
      const attributes = area.objectAttributes as Record<string, boolean>;
      const objectAttributes = { ...attributes, [attribute]: !attributes[attribute] };
      await importInto(context, target, { ...parameters, objectPublic: { ...area, objectAttributes } as Template });
    }
  }

  async function rewrap(context: unknown, oldParent: number | "NULL", parameters: ImportParameters): Promise<void> {
    const { duplicate: inDuplicate, inSymSeed } = parameters;
    const read = await twins.same("name", (client) =>
      client.command("ReadPublic", { handles: { objectHandle: CHILD } }),
    );
    const { name } = read![0];
    for (const newParent of [PARENT, NEW_PARENT, "NULL"] as const) {
      const wrapped = await twins.alike([context, newParent], (client) =>
        client.command("Rewrap", { handles: { oldParent, newParent }, parameters: { inDuplicate, name, inSymSeed } }),
      );
      for (const { outDuplicate, outSymSeed } of wrapped ?? []) {
        const target = newParent === "NULL" ? PARENT : newParent;
        await importInto(context, target, { ...parameters, duplicate: outDuplicate, inSymSeed: outSymSeed });
      }
      const wrongParent = oldParent === "NULL" ? NEW_PARENT : "NULL";
      await twins.alike([context, newParent, "wrong"], (client) =>
        client.command("Rewrap", {
          handles: { oldParent: wrongParent, newParent },
          parameters: { inDuplicate, name, inSymSeed },
        }),
      );
    }
  }

  async function loadImported(context: unknown, target: number, blob: Blob): Promise<void> {
    // The child's slot is needed.
    const child = blobs.find(({ outPublic }) => outPublic === blob.outPublic)!;
    await twins.flush(CHILD);
    const loaded = await twins.same(context, (client) => load(client, target, blob));
    if (loaded) {
      await twins.same(context, (client) => client.command("ReadPublic", { handles: { objectHandle: CHILD } }));
      await twins.same(context, (client) => client.command("Unseal", { handles: { itemHandle: CHILD } }));
      await twins.flush(CHILD);
    }
    await twins.same("child", (client) => load(client, PARENT, child));
  }
});
