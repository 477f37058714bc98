// Replays recorded device traces against the hardware interfaces: npm run replay -- FILE.jsonl.gz…
import { fileURLToPath } from "node:url";
import { buildWasm } from "./build-wasm.mjs";

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error("usage: npm run replay -- FILE.jsonl.gz…");
  process.exit(2);
}

/** Imports a TypeScript module: directly where the runtime can, through vite elsewhere (Node 20). */
async function importTypeScript(file) {
  if (process.features.typescript) return import(file);
  const { runnerImport } = await import("vite");
  return (await runnerImport(fileURLToPath(file), { configFile: false, logLevel: "error" })).module;
}

await buildWasm(["frontend"]);
const { replayFiles } = await importTypeScript(new URL("../src/frontend/replay/index.ts", import.meta.url).href);
const { passed, failed } = await replayFiles(files, (line) => console.log(line));
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
