// What constant-time code must not do, one way per function: the tests show that the tracer notices each.

const TABLE: usize = memory.data(256);

/** Stops at the first difference. */
export function leakyEqual(a: usize, b: usize, length: u32): u32 {
  for (let i: u32 = 0; i < length; i++) {
    if (load<u8>(a + i) != load<u8>(b + i)) return 0;
  }
  return 1;
}

/** Loads from a table at a secret index. */
export function leakyLoad(secret: u32): u32 {
  return load<u8>(TABLE + (secret & 0xff));
}

/** Stores at a secret index. */
export function leakyStore(secret: u32): void {
  store<u8>(TABLE + (secret & 0xff), 0);
}

/** Chooses with `select`, which an engine may turn into a branch. */
export function leakySelect(secret: u32, a: u32, b: u32): u32 {
  return select<u32>(a, b, secret);
}

/** Divides a secret; dividers take a time that depends on it. */
export function leakyDivision(secret: u32, divisor: u32): u32 {
  return secret / divisor;
}

/** Copies a secret number of bytes. */
export function leakyCopy(to: usize, from: usize, secret: u32): void {
  memory.copy(to, from, secret);
}
