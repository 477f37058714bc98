// Reading a state of which a part has been written in another format already, because a conversion was interrupted.
import type { StateBlobType } from "../backend/backend.ts";
import type { StateFormat, StoredBlob } from "../state/format.ts";
import { StateError } from "../state/store.ts";

/** Reads what is in the first format or in the second, and writes the first. */
export function eitherFormat(first: StateFormat, second: StateFormat): StateFormat {
  return {
    name: first.name,
    encode: first.encode.bind(first),
    decode: (type, bytes) => {
      try {
        return first.decode(type, bytes);
      } catch (error) {
        if (!(error instanceof StateError) || error.kind !== "encrypted") throw error;
        return decodeSecond(second, type, bytes, error);
      }
    },
  };
}

/** Where the second format does not fit either, what was wrong with the first is said; where it fits, what is wrong with the bytes. */
function decodeSecond(second: StateFormat, type: StateBlobType, bytes: Uint8Array, failure: StateError): StoredBlob {
  try {
    return second.decode(type, bytes);
  } catch (error) {
    throw error instanceof StateError && error.kind === "encrypted" ? failure : error;
  }
}
