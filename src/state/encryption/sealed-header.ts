// The header of files in this project's authenticated format.

/** "WTPM" where swtpm's container has its versions: swtpm reads it as one that needs version 0x54, and refuses it. */
const MAGIC = Uint8Array.of(0x57, 0x54, 0x50, 0x4d);

/** Whether the bytes begin as a file in this format does. */
export function isSealed(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}
