import { defineConfig } from "vitest/config";

const common = { globalSetup: ["test/setup/build.ts"], testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    reporters: ["default", "./test/setup/count-reporter.mjs"],
    projects: [
      { test: { ...common, name: "unit", include: ["test/{unit,vectors,conformance}/**/*.test.ts"], maxWorkers: 2 } },
      {
        // Real clients and real machines: one file at a time, so that they do not starve one another.
        test: {
          ...common,
          name: "system",
          include: ["test/system/**/*.test.ts"],
          fileParallelism: false,
          maxWorkers: 1,
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
