// Failure mode (Part 1, 12.3): entered when the engine finds itself wrong, left only by a power cycle.

let failed = false;
let failFunction: u32 = 0;
let failLine: u32 = 0;
let failCode: u32 = 0;

export const FATAL_ERROR_INTERNAL: u32 = 4;
export const FATAL_ERROR_SELF_TEST: u32 = 7;
export const FATAL_ERROR_NV_UNRECOVERABLE: u32 = 5;
export const FATAL_ERROR_COUNTER_OVERFLOW: u32 = 11;

/** Enters failure mode. `where` is a number that tells the place apart. */
export function fail(where: u32, code: u32): void {
  if (failed) return;
  failed = true;
  failFunction = where;
  failLine = 0;
  failCode = code;
}

@inline
export function inFailureMode(): bool {
  return failed;
}

export function setFailure(active: bool, where: u32, line: u32, code: u32): void {
  failed = active;
  failFunction = where;
  failLine = line;
  failCode = code;
}

@inline
export function failureFunction(): u32 {
  return failFunction;
}
@inline
export function failureLine(): u32 {
  return failLine;
}
@inline
export function failureCode(): u32 {
  return failCode;
}
