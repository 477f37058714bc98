// Random sequences for a TPM 2.0 from a seed: most commands fit the state that the TPM is in, some are nearly right, some are noise.
import { findCommand, parseTypeReference } from "../../src/spec/registry.ts";
import type { FieldDefinition } from "../../src/spec/types.ts";
import { type Maker, makerGroups, type Parts } from "./engine-makers.ts";
import { makeObject } from "./engine-makers-object.ts";
import { digitsOf, type Entity, type KnownSession, PASSWORDS, type Prelude, UserMemory } from "./engine-memory.ts";
import type { Policy } from "./engine-kinds.ts";
import {
  type Authorization,
  type CommandStep,
  type Digits,
  type Edit,
  RH,
  type SessionUse,
  type Signal,
  type Step,
  sized,
  u16,
  u32,
  u8,
} from "./engine-steps.ts";
import type { RandomSource } from "./fuzz-random.ts";

export interface SourceOptions {
  /** Codes of the commands that may be sent. */
  readonly listed: ReadonlySet<number>;
  /**
   * Leaves out what two implementations answer differently with good reason, because it depends on the moment or on random numbers, or
   * because a version's limits show.
   */
  readonly careful: boolean;
  /** Commands to send with changes to their bytes, as hexadecimal digits. */
  readonly corpus?: readonly string[];
}

/**
 * Of these the parameters must not be left to chance when two TPMs are compared: what they do depends on the moment (ClockSet) or on
 * random numbers, on the version (TPM2_GetCapability, TPM2_IncrementalSelfTest, PCR 20 to 22), or keeps one of the two locked out for
 * ever.
 */
const UNPREDICTABLE = new Set([0x128, 0x13a, 0x17a, 0x142, 0x12c, 0x183, 0x12b, 0x144, 0x145, 0x131, 0x191, 0x153]);
const STARTUP = 0x144;
const SHUTDOWN = 0x145;
const SESSION = { continue: 0x01, auditExclusive: 0x02, auditReset: 0x04, decrypt: 0x20, encrypt: 0x40, audit: 0x80 };
const SHA256 = 11;

const runAll = (effects: readonly (() => void)[]) => {
  for (const effect of effects) effect();
};

interface Queued {
  readonly step: Step;
  readonly effect?: (() => void) | undefined;
  readonly failed?: (() => void) | undefined;
}

export class CommandSource {
  readonly #random: RandomSource;
  readonly #options: SourceOptions;
  readonly #listed: readonly number[];
  readonly #corpus: readonly string[];
  readonly #memory: UserMemory;
  readonly #makers: readonly Maker[];
  /** What comes next, before anything random. */
  #queue: Queued[] = [];
  /** What the last command is to change in the memory if it succeeds. */
  #effect: (() => void) | undefined;
  /** And if it fails. */
  #failed: (() => void) | undefined;
  #started = false;

  constructor(random: RandomSource, options: SourceOptions) {
    this.#random = random;
    this.#options = options;
    this.#listed = [...options.listed];
    this.#corpus = (options.corpus ?? []).filter((command) => {
      const code = Number.parseInt(command.slice(12, 20), 16);
      return !options.careful || (options.listed.has(code) && !UNPREDICTABLE.has(code));
    });
    this.#memory = new UserMemory(random, makeObject);
    this.#makers = makerGroups.flatMap(([weight, makers]) => {
      const present = makers.filter(([, code]) => options.listed.has(code));
      // Each group's share is independent of how many makers it has.
      return Array.from({ length: 4 * weight }, (_, i) => present[i % present.length]!);
    });
  }

  next(): Step {
    const queued = this.#queue.shift() ?? this.#anything();
    this.#effect = queued.effect;
    this.#failed = queued.failed;
    if (queued.step.kind === "power") {
      this.#started = false;
      this.#memory.forgetVolatile();
    }
    return queued.step;
  }

  /** Tells whether the last command succeeded. */
  answered(step: Step, responseCode: number): void {
    if (step.kind === "command" && responseCode === 0) {
      if (step.code === STARTUP) this.#started = true;
      this.#effect?.();
    } else this.#failed?.();
    this.#effect = undefined;
    this.#failed = undefined;
  }

  #anything(): Queued {
    const below = (limit: number) => this.#random.below(limit);
    if (!this.#started && below(10) < 8) return { step: this.#startup() };
    switch (below(120)) {
      case 0:
        return this.#powerCycle();
      case 1:
        return { step: { kind: "migrate" } };
      case 2:
        return { step: this.#signal() };
      case 3:
      case 4:
        return { step: this.#raw() };
      default:
        return this.#command();
    }
  }

  #signal(): Signal {
    const below = (limit: number) => this.#random.below(limit);
    if (below(3) === 0) return { kind: "hash", data: this.#memory.bytes(below(100)) };
    if (this.#options.careful) return { kind: "time", milliseconds: 1 };
    if (below(3) === 0) return { kind: "presence", asserted: below(2) === 0 };
    return { kind: "time", milliseconds: this.#random.pick([1, 5000, 1_000_000, 86_400_000]) };
  }

  /** A command of the corpus or bytes by chance, with a header that may be one. */
  #raw(): Step {
    const memory = this.#memory;
    const noise = `${memory.pick(["8001", "8002", "00c1"])}00000000${u32(this.#anyCode())}${memory.bytes(memory.below(100))}`;
    // A header at least: over a socket less than that is no command yet.
    const short = !this.#options.careful && memory.once(8);
    const bytes = short
      ? memory.bytes(memory.below(20))
      : memory.once(2)
        ? noise
        : (memory.some(this.#corpus) ?? noise);
    return { kind: "raw", bytes, edits: this.#edits(), locality: this.#locality() };
  }

  #plain(name: string, code: number, parameters: string, locality = 0): CommandStep {
    return { kind: "command", id: this.#memory.nextId(), name, code, locality, handles: [], auths: [], parameters };
  }

  #startup(): CommandStep {
    const state = this.#random.below(3) === 0;
    return this.#plain("Startup", STARTUP, u16(state ? 1 : 0), this.#random.below(6) === 0 ? this.#random.below(5) : 0);
  }

  /** With or without Shutdown, of the right type or not, at times with an H-CRTM measurement. */
  #powerCycle(): Queued {
    const how = this.#random.below(4);
    const push = (step: Step) => this.#queue.push({ step });
    push({ kind: "power" });
    if (this.#random.below(5) === 0) push({ kind: "hash", data: this.#memory.bytes(20) });
    const type = how === 1 ? 1 : 0;
    const begin = this.#random.below(5) === 0 ? 1 - type : type;
    push(this.#plain("Startup", STARTUP, u16(begin), this.#random.below(4) === 0 ? 3 : 0));
    if (how < 2 || this.#random.below(2) !== 0)
      this.#queue.unshift({ step: this.#plain("Shutdown", SHUTDOWN, u16(type)) });
    const first = this.#queue.shift()!;
    if (first.step.kind === "power") {
      this.#started = false;
      this.#memory.forgetVolatile();
    }
    return first;
  }

  #command(): Queued {
    const memory = this.#memory;
    const [name, code, make] = this.#random.below(12) === 0 ? this.#anyMaker() : this.#random.pick(this.#makers);
    memory.id = this.#memory.nextId();
    const parts = make(memory);
    const effect = memory.takeEffect();
    const locality = this.#locality();
    for (const prelude of memory.takePreludes()) this.#queue.push(this.#prelude(prelude));
    const { auths, names, after } = this.#authorize(code, parts);
    const handles = (parts.handles ?? []).map(digitsOf);
    // What comes of a change to an HMAC depends on the nonces, which are not the same on two TPMs.
    // Nor is anything known of a session that was started otherwise than it says here.
    const editable = !parts.starts && !(names && this.#options.careful);
    const edits = editable && memory.once(12) ? { edits: this.#edits() } : {};
    const step: CommandStep = {
      ...{ kind: "command", id: memory.id, name, code, locality, handles, auths, parameters: parts.body ?? "" },
      ...(names ? { names } : {}),
      ...(parts.starts ? { starts: parts.starts } : {}),
      ...edits,
      ...(!this.#options.careful && memory.once(40) ? { cancelAfter: memory.below(4) } : {}),
    };
    this.#queue.push({
      step,
      effect: () => {
        effect?.();
        after();
      },
    });
    return this.#queue.shift()!;
  }

  #prelude({ id, name, code, handles, body, failed }: Prelude): Queued {
    const auths = handles.flatMap((handle, index) => {
      const role = findCommand(code)?.handles?.[index]?.[2];
      return role ? [`${u32(RH.PW)}000001${sized(this.#memory.authOf(handle))}`] : [];
    });
    const step = { ...this.#plain(name, code, body), id, handles: handles.map(digitsOf), auths };
    return { step, failed };
  }

  #locality(): number {
    if (this.#random.below(10) !== 0) return 0;
    if (this.#options.careful || this.#random.below(4)) return this.#random.below(5);
    return this.#random.pick([32, 33, 255, 5, 31]);
  }

  #anyCode(): number {
    for (;;) {
      const code = this.#random.pick(this.#listed);
      if (!this.#options.careful || !UNPREDICTABLE.has(code)) return code;
    }
  }

  /** A command that has the handles and sessions that its definition wants, and parameters of which the sizes may fit. */
  #anyMaker(): Maker {
    const code = this.#anyCode();
    const { name, handles = [] } = findCommand(code)!;
    return [
      name,
      code,
      (s) => {
        const pieces = Array.from({ length: s.below(6) }, () =>
          s.pick(["0000", "0010", "0001", "000b", "00", sized(s.bytes(s.below(40)))]),
        );
        return { handles: handles.map(() => s.anyHandle()), body: pieces.join("") };
      },
    ];
  }

  /** Authorizations for the handles that need one: passwords, sessions that know the authValue, policies; at times wrong ones. */
  #authorize(code: number, parts: Parts) {
    const roles = findCommand(code)?.handles ?? [];
    const handles = parts.handles ?? [];
    const afterwards: (() => void)[] = [];
    let sessions = 0;
    const auths = handles.flatMap((handle, index): Authorization[] => {
      if (!roles[index]?.[2]) return [];
      const after = index === 0 ? parts.authAfter : undefined;
      const auth = this.#authorization(code, handle, after, sessions === 0, afterwards);
      if (typeof auth !== "string") sessions++;
      return [auth];
    });
    const extra =
      this.#memory.once(8) && auths.length < 3 && code !== 0x176 ? this.#extraSession(code, afterwards) : undefined;
    if (extra && !auths.some((auth) => typeof auth !== "string" && auth.session === extra.session)) auths.push(extra);
    const proven = auths.some((auth) => typeof auth !== "string");
    const names = proven ? handles.map((handle) => this.#nameOf(handle)) : undefined;
    return { auths, names, after: () => runAll(afterwards) };
  }

  #authorization(
    code: number,
    handle: Entity,
    authAfter: string | undefined,
    first: boolean,
    afterwards: (() => void)[],
  ): Authorization {
    const memory = this.#memory;
    const right = memory.authOf(handle);
    const policy = memory.policyOf(handle);
    if (policy && first && !memory.once(3)) return this.#policyUse(handle, policy, authAfter);
    const session = first && memory.once(4) ? memory.some(memory.sessions) : undefined;
    if (session) return this.#use(session, code, handle, authAfter, afterwards);
    const password = memory.once(15) ? memory.pick(PASSWORDS) : right;
    return `${u32(RH.PW)}0000${u8(memory.once(30) ? memory.below(256) : memory.below(2))}${sized(password)}`;
  }

  /** A new session on which the policy's commands are run before the command that is being made. */
  #policyUse(handle: Entity, policy: Policy, authAfter: string | undefined): SessionUse {
    const memory = this.#memory;
    const { id } = memory;
    memory.id = this.#memory.nextId();
    const started = memory.id;
    const start = { authHash: SHA256, nonceCaller: "11".repeat(16), cipher: 0x10, keyBits: 0, policy: true };
    const nulls = [u32(RH.NULL), u32(RH.NULL)];
    const parameters = `${sized(start.nonceCaller)}0000010010000b`;
    const step = { ...this.#plain("StartAuthSession", 0x176, parameters), id: started, handles: nulls, starts: start };
    this.#queue.push({ step });
    for (const [name, code, body] of policy.commands)
      this.#queue.push({ step: { ...this.#plain(name, code, body), handles: [`<${started}.handle>`] } });
    memory.id = id;
    return {
      session: started,
      attributes: 0,
      nonceCaller: memory.bytes(16),
      auth: memory.authOf(handle),
      proof: policy.proof,
      ...(authAfter === undefined ? {} : { authAfter }),
    };
  }

  #use(
    session: KnownSession,
    code: number,
    handle: Entity | undefined,
    authAfter: string | undefined,
    afterwards: (() => void)[],
  ): SessionUse {
    const memory = this.#memory;
    const attributes = this.#attributes(session, code, handle === undefined);
    afterwards.push(() => {
      if (!(attributes & SESSION.continue)) memory.forget(`<${session.id}.handle>`);
      // A policy session starts over after each use.
      else memory.setProof(`<${session.id}.handle>`, "none");
      if (attributes & SESSION.audit) memory.unbind(session.id);
    });
    const auth = handle === undefined ? undefined : memory.once(20) ? memory.pick(PASSWORDS) : memory.authOf(handle);
    const bound =
      session.bound && handle !== undefined && session.bound.handle === digitsOf(handle) && session.bound.auth === auth;
    const proof = session.start.policy ? session.proof : bound ? "none" : "authValue";
    return {
      session: session.id,
      attributes,
      nonceCaller: memory.bytes(session.start.nonceCaller.length / 2 >= 16 ? 16 : 20),
      proof,
      ...(auth === undefined ? {} : { auth }),
      ...(authAfter === undefined || auth === undefined ? {} : { authAfter }),
    };
  }

  #extraSession(code: number, afterwards: (() => void)[]): SessionUse | undefined {
    const session = this.#memory.some(this.#memory.sessions);
    return session && this.#use(session, code, undefined, undefined, afterwards);
  }

  #attributes({ start }: KnownSession, code: number, extra: boolean): number {
    const { parameters = [], response = [] } = findCommand(code) ?? {};
    const is2B = ([first]: readonly FieldDefinition[]) =>
      first !== undefined && parseTypeReference(first[1]).name.startsWith("TPM2B_");
    const memory = this.#memory;
    let attributes = memory.once(5) ? 0 : SESSION.continue;
    if (start.cipher !== 0x10) {
      if (is2B(parameters) && memory.once(2)) attributes |= SESSION.decrypt;
      if (is2B(response) && memory.once(2)) attributes |= SESSION.encrypt;
    }
    if (memory.once(5)) attributes |= SESSION.audit;
    if (attributes & SESSION.audit && memory.once(4))
      attributes |= memory.pick([SESSION.auditExclusive, SESSION.auditReset]);
    // A session that authorizes nothing has to have another use.
    if (extra && !(attributes & (SESSION.audit | SESSION.decrypt | SESSION.encrypt))) attributes |= SESSION.audit;
    return memory.once(30) ? memory.below(256) : attributes;
  }

  /** Its Name as an HMAC covers it; an NV Index is asked for it before. */
  #nameOf(entity: Entity): Digits {
    const handle = digitsOf(entity);
    const object = this.#memory.objectAt(handle);
    if (object) return object.name;
    if (this.#memory.sequences.some((sequence) => sequence.handle === handle)) return "";
    if (!handle.startsWith("01")) return handle;
    const step = { ...this.#plain("NV_ReadPublic", 0x169, ""), handles: [handle] };
    this.#queue.push({ step });
    return `<${step.id}.nvName_content>`;
  }

  /** One thing about the command is not as it should be. */
  #edits(): Edit[] {
    const memory = this.#memory;
    const at = memory.below(4096);
    switch (memory.below(8)) {
      case 0:
        return [{ kind: "truncate", at }];
      case 1:
        return [{ kind: "append", bytes: memory.bytes(1 + memory.below(3)) }];
      case 2:
        return [{ kind: "drop", at }];
      case 3:
        return [{ kind: "tag" }];
      case 4:
        return [{ kind: "set", at, value: memory.pick([0, 0xff]) }];
      case 5:
        return [{ kind: "add", at, value: memory.pick([1, 255]) }];
      default:
        return [{ kind: "flip", at, value: 1 << memory.below(8) }];
    }
  }
}
