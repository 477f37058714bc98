// The non-volatile memory as libtpms writes it: INDEX_ORDERLY_RAM and USER_NVRAM.
import { anyObject, type AnyObject } from "./object.ts";
import type { Reader, Writer } from "./cursor.ts";
import { fields, part2, secret16, secret32, u32, u64, type ValueOf } from "./shape.ts";
import { structure } from "./structure.ts";
import type { Secret } from "./secret.ts";

/** The upper bytes of the handles of entries (Part 2, 7.2). */
const TPM_HT = { NV_INDEX: 0x01, PERSISTENT: 0x81 } as const;

/** Of an entry without its data: size, handle, attributes. */
const RAM_ENTRY_HEADER = 12;

const ramEntry = fields({ handle: u32, attributes: part2("TPMA_NV"), data: secret16 });
/** An index whose data is written to NV by TPM2_Shutdown only. Here the attributes are the current ones. */
export type RamEntry = ValueOf<typeof ramEntry>;

interface OrderlyRam {
  /** Bytes that the memory has for entries. */
  space: number;
  entries: RamEntry[];
}

export const indexOrderlyRam = structure(
  { name: "INDEX_ORDERLY_RAM", magic: 0x5346feab, version: 2 },
  {
    read(reader: Reader): OrderlyRam {
      const space = reader.at("space", () => u32.read(reader));
      const entries: RamEntry[] = [];
      for (let used = 0; used + RAM_ENTRY_HEADER <= space; ) {
        const size = u32.read(reader);
        if (size === 0) break;
        const entry = reader.at(`entries.[${entries.length}]`, () => ramEntry.read(reader));
        if (size !== RAM_ENTRY_HEADER + entry.data.size)
          reader.damaged(`an entry of ${size} bytes has ${entry.data.size} bytes of data`);
        entries.push(entry);
        used += size;
      }
      return { space, entries };
    },
    write(writer: Writer, { space, entries }: OrderlyRam) {
      u32.write(writer, space);
      let used = 0;
      for (const entry of entries) {
        const size = RAM_ENTRY_HEADER + entry.data.size;
        u32.write(writer, size);
        ramEntry.write(writer, entry);
        used += size;
      }
      if (used + RAM_ENTRY_HEADER <= space) u32.write(writer, 0);
    },
  },
);

const nvIndex = structure(
  { name: "NV_INDEX", magic: 0x2547265a, version: 2 },
  fields({ publicArea: part2("TPMS_NV_PUBLIC"), authValue: secret16 }),
);
export type NvIndex = ValueOf<typeof nvIndex>;

interface EntryHead {
  /** What the entry takes in the writer's memory, in bytes. */
  entrySize: number;
  handle: number;
}
/** An NV index with its data (none for an orderly index), or a persistent object. */
export type NvEntry = EntryHead &
  ({ index: NvIndex; data: Secret; object?: never } | { object: AnyObject; index?: never; data?: never });

interface UserNvram {
  /** Bytes that the memory has for entries. */
  areaSize: bigint;
  entries: NvEntry[];
  /** The floor of new counters. */
  maxCounter: bigint;
}

export const userNvram = structure(
  { name: "USER_NVRAM", magic: 0x094f22c3, version: 2 },
  {
    read(reader: Reader): UserNvram {
      const areaSize = reader.at("areaSize", () => u64.read(reader));
      const entries: NvEntry[] = [];
      for (let size = u32.read(reader); size !== 0; size = u32.read(reader))
        entries.push(reader.at(`entries.[${entries.length}]`, () => readEntry(reader, size)));
      return { areaSize, entries, maxCounter: reader.at("maxCounter", () => u64.read(reader)) };
    },
    write(writer: Writer, { areaSize, entries, maxCounter }: UserNvram) {
      u64.write(writer, areaSize);
      for (const entry of entries) {
        u32.write(writer, entry.entrySize);
        u32.write(writer, entry.handle);
        if (entry.index) {
          nvIndex.write(writer, entry.index);
          secret32.write(writer, entry.data);
        } else anyObject.write(writer, entry.object);
      }
      u32.write(writer, 0);
      u64.write(writer, maxCounter);
    },
  },
);

function readEntry(reader: Reader, entrySize: number): NvEntry {
  const handle = u32.read(reader);
  switch (handle >>> 24) {
    case TPM_HT.NV_INDEX:
      return {
        entrySize,
        handle,
        index: reader.at("index", () => nvIndex.read(reader)),
        data: reader.at("data", () => secret32.read(reader)),
      };
    case TPM_HT.PERSISTENT:
      return { entrySize, handle, object: reader.at("object", () => anyObject.read(reader)) };
    default:
      return reader.damaged(`an entry with the handle 0x${handle.toString(16).padStart(8, "0")}`);
  }
}

/** The entries in the memory of the orderly indexes as it lies in a little-endian machine, which the volatile state has. */
export function orderlyRamEntries(image: Uint8Array): { handle: number; attributes: number; data: Uint8Array }[] {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const entries: { handle: number; attributes: number; data: Uint8Array }[] = [];
  for (let at = 0; at + RAM_ENTRY_HEADER <= image.length; ) {
    const size = view.getUint32(at, true);
    if (size < RAM_ENTRY_HEADER || size > image.length - at) break;
    entries.push({
      handle: view.getUint32(at + 4, true),
      attributes: view.getUint32(at + 8, true),
      data: image.subarray(at + RAM_ENTRY_HEADER, at + size),
    });
    at += size;
  }
  return entries;
}
