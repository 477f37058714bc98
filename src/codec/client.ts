// A client of any TPM 2.0: typed commands over a function that carries bytes.
import { findCommand } from "../spec/registry.ts";
import type { CommandDefinition } from "../spec/types.ts";
import { authorizeCommand, type SessionSlot } from "./authorization.ts";
import { fromHex } from "./bytes.ts";
import {
  assembleCommand,
  type CommandName,
  encodeCommandAreas,
  type PasswordSession,
  passwordSession,
  type RawSession,
} from "./command.ts";
import { digestLength, hashName, randomBytes } from "./crypto.ts";
import { encodeValue } from "./encoder.ts";
import type * as inputs from "./generated/inputs.ts";
import type * as values from "./generated/values.ts";
import { handleName, nameKind, nvIndexName, objectName } from "./name.ts";
import { decodeResponseParameters, type ResponseAreas, splitResponse } from "./response.ts";
import { describeResponseCode, parseResponseCode, type ResponseCodeParts } from "./response-code.ts";
import { shareSecret } from "./salt.ts";
import { AuthSession, type SessionCipher, type SessionUse } from "./session.ts";
import { CodecError } from "./values.ts";

export { ResponseHmacError } from "./authorization.ts";
export { nvIndexName, objectName } from "./name.ts";
export { AuthSession, type SessionAttributes, type SessionUse } from "./session.ts";

/** Carries a command to a TPM and its response back. */
export type Transport = (command: Uint8Array) => Uint8Array | Promise<Uint8Array>;

/** Something that has a handle, with what is known about it. */
export interface Entity {
  readonly handle: number;
  /** Its authValue: bytes or hexadecimal digits; empty when left out. */
  readonly auth?: inputs.Bytes;
  /** Its Name, for sessions; the client asks the TPM when it is left out. */
  readonly name?: Uint8Array;
}

/** A session of a command; an AuthSession stands for its use with no attribute but continueSession. */
export type ClientSession = AuthSession | SessionUse | PasswordSession | RawSession;

/** Handles and parameters of a command; a handle may be an entity with its authValue. */
export type ClientInput<Name extends CommandName> = {
  readonly [Area in keyof inputs.Commands[Name]]: Area extends "handles"
    ? { readonly [Handle in keyof inputs.Commands[Name][Area]]: inputs.Commands[Name][Area][Handle] | Entity }
    : inputs.Commands[Name][Area];
} & {
  /** In the order of the handles that need authorization, then those that only encrypt or audit. */
  readonly sessions?: readonly ClientSession[];
};

/** A response code other than TPM_RC_SUCCESS. */
export class TpmError extends Error {
  override readonly name = "TpmError";
  readonly command: string;
  readonly responseCode: number;
  /** What the response code says. */
  readonly parts: ResponseCodeParts;

  constructor(command: string, responseCode: number) {
    super(`TPM2_${command}: ${describeResponseCode(responseCode)}`);
    this.command = command;
    this.responseCode = responseCode;
    this.parts = parseResponseCode(responseCode);
  }
}

export interface StartAuthSessionOptions {
  /** "HMAC" when left out. */
  readonly sessionType?: "HMAC" | "POLICY" | "TRIAL";
  /** SHA256 when left out. */
  readonly authHash?: "SHA1" | "SHA256" | "SHA384" | "SHA512";
  /** What encrypts parameters: AES-128 in CFB mode, XOR with the session's hash; nothing when left out. */
  readonly symmetric?: "AES128" | "AES192" | "AES256" | "XOR";
  /** A loaded key with which the session's salt is encrypted, so that who listens cannot compute the session's key. */
  readonly tpmKey?: { readonly handle: number };
  /** The entity whose authValue becomes part of the session's key. */
  readonly bind?: Entity;
}

/** Where the authValue of an authorized entity is after a command that changes it: a parameter, or empty. */
const changedAuth: Readonly<Record<string, { handle: number; parameter?: string; only?: number }>> = {
  HierarchyChangeAuth: { handle: 0, parameter: "newAuth" },
  NV_ChangeAuth: { handle: 0, parameter: "newAuth" },
  PCR_SetAuthValue: { handle: 0, parameter: "auth" },
  // With lockoutAuth, which TPM2_Clear empties; platformAuth stays.
  Clear: { handle: 0, only: 0x4000000a },
  NV_UndefineSpaceSpecial: { handle: 0 },
};

const TPM_RC_RETRY = 0x922;
/** How often a command is sent when the TPM answers TPM_RC_RETRY. */
const MAX_ATTEMPTS = 5;

/** What the client does when the policy of a session changes how the session authorizes. */
const policyAuthAfter: Readonly<Record<string, AuthSession["policyAuth"]>> = {
  PolicyAuthValue: "authValue",
  PolicyPassword: "password",
  PolicyRestart: "none",
};

/** Sends commands to a TPM 2.0. */
export class TpmClient {
  private readonly transport: Transport;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  /**
   * Sends a command and returns the handle and the parameters of its response by their names. A handle that needs
   * authorization and has no session gets a password session with its entity's authValue.
   *
   * Throws CodecError for values that are not the command's, TpmError for a response code other than TPM_RC_SUCCESS,
   * ResponseHmacError for a response that the TPM has not made.
   */
  async command<Name extends CommandName>(
    name: Name,
    ...[input]: Record<never, never> extends inputs.Commands[Name] ? [input?: ClientInput<Name>] : [ClientInput<Name>]
  ): Promise<values.Commands[Name]> {
    return (await this.run(name, (input ?? {}) as UntypedInput)) as unknown as values.Commands[Name];
  }

  private async run(name: string, input: UntypedInput): Promise<Record<string, unknown>> {
    const definition = findCommand(name);
    if (!definition) throw new CodecError("", `the specification has no command ${name}`);
    const areas = encodeCommandAreas(name, { ...input, handles: plainHandles(input.handles ?? {}) });
    const entities = entitiesOf(definition, input.handles ?? {}, areas.handles);
    const uses = sessionUses(definition, entities, input.sessions ?? []);
    const needsNames = uses.some((use) => "session" in use);
    const names = needsNames ? await this.namesOf(entities) : [];
    const slots = uses.map((use, i) => slotOf(definition, use, i, entities, names, input));

    const authorization = authorizeCommand(areas, names, slots);
    const response = await this.exchange(name, assembleCommand(authorization.areas, authorization.sessions));
    if (response.responseCode !== 0) throw new TpmError(name, response.responseCode);
    const parameters = authorization.verify(response.parameters, response.sessions);
    const policyAuth = policyAuthAfter[definition.name];
    if (policyAuth) notePolicy(input.handles ?? {}, policyAuth);
    const handle = definition.responseHandle;
    return {
      ...(handle ? { [handle[0]]: response.handle } : {}),
      ...decodeResponseParameters(name, parameters),
    };
  }

  /** Sends a command, again when the TPM asks for that (it must first note the use of a protected authValue, for example). */
  private async exchange(name: string, command: Uint8Array): Promise<ResponseAreas> {
    for (let attempt = 1; ; attempt++) {
      const response = splitResponse(name, await this.transport(command));
      if (response.responseCode !== TPM_RC_RETRY || attempt === MAX_ATTEMPTS) return response;
    }
  }

  /** The Names of a command's entities; one that stands there twice (an NV Index that authorizes itself) is asked for once. */
  private async namesOf(entities: readonly Entity[]): Promise<Uint8Array[]> {
    const known = new Map<number, Uint8Array>();
    const names: Uint8Array[] = [];
    for (const entity of entities) {
      const name = known.get(entity.handle) ?? (await this.nameOf(entity));
      known.set(entity.handle, name);
      names.push(name);
    }
    return names;
  }

  /** The Name of an entity: as given, or computed from the public area that the TPM shows. */
  async nameOf(entity: Entity): Promise<Uint8Array> {
    if (entity.name) return entity.name;
    switch (nameKind(entity.handle)) {
      case "object":
        return objectName((await this.command("ReadPublic", { handles: { objectHandle: entity.handle } })).outPublic);
      case "nvIndex":
        return nvIndexName((await this.command("NV_ReadPublic", { handles: { nvIndex: entity.handle } })).nvPublic);
      default:
        return handleName(entity.handle);
    }
  }

  /** TPM2_Startup; a TPM that was started already is left as it is. */
  async startup(startupType: "CLEAR" | "STATE" = "CLEAR"): Promise<void> {
    try {
      await this.command("Startup", { parameters: { startupType } });
    } catch (error) {
      if (!(error instanceof TpmError) || error.parts.name !== "TPM_RC_INITIALIZE") throw error;
    }
  }

  /** TPM2_StartAuthSession. End the session with TPM2_FlushContext, or by a last use without continueSession. */
  async startAuthSession(options: StartAuthSessionOptions = {}): Promise<AuthSession> {
    const { sessionType = "HMAC", tpmKey, bind } = options;
    const authHash = hashName(options.authHash ?? "SHA256");
    const symmetric = cipherOf(options);
    const salt = tpmKey && (await this.saltFor(tpmKey.handle));
    const nonceCaller = randomBytes(digestLength(authHash));
    const bound = bind && { name: await this.nameOf(bind), auth: bytesOf(bind.auth) };
    const { sessionHandle, nonceTPM } = await this.command("StartAuthSession", {
      handles: { tpmKey: tpmKey?.handle ?? "NULL", bind: bind?.handle ?? "NULL" },
      parameters: { nonceCaller, encryptedSalt: salt?.encrypted ?? "", sessionType, symmetric, authHash },
    });
    const keyMaterial = salt || bound ? { keyMaterial: concat(bound?.auth, salt?.secret) } : {};
    const common = { handle: sessionHandle, sessionType, authHash, symmetric, nonceCaller, nonceTPM };
    return new AuthSession({ ...common, ...keyMaterial, ...(bound ? { bound } : {}) });
  }

  private async saltFor(objectHandle: number): ReturnType<typeof shareSecret> {
    const { outPublic } = await this.command("ReadPublic", { handles: { objectHandle } });
    return shareSecret(outPublic, "SECRET");
  }
}

type HandleInput = number | string | Entity | AuthSession;

interface UntypedInput {
  readonly handles?: Readonly<Record<string, HandleInput>>;
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly sessions?: readonly ClientSession[];
}

/** Handles as the encoder takes them. */
function plainHandles(handles: Readonly<Record<string, HandleInput>>): Record<string, number | string> {
  const plain = Object.entries(handles).map(([name, value]) => [
    name,
    typeof value === "object" ? value.handle : value,
  ]);
  return Object.fromEntries(plain);
}

/** The entities of a command's handle area, in its order. */
function entitiesOf(
  definition: CommandDefinition,
  handles: Readonly<Record<string, HandleInput>>,
  area: Uint8Array,
): Entity[] {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  return (definition.handles ?? []).map(([name], i) => {
    const given = handles[name];
    const known = typeof given === "object" && !(given instanceof AuthSession) ? given : {};
    return { ...known, handle: view.getUint32(4 * i) };
  });
}

function bytesOf(value: inputs.Bytes | undefined): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const bytes = fromHex(value ?? "");
  if (!bytes) throw new CodecError("auth", "must be a Uint8Array or hexadecimal digits");
  return bytes;
}

const concat = (a: Uint8Array = new Uint8Array(), b: Uint8Array = new Uint8Array()): Uint8Array =>
  Uint8Array.from([...a, ...b]);

/** The sessions given, and password sessions for handles that need more. */
function sessionUses(
  definition: CommandDefinition,
  entities: readonly Entity[],
  sessions: readonly ClientSession[],
): (SessionUse | RawSession)[] {
  const uses = sessions.map((session) => {
    if (session instanceof AuthSession) return session.use({});
    return "password" in session ? passwordSession(session) : session;
  });
  (definition.handles ?? []).forEach(([, , role], i) => {
    if (role && i >= uses.length) uses.push(passwordSession({ password: bytesOf(entities[i]?.auth) }));
  });
  return uses;
}

function slotOf(
  definition: CommandDefinition,
  use: SessionUse | RawSession,
  index: number,
  entities: readonly Entity[],
  names: readonly Uint8Array[],
  input: UntypedInput,
): SessionSlot {
  const entity = entities[index];
  const name = names[index];
  if (!definition.handles?.[index]?.[2] || !entity || !name) return { use };
  const authAfter = authAfterCommand(definition, index, entity, input);
  return { use, entity: { name, auth: bytesOf(entity.auth), ...(authAfter ? { authAfter } : {}) } };
}

/** The authValue of an entity in the response of a command that changes it. */
function authAfterCommand(
  definition: CommandDefinition,
  index: number,
  entity: Entity,
  input: UntypedInput,
): Uint8Array | undefined {
  const change = changedAuth[definition.name];
  if (!change || change.handle !== index || (change.only !== undefined && change.only !== entity.handle))
    return undefined;
  if (change.parameter === undefined) return new Uint8Array();
  return encodeValue(
    "TPM2B_AUTH",
    input.parameters?.[change.parameter],
    `parameters.${change.parameter}`,
  ).bytes.subarray(2);
}

/** Remembers in a policy session what its policy says about the authValue. */
function notePolicy(handles: Readonly<Record<string, HandleInput>>, policyAuth: AuthSession["policyAuth"]): void {
  for (const session of Object.values(handles)) if (session instanceof AuthSession) session.policyAuth = policyAuth;
}

function cipherOf({ symmetric, authHash }: StartAuthSessionOptions): SessionCipher {
  switch (symmetric) {
    case undefined:
      return { algorithm: "TPM_ALG_NULL" };
    case "XOR":
      return { algorithm: "TPM_ALG_XOR", keyBits: hashName(authHash ?? "SHA256") };
    default:
      return {
        algorithm: "TPM_ALG_AES",
        keyBits: Number(symmetric.slice(3)) as 128 | 192 | 256,
        mode: "TPM_ALG_CFB",
      };
  }
}
