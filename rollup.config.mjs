// Bundles what tsc emitted: one file to start from for each entry, and chunks for what is loaded only when it is needed.
import { readFileSync } from "node:fs";

const entries = {
  index: "build/js/index.js",
  codec: "build/js/codec/index.js",
  client: "build/js/codec/client.js",
  frontend: "build/js/frontend/index.js",
  firmware: "build/js/firmware/index.js",
  "bin/wtpm": "build/js/cli/bin.js",
};
const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
const installed = Object.keys(dependencies);

export default {
  input: entries,
  external: (id) => id.startsWith("node:") || installed.some((name) => id === name || id.startsWith(`${name}/`)),
  output: {
    dir: "dist",
    format: "es",
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
    banner: (chunk) => (chunk.name === "bin/wtpm" ? "#!/usr/bin/env node" : ""),
  },
};
