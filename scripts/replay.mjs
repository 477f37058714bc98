// Replays recorded device traces against the hardware interfaces: npm run replay -- FILE.jsonl.gz…
import { buildWasm } from "./build-wasm.mjs";
import { importTypeScript } from "./import-typescript.mjs";

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error("usage: npm run replay -- FILE.jsonl.gz…");
  process.exit(2);
}

await buildWasm(["frontend"]);
const { replayFiles } = await importTypeScript("src/frontend/replay/index.ts");
const { passed, failed } = await replayFiles(files, (line) => console.log(line));
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
