// Command bit maps (physical presence, audit). Up to PERSISTENT_DATA version 4 they count the commands that libtpms 0.9 had; from
// version 5 bit n is command code 0x11F + n.
import { TPM_CC_NV_UndefineSpaceSpecial } from "../generated/constants";
import { commandBit, setCommandBit } from "../command-audit";
import { commandEnabled } from "../profile";
import { arrayField, isReading, transferError } from "./transfer";

const FIRST: u32 = TPM_CC_NV_UndefineSpaceSpecial;
const BITMAP_SIZE: u32 = 16;
const OLD_LAST: u32 = 0x197;

/** libtpms 0.9 had no command with this code. */
function isHole(code: u32): bool {
  switch (code) {
    case 0x123:
    case 0x12f:
    case 0x141:
    case 0x15a:
    case 0x15f:
    case 0x166:
    case 0x175:
    case 0x179:
    case 0x194:
    case 0x195:
    case 0x196:
      return true;
  }
  return false;
}

const OLD: usize = memory.data(16, 8);

/** Bytes up to the highest command that the profile has. */
function sizeByCode(): u32 {
  let code = FIRST + 8 * BITMAP_SIZE - 1;
  while (code > FIRST && !commandEnabled(code)) code--;
  return ((code - FIRST) >> 3) + 1;
}

/** Bytes for as many bits as the profile has commands (and `extra`), or more, so that no bit is lost. */
function sizeByNumber(extra: u32): u32 {
  let bits = extra;
  for (let code = FIRST; code < FIRST + 8 * BITMAP_SIZE; code++) if (commandEnabled(code)) bits++;
  let size = (bits + 7) >> 3;
  for (let i = size; i < BITMAP_SIZE; i++) if (load<u8>(OLD + i) != 0) size = i + 1;
  return size;
}

/** Numbered commands of the bit map have room for `extra` more, which libtpms never uses. */
export function commandListTransfer(list: usize, version: u32, extra: u32): void {
  if (version >= 5) {
    arrayField(list, isReading() ? BITMAP_SIZE : sizeByCode());
    return;
  }
  memory.fill(OLD, 0, BITMAP_SIZE);
  if (!isReading()) {
    let n: u32 = 0;
    for (let code = FIRST; code <= OLD_LAST; code++) {
      if (isHole(code)) continue;
      if (commandBit(list, code)) store<u8>(OLD + (n >> 3), load<u8>(OLD + (n >> 3)) | <u8>((<u32>1) << (n & 7)));
      n++;
    }
  }
  arrayField(OLD, isReading() ? BITMAP_SIZE : sizeByNumber(extra));
  if (!isReading() || transferError() != 0) return;
  memory.fill(list, 0, BITMAP_SIZE);
  let n: u32 = 0;
  for (let code = FIRST; code <= OLD_LAST; code++) {
    if (isHole(code)) continue;
    if ((load<u8>(OLD + (n >> 3)) >> (n & 7)) & 1) setCommandBit(list, code, true);
    n++;
  }
}
