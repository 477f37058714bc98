// The handle area of the command being run.
import { MAX_HANDLE_NUM } from "./generated/constants";

const HANDLES: usize = memory.data(16, 4);
let count: u32 = 0;

export function clearHandles(): void {
  count = 0;
}

/** Address for the next handle; no command of the tables has more than MAX_HANDLE_NUM. */
export function addHandle(): usize {
  const at = HANDLES + 4 * count;
  count++;
  return at;
}

@inline
export function handleCount(): u32 {
  return count;
}

@inline
export function handleAt(index: u32): u32 {
  return load<u32>(HANDLES + 4 * (index < MAX_HANDLE_NUM ? <usize>index : 0));
}

/** A persistent handle is replaced by the transient one its object was loaded to. */
export function setHandleAt(index: u32, handle: u32): void {
  store<u32>(HANDLES + 4 * <usize>index, handle);
}

/** The type of a handle: its most significant byte (Part 2, 7.2). */
@inline
export function handleType(handle: u32): u32 {
  return handle >> 24;
}
