// Objects and their life: makers of commands.
import {
  ATTRIBUTE,
  CHEAP_KINDS,
  EXTERNAL_KEYS,
  type ObjectKind,
  POLICIES,
  type Policy,
  PRIMARY_HIERARCHIES,
  publicArea,
  RSA_KINDS,
  SLOW_CURVES,
} from "./engine-kinds.ts";
import type { Maker, Parts } from "./engine-makers.ts";
import { type Blob, type KnownObject, sizedName, type UserMemory } from "./engine-memory.ts";
import { RH, sized, u16, u32 } from "./engine-steps.ts";

const { fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, adminWithPolicy, noDA, encryptedDuplication } =
  ATTRIBUTE;
const FLIPPED = Object.values(ATTRIBUTE);

/** A kind of object to make; now and then one that takes long. */
function kindToMake(s: UserMemory, parent = false): ObjectKind {
  if (s.once(60)) return s.pick(RSA_KINDS);
  if (s.once(60)) return s.pick(SLOW_CURVES);
  const parents = CHEAP_KINDS.filter(({ uses }) => uses.includes("parent"));
  return s.pick(parent && !s.once(3) ? parents : CHEAP_KINDS);
}

interface Made {
  readonly object: Pick<KnownObject, "auth" | "kind" | "policy">;
  /** TPM2B_SENSITIVE_CREATE and TPMT_PUBLIC. */
  readonly sensitive: string;
  readonly template: string;
}

/** What an object is to be: mostly something that the TPM accepts. */
function template(s: UserMemory, kind: ObjectKind, fixed: boolean): Made {
  let attributes = userWithAuth | (kind.data ? 0 : sensitiveDataOrigin) | (s.once(3) ? 0 : noDA);
  attributes |= fixed ? fixedTPM | fixedParent : s.once(6) ? encryptedDuplication : 0;
  const policy: Policy | undefined = s.once(3) ? s.pick(POLICIES) : undefined;
  if (policy && s.once(3)) attributes ^= adminWithPolicy | (s.once(2) ? userWithAuth : 0);
  if (s.once(10)) attributes ^= s.pick(FLIPPED);
  const auth = s.password();
  const data = kind.data ? s.pick(kind.data) : s.once(20) ? s.bytes(16) : "";
  const nameAlg = s.once(8) ? s.hash() : 11;
  const unique = s.once(10) && kind.unique === "0000" ? sized(s.bytes(s.below(33))) : kind.unique;
  return {
    object: { auth, kind, ...(policy ? { policy } : {}) },
    sensitive: sized(sized(auth) + sized(data)),
    template: publicArea(kind, attributes, nameAlg, policy?.digest ?? "", unique),
  };
}

/** The object that the command being made leads to, with what its response tells of it. */
function loaded(s: UserMemory, made: Pick<KnownObject, "auth" | "kind" | "policy">, more: Partial<KnownObject>) {
  const { id } = s;
  const known: KnownObject = {
    handle: `<${id}.handle>`,
    name: `<${id}.name_content>`,
    publicArea: `<${id}.outPublic>`,
    hierarchy: RH.NULL,
    ...made,
    ...more,
  };
  s.onSuccess(() => s.objects.push(known));
}

const creationPcrs = (s: UserMemory) => (s.once(3) ? s.selection() : "00000000");
const outsideInfo = (s: UserMemory) => sized(s.bytes(s.below(8)));

function createPrimary(s: UserMemory): Parts {
  const hierarchy = s.once(15) ? s.hierarchy() : s.pick(PRIMARY_HIERARCHIES);
  const { object, sensitive, template: area } = template(s, kindToMake(s, true), s.below(4) > 0);
  const creation = { hash: `<${s.id}.creationHash>`, ticket: `<${s.id}.creationTicket>` };
  loaded(s, object, { hierarchy, creation });
  return { handles: [hierarchy], body: sensitive + sized(area) + outsideInfo(s) + creationPcrs(s) };
}

function keepBlob(s: UserMemory, blob: Blob): void {
  s.blobs.push(blob);
  if (s.blobs.length > 10) s.blobs.shift();
}

function create(s: UserMemory): Parts {
  const parent = s.object("parent");
  const { object, sensitive, template: area } = template(s, kindToMake(s), s.below(3) > 0);
  const { id } = s;
  if (parent) {
    const creation = { hash: `<${id}.creationHash>`, ticket: `<${id}.creationTicket>` };
    const made = { ...object, publicArea: `<${id}.outPublic>`, hierarchy: parent.hierarchy, creation, parent };
    s.onSuccess(() => keepBlob(s, { parent, privateArea: `<${id}.outPrivate>`, object: made }));
  }
  const body = sensitive + sized(area) + outsideInfo(s) + creationPcrs(s);
  return { handles: [parent?.handle ?? s.key("parent")], body };
}

function load(s: UserMemory): Parts {
  const blob = s.blobs.length ? s.pick(s.blobs) : undefined;
  if (!blob) return { handles: [s.key("parent")], body: sized(s.bytes(40)) + sized(s.bytes(30)) };
  loaded(s, blob.object, blob.object);
  // The parent that it was made with, or the same key loaded again.
  const again = s.objects.find(
    ({ kind, hierarchy }) => kind === blob.parent.kind && hierarchy === blob.parent.hierarchy,
  );
  const parent = s.objectAt(blob.parent.handle) ?? again;
  const publicArea = s.once(20) && s.blobs.length ? s.pick(s.blobs).object.publicArea : blob.object.publicArea;
  return { handles: [parent?.handle ?? s.key("parent")], body: blob.privateArea + publicArea };
}

function createLoaded(s: UserMemory): Parts {
  const primary = s.once(4);
  const parent = primary ? undefined : s.object(s.once(3) ? "derive" : "parent");
  const derived = parent?.kind.uses.includes("derive");
  const { object, sensitive, template: area } = template(s, kindToMake(s), s.below(3) > 0);
  loaded(s, object, { hierarchy: parent?.hierarchy ?? RH.OWNER });
  // A derived object's template has label and context in the place of `unique`.
  const kind = object.kind;
  const context = sized(s.bytes(4)) + sized(s.bytes(s.below(9)));
  const unique = derived
    ? publicArea(kind, userWithAuth | (s.once(2) ? fixedParent | fixedTPM : 0), 11, "", context)
    : area;
  return { handles: [primary ? RH.OWNER : (parent?.handle ?? s.key("parent"))], body: sensitive + sized(unique) };
}

function loadExternal(s: UserMemory): Parts {
  const { kind, unique, sensitive, seed } = s.pick(EXTERNAL_KEYS);
  const publicOnly = s.once(4);
  const auth = publicOnly ? "" : s.password();
  const policy = s.once(5) ? s.pick(POLICIES) : undefined;
  const area = publicArea(kind, userWithAuth | noDA | (s.once(15) ? s.pick(FLIPPED) : 0), 11, policy?.digest, unique);
  const parts = u16(kind.type) + sized(auth) + sized(seed) + sized(sensitive);
  const hierarchy = s.once(15) || publicOnly ? s.hierarchy() : RH.NULL;
  loaded(s, { auth, kind, ...(policy ? { policy } : {}) }, { publicArea: sized(area), hierarchy });
  return { body: (publicOnly ? "0000" : sized(parts)) + sized(area) + u32(hierarchy) };
}

function evict(s: UserMemory): Parts {
  const persistent = s.objects.filter(({ handle }) => handle.startsWith("81"));
  const by = s.once(4) ? s.hierarchy() : RH.OWNER;
  if (persistent.length && s.once(2)) {
    const { handle } = s.pick(persistent);
    s.onSuccess(() => s.forget(handle));
    return { handles: [handle.startsWith("8180") ? RH.PLATFORM : by, handle], body: handle };
  }
  const object = s.objects.length ? s.pick(s.objects) : undefined;
  const platform = object?.hierarchy === RH.PLATFORM;
  const handle = `${platform ? "8180" : "8100"}000${s.below(6)}`;
  if (object) s.onSuccess(() => s.objects.push({ ...object, handle }));
  return { handles: [platform ? RH.PLATFORM : by, object?.handle ?? s.transient()], body: handle };
}

function changeAuth(s: UserMemory): Parts {
  const object = s.objects.find(({ parent }) => parent && !s.once(3));
  const auth = s.password();
  const parent = object?.parent;
  if (object && parent) {
    const { handle: _handle, name: _name, ...rest } = object;
    const privateArea = `<${s.id}.outPrivate>`;
    s.onSuccess(() => keepBlob(s, { parent, privateArea, object: { ...rest, auth } }));
  }
  return { handles: [object?.handle ?? s.key("any"), parent?.handle ?? s.key("parent")], body: sized(auth) };
}

const SYMMETRIC = "000600800043";

function duplicate(s: UserMemory): Parts {
  const object = s.objects.find(({ policy }) => policy?.commands.some(([name]) => name === "PolicyCommandCode"));
  const newParent = s.once(2) ? RH.NULL : s.key("parent");
  const inner = s.once(3);
  s.keepResult("encryption key", "encryptionKeyOut");
  s.keepResult("duplicate", "duplicate");
  s.keepResult("duplicate seed", "outSymSeed");
  if (object) s.keepResult("duplicate public", "encryptionKeyOut");
  const body = inner ? `${sized(s.once(2) ? s.bytes(16) : "")}${SYMMETRIC}` : "00000010";
  return { handles: [object?.handle ?? s.key("any"), newParent], body };
}

function importObject(s: UserMemory): Parts {
  const parent = s.object("parent");
  const object = s.objects.length ? s.pick(s.objects) : undefined;
  const outer = s.once(2);
  const body =
    (outer ? (s.result("encryption key") ?? "0000") : "0000") +
    (object?.publicArea ?? sized(s.bytes(40))) +
    (s.result("duplicate") ?? sized(s.bytes(60))) +
    (s.result("duplicate seed") ?? "0000") +
    (outer ? SYMMETRIC : "0010");
  if (parent && object) {
    const { handle: _handle, name: _name, ...rest } = object;
    const privateArea = `<${s.id}.outPrivate>`;
    s.onSuccess(() => keepBlob(s, { parent, privateArea, object: { ...rest, hierarchy: parent.hierarchy } }));
  }
  return { handles: [parent?.handle ?? s.key("parent")], body };
}

const flush: Maker = [
  "FlushContext",
  0x165,
  (s) => {
    const transient = s.objects.filter((known) => !known.handle.startsWith("81"));
    const handle = transient.length ? s.pick(transient).handle : s.transient();
    s.onSuccess(() => s.forget(handle));
    return { body: handle };
  },
];

export const objects: readonly Maker[] = [
  flush,
  flush,
  ["CreatePrimary", 0x131, createPrimary],
  ["CreatePrimary", 0x131, createPrimary],
  ["Create", 0x153, create],
  ["Load", 0x157, load],
  ["Load", 0x157, load],
  ["CreateLoaded", 0x191, createLoaded],
  ["LoadExternal", 0x167, loadExternal],
  ["LoadExternal", 0x167, loadExternal],
  ["ReadPublic", 0x173, (s) => ({ handles: [s.key("any")] })],
  ["EvictControl", 0x120, evict],
  ["ObjectChangeAuth", 0x150, changeAuth],
  ["Duplicate", 0x14b, duplicate],
  ["Import", 0x156, importObject],
  [
    "Rewrap",
    0x152,
    (s) => {
      const object = s.object("any");
      const name = object ? sizedName(object) : sized(`000b${s.bytes(32)}`);
      const body = (s.result("duplicate") ?? sized(s.bytes(60))) + name + (s.result("duplicate seed") ?? "0000");
      s.keepResult("duplicate", "outDuplicate");
      s.keepResult("duplicate seed", "outSymSeed");
      return { handles: [s.once(3) ? RH.NULL : s.key("parent"), s.once(3) ? RH.NULL : s.key("parent")], body };
    },
  ],
  ["Unseal", 0x15e, (s) => ({ handles: [s.key("seal")] })],
  [
    "MakeCredential",
    0x168,
    (s) => {
      const named = s.object("any");
      s.keepResult("credential", "credentialBlob");
      s.keepResult("credential secret", "secret");
      return {
        handles: [s.key("parent")],
        body: sized(s.bytes(s.below(33))) + (named ? sizedName(named) : sized(s.bytes(34))),
      };
    },
  ],
  [
    "ActivateCredential",
    0x147,
    (s) => ({
      handles: [s.key("any"), s.key("parent")],
      body: (s.result("credential") ?? sized(s.bytes(60))) + (s.result("credential secret") ?? sized(s.bytes(68))),
    }),
  ],
];
