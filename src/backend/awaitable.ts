// Values that may be there already: the path from a socket to an in-process engine and back takes no promise.
import type { Awaitable } from "./backend.ts";

/** Calls `next` with the value: at once if it is there, else when it comes. What `next` throws becomes a rejection only then. */
export function chain<T, U>(value: Awaitable<T>, next: (value: T) => Awaitable<U>): Awaitable<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Calls `work` and hands its error, thrown or rejected, to `failed`, whose result then counts. */
export function attempt<T>(work: () => Awaitable<T>, failed: (error: unknown) => Awaitable<T>): Awaitable<T> {
  try {
    const value = work();
    return value instanceof Promise ? value.catch(failed) : value;
  } catch (error) {
    return failed(error);
  }
}
