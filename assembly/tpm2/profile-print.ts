// Lists of what profiles can select and of what the one in force has, as CMD_GET_INFO tells them.
import { TPM_ALG_ECC } from "./generated/constants";
import {
  ALGORITHM_WORDS,
  ALGORITHM_WORD_COUNT,
  ATTRIBUTE_WORDS,
  ATTRIBUTE_WORD_COUNT,
  COMMAND_LEVELS,
  COMMAND_SLOTS,
  CURVE_WORDS,
  CURVE_WORD_COUNT,
  FAMILY_WORDS,
  FAMILY_WORD_COUNT,
  FIRST_COMMAND,
  SUFFIX_MIN_KEY_SIZE,
  SUFFIX_MIN_SIZE,
  WORD_MIN_KEY_SIZE,
  WORD_PLAIN,
} from "./generated/profile-tables";
import { algorithmSelected, commandEnabled, curveSelected, minKeySize, profile } from "./profile";
import { Word, wordAt } from "./profile-lists";
import { textAppend, textAppendCharacter, textAppendDecimal, textAppendHex } from "./text";

export const SUBJECT_ALGORITHMS: u32 = 0;
export const SUBJECT_COMMANDS: u32 = 1;
export const SUBJECT_ATTRIBUTES: u32 = 2;

export const FILTER_IMPLEMENTED: u32 = 0;
export const FILTER_CAN_BE_DISABLED: u32 = 1;
export const FILTER_ENABLED: u32 = 2;
export const FILTER_DISABLED: u32 = 3;

const COMMA: u32 = 0x2c;
const MINUS: u32 = 0x2d;

/** The next item is the list's first. */
let first = true;

/** Appends the list of a subject, as far as the filter lets through. */
export function printRuntime(subject: u32, filter: u32): void {
  first = true;
  if (subject == SUBJECT_ALGORITHMS) printAlgorithms(filter);
  else if (subject == SUBJECT_COMMANDS) printCommands(filter);
  else {
    for (let i: u32 = 0; i < ATTRIBUTE_WORD_COUNT; i++) {
      if (passes(filter, true, ((profile.namedAttributes >> i) & 1) != 0)) printItem(wordAt(ATTRIBUTE_WORDS, i).text);
    }
  }
}

function passes(filter: u32, optional: bool, enabled: bool): bool {
  if (filter == FILTER_CAN_BE_DISABLED) return optional;
  if (filter == FILTER_ENABLED) return enabled;
  return filter == FILTER_IMPLEMENTED || !enabled;
}

function separate(): void {
  if (!first) textAppendCharacter(COMMA);
  first = false;
}

function printItem(text: usize): void {
  separate();
  textAppend(text);
}

function printAlgorithms(filter: u32): void {
  for (let i: u32 = 0; i < ALGORITHM_WORD_COUNT; i++) {
    const word = wordAt(ALGORITHM_WORDS, i);
    if (passes(filter, word.optional != 0, algorithmSelected(word.value))) {
      printItem(word.text);
      if (filter == FILTER_IMPLEMENTED) printMinSize(word, word.size);
      else if (filter == FILTER_ENABLED) printMinSize(word, minKeySize(word.value));
    }
    if (word.value == TPM_ALG_ECC) printCurves(filter);
  }
}

function printMinSize(word: Word, bits: u32): void {
  if (word.kind == WORD_PLAIN || bits == 0) return;
  printItem(word.text);
  textAppend(word.kind == WORD_MIN_KEY_SIZE ? SUFFIX_MIN_KEY_SIZE : SUFFIX_MIN_SIZE);
  textAppendDecimal(bits);
}

function printCurves(filter: u32): void {
  for (let i: u32 = 0; i < FAMILY_WORD_COUNT; i++) {
    if (passes(filter, true, ((profile.namedFamilies >> i) & 1) != 0)) printItem(wordAt(FAMILY_WORDS, i).text);
  }
  for (let i: u32 = 0; i < CURVE_WORD_COUNT; i++) {
    const word = wordAt(CURVE_WORDS, i);
    if (passes(filter, word.optional != 0, curveSelected(word.value))) printItem(word.text);
  }
}

/** Codes, and ranges of codes that follow one another. */
function printCommands(filter: u32): void {
  let from: u32 = 0;
  let to: u32 = 0;
  for (let slot: u32 = 0; slot < COMMAND_SLOTS; slot++) {
    const level: u32 = load<u8>(COMMAND_LEVELS + slot);
    const code = FIRST_COMMAND + slot;
    if (level == 0 || !passes(filter, (level & 0x80) == 0, commandEnabled(code))) continue;
    if (from != 0 && code == to + 1) {
      to = code;
      continue;
    }
    printRange(from, to);
    from = code;
    to = code;
  }
  printRange(from, to);
}

function printRange(from: u32, to: u32): void {
  if (from == 0) return;
  separate();
  textAppendHex(from);
  if (to == from) return;
  textAppendCharacter(MINUS);
  textAppendHex(to);
}
