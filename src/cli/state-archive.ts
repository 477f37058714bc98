// A state in one file: a tar archive (POSIX.1-1988 "ustar") of the files that swtpm has in a state directory. Unpacked into a directory it
// is one.
import { concatBytes } from "../codec/bytes.ts";
import type { StateFormat } from "../state/format.ts";
import { BLOB_FILE_NAMES } from "../state/state-files.ts";
import { BLOB_TYPES, type StateBlobs, StateError } from "../state/store.ts";

const RECORD = 512;
const nameOf = (type: (typeof BLOB_TYPES)[number]): string => `tpm2-00.${BLOB_FILE_NAMES[type]}`;

/** Offsets and lengths in a header. */
const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
} as const;
const REGULAR_FILE = ["0", "\0"];

/** The archive of a generation. Equal states give equal archives. */
export function writeArchive(blobs: StateBlobs, generation: number, format: StateFormat): Uint8Array {
  const parts = BLOB_TYPES.flatMap((type) => {
    const blob = blobs[type];
    if (!blob) return [];
    const bytes = format.encode(type, blob, generation);
    return [header(nameOf(type), bytes.length), bytes, new Uint8Array(-bytes.length & (RECORD - 1))];
  });
  return concatBytes(...parts, new Uint8Array(2 * RECORD));
}

/**
 * The state in an archive, which another tar may have written. Files that are none of a TPM 2.0's are passed over.
 *
 * @throws StateError "damaged", or what the format says of a file
 */
export function readArchive(archive: Uint8Array, format: StateFormat): StateBlobs {
  const blobs: { [type in (typeof BLOB_TYPES)[number]]?: Uint8Array } = {};
  for (let at = 0; at + RECORD <= archive.length; ) {
    const record = archive.subarray(at, at + RECORD);
    if (record.every((byte) => byte === 0)) break;
    if (text(record, "magic").slice(0, 5) !== "ustar" || octal(record, "checksum") !== checksum(record))
      throw new StateError("damaged", `the archive is damaged at byte ${at}: no header of a tar archive`);
    const size = octal(record, "size");
    const start = at + RECORD;
    if (!(size <= archive.length - start)) throw new StateError("damaged", "the archive is damaged: it ends too early");
    const name = text(record, "name").replace(/^.*\//, "");
    const type = BLOB_TYPES.find((candidate) => nameOf(candidate) === name);
    if (type && REGULAR_FILE.includes(text(record, "type") || "\0"))
      blobs[type] = format.decode(type, archive.slice(start, start + size)).blob;
    at = start + Math.ceil(size / RECORD) * RECORD;
  }
  if (!blobs.permanent) throw new StateError("damaged", `the archive has no ${nameOf("permanent")}`);
  return blobs;
}

function header(name: string, size: number): Uint8Array {
  const record = new Uint8Array(RECORD);
  const put = (field: keyof typeof FIELD, value: string) =>
    record.set(new TextEncoder().encode(value), FIELD[field][0]);
  const number = (field: keyof typeof FIELD, value: number) =>
    put(field, value.toString(8).padStart(FIELD[field][1] - 1, "0"));
  put("name", name);
  number("mode", 0o600);
  number("uid", 0);
  number("gid", 0);
  number("size", size);
  number("mtime", 0);
  put("type", "0");
  put("magic", "ustar\x0000");
  put("checksum", `${checksum(record).toString(8).padStart(6, "0")}\0 `);
  return record;
}

/** The sum of the header's bytes, its own field taken as spaces. */
function checksum(record: Uint8Array): number {
  const [start, length] = FIELD.checksum;
  return record.reduce((sum, byte, i) => sum + (i >= start && i < start + length ? 0x20 : byte), 0);
}

function text(record: Uint8Array, field: keyof typeof FIELD): string {
  const [start, length] = FIELD[field];
  return new TextDecoder().decode(record.subarray(start, start + length)).replace(/\0.*$/s, "");
}

const octal = (record: Uint8Array, field: keyof typeof FIELD): number => Number.parseInt(text(record, field).trim(), 8);
