// The caller's side of sessions (Part 1, 19.6 "Session-based authorizations" and 21 "Session-based encryption"): HMACs of
// commands and responses, and encryption of the first parameter.
import { concatBytes, equalBytes } from "./bytes.ts";
import { aesCfb, digestLength, type HashName, kdfa } from "./crypto.ts";

/** What encrypts parameters: TPMT_SYM_DEF with AES in CFB mode, XOR with a hash, or nothing. */
export type SessionCipher =
  | { readonly algorithm: "TPM_ALG_AES"; readonly keyBits: 128 | 192 | 256; readonly mode: "TPM_ALG_CFB" }
  | { readonly algorithm: "TPM_ALG_XOR"; readonly keyBits: HashName }
  | { readonly algorithm: "TPM_ALG_NULL" };

/** How a session is to be used with one command. */
export interface SessionAttributes {
  /** The session stays after the command; so it does when left out. */
  readonly continueSession?: boolean;
  /** The session encrypts the first parameter of the command: the TPM decrypts it. */
  readonly decrypt?: boolean;
  /** The TPM encrypts the first parameter of the response. */
  readonly encrypt?: boolean;
  readonly audit?: boolean;
  readonly auditExclusive?: boolean;
  readonly auditReset?: boolean;
}

/** A session with the attributes that one command gives it. */
export interface SessionUse {
  readonly session: AuthSession;
  readonly attributes: SessionAttributes;
}

export interface AuthSessionOptions {
  readonly handle: number;
  readonly sessionType: "HMAC" | "POLICY" | "TRIAL";
  readonly authHash: HashName;
  readonly symmetric: SessionCipher;
  /** authValue of the entity the session is bound to, then the salt; missing for a session without either (Part 1, 19.6.8). */
  readonly keyMaterial?: Uint8Array;
  readonly nonceCaller: Uint8Array;
  readonly nonceTPM: Uint8Array;
  /** Name and authValue of the entity the session is bound to. */
  readonly bound?: { readonly name: Uint8Array; readonly auth: Uint8Array };
}

/** An authorization session of a TPM, as its caller sees it. It can stand where a command wants the session's handle. */
export class AuthSession {
  readonly handle: number;
  readonly sessionType: "HMAC" | "POLICY" | "TRIAL";
  readonly authHash: HashName;
  readonly symmetric: SessionCipher;
  /** Of the last command. */
  nonceCaller: Uint8Array;
  /** Of the last response: what TPM2_PolicySigned and TPM2_PolicySecret take as nonceTPM. */
  nonceTPM: Uint8Array;
  /** What the policy says about the authValue: TPM2_PolicyAuthValue puts it into the HMAC, TPM2_PolicyPassword into the clear. */
  policyAuth: "none" | "authValue" | "password" = "none";
  private readonly sessionKey: Uint8Array;
  private readonly bound: { readonly name: Uint8Array; readonly auth: Uint8Array } | undefined;

  /** Of a session that TPM2_StartAuthSession has just started. */
  constructor(options: AuthSessionOptions) {
    this.handle = options.handle;
    this.sessionType = options.sessionType;
    this.authHash = options.authHash;
    this.symmetric = options.symmetric;
    this.nonceCaller = options.nonceCaller;
    this.nonceTPM = options.nonceTPM;
    this.bound = options.bound && { name: options.bound.name, auth: trimmed(options.bound.auth) };
    const { authHash, keyMaterial, nonceTPM, nonceCaller } = options;
    const bits = digestLength(authHash) * 8;
    this.sessionKey = keyMaterial ? kdfa(authHash, keyMaterial, "ATH", nonceTPM, nonceCaller, bits) : new Uint8Array();
  }

  /** The session with these attributes, for one command. */
  use(attributes: SessionAttributes): SessionUse {
    return { session: this, attributes };
  }

  /**
   * Whether the authValue of the entity that the session authorizes is part of the HMAC's key: always for an HMAC session, unless
   * it is bound to that entity and has the authValue in its session key; for a policy session if the policy says so.
   */
  includesAuth(auth: Uint8Array, name: Uint8Array): boolean {
    if (this.sessionType !== "HMAC") return this.policyAuth === "authValue";
    if (!this.bound) return true;
    return !equalBytes(this.bound.name, name) || !equalBytes(this.bound.auth, trimmed(auth));
  }

  /** The session key, followed by an entity's authValue if there is one to add (Part 1, 19.6.5 and 21.2). */
  keyWith(auth: Uint8Array | undefined): Uint8Array {
    return auth ? concatBytes(this.sessionKey, trimmed(auth)) : this.sessionKey;
  }

  /** Encrypts or decrypts a parameter; `auth` is of the entity that the session authorizes, if any. */
  crypt(
    direction: "encrypt" | "decrypt",
    data: Uint8Array,
    auth: Uint8Array | undefined,
    nonces: { newer: Uint8Array; older: Uint8Array },
  ): Uint8Array {
    const key = this.keyWith(auth);
    const { newer, older } = nonces;
    switch (this.symmetric.algorithm) {
      case "TPM_ALG_XOR": {
        const mask = kdfa(this.authHash, key, "XOR", newer, older, data.length * 8);
        return data.map((byte, i) => byte ^ (mask[i] ?? 0));
      }
      case "TPM_ALG_AES": {
        const keyBytes = this.symmetric.keyBits / 8;
        const material = kdfa(this.authHash, key, "CFB", newer, older, this.symmetric.keyBits + 128);
        return aesCfb(direction, material.subarray(0, keyBytes), material.subarray(keyBytes), data);
      }
      default:
        throw new Error("the session was started without a symmetric algorithm: it cannot encrypt");
    }
  }
}

/** An authValue as the TPM uses it: without trailing zero bytes (Part 1, 19.6.5). */
function trimmed(auth: Uint8Array): Uint8Array {
  let length = auth.length;
  while (length > 0 && auth[length - 1] === 0) length--;
  return auth.subarray(0, length);
}
