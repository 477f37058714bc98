// The caller's side of a session, for one TPM (Part 1, 19.6 and 21), independent of the project's codec.
import { createCipheriv, createDecipheriv, createHash, createHmac } from "node:crypto";
import type { SessionStart, SessionUse } from "./engine-steps.ts";
import { bytesOf } from "./recorded.ts";

/** By TPM_ALG_ID. */
export const HASH_NAMES: Readonly<Record<number, string>> = { 4: "sha1", 11: "sha256", 12: "sha384", 13: "sha512" };
const ALG = { AES: 6, XOR: 10 } as const;
const ATTRIBUTE = { continueSession: 1, encrypt: 0x40 } as const;

const u32be = (value: number) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

/** Bytes of a digest. */
export const digestSizeOf = (algorithm: number): number => digestOf(algorithm).length;

export function digestOf(algorithm: number, ...parts: Uint8Array[]): Uint8Array {
  const hash = createHash(HASH_NAMES[algorithm] ?? "sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function hmacOf(algorithm: number, key: Uint8Array, ...parts: Uint8Array[]): Uint8Array {
  const hmac = createHmac(HASH_NAMES[algorithm] ?? "sha256", key);
  for (const part of parts) hmac.update(part);
  return hmac.digest();
}

/** KDFa (Part 1, 11.4.10.2), `length` in bytes. */
function kdfa(algorithm: number, key: Uint8Array, label: string, u: Uint8Array, v: Uint8Array, length: number) {
  const blocks: Uint8Array[] = [];
  const text = Buffer.from(`${label}\0`);
  for (let have = 0; have < length; have += blocks.at(-1)!.length) {
    blocks.push(hmacOf(algorithm, key, u32be(blocks.length + 1), text, u, v, u32be(8 * length)));
  }
  return Buffer.concat(blocks).subarray(0, length);
}

/** An authValue without the zeros at its end. */
function trimmed(auth: string): Uint8Array {
  return bytesOf(auth.replace(/(00)+$/, ""));
}

/** A session of a TPM after TPM2_StartAuthSession. */
export class Session {
  readonly #start: SessionStart;
  readonly #firstNonce: Uint8Array;
  readonly #salt: Uint8Array;
  readonly #key: Uint8Array;
  readonly handle: number;
  nonceTPM: Uint8Array;

  /** @param salt what the TPM found in `encryptedSalt`; empty without one. */
  constructor(start: SessionStart, handle: number, nonceTPM: Uint8Array, salt: Uint8Array) {
    this.#start = start;
    this.#salt = salt;
    this.#firstNonce = nonceTPM;
    this.handle = handle;
    this.nonceTPM = nonceTPM;
    const secret = Buffer.concat([trimmed(start.bindAuth ?? ""), salt]);
    this.#key =
      start.bindAuth === undefined && salt.length === 0
        ? new Uint8Array()
        : kdfa(start.authHash, secret, "ATH", nonceTPM, bytesOf(start.nonceCaller), digestSizeOf(start.authHash));
  }

  copy(): Session {
    const copy = new Session(this.#start, this.handle, this.#firstNonce, this.#salt);
    copy.nonceTPM = this.nonceTPM;
    return copy;
  }

  get authHash(): number {
    return this.#start.authHash;
  }

  #keyWith(auth: string | undefined): Uint8Array {
    return auth === undefined ? this.#key : Buffer.concat([this.#key, trimmed(auth)]);
  }

  /** The HMAC of a command; `covered` is command code, Names and parameters, `others` the nonces of sessions that encrypt. */
  commandHmac(use: SessionUse, covered: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
    if (use.proof === "password" && use.auth !== undefined) return bytesOf(use.auth);
    const key = this.#keyWith(use.proof === "authValue" ? use.auth : undefined);
    if (this.#start.policy && key.length === 0) return new Uint8Array();
    const digest = digestOf(this.authHash, covered);
    const nonces = [bytesOf(use.nonceCaller), this.nonceTPM, ...others];
    return hmacOf(this.authHash, key, digest, ...nonces, Uint8Array.of(use.attributes));
  }

  /** What has to stand in the response; `covered` is response code, command code and parameters. */
  responseHmac(use: SessionUse, covered: Uint8Array, nonceTPM: Uint8Array, attributes: number): Uint8Array {
    const auth = use.authAfter ?? use.auth;
    const key = this.#keyWith(use.proof === "authValue" ? auth : undefined);
    // After TPM2_PolicyPassword there is none, even if the session authorized nothing.
    if (this.#start.policy && (key.length === 0 || use.proof === "password")) return new Uint8Array();
    const digest = digestOf(this.authHash, covered);
    return hmacOf(this.authHash, key, digest, nonceTPM, bytesOf(use.nonceCaller), Uint8Array.of(attributes));
  }

  /** Encrypts the first parameter of a command or decrypts that of a response. */
  crypt(direction: "encrypt" | "decrypt", use: SessionUse, data: Uint8Array, nonceTPM = this.nonceTPM): Uint8Array {
    if (data.length === 0) return data;
    const auth = direction === "decrypt" ? (use.authAfter ?? use.auth) : use.auth;
    const key = this.#keyWith(auth);
    const caller = bytesOf(use.nonceCaller);
    const [newer, older] = direction === "encrypt" ? [caller, nonceTPM] : [nonceTPM, caller];
    if (this.#start.cipher === ALG.XOR) {
      const mask = kdfa(this.authHash, key, "XOR", newer, older, data.length);
      return data.map((byte, i) => byte ^ mask[i]!);
    }
    if (this.#start.cipher !== ALG.AES) return data;
    const keyLength = this.#start.keyBits / 8;
    const material = kdfa(this.authHash, key, "CFB", newer, older, keyLength + 16);
    const make = direction === "encrypt" ? createCipheriv : createDecipheriv;
    const cipher = make(
      `aes-${this.#start.keyBits}-cfb`,
      material.subarray(0, keyLength),
      material.subarray(keyLength),
    );
    return Buffer.concat([cipher.update(data), cipher.final()]);
  }
}

export const encrypts = (attributes: number): boolean => (attributes & ATTRIBUTE.encrypt) !== 0;
export const stays = (attributes: number): boolean => (attributes & ATTRIBUTE.continueSession) !== 0;
