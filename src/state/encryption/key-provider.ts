// Who wraps and unwraps the data key of a state: a key in a file, a passphrase. (An external command: command-provider.ts.)
import { randomBytes, scryptSync } from "node:crypto";
import { concat, wipe } from "./bytes.ts";
import { BOX_OVERHEAD, KEY_SIZE, seal, unseal } from "./sealed-box.ts";
import type { SlotKind } from "./sealed-header.ts";

/** One key that opens states. Its secret stays in it. */
export interface KeyProvider {
  readonly kind: SlotKind;
  /** The name that a new slot gets; when `named`, the only slot that is tried. */
  readonly slot: string;
  readonly named: boolean;

  /**
   * The data key (32 bytes), wrapped.
   *
   * @param context authenticated with it.
   * @throws StateError "io" when the key cannot be reached.
   */
  wrap(dataKey: Uint8Array, context: Uint8Array): Uint8Array;

  /**
   * The data key, or undefined when it was wrapped with another key or was changed.
   *
   * @throws StateError "io" when the key cannot be reached.
   */
  unwrap(wrapped: Uint8Array, context: Uint8Array): Uint8Array | undefined;
}

const PURPOSE = "wtpm key slot";

/** @param key 32 bytes, which are taken over. @throws RangeError for another size */
export function fileProvider(key: Uint8Array, slot?: string): KeyProvider {
  if (key.length !== KEY_SIZE) throw new RangeError(`The key has ${key.length} bytes; ${KEY_SIZE} are needed.`);
  return {
    kind: "file",
    slot: slot ?? "file",
    named: slot !== undefined,
    wrap: (dataKey, context) => seal(key, PURPOSE, context, dataKey),
    unwrap: (wrapped, context) => unseal(key, PURPOSE, context, wrapped),
  };
}

/** scrypt's parameters as they are in a slot; N is a power of two. */
export interface ScryptCost {
  readonly log2N: number;
  readonly r: number;
  readonly p: number;
}

/** 128 MiB and about half a second. */
export const DEFAULT_SCRYPT: ScryptCost = { log2N: 17, r: 8, p: 1 };
/** The bounds of log2 N: what a new slot may ask for. */
export const MIN_LOG2_N = 14;
export const MAX_LOG2_N = 18;
/** What a slot in a file may make this process spend: memory in bytes, and rounds over it. */
const MAX_MEMORY = 128 * 8 * 2 ** MAX_LOG2_N;
const MAX_PARALLEL = 4;
const SCRYPT_SALT_SIZE = 16;
const PARAMETERS_SIZE = 3 + SCRYPT_SALT_SIZE;

/**
 * Slots: u8 log2 N, u8 r, u8 p, 16 bytes salt, then the data key in a sealed box under scrypt's key.
 *
 * @param passphrase is taken over.
 */
export function passphraseProvider(passphrase: Uint8Array, slot?: string, cost = DEFAULT_SCRYPT): KeyProvider {
  return {
    kind: "passphrase",
    slot: slot ?? "passphrase",
    named: slot !== undefined,

    wrap(dataKey, context) {
      const parameters = concat(Uint8Array.of(cost.log2N, cost.r, cost.p), randomBytes(SCRYPT_SALT_SIZE));
      const key = scryptKey(passphrase, parameters);
      try {
        return concat(parameters, seal(key, PURPOSE, concat(context, parameters), dataKey));
      } finally {
        wipe(key);
      }
    },

    unwrap(wrapped, context) {
      if (wrapped.length !== PARAMETERS_SIZE + BOX_OVERHEAD + KEY_SIZE || !affordable(wrapped)) return undefined;
      const parameters = wrapped.subarray(0, PARAMETERS_SIZE);
      const key = scryptKey(passphrase, parameters);
      try {
        return unseal(key, PURPOSE, concat(context, parameters), wrapped.subarray(PARAMETERS_SIZE));
      } finally {
        wipe(key);
      }
    },
  };
}

/** Whether the parameters are within scrypt's bounds (RFC 7914, 2), and what they cost within this program's. */
function affordable(parameters: Uint8Array): boolean {
  const [log2N = 0, r = 0, p = 0] = parameters;
  const memory = 128 * r * 2 ** log2N;
  return log2N > 0 && log2N < 16 * r && p > 0 && p <= MAX_PARALLEL && memory <= MAX_MEMORY;
}

function scryptKey(passphrase: Uint8Array, parameters: Uint8Array): Uint8Array {
  const [log2N = 0, r = 0, p = 0] = parameters;
  const N = 2 ** log2N;
  return scryptSync(passphrase, parameters.subarray(3), KEY_SIZE, { N, r, p, maxmem: 128 * r * (N + p + 2) });
}
