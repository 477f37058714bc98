// Sessions and policies: makers of commands.
import type { Maker, Parts } from "./engine-makers.ts";
import { digitsOf, sizedName, type UserMemory } from "./engine-memory.ts";
import { RH, type SessionStart, sized, u8, u16, u32 } from "./engine-steps.ts";

const CIPHERS = [
  ["0010", 0x10, 0],
  ["0010", 0x10, 0],
  ["000600800043", 6, 128],
  ["000601000043", 6, 256],
  ["000a", 0x0a, 0],
] as const;
const SE = { HMAC: 0, POLICY: 1, TRIAL: 3 } as const;
const MAX_NONCE: Readonly<Record<number, number>> = { 4: 20, 11: 32, 12: 48, 13: 64 };

/** TPM2_StartAuthSession of a type; at times bound to something, at times with a salt. */
export function startSession(s: UserMemory, type: number, authHash: number = s.hash()): Parts {
  s.roomForSession();
  const [definition, cipher, keyBits] = s.pick(CIPHERS);
  const symmetric = cipher === 0x0a ? definition + u16(authHash) : definition;
  const nonceCaller = s.bytes(s.once(20) ? s.pick([0, 15, 65]) : s.pick([16, MAX_NONCE[authHash] ?? 16]));
  const bindTo = s.once(5) ? (s.once(2) ? s.key("any") : s.pick([RH.OWNER, RH.PLATFORM, RH.ENDORSEMENT])) : RH.NULL;
  const bound = bindTo === RH.NULL ? undefined : { handle: digitsOf(bindTo), auth: s.authOf(bindTo) };
  const salted = s.once(4) ? s.object(s.pick(["parent", "parent", "dh", "rsa", "any"])) : undefined;
  const start: SessionStart = {
    authHash,
    nonceCaller,
    cipher,
    keyBits,
    policy: type !== SE.HMAC,
    ...(bound ? { bindAuth: bound.auth } : {}),
    ...(salted ? { saltKey: salted.publicArea } : {}),
  };
  const { id } = s;
  s.onSuccess(() => s.sessions.push({ id, start, proof: "none", ...(bound ? { bound } : {}) }));
  return {
    handles: [salted?.handle ?? RH.NULL, bindTo],
    body: `${sized(nonceCaller)}${salted ? "<salt>" : "0000"}${u8(type)}${symmetric}${u16(authHash)}`,
    starts: start,
  };
}

const start: Maker = ["StartAuthSession", 0x176, (s) => startSession(s, s.once(25) ? 2 : s.pick([0, 0, 1, 1, 3]))];

export const sessions: readonly Maker[] = [
  start,
  start,
  start,
  [
    "FlushContext",
    0x165,
    (s) => {
      const handle = s.sessions.length && s.once(2) ? `<${s.pick(s.sessions).id}.handle>` : s.anyHandle();
      s.onSuccess(() => s.forget(handle));
      return { body: handle };
    },
  ],
  [
    "ContextSave",
    0x162,
    (s) => {
      const context = `<${s.id}.context>`;
      const of = s.pick([...s.sessions, ...s.objects, ...s.sequences]);
      if (!of) return { handles: [s.anyHandle()] };
      const handle = "handle" in of ? of.handle : `<${of.id}.handle>`;
      s.onSuccess(() => {
        s.contexts.push({ context, of });
        if (s.contexts.length > 6) s.contexts.shift();
        // A session's context is all there is of it.
        if ("start" in of) s.sessions = s.sessions.filter(({ id }) => id !== of.id);
      });
      return { handles: [handle] };
    },
  ],
  [
    "ContextLoad",
    0x161,
    (s) => {
      const saved = s.pick(s.contexts);
      if (!saved) return { body: s.bytes(40) };
      const [handle, { of }] = [`<${s.id}.handle>`, saved];
      s.onSuccess(() => {
        if ("start" in of) {
          s.sessions.push(of);
          s.contexts = s.contexts.filter((other) => other !== saved);
        } else if ("kind" in of && typeof of.kind === "string") s.sequences.push({ ...of, handle });
        else s.objects.push({ ...of, handle } as UserMemory["objects"][number]);
      });
      return { body: saved.context };
    },
  ],
];

/** A command on a policy session. */
const onSession = (name: string, code: number, body: (s: UserMemory) => string): Maker => [
  name,
  code,
  (s) => ({ handles: [s.policySession()], body: body(s) }),
];

/** As `onSession` for those that change how the session proves an authValue. */
const proving = (name: string, code: number, proof: "authValue" | "password" | "none"): Maker => [
  name,
  code,
  (s) => {
    const handle = s.policySession();
    s.onSuccess(() => s.setProof(handle, proof));
    return { handles: [handle] };
  },
];

const digest = (s: UserMemory) => sized(s.bytes(s.pick([32, 32, 20, 0])));
const OPERATIONS = [0, 1, 3, 5, 10, 11];

function secret(s: UserMemory): Parts {
  const object = s.once(6) ? s.object("any") : undefined;
  const by = object?.handle ?? (s.once(4) ? s.nvHandle() : s.hierarchy());
  const expiration = s.pick([0, 0, 100, -100]);
  const policyRef = s.bytes(s.below(5));
  const { id } = s;
  if (expiration < 0 && typeof by === "number") {
    s.onSuccess(() => s.tickets.push({ id, policyRef, authName: object ? sizedName(object) : sized(u32(by)) }));
  }
  const cpHash = sized(s.once(6) ? s.bytes(32) : "");
  return { handles: [by, s.policySession()], body: `0000${cpHash}${sized(policyRef)}${u32(expiration)}` };
}

function ticket(s: UserMemory): Parts {
  const { id, policyRef, authName } = s.some(s.tickets) ?? { id: -1, policyRef: "", authName: sized(u32(RH.OWNER)) };
  const [timeout, given] =
    id < 0 ? [sized(s.bytes(8)), "8023400000070000"] : [`<${id}.timeout>`, `<${id}.policyTicket>`];
  return { handles: [s.policySession()], body: `${timeout}0000${sized(policyRef)}${authName}${given}` };
}

export const policies: readonly Maker[] = [
  proving("PolicyAuthValue", 0x16b, "authValue"),
  proving("PolicyPassword", 0x18c, "password"),
  proving("PolicyRestart", 0x180, "none"),
  onSession("PolicyCommandCode", 0x16c, (s) => u32(s.pick([0x17e, 0x11f, 0x13b, 0x16d, 0x199, 0x123]))),
  onSession("PolicyPCR", 0x17f, (s) => sized(s.once(5) ? s.bytes(32) : "") + s.selection()),
  onSession("PolicyLocality", 0x16f, (s) => u8(s.pick([1, 2, 3, 5, 0, 31, 32, 0x40, 0xff]))),
  onSession("PolicyGetDigest", 0x189, () => ""),
  onSession("PolicyGetDigest", 0x189, () => ""),
  onSession("PolicyOR", 0x171, (s) => u32(2) + sized(s.bytes(32)) + sized(s.bytes(32))),
  onSession("PolicyCpHash", 0x16e, digest),
  onSession("PolicyNameHash", 0x170, digest),
  onSession("PolicyTemplate", 0x190, digest),
  onSession("PolicyParameters", 0x19c, digest),
  onSession(
    "PolicyDuplicationSelect",
    0x188,
    (s) => sized(`000b${s.bytes(32)}`) + sized(`000b${s.bytes(32)}`) + u8(s.below(2)),
  ),
  onSession("PolicyNvWritten", 0x18f, (s) => u8(s.once(8) ? 2 : s.below(2))),
  onSession("PolicyPhysicalPresence", 0x187, () => ""),
  onSession(
    "PolicyCounterTimer",
    0x16d,
    (s) => sized("00000000") + u16(s.pick([16, 20, 4])) + u16(s.pick([0, 1, 3, 11])),
  ),
  onSession(
    "PolicyCapability",
    0x19b,
    (s) =>
      sized(s.bytes(4)) + u16(s.below(5)) + u16(s.pick(OPERATIONS)) + u32(s.pick([0, 2, 6, 8])) + u32(s.below(300)),
  ),
  ["PolicySecret", 0x151, secret],
  [
    "PolicyNV",
    0x149,
    (s) => {
      const index = s.nvHandle();
      const handles = [s.nvAuthority(index, false), index, s.policySession()];
      // Signed comparisons are wrong in libtpms 0.9 for some operands.
      const body = sized(s.bytes(s.pick([1, 8]))) + u16(s.pick([0, 0, 4])) + u16(s.pick(OPERATIONS));
      return { handles, body };
    },
  ],
  [
    "PolicyAuthorizeNV",
    0x192,
    (s) => {
      const index = s.nvHandle();
      return { handles: [s.nvAuthority(index, false), index, s.policySession()] };
    },
  ],
  [
    "PolicyAuthorize",
    0x16a,
    (s) => {
      const key = s.object("sign");
      const ticket = s.result("verified ticket") ?? "8022400000070000";
      const name = key ? sizedName(key) : sized(`000b${s.bytes(32)}`);
      return { handles: [s.policySession()], body: `${sized("00".repeat(32))}0000${name}${ticket}` };
    },
  ],
  ["PolicyTicket", 0x172, ticket],
];
