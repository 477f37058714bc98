// Objects and their life: makers of commands.
import {
  ATTRIBUTE,
  CHEAP_KINDS,
  EXTERNAL_KEYS,
  type ObjectKind,
  POLICIES,
  type Policy,
  policyFor,
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
  s.roomForObject();
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

/** TPM2_Create with a parent, under the number of a step, and the object outside the TPM that it leads to. */
function creation(s: UserMemory, id: number, parent: KnownObject, kind: ObjectKind) {
  s.roomForObject(parent.handle);
  const { object, sensitive, template: area } = template(s, kind, s.below(3) > 0);
  const made = { hash: `<${id}.creationHash>`, ticket: `<${id}.creationTicket>` };
  const child = { ...object, publicArea: `<${id}.outPublic>`, hierarchy: parent.hierarchy, creation: made, parent };
  const blob: Blob = { parent, privateArea: `<${id}.outPrivate>`, object: child };
  return { blob, body: sensitive + sized(area) + outsideInfo(s) + creationPcrs(s) };
}

function create(s: UserMemory): Parts {
  const parent = s.object("parent");
  if (!parent) return { handles: [s.key("parent")], body: s.bytes(40) };
  const { blob, body } = creation(s, s.id, parent, kindToMake(s));
  s.onSuccess(() => keepBlob(s, blob));
  return { handles: [parent.handle], body };
}

/** An object outside the TPM whose parent is loaded; mostly made before if there is none. */
function loadableBlob(s: UserMemory): Blob | undefined {
  const loadable = s.some(s.blobs.filter(({ parent }) => s.objects.includes(parent)));
  if (loadable || s.once(6)) return loadable ?? s.some(s.blobs);
  const parent = s.object("parent");
  if (!parent) return undefined;
  const id = s.nextId();
  const { blob, body } = creation(s, id, parent, s.pick(CHEAP_KINDS));
  const forget = () => {
    s.blobs = s.blobs.filter((other) => other !== blob);
  };
  keepBlob(s, blob);
  s.before({ id, name: "Create", code: 0x153, handles: [parent.handle], body, failed: forget });
  return blob;
}

function load(s: UserMemory): Parts {
  const blob = loadableBlob(s);
  if (!blob) return { handles: [s.key("parent")], body: sized(s.bytes(40)) + sized(s.bytes(30)) };
  s.roomForObject(blob.parent.handle);
  loaded(s, blob.object, blob.object);
  // The parent that it was made with, or the same key loaded again.
  const again = s.objects.find(
    ({ kind, hierarchy }) => kind === blob.parent.kind && hierarchy === blob.parent.hierarchy,
  );
  const parent = s.objectAt(blob.parent.handle) ?? again;
  const publicArea = s.once(20) ? s.pick(s.blobs).object.publicArea : blob.object.publicArea;
  return { handles: [parent?.handle ?? s.key("parent")], body: blob.privateArea + publicArea };
}

function createLoaded(s: UserMemory): Parts {
  s.roomForObject();
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
  s.roomForObject();
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
  const object = s.some(s.objects.filter(({ parent }) => parent && s.objects.includes(parent)));
  const auth = s.password();
  const parent = object?.parent;
  if (object && parent) {
    const { handle: _handle, name: _name, ...rest } = object;
    const privateArea = `<${s.id}.outPrivate>`;
    s.onSuccess(() => keepBlob(s, { parent, privateArea, object: { ...rest, auth } }));
  }
  return { handles: [object?.handle ?? s.key("any"), parent?.handle ?? s.key("parent")], body: sized(auth) };
}

const AES_128_CFB = "000600800043";
const NO_CIPHER = "0010";
const DUPLICATE = 0x14b;

function duplicate(s: UserMemory): Parts {
  const object = s.allowing(s.objects, DUPLICATE, () => makeObject(s, "any", policyFor(DUPLICATE)));
  const parent = s.once(2) ? s.object("parent") : undefined;
  const symmetric = s.once(3) ? AES_128_CFB : NO_CIPHER;
  const key = symmetric !== NO_CIPHER && s.once(2) ? sized(s.bytes(16)) : undefined;
  const { id } = s;
  if (object) {
    const made = { id, object, symmetric, ...(parent ? { parent } : {}), ...(key ? { key } : {}) };
    s.onSuccess(() => {
      s.duplicates = [...s.duplicates.slice(-5), made];
    });
  }
  return { handles: [object?.handle ?? s.key("any"), parent?.handle ?? RH.NULL], body: (key ?? "0000") + symmetric };
}

function importObject(s: UserMemory): Parts {
  const made = s.some(s.duplicates);
  const parent = made?.parent ?? s.object("parent");
  s.roomForObject(parent?.handle ?? "");
  if (!made || !parent) return { handles: [s.key("parent")], body: `0000${sized(s.bytes(40))}${s.bytes(20)}` };
  const { id, object, symmetric } = made;
  const key = symmetric === NO_CIPHER ? "0000" : (made.key ?? `<${id}.encryptionKeyOut>`);
  const { handle: _handle, name: _name, ...rest } = object;
  const privateArea = `<${s.id}.outPrivate>`;
  s.onSuccess(() => keepBlob(s, { parent, privateArea, object: { ...rest, parent, hierarchy: parent.hierarchy } }));
  const body = `${key}${object.publicArea}<${id}.duplicate><${id}.outSymSeed>${symmetric}`;
  return { handles: [parent.handle], body };
}

function rewrap(s: UserMemory): Parts {
  const made = s.some(s.duplicates);
  if (!made) return { handles: [s.key("parent"), s.key("parent")], body: sized(s.bytes(40)) };
  const body = `<${made.id}.duplicate>${sizedName(made.object)}<${made.id}.outSymSeed>`;
  return { handles: [made.parent?.handle ?? RH.NULL, s.once(3) ? RH.NULL : s.key("parent")], body };
}

function makeCredential(s: UserMemory): Parts {
  const [key, named] = [s.object("parent"), s.object("any")];
  const { id } = s;
  if (key && named) {
    s.onSuccess(() => {
      s.credentials = [...s.credentials.slice(-5), { id, key, named }];
    });
  }
  const name = named ? sizedName(named) : sized(s.bytes(34));
  return { handles: [key?.handle ?? s.key("any")], body: sized(s.bytes(s.below(33))) + name };
}

function activateCredential(s: UserMemory): Parts {
  const made = s.some(s.credentials);
  if (!made) return { handles: [s.key("any"), s.key("parent")], body: sized(s.bytes(60)) + sized(s.bytes(68)) };
  return { handles: [made.named.handle, made.key.handle], body: `<${made.id}.credentialBlob><${made.id}.secret>` };
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

/** Loads or makes an object that can do it before the command that is being made; undefined if no kind can. */
export function makeObject(s: UserMemory, use: string, policy?: Policy): KnownObject | undefined {
  const kinds = [...CHEAP_KINDS, ...RSA_KINDS].filter(({ uses }) => uses.includes(use));
  const external = EXTERNAL_KEYS.filter(({ kind }) => kinds.includes(kind));
  const kind = policy ? s.pick(CHEAP_KINDS) : s.some(kinds);
  if (!kind) return undefined;
  s.roomForObject();
  const id = s.nextId();
  const names = { handle: `<${id}.handle>`, name: `<${id}.name_content>` };
  const forget = () => s.forget(names.handle);
  const auth = s.password();
  const key = s.once(2) && !policy ? s.some(external) : undefined;
  if (key || (RSA_KINDS.includes(kind) && !policy)) {
    const { unique, sensitive, seed, kind: own } = key ?? s.some(external) ?? { ...EXTERNAL_KEYS[0]! };
    const area = sized(publicArea(own, userWithAuth | noDA, 11, "", unique));
    const object = { ...names, publicArea: area, auth, kind: own, hierarchy: RH.NULL };
    const body = sized(u16(own.type) + sized(auth) + sized(seed) + sized(sensitive)) + area + u32(RH.NULL);
    s.objects.push(object);
    s.before({ id, name: "LoadExternal", code: 0x167, handles: [], body, failed: forget });
    return object;
  }
  const hierarchy = s.pick(PRIMARY_HIERARCHIES);
  const made = { hash: `<${id}.creationHash>`, ticket: `<${id}.creationTicket>` };
  const attributes =
    userWithAuth | noDA | (kind.data ? 0 : sensitiveDataOrigin) | (s.once(3) || policy ? 0 : fixedTPM | fixedParent);
  const body = `${sized(sized(auth) + sized(kind.data ? s.pick(kind.data) : ""))}${sized(publicArea(kind, attributes, 11, policy?.digest))}000000000000`;
  const object: KnownObject = {
    ...names,
    ...{ publicArea: `<${id}.outPublic>`, auth, kind, hierarchy, creation: made },
    ...(policy ? { policy } : {}),
  };
  s.objects.push(object);
  s.before({ id, name: "CreatePrimary", code: 0x131, handles: [hierarchy], body, failed: forget });
  return object;
}
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
  ["Rewrap", 0x152, rewrap],
  ["Unseal", 0x15e, (s) => ({ handles: [s.key("seal")] })],
  ["MakeCredential", 0x168, makeCredential],
  ["ActivateCredential", 0x147, activateCredential],
];
