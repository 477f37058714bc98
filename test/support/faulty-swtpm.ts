// What swtpm leaves in files, made without it.
import { encodeHeader, HEADER_SIZE, type Sections } from "../../src/state/linear-layout.ts";

/** A store as swtpm leaves it: packed sections, each of the next power of two. */
export function swtpmLinearStore(blobs: { permanent?: Uint8Array; volatile?: Uint8Array }): Buffer {
  const sections: { -readonly [type in keyof Sections]: Sections[type] } = {};
  const pieces: Buffer[] = [];
  let offset = HEADER_SIZE;
  for (const type of ["permanent", "volatile"] as const) {
    const blob = blobs[type];
    if (!blob) continue;
    const container = swtpmContainer(blob);
    const room = 2 ** Math.ceil(Math.log2(container.length));
    sections[type] = { offset, size: container.length, room };
    pieces.push(Buffer.concat([container, Buffer.alloc(room - container.length)]));
    offset += room;
  }
  return Buffer.concat([encodeHeader(sections), ...pieces]);
}

/** A state file as swtpm writes it: without generation and checksum. */
export function swtpmContainer(blob: Uint8Array): Buffer {
  const head = Buffer.from("0201000a00000000000000010000", "hex");
  const container = Buffer.concat([head, Buffer.alloc(2), blob]);
  container.writeUInt32BE(container.length, 6);
  container.writeUInt32BE(blob.length, 12);
  return container;
}
