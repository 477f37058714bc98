// How many tests passed and failed: the closing line of a run, alone on a line. scripts/test.mjs, which runs several and prints
// their sum, gets the numbers in the file WTPM_TEST_COUNT instead.
import { writeFileSync } from "node:fs";

export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      count.failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        if (state === "passed") count.passed++;
        else if (state === "failed") count.failed++;
        else count.skipped++;
      }
    }
    if (process.env.WTPM_TEST_COUNT) {
      writeFileSync(process.env.WTPM_TEST_COUNT, JSON.stringify(count));
      return;
    }
    const { passed, failed, skipped } = count;
    const text = `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;
    process.on("exit", () => console.log(text));
  }
}
