// CMD_GET_STATEBLOB and CMD_SET_STATEBLOB: state that moves, encrypted as the keys say.
import { attempt, chain } from "../backend/awaitable.ts";
import type { Awaitable, StateBlobType } from "../backend/backend.ts";
import { type BlobKeys, decodeMigrationBlob, encodeMigrationBlob } from "../state/container.ts";
import type { AesCbcKey } from "../state/encryption/aes-cbc.ts";
import type { StateFormat } from "../state/format.ts";
import type { DataSink } from "./control-commands.ts";
import { failureResult } from "./failure-result.ts";
import * as P from "./protocol.ts";
import { RESULT } from "./protocol.ts";
import type { ServedTpm } from "./served-tpm.ts";

/** With which keys blobs are encrypted. */
export interface StateBlobKeys {
  /** The format of the stored state, whose key is that of blobs which are not asked for decrypted. */
  readonly state?: StateFormat;
  /** --migration-key: every blob that is handed out is encrypted with it once more. */
  readonly migration?: AesCbcKey | undefined;
}

const BLOB_TYPES: readonly (StateBlobType | undefined)[] = [undefined, "permanent", "volatile", "savestate"];
const REPLY_HEADER_SIZE = 16;

/** The word that CMD_GET_CONFIG answers. */
export function stateBlobConfiguration(keys: StateBlobKeys): number {
  return (keys.state?.cipherOf ? P.CONFIG_FILE_KEY : 0) | (keys.migration ? P.CONFIG_MIGRATION_KEY : 0);
}

/** Body: u32 flags, type, offset. Reply: result, flags, total and length (both what remains), data. */
export function getStateBlob(tpm: ServedTpm, body: Uint8Array): Awaitable<Uint8Array> {
  const decrypted = (P.readU32(body, 0) & P.STATE_FLAG_DECRYPTED) !== 0;
  const type = BLOB_TYPES[P.readU32(body, 4)];
  const offset = P.readU32(body, 8);
  const refuse = (result: number) => P.words(result, 0, 0, 0);
  if (!type) return refuse(RESULT.FAIL);
  const { migrationBlocker } = tpm.backend;
  if (migrationBlocker) {
    tpm.log.line(`The state cannot be given away: ${migrationBlocker}`);
    return refuse(RESULT.FAIL);
  }
  const { migration, file } = keysOf(tpm.keys, type);
  const keys = decrypted ? { migration } : { migration, file };
  const reply = attempt<Uint8Array>(
    () =>
      chain(tpm.backend.getState(type), (state) => {
        if (state.length === 0) return refuse(RESULT.RETRY);
        const blob = encodeMigrationBlob(state, keys).subarray(offset);
        const out = new Uint8Array(REPLY_HEADER_SIZE + blob.length);
        P.writeU32(out, 4, keys.file ? P.STATE_FLAG_ENCRYPTED : 0);
        P.writeU32(out, 8, blob.length);
        P.writeU32(out, 12, blob.length);
        out.set(blob, REPLY_HEADER_SIZE);
        return out;
      }),
    (error) => refuse(failureResult(error)),
  );
  return chain(reply, (out) => (type === "savestate" ? chain(tpm.outgoingMigrationDone(), () => out) : out));
}

/** Body: u32 flags, type, length; the data follows. Reply: result. */
export function setStateBlob(tpm: ServedTpm, body: Uint8Array, length: number): Awaitable<number | DataSink> {
  const encrypted = (P.readU32(body, 0) & P.STATE_FLAG_ENCRYPTED) !== 0;
  const type = BLOB_TYPES[P.readU32(body, 4)];
  if (length > P.MAX_STATE_BLOB) {
    tpm.log.line(`Unreasonable large state of ${length} bytes.`);
    return RESULT.FAIL;
  }
  return chain(tpm.lockStorage(), (locked) => {
    if (!locked) return RESULT.IOERROR;
    const container = new Uint8Array(length);
    let filled = 0;
    return {
      write(piece) {
        container.set(piece, filled);
        filled += piece.length;
      },
      end() {
        if (!type) return P.words(RESULT.BAD_PARAMETER);
        const state = length === 0 ? container : decodeMigrationBlob(container, encrypted, keysOf(tpm.keys, type));
        return chain(
          tpm.exclusively(() => tpm.setState(type, state)),
          () => P.words(RESULT.SUCCESS),
        );
      },
    };
  });
}

function keysOf(keys: StateBlobKeys, type: StateBlobType): BlobKeys {
  return { file: keys.state?.cipherOf?.(type), migration: keys.migration };
}
