// Objects in libtpms' format (ANY_OBJECT): in the persistent objects of NV, the slots of the volatile state, and contexts.
import { TPM2B } from "../cursor";
import {
  HASH_COUNT,
  MAX_DIGEST_SIZE,
  MAX_ECC_KEY_BYTES,
  MAX_RSA_PRIME_BYTES,
  MAX_SYM_KEY_BYTES,
  RSA_PRIVATE_SIZE,
  SIZEOF_TPMU_NAME,
  SIZEOF_TPMU_SENSITIVE_CREATE,
  TPM_ALG_ECC,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_RSA,
  TPM_ALG_SYMCIPHER,
  TPM_RC_SIZE,
} from "../generated/constants";
import { HASH_OBJECT, OBJECT, SIZEOF_OBJECT_RECORD } from "../generated/engine-records";
import { TPMT_SENSITIVE, marshal_TPMT_PUBLIC, unmarshal_TPMT_PUBLIC } from "../generated/structures";
import {
  OBJECT_EVENT_SEQ,
  OBJECT_HASH_SEQ,
  OBJECT_HMAC_SEQ,
  OBJECT_OCCUPIED,
  asSequence,
  objectHierarchy,
  objectIsSequence,
} from "../object";
import { profile } from "../profile";
import { sequenceState } from "../sequence";
import { hashRecordTransfer, hmacRecordTransfer } from "./hash-state";
import {
  beginBlock,
  beginRead,
  beginWrite,
  blockHasContent,
  endBlock,
  extensionBlock,
  header,
  isReading,
  lendCursor,
  reclaimCursor,
  transferAt,
  transferError,
  transferFail,
  twoB,
  u16Value,
  u32Value,
  u64Value,
  u8Value,
  unneededBlock,
} from "./transfer";

const ANY_OBJECT_MAGIC: u32 = 0xfe9a3974;
const ANY_OBJECT_VERSION: u32 = 2;
const OBJECT_MAGIC: u32 = 0x75be73af;
const OBJECT_VERSION: u32 = 4;
const HASH_OBJECT_MAGIC: u32 = 0xb874fe38;
const HASH_OBJECT_VERSION: u32 = 3;
const PRIVATE_EXPONENT_MAGIC: u32 = 0x0854eab2;
const BN_PRIME_MAGIC: u32 = 0x2fe736ab;
const VERSION_2: u32 = 2;

/** Writes an object to `out`; returns its length. `out` must have room for MAX_MARSHALLED_OBJECT bytes. */
export function marshalObject(object: OBJECT, out: usize): u32 {
  beginWrite(out, MAX_MARSHALLED_OBJECT);
  anyObjectTransfer(object);
  return <u32>(transferAt() - out);
}

/** No object takes more. */
export const MAX_MARSHALLED_OBJECT: u32 = 4096;

/** Reads an object from `length` bytes, all of which must be used. The record is zeroed first. Returns 0 or a TPM_RC. */
export function unmarshalObject(at: usize, length: u32, object: OBJECT): u32 {
  beginRead(at, length);
  anyObjectTransfer(object);
  if (transferError() == 0 && transferAt() != at + length) transferFail(TPM_RC_SIZE);
  return transferError();
}

/** ANY_OBJECT: the attributes, and what they say is there. */
export function anyObjectTransfer(object: OBJECT): void {
  if (isReading()) memory.fill(changetype<usize>(object), 0, SIZEOF_OBJECT_RECORD);
  const version = header(ANY_OBJECT_VERSION, ANY_OBJECT_MAGIC, 1);
  object.attributes = u32Value(object.attributes);
  if (transferError() == 0 && object.attributes & OBJECT_OCCUPIED) {
    if (objectIsSequence(object)) hashObjectTransfer(asSequence(object));
    else objectTransfer(object);
  }
  extensionBlock(version);
}

function objectTransfer(object: OBJECT): void {
  const version = header(
    profile.stateFormatLevel >= 6 || isReading() ? OBJECT_VERSION : 3,
    OBJECT_MAGIC,
    profile.stateFormatLevel >= 6 ? OBJECT_VERSION : 3,
  );
  lendCursor();
  let rc: u32 = 0;
  if (isReading()) rc = unmarshal_TPMT_PUBLIC(changetype<usize>(object.publicArea), true);
  else marshal_TPMT_PUBLIC(changetype<usize>(object.publicArea));
  reclaimCursor(rc);
  sensitiveTransfer(object.sensitive);
  privateExponentBlock(object, version);
  twoB(object.qualifiedName, SIZEOF_TPMU_NAME);
  object.evictHandle = u32Value(object.evictHandle);
  twoB(object.name, SIZEOF_TPMU_NAME);
  if (version >= 2) additionsTransfer(object, version);
}

/** The seedCompatLevel, and from version 4 the hierarchy; what is missing follows from the rest. */
function additionsTransfer(object: OBJECT, version: u32): void {
  if (isReading() && !blockHasContent()) {
    unneededBlock(true);
    object.seedCompatLevel = 0;
    object.hierarchy = objectHierarchy(object);
    return;
  }
  const outer = beginBlock();
  object.seedCompatLevel = u8Value(object.seedCompatLevel);
  if (isReading() ? blockHasContent() : version >= 4) {
    const inner = beginBlock();
    object.hierarchy = u32Value(object.hierarchy);
    endBlock(inner);
  } else {
    unneededBlock(true);
    if (isReading()) object.hierarchy = objectHierarchy(object);
  }
  endBlock(outer);
}

/** TPMT_SENSITIVE, except that a public-only object has type 0 and no sensitive value. */
function sensitiveTransfer(sensitive: TPMT_SENSITIVE): void {
  sensitive.sensitiveType = u16Value(sensitive.sensitiveType);
  twoB(sensitive.authValue, MAX_DIGEST_SIZE);
  twoB(sensitive.seedValue, MAX_DIGEST_SIZE);
  switch (sensitive.sensitiveType) {
    case TPM_ALG_RSA:
      twoB(sensitive.sensitive.rsa, RSA_PRIVATE_SIZE);
      break;
    case TPM_ALG_ECC:
      twoB(sensitive.sensitive.ecc, MAX_ECC_KEY_BYTES);
      break;
    case TPM_ALG_KEYEDHASH:
      twoB(sensitive.sensitive.bits, SIZEOF_TPMU_SENSITIVE_CREATE);
      break;
    case TPM_ALG_SYMCIPHER:
      twoB(sensitive.sensitive.sym, MAX_SYM_KEY_BYTES);
      break;
  }
}

/** Always there up to version 3; from version 4 with RSA keys only. */
function privateExponentBlock(object: OBJECT, version: u32): void {
  const written = version < 4 || object.sensitive.sensitiveType == TPM_ALG_RSA;
  if (!written) {
    unneededBlock(false);
    return;
  }
  const mark = beginBlock();
  const exponent = object.privateExponent;
  const found = header(VERSION_2, PRIVATE_EXPONENT_MAGIC, 1);
  bigNumberTransfer(exponent.Q);
  bigNumberTransfer(exponent.dP);
  bigNumberTransfer(exponent.dQ);
  bigNumberTransfer(exponent.qInv);
  extensionBlock(found);
  endBlock(mark);
}

/** BN_PRIME: 64-bit words, least significant first, each big-endian; in memory big-endian bytes. */
function bigNumberTransfer(number: TPM2B): void {
  const found = header(VERSION_2, BN_PRIME_MAGIC, 1);
  const length = u16Value((number.size + 7) & ~7);
  if (length > MAX_RSA_PRIME_BYTES || length & 7) transferFail(TPM_RC_SIZE);
  if (transferError() == 0) {
    if (isReading()) number.size = length;
    for (let i: u32 = 0; i < length; i += 8) {
      if (isReading()) storeWord(number, i, u64Value(0));
      else u64Value(loadWord(number, i));
    }
  }
  extensionBlock(found);
}

/** The 8 bytes that end `fromEnd` bytes before the number's end; what lies before its start is zero. */
function loadWord(number: TPM2B, fromEnd: u32): u64 {
  let word: u64 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    const position = fromEnd + i;
    if (position < number.size) word |= (<u64>load<u8>(number.buffer + number.size - 1 - position)) << (8 * i);
  }
  return word;
}

function storeWord(number: TPM2B, fromEnd: u32, word: u64): void {
  store<u64>(number.buffer + number.size - 8 - fromEnd, bswap<u64>(word));
}

function hashObjectTransfer(sequence: HASH_OBJECT): void {
  const version = header(HASH_OBJECT_VERSION, HASH_OBJECT_MAGIC, 1);
  sequence.type = u16Value(sequence.type);
  sequence.nameAlg = u16Value(sequence.nameAlg);
  sequence.objectAttributes = u32Value(sequence.objectAttributes);
  twoB(sequence.auth, MAX_DIGEST_SIZE);
  const attributes = sequence.attributes;
  if (attributes & OBJECT_HASH_SEQ || (attributes & OBJECT_EVENT_SEQ && version >= 3)) {
    if (u16Value(HASH_COUNT) != HASH_COUNT) transferFail(TPM_RC_SIZE);
    const used: u32 = attributes & OBJECT_HASH_SEQ ? 1 : HASH_COUNT;
    for (let i: u32 = 0; i < HASH_COUNT; i++) {
      // A hash sequence has one hash; the other places are empty.
      if (!isReading() && i >= used) store<u32>(sequenceState(sequence, i), 0xff);
      hashRecordTransfer(sequenceState(sequence, i), false);
    }
  } else if (attributes & OBJECT_HMAC_SEQ) hmacRecordTransfer(sequenceState(sequence, 0));
  extensionBlock(version);
}
