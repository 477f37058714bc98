// Bundles what tsc emitted: one file to start from for each entry, and chunks for what is loaded only when it is needed.
import { readFileSync } from "node:fs";
import path from "node:path";

const entries = {
  index: "build/js/index.js",
  codec: "build/js/codec/index.js",
  client: "build/js/codec/client.js",
  frontend: "build/js/frontend/index.js",
  firmware: "build/js/firmware/index.js",
  v86: "build/bindings/bindings/v86/index.js",
  "bin/wtpm": "build/js/cli/bin.js",
};
const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
const installed = Object.keys(dependencies);

/** tsc makes a copy of src for bindings/, which is left alone: there is one of everything. `replaced`: what a file of src gives way to. */
const sources = (replaced = {}) => ({
  name: "sources",
  resolveId(source, importer) {
    if (!importer || !source.startsWith(".")) return null;
    const file = path.resolve(path.dirname(importer), source);
    const inSources = path.relative(path.resolve("build/bindings/src"), file);
    const one = inSources.startsWith("..") ? file : path.resolve("build/js", inSources);
    return path.resolve(replaced[path.relative("build/js", one)] ?? one);
  },
});

export default {
  input: entries,
  external: (id) => id.startsWith("node:") || installed.some((name) => id === name || id.startsWith(`${name}/`)),
  plugins: [sources()],
  output: {
    dir: "dist",
    format: "es",
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
    banner: (chunk) => (chunk.name === "bin/wtpm" ? "#!/usr/bin/env node" : ""),
  },
};

/** For browsers: nothing but these files. */
const inBrowser = {
  plugins: [
    sources({ "platform/assets.js": "build/js/platform/assets-browser.js" }),
    { name: "v86", resolveId: (id) => (id === "v86" ? path.resolve("node_modules/v86/build/libv86.mjs") : null) },
  ],
  onwarn: (warning) => {
    throw new Error(warning.message);
  },
};

export const browser = {
  ...inBrowser,
  input: { index: "build/bindings/bindings/browser/index.js", v86: "build/bindings/bindings/v86/index.js" },
  output: { dir: "dist/browser", format: "es", chunkFileNames: "[name]-[hash].js" },
};

/** The script of the demo page, v86 included (scripts/demo.mjs). v86 asks for modules of Node only where it runs in Node. */
export const demoPage = {
  ...inBrowser,
  external: (id) => id.startsWith("node:"),
  input: "build/bindings/bindings/v86/demo/main.js",
  output: { file: "build/demo/main.js", format: "es" },
};
