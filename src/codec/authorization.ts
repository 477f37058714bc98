// Authorizing one command with sessions and checking the response (Part 1, 18.7 to 18.9, 19.6.5 and 21).
import { concatBytes, equalBytes, uintBytes } from "./bytes.ts";
import type { CommandAreas, RawSession } from "./command.ts";
import { digestLength, hash, hmac, randomBytes } from "./crypto.ts";
import type { AuthSession, SessionAttributes, SessionUse } from "./session.ts";

/** The entity that a session authorizes. */
export interface AuthorizedEntity {
  readonly name: Uint8Array;
  readonly auth: Uint8Array;
  /** Its authValue in the response, where the command changes it. */
  readonly authAfter?: Uint8Array;
}

/** A session of a command: one of ours, or one that is ready (a password). */
export interface SessionSlot {
  readonly use: SessionUse | RawSession;
  /** Missing for a session that only encrypts or audits. */
  readonly entity?: AuthorizedEntity;
}

/** A session of a response: TPMS_AUTH_RESPONSE, the attributes as the byte they are. */
export interface ResponseSession {
  readonly nonce: Uint8Array;
  readonly attributes: number;
  readonly hmac: Uint8Array;
}

/** A response whose HMAC is wrong: something between the caller and the TPM changed it, or the key is not what it seemed. */
export class ResponseHmacError extends Error {
  override readonly name = "ResponseHmacError";
}

/** An authorized command: what to send, and what is needed to check the answer. */
export interface CommandAuthorization {
  /** The areas of the command, the first parameter encrypted if a session does that. */
  readonly areas: CommandAreas;
  readonly sessions: readonly RawSession[];
  /**
   * Checks the sessions of a successful response, takes over their nonces, and returns the parameters with the first one in the
   * clear. Throws ResponseHmacError.
   */
  verify(parameters: Uint8Array, sessions: readonly ResponseSession[]): Uint8Array;
}

const ENCRYPT = 0x40;

/** TPMA_SESSION as a byte. */
function attributesByte(attributes: SessionAttributes): number {
  return (
    (attributes.continueSession === false ? 0 : 0x01) |
    (attributes.auditExclusive ? 0x02 : 0) |
    (attributes.auditReset ? 0x04 : 0) |
    (attributes.decrypt ? 0x20 : 0) |
    (attributes.encrypt ? ENCRYPT : 0) |
    (attributes.audit ? 0x80 : 0)
  );
}

/** A slot with a session of ours, and what of it was decided for the command and holds for the response too. */
interface ActiveSlot {
  readonly index: number;
  readonly session: AuthSession;
  readonly attributes: SessionAttributes;
  readonly entity: AuthorizedEntity | undefined;
  readonly includesAuth: boolean;
}

function activeSlots(slots: readonly SessionSlot[]): ActiveSlot[] {
  return slots.flatMap(({ use, entity }, index): ActiveSlot[] => {
    if (!("session" in use)) return [];
    const { session, attributes } = use;
    const includesAuth = entity !== undefined && session.includesAuth(entity.auth, entity.name);
    return [{ index, session, attributes, entity, includesAuth }];
  });
}

/**
 * Authorizes a command: takes a new nonceCaller for each session, encrypts the first parameter if a session is to, and computes
 * the HMACs. `names` are the Names of the command's handles.
 */
export function authorizeCommand(
  areas: CommandAreas,
  names: readonly Uint8Array[],
  slots: readonly SessionSlot[],
): CommandAuthorization {
  const active = activeSlots(slots);
  let { parameters } = areas;
  for (const { session, attributes, entity } of active) {
    session.nonceCaller = randomBytes(digestLength(session.authHash));
    if (!attributes.decrypt) continue;
    const nonces = { newer: session.nonceCaller, older: session.nonceTPM };
    parameters = cryptFirst(parameters, (content) => session.crypt("encrypt", content, entity?.auth, nonces));
  }
  const covered = concatBytes(uintBytes(areas.commandCode, 4), ...names, parameters);
  const ours = new Map(active.map((slot) => [slot.index, commandSession(slot, covered, extraNonces(slot, active))]));
  return {
    areas: { ...areas, parameters },
    sessions: slots.map(({ use }, i) => ours.get(i) ?? (use as RawSession)),
    verify: (answer, sessions) => verifyResponse(areas.commandCode, answer, active, sessions),
  };
}

/** `parameters` with the content of the first, which follows its two bytes of size, changed. */
function cryptFirst(parameters: Uint8Array, crypt: (content: Uint8Array) => Uint8Array): Uint8Array {
  const size = ((parameters[0] ?? 0) << 8) | (parameters[1] ?? 0);
  const changed = parameters.slice();
  changed.set(crypt(parameters.subarray(2, 2 + size)), 2);
  return changed;
}

/** nonceTPMdecrypt and nonceTPMencrypt, which tie sessions that encrypt to the one that authorizes first. */
function extraNonces(slot: ActiveSlot, active: readonly ActiveSlot[]): Uint8Array[] {
  if (slot.index !== 0 || !slot.entity) return [];
  const others = active.filter((other) => other !== slot);
  return [
    ...others.filter(({ attributes }) => attributes.decrypt),
    ...others.filter(({ attributes }) => attributes.encrypt && !attributes.decrypt),
  ].map(({ session }) => session.nonceTPM);
}

function commandSession(slot: ActiveSlot, covered: Uint8Array, nonces: readonly Uint8Array[]): RawSession {
  const { session, entity } = slot;
  const sessionAttributes = attributesByte(slot.attributes);
  const parts = { sessionHandle: session.handle, nonce: session.nonceCaller, sessionAttributes };
  if (session.policyAuth === "password" && entity) return { ...parts, hmac: entity.auth };
  const key = session.keyWith(slot.includesAuth ? entity?.auth : undefined);
  if (hasNoHmac(slot, key)) return { ...parts, hmac: new Uint8Array() };
  const digest = hash(session.authHash, covered);
  const attributes = uintBytes(sessionAttributes, 1);
  const value = hmac(session.authHash, key, digest, session.nonceCaller, session.nonceTPM, ...nonces, attributes);
  return { ...parts, hmac: value };
}

/** A policy without a key has no HMAC, nor one that took a password in the clear (Part 1, 19.6.14). */
function hasNoHmac({ session, entity }: ActiveSlot, key: Uint8Array): boolean {
  if (session.sessionType === "HMAC") return false;
  return key.length === 0 || (session.policyAuth === "password" && entity !== undefined);
}

function verifyResponse(
  commandCode: number,
  parameters: Uint8Array,
  active: readonly ActiveSlot[],
  answered: readonly ResponseSession[],
): Uint8Array {
  const covered = concatBytes(uintBytes(0, 4), uintBytes(commandCode, 4), parameters);
  let plain = parameters;
  for (const slot of active) {
    const { session, entity } = slot;
    const answer = answered[slot.index];
    if (!answer) throw new ResponseHmacError(`the response has no session ${slot.index + 1}`);
    session.nonceTPM = answer.nonce;
    const auth = entity && (entity.authAfter ?? entity.auth);
    const key = session.keyWith(slot.includesAuth ? auth : undefined);
    const attributes = uintBytes(answer.attributes, 1);
    const expected = hasNoHmac(slot, key)
      ? new Uint8Array()
      : hmac(session.authHash, key, hash(session.authHash, covered), answer.nonce, session.nonceCaller, attributes);
    if (!equalBytes(expected, answer.hmac)) {
      throw new ResponseHmacError(`the HMAC of session ${slot.index + 1} in the response is wrong`);
    }
    if (answer.attributes & ENCRYPT) {
      const nonces = { newer: answer.nonce, older: session.nonceCaller };
      plain = cryptFirst(plain, (content) => session.crypt("decrypt", content, auth, nonces));
    }
  }
  return plain;
}
