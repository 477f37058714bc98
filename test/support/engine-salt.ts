// A secret that a caller shares with a key of a TPM (Part 1, B.10.2 and C.6.1), by node:crypto.
import { constants, createECDH, createHash, createPublicKey, publicEncrypt, randomBytes } from "node:crypto";
import { digestSizeOf, HASH_NAMES } from "./engine-session.ts";

/** A secret, and what the TPM is sent to find it: TPM2B_ENCRYPTED_SECRET without its size. */
export interface SharedSecret {
  readonly secret: Uint8Array;
  readonly encrypted: Uint8Array;
}

const [RSA, ECC, NULL, ECDAA, RSAES] = [0x0001, 0x0023, 0x0010, 0x001a, 0x0015];
/** OpenSSL's names of TPM_ECC_CURVE. */
const CURVES: Readonly<Record<number, string>> = {
  1: "prime192v1",
  2: "secp224r1",
  3: "prime256v1",
  4: "secp384r1",
  5: "secp521r1",
};

/**
 * Makes a secret for a key.
 *
 * @param publicArea TPMT_PUBLIC.
 * @param label such as "SECRET".
 * @returns undefined for a key that no secret can be shared with.
 */
export function shareSecret(publicArea: Uint8Array, label: string): SharedSecret | undefined {
  if (publicArea.length < 10) return undefined;
  const area = new Reader(publicArea);
  const [type, nameAlg] = [area.u16(), area.u16()];
  if (!(nameAlg in HASH_NAMES)) return undefined;
  area.skip(4);
  area.sized();
  const text = Buffer.from(`${label}\0`);
  if (type === RSA) return forRsa(area, nameAlg, text);
  return type === ECC ? forEcc(area, nameAlg, text) : undefined;
}

function forRsa(area: Reader, nameAlg: number, label: Buffer): SharedSecret {
  area.symmetric();
  const scheme = area.u16();
  if (scheme !== NULL && scheme !== RSAES) area.skip(2);
  area.skip(2);
  const exponent = area.u32() || 65537;
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
  const e = Uint8Array.of(exponent >>> 24, exponent >>> 16, exponent >>> 8, exponent);
  const key = createPublicKey({
    format: "jwk",
    key: { kty: "RSA", n: text(area.sized()), e: text(e.subarray(e.findIndex((byte) => byte !== 0))) },
  });
  const secret = randomBytes(digestSizeOf(nameAlg));
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const encrypted = publicEncrypt({ key, padding, oaepHash: HASH_NAMES[nameAlg]!, oaepLabel: label }, secret);
  return { secret, encrypted };
}

function forEcc(area: Reader, nameAlg: number, label: Buffer): SharedSecret | undefined {
  area.symmetric();
  area.scheme();
  const curve = CURVES[area.u16()];
  area.scheme();
  const [x, y] = [area.sized(), area.sized()];
  if (curve === undefined || x.length === 0) return undefined;
  const own = createECDH(curve);
  const point = own.generateKeys().subarray(1);
  const [ownX, ownY] = [point.subarray(0, point.length / 2), point.subarray(point.length / 2)];
  const padded = (bytes: Uint8Array) => Buffer.concat([Buffer.alloc(ownX.length - bytes.length), bytes]);
  const z = own.computeSecret(Buffer.concat([Uint8Array.of(4), padded(x), padded(y)]));
  // KDFe (Part 1, 11.4.10.3): one round gives as much as the secret has.
  const hash = createHash(HASH_NAMES[nameAlg]!)
    .update(Uint8Array.of(0, 0, 0, 1))
    .update(z)
    .update(label);
  const secret = hash.update(ownX).update(x).digest();
  const sized = (bytes: Uint8Array) => Buffer.concat([Uint8Array.of(bytes.length >> 8, bytes.length), bytes]);
  return { secret, encrypted: Buffer.concat([sized(ownX), sized(ownY)]) };
}

/** Reads TPMT_PUBLIC. */
class Reader {
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  skip(size: number): void {
    this.#at += size;
  }
  u16(): number {
    this.#at += 2;
    return this.#view.getUint16(this.#at - 2);
  }
  u32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4);
  }
  /** The bytes of a TPM2B. */
  sized(): Uint8Array {
    const size = this.u16();
    this.#at += size;
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.#at - size, size);
  }
  /** TPMT_SYM_DEF_OBJECT. */
  symmetric(): void {
    if (this.u16() !== NULL) this.skip(4);
  }
  /** TPMT_ECC_SCHEME, or a TPMT_KDF_SCHEME. */
  scheme(): void {
    const scheme = this.u16();
    if (scheme !== NULL) this.skip(scheme === ECDAA ? 4 : 2);
  }
}
