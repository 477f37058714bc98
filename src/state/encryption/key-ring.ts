// The data key of a state, and the slots that it is wrapped in.
import { randomBytes, timingSafeEqual } from "node:crypto";
import { CONTAINER_RESULT, ContainerError } from "../container-fields.ts";
import type { KeyProvider } from "./key-provider.ts";
import { KEY_SIZE } from "./sealed-box.ts";
import { type KeySlot, MAX_SLOT_NAME, MAX_SLOTS, slotContext } from "./sealed-header.ts";

/** A change of keys that cannot be made, in a sentence for who asked for it. */
export class KeyRingError extends Error {}

/** Never changes: what changes keys gives a new one. */
export class KeyRing {
  readonly dataKey: Uint8Array;
  readonly slots: readonly KeySlot[];

  private constructor(dataKey: Uint8Array, slots: readonly KeySlot[]) {
    this.dataKey = dataKey;
    this.slots = slots;
  }

  /** A new random data key, in a slot for each provider. */
  static create(providers: readonly KeyProvider[]): KeyRing {
    return providers.reduce((ring, provider) => ring.added(provider), new KeyRing(randomBytes(KEY_SIZE), []));
  }

  /**
   * The data key that one of the providers unwraps.
   *
   * @throws ContainerError "encrypted" with DECRYPT_ERROR when none does; StateError "io" when a key cannot be reached.
   */
  static open(slots: readonly KeySlot[], providers: readonly KeyProvider[]): KeyRing {
    for (const provider of providers) {
      for (const slot of slots) {
        const dataKey = unwrap(slot, provider);
        if (dataKey) return new KeyRing(dataKey, slots);
      }
    }
    throw new ContainerError("encrypted", CONTAINER_RESULT.DECRYPT_ERROR, reason(slots, providers));
  }

  /**
   * The same data key, in one slot more.
   *
   * @throws KeyRingError when there is no room, or another slot has the name.
   */
  added(provider: KeyProvider): KeyRing {
    if (this.slots.length === MAX_SLOTS) throw new KeyRingError(`a state has at most ${MAX_SLOTS} key slots`);
    if (this.slots.some(({ name }) => name === provider.slot))
      throw new KeyRingError(
        `there is a key slot '${provider.slot}' already: give the new one another name with slot=NAME`,
      );
    return new KeyRing(this.dataKey, [...this.slots, newSlot(provider, provider.slot, this.dataKey)]);
  }

  /**
   * The same data key without a slot.
   *
   * @throws KeyRingError when there is no such slot, or it is the last one.
   */
  without(name: string): KeyRing {
    const slots = this.slots.filter((slot) => slot.name !== name);
    if (slots.length === this.slots.length) throw new KeyRingError(`there is no key slot '${name}'`);
    if (slots.length === 0)
      throw new KeyRingError(`'${name}' is the last key slot: without it nobody could read the state`);
    return new KeyRing(this.dataKey, slots);
  }

  /**
   * A new data key in the same slots.
   *
   * @param providers one for every slot.
   * @throws KeyRingError when the key of a slot is missing.
   */
  renewed(providers: readonly KeyProvider[]): KeyRing {
    const dataKey = randomBytes(KEY_SIZE);
    const slots = this.slots.map((slot) => {
      const provider = providers.find((candidate) => this.#opens(slot, candidate));
      if (!provider)
        throw new KeyRingError(
          `the key of the slot '${slot.name}' (${slot.kind}) is needed to put the new data key into it: give it as a further --key, or remove the slot with --remove ${slot.name}`,
        );
      return newSlot(provider, slot.name, dataKey);
    });
    return new KeyRing(dataKey, slots);
  }

  /** Whether the provider unwraps the data key from one of the slots. */
  opensWith(provider: KeyProvider): boolean {
    return this.slots.some((slot) => this.#opens(slot, provider));
  }

  #opens(slot: KeySlot, provider: KeyProvider): boolean {
    const dataKey = unwrap(slot, provider);
    return dataKey?.length === this.dataKey.length && timingSafeEqual(dataKey, this.dataKey);
  }
}

function newSlot(provider: KeyProvider, name: string, dataKey: Uint8Array): KeySlot {
  const context = slotContext(provider.kind, name);
  if (context.length - 2 > MAX_SLOT_NAME) throw new KeyRingError(`a slot's name has at most ${MAX_SLOT_NAME} bytes`);
  return { kind: provider.kind, name, wrapped: provider.wrap(dataKey, context) };
}

function unwrap(slot: KeySlot, provider: KeyProvider): Uint8Array | undefined {
  if (slot.kind !== provider.kind || (provider.named && slot.name !== provider.slot)) return undefined;
  return provider.unwrap(slot.wrapped, slotContext(slot.kind, slot.name));
}

function reason(slots: readonly KeySlot[], providers: readonly KeyProvider[]): string {
  const there = slots.map(({ kind, name }) => (kind === name ? kind : `${name} (${kind})`)).join(", ");
  const tried = slots.some((slot) => providers.some(({ kind }) => kind === slot.kind));
  return tried
    ? `the state cannot be decrypted: the key is another one, or the state was changed; its key slots are ${there}`
    : `the state cannot be decrypted: no key of the kind its slots need was given; they are ${there}`;
}
