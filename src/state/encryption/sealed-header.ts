// The header of files in this project's authenticated format, big-endian.
//
//   u32 magic "WTPM"  u16 version (1)  u32 total size  u8 blob type  u64 generation  u8 number of key slots
//   each slot: u8 kind  u8 size of its name  name (UTF-8)  u16 size  the data key, wrapped as its kind says
//
// A sealed box (sealed-box.ts) with the blob follows; the whole header is its context. Magic, version and size lie where swtpm's header has
// its versions, flags and size.
import type { StateBlobType } from "../../backend/backend.ts";
import { CONTAINER_RESULT, ContainerError, damaged } from "../container-fields.ts";
import { BLOB_TYPES } from "../store.ts";
import { concat } from "./bytes.ts";

/** "WTPM": swtpm reads a container that needs a reader of version 0x54 and refuses it. */
const MAGIC = Uint8Array.of(0x57, 0x54, 0x50, 0x4d);
const VERSION = 1;
const FIXED_SIZE = 20;
const TOTAL_SIZE_AT = 6;
const SLOT_KINDS = ["file", "passphrase", "command"] as const;
export const MAX_SLOTS = 16;
export const MAX_SLOT_NAME = 64;
/** What an external command may give as the wrapped key, in bytes. */
export const MAX_WRAPPED_KEY = 16 * 1024;

export type SlotKind = (typeof SLOT_KINDS)[number];

/** The data key, wrapped with one key. */
export interface KeySlot {
  readonly kind: SlotKind;
  readonly name: string;
  readonly wrapped: Uint8Array;
}

export interface SealedHeader {
  readonly type: StateBlobType;
  readonly generation: number;
  readonly slots: readonly KeySlot[];
}

/** Whether the bytes begin as a file in this format does. */
export function isSealed(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}

/** The header of a file whose sealed box has `boxSize` bytes. */
export function encodeHeader({ type, generation, slots }: SealedHeader, boxSize: number): Uint8Array {
  const header = concat(new Uint8Array(FIXED_SIZE), ...slots.map(encodeSlot));
  const view = new DataView(header.buffer);
  header.set(MAGIC);
  view.setUint16(4, VERSION);
  view.setUint32(TOTAL_SIZE_AT, header.length + boxSize);
  view.setUint8(10, BLOB_TYPES.indexOf(type));
  view.setBigUint64(11, BigInt(generation));
  view.setUint8(19, slots.length);
  return header;
}

function encodeSlot({ kind, name, wrapped }: KeySlot): Uint8Array {
  return concat(slotContext(kind, name), Uint8Array.of(wrapped.length >>> 8, wrapped.length), wrapped);
}

/** What of a slot is authenticated with its wrapped key: kind and name, as they are in the header. */
export function slotContext(kind: SlotKind, name: string): Uint8Array {
  const text = new TextEncoder().encode(name);
  return concat(Uint8Array.of(SLOT_KINDS.indexOf(kind) + 1, text.length), text);
}

/**
 * @param type the blob that the file is to hold.
 * @returns the header, its bytes and the sealed box after it. Nothing of it is authenticated yet.
 * @throws ContainerError "damaged", or "too-new" for another version.
 */
export function decodeHeader(
  type: StateBlobType,
  file: Uint8Array,
): { header: SealedHeader; headerBytes: Uint8Array; box: Uint8Array } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < FIXED_SIZE || view.getUint32(TOTAL_SIZE_AT) !== file.length)
    throw damaged("its size is another than its header says", CONTAINER_RESULT.BAD_PARAMETER);
  const version = view.getUint16(4);
  if (version !== VERSION) {
    throw new ContainerError(
      "too-new",
      CONTAINER_RESULT.BAD_VERSION,
      `the state is encrypted in version ${version} of wtpm's format; this wtpm knows version ${VERSION}`,
    );
  }
  const stored = BLOB_TYPES[view.getUint8(10)];
  if (stored !== type)
    throw damaged(`it is ${stored ? `the ${stored} state` : "no known state"}, put in another's place`);
  const { slots, end } = decodeSlots(file, view.getUint8(19));
  return {
    header: { type, generation: Number(view.getBigUint64(11)), slots },
    headerBytes: file.subarray(0, end),
    box: file.subarray(end),
  };
}

function decodeSlots(file: Uint8Array, count: number): { slots: KeySlot[]; end: number } {
  if (count === 0 || count > MAX_SLOTS) throw damaged(`${count} key slots`);
  const slots: KeySlot[] = [];
  let end = FIXED_SIZE;
  const take = (size: number): Uint8Array => {
    if (end + size > file.length) throw damaged("a key slot is cut off");
    end += size;
    return file.subarray(end - size, end);
  };
  for (let i = 0; i < count; i++) {
    const start = take(2);
    const kind = SLOT_KINDS[start[0]! - 1];
    if (!kind) throw damaged(`a key slot of the unknown kind ${start[0]}`);
    const name = new TextDecoder().decode(take(start[1]!));
    const size = take(2);
    slots.push({ kind, name, wrapped: take((size[0]! << 8) | size[1]!) });
  }
  return { slots, end };
}
