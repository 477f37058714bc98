// What a check inside a runtime tells the one who started it: one line of JSON for each check.

/** Runs one check: what it returns is its detail, what it throws its failure. Gives whether it passed. */
export async function check(name, action) {
  let line;
  try {
    line = { name, passed: true, detail: (await action()) ?? "" };
  } catch (error) {
    line = { name, passed: false, detail: String(error?.message ?? error) };
  }
  console.log(JSON.stringify(line));
  return line.passed;
}

/** @throws Error unless the two are the same text, number or boolean. */
export function expectEqual(what, actual, expected) {
  if (actual !== expected) throw new Error(`${what}: ${actual} instead of ${expected}`);
}
