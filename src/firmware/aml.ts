// Writes ACPI Machine Language (ACPI 6.4, chapter 20): the part of it a TPM's device needs. Each function returns the
// bytes of one term; terms nest as they do in ASL.

export type Aml = Uint8Array;

function join(...parts: readonly (Aml | readonly number[])[]): Aml {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function littleEndian(value: number, size: number): number[] {
  return Array.from({ length: size }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);
}

/** PkgLength (20.2.4) of a value, in the fewest bytes; a package's own length includes them. */
function packageLength(value: number): number[] {
  if (value < 1 << 6) return [value];
  const low = value & 0xf;
  const rest = Math.floor(value / 16);
  const follow = value < 1 << 12 ? 1 : value < 1 << 20 ? 2 : 3;
  return [(follow << 6) | low, ...littleEndian(rest, follow)];
}

/** An opcode, then everything in `parts` behind its length. */
function packaged(opcode: readonly number[], ...parts: readonly (Aml | readonly number[])[]): Aml {
  const body = join(...parts);
  // The length counts itself, so it may take one byte more than the body's length alone.
  let size = 1;
  while (packageLength(body.length + size).length !== size) size++;
  return join(opcode, packageLength(body.length + size), body);
}

function ascii(text: string): number[] {
  return Array.from(text, (c) => c.charCodeAt(0));
}

/** A name of up to four characters, as a term that reads it. */
export function name(segment: string): Aml {
  return Uint8Array.from(ascii(segment.padEnd(4, "_")));
}

/** \segment */
export function root(segment: string): Aml {
  return join(ascii("\\"), name(segment));
}

export const ZERO: Aml = Uint8Array.of(0x00);
export const ONE: Aml = Uint8Array.of(0x01);

/** An integer of up to 32 bits, in the shortest form. */
export function integer(value: number): Aml {
  if (value === 0) return ZERO;
  if (value === 1) return ONE;
  if (value <= 0xff) return join([0x0a], littleEndian(value, 1));
  if (value <= 0xffff) return join([0x0b], littleEndian(value, 2));
  return join([0x0c], littleEndian(value, 4));
}

export function string(text: string): Aml {
  return join([0x0d], ascii(text), [0]);
}

/** EisaId("PNP0C31"): three letters of five bits, four hexadecimal digits, most significant byte first. */
export function eisaId(id: string): Aml {
  const letters = Array.from(id.slice(0, 3), (c) => c.charCodeAt(0) - 0x40);
  const vendor = (letters[0]! << 10) | (letters[1]! << 5) | letters[2]!;
  const product = Number.parseInt(id.slice(3), 16);
  return Uint8Array.of(0x0c, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff);
}

export function buffer(bytes: Uint8Array | readonly number[]): Aml {
  return packaged([0x11], integer(bytes.length), bytes);
}

/** ToUUID("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"): the first three groups little-endian. */
export function uuid(text: string): Aml {
  const groups = text.split("-").map((group) => group.match(/../g)!.map((digits) => Number.parseInt(digits, 16)));
  return buffer(groups.flatMap((group, i) => (i < 3 ? group.reverse() : group)));
}

export function packageOf(...elements: readonly Aml[]): Aml {
  return packaged([0x12], [elements.length], ...elements);
}

/** Name (segment, value) */
export function define(segment: string, value: Aml): Aml {
  return join([0x08], name(segment), value);
}

export function scope(path: Aml, ...terms: readonly Aml[]): Aml {
  return packaged([0x10], path, ...terms);
}

export function device(segment: string, ...terms: readonly Aml[]): Aml {
  return packaged([0x5b, 0x82], name(segment), ...terms);
}

const METHOD_SERIALIZED = 1 << 3;

/** Method (segment, args, Serialized) */
export function method(segment: string, args: number, ...terms: readonly Aml[]): Aml {
  return packaged([0x14], name(segment), [args | METHOD_SERIALIZED], ...terms);
}

/** OperationRegion (segment, SystemMemory, offset, length) */
export function memoryRegion(segment: string, offset: Aml, length: number): Aml {
  return join([0x5b, 0x80], name(segment), [0x00], offset, integer(length));
}

/** Field access types; fields here are NoLock and Preserve. */
export const ANY_ACCESS = 0;
export const BYTE_ACCESS = 1;

/** Field (region, access, NoLock, Preserve) with units of a name and a number of bits each. */
export function field(region: string, access: number, units: readonly (readonly [string, number])[]): Aml {
  return packaged(
    [0x5b, 0x81],
    name(region),
    [access],
    ...units.map(([segment, bits]) => join(name(segment), packageLength(bits))),
  );
}

/** Arg0 to Arg6 and Local0 to Local7. */
export function arg(n: number): Aml {
  return Uint8Array.of(0x68 + n);
}

export function local(n: number): Aml {
  return Uint8Array.of(0x60 + n);
}

export function ifThen(condition: Aml, ...terms: readonly Aml[]): Aml {
  return packaged([0xa0], condition, ...terms);
}

export function returns(value: Aml): Aml {
  return join([0xa4], value);
}

/** target = value */
export function store(value: Aml, target: Aml): Aml {
  return join([0x70], value, target);
}

/** left + right and left & right, as terms without a target. */
export function add(left: Aml, right: Aml): Aml {
  return join([0x72], left, right, ZERO);
}

export function and(left: Aml, right: Aml): Aml {
  return join([0x7b], left, right, ZERO);
}

export function equal(left: Aml, right: Aml): Aml {
  return join([0x93], left, right);
}

export function greaterOrEqual(left: Aml, right: Aml): Aml {
  return join([0x92, 0x95], left, right);
}

/** of[index]: a reference to that element. */
export function element(of: Aml, index: number): Aml {
  return join([0x88], of, integer(index), ZERO);
}

export function derefOf(reference: Aml): Aml {
  return join([0x83], reference);
}

/** A call: the method's name, then its arguments. */
export function call(segment: string, ...args: readonly Aml[]): Aml {
  return join(name(segment), ...args);
}

/** ResourceTemplate () { Memory32Fixed (ReadWrite, base, length) } */
export function memoryResources(base: number, length: number): Aml {
  const writable = 1;
  const descriptor = [0x86, ...littleEndian(9, 2), writable, ...littleEndian(base, 4), ...littleEndian(length, 4)];
  const end = [0x79, 0x00];
  return buffer([...descriptor, ...end]);
}
