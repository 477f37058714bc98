// Comparison and wiping of secrets without telling, by time or access pattern, what they are.

/**
 * Compares two byte strings of the same length in constant time.
 *
 * @returns 0xFFFFFFFF when all `length` bytes are equal, else 0: a mask for further masked computation
 */
export function ctEqual(a: usize, b: usize, length: u32): u32 {
  let difference: u32 = 0;
  for (let i: u32 = 0; i < length; i++) difference |= load<u8>(a + i) ^ load<u8>(b + i);
  return ((difference - 1) >> 31) * 0xffffffff;
}

/** Overwrites `length` bytes that are no longer needed with zeros. */
@inline
export function wipe(at: usize, length: u32): void {
  memory.fill(at, 0, length);
}
