// Part 3, 18.8: TPM2_CertifyX509. The caller gives the fields of a certificate (RFC 5280, TBSCertificate) that the TPM does not know;
// the TPM adds version, serial number, key, and if need be the signature algorithm, and signs the whole.
import { attestCheck } from "../attest";
import { TPM2B } from "../cursor";
import { cryptSign } from "../crypt-sign";
import {
  DER_CONTEXT,
  DER_SEQUENCE,
  DerReader,
  derBegin,
  derFits,
  derHeader,
  derInteger,
  derNext,
  derPosition,
  derUint,
  derWrap,
} from "../der";
import {
  MAX_DIGEST_BUFFER,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_ASYMMETRIC,
  TPM_RC_ATTRIBUTES,
  TPM_RC_FAILURE,
  TPM_RC_H,
  TPM_RC_KEY,
  TPM_RC_P,
  TPM_RC_SCHEME,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
} from "../generated/constants";
import { CertifyX509_In, CertifyX509_Out } from "../generated/records";
import {
  HASH_RECORD_SIZE,
  cryptHashEnd,
  cryptHashEnd2B,
  cryptHashStart,
  cryptHashUpdate,
  cryptHashUpdate2B,
} from "../hash";
import { loadedObject, objectOf } from "../object";
import {
  x509CanEncodeKey,
  x509CanEncodeSignature,
  x509CheckExtensions,
  x509PutKey,
  x509PutSignatureAlgorithm,
} from "../x509";

// The fields in their order; each an address and a length.
const HEADER: u32 = 0;
const VERSION: u32 = 1;
const SERIAL_NUMBER: u32 = 2;
const SIGNATURE: u32 = 3;
const SUBJECT: u32 = 6;
const SUBJECT_PUBLIC_KEY: u32 = 7;
const EXTENSIONS: u32 = 8;
const FIELDS: u32 = 9;
const FIELD: usize = memory.data(8 * FIELDS, 8);

/** X.509 version 3 is written as 2. */
const VERSION_3: u32 = 2;
const MIN_SEQUENCES: u32 = 3;
const MAX_SEQUENCES: u32 = 4;
const SEQUENCE: usize = memory.data(8 * MAX_SEQUENCES, 8);
/** Octets of a serial number (RFC 5280, 4.1.2.2). */
const MAX_SERIAL: u32 = 20;

const READER = changetype<DerReader>(memory.data(offsetof<DerReader>(), 8));
const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);
const DIGEST: usize = memory.data(64, 8);
const TBS_HEADER: usize = memory.data(4, 4);

@inline
function set(list: usize, index: u32, at: usize, length: u32): void {
  store<u32>(list + 8 * index, <u32>at);
  store<u32>(list + 8 * index, length, 4);
}
@inline
function fieldAt(index: u32): usize {
  return load<u32>(FIELD + 8 * index);
}
@inline
function fieldLength(index: u32): u32 {
  return load<u32>(FIELD + 8 * index, 4);
}

/** Finds the fields in the partial certificate. Returns how many SEQUENCEs stand before the extensions, or 0. */
function splitPartial(): u32 {
  let count: u32 = 0;
  while (READER.at < READER.end) {
    const at = READER.at;
    if (!derNext(READER)) return 0;
    READER.at += READER.length;
    const length = <u32>(READER.at - at);
    if (READER.tag == DER_SEQUENCE) {
      if (count == MAX_SEQUENCES) return 0;
      set(SEQUENCE, count++, at, length);
    } else if (READER.tag == DER_CONTEXT + 3 && fieldLength(EXTENSIONS) == 0) set(FIELD, EXTENSIONS, at, length);
    else return 0;
  }
  if (count < MIN_SEQUENCES || fieldLength(EXTENSIONS) == 0) return 0;
  // Issuer, validity and subject are the last three; before them the signature algorithm may stand.
  for (let i: u32 = 0; i < count; i++) {
    const from = SEQUENCE + 8 * (count - 1 - i);
    set(FIELD, SUBJECT - i, load<u32>(from), load<u32>(from, 4));
  }
  return count;
}

function hashFields(first: u32): void {
  for (let i = first; i < FIELDS; i++) cryptHashUpdate(WORK, fieldAt(i), fieldLength(i));
}

export function CertifyX509(input: CertifyX509_In, output: CertifyX509_Out): u32 {
  const P3: u32 = TPM_RC_P + TPM_RC_3;
  if (input.reserved.size != 0) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  const scheme = input.inScheme;
  const rc = attestCheck(input.signHandle, scheme, TPM_RC_H + TPM_RC_2, TPM_RC_P + TPM_RC_2);
  if (rc) return rc;
  const object = loadedObject(input.objectHandle);
  if (!x509CanEncodeKey(object)) return TPM_RC_ASYMMETRIC + TPM_RC_H + TPM_RC_1;
  const partial = input.partialCertificate;
  if (partial.size == 0) return TPM_RC_VALUE + P3;
  memory.fill(FIELD, 0, 8 * FIELDS);
  READER.at = partial.buffer;
  READER.end = partial.buffer + partial.size;
  if (!derNext(READER) || READER.tag != DER_SEQUENCE || READER.at + READER.length != READER.end) {
    return TPM_RC_SIZE + P3;
  }
  const sequences = splitPartial();
  if (sequences == 0) return TPM_RC_VALUE + P3;
  // A certificate has to be signed. libtpms, which follows its null pointer here, looks at all that before.
  const key = objectOf(input.signHandle);
  if (key == null) return TPM_RC_KEY + TPM_RC_H + TPM_RC_2;
  const addsAlgorithm = sequences == MIN_SEQUENCES;
  if (addsAlgorithm && !x509CanEncodeSignature(key, scheme)) return TPM_RC_SCHEME + TPM_RC_H + TPM_RC_2;
  const attributes = object.publicArea.objectAttributes;
  const wrong = x509CheckExtensions(attributes, fieldAt(EXTENSIONS), fieldLength(EXTENSIONS));
  if (wrong) return wrong + (wrong == TPM_RC_ATTRIBUTES ? TPM_RC_H + TPM_RC_1 : P3);

  const added = output.addedToCertificate;
  derBegin(added.buffer, MAX_DIGEST_BUFFER);
  const end = derPosition();
  let before = end;
  x509PutKey(object);
  set(FIELD, SUBJECT_PUBLIC_KEY, derPosition(), <u32>(before - derPosition()));
  if (addsAlgorithm) {
    before = derPosition();
    x509PutSignatureAlgorithm(key, scheme);
    set(FIELD, SIGNATURE, derPosition(), <u32>(before - derPosition()));
  }
  // The serial number is a digest of what it numbers, so that equal certificates have equal ones.
  const size = cryptHashStart(WORK, key.publicArea.nameAlg);
  hashFields(SIGNATURE);
  cryptHashUpdate2B(WORK, key.name);
  cryptHashUpdate2B(WORK, object.name);
  cryptHashEnd(WORK, DIGEST);
  before = derPosition();
  derInteger(DIGEST, min(size, MAX_SERIAL));
  set(FIELD, SERIAL_NUMBER, derPosition(), <u32>(before - derPosition()));
  before = derPosition();
  derUint(VERSION_3);
  derWrap(DER_CONTEXT, before);
  set(FIELD, VERSION, derPosition(), <u32>(before - derPosition()));

  let length: u32 = 0;
  for (let i: u32 = 0; i < FIELDS; i++) length += fieldLength(i);
  set(FIELD, HEADER, TBS_HEADER, derHeader(DER_SEQUENCE, length, TBS_HEADER));
  cryptHashStart(WORK, scheme.details.rsassa.hashAlg);
  hashFields(HEADER);
  cryptHashEnd2B(WORK, output.tbsDigest);

  derWrap(DER_SEQUENCE, end);
  if (!derFits()) return TPM_RC_FAILURE;
  added.size = <u32>(end - derPosition());
  memory.copy(added.buffer, derPosition(), added.size);
  return cryptSign(key, scheme, output.tbsDigest, output.signature);
}
