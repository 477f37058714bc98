// Texts: bytes with a zero at their end, as C has them. For profiles, whose rules are those of C's functions.

/** Bytes before the zero. */
export function textLength(at: usize): u32 {
  let length: u32 = 0;
  while (load<u8>(at + length) != 0) length++;
  return length;
}

/** Address of the first `character` (or of the zero, if that comes first). */
export function textFind(at: usize, character: u32): usize {
  while (load<u8>(at) != 0 && load<u8>(at) != character) at++;
  return at;
}

export function textStartsWith(at: usize, prefix: usize): bool {
  for (; load<u8>(prefix) != 0; at++, prefix++) if (load<u8>(at) != load<u8>(prefix)) return false;
  return true;
}

/** Whether the `length` bytes at `at` are this text. */
export function textIs(at: usize, length: u32, text: usize): bool {
  for (let i: u32 = 0; i < length; i++)
    if (load<u8>(at + i) != load<u8>(text + i) || load<u8>(text + i) == 0) return false;
  return load<u8>(text + length) == 0;
}

export function isSpace(character: u32): bool {
  return character == 0x20 || (character >= 0x09 && character <= 0x0d);
}

export function isDigit(character: u32): bool {
  return character >= 0x30 && character <= 0x39;
}

/** Address of the first byte behind the last number that was read. */
let numberEnd: usize = 0;
export function textNumberEnd(): usize {
  return numberEnd;
}

/**
 * C's strtoul: white space, a sign, digits; base 0 takes 0x and 0 as C does. No digits at all: 0, and the end is where it began.
 * A negative number is a huge one, and so is one that is too large.
 */
export function textNumber(at: usize, base: u32): u64 {
  numberEnd = at;
  while (isSpace(load<u8>(at))) at++;
  const sign: u32 = load<u8>(at);
  if (sign == 0x2b || sign == 0x2d) at++;
  if (base == 0) {
    base = 10;
    if (load<u8>(at) == 0x30) {
      base = 8;
      if ((load<u8>(at + 1) | 0x20) == 0x78 && digitValue(load<u8>(at + 2)) < 16) {
        base = 16;
        at += 2;
      }
    }
  }
  let value: u64 = 0;
  let overflow = false;
  for (let digit = digitValue(load<u8>(at)); digit < base; digit = digitValue(load<u8>(++at))) {
    if (value > (u64.MAX_VALUE - digit) / base) overflow = true;
    value = value * base + digit;
    numberEnd = at + 1;
  }
  if (overflow) return u64.MAX_VALUE;
  return sign == 0x2d ? 0 - value : value;
}

/** 0xff for what is no digit in any base. */
function digitValue(character: u32): u32 {
  if (isDigit(character)) return character - 0x30;
  const letter = character | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : 0xff;
}

let out: usize = 0;
let outEnd: usize = 0;

/** Starts writing a text to `capacity` bytes. */
export function textBegin(at: usize, capacity: u32): void {
  out = at;
  outEnd = at + capacity - 1;
  store<u8>(at, 0);
}

/** Appends at most `length` bytes; what does not fit is left out. */
export function textAppendBytes(at: usize, length: u32): void {
  const size = min(length, <u32>(outEnd - out));
  memory.copy(out, at, size);
  out += size;
  store<u8>(out, 0);
}

export function textAppend(text: usize): void {
  textAppendBytes(text, textLength(text));
}

const CHARACTER: usize = memory.data(4);

export function textAppendCharacter(character: u32): void {
  store<u8>(CHARACTER, <u8>character);
  textAppendBytes(CHARACTER, 1);
}

const DIGITS: usize = memory.data(12);

export function textAppendDecimal(value: u32): void {
  let at: u32 = 12;
  do {
    store<u8>(DIGITS + --at, <u8>(0x30 + (value % 10)));
    value /= 10;
  } while (value != 0);
  textAppendBytes(DIGITS + at, 12 - at);
}

/** "0x" and lower-case digits without leading zeros. */
export function textAppendHex(value: u32): void {
  let at: u32 = 12;
  do {
    const digit = value & 15;
    store<u8>(DIGITS + --at, <u8>(digit < 10 ? 0x30 + digit : 0x61 - 10 + digit));
    value >>= 4;
  } while (value != 0);
  textAppendCharacter(0x30);
  textAppendCharacter(0x78);
  textAppendBytes(DIGITS + at, 12 - at);
}
