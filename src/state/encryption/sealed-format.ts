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
  TAG,
} from "../container-fields.ts";
import type { BlobCipher, StateFormat, StoredBlob } from "../format.ts";
import { concat } from "./bytes.ts";
import type { KeyProvider } from "./key-provider.ts";
import { KeyRing } from "./key-ring.ts";
import { BOX_OVERHEAD, seal, unseal } from "./sealed-box.ts";
import { decodeHeader, encodeHeader, isSealed, type KeySlot } from "./sealed-header.ts";

const PURPOSE = "wtpm state";

/**
 * Type, generation and key slots are authenticated with the blob: a file with any other bit, or in another's place, is refused.
 *
 * A state that is made gets a slot for every provider. One that was read keeps its slots and its data key, whichever of them opened it;
 * `ring` in the options puts others in their place, for a change of keys.
 */
export class SealedFormat implements StateFormat {
  readonly name = "wtpm, aes-256-gcm";
  readonly providers: readonly KeyProvider[];
  readonly #fixed: boolean;
  #ring: KeyRing | undefined;
  /** The generation that the ring was read with. */
  #newest = -1;

  constructor(providers: readonly KeyProvider[], options: { readonly ring?: KeyRing } = {}) {
    this.providers = providers;
    this.#ring = options.ring;
    this.#fixed = options.ring !== undefined;
  }

  /** The keys of the state that was read last, or that is written; undefined before either. */
  get ring(): KeyRing | undefined {
    return this.#ring;
  }

  encode(type: StateBlobType, blob: Uint8Array, generation: number): Uint8Array {
    this.#ring ??= KeyRing.create(this.providers);
    const { dataKey, slots } = this.#ring;
    const header = encodeHeader({ type, generation, slots }, blob.length + BOX_OVERHEAD);
    return concat(header, seal(dataKey, PURPOSE, header, blob));
  }

  decode(type: StateBlobType, file: Uint8Array): StoredBlob {
    if (!isSealed(file)) {
      throw new ContainerError(
        "encrypted",
        CONTAINER_RESULT.FAIL,
        "a key for wtpm's encrypted format was given (--key provider=…), and the state is in swtpm's format",
      );
    }
    const { header, headerBytes, box } = decodeHeader(type, file);
    const ring = this.#ringOf(header.slots);
    const blob = unseal(ring.dataKey, PURPOSE, headerBytes, box);
    if (!blob) throw damaged("it was changed after it was encrypted", CONTAINER_RESULT.DECRYPT_ERROR);
    if (!this.#fixed && header.generation > this.#newest) {
      this.#ring = ring;
      this.#newest = header.generation;
    }
    return { blob, generation: header.generation };
  }

  cipherOf(type: StateBlobType): BlobCipher {
    return {
      flags: FLAG.ENCRYPTED,
      encrypt: (blob) => field(TAG.SEALED_DATA, this.encode(type, blob, 0)),
      decrypt: ({ version, body }) => {
        const file = hasFields(version) ? findField(body, TAG.SEALED_DATA) : undefined;
        if (file) return this.#decodeForeign(type, file);
        throw new ContainerError(
          "encrypted",
          CONTAINER_RESULT.BAD_KEY_PROPERTY,
          "the state blob is encrypted with a key of swtpm's, and the key given is one for wtpm's format",
        );
      },
    };
  }

  /** A blob that comes from elsewhere: its slots are not those of the state here. */
  #decodeForeign(type: StateBlobType, file: Uint8Array): Uint8Array {
    const ring = this.#ring ? { ring: this.#ring } : {};
    return new SealedFormat(this.providers, ring).decode(type, file).blob;
  }

  /** The ring of slots: the one that is there if it has them, else one that a provider opens. */
  #ringOf(slots: readonly KeySlot[]): KeyRing {
    const known = this.#ring;
    if (known && sameSlots(known.slots, slots)) return known;
    return KeyRing.open(slots, this.providers);
  }
}

function sameSlots(first: readonly KeySlot[], second: readonly KeySlot[]): boolean {
  return first.length === second.length && first.every((slot, i) => sameSlot(slot, second[i]!));
}

function sameSlot(first: KeySlot, second: KeySlot): boolean {
  const { wrapped } = second;
  if (first.kind !== second.kind || first.name !== second.name || first.wrapped.length !== wrapped.length) return false;
  return first.wrapped.every((byte, i) => byte === wrapped[i]);
}
