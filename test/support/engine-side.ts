// What a sequence's user knows of one TPM that it runs on: the answers to earlier steps and the sessions. It makes the bytes of a step's
// command from that, and checks the sessions of the response.
import { Buffer } from "node:buffer";
import { findCommand, parseTypeReference } from "../../src/spec/registry.ts";
import { type SharedSecret, shareSecret } from "./engine-salt.ts";
import { encrypts, Session } from "./engine-session.ts";
import { type Authorization, type CommandStep, type Edit, type SessionUse, u32 } from "./engine-steps.ts";
import { bytesOf } from "./recorded.ts";

const HEADER = 10;
const TAG_SESSIONS = 0x8002;
const DECRYPT = 0x20;
const CONTEXT_SAVE = 0x162;
const [HMAC_SESSION, POLICY_SESSION] = [2, 3];

/** The parts of a response, its first parameter in the clear. */
export interface Answer {
  readonly code: number;
  readonly handle?: number;
  readonly parameters: Uint8Array;
  /** Nonce size, attributes and HMAC size of each session. */
  readonly sessions: readonly (readonly [number, number, number])[];
  /** What is wrong with the sessions; missing if nothing is. */
  readonly wrong?: string;
  /** The first parameter is encrypted all the same, by a session of which nothing is known. */
  readonly encrypted?: boolean;
}

interface Sent {
  readonly step: CommandStep;
  readonly uses: readonly (SessionUse | undefined)[];
  readonly salt: SharedSecret | undefined;
}

interface Kept {
  readonly code: number;
  readonly handle?: number;
  readonly parameters: Uint8Array;
}

const NOTHING = new Uint8Array();
/** For a key that cannot find one. */
const NO_SALT = new Uint8Array(10);

const handleType = (handle: number) => handle >>> 24;
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export class Side {
  readonly #answers = new Map<number, Kept>();
  readonly #sessions = new Map<number, Session>();
  #sent: Sent | undefined;

  /** The command of a step, as bytes. */
  command(step: CommandStep): Uint8Array {
    const handles = step.handles.map((handle) => this.#resolve(handle)).join("");
    const salt = this.#salt(step);
    const encryptedSalt = tpm2b(hexOf(salt?.encrypted ?? NO_SALT));
    let parameters = bytesOf(this.#resolve(step.parameters).replace("<salt>", encryptedSalt));
    const uses = step.auths.map((auth) => (typeof auth === "string" ? undefined : auth));
    this.#sent = { step, uses, salt };
    let area = "";
    if (uses.some((use) => use !== undefined)) {
      parameters = this.#encrypted(parameters, uses);
      const names = step.names ?? step.handles;
      const covered = bytesOf(u32(step.code) + names.map((name) => this.#resolve(name)).join("") + hexOf(parameters));
      area = step.auths.map((auth, index) => this.#authorization(auth, index, uses, covered)).join("");
    } else area = step.auths.join("");
    const auths = step.auths.length ? u32(area.length / 2) + area : "";
    const body = `${u32(step.code)}${handles}${auths}${hexOf(parameters)}`;
    const tag = step.auths.length ? "8002" : "8001";
    const bytes = bytesOf(`${tag}${u32(6 + body.length / 2)}${body}`);
    return step.edits ? edited(bytes, step.edits) : bytes;
  }

  /** Takes the response to the last command. */
  answered(response: Uint8Array): Answer {
    const { step, uses, salt } = this.#sent!;
    const { areas, ...plain } = answerOf(step.code, response);
    if (!areas) return plain;
    const answer = { ...plain, ...this.#checkSessions(response, areas, uses) };
    const { handle, parameters } = answer;
    this.#answers.set(step.id, {
      code: step.code,
      ...(handle === undefined ? {} : { handle }),
      parameters: parameters.slice(),
    });
    if (step.starts && handle !== undefined) {
      this.#sessions.set(step.id, new Session(step.starts, handle, parameters.slice(2), salt?.secret ?? NOTHING));
    }
    return answer;
  }

  /** Takes over what another side knows: its TPM's state was taken over, too. */
  takeOver(other: Side): void {
    for (const [id, kept] of other.#answers) this.#answers.set(id, kept);
    for (const [id, session] of other.#sessions) this.#sessions.set(id, session.copy());
  }

  /** Takes over the answer to one step, if the other TPM can use it too: a session's context is of use only where it was saved. */
  shareAnswer(other: Side, id: number): void {
    const kept = other.#answers.get(id);
    if (!kept) return;
    const savedHandle = kept.code === CONTEXT_SAVE ? (kept.parameters[8] ?? 0) : 0;
    if (savedHandle !== HMAC_SESSION && savedHandle !== POLICY_SESSION) this.#answers.set(id, kept);
  }

  /** The salt of the session that a step starts, in a way that only its key finds it. */
  #salt({ starts }: CommandStep): SharedSecret | undefined {
    if (starts?.saltKey === undefined) return undefined;
    return shareSecret(bytesOf(this.#resolve(starts.saltKey)).subarray(2), "SECRET");
  }

  #resolve(digits: string): string {
    if (!digits.includes("<")) return digits;
    return digits.replace(/<(\d+)\.(\w+)>/g, (_, id: string, field: string) => this.#field(Number(id), field));
  }

  /** What the TPM answered to a step, as digits; empty if it did not. */
  #field(id: number, field: string): string {
    const kept = this.#answers.get(id);
    if (!kept) return "";
    if (field === "handle") return kept.handle === undefined ? "" : u32(kept.handle);
    if (!field.endsWith("_content")) return hexOf(fieldOf(kept, field));
    return hexOf(fieldOf(kept, field.slice(0, -"_content".length)).subarray(2));
  }

  #encrypted(parameters: Uint8Array, uses: readonly (SessionUse | undefined)[]): Uint8Array {
    const use = uses.find((one) => one && one.attributes & DECRYPT);
    const session = use && this.#sessions.get(use.session);
    if (!session || parameters.length < 2) return parameters;
    const size = Math.min(viewOf(parameters).getUint16(0), parameters.length - 2);
    const changed = parameters.slice();
    changed.set(session.crypt("encrypt", use, parameters.subarray(2, 2 + size)), 2);
    return changed;
  }

  #authorization(
    auth: Authorization,
    index: number,
    uses: readonly (SessionUse | undefined)[],
    covered: Uint8Array,
  ): string {
    if (typeof auth === "string") return auth;
    const session = this.#sessions.get(auth.session);
    const hmac = session?.commandHmac(auth, covered, index === 0 && auth.auth !== undefined ? this.#others(uses) : []);
    const tail = `${tpm2b(auth.nonceCaller)}${hexByte(auth.attributes)}${tpm2b(hexOf(hmac ?? new Uint8Array()))}`;
    return `${u32(session?.handle ?? 0x02000000)}${tail}`;
  }

  /** nonceTPMdecrypt and nonceTPMencrypt, which tie sessions that encrypt to the one that authorizes first. */
  #others(uses: readonly (SessionUse | undefined)[]): Uint8Array[] {
    const rest = uses.slice(1);
    const decrypting = rest.find((use) => use && use.attributes & DECRYPT);
    const encrypting = rest.find((use) => use && encrypts(use.attributes));
    const both = decrypting === encrypting ? [decrypting] : [decrypting, encrypting];
    return both.flatMap((use) => {
      const session = use && this.#sessions.get(use.session);
      return session ? [session.nonceTPM] : [];
    });
  }

  /** Checks the HMACs, takes over the nonces, and decrypts. */
  #checkSessions(response: Uint8Array, areas: Areas, uses: readonly (SessionUse | undefined)[]) {
    const raw = response.subarray(areas.parameters, areas.sessions);
    const covered = Buffer.concat([bytesOf(`00000000${u32(this.#sent!.step.code)}`), raw]);
    let parameters = raw;
    let wrong: string | undefined;
    let encrypted = false;
    readSessions(response, areas.sessions, (index, { nonce, attributes, hmac }) => {
      const use = uses[index];
      const session = use && this.#sessions.get(use.session);
      if (!session) {
        encrypted ||= encrypts(attributes);
        return;
      }
      const expected = session.responseHmac(use, covered, nonce, attributes);
      // A policy that was told elsewhere to take a password has none.
      const mayLack = hmac.length === 0 && handleType(session.handle) === POLICY_SESSION;
      if (!mayLack && !Buffer.from(expected).equals(hmac))
        wrong = `the HMAC of session ${index + 1} in the response is wrong`;
      session.nonceTPM = nonce;
      if (encrypts(attributes) && raw.length >= 2) {
        const size = viewOf(raw).getUint16(0);
        parameters = raw.slice();
        parameters.set(session.crypt("decrypt", use, raw.subarray(2, 2 + size), nonce), 2);
      }
    });
    return { parameters, ...(wrong ? { wrong } : {}), ...(encrypted ? { encrypted } : {}) };
  }
}

/** Where the parameters and the sessions of a response begin. */
interface Areas {
  readonly parameters: number;
  readonly sessions: number;
}

interface ResponseSession {
  readonly nonce: Uint8Array;
  readonly attributes: number;
  readonly hmac: Uint8Array;
}

function readSessions(
  response: Uint8Array,
  from: number,
  take: (index: number, session: ResponseSession) => void,
): void {
  const view = viewOf(response);
  for (let at = from, index = 0; at + 5 <= response.length; index++) {
    const nonce = response.slice(at + 2, at + 2 + view.getUint16(at));
    at += 2 + nonce.length;
    const attributes = response[at] ?? 0;
    const hmac = response.subarray(at + 3, at + 3 + view.getUint16(at + 1));
    at += 3 + hmac.length;
    take(index, { nonce, attributes, hmac });
  }
}

/** The parts of a response, its parameters as they are in it. */
export function answerOf(commandCode: number, response: Uint8Array): Answer & { readonly areas?: Areas } {
  const view = viewOf(response);
  const code = view.getUint32(6);
  if (code !== 0) return { code, parameters: new Uint8Array(), sessions: [] };
  const hasHandle = findCommand(commandCode)?.responseHandle !== undefined;
  const withSessions = view.getUint16(0) === TAG_SESSIONS;
  const at = HEADER + (hasHandle ? 4 : 0);
  const parameters = at + (withSessions ? 4 : 0);
  const areas = { parameters, sessions: withSessions ? parameters + view.getUint32(at) : response.length };
  const sessions: [number, number, number][] = [];
  readSessions(response, areas.sessions, (_index, { nonce, attributes, hmac }) => {
    sessions.push([nonce.length, attributes, hmac.length]);
  });
  return {
    code,
    ...(hasHandle ? { handle: view.getUint32(HEADER) } : {}),
    parameters: response.subarray(parameters, areas.sessions),
    sessions,
    areas,
  };
}

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
const hexByte = (value: number) => value.toString(16).padStart(2, "0");
const tpm2b = (digits: string) => (digits.length / 2).toString(16).padStart(4, "0") + digits;

/** One parameter of a response with the bytes of its size; the last one of those whose size is not simply known takes the rest. */
export function fieldOf({ code, parameters }: { code: number; parameters: Uint8Array }, name: string): Uint8Array {
  const view = viewOf(parameters);
  let at = 0;
  for (const [field, reference] of findCommand(code)?.response ?? []) {
    const size = sizeAt(view, at, parseTypeReference(reference).name);
    if (field === name) return parameters.subarray(at, at + size);
    at += size;
  }
  return new Uint8Array();
}

const SIMPLE: Readonly<Record<string, number>> = { UINT16: 2, UINT32: 4, TPM_RC: 4, TPMI_YES_NO: 1 };

function sizeAt(view: DataView, at: number, type: string): number {
  const left = view.byteLength - at;
  const sizeOf2B = (offset: number) => (left >= offset + 2 ? 2 + view.getUint16(at + offset) : 0);
  const size = type.startsWith("TPM2B_") ? sizeOf2B(0) : type.startsWith("TPMT_TK_") ? 6 + sizeOf2B(6) : SIMPLE[type];
  return Math.min(size ?? left, left);
}

/** A command with things about it that are not as they should be; its size field stays right. */
export function edited(command: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const bytes = [...command];
  for (const edit of edits) {
    const at = "at" in edit ? HEADER + (edit.at % Math.max(1, bytes.length - HEADER)) : 0;
    if (edit.kind === "truncate") bytes.splice(at);
    else if (edit.kind === "drop") bytes.splice(at, 1);
    else if (edit.kind === "append") bytes.push(...bytesOf(edit.bytes));
    else if (edit.kind === "tag") bytes[1] = (bytes[1] ?? 0) ^ 3;
    else if (at < bytes.length) bytes[at] = changedByte(bytes[at]!, edit);
  }
  const changed = Uint8Array.from(bytes);
  if (changed.length >= 6) new DataView(changed.buffer).setUint32(2, changed.length);
  return changed;
}

function changedByte(old: number, edit: Edit): number {
  if (!("value" in edit)) return old;
  const changed = edit.kind === "set" ? edit.value : edit.kind === "flip" ? old ^ edit.value : old + edit.value;
  return changed & 0xff;
}
