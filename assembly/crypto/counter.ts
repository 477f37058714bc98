// Big-endian counters of one cipher block.

/** Adds one, modulo 2^128, to the number of 16 bytes at `counter`. */
@inline
export function increment16(counter: usize): void {
  const low = bswap<u64>(load<u64>(counter, 8)) + 1;
  const high = bswap<u64>(load<u64>(counter)) + u64(low == 0);
  // One store, because the cipher will load the block as one vector.
  v128.store(counter, i64x2.replace_lane(i64x2.splat(bswap<u64>(high)), 1, bswap<u64>(low)));
}

/** Adds one, modulo 2^64, to the number of 8 bytes at `counter`. */
@inline
export function increment8(counter: usize): void {
  store<u64>(counter, bswap<u64>(bswap<u64>(load<u64>(counter)) + 1));
}
