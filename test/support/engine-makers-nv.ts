// NV indices: makers of commands.
import { POLICIES, type Policy, policyFor } from "./engine-kinds.ts";
import type { Maker, Parts } from "./engine-makers.ts";
import { NV_TYPE, type NvIndex, nvType, type UserMemory } from "./engine-memory.ts";
import { RH, sized, u16, u32 } from "./engine-steps.ts";

const trimmed = (auth: string) => auth.replace(/(00)+$/, "");
const [UNDEFINE_SPECIAL, CHANGE_AUTH] = [0x11f, 0x13b];
const TPMA_NV = { PLATFORMCREATE: 0x40000000, POLICY_DELETE: 1 << 10, NO_DA: 1 << 25, ORDERLY: 1 << 26 } as const;

function onIndex(s: UserMemory, write: boolean, body: (nv: NvIndex | undefined) => string, ...types: number[]): Parts {
  const index = indexOf(s, ...types);
  return { handles: [s.nvAuthority(index, write), index], body: body(s.nv.get(index)) };
}

/** An index of one of the types; mostly defined before if there is none. */
function indexOf(s: UserMemory, ...types: number[]): number {
  const there = [...s.nv.values()].some(({ attributes }) => types.length === 0 || types.includes(nvType(attributes)));
  if (there || s.once(4)) return s.nvHandle(...types);
  return defineBefore(s, ((s.some(types) ?? NV_TYPE.ordinary) << 4) | (s.once(3) ? TPMA_NV.ORDERLY : 0)).handle;
}

/** An index that its policy, and nothing else, allows to do something. */
function allowedIndex(s: UserMemory, code: number): number {
  const special = code === UNDEFINE_SPECIAL ? TPMA_NV.PLATFORMCREATE | TPMA_NV.POLICY_DELETE : 0;
  const index = s.allowing(s.nv.values(), code, () => defineBefore(s, special, policyFor(code)));
  return index?.handle ?? s.nvHandle();
}

/** Defines an index before the command that is being made. */
function defineBefore(s: UserMemory, more: number, policy?: Policy): NvIndex {
  const attributes = (more | TPMA_NV.NO_DA | 0x00060006) >>> 0;
  const handle = 0x01000000 + s.below(8);
  const [auth, size] = [s.password(), sizeFor(s, attributes)];
  const nvPublic = `${u32(handle)}000b${u32(attributes)}${sized(policy?.digest ?? "")}${u16(size)}`;
  const index = { handle, attributes, size, auth: trimmed(auth), ...(policy ? { policy } : {}) };
  s.nv.set(handle, index);
  const by = attributes & TPMA_NV.PLATFORMCREATE ? RH.PLATFORM : RH.OWNER;
  s.before({
    ...{ id: s.nextId(), name: "NV_DefineSpace", code: 0x12a, handles: [by] },
    body: sized(auth) + sized(nvPublic),

    failed: () => s.nv.delete(handle),
  });
  return index;
}

function attributesOf(s: UserMemory): number {
  if (s.once(20)) return Number.parseInt(s.bytes(4), 16);
  const type = s.pick([...Object.values(NV_TYPE), 0, 0, 1]);
  let attributes = type << 4;
  attributes |= s.pick([0x00040004, 0x00060006, 0x00050005, 0x00070007, 0x00020002, 0x00040002, 0x000c000c]);
  for (const bit of [12, 13, 14, 15, 25, 26, 27, 30, 31]) if (s.once(7)) attributes |= 1 << bit;
  // Not in a definition, or only with others.
  for (const bit of [10, 11, 28, 29]) if (s.once(50)) attributes |= 1 << bit;
  if (type === NV_TYPE.pinFail && !s.once(6)) attributes |= TPMA_NV.NO_DA;
  return attributes >>> 0;
}

function sizeFor(s: UserMemory, attributes: number): number {
  if (s.once(20)) return s.pick([0, 1, 2048, 2049, 7, 9]);
  switch (nvType(attributes)) {
    case NV_TYPE.ordinary:
      return s.pick([1, 8, 16, 32, 100, 300]);
    case NV_TYPE.extend:
      return s.pick([32, 32, 32, 20]);
    default:
      return 8;
  }
}

function define(s: UserMemory): Parts {
  const [attributes, auth] = [attributesOf(s), s.password()];
  const handle = s.once(20) ? 0x01800000 + s.below(4) : 0x01000000 + s.below(8);
  const size = sizeFor(s, attributes);
  const by = s.once(10) ? s.hierarchy() : attributes & TPMA_NV.PLATFORMCREATE ? RH.PLATFORM : RH.OWNER;
  const policy = s.once(3) || attributes & TPMA_NV.POLICY_DELETE ? s.pick(POLICIES) : undefined;
  s.onSuccess(() => s.nv.set(handle, { handle, attributes, size, auth: trimmed(auth), ...(policy ? { policy } : {}) }));
  const authPolicy = policy?.digest ?? (s.once(8) ? s.bytes(s.pick([32, 20])) : "");
  const nameAlg = s.once(20) ? s.hash() : 0xb;
  const nvPublic = `${u32(handle)}${u16(nameAlg)}${u32(attributes)}${sized(authPolicy)}${u16(size)}`;
  return { handles: [by], body: sized(auth) + sized(nvPublic) };
}

function nvData(s: UserMemory, nv: NvIndex | undefined): string {
  const size = nv?.size ?? 8;
  const offset = s.once(3) ? s.below(size + 1) : 0;
  const length = s.once(6) ? s.below(size + 3) : size - offset;
  if (nv && nvType(nv.attributes) >= NV_TYPE.pinFail) {
    // A limit that is soon reached. Never in part: what the rest then is differs (libtpms leaves what was in that memory before).
    return s.once(4) ? `${sized(s.bytes(s.pick([8, 9])))}0000` : `${sized(`${u32(s.below(3))}${u32(s.below(5))}`)}0000`;
  }
  return sized(s.bytes(length)) + u16(offset);
}

function nvRange(s: UserMemory, nv: NvIndex | undefined): string {
  const size = nv?.size ?? 8;
  const offset = s.once(4) ? s.below(size + 1) : 0;
  return u16(s.once(8) ? s.below(size + 3) : size - offset) + u16(offset);
}

const write: Maker = [
  "NV_Write",
  0x137,
  (s) => onIndex(s, true, (nv) => nvData(s, nv), NV_TYPE.ordinary, NV_TYPE.pinFail, NV_TYPE.pinPass),
];
const read: Maker = ["NV_Read", 0x14e, (s) => onIndex(s, false, (nv) => nvRange(s, nv))];
const increment: Maker = ["NV_Increment", 0x134, (s) => onIndex(s, true, () => "", NV_TYPE.counter)];

export const nvCommands: readonly Maker[] = [
  write,
  write,
  read,
  read,
  increment,
  increment,
  ["NV_DefineSpace", 0x12a, define],
  ["NV_DefineSpace", 0x12a, define],
  [
    "NV_UndefineSpace",
    0x122,
    (s) => {
      const index = s.nvHandle();
      s.onSuccess(() => s.nv.delete(index));
      return { handles: [s.pick([RH.OWNER, RH.PLATFORM]), index] };
    },
  ],
  [
    "NV_UndefineSpaceSpecial",
    0x11f,
    (s) => {
      const index = allowedIndex(s, UNDEFINE_SPECIAL);
      s.onSuccess(() => s.nv.delete(index));
      return { handles: [index, RH.PLATFORM], authAfter: "" };
    },
  ],
  ["NV_ReadPublic", 0x169, (s) => ({ handles: [s.nvHandle()] })],
  ["NV_SetBits", 0x135, (s) => onIndex(s, true, () => s.bytes(8), NV_TYPE.bits)],
  ["NV_Extend", 0x136, (s) => onIndex(s, true, () => sized(s.bytes(s.below(50))), NV_TYPE.extend)],
  ["NV_WriteLock", 0x138, (s) => onIndex(s, true, () => "")],
  ["NV_ReadLock", 0x14f, (s) => onIndex(s, false, () => "")],
  ["NV_GlobalWriteLock", 0x132, (s) => ({ handles: [s.pick([RH.OWNER, RH.PLATFORM])] })],
  [
    "NV_ChangeAuth",
    0x13b,
    (s) => {
      const [index, value] = [allowedIndex(s, CHANGE_AUTH), s.password()];
      s.onSuccess(() => s.nvAuthChanged(index, value));
      return { handles: [index], body: sized(value), authAfter: value };
    },
  ],
  [
    "NV_Certify",
    0x184,
    (s) => {
      const index = s.nvHandle();
      const whole = s.once(3) ? "00000000" : nvRange(s, s.nv.get(index));
      const handles = [s.key("attest"), s.nvAuthority(index, false), index];
      return { handles, body: `${sized(s.bytes(s.below(40)))}0010${whole}` };
    },
  ],
];
