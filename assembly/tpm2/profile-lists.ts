// The lists of a profile ("Algorithms", "Commands", "Attributes"): what they enable, which StateFormatLevel that needs, and what
// libtpms refuses. Lists are texts with a zero at the end.
import {
  TPM_ALG_AES,
  TPM_ALG_ECC,
  TPM_ALG_RSA,
  TPM_RC_FAILURE,
  TPM_RC_KEY_SIZE,
  TPM_RC_VALUE,
} from "./generated/constants";
import {
  ALGORITHM_WORDS,
  ALGORITHM_WORD_COUNT,
  ATTRIBUTES_LEVEL,
  ATTRIBUTE_WORDS,
  ATTRIBUTE_WORD_COUNT,
  COMMAND_LEVELS,
  COMMAND_SLOTS,
  CURVE_WORDS,
  CURVE_WORD_COUNT,
  FAMILY_WORDS,
  FAMILY_WORD_COUNT,
  FIRST_COMMAND,
  HMAC_MIN_KEY_SIZE_LEVEL,
  KEY_SIZES,
  KEY_SIZE_COUNT,
  SUFFIX_MIN_KEY_SIZE,
  SUFFIX_MIN_SIZE,
  WORD_MIN_KEY_SIZE,
  WORD_MIN_SIZE,
  WORD_SIZE,
  WORD_TEXT,
} from "./generated/profile-tables";
import {
  algorithmSelected,
  commandEnabled,
  curveSelected,
  disableCurve,
  enableAlgorithm,
  enableCommand,
  enableCurve,
  minKeySize,
  profile,
  setMinKeySize,
} from "./profile";
import { textFind, textIs, textLength, textNumber, textNumberEnd, textStartsWith } from "./text";

const COMMA: u32 = 0x2c;
const MINUS: u32 = 0x2d;
const MAX_KEY_SIZE: u64 = 4096;
/** Of HMAC keys: MAX_SYM_DATA bytes. */
const MAX_HMAC_KEY_SIZE: u64 = 1024;
const COMMAND_REQUIRED: u32 = 0x80;

/** A record of the tables' words. */
@unmanaged
export class Word {
  /** TPM_ALG_ID, TPM_ECC_CURVE or PROFILE_* bits. */
  value: u16;
  /** Bits: a curve's key size, an algorithm's least one. */
  size: u16;
  kind: u8;
  optional: u8;

  @inline
  get text(): usize {
    return changetype<usize>(this) + WORD_TEXT;
  }
}

@inline
export function wordAt(words: usize, index: u32): Word {
  return changetype<Word>(words + WORD_SIZE * <usize>index);
}

/** The StateFormatLevel that the lists so far need. */
let requiredLevel: u32 = 0;
export function profileRequiredLevel(): u32 {
  return requiredLevel;
}
export function startProfileLists(level: u32): void {
  requiredLevel = level;
}

@inline
function requireLevel(level: u32): void {
  if (level > requiredLevel) requiredLevel = level;
}

@inline
function itemLength(item: usize): u32 {
  return <u32>(textFind(item, COMMA) - item);
}

/** The item behind the one at `item`, 0 behind the last. */
function nextItem(item: usize): usize {
  const comma = textFind(item, COMMA);
  return load<u8>(comma) == COMMA ? comma + 1 : 0;
}

/** Index of the word that the item is; `count` if it is none of them. */
function wordIndex(item: usize, words: usize, count: u32): u32 {
  const length = itemLength(item);
  let i: u32 = 0;
  while (i < count && !textIs(item, length, wordAt(words, i).text)) i++;
  return i;
}

/** Everything that is implemented, keys of all sizes. */
export function enableAllAlgorithms(): void {
  memory.fill(profile.minSizes, 0, 256);
  setDefaultMinSizes();
  for (let i: u32 = 0; i < ALGORITHM_WORD_COUNT; i++) enableAlgorithm(wordAt(ALGORITHM_WORDS, i).value);
  for (let i: u32 = 0; i < CURVE_WORD_COUNT; i++) enableCurve(wordAt(CURVE_WORDS, i).value);
}

/** The lower bounds that hold unless a list says otherwise; curves have none. */
export function setDefaultMinSizes(): void {
  for (let i: u32 = 0; i < ALGORITHM_WORD_COUNT; i++) {
    const word = wordAt(ALGORITHM_WORDS, i);
    if (word.kind == WORD_MIN_SIZE && word.value != TPM_ALG_ECC) setMinKeySize(word.value, word.size);
  }
}

/** "Attributes". TPM_RC_FAILURE for an unknown word, TPM_RC_VALUE for one that the level does not have. */
export function applyAttributes(list: usize, maxLevel: u32): u32 {
  if (load<u8>(list) == 0) return 0;
  for (let item = list; item != 0; item = nextItem(item)) {
    const index = wordIndex(item, ATTRIBUTE_WORDS, ATTRIBUTE_WORD_COUNT);
    if (index == ATTRIBUTE_WORD_COUNT) return TPM_RC_FAILURE;
    if (maxLevel < ATTRIBUTES_LEVEL) return TPM_RC_VALUE;
    profile.namedAttributes |= (<u32>1) << index;
    profile.attributes |= wordAt(ATTRIBUTE_WORDS, index).value;
    requireLevel(ATTRIBUTES_LEVEL);
  }
  return 0;
}

/** "Algorithms", on a profile that has the default lower bounds. TPM_RC_VALUE or TPM_RC_KEY_SIZE for what libtpms refuses. */
export function applyAlgorithms(list: usize, maxLevel: u32): u32 {
  for (let item = list; item != 0; item = nextItem(item)) {
    const index = wordIndex(item, ALGORITHM_WORDS, ALGORITHM_WORD_COUNT);
    if (index < ALGORITHM_WORD_COUNT) {
      enableAlgorithm(wordAt(ALGORITHM_WORDS, index).value);
      requireLevel(1);
      continue;
    }
    const rc = applyMinSize(item, maxLevel);
    if (rc == NOT_A_SIZE ? !applyCurve(item) : rc != 0) return rc == NOT_A_SIZE ? TPM_RC_VALUE : rc;
  }
  return checkAlgorithms();
}

const NOT_A_SIZE: u32 = 0xffffffff;

/** WORD-min-size=BITS, WORD-min-key-size=BITS. NOT_A_SIZE for everything else. */
function applyMinSize(item: usize, maxLevel: u32): u32 {
  for (let i: u32 = 0; i < ALGORITHM_WORD_COUNT; i++) {
    const word = wordAt(ALGORITHM_WORDS, i);
    const isHmac = word.kind == WORD_MIN_KEY_SIZE;
    if ((!isHmac && word.kind != WORD_MIN_SIZE) || !textStartsWith(item, word.text)) continue;
    const suffix = isHmac ? SUFFIX_MIN_KEY_SIZE : SUFFIX_MIN_SIZE;
    const after = item + textLength(word.text);
    if (!textStartsWith(after, suffix)) continue;
    const bits = textNumber(after + textLength(suffix), 10);
    const end: u32 = load<u8>(textNumberEnd());
    if ((end != COMMA && end != 0) || bits > (isHmac ? MAX_HMAC_KEY_SIZE : MAX_KEY_SIZE)) return TPM_RC_KEY_SIZE;
    setMinKeySize(word.value, <u32>bits);
    if (isHmac) requireLevel(HMAC_MIN_KEY_SIZE_LEVEL);
    else requireLevelOfSizes(word.value, <u32>bits, maxLevel);
    return 0;
  }
  return NOT_A_SIZE;
}

/** All sizes from the bound on are used that `maxLevel` has. */
function requireLevelOfSizes(alg: u32, bits: u32, maxLevel: u32): void {
  for (let i: u32 = 0; i < KEY_SIZE_COUNT; i++) {
    const entry = KEY_SIZES + 6 * <usize>i;
    const level: u32 = load<u16>(entry, 4);
    if (load<u16>(entry) == alg && load<u16>(entry, 2) >= bits && level <= maxLevel) requireLevel(level);
  }
}

/** A curve, or a family of them; false for what is none. */
function applyCurve(item: usize): bool {
  const length = itemLength(item);
  const family = wordIndex(item, FAMILY_WORDS, FAMILY_WORD_COUNT);
  if (family < FAMILY_WORD_COUNT) profile.namedFamilies |= (<u32>1) << family;
  let found = false;
  for (let i: u32 = 0; i < CURVE_WORD_COUNT; i++) {
    const word = wordAt(CURVE_WORDS, i);
    const fits =
      family < FAMILY_WORD_COUNT
        ? textStartsWith(word.text, wordAt(FAMILY_WORDS, family).text)
        : textIs(item, length, word.text);
    if (!fits) continue;
    enableCurve(word.value);
    requireLevel(1);
    found = true;
  }
  return found;
}

function checkAlgorithms(): u32 {
  for (let i: u32 = 0; i < ALGORITHM_WORD_COUNT; i++) {
    const word = wordAt(ALGORITHM_WORDS, i);
    if (word.optional == 0 && !algorithmSelected(word.value)) return TPM_RC_VALUE;
  }
  for (let i: u32 = 0; i < CURVE_WORD_COUNT; i++) {
    const word = wordAt(CURVE_WORDS, i);
    if (word.optional == 0 && !curveSelected(word.value)) return TPM_RC_VALUE;
    if (word.optional != 0 && word.size < minKeySize(TPM_ALG_ECC)) disableCurve(word.value);
  }
  // The standard's endorsement keys of RSA-2048 have AES-128.
  return minKeySize(TPM_ALG_AES) > 128 && minKeySize(TPM_ALG_RSA) == 2048 ? TPM_RC_KEY_SIZE : 0;
}

/** Some commands of the list given to applyCommands are above the level and were left out. */
let commandsLeftOut = false;
export function profileCommandsLeftOut(): bool {
  return commandsLeftOut;
}

/**
 * "Commands": codes and ranges of codes. Commands above `maxLevel` are left out, or with `strict` refused. TPM_RC_VALUE for what
 * libtpms refuses.
 */
export function applyCommands(list: usize, maxLevel: u32, strict: bool): u32 {
  commandsLeftOut = false;
  for (let item = list; item != 0; item = nextItem(item)) {
    const first = textNumber(item, 0);
    let last = first;
    if (load<u8>(textNumberEnd()) == MINUS) last = textNumber(textNumberEnd() + 1, 0);
    const end: u32 = load<u8>(textNumberEnd());
    if ((end != COMMA && end != 0) || !isSlot(first) || !isSlot(last)) return TPM_RC_VALUE;
    for (let code = <u32>first; code <= <u32>last; code++) {
      const level: u32 = load<u8>(COMMAND_LEVELS + (code - FIRST_COMMAND)) & ~COMMAND_REQUIRED;
      if (level == 0) return TPM_RC_VALUE;
      if (level > maxLevel) {
        if (strict) return TPM_RC_VALUE;
        commandsLeftOut = true;
        continue;
      }
      enableCommand(code);
      requireLevel(level);
    }
  }
  for (let slot: u32 = 0; slot < COMMAND_SLOTS; slot++) {
    const required = (load<u8>(COMMAND_LEVELS + slot) & COMMAND_REQUIRED) != 0;
    if (required && !commandEnabled(FIRST_COMMAND + slot)) return TPM_RC_VALUE;
  }
  return 0;
}

function isSlot(code: u64): bool {
  return code >= FIRST_COMMAND && code < FIRST_COMMAND + COMMAND_SLOTS;
}
