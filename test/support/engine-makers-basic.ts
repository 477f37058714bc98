// PCRs, sequences, hierarchies, clock, capabilities: makers of commands that need no keys.
import type { Maker } from "./engine-makers.ts";
import type { UserMemory } from "./engine-memory.ts";
import { hex, RH, sized, u8, u16, u32, u64 } from "./engine-steps.ts";

const SHA256 = "000b";
const BANK_OF_ALL = "03ffffff";

export const integrity: readonly Maker[] = [
  ["PCR_Extend", 0x182, (s) => ({ handles: [s.pcr()], body: s.digests() })],
  ["PCR_Extend", 0x182, (s) => ({ handles: [s.pcr()], body: s.digests() })],
  [
    "PCR_Event",
    0x13c,
    (s) => ({ handles: [s.pcr()], body: sized(s.bytes(s.once(20) ? 1024 + s.below(2) : s.below(70))) }),
  ],
  ["PCR_Read", 0x17e, (s) => ({ body: s.selection() })],
  ["PCR_Read", 0x17e, (s) => ({ body: s.selection() })],
  ["PCR_Reset", 0x13d, (s) => ({ handles: [s.pcr()] })],
  [
    "PCR_Allocate",
    0x12b,
    (s) => ({
      handles: [s.once(8) ? s.hierarchy() : RH.PLATFORM],
      body: s.once(3) ? s.selection() : `00000001${u16(s.hash())}${BANK_OF_ALL}`,
    }),
  ],
  [
    "PCR_SetAuthPolicy",
    0x12c,
    (s) => ({
      handles: [s.once(8) ? s.hierarchy() : RH.PLATFORM],
      body: `${sized(s.bytes(32))}${SHA256}${u32(s.pcr())}`,
    }),
  ],
  ["PCR_SetAuthValue", 0x183, (s) => ({ handles: [s.pcr()], body: sized(s.password()) })],
];

function hashSequence(s: UserMemory) {
  s.roomForObject();
  const [auth, event] = [s.once(4) ? s.password() : "", s.once(3)];
  const handle = `<${s.id}.handle>`;
  s.onSuccess(() => s.sequences.push({ handle, auth, kind: event ? "event" : "hash" }));
  return { body: sized(auth) + (event ? "0010" : u16(s.hash())) };
}

const generated = (s: UserMemory, often: number) => (s.once(often) ? "ff544347" : "");

export const sequences: readonly Maker[] = [
  [
    "Hash",
    0x17d,
    (s) => {
      const hierarchy = s.hierarchy();
      s.keepResult("digest ticket", "validation");
      return {
        body: sized(generated(s, 6) + s.bytes(s.below(60))) + u16(s.once(15) ? 0x10 : s.hash()) + u32(hierarchy),
      };
    },
  ],
  ["HashSequenceStart", 0x186, hashSequence],
  [
    "MAC_Start",
    0x15b,
    (s) => {
      s.roomForObject();
      const [auth, handle] = [s.once(4) ? s.password() : "", `<${s.id}.handle>`];
      s.onSuccess(() => s.sequences.push({ handle, auth, kind: "mac" }));
      return { handles: [s.key("mac")], body: sized(auth) + s.pick(["0010", "0010", SHA256, "003f"]) };
    },
  ],
  [
    "SequenceUpdate",
    0x15c,
    (s) => ({ handles: [s.sequence()], body: sized(generated(s, 8) + s.bytes(s.below(s.once(9) ? 1024 : 200))) }),
  ],
  [
    "SequenceComplete",
    0x13e,
    (s) => {
      const handle = s.sequence("hash", "mac");
      s.onSuccess(() => s.forget(handle));
      return { handles: [handle], body: sized(s.bytes(s.below(100))) + u32(s.hierarchy()) };
    },
  ],
  [
    "EventSequenceComplete",
    0x185,
    (s) => {
      const handle = s.sequence("event");
      s.onSuccess(() => s.forget(handle));
      return { handles: [s.pcr(), handle], body: sized(s.bytes(s.below(50))) };
    },
  ],
];

export const byHierarchies: readonly Maker[] = [
  [
    "HierarchyControl",
    0x121,
    (s) => ({
      handles: [s.once(2) ? RH.PLATFORM : s.hierarchy()],
      body: u32(s.pick([RH.OWNER, RH.ENDORSEMENT, RH.PLATFORM_NV, RH.NULL])) + u8(s.once(8) ? 0 : 1),
    }),
  ],
  [
    "HierarchyChangeAuth",
    0x129,
    (s) => {
      const [handle, value] = [s.hierarchy(), s.password()];
      s.onSuccess(() => s.setAuth(handle, value));
      const newAuth = s.once(30) ? s.bytes(65) : value;
      return { handles: [handle], body: sized(newAuth), authAfter: newAuth };
    },
  ],
  [
    "SetPrimaryPolicy",
    0x12e,
    (s) => ({
      handles: [s.hierarchy()],
      body: s.once(3) ? "00000010" : sized(s.bytes(s.pick([32, 32, 20]))) + (s.once(8) ? "0010" : SHA256),
    }),
  ],
  ["ClearControl", 0x127, (s) => ({ handles: [s.pick([RH.LOCKOUT, RH.PLATFORM])], body: "00" })],
  [
    "Clear",
    0x126,
    (s) => {
      const by = s.once(4) ? s.pick([RH.LOCKOUT, RH.PLATFORM]) : s.hierarchy();
      s.onSuccess(() => s.forgetHierarchies(RH.OWNER, RH.ENDORSEMENT, RH.LOCKOUT));
      return { handles: [by], ...(by === RH.LOCKOUT ? { authAfter: "" } : {}) };
    },
  ],
  [
    "ClearControl",
    0x127,
    (s) => ({ handles: [s.pick([RH.LOCKOUT, RH.PLATFORM, RH.PLATFORM])], body: u8(s.once(3) ? 1 : 0) }),
  ],
  [
    "ChangePPS",
    0x125,
    (s) => {
      s.onSuccess(() => s.forgetHierarchies(RH.PLATFORM));
      return { handles: [s.once(4) ? s.hierarchy() : RH.PLATFORM] };
    },
  ],
  [
    "ChangeEPS",
    0x124,
    (s) => {
      s.onSuccess(() => s.forgetHierarchies(RH.ENDORSEMENT));
      return { handles: [s.once(4) ? s.hierarchy() : RH.PLATFORM] };
    },
  ],
  ["DictionaryAttackLockReset", 0x139, (s) => ({ handles: [s.once(10) ? s.hierarchy() : RH.LOCKOUT] })],
  ["DictionaryAttackLockReset", 0x139, () => ({ handles: [RH.LOCKOUT] })],
  ["DictionaryAttackLockReset", 0x139, () => ({ handles: [RH.LOCKOUT] })],
  [
    "DictionaryAttackParameters",
    0x13a,
    (s) => ({
      handles: [RH.LOCKOUT],
      body: u32(s.pick([0, 3, 5, 32])) + u32(s.pick([0, 1000, 7200])) + u32(s.pick([0, 1000, 86400])),
    }),
  ],
];

export const clock: readonly Maker[] = [
  ["ClockSet", 0x128, (s) => ({ handles: [s.pick([RH.OWNER, RH.PLATFORM])], body: u64(s.clock()) })],
  [
    "ClockRateAdjust",
    0x130,
    (s) => ({
      handles: [s.pick([RH.OWNER, RH.PLATFORM, RH.LOCKOUT])],
      body: u8(s.pick([0, 1, 2, 3, 4, 0xff, 0xfe, 0xfd])),
    }),
  ],
  ["ReadClock", 0x181, () => ({})],
  ["ReadClock", 0x181, () => ({})],
];

const HANDLES = [0, 0x01000000, 0x02000000, 0x03000000, 0x40000001, 0x80000000, 0x81000000, 0x40000005] as const;
const PARMS = [
  ...["000100100010080000000000", "00010006008000430010080000000000", "00230010001000030010", "00080005000b"],
  ...["0025000600800043", "002500060080003f", "000100100014000b0c0000000000", "00080010"],
] as const;

export const management: readonly Maker[] = [
  ["GetCapability", 0x17a, (s) => ({ body: u32(6) + u32(s.pick([0x100, 0x200])) + u32(100) })],
  [
    "GetCapability",
    0x17a,
    (s) => ({ body: u32(s.pick([1, 1, 4, 5, 8, 9])) + u32(s.pick(HANDLES)) + u32(s.below(30)) }),
  ],
  ["SelfTest", 0x143, (s) => ({ body: u8(s.pick([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2])) })],
  ["GetTestResult", 0x17c, () => ({})],
  ["TestParms", 0x18a, (s) => ({ body: s.once(4) ? `0023${s.bytes(8)}` : s.pick(PARMS) })],
  ["StirRandom", 0x146, (s) => ({ body: sized(s.bytes(s.once(8) ? 129 : s.below(40))) })],
  ["GetRandom", 0x17b, (s) => ({ body: u16(s.pick([0, 1, 32, 64, 65, 1000])) })],
  ["ECC_Parameters", 0x178, (s) => ({ body: hex(s.pick([1, 2, 3, 4, 5, 0x10, 0x11, 0x20, 0x30]), 2) })],
  [
    "SetCommandCodeAuditStatus",
    0x140,
    (s) => {
      const lists = `${u32(1)}${u32(s.pick([0x17e, 0x145, 0x140, 0x199]))}`;
      const clear = s.once(2) ? u32(0) : `${u32(1)}${u32(s.pick([0x17e, 0x140]))}`;
      const body = s.once(3) ? `${u16(s.hash())}0000000000000000` : `0010${lists}${clear}`;
      return { handles: [s.pick([RH.OWNER, RH.PLATFORM])], body };
    },
  ],
  ["PP_Commands", 0x12d, (s) => ({ handles: [RH.PLATFORM], body: `${u32(1)}${u32(s.pick([0x126, 0x17e]))}00000000` })],
  ["SetAlgorithmSet", 0x13f, (s) => ({ handles: [RH.PLATFORM], body: u32(s.below(3)) })],
  ["Startup", 0x144, (s) => ({ body: u16(s.below(3)) })],
  ["Shutdown", 0x145, (s) => ({ body: u16(s.below(3)) })],
];
