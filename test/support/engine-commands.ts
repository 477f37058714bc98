// Random commands for a TPM 2.0, most of them valid for the state the TPM is in, from a seed.
import { toHex } from "../../src/codec/bytes.ts";
import { findCommand } from "../../src/spec/registry.ts";
import { bytesOf } from "./recorded.ts";
import type { Seeded } from "./seeded.ts";

/** What two TPMs are told: a command, or one of the signals of their platform. */
export type Step =
  | { readonly kind: "command"; readonly name: string; readonly bytes: Uint8Array; readonly locality: number }
  | { readonly kind: "power" }
  | { readonly kind: "migrate" }
  | { readonly kind: "hash"; readonly data: Uint8Array };

interface NvIndex {
  readonly handle: number;
  readonly size: number;
  readonly attributes: number;
  readonly auth: string;
}

interface Session {
  readonly handle: number;
  readonly symmetric: boolean;
}

const hex = (value: number, bytes: number) => value.toString(16).padStart(2 * bytes, "0");
const u8 = (value: number) => hex(value, 1);
const u16 = (value: number) => hex(value, 2);
const u32 = (value: number) => hex(value >>> 0, 4);
const u64 = (value: bigint) => value.toString(16).padStart(16, "0");
const sized = (digits: string) => u16(digits.length / 2) + digits;

const OWNER = 0x40000001;
const NULL = 0x40000007;
const PW = 0x40000009;
const LOCKOUT = 0x4000000a;
const ENDORSEMENT = 0x4000000b;
const PLATFORM = 0x4000000c;
const HASHES = { 4: 20, 11: 32, 12: 48, 13: 64 } as const;
const hashes = Object.keys(HASHES).map(Number) as (keyof typeof HASHES)[];
const PASSWORDS = ["", "61", "6262", "616263646566", "6100"] as const;

const NV_TYPE = { ordinary: 0, counter: 1, bits: 2, extend: 4, pinFail: 8, pinPass: 9 } as const;
const NV = { PPWRITE: 1, OWNERWRITE: 2, AUTHWRITE: 4, POLICYWRITE: 8, PPREAD: 1 << 16, AUTHREAD: 1 << 18 } as const;
const nvType = (attributes: number) => (attributes >>> 4) & 15;

/** A TPM as its user remembers it, and what the user might do next. */
export class CommandSource {
  readonly #random: Seeded;
  readonly #listed: ReadonlySet<number>;
  #sequences: number[] = [];
  #sessions: Session[] = [];
  readonly #nv = new Map<number, NvIndex>();
  readonly #auths = new Map<number, string>();
  /** What the last command is to change in this memory if it succeeds. */
  #effect: ((response: Uint8Array) => void) | undefined;
  #started = false;
  /** What comes next, before anything random. */
  readonly #queue: Step[] = [];
  #clock = 10_000_000n;
  #backwards = 0n;

  /** `listed` are the codes of the commands that may be sent. */
  constructor(random: Seeded, listed: ReadonlySet<number>) {
    this.#random = random;
    this.#listed = listed;
  }

  next(): Step {
    const queued = this.#queue.shift();
    if (queued) {
      if (queued.kind === "power") this.#forgetVolatile();
      return queued;
    }
    const random = this.#random;
    if (!this.#started && random.below(10) < 8) return this.#startup();
    const what = random.below(100);
    if (what === 0) return this.#powerCycle();
    if (what === 1) return { kind: "migrate" };
    if (what === 2 && random.below(3) === 0) return { kind: "hash", data: random.bytes(random.below(100)) };
    for (;;) {
      const [name, code, make] = random.below(8) === 0 ? this.#anyCommand() : random.pick(makers);
      if (!this.#listed.has(code)) continue;
      this.#effect = undefined;
      const plain = this.#command(code, make(this));
      const bytes = random.below(12) === 0 ? this.#mutated(plain) : plain;
      const locality = random.below(10) === 0 ? random.below(5) : 0;
      return { kind: "command", name, bytes: bytesOf(bytes), locality };
    }
  }

  /** Tells what both TPMs answered to the last command. */
  answered(step: Step, response: Uint8Array): void {
    const view = new DataView(response.buffer, response.byteOffset, response.byteLength);
    if (step.kind === "command" && view.getUint32(6) === 0) {
      const code = new DataView(step.bytes.buffer, step.bytes.byteOffset).getUint32(6);
      if (code === 0x144) this.#started = true;
      this.#effect?.(response);
    }
    this.#effect = undefined;
  }

  #startup(): Step {
    const state = this.#random.below(3) === 0;
    const locality = this.#random.below(6) === 0 ? this.#random.below(5) : 0;
    return {
      kind: "command",
      name: "Startup",
      bytes: bytesOf(`80010000000c00000144${state ? "0001" : "0000"}`),
      locality,
    };
  }

  #powerCycle(): Step {
    const how = this.#random.below(4);
    this.#queue.push({ kind: "power" });
    if (this.#random.below(5) === 0) this.#queue.push({ kind: "hash", data: this.#random.bytes(20) });
    const startup = how === 1 ? 1 : 0;
    const begin = bytesOf(`80010000000c00000144${u16(this.#random.below(5) === 0 ? 1 - startup : startup)}`);
    this.#queue.push({ kind: "command", name: "Startup", bytes: begin, locality: this.#random.below(4) === 0 ? 3 : 0 });
    if (how >= 2 && this.#random.below(2) === 0) {
      const power = this.#queue.shift()!;
      this.#forgetVolatile();
      return power;
    }
    const bytes = bytesOf(`80010000000c00000145${u16(how === 1 ? 1 : 0)}`);
    return { kind: "command", name: "Shutdown", bytes, locality: 0 };
  }

  /** A command that has the handles and sessions that its definition wants, and parameters of which the sizes may fit. */
  #anyCommand(): Maker {
    const code = this.#random.pick([...this.#listed].filter((listed) => !unpredictable.has(listed)));
    const { name, handles = [] } = findCommand(code)!;
    return [
      name,
      code,
      (s) => {
        const chosen = handles.map(() => s.anyHandle());
        const auths = handles.flatMap(([, , role], i) => (role ? [s.auth(chosen[i]!)] : []));
        const pieces = Array.from({ length: s.below(6) }, () =>
          s.pick(["0000", "0010", "0001", "000b", "00", sized(s.bytes(s.below(40)))]),
        );
        return { handles: chosen, auths, body: pieces.join("") };
      },
    ];
  }

  #forgetVolatile(): void {
    this.#started = false;
    this.#sequences = [];
    this.#sessions = [];
    this.#auths.delete(PLATFORM);
  }

  #command(code: number, parts: { handles?: readonly number[]; auths?: readonly string[]; body?: string }): string {
    const { handles = [], auths = [], body = "" } = parts;
    const area = auths.join("");
    const rest = handles.map(u32).join("") + (auths.length ? u32(area.length / 2) + area : "") + body;
    return `${auths.length ? "8002" : "8001"}${u32(10 + rest.length / 2)}${u32(code)}${rest}`;
  }

  /** One thing about the command is not as it should be. */
  #mutated(command: string): string {
    const random = this.#random;
    const bytes = [...bytesOf(command)];
    const at = 10 + random.below(Math.max(1, bytes.length - 10));
    switch (random.below(6)) {
      case 0:
        bytes.splice(at);
        break;
      case 1:
        bytes.push(...random.bytes(1 + random.below(3)));
        break;
      case 2:
        bytes.splice(at, 1);
        break;
      case 3:
        bytes[1]! ^= 3;
        break;
      default:
        if (at < bytes.length)
          bytes[at] = random.pick([0, 0xff, bytes[at]! + 1, bytes[at]! ^ (1 << random.below(8))]) & 0xff;
    }
    const fixed = toHex(Uint8Array.from(bytes));
    return `${fixed.slice(0, 4)}${u32(bytes.length)}${fixed.slice(12)}`;
  }

  below(limit: number): number {
    return this.#random.below(limit);
  }

  pick<T>(values: readonly T[]): T {
    return this.#random.pick(values);
  }

  bytes(length: number): string {
    return toHex(this.#random.bytes(length));
  }

  /** True once in `n`. */
  once(n: number): boolean {
    return this.#random.below(n) === 0;
  }

  /** If the command succeeds. */
  onSuccess(action: (response: Uint8Array) => void): void {
    this.#effect = action;
  }

  password(): string {
    return this.once(3) ? this.pick(PASSWORDS) : "";
  }

  /** An authorization: mostly the right password, at times another or a session. */
  auth(handle: number): string {
    const right = this.#nv.get(handle)?.auth ?? this.#auths.get(handle) ?? "";
    if (this.#sessions.length && this.once(6)) return this.session(right);
    const password = this.once(15) ? this.pick(PASSWORDS) : right;
    return `${u32(PW)}0000${u8(this.once(30) ? this.below(256) : this.below(2))}${sized(password)}`;
  }

  /** A session that proves nothing: the empty HMAC of an empty key. */
  session(_right: string): string {
    const { handle, symmetric } = this.pick(this.#sessions);
    // Whether a parameter decrypts to something valid is left to chance: no decrypt with a cipher.
    const attributes = this.pick(symmetric ? [0, 1, 1, 1, 0x41, 0x81] : [0, 1, 1, 1, 1, 0x21, 0x41, 0x81, 0x83, 0x85]);
    return `${u32(handle)}${sized(this.once(2) ? "" : this.bytes(16))}${u8(attributes)}0000`;
  }

  setAuth(handle: number, value: string): void {
    this.#auths.set(handle, value.replace(/(00)+$/, ""));
  }

  clearAuths(...handles: number[]): void {
    for (const handle of handles) this.#auths.delete(handle);
  }

  hierarchy(): number {
    return this.once(12)
      ? this.pick([NULL, PW, 0x40000000, 0, 0x80000000])
      : this.pick([OWNER, OWNER, PLATFORM, PLATFORM, ENDORSEMENT, LOCKOUT]);
  }

  pcr(): number {
    // How PCR 20 to 22 are protected differs between the versions (TPM_PT_PCR_POLICY and TPM_PT_PCR_AUTH).
    return this.once(15)
      ? this.pick([24, NULL, 0x01000000, 0x3f])
      : this.pick([0, 1, 7, 10, 14, 15, 16, 16, 17, 18, 19, 23, 23]);
  }

  hash(): keyof typeof HASHES {
    return this.pick(hashes);
  }

  selection(): string {
    const count = this.below(5);
    let list = u32(count);
    for (let i = 0; i < count; i++) {
      list += `${u16(this.once(20) ? 0x12 : this.hash())}${this.once(20) ? "02ffff" : `03${this.pick(["ffffff", "ff0000", "000000", "0100ff", this.bytes(3)])}`}`;
    }
    return list;
  }

  digests(): string {
    const count = this.once(20) ? this.below(6) : 1 + this.below(3);
    let list = u32(count);
    for (let i = 0; i < count; i++) {
      const alg = this.hash();
      list += u16(alg) + this.bytes(HASHES[alg]);
    }
    return list;
  }

  addSequence(handle: number): void {
    this.#sequences.push(handle);
  }

  sequence(): number {
    return this.#sequences.length && !this.once(8)
      ? this.pick(this.#sequences)
      : this.pick([0x80000000, 0x80000001, 0x80000002, 0x80000003]);
  }

  addSession(handle: number, symmetric: boolean): void {
    this.#sessions = this.#sessions.filter((session) => session.handle !== handle);
    this.#sessions.push({ handle, symmetric });
  }

  policySession(): number {
    const policies = this.#sessions.filter(({ handle }) => handle >>> 24 === 3);
    return policies.length && !this.once(8)
      ? this.pick(policies).handle
      : this.pick([0x03000000, 0x03000001, 0x02000000]);
  }

  anyHandle(): number {
    return this.pick([
      this.hierarchy(),
      this.pcr(),
      this.sequence(),
      this.policySession(),
      this.nvHandle(),
      this.pick([0x02000000, 0x02000001, 0x81000001, 0xffffffff, 0x00000000, 0x90000000]),
    ]);
  }

  forget(handle: number): void {
    this.#sequences = this.#sequences.filter((known) => known !== handle);
    this.#sessions = this.#sessions.filter((known) => known.handle !== handle);
  }

  defined(index: NvIndex): void {
    this.#nv.set(index.handle, index);
  }

  undefined(handle: number): void {
    this.#nv.delete(handle);
  }

  nvAuthChanged(handle: number, auth: string): void {
    const index = this.#nv.get(handle);
    if (index) this.#nv.set(handle, { ...index, auth: auth.replace(/(00)+$/, "") });
  }

  nvHandle(...types: number[]): number {
    const fitting = [...this.#nv.values()].filter(
      ({ attributes }) => types.length === 0 || types.includes(nvType(attributes)),
    );
    if (fitting.length && !this.once(8)) return this.pick(fitting).handle;
    return this.#nv.size && this.once(2) ? this.pick([...this.#nv.keys()]) : 0x01000000 + this.below(8);
  }

  nv(handle: number): NvIndex | undefined {
    return this.#nv.get(handle);
  }

  /** Who may authorize for an index: itself, the owner, the platform. */
  nvAuthority(handle: number, write: boolean): number {
    const attributes = this.#nv.get(handle)?.attributes ?? 0;
    const shifted = write ? attributes : attributes >>> 16;
    const may = [
      ...(shifted & NV.PPWRITE ? [PLATFORM] : []),
      ...(shifted & NV.OWNERWRITE ? [OWNER] : []),
      ...(shifted & NV.AUTHWRITE ? [handle] : []),
    ];
    return may.length && !this.once(10) ? this.pick(may) : this.pick([OWNER, PLATFORM, handle]);
  }

  clock(): bigint {
    // Far from what the clock shows: the two clocks are not at the same millisecond.
    if (this.once(4)) return this.pick([0xffff000000000001n, 5_000_000n - 5_000n * this.#backwards++]);
    this.#clock += 10_000_000n;
    return this.#clock;
  }
}

/**
 * Of these the parameters must not be left to chance: what they do depends on the moment (ClockSet) or on random numbers, on the version
 * (TPM2_GetCapability, TPM2_IncrementalSelfTest, PCR 20 to 22), or keeps one of the two locked out for ever.
 */
const unpredictable = new Set([0x128, 0x13a, 0x17a, 0x142, 0x12c, 0x183, 0x12b, 0x144, 0x145, 0x131, 0x191, 0x153]);

interface Parts {
  readonly handles?: readonly number[];
  readonly auths?: readonly string[];
  readonly body?: string;
}

/** Name and code of a command, and what is sent with it. */
type Maker = readonly [name: string, code: number, make: (s: CommandSource) => Parts];

const handleOf = (response: Uint8Array) => new DataView(response.buffer, response.byteOffset).getUint32(10);

/** A command authorized by one of the hierarchies. */
function byHierarchy(s: CommandSource, handle: number, body: string): Parts {
  return { handles: [handle], auths: [s.auth(handle)], body };
}

function onIndex(
  s: CommandSource,
  write: boolean,
  body: (nv: NvIndex | undefined) => string,
  ...types: number[]
): Parts {
  const index = s.nvHandle(...types);
  const authority = s.nvAuthority(index, write);
  return { handles: [authority, index], auths: [s.auth(authority)], body: body(s.nv(index)) };
}

function attributesOf(s: CommandSource): number {
  if (s.once(8)) return Number.parseInt(s.bytes(4), 16);
  const type = s.pick([...Object.values(NV_TYPE), 0, 0, 1]);
  let attributes = type << 4;
  attributes |= s.pick([0x00040004, 0x00060006, 0x00050005, 0x00070007, 0x00020002, 0x00040002, 0x000c000c]);
  for (const bit of [10, 11, 12, 13, 14, 15, 25, 26, 27, 28, 29, 30, 31]) if (s.once(7)) attributes |= 1 << bit;
  if (type === NV_TYPE.pinFail && !s.once(6)) attributes |= 1 << 25;
  return attributes >>> 0;
}

function sizeFor(s: CommandSource, attributes: number): number {
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

const policy = (name: string, code: number, body: (s: CommandSource) => string): Maker => [
  name,
  code,
  (s) => ({ handles: [s.policySession()], body: body(s) }),
];

const makers: readonly Maker[] = [
  ["PCR_Extend", 0x182, (s) => byHierarchy(s, s.pcr(), s.digests())],
  ["PCR_Event", 0x13c, (s) => byHierarchy(s, s.pcr(), sized(s.bytes(s.once(20) ? 1024 + s.below(2) : s.below(70))))],
  ["PCR_Read", 0x17e, (s) => ({ body: s.selection() })],
  ["PCR_Read", 0x17e, (s) => ({ body: s.selection() })],
  ["PCR_Reset", 0x13d, (s) => byHierarchy(s, s.pcr(), "")],
  [
    "PCR_Allocate",
    0x12b,
    (s) =>
      byHierarchy(
        s,
        s.once(8) ? s.hierarchy() : PLATFORM,
        s.once(3) ? s.selection() : `00000001${u16(s.hash())}03ffffff`,
      ),
  ],
  [
    "PCR_SetAuthPolicy",
    0x12c,
    (s) => byHierarchy(s, s.once(8) ? s.hierarchy() : PLATFORM, `${sized(s.bytes(32))}000b${u32(s.pcr())}`),
  ],
  ["PCR_SetAuthValue", 0x183, (s) => byHierarchy(s, s.pcr(), sized(s.password()))],
  ["GetCapability", 0x17a, (s) => ({ body: u32(6) + u32(s.pick([0x100, 0x200])) + u32(100) })],
  [
    "GetCapability",
    0x17a,
    (s) => ({
      body:
        u32(s.pick([1, 4, 5, 8, 9])) +
        u32(s.pick([0, 0x01000000, 0x02000000, 0x03000000, 0x40000001, 0x80000000, 0x81000000, 0x40000005])) +
        u32(s.below(30)),
    }),
  ],
  [
    "Hash",
    0x17d,
    (s) => ({
      body:
        sized((s.once(6) ? "ff544347" : "") + s.bytes(s.below(60))) +
        u16(s.once(15) ? 0x10 : s.hash()) +
        u32(s.hierarchy()),
    }),
  ],
  [
    "HashSequenceStart",
    0x186,
    (s) => {
      s.onSuccess((response) => s.addSequence(handleOf(response)));
      const auth = s.once(4) ? s.password() : "";
      return { body: sized(auth) + u16(s.once(3) ? 0x10 : s.hash()) };
    },
  ],
  [
    "SequenceUpdate",
    0x15c,
    (s) => byHierarchy(s, s.sequence(), sized((s.once(8) ? "ff544347" : "") + s.bytes(s.below(200)))),
  ],
  [
    "SequenceComplete",
    0x13e,
    (s) => {
      const handle = s.sequence();
      s.onSuccess(() => s.forget(handle));
      return byHierarchy(s, handle, sized(s.bytes(s.below(100))) + u32(s.hierarchy()));
    },
  ],
  [
    "EventSequenceComplete",
    0x185,
    (s) => {
      const [pcr, handle] = [s.pcr(), s.sequence()];
      s.onSuccess(() => s.forget(handle));
      return { handles: [pcr, handle], auths: [s.auth(pcr), s.auth(handle)], body: sized(s.bytes(s.below(50))) };
    },
  ],
  [
    "FlushContext",
    0x165,
    (s) => {
      const handle = s.anyHandle();
      s.onSuccess(() => s.forget(handle));
      return { body: u32(handle) };
    },
  ],
  [
    "StartAuthSession",
    0x176,
    (s) => {
      const symmetric = s.pick([
        "0010",
        "0010",
        "0010",
        `000a${u16(s.hash())}`,
        "000600800043",
        "000601000043",
        "000600800042",
      ]);
      s.onSuccess((response) => s.addSession(handleOf(response), symmetric !== "0010"));
      const nonce = s.bytes(s.once(10) ? s.pick([0, 15, 21, 33, 64]) : s.pick([16, 20]));
      const bind = s.once(15) ? s.anyHandle() : NULL;
      const type = s.once(15) ? 2 : s.pick([0, 1, 1, 3]);
      return { handles: [NULL, bind], body: `${sized(nonce)}0000${u8(type)}${symmetric}${u16(s.hash())}` };
    },
  ],
  policy("PolicyAuthValue", 0x16b, () => ""),
  policy("PolicyPassword", 0x18c, () => ""),
  policy("PolicyCommandCode", 0x16c, (s) => u32(s.pick([0x17e, 0x11f, 0x13b, 0x16d, 0x199, 0x123]))),
  policy("PolicyPCR", 0x17f, (s) => sized(s.once(5) ? s.bytes(32) : "") + s.selection()),
  policy("PolicyLocality", 0x16f, (s) => u8(s.pick([1, 2, 3, 5, 0, 31, 32, 0x40, 0xff]))),
  policy("PolicyGetDigest", 0x189, () => ""),
  policy("PolicyGetDigest", 0x189, () => ""),
  policy("PolicyRestart", 0x180, () => ""),
  policy("PolicyOR", 0x171, (s) => u32(2) + sized(s.bytes(32)) + sized(s.bytes(32))),
  policy("PolicyCpHash", 0x16e, (s) => sized(s.bytes(s.pick([32, 32, 20, 0])))),
  policy("PolicyNameHash", 0x170, (s) => sized(s.bytes(s.pick([32, 32, 20, 0])))),
  policy("PolicyTemplate", 0x190, (s) => sized(s.bytes(s.pick([32, 32, 20, 0])))),
  policy(
    "PolicyDuplicationSelect",
    0x188,
    (s) => sized(`000b${s.bytes(32)}`) + sized(`000b${s.bytes(32)}`) + u8(s.below(2)),
  ),
  policy("PolicyNvWritten", 0x18f, (s) => u8(s.once(8) ? 2 : s.below(2))),
  policy("PolicyPhysicalPresence", 0x187, () => ""),
  policy("PolicyCounterTimer", 0x16d, (s) => sized("00000000") + u16(s.pick([16, 20, 4])) + u16(s.pick([0, 1, 3, 11]))),
  [
    "PolicySecret",
    0x151,
    (s) => {
      const handle = s.once(3) ? s.nvHandle() : s.hierarchy();
      const body = `0000${sized(s.once(3) ? s.bytes(32) : "")}${sized(s.bytes(s.below(5)))}${u32(s.pick([0, 0, 100, -100]))}`;
      return { handles: [handle, s.policySession()], auths: [s.auth(handle)], body };
    },
  ],
  [
    "PolicyNV",
    0x149,
    (s) => {
      const index = s.nvHandle();
      const authority = s.nvAuthority(index, false);
      // Signed comparisons are wrong in libtpms 0.9 for some operands.
      const body = sized(s.bytes(s.pick([1, 8]))) + u16(s.pick([0, 0, 4])) + u16(s.pick([0, 1, 3, 5, 10, 11]));
      return { handles: [authority, index, s.policySession()], auths: [s.auth(authority)], body };
    },
  ],
  [
    "HierarchyControl",
    0x121,
    (s) =>
      byHierarchy(
        s,
        s.once(2) ? PLATFORM : s.hierarchy(),
        u32(s.pick([OWNER, ENDORSEMENT, 0x4000000d, NULL])) + u8(s.once(3) ? 0 : 1),
      ),
  ],
  [
    "HierarchyChangeAuth",
    0x129,
    (s) => {
      const [handle, value] = [s.hierarchy(), s.password()];
      s.onSuccess(() => s.setAuth(handle, value));
      return byHierarchy(s, handle, sized(s.once(30) ? s.bytes(65) : value));
    },
  ],
  [
    "SetPrimaryPolicy",
    0x12e,
    (s) =>
      byHierarchy(
        s,
        s.hierarchy(),
        s.once(3) ? "00000010" : sized(s.bytes(s.pick([32, 32, 20]))) + u16(s.once(8) ? 0x10 : 0xb),
      ),
  ],
  [
    "Clear",
    0x126,
    (s) => {
      if (!s.once(3)) return byHierarchy(s, LOCKOUT, "00");
      s.onSuccess(() => s.clearAuths(OWNER, ENDORSEMENT, LOCKOUT));
      return byHierarchy(s, s.pick([LOCKOUT, PLATFORM]), "");
    },
  ],
  ["ClearControl", 0x127, (s) => byHierarchy(s, s.pick([LOCKOUT, PLATFORM, PLATFORM]), u8(s.once(3) ? 1 : 0))],
  ["ChangePPS", 0x125, (s) => byHierarchy(s, s.once(4) ? s.hierarchy() : PLATFORM, "")],
  [
    "ChangeEPS",
    0x124,
    (s) => {
      s.onSuccess(() => s.clearAuths(ENDORSEMENT));
      return byHierarchy(s, s.once(4) ? s.hierarchy() : PLATFORM, "");
    },
  ],
  ["ClockSet", 0x128, (s) => byHierarchy(s, s.pick([OWNER, PLATFORM]), u64(s.clock()))],
  [
    "ClockRateAdjust",
    0x130,
    (s) => byHierarchy(s, s.pick([OWNER, PLATFORM, LOCKOUT]), u8(s.pick([0, 1, 2, 3, 4, 0xff, 0xfe, 0xfd]))),
  ],
  ["ReadClock", 0x181, () => ({})],
  ["DictionaryAttackLockReset", 0x139, (s) => byHierarchy(s, s.once(10) ? s.hierarchy() : LOCKOUT, "")],
  ["DictionaryAttackLockReset", 0x139, (s) => byHierarchy(s, LOCKOUT, "")],
  [
    "DictionaryAttackParameters",
    0x13a,
    (s) =>
      byHierarchy(
        s,
        LOCKOUT,
        u32(s.pick([0, 3, 5, 32])) + u32(s.pick([0, 1000, 7200])) + u32(s.pick([0, 1000, 86400])),
      ),
  ],
  [
    "NV_DefineSpace",
    0x12a,
    (s) => {
      const [handle, attributes, auth] = [
        s.once(20) ? s.anyHandle() : 0x01000000 + s.below(8),
        attributesOf(s),
        s.password(),
      ];
      const size = sizeFor(s, attributes);
      const platform = (attributes & 0x40000000) !== 0;
      const by = s.once(10) ? s.hierarchy() : platform ? PLATFORM : OWNER;
      s.onSuccess(() => s.defined({ handle, attributes, size, auth: auth.replace(/(00)+$/, "") }));
      const policyDigest = s.once(4) ? s.bytes(s.pick([32, 20])) : "";
      const nvPublic = `${u32(handle)}${u16(s.once(20) ? s.hash() : 0xb)}${u32(attributes)}${sized(policyDigest)}${u16(size)}`;
      return byHierarchy(s, by, sized(auth) + sized(nvPublic));
    },
  ],
  [
    "NV_UndefineSpace",
    0x122,
    (s) => {
      const index = s.nvHandle();
      const by = s.pick([OWNER, PLATFORM]);
      s.onSuccess(() => s.undefined(index));
      return { handles: [by, index], auths: [s.auth(by)] };
    },
  ],
  [
    "NV_UndefineSpaceSpecial",
    0x11f,
    (s) => {
      const index = s.nvHandle();
      return { handles: [index, PLATFORM], auths: [s.auth(index), s.auth(PLATFORM)] };
    },
  ],
  ["NV_ReadPublic", 0x169, (s) => ({ handles: [s.nvHandle()] })],
  ["NV_ReadPublic", 0x169, (s) => ({ handles: [s.nvHandle()] })],
  [
    "NV_Write",
    0x137,
    (s) => onIndex(s, true, (nv) => nvData(s, nv), NV_TYPE.ordinary, NV_TYPE.pinFail, NV_TYPE.pinPass),
  ],
  [
    "NV_Write",
    0x137,
    (s) => onIndex(s, true, (nv) => nvData(s, nv), NV_TYPE.ordinary, NV_TYPE.pinFail, NV_TYPE.pinPass),
  ],
  ["NV_Read", 0x14e, (s) => onIndex(s, false, (nv) => nvRange(s, nv))],
  ["NV_Read", 0x14e, (s) => onIndex(s, false, (nv) => nvRange(s, nv))],
  ["NV_Increment", 0x134, (s) => onIndex(s, true, () => "", NV_TYPE.counter)],
  ["NV_Increment", 0x134, (s) => onIndex(s, true, () => "", NV_TYPE.counter)],
  ["NV_SetBits", 0x135, (s) => onIndex(s, true, () => s.bytes(8), NV_TYPE.bits)],
  ["NV_Extend", 0x136, (s) => onIndex(s, true, () => sized(s.bytes(s.below(50))), NV_TYPE.extend)],
  ["NV_WriteLock", 0x138, (s) => onIndex(s, true, () => "")],
  ["NV_ReadLock", 0x14f, (s) => onIndex(s, false, () => "")],
  ["NV_GlobalWriteLock", 0x132, (s) => byHierarchy(s, s.pick([OWNER, PLATFORM]), "")],
  [
    "NV_ChangeAuth",
    0x13b,
    (s) => {
      const [index, value] = [s.nvHandle(), s.password()];
      s.onSuccess(() => s.nvAuthChanged(index, value));
      return byHierarchy(s, index, sized(value));
    },
  ],
  ["SelfTest", 0x143, (s) => ({ body: u8(s.once(8) ? 2 : s.below(2)) })],
  ["GetTestResult", 0x17c, () => ({})],
  [
    "TestParms",
    0x18a,
    (s) => ({
      body: s.pick([
        "000100100010080000000000",
        "00010006008000430010080000000000",
        "00230010001000030010",
        "0008000500" + "0b",
        "002500060080" + "0043",
        `000100060080004300100800${s.bytes(4)}`,
        `0023${s.bytes(8)}`,
      ]),
    }),
  ],
  ["StirRandom", 0x146, (s) => ({ body: sized(s.bytes(s.once(8) ? 129 : s.below(40))) })],
  ["GetRandom", 0x17b, (s) => ({ body: u16(s.pick([0, 1, 32, 64, 65, 1000])) })],
  [
    "SetCommandCodeAuditStatus",
    0x140,
    (s) =>
      byHierarchy(
        s,
        s.pick([OWNER, PLATFORM]),
        s.once(3)
          ? `${u16(s.hash())}0000000000000000`
          : `0010${u32(1)}${u32(s.pick([0x17e, 0x145, 0x140, 0x199]))}${s.once(2) ? u32(0) : `${u32(1)}${u32(s.pick([0x17e, 0x140]))}`}`,
      ),
  ],
  ["PP_Commands", 0x12d, (s) => byHierarchy(s, PLATFORM, `${u32(1)}${u32(s.pick([0x126, 0x17e]))}00000000`)],
  ["SetAlgorithmSet", 0x13f, (s) => byHierarchy(s, PLATFORM, u32(s.below(3)))],
  ["Startup", 0x144, (s) => ({ body: u16(s.below(3)) })],
  ["Shutdown", 0x145, (s) => ({ body: u16(s.below(3)) })],
];

function nvData(s: CommandSource, nv: NvIndex | undefined): string {
  const size = nv?.size ?? 8;
  const offset = s.once(3) ? s.below(size + 1) : 0;
  const length = s.once(6) ? s.below(size + 3) : size - offset;
  if (nv && nvType(nv.attributes) >= NV_TYPE.pinFail) {
    // A limit that is soon reached. Never in part: what the rest then is differs (libtpms leaves what was in that memory before).
    return s.once(4) ? `${sized(s.bytes(s.pick([8, 9])))}0000` : `${sized(`${u32(s.below(3))}${u32(s.below(5))}`)}0000`;
  }
  return sized(s.bytes(length)) + u16(offset);
}

function nvRange(s: CommandSource, nv: NvIndex | undefined): string {
  const size = nv?.size ?? 8;
  const offset = s.once(4) ? s.below(size + 1) : 0;
  return u16(s.once(8) ? s.below(size + 3) : size - offset) + u16(offset);
}
