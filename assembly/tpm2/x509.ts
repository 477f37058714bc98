// What TPM2_CertifyX509 knows of certificates (RFC 5280): encodings of keys and signature algorithms, and the extensions that
// have to agree with a key's attributes.
import { rsaPssSaltSize } from "../crypto/rsa-padding";
import {
  DER_BIT_STRING,
  DER_CONTEXT,
  DER_OCTET_STRING,
  DER_SEQUENCE,
  DerReader,
  derAlgorithm,
  derByte,
  derBytes,
  derInteger,
  derNext,
  derOid,
  derPosition,
  derUint,
  derWrap,
} from "./der";
import {
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_fixedTPM,
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_sign,
  TPM_ALG_ECC,
  TPM_ALG_ECDSA,
  TPM_ALG_RSA,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SHA512,
  TPM_ECC_NIST_P192,
  TPM_ECC_NIST_P224,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
  TPM_ECC_NIST_P521,
  TPM_ECC_SM2_P256,
  TPM_RC_ATTRIBUTES,
  TPM_RC_RESERVED_BITS,
  TPM_RC_VALUE,
} from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { TPMT_SIG_SCHEME } from "./generated/structures";
import { hashNumber } from "./hash";

// Object identifiers: tag, length, content (RFC 4055, 5480, 5758, 8017; TCG).
const RSA_ENCRYPTION = memory.data<u8>([6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]);
const RSA_PSS = memory.data<u8>([6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]);
const MGF1 = memory.data<u8>([6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8]);
const SHA1_WITH_RSA = memory.data<u8>([6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5]);
const SHA256_WITH_RSA = memory.data<u8>([6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]);
const SHA384_WITH_RSA = memory.data<u8>([6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12]);
const SHA512_WITH_RSA = memory.data<u8>([6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13]);
const SHA1 = memory.data<u8>([6, 5, 0x2b, 0x0e, 3, 2, 0x1a]);
const SHA256 = memory.data<u8>([6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]);
const SHA384 = memory.data<u8>([6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2]);
const SHA512 = memory.data<u8>([6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3]);
const ECDSA_SHA1 = memory.data<u8>([6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]);
const ECDSA_SHA256 = memory.data<u8>([6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
const ECDSA_SHA384 = memory.data<u8>([6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]);
const ECDSA_SHA512 = memory.data<u8>([6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4]);
const EC_PUBLIC_KEY = memory.data<u8>([6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]);
const P192 = memory.data<u8>([6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1]);
const P224 = memory.data<u8>([6, 5, 0x2b, 0x81, 4, 0, 0x21]);
const P256 = memory.data<u8>([6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
const P384 = memory.data<u8>([6, 5, 0x2b, 0x81, 4, 0, 0x22]);
const P521 = memory.data<u8>([6, 5, 0x2b, 0x81, 4, 0, 0x23]);
const SM2_P256 = memory.data<u8>([6, 8, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 1, 0x82, 0x2d]);
const KEY_USAGE = memory.data<u8>([6, 3, 0x55, 0x1d, 0x0f]);
const TCG_TPMA_OBJECT = memory.data<u8>([6, 7, 0x67, 0x81, 5, 10, 1, 1, 1]);

const DEFAULT_EXPONENT: u32 = 65537;

// KeyUsage (RFC 5280, 4.2.1.3), its first bit in bit 31.
const USAGE_DIGITAL_SIGNATURE: u32 = 1 << 31;
const USAGE_NON_REPUDIATION: u32 = 1 << 30;
const USAGE_KEY_ENCIPHERMENT: u32 = 1 << 29;
const USAGE_DATA_ENCIPHERMENT: u32 = 1 << 28;
const USAGE_KEY_AGREEMENT: u32 = 1 << 27;
const USAGE_KEY_CERT_SIGN: u32 = 1 << 26;
const USAGE_CRL_SIGN: u32 = 1 << 25;
const USAGE_ENCIPHER_ONLY: u32 = 1 << 24;
const USAGE_DECIPHER_ONLY: u32 = 1 << 23;
const USAGE_SIGNS: u32 = USAGE_DIGITAL_SIGNATURE | USAGE_KEY_CERT_SIGN | USAGE_CRL_SIGN;
const USAGE_DECRYPTS: u32 =
  USAGE_KEY_ENCIPHERMENT | USAGE_DATA_ENCIPHERMENT | USAGE_KEY_AGREEMENT | USAGE_ENCIPHER_ONLY | USAGE_DECIPHER_ONLY;
const USAGE_RESERVED: u32 = 0x007fffff;

function curveOid(curve: u32): usize {
  switch (curve) {
    case TPM_ECC_NIST_P192:
      return P192;
    case TPM_ECC_NIST_P224:
      return P224;
    case TPM_ECC_NIST_P256:
      return P256;
    case TPM_ECC_NIST_P384:
      return P384;
    case TPM_ECC_NIST_P521:
      return P521;
    case TPM_ECC_SM2_P256:
      return SM2_P256;
  }
  return 0;
}

@inline
function byHash(alg: u32, sha1: usize, sha256: usize, sha384: usize, sha512: usize): usize {
  switch (alg) {
    case TPM_ALG_SHA1:
      return sha1;
    case TPM_ALG_SHA256:
      return sha256;
    case TPM_ALG_SHA384:
      return sha384;
    case TPM_ALG_SHA512:
      return sha512;
  }
  return 0;
}

/** Whether there is an encoding of the key: not of symmetric ones, nor of curves without an object identifier. */
export function x509CanEncodeKey(key: OBJECT): bool {
  const area = key.publicArea;
  return area.type == TPM_ALG_RSA || (area.type == TPM_ALG_ECC && curveOid(area.parameters.eccDetail.curveID) != 0);
}

/** SubjectPublicKeyInfo. */
export function x509PutKey(key: OBJECT): void {
  const area = key.publicArea;
  const end = derPosition();
  if (area.type == TPM_ALG_RSA) {
    const exponent = area.parameters.rsaDetail.exponent;
    derUint(exponent == 0 ? DEFAULT_EXPONENT : exponent);
    derInteger(area.unique.rsa.buffer, area.unique.rsa.size);
    derWrap(DER_SEQUENCE, end);
    derWrap(DER_BIT_STRING, end);
    derAlgorithm(RSA_ENCRYPTION);
  } else {
    const point = area.unique.ecc;
    derBytes(point.y.buffer, point.y.size);
    derBytes(point.x.buffer, point.x.size);
    derByte(4);
    derWrap(DER_BIT_STRING, end);
    const algorithm = derPosition();
    derOid(curveOid(area.parameters.eccDetail.curveID));
    derOid(EC_PUBLIC_KEY);
    derWrap(DER_SEQUENCE, algorithm);
  }
  derWrap(DER_SEQUENCE, end);
}

/** Whether there is an AlgorithmIdentifier for the key's signatures of this scheme. */
export function x509CanEncodeSignature(key: OBJECT, scheme: TPMT_SIG_SCHEME): bool {
  const known = byHash(scheme.details.rsassa.hashAlg, SHA1, SHA256, SHA384, SHA512) != 0;
  if (key.publicArea.type == TPM_ALG_RSA)
    return known && (scheme.scheme == TPM_ALG_RSASSA || scheme.scheme == TPM_ALG_RSAPSS);
  return known && key.publicArea.type == TPM_ALG_ECC && scheme.scheme == TPM_ALG_ECDSA;
}

/** AlgorithmIdentifier of a signature. */
export function x509PutSignatureAlgorithm(key: OBJECT, scheme: TPMT_SIG_SCHEME): void {
  const hashAlg = scheme.details.rsassa.hashAlg;
  if (scheme.scheme == TPM_ALG_RSASSA) {
    derAlgorithm(byHash(hashAlg, SHA1_WITH_RSA, SHA256_WITH_RSA, SHA384_WITH_RSA, SHA512_WITH_RSA));
  } else if (scheme.scheme == TPM_ALG_RSAPSS) putPss(key, hashAlg);
  else {
    const end = derPosition();
    derOid(byHash(hashAlg, ECDSA_SHA1, ECDSA_SHA256, ECDSA_SHA384, ECDSA_SHA512));
    derWrap(DER_SEQUENCE, end);
  }
}

/** RSASSA-PSS-params (RFC 4055, 3.1), left out for SHA-1 as libtpms does. */
function putPss(key: OBJECT, hashAlg: u32): void {
  if (hashAlg == TPM_ALG_SHA1) {
    derAlgorithm(RSA_PSS);
    return;
  }
  const hash = byHash(hashAlg, SHA1, SHA256, SHA384, SHA512);
  const end = derPosition();
  derUint(rsaPssSaltSize(key.publicArea.unique.rsa.size, hashNumber(hashAlg)));
  derWrap(DER_CONTEXT + 2, end);
  const mask = derPosition();
  derAlgorithm(hash);
  derOid(MGF1);
  derWrap(DER_SEQUENCE, mask);
  derWrap(DER_CONTEXT + 1, mask);
  const hashing = derPosition();
  derAlgorithm(hash);
  derWrap(DER_CONTEXT, hashing);
  derWrap(DER_SEQUENCE, end);
  derOid(RSA_PSS);
  derWrap(DER_SEQUENCE, end);
}

const READER = changetype<DerReader>(memory.data(offsetof<DerReader>(), 8));
const VALUE: usize = memory.data(4, 4);
const ABSENT: i32 = 0;
const FOUND: i32 = 1;
const MALFORMED: i32 = -1;

/**
 * Checks the extensions of a certificate, which stand in [3], against the attributes of the certified key: KeyUsage has to be there
 * and allow no more than the key does; a TPMA_OBJECT extension has to be equal.
 * @returns TPM_RC_VALUE, TPM_RC_RESERVED_BITS, or TPM_RC_ATTRIBUTES, without a parameter's number
 */
export function x509CheckExtensions(attributes: u32, at: usize, length: u32): u32 {
  READER.at = at;
  READER.end = at + length;
  if (!derNext(READER) || READER.tag != DER_CONTEXT + 3) return TPM_RC_VALUE;
  if (!derNext(READER) || READER.tag != DER_SEQUENCE) return TPM_RC_VALUE;
  const list = READER.at;
  const end = at + length;
  const object = extensionBits(list, end, TCG_TPMA_OBJECT);
  if (object == MALFORMED) return TPM_RC_VALUE;
  if (object == FOUND && load<u32>(VALUE) != attributes) return TPM_RC_ATTRIBUTES;
  if (extensionBits(list, end, KEY_USAGE) != FOUND) return TPM_RC_VALUE;
  const usage = load<u32>(VALUE);
  if (usage & USAGE_RESERVED) return TPM_RC_RESERVED_BITS;
  if (usage & USAGE_SIGNS && (attributes & TPMA_OBJECT_sign) == 0) return TPM_RC_VALUE;
  if (usage & USAGE_DECRYPTS && (attributes & TPMA_OBJECT_decrypt) == 0) return TPM_RC_VALUE;
  if (usage & USAGE_NON_REPUDIATION && (attributes & TPMA_OBJECT_fixedTPM) == 0) return TPM_RC_VALUE;
  if (usage & USAGE_KEY_ENCIPHERMENT && (attributes & TPMA_OBJECT_restricted) == 0) return TPM_RC_VALUE;
  return 0;
}

/** Reads the BIT STRING of the extension `oid` to VALUE. An extension without one counts as absent. */
function extensionBits(list: usize, end: usize, oid: usize): i32 {
  const size: u32 = load<u8>(oid, 1) + 2;
  READER.at = list;
  READER.end = end;
  while (READER.at < end) {
    if (!derNext(READER) || READER.tag != DER_SEQUENCE) return MALFORMED;
    if (READER.length >= size && memory.compare(READER.content, oid, size) == 0) {
      READER.at = READER.content + size;
      READER.end = READER.content + READER.length;
      return octetBits();
    }
    READER.at += READER.length;
  }
  return ABSENT;
}

/** The value of an extension: perhaps `critical`, then a BIT STRING in an OCTET STRING. */
function octetBits(): i32 {
  while (READER.at < READER.end) {
    if (!derNext(READER)) return MALFORMED;
    if (READER.tag == DER_OCTET_STRING) return bitString() ? FOUND : MALFORMED;
    READER.at += READER.length;
  }
  return MALFORMED;
}

/** A BIT STRING of at most 32 bits, its first bit in bit 31. */
function bitString(): bool {
  if (!derNext(READER) || READER.tag != DER_BIT_STRING || READER.length < 1) return false;
  const unused: u32 = load<u8>(READER.content);
  const bytes = READER.length - 1;
  if (unused > 7 || bytes > 4 || (bytes == 0 && unused != 0)) return false;
  let value: u32 = 0;
  for (let i: u32 = 0; i < bytes; i++) value |= (<u32>load<u8>(READER.content + 1 + i)) << (24 - 8 * i);
  if (bytes > 0) value &= u32.MAX_VALUE << (32 - 8 * bytes + unused);
  store<u32>(VALUE, value);
  return true;
}
