// A TPM as its user remembers it, and what the user might choose next: handles, authValues, sizes, mostly fitting ones.
import { toHex } from "../../src/codec/bytes.ts";
import type { ObjectKind, Policy } from "./engine-kinds.ts";
import { type Digits, HASH_IDS, HASH_SIZES, type HashId, RH, type SessionStart, u16, u32 } from "./engine-steps.ts";
import type { RandomSource } from "./fuzz-random.ts";

/** A handle as a number, or as digits. */
export type Entity = number | Digits;

export const digitsOf = (entity: Entity): Digits => (typeof entity === "number" ? u32(entity) : entity);

export interface NvIndex {
  readonly handle: number;
  readonly size: number;
  readonly attributes: number;
  readonly auth: string;
  readonly policy?: Policy;
}

export interface KnownObject {
  readonly handle: Digits;
  /** Its Name without a size. */
  readonly name: Digits;
  /** TPM2B_PUBLIC. */
  readonly publicArea: Digits;
  readonly auth: string;
  readonly kind: ObjectKind;
  readonly policy?: Policy;
  /** TPM_RH of the hierarchy. */
  readonly hierarchy: number;
  /** Creation hash and ticket, of an object that the TPM made. */
  readonly creation?: { readonly hash: Digits; readonly ticket: Digits };
  readonly parent?: KnownObject;
}

/** TPM2B_NAME of an object. */
export const sizedName = ({ name }: Pick<KnownObject, "name">): Digits => name.replaceAll("_content>", ">");

/** An object outside the TPM. */
export interface Blob {
  readonly parent: KnownObject;
  readonly privateArea: Digits;
  readonly object: Omit<KnownObject, "handle" | "name">;
}

export interface KnownSession {
  /** Step that started it. */
  readonly id: number;
  readonly start: SessionStart;
  readonly bound?: { readonly handle: Digits; readonly auth: string };
  /** What its policy says about the authValue. */
  readonly proof: "authValue" | "password" | "none";
}

export interface Sequence {
  readonly handle: Digits;
  readonly auth: string;
  readonly kind: "hash" | "event" | "mac";
}

export interface SavedContext {
  readonly context: Digits;
  readonly of: KnownObject | KnownSession | Sequence;
}

/** A signature that the TPM has made. */
export interface Signed {
  readonly key: Entity;
  readonly digest: string;
  readonly signature: Digits;
}

/** A ticket of TPM2_PolicySecret or TPM2_PolicySigned. */
export interface PolicyTicket {
  readonly id: number;
  readonly policyRef: string;
  /** TPM2B_NAME of who authorized. */
  readonly authName: Digits;
}

/** What TPM2_MakeCredential made in step `id`, for a key and the object that it names. */
export interface Credential {
  readonly id: number;
  readonly key: KnownObject;
  readonly named: KnownObject;
}

/** What TPM2_Duplicate made in step `id`. */
export interface Duplicate {
  readonly id: number;
  readonly object: KnownObject;
  /** The new parent; none if there is no outer wrapper. */
  readonly parent?: KnownObject;
  /** TPMT_SYM_DEF_OBJECT of the inner wrapper, and the key if it was the caller's. */
  readonly symmetric: string;
  readonly key?: string;
}

export const PASSWORDS = ["", "61", "6262", "616263646566", "6100"] as const;
export const NV_TYPE = { ordinary: 0, counter: 1, bits: 2, extend: 4, pinFail: 8, pinPass: 9 } as const;
const NV = { PPWRITE: 1, OWNERWRITE: 2, AUTHWRITE: 4 } as const;
export const nvType = (attributes: number): number => (attributes >>> 4) & 15;
const trimmed = (auth: string) => auth.replace(/(00)+$/, "");

/** A command that has to come before the one that is being made, and what is not so if it fails. */
export interface Prelude {
  readonly id: number;
  readonly name: string;
  readonly code: number;
  readonly handles: readonly Entity[];
  readonly body: Digits;
  readonly failed?: () => void;
}

/** Slots for loaded objects, and for loaded sessions. */
const SLOTS = 3;
const FLUSH_CONTEXT = 0x165;

type ObjectMaker = (s: UserMemory, use: string) => KnownObject | undefined;

export class UserMemory {
  readonly #random: RandomSource;
  readonly #makeObject: ObjectMaker;
  readonly nv = new Map<number, NvIndex>();
  readonly #auths = new Map<Digits, string>();
  objects: KnownObject[] = [];
  blobs: Blob[] = [];
  sequences: Sequence[] = [];
  sessions: KnownSession[] = [];
  contexts: SavedContext[] = [];
  signatures: Signed[] = [];
  tickets: PolicyTicket[] = [];
  credentials: Credential[] = [];
  duplicates: Duplicate[] = [];
  /** Steps whose answers may be of use: signatures, tickets, encrypted data, points. */
  readonly #results = new Map<string, Digits[]>();
  #clock = 10_000_000n;
  #backwards = 0n;
  /** Step for which a command is being made. */
  id = 0;
  #ids = 0;
  #preludes: Prelude[] = [];
  #effect: (() => void) | undefined;

  /** `makeObject` has an object that can do something made before the command that is being made. */
  constructor(random: RandomSource, makeObject: ObjectMaker) {
    this.#random = random;
    this.#makeObject = makeObject;
  }

  below(limit: number): number {
    return this.#random.below(limit);
  }

  pick<T>(values: readonly T[]): T {
    return this.#random.pick(values);
  }

  /** One of the values, if there is any. */
  some<T>(values: readonly T[]): T | undefined {
    return values.length ? this.#random.pick(values) : undefined;
  }

  bytes(length: number): string {
    return toHex(this.#random.bytes(length));
  }

  /** True once in `n`. */
  once(n: number): boolean {
    return this.#random.below(n) === 0;
  }

  /** What the command that is being made changes in this memory if it succeeds. */
  onSuccess(action: () => void): void {
    this.#effect = action;
  }

  /** A number for another step. */
  nextId(): number {
    return this.#ids++;
  }

  /** Something has to be done before the command that is being made. */
  before(prelude: Prelude): void {
    this.#preludes.push(prelude);
  }

  takePreludes(): Prelude[] {
    const preludes = this.#preludes;
    this.#preludes = [];
    return preludes;
  }

  /** Mostly sees to it that there is room for one more object besides `needed`. */
  roomForObject(...needed: Digits[]): void {
    const taken = [...this.objects, ...this.sequences].map(({ handle }) => handle);
    const transient = taken.filter((handle) => !handle.startsWith("81"));
    if (transient.length < SLOTS || this.once(10)) return;
    const handle = this.some(transient.filter((one) => !needed.includes(one)));
    if (handle) this.#flush(handle);
  }

  /** Mostly sees to it that there is room for one more session. */
  roomForSession(): void {
    if (this.sessions.length >= SLOTS && !this.once(10)) this.#flush(`<${this.pick(this.sessions).id}.handle>`);
  }

  #flush(handle: Digits): void {
    const id = this.nextId();
    this.forget(handle);
    this.before({ id, name: "FlushContext", code: FLUSH_CONTEXT, handles: [], body: handle });
  }

  takeEffect(): (() => void) | undefined {
    const effect = this.#effect;
    this.#effect = undefined;
    return effect;
  }

  /** What a power cycle takes. */
  forgetVolatile(): void {
    this.sequences = [];
    this.sessions = [];
    this.objects = this.objects.filter(({ handle }) => handle.startsWith("81"));
    this.#auths.delete(u32(RH.PLATFORM));
  }

  forget(handle: Digits): void {
    this.sequences = this.sequences.filter((known) => known.handle !== handle);
    this.objects = this.objects.filter((known) => known.handle !== handle);
    this.sessions = this.sessions.filter(({ id }) => `<${id}.handle>` !== handle);
  }

  /** What a session's policy says about the authValue. */
  setProof(handle: Digits, proof: KnownSession["proof"]): void {
    this.sessions = this.sessions.map((known) => (`<${known.id}.handle>` === handle ? { ...known, proof } : known));
  }

  /** A session that audits is bound no longer: the digest takes the place of the entity (Part 1, 17.4). */
  unbind(id: number): void {
    this.sessions = this.sessions.map((known) => {
      if (known.id !== id) return known;
      const { bound: _bound, ...unbound } = known;
      return unbound;
    });
  }

  /** The answer `field` to the command that is being made will be known as a `what`. */
  keepResult(what: string, field: string): void {
    const list = this.#results.get(what) ?? [];
    list.push(`<${this.id}.${field}>`);
    if (list.length > 8) list.shift();
    this.#results.set(what, list);
  }

  result(what: string): Digits | undefined {
    return this.some(this.#results.get(what) ?? []);
  }

  password(): string {
    return this.once(3) ? this.pick(PASSWORDS) : "";
  }

  authOf(entity: Entity): string {
    const digits = digitsOf(entity);
    const auth =
      this.objects.find(({ handle }) => handle === digits)?.auth ??
      this.sequences.find(({ handle }) => handle === digits)?.auth ??
      this.nv.get(Number.parseInt(digits, 16))?.auth ??
      this.#auths.get(digits) ??
      "";
    return trimmed(auth);
  }

  policyOf(entity: Entity): Policy | undefined {
    const digits = digitsOf(entity);
    const object = this.objects.find(({ handle }) => handle === digits);
    return object ? object.policy : this.nv.get(Number.parseInt(digits, 16))?.policy;
  }

  setAuth(handle: Entity, value: string): void {
    this.#auths.set(digitsOf(handle), trimmed(value));
  }

  clearAuths(...handles: number[]): void {
    for (const handle of handles) this.#auths.delete(u32(handle));
  }

  /** What TPM2_Clear, or a new seed, takes from a hierarchy. */
  forgetHierarchies(...hierarchies: number[]): void {
    this.objects = this.objects.filter(({ hierarchy }) => !hierarchies.includes(hierarchy));
    this.blobs = this.blobs.filter(({ parent }) => !hierarchies.includes(parent.hierarchy));
    this.clearAuths(...hierarchies);
  }

  hierarchy(): number {
    return this.once(12)
      ? this.pick([RH.NULL, RH.PW, 0x40000000, 0, 0x80000000])
      : this.pick([RH.OWNER, RH.OWNER, RH.PLATFORM, RH.PLATFORM, RH.ENDORSEMENT, RH.LOCKOUT]);
  }

  pcr(): number {
    // How PCR 20 to 22 are protected differs between the versions (TPM_PT_PCR_POLICY and TPM_PT_PCR_AUTH).
    return this.once(15)
      ? this.pick([24, RH.NULL, 0x01000000, 0x3f])
      : this.pick([0, 1, 7, 10, 14, 15, 16, 16, 17, 18, 19, 23, 23]);
  }

  hash(): HashId {
    return this.pick(HASH_IDS);
  }

  selection(): string {
    const count = this.below(5);
    let list = u32(count);
    for (let i = 0; i < count; i++) {
      const bits = this.once(20) ? "02ffff" : `03${this.pick(["ffffff", "ff0000", "000000", "0100ff", this.bytes(3)])}`;
      list += `${u16(this.once(20) ? 0x12 : this.hash())}${bits}`;
    }
    return list;
  }

  digests(): string {
    const count = this.once(20) ? this.below(6) : 1 + this.below(3);
    let list = u32(count);
    for (let i = 0; i < count; i++) {
      const alg = this.hash();
      list += u16(alg) + this.bytes(HASH_SIZES[alg]);
    }
    return list;
  }

  sequence(...kinds: Sequence["kind"][]): Digits {
    const fitting = this.sequences.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind));
    if (fitting.length && !this.once(12)) return this.pick(fitting).handle;
    return this.transient();
  }

  /** The handle of a slot that may have something in it. */
  transient(): Digits {
    return u32(0x80000000 + this.below(4));
  }

  policySession(): Digits {
    const policies = this.sessions.filter(({ start }) => start.policy);
    return policies.length && !this.once(10)
      ? `<${this.pick(policies).id}.handle>`
      : u32(this.pick([0x03000000, 0x03000001, 0x02000000]));
  }

  /** An object that can do it, if there is one. */
  object(use: string): KnownObject | undefined {
    const fitting = this.objects.filter(({ kind }) => kind.uses.includes(use));
    if (fitting.length === 0 && !this.once(4)) return this.#makeObject(this, use);
    return this.some(fitting);
  }

  /** An object or an index whose policy allows a command; `make` makes one if there is none. */
  allowing<T extends { readonly policy?: Policy }>(known: Iterable<T>, code: number, make: () => T | undefined) {
    const allows = ({ policy }: T) => policy?.commands.some(([, , parameters]) => parameters === u32(code));
    return this.some([...known].filter(allows)) ?? (this.once(4) ? undefined : make());
  }

  /** The handle of an object that can do it, at times of another. */
  key(use: string): Digits {
    const fitting = this.once(15) ? undefined : this.object(use);
    if (fitting) return fitting.handle;
    if (this.objects.length && !this.once(5)) return this.pick(this.objects).handle;
    return this.pick([this.transient(), "81000000", u32(RH.NULL)]);
  }

  objectAt(handle: Digits): KnownObject | undefined {
    return this.objects.find((known) => known.handle === handle);
  }

  anyHandle(): Digits {
    return this.pick([
      u32(this.hierarchy()),
      u32(this.pcr()),
      this.sequence(),
      this.policySession(),
      u32(this.nvHandle()),
      this.key("any"),
      u32(this.pick([0x02000000, 0x02000001, 0x81000001, 0xffffffff, 0x00000000, 0x90000000])),
    ]);
  }

  nvHandle(...types: number[]): number {
    const fitting = [...this.nv.values()].filter(
      ({ attributes }) => types.length === 0 || types.includes(nvType(attributes)),
    );
    if (fitting.length && !this.once(8)) return this.pick(fitting).handle;
    return this.nv.size && this.once(2) ? this.pick([...this.nv.keys()]) : 0x01000000 + this.below(8);
  }

  nvAuthChanged(handle: number, auth: string): void {
    const index = this.nv.get(handle);
    if (index) this.nv.set(handle, { ...index, auth: trimmed(auth) });
  }

  /** Who may authorize for an index: itself, the owner, the platform. */
  nvAuthority(handle: number, write: boolean): number {
    const attributes = this.nv.get(handle)?.attributes ?? 0;
    const shifted = write ? attributes : attributes >>> 16;
    const may = [
      ...(shifted & NV.PPWRITE ? [RH.PLATFORM] : []),
      ...(shifted & NV.OWNERWRITE ? [RH.OWNER] : []),
      ...(shifted & NV.AUTHWRITE ? [handle] : []),
    ];
    return may.length && !this.once(10) ? this.pick(may) : this.pick([RH.OWNER, RH.PLATFORM, handle]);
  }

  clock(): bigint {
    // Far from what the clock shows: two TPMs' clocks are not at the same millisecond.
    if (this.once(4)) return this.pick([0xffff000000000001n, 5_000_000n - 5_000n * this.#backwards++]);
    this.#clock += 10_000_000n;
    return this.#clock;
  }
}
