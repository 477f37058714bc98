// The two imports of the engine: everything that makes one run differ from another comes through here (docs/abi.md).

/** Fills `length` bytes at `pointer` with cryptographically strong random bytes. */
@external("env", "random")
declare function hostRandom(pointer: usize, length: u32): void;

/** Milliseconds: `clock` 0 is monotonic with any start, 1 is time since 1970 (POSIX). */
@external("env", "now")
declare function hostNow(clock: u32): f64;

/** Entropy for the DRBG. */
export function entropy(pointer: usize, length: u32): void {
  hostRandom(pointer, length);
}

/** Monotonic milliseconds. */
export function monotonicMilliseconds(): u64 {
  return <u64>hostNow(0);
}

/** Wall-clock milliseconds since 1970. */
export function wallClockMilliseconds(): u64 {
  return <u64>hostNow(1);
}
