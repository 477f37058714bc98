// Objects as libtpms writes them: keys and data that are loaded or persistent, and sequences (ANY_OBJECT).
import type { Reader, Writer } from "./cursor.ts";
import {
  algorithm,
  bits,
  bytes16,
  fields,
  list,
  nothing,
  part2,
  type Shape,
  secret16,
  secretBytes,
  since,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
} from "./shape.ts";
import { optionalBlock, type StructureHeader, structure } from "./structure.ts";
import { Secret } from "./secret.ts";

const OBJECT_ATTRIBUTES = [
  "publicOnly",
  "epsHierarchy",
  "ppsHierarchy",
  "spsHierarchy",
  "evict",
  "primary",
  "temporary",
  "stClear",
  "hmacSeq",
  "hashSeq",
  "eventSeq",
  "ticketSafe",
  "firstBlock",
  "isParent",
  "privateExp",
  "occupied",
  "derivation",
  "external",
] as const;

/** BN_PRIME: 64-bit words, the least significant first; here one big-endian number. */
const bigNumber = structure(
  { name: "BN_PRIME", magic: 0x2fe736ab, version: 2 },
  fields({
    value: {
      read(reader: Reader) {
        const words = reader.take(reader.number(2));
        if (words.length % 8 !== 0) reader.damaged(`a number of ${words.length} bytes is not one of 64-bit words`);
        return new Secret(swapWords(words));
      },
      write(writer: Writer, value: Secret) {
        writer.number(value.size, 2);
        writer.put(swapWords(value.reveal()));
      },
    },
  }),
);

/** The words of 8 bytes in the opposite order. */
function swapWords(bytes: Uint8Array): Uint8Array {
  const swapped = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at += 8) swapped.set(bytes.subarray(at, at + 8), bytes.length - 8 - at);
  return swapped;
}

const privateExponent = structure(
  { name: "PRIVATE_EXPONENT", magic: 0x0854eab2, version: 2 },
  fields({ Q: bigNumber, dP: bigNumber, dQ: bigNumber, qInv: bigNumber }),
);

const WITH_SENSITIVE: readonly unknown[] = ["TPM_ALG_RSA", "TPM_ALG_ECC", "TPM_ALG_KEYEDHASH", "TPM_ALG_SYMCIPHER"];

const sensitiveHead = fields({ sensitiveType: algorithm, authValue: secret16, seedValue: secret16 });

/** TPMT_SENSITIVE; an object of which only the public area is known has type 0 and no sensitive value. */
const sensitiveArea: Shape<ValueOf<typeof sensitiveHead> & { sensitive?: Secret }> = {
  read(reader) {
    const head = sensitiveHead.read(reader);
    if (!WITH_SENSITIVE.includes(head.sensitiveType)) return head;
    return { ...head, sensitive: reader.at("sensitive", () => secret16.read(reader)) };
  },
  write(writer, value) {
    sensitiveHead.write(writer, value);
    if (value.sensitive) secret16.write(writer, value.sensitive);
  },
};

/** OBJECT. Version 3 belongs to StateFormatLevels up to 5, version 4 to those from 6. */
const object = structure(
  {
    name: "OBJECT",
    magic: 0x75be73af,
    version: 4,
    extension: { additions: [{ seedCompatLevel: u8 }, { hierarchy: u32 }], closed: true },
  },
  fields({
    publicArea: part2("TPMT_PUBLIC"),
    sensitive: sensitiveArea,
    /** The RSA key's second prime and CRT exponents; in version 4 only where they are. */
    privateExponent: optionalBlock(privateExponent),
    qualifiedName: bytes16,
    evictHandle: u32,
    name: bytes16,
  }),
);

/** The members of OpenSSL's contexts. What was hashed already shows in them. */
const shaState = (name: string, magic: number, options: { wide: boolean; count: boolean }) => {
  const chain = (words: number) => secretBytes(words * (options.wide ? 8 : 4));
  const word = options.wide ? u64 : (u32 as Shape<number | bigint>);
  return structure(
    { name, magic, version: 2 },
    fields({
      wordCount: options.count ? u16 : (nothing as Shape<number | undefined>),
      chain: chain(options.count ? 8 : 5),
      bitCountLow: word,
      bitCountHigh: word,
      data: secret16,
      buffered: u32,
      digestSize: options.count ? u32 : (nothing as Shape<number | undefined>),
    }),
  );
};

const SHA_STATES = {
  TPM_ALG_SHA1: shaState("HASH_STATE_SHA1", 0x19d46f50, { wide: false, count: false }),
  TPM_ALG_SHA256: shaState("HASH_STATE_SHA256", 0x6ea059d0, { wide: false, count: true }),
  TPM_ALG_SHA384: shaState("HASH_STATE_SHA384", 0x14814b08, { wide: true, count: true }),
  TPM_ALG_SHA512: shaState("HASH_STATE_SHA512", 0x269e8ae0, { wide: true, count: true }),
} as const;
type ShaState = ValueOf<(typeof SHA_STATES)["TPM_ALG_SHA1"]>;

/** ANY_HASH_STATE. Nothing for a place of a sequence that is not used; older versions of libtpms left anything as its algorithm. */
const anyHashState = (alg: string | number): Shape<StructureHeader & { sha?: ShaState }> => {
  const shape = SHA_STATES[alg as keyof typeof SHA_STATES] as Shape<ShaState> | undefined;
  return structure(
    { name: "ANY_HASH_STATE", magic: 0x349d494b, version: 2 },
    {
      read: (reader: Reader): { sha?: ShaState } => (shape ? { sha: shape.read(reader) } : {}),
      write(writer: Writer, { sha }: { sha?: ShaState }) {
        if (sha) shape?.write(writer, sha);
      },
    },
  );
};

const hashStateHead = fields({ kind: u8, hashAlg: algorithm });
type HashStateValue = ValueOf<typeof hashStateHead> & { state: StructureHeader & { sha?: ShaState } };

const CMAC_MAGIC = 0x434d4143;
const cmacState = fields({ algorithm, keyBits: u16, key: secret16, block: secret16, count: u8 });

/** A CMAC in progress, which this project adds and libtpms passes over; nothing where another version has added something else. */
const addedCmac: Shape<ValueOf<typeof cmacState> | undefined> = {
  read(reader) {
    const isCmac = reader.end - reader.offset >= 4 && reader.number(4) === CMAC_MAGIC;
    return isCmac ? cmacState.read(reader) : undefined;
  },
  write(writer, value) {
    if (!value) return;
    writer.number(CMAC_MAGIC, 4);
    cmacState.write(writer, value);
  },
};

const hashState = structure(
  {
    name: "HASH_STATE",
    magic: 0x562878a2,
    version: 2,
    extension: { additions: [{ cmac: addedCmac }], closed: true },
  },
  {
    read(reader: Reader): HashStateValue {
      const head = hashStateHead.read(reader);
      return { ...head, state: reader.at("state", () => anyHashState(head.hashAlg).read(reader)) };
    },
    write(writer: Writer, value: HashStateValue) {
      hashStateHead.write(writer, value);
      anyHashState(value.hashAlg).write(writer, value.state);
    },
  },
);

/** HASH_OBJECT. An event sequence has its hashes from version 3 on. */
const sequence = (kind: "hmac" | "hash" | "event") => {
  const states = list(hashState, 2) as Shape<ValueOf<typeof hashState>[] | undefined>;
  return structure(
    { name: "HASH_OBJECT", magic: 0xb874fe38, version: 3 },
    fields({
      type: algorithm,
      nameAlg: algorithm,
      objectAttributes: part2("TPMA_OBJECT"),
      auth: secret16,
      hashStates: kind === "hash" ? states : kind === "event" ? since(3, states as Shape<never[]>) : nothing,
      hmacState: (kind === "hmac" ? hashState : nothing) as Shape<ValueOf<typeof hashState> | undefined>,
      hmacKey: (kind === "hmac" ? secret16 : nothing) as Shape<Secret | undefined>,
    }),
  );
};
const SEQUENCES = { hmac: sequence("hmac"), hash: sequence("hash"), event: sequence("event") };

const attributesShape = bits(OBJECT_ATTRIBUTES);
export type ObjectAttributes = ValueOf<typeof attributesShape>;
export type KeyObject = ValueOf<typeof object>;
export type SequenceObject = ValueOf<(typeof SEQUENCES)["hmac"]>;

export interface ObjectContent {
  attributes: ObjectAttributes;
  /** A key or sealed data; neither this nor `sequence` in a slot that is free. */
  object?: KeyObject;
  sequence?: SequenceObject;
}

function sequenceShape({ hmacSeq, hashSeq, eventSeq }: ObjectAttributes): Shape<SequenceObject> | undefined {
  const kind = hashSeq ? "hash" : eventSeq ? "event" : hmacSeq ? "hmac" : undefined;
  return kind && (SEQUENCES[kind] as Shape<SequenceObject>);
}

/** ANY_OBJECT: the attributes, and what they say is there. */
export const anyObject = structure(
  { name: "ANY_OBJECT", magic: 0xfe9a3974, version: 2 },
  {
    read(reader: Reader): ObjectContent {
      const attributes = reader.at("attributes", () => attributesShape.read(reader));
      if (!attributes.occupied) return { attributes };
      const shape = sequenceShape(attributes);
      return shape
        ? { attributes, sequence: reader.at("sequence", () => shape.read(reader)) }
        : { attributes, object: reader.at("object", () => object.read(reader)) };
    },
    write(writer: Writer, value: ObjectContent) {
      attributesShape.write(writer, value.attributes);
      if (value.object) object.write(writer, value.object);
      if (value.sequence) sequenceShape(value.attributes)?.write(writer, value.sequence);
    },
  },
);
export type AnyObject = ValueOf<typeof anyObject>;
