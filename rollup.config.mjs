// Bundles what tsc emitted: one file to start from for each entry, and chunks for what is loaded only when it is needed.
import { existsSync } from "node:fs";

const entries = { index: "build/js/index.js", "bin/wtpm": "build/js/cli/bin.js" };

export default {
  input: Object.fromEntries(Object.entries(entries).filter(([, file]) => existsSync(file))),
  external: [/^node:/, "commander"],
  output: {
    dir: "dist",
    format: "es",
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
    banner: (chunk) => (chunk.name === "bin/wtpm" ? "#!/usr/bin/env node" : ""),
  },
};
