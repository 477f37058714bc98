// Response codes (Part 1, 39.4): a format-one code names the handle, session or parameter that is at fault.

/** Adds the index of a handle, session or parameter to a format-one code that has none yet; other codes stay as they are. */
export function addIndex(rc: u32, index: u32): u32 {
  const formatOne = (rc & 0x80) != 0;
  const hasIndex = (rc & 0xf40) != 0;
  return formatOne && !hasIndex ? rc + index : rc;
}
