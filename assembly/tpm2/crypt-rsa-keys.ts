// RSA keys made ready for private operations. What that takes (a division, inversions, Montgomery constants) is done once per
// key and kept, for as long as its object is loaded or persistent; an entry is found by the key itself, so that the copies of a
// persistent object that each command makes share it.
import { ctEqual } from "../crypto/ct";
import { RSA_KEY_MAX_SIZE, RSA_OK, rsaKeyBlind, rsaKeyExponents, rsaKeyLoad } from "../crypto/rsa-key";
import { set2B } from "./cursor";
import { MAX_RSA_KEY_BYTES, MAX_RSA_PRIME_BYTES, TPM_ALG_RSA } from "./generated/constants";
import { OBJECT } from "./generated/engine-records";
import { cryptRandomGenerate } from "./random";

/** RSA_DEFAULT_PUBLIC_EXPONENT: what an exponent of 0 in a public area means. */
const DEFAULT_EXPONENT: u32 = 65537;

@unmanaged
class RsaEntry {
  /** Bits of the modulus; 0 in an empty entry. */
  bits: u32;
  exponent: u32;
  /** When it was used last. */
  used: u32;
  reserved: u32;

  @inline
  get modulus(): usize {
    return changetype<usize>(this) + 16;
  }
  @inline
  get prime(): usize {
    return changetype<usize>(this) + 16 + MAX_RSA_KEY_BYTES;
  }
  /** Record of rsa-key.ts. */
  @inline
  get record(): usize {
    return changetype<usize>(this) + 16 + MAX_RSA_KEY_BYTES + MAX_RSA_PRIME_BYTES;
  }
}

const ENTRIES: u32 = 3;
const ENTRY_SIZE: u32 = 16 + MAX_RSA_KEY_BYTES + MAX_RSA_PRIME_BYTES + RSA_KEY_MAX_SIZE;
const CACHE: usize = memory.data(ENTRIES * ENTRY_SIZE, 16);
let clock: u32 = 0;

@inline
function entryAt(index: u32): RsaEntry {
  return changetype<RsaEntry>(CACHE + <usize>(index * ENTRY_SIZE));
}

/** The public exponent of an RSA object. */
export function rsaExponent(object: OBJECT): u32 {
  const exponent = object.publicArea.parameters.rsaDetail.exponent;
  return exponent == 0 ? DEFAULT_EXPONENT : exponent;
}

/** Bits of the modulus in the public area. */
@inline
export function rsaModulusBits(object: OBJECT): u32 {
  return object.publicArea.unique.rsa.size * 8;
}

function holds(entry: RsaEntry, object: OBJECT): bool {
  const modulus = object.publicArea.unique.rsa;
  const prime = object.sensitive.sensitive.rsa;
  return (
    entry.bits == modulus.size * 8 &&
    entry.exponent == rsaExponent(object) &&
    prime.size * 2 == modulus.size &&
    memory.compare(entry.modulus, modulus.buffer, modulus.size) == 0 &&
    ctEqual(entry.prime, prime.buffer, prime.size) != 0
  );
}

function find(object: OBJECT): RsaEntry | null {
  for (let i: u32 = 0; i < ENTRIES; i++) if (holds(entryAt(i), object)) return entryAt(i);
  return null;
}

/** The key record of an RSA object with its prime; 0 when the parts do not make a key. */
export function rsaPrepare(object: OBJECT): usize {
  const found = find(object);
  if (found != null) {
    found.used = ++clock;
    return found.record;
  }
  let entry = entryAt(0);
  for (let i: u32 = 1; i < ENTRIES; i++) {
    if (entry.bits != 0 && (entryAt(i).bits == 0 || entryAt(i).used < entry.used)) entry = entryAt(i);
  }
  memory.fill(changetype<usize>(entry), 0, ENTRY_SIZE);
  const modulus = object.publicArea.unique.rsa;
  const prime = object.sensitive.sensitive.rsa;
  const bits = modulus.size * 8;
  if (bits < 1024 || bits > 4096 || bits % 1024 != 0 || prime.size * 2 != modulus.size) return 0;
  if (rsaKeyLoad(modulus.buffer, bits, prime.buffer, rsaExponent(object), entry.record) != RSA_OK) return 0;
  entry.bits = bits;
  entry.exponent = rsaExponent(object);
  entry.used = ++clock;
  memory.copy(entry.modulus, modulus.buffer, modulus.size);
  memory.copy(entry.prime, prime.buffer, prime.size);
  return entry.record;
}

const EXPONENTS: usize = memory.data(4 * MAX_RSA_PRIME_BYTES, 16);

/** Fills in the private exponent that is kept with the object. @returns false when the parts do not make a key */
export function rsaLoadPrivateExponent(object: OBJECT): bool {
  const record = rsaPrepare(object);
  if (record == 0) return false;
  const size = object.sensitive.sensitive.rsa.size;
  const exponent = object.privateExponent;
  rsaKeyExponents(record, EXPONENTS);
  set2B(exponent.Q, EXPONENTS, size);
  set2B(exponent.dP, EXPONENTS + size, size);
  set2B(exponent.dQ, EXPONENTS + 2 * <usize>size, size);
  set2B(exponent.qInv, EXPONENTS + 3 * <usize>size, size);
  memory.fill(EXPONENTS, 0, 4 * MAX_RSA_PRIME_BYTES);
  return true;
}

const RANDOM: usize = memory.data(MAX_RSA_KEY_BYTES, 16);

/** Gives a key record new blinding factors. */
export function rsaBlind(record: usize): void {
  const size = load<u32>(record) >> 3;
  cryptRandomGenerate(RANDOM, size);
  rsaKeyBlind(record, RANDOM);
  memory.fill(RANDOM, 0, size);
}

/** The object's key is not needed any more. */
export function rsaForget(object: OBJECT): void {
  if (object.publicArea.type != TPM_ALG_RSA || object.sensitive.sensitiveType != TPM_ALG_RSA) return;
  const entry = find(object);
  if (entry != null) memory.fill(changetype<usize>(entry), 0, ENTRY_SIZE);
}

export function rsaForgetAll(): void {
  memory.fill(CACHE, 0, ENTRIES * ENTRY_SIZE);
}
