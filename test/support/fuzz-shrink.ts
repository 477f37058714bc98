// Makes a failing sequence shorter.

/**
 * Leaves out items of a failing sequence, in ever smaller pieces, as long as it still fails (delta debugging).
 *
 * @param fails whether a shorter sequence fails in the same way
 * @param budget how often that may be asked, and for how many milliseconds
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => boolean | Promise<boolean>,
  budget = { attempts: 1000, milliseconds: 60_000 },
): Promise<readonly T[]> {
  let shortest = items;
  let left = budget.attempts;
  const end = Date.now() + budget.milliseconds;
  for (let size = Math.ceil(items.length / 2); size >= 1 && left > 0 && Date.now() < end; ) {
    let shorter = false;
    // From the end: what comes later depends on what comes earlier.
    for (let at = shortest.length - size; at > -size && left > 0 && Date.now() < end; at -= size) {
      const from = Math.max(0, at);
      const candidate = [...shortest.slice(0, from), ...shortest.slice(at + size)];
      if (candidate.length === shortest.length) continue;
      left--;
      if (await fails(candidate)) {
        shortest = candidate;
        shorter = true;
      }
    }
    if (!shorter || size > 1) {
      if (size === 1) break;
      size = Math.ceil(size / 2);
    }
  }
  return shortest;
}
