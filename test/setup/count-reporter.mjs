// The closing line of every run: how many tests passed and failed, alone on a line.
export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors) {
    let passed = 0;
    let failed = unhandledErrors.length;
    let skipped = 0;
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        if (state === "passed") passed++;
        else if (state === "failed") failed++;
        else skipped++;
      }
    }
    const text = `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;
    process.on("exit", () => console.log(text));
  }
}
