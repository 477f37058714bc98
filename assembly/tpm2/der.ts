// DER (ITU-T X.690) as far as certificates of the TPM need it: a writer that fills a buffer from its end to its start, so that
// lengths are known when they are written, and a reader that goes over elements.
export const DER_INTEGER: u32 = 0x02;
export const DER_BIT_STRING: u32 = 0x03;
export const DER_OCTET_STRING: u32 = 0x04;
export const DER_NULL: u32 = 0x05;
export const DER_SEQUENCE: u32 = 0x30;
/** Context-specific, constructed; add the number. */
export const DER_CONTEXT: u32 = 0xa0;

let start: usize = 0;
let position: usize = 0;
let overflow = false;

/** Begins to write: the last byte will be at `buffer + capacity - 1`. */
export function derBegin(buffer: usize, capacity: u32): void {
  start = buffer;
  position = buffer + capacity;
  overflow = false;
}

/** Where the bytes written so far start. */
@inline
export function derPosition(): usize {
  return position;
}

/** Whether everything had room. */
export function derFits(): bool {
  return !overflow;
}

export function derByte(value: u32): void {
  if (position == start) overflow = true;
  else store<u8>(--position, <u8>value);
}

export function derBytes(at: usize, length: u32): void {
  if (position - start < <usize>length) {
    overflow = true;
    return;
  }
  position -= length;
  memory.copy(position, at, length);
}

/** Tag and length in front of what was written since `end`, the position before it. */
export function derWrap(tag: u32, end: usize): void {
  if (tag == DER_BIT_STRING) derByte(0);
  const length = <u32>(end - position);
  derByte(length & 0xff);
  if (length > 0xff) {
    derByte(length >> 8);
    derByte(0x82);
  } else if (length > 0x7f) derByte(0x81);
  derByte(tag);
}

/** An object identifier as it stands in memory: tag, length, content. */
export function derOid(oid: usize): void {
  derBytes(oid, load<u8>(oid, 1) + 2);
}

/** A non-negative INTEGER from big-endian bytes, without needless zeros. */
export function derInteger(at: usize, length: u32): void {
  const end = position;
  while (length > 1 && load<u8>(at) == 0) {
    at++;
    length--;
  }
  derBytes(at, length);
  if (load<u8>(at) & 0x80) derByte(0);
  derWrap(DER_INTEGER, end);
}

const NUMBER: usize = memory.data(4, 4);

export function derUint(value: u32): void {
  store<u32>(NUMBER, bswap<u32>(value));
  derInteger(NUMBER, 4);
}

/** AlgorithmIdentifier with NULL parameters. */
export function derAlgorithm(oid: usize): void {
  const end = position;
  derByte(0);
  derByte(DER_NULL);
  derOid(oid);
  derWrap(DER_SEQUENCE, end);
}

/** A position in DER data; `end` is that of the element being read. */
@unmanaged
export class DerReader {
  at: usize;
  end: usize;
  /** Tag of the element last read. */
  tag: u32;
  /** Its content. */
  content: usize;
  length: u32;
}

/** Reads tag and length of the next element, which has to end within the data. Its content is left to be read or skipped. */
export function derNext(reader: DerReader): bool {
  if (reader.end - reader.at < 2) return false;
  reader.tag = load<u8>(reader.at);
  if ((reader.tag & 0x1f) == 0x1f) return false;
  let length: u32 = load<u8>(reader.at, 1);
  let at = reader.at + 2;
  if (length >= 0x80) {
    // One or two length bytes; more could not be in a command.
    const bytes = length & 0x7f;
    if (bytes == 0 || bytes > 2 || reader.end - at < <usize>bytes) return false;
    length = load<u8>(at++);
    if (bytes == 2) length = (length << 8) | load<u8>(at++);
  }
  if (reader.end - at < <usize>length) return false;
  reader.content = at;
  reader.length = length;
  reader.at = at;
  return true;
}

/** Writes tag and length of an element of `length` content bytes to `out`, forwards. Returns their size, at most 4. */
export function derHeader(tag: u32, length: u32, out: usize): u32 {
  store<u8>(out, <u8>tag);
  if (length <= 0x7f) {
    store<u8>(out, <u8>length, 1);
    return 2;
  }
  if (length <= 0xff) {
    store<u8>(out, 0x81, 1);
    store<u8>(out, <u8>length, 2);
    return 3;
  }
  store<u8>(out, 0x82, 1);
  store<u8>(out, <u8>(length >> 8), 2);
  store<u8>(out, <u8>length, 3);
  return 4;
}
