// libtpms' profiles as text: taking one from its JSON, and the JSON of the one in force.
import { TPM_RC_MEMORY, TPM_RC_NO_RESULT, TPM_RC_SIZE, TPM_RC_VALUE } from "./generated/constants";
import {
  BUILT_IN_ALGORITHMS,
  BUILT_IN_COUNT,
  BUILT_IN_LEVELS,
  BUILT_IN_MODIFIABLE,
  CUSTOM_PREFIX,
  KEY_ALGORITHMS,
  KEY_ATTRIBUTES,
  KEY_COMMANDS,
  KEY_DESCRIPTION,
  KEY_NAME,
  KEY_STATE_FORMAT_LEVEL,
  NULL_PROFILE,
  STATE_FORMAT_LEVEL_CURRENT,
  builtInCommands,
  builtInDescription,
  builtInName,
} from "./generated/profile-tables";
import { clearProfile, profile } from "./profile";
import { jsonDigits, jsonIsFlatObject, jsonString, jsonValueLength, listRemoveRepeated } from "./profile-json";
import {
  applyAlgorithms,
  applyAttributes,
  applyCommands,
  profileCommandsLeftOut,
  profileRequiredLevel,
  setDefaultMinSizes,
  startProfileLists,
} from "./profile-lists";
import { SUBJECT_COMMANDS, FILTER_ENABLED, printRuntime } from "./profile-print";
import {
  textAppend,
  textAppendBytes,
  textAppendCharacter,
  textAppendDecimal,
  textBegin,
  textIs,
  textLength,
  textNumber,
  textStartsWith,
} from "./text";

/** No profile of a user's is longer. */
export const MAX_PROFILE_SIZE: u32 = 16384;
/** With everything that libtpms adds to what the user did not say. */
export const MAX_PROFILE_TEXT: u32 = MAX_PROFILE_SIZE + 2048;
const MAX_NAME: u32 = 32;
const MAX_DESCRIPTION: u32 = 250;
/** The least StateFormatLevel of a profile that is stored in the state. */
const LEAST_STORED_LEVEL: u32 = 2;
const ANY_LEVEL: u32 = 0xffffffff;
const QUOTE: u32 = 0x22;

const INPUT: usize = memory.data(MAX_PROFILE_TEXT + 1, 16);
const ACTIVE: usize = memory.data(MAX_PROFILE_TEXT + 1, 16);
const PRINTED_COMMANDS: usize = memory.data(1024, 16);

// The parts of the profile being read: texts with a zero at the end, 0 for what is not there.
let name: usize = 0;
/** StateFormatLevel; 0 if it is not said. */
let level: u32 = 0;
let commands: usize = 0;
let algorithms: usize = 0;
let attributes: usize = 0;
let description: usize = 0;

/** The profile in force as libtpms prints it, with a zero at the end; empty before there is one. */
export function activeProfile(): usize {
  return ACTIVE;
}

/** The profile of a TPM made without one: "null", everything that libtpms 0.9 had. */
export function setNullProfile(): void {
  setBuiltIn(NULL_PROFILE);
}

function setBuiltIn(index: u32): void {
  name = builtInName(index);
  level = 0;
  commands = 0;
  algorithms = 0;
  attributes = 0;
  description = 0;
  apply(index, true);
}

/**
 * Puts the profile in JSON of `size` bytes into force: a user's, for a new TPM, or one that a state holds, which may differ from
 * the built-in one of its name.
 *
 * @returns 0, or what libtpms gives: TPM_RC_NO_RESULT for what is no profile, TPM_RC_VALUE (unknown name, level, algorithm or
 *   command), TPM_RC_KEY_SIZE, TPM_RC_FAILURE (unknown attribute), TPM_RC_MEMORY (a level below 2); TPM_RC_SIZE for a text that is
 *   too long. After an error the profile in force is none.
 */
export function setProfile(json: usize, size: u32, isUsers: bool): u32 {
  clearProfile();
  if (size > (isUsers ? MAX_PROFILE_SIZE : MAX_PROFILE_TEXT)) return TPM_RC_SIZE;
  memory.copy(INPUT, json, size);
  store<u8>(INPUT + size, 0);
  const rc = parse(isUsers);
  if (rc != 0) return rc;
  const index = builtInIndex();
  if (index == BUILT_IN_COUNT) return TPM_RC_VALUE;
  const fixed = load<u8>(BUILT_IN_MODIFIABLE + index) == 0;
  const changed = level != 0 || (commands | algorithms | attributes | description) != 0;
  if (isUsers && fixed && changed) return TPM_RC_VALUE;
  return apply(index, isUsers);
}

function parse(isUsers: bool): u32 {
  if (!jsonIsFlatObject(INPUT)) return TPM_RC_NO_RESULT;
  name = jsonString(INPUT, KEY_NAME, false);
  const nameLength = jsonValueLength();
  if (name == 0) return TPM_RC_NO_RESULT;
  const digits = jsonDigits(INPUT, KEY_STATE_FORMAT_LEVEL);
  level = 0;
  if (digits != 0) {
    const wanted = textNumber(digits, 10);
    if (wanted > STATE_FORMAT_LEVEL_CURRENT) return TPM_RC_VALUE;
    level = <u32>wanted;
  } else if (!isUsers) return TPM_RC_NO_RESULT;
  algorithms = jsonString(INPUT, KEY_ALGORITHMS, false);
  const algorithmsLength = jsonValueLength();
  commands = jsonString(INPUT, KEY_COMMANDS, false);
  const commandsLength = jsonValueLength();
  attributes = jsonString(INPUT, KEY_ATTRIBUTES, true);
  const attributesLength = jsonValueLength();
  description = jsonString(INPUT, KEY_DESCRIPTION, false);
  const descriptionLength = jsonValueLength();
  // From here on the values end with a zero, and the object is one no more.
  store<u8>(name + min(nameLength, MAX_NAME), 0);
  endList(algorithms, algorithmsLength);
  endList(commands, commandsLength);
  endList(attributes, attributesLength);
  if (description != 0) store<u8>(description + min(descriptionLength, MAX_DESCRIPTION), 0);
  return 0;
}

function endList(list: usize, length: u32): void {
  if (list == 0) return;
  store<u8>(list + length, 0);
  listRemoveRepeated(list);
}

/** Index of the built-in profile of this name; BUILT_IN_COUNT if there is none. */
function builtInIndex(): u32 {
  const length = textLength(name);
  for (let i: u32 = 0; i < BUILT_IN_COUNT; i++) {
    if (textIs(name, length, builtInName(i))) return i;
    if (load<u8>(BUILT_IN_MODIFIABLE + i) != 0 && textStartsWith(name, CUSTOM_PREFIX)) return i;
  }
  return BUILT_IN_COUNT;
}

/** Enables what the parts say, and what the built-in profile says where they say nothing. */
function apply(index: u32, isUsers: bool): u32 {
  const modifiable = load<u8>(BUILT_IN_MODIFIABLE + index) != 0;
  // Only a level that is the user's free choice lets commands be left out that are above it.
  let strict = commands != 0 || !modifiable;
  let maxLevel = level;
  if (isUsers || level == 0) {
    if (!modifiable) {
      level = load<u8>(BUILT_IN_LEVELS + index);
      maxLevel = level;
    } else if (level == 0) maxLevel = ANY_LEVEL;
    else if (level < LEAST_STORED_LEVEL) return TPM_RC_MEMORY;
  } else strict = true;
  if (algorithms == 0) algorithms = BUILT_IN_ALGORITHMS;
  if (commands == 0) commands = builtInCommands(index);
  if (description == 0) description = builtInDescription(index);
  clearProfile();
  const rc = applyLists(maxLevel, strict);
  if (rc != 0) {
    clearProfile();
    return rc;
  }
  profile.stateFormatLevel = profileRequiredLevel();
  if (modifiable && profile.stateFormatLevel < LEAST_STORED_LEVEL) profile.stateFormatLevel = LEAST_STORED_LEVEL;
  printActive();
  return 0;
}

function applyLists(maxLevel: u32, strict: bool): u32 {
  startProfileLists(level);
  setDefaultMinSizes();
  let rc: u32 = attributes == 0 ? 0 : applyAttributes(attributes, maxLevel);
  if (rc == 0) rc = applyAlgorithms(algorithms, maxLevel);
  if (rc == 0) rc = applyCommands(commands, maxLevel, strict);
  // A least size of HMAC keys needs a level too, which libtpms finds out when it is too late.
  if (rc == 0 && profileRequiredLevel() > maxLevel) rc = TPM_RC_VALUE;
  if (rc != 0 || !profileCommandsLeftOut()) return rc;
  textBegin(PRINTED_COMMANDS, 1024);
  printRuntime(SUBJECT_COMMANDS, FILTER_ENABLED);
  commands = PRINTED_COMMANDS;
  return 0;
}

function printActive(): void {
  textBegin(ACTIVE, MAX_PROFILE_TEXT + 1);
  printProfile(name, profile.stateFormatLevel, commands, algorithms, attributes, description);
}

/** Appends the JSON of a built-in profile; false if there is none of this index. */
export function printBuiltIn(index: u32): bool {
  if (index >= BUILT_IN_COUNT) return false;
  const least: u32 = load<u8>(BUILT_IN_LEVELS + index);
  printProfile(builtInName(index), least, builtInCommands(index), BUILT_IN_ALGORITHMS, 0, builtInDescription(index));
  return true;
}

function printProfile(
  ofName: usize,
  ofLevel: u32,
  ofCommands: usize,
  ofAlgorithms: usize,
  ofAttributes: usize,
  ofDescription: usize,
): void {
  textAppendCharacter(0x7b);
  printMember(KEY_NAME, ofName);
  textAppendCharacter(0x2c);
  printKey(KEY_STATE_FORMAT_LEVEL);
  textAppendDecimal(ofLevel);
  textAppendCharacter(0x2c);
  printMember(KEY_COMMANDS, ofCommands);
  textAppendCharacter(0x2c);
  printMember(KEY_ALGORITHMS, ofAlgorithms);
  textAppendCharacter(0x2c);
  if (ofAttributes != 0) {
    printMember(KEY_ATTRIBUTES, ofAttributes);
    textAppendCharacter(0x2c);
  }
  printMember(KEY_DESCRIPTION, ofDescription);
  textAppendCharacter(0x7d);
}

function printKey(key: usize): void {
  textAppendCharacter(QUOTE);
  textAppend(key);
  textAppendCharacter(QUOTE);
  textAppendCharacter(0x3a);
}

function printMember(key: usize, value: usize): void {
  printKey(key);
  textAppendCharacter(QUOTE);
  textAppendBytes(value, textLength(value));
  textAppendCharacter(QUOTE);
}
