// The JSON of libtpms' profiles: one flat object whose values are strings (without escapes) or digits. libtpms looks at it with
// regular expressions; what they accept is accepted here.
import { isDigit, isSpace, textFind, textIs } from "./text";

const QUOTE: u32 = 0x22;
const COMMA: u32 = 0x2c;
const COLON: u32 = 0x3a;
const EQUALS: u32 = 0x3d;
const OPEN: u32 = 0x7b;
const CLOSE: u32 = 0x7d;

let valueAt: usize = 0;
let valueLength: u32 = 0;
/** Bytes of the value that the last search found. */
export function jsonValueLength(): u32 {
  return valueLength;
}

// The entry that nextEntry read.
let keyAt: usize = 0;
let keyLength: u32 = 0;
let entryIsString = false;
let entryValue: usize = 0;
let entryLength: u32 = 0;

function skipSpace(at: usize): usize {
  while (isSpace(load<u8>(at))) at++;
  return at;
}

/** Reads "key":value with white space around; returns the address behind it, 0 if there is none. */
function readEntry(at: usize): usize {
  at = skipSpace(at);
  if (load<u8>(at) != QUOTE) return 0;
  keyAt = at + 1;
  at = textFind(keyAt, QUOTE);
  keyLength = <u32>(at - keyAt);
  if (keyLength == 0 || load<u8>(at) == 0) return 0;
  at = skipSpace(at + 1);
  if (load<u8>(at) != COLON) return 0;
  at = skipSpace(at + 1);
  entryIsString = load<u8>(at) == QUOTE;
  entryValue = entryIsString ? at + 1 : at;
  if (entryIsString) at = textFind(entryValue, QUOTE);
  else while (isDigit(load<u8>(at))) at++;
  entryLength = <u32>(at - entryValue);
  if (entryIsString ? load<u8>(at) == 0 : entryLength == 0) return 0;
  return skipSpace(entryIsString ? at + 1 : at);
}

/** Address behind the opening brace, white space and the comma that a first entry may lack. */
function firstEntry(json: usize): usize {
  const at = skipSpace(json + 1);
  return load<u8>(at) == COMMA ? at + 1 : at;
}

/** Whether the text is an object as described above, and nothing else. */
export function jsonIsFlatObject(json: usize): bool {
  if (load<u8>(json) != OPEN) return false;
  let at = skipSpace(json + 1);
  if (load<u8>(at) != CLOSE) {
    at = firstEntry(json);
    for (;;) {
      at = readEntry(at);
      if (at == 0) return false;
      if (load<u8>(at) != COMMA) break;
      at++;
    }
  }
  return load<u8>(at) == CLOSE && load<u8>(at + 1) == 0;
}

/**
 * The value of the last entry with this key that is of the wanted kind: strings, empty ones only with `allowEmpty`, or digits.
 * @returns its address (jsonValueLength tells the size), 0 if there is none
 */
function find(json: usize, key: usize, isString: bool, allowEmpty: bool): usize {
  valueAt = 0;
  if (load<u8>(skipSpace(json + 1)) == CLOSE) return 0;
  for (let at = firstEntry(json); ; at++) {
    at = readEntry(at);
    if (entryIsString == isString && (allowEmpty || entryLength != 0) && textIs(keyAt, keyLength, key)) {
      valueAt = entryValue;
      valueLength = entryLength;
    }
    if (load<u8>(at) != COMMA) break;
  }
  return valueAt;
}

export function jsonString(json: usize, key: usize, allowEmpty: bool): usize {
  return find(json, key, true, allowEmpty);
}

export function jsonDigits(json: usize, key: usize): usize {
  return find(json, key, false, false);
}

/**
 * Takes out of a list with commas, in place, the items that come again later; of items with "=" what stands before it counts.
 * Where an item only begins like another one libtpms has its own idea of what is the same, which this follows.
 */
export function listRemoveRepeated(list: usize): void {
  let item = list;
  for (;;) {
    const comma = textFind(item, COMMA);
    if (load<u8>(comma) == 0) return;
    store<u8>(comma, 0);
    const equals = textFind(item, EQUALS);
    const hasValue = load<u8>(equals) == EQUALS;
    store<u8>(equals, 0);
    if (comesAgain(item, <u32>(equals - item), comma, hasValue ? EQUALS : COMMA)) {
      memory.copy(item, comma + 1, lengthWithZero(comma + 1));
      continue;
    }
    store<u8>(comma, <u8>COMMA);
    if (hasValue) store<u8>(equals, <u8>EQUALS);
    item = comma + 1;
  }
}

function lengthWithZero(at: usize): usize {
  return textFind(at, 0) - at + 1;
}

/** Whether the item stands behind `before`, with a boundary before it and `follower` or the end after it. */
function comesAgain(item: usize, length: u32, before: usize, follower: u32): bool {
  let at = before;
  do {
    at++;
    while (!startsWith(at, item, length)) if (load<u8>(at++) == 0) return false;
    const previous: u32 = load<u8>(at - 1);
    const next: u32 = load<u8>(at + length);
    if ((previous == COMMA || previous == 0) && (next == follower || next == 0)) return true;
    at = textFind(at, COMMA);
  } while (load<u8>(at) != 0);
  return false;
}

function startsWith(at: usize, item: usize, length: u32): bool {
  for (let i: u32 = 0; i < length; i++) if (load<u8>(at + i) != load<u8>(item + i)) return false;
  return true;
}
