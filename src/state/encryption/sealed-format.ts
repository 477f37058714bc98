// This project's authenticated format of state files: AES-256-GCM under a random data key, which key slots in the header wrap.
import type { StateBlobType } from "../../backend/backend.ts";
import {
  CONTAINER_RESULT,
  ContainerError,
  damaged,
  FLAG,
  field,
  findField,
  hasFields,
  openHeader,
  TAG,
} from "../container-fields.ts";
import type { BlobCipher, StateFormat, StoredBlob } from "../format.ts";
import { concat } from "./bytes.ts";
import type { KeyProvider } from "./key-provider.ts";
import { KeyRing } from "./key-ring.ts";
import { BOX_OVERHEAD, seal, unseal } from "./sealed-box.ts";
import { decodeHeader, encodeHeader, isSealed, type KeySlot } from "./sealed-header.ts";

const PURPOSE = "wtpm state";

/** The format with what a change of keys needs to know. */
export interface SealedFormat extends StateFormat {
  /** The keys of the state that was read last, or that was written; undefined before either. */
  readonly ring: () => KeyRing | undefined;
}

/**
 * Type, generation and key slots are authenticated with the blob: a file with any other bit, or in another's place, is refused.
 *
 * A state that is made gets a slot for every provider. One that was read keeps its slots and its data key, whichever of the providers opened
 * it.
 *
 * @param writing the keys with which everything is written from now on, whatever it was read with: for a change of keys.
 */
export function sealedFormat(providers: readonly KeyProvider[], writing?: KeyRing): SealedFormat {
  let ring = writing;
  /** The generation that the ring was read with. */
  let newest = -1;

  const encode: StateFormat["encode"] = (type, blob, generation) => {
    ring ??= KeyRing.create(providers);
    const header = encodeHeader({ type, generation, slots: ring.slots }, blob.length + BOX_OVERHEAD);
    return concat(header, seal(ring.dataKey, PURPOSE, header, blob));
  };

  const open = (type: StateBlobType, file: Uint8Array): StoredBlob & { ring: KeyRing; generation: number } => {
    if (!isSealed(file)) {
      // What is no container of swtpm's either is damaged, and a store may have an older one.
      openHeader(file);
      throw new ContainerError(
        "encrypted",
        CONTAINER_RESULT.FAIL,
        "a key for wtpm's encrypted format was given (--key provider=…), and the state is in swtpm's format",
      );
    }
    const { header, headerBytes, box } = decodeHeader(type, file);
    const opened = ring && sameSlots(ring.slots, header.slots) ? ring : KeyRing.open(header.slots, providers);
    const blob = unseal(opened.dataKey, PURPOSE, headerBytes, box);
    if (!blob) throw damaged("it was changed after it was encrypted", CONTAINER_RESULT.DECRYPT_ERROR);
    return { blob, generation: header.generation, ring: opened };
  };

  const decode: StateFormat["decode"] = (type, file) => {
    const { blob, generation, ring: opened } = open(type, file);
    if (!writing && generation > newest) {
      ring = opened;
      newest = generation;
    }
    return { blob, generation };
  };

  const cipherOf = (type: StateBlobType): BlobCipher => ({
    flags: FLAG.ENCRYPTED,
    encrypt: (blob) => field(TAG.SEALED_DATA, encode(type, blob, 0)),
    decrypt: ({ version, body }) => {
      const file = hasFields(version) ? findField(body, TAG.SEALED_DATA) : undefined;
      // The slots of a blob that comes from elsewhere are not those of the state here.
      if (file) return open(type, file).blob;
      throw new ContainerError(
        "encrypted",
        CONTAINER_RESULT.BAD_KEY_PROPERTY,
        "the state blob is encrypted with a key of swtpm's, and the key given is one for wtpm's format",
      );
    },
  });

  return { name: "wtpm, aes-256-gcm", encode, decode, cipherOf, ring: () => ring };
}

function sameSlots(first: readonly KeySlot[], second: readonly KeySlot[]): boolean {
  return first.length === second.length && first.every((slot, i) => sameSlot(slot, second[i]!));
}

function sameSlot(first: KeySlot, second: KeySlot): boolean {
  const { wrapped } = second;
  if (first.kind !== second.kind || first.name !== second.name || first.wrapped.length !== wrapped.length) return false;
  return first.wrapped.every((byte, i) => byte === wrapped[i]);
}
