// Random commands and mutated states for the engine alone: npm run fuzz -- --help
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { buildWasm } from "./build-wasm.mjs";
import { importTypeScript } from "./import-typescript.mjs";

const USAGE = `npm run fuzz -- [options]
  --commands N    commands to run, 100000 when nothing is said
  --blobs N       mutated states to load instead
  --seed TEXT     another seed, other sequences; "fuzz" when nothing is said
  --workers N     threads, 1 when nothing is said
  --enough N      how many failures of a thread end it, 1 when nothing is said
  --out FOLDER    where reproductions of failures go, "failures" when nothing is said
  --replay FILE   runs a reproduction`;
const REPORT_EVERY_MS = 10_000;

/** Runs a share of the work and reports counts. */
async function work({ what, seed, amount, first, every, enough }, report) {
  let last = Date.now();
  const progress = (counts) => {
    if (Date.now() - last < REPORT_EVERY_MS) return;
    last = Date.now();
    report(counts);
  };
  if (what === "blobs") {
    const { fuzzBlobs } = await importTypeScript("test/support/fuzz-blobs.ts");
    return fuzzBlobs({ seed, blobs: amount, first, every, enough, progress });
  }
  const { fuzzEngine } = await importTypeScript("test/support/fuzz-run.ts");
  return fuzzEngine({ seed, commands: amount, first, every, enough, progress });
}

if (!isMainThread) {
  const post = (message) => parentPort.postMessage(message);
  post({ outcome: await work(workerData, (counts) => post({ counts })) });
}

/** Starts a thread; resolves with its outcome. */
function startWorker(data, report) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: data });
    worker.on("message", ({ counts, outcome }) => {
      if (counts) report(counts);
      if (outcome) resolve(outcome);
    });
    worker.on("error", reject);
    worker.on("exit", () => reject(new Error("a worker ended without a result")));
  });
}

function sum(all) {
  const total = {};
  for (const counts of all) {
    for (const [name, value] of Object.entries(counts ?? {})) {
      total[name] = name === "slowest" ? Math.max(total[name] ?? 0, value) : (total[name] ?? 0) + value;
    }
  }
  return total;
}

function printCounts(counts, began) {
  const seconds = (Date.now() - began) / 1000;
  const amount = counts.blobs ?? counts.commands ?? 0;
  const text = Object.entries(counts).map(([name, value]) =>
    name === "slowest" ? `slowest ${value.toFixed(1)} ms` : `${value} ${name}`,
  );
  console.log(`${text.join(", ")}; ${seconds.toFixed(0)} s, ${Math.round(amount / seconds)} a second`);
}

async function main() {
  const { values } = parseArgs({
    options: {
      commands: { type: "string" },
      blobs: { type: "string" },
      seed: { type: "string", default: "fuzz" },
      workers: { type: "string", default: "1" },
      enough: { type: "string", default: "1" },
      out: { type: "string", default: "failures" },
      replay: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  await buildWasm(["tpm2", "tpm2-fma"]);
  if (values.replay) {
    const { replayFuzz } = await importTypeScript("test/support/fuzz-run.ts");
    const { replayBlob } = await importTypeScript("test/support/fuzz-blobs.ts");
    const reproduction = JSON.parse(readFileSync(values.replay, "utf8"));
    return (reproduction.steps ? replayFuzz : replayBlob)(reproduction, console.log) ? 1 : 0;
  }
  const what = values.blobs ? "blobs" : "commands";
  const every = Number(values.workers);
  const amount = Math.ceil(Number(values.blobs ?? values.commands ?? 100_000) / every);
  if (!(amount > 0 && Number.isInteger(every) && every > 0)) throw new Error(USAGE);
  const began = Date.now();
  const latest = [];
  const jobs = Array.from({ length: every }, (_, first) => {
    const data = { what, seed: values.seed, amount, first, every, enough: Number(values.enough) };
    return startWorker(data, (counts) => {
      latest[first] = counts;
      printCounts(sum(latest), began);
    });
  });
  const outcomes = await Promise.all(jobs);
  printCounts(sum(outcomes.map(({ counts }) => counts)), began);
  const failures = outcomes.flatMap((outcome) => outcome.failures);
  failures.forEach((failure, n) => {
    mkdirSync(values.out, { recursive: true });
    const file = path.join(values.out, `${n + 1}.json`);
    writeFileSync(file, `${JSON.stringify(failure, null, 1)}\n`);
    console.log(`${failure.kind}: ${failure.message}\n  npm run fuzz -- --replay ${file}`);
  });
  return failures.length ? 1 : 0;
}

if (isMainThread) {
  process.exitCode = await main().catch((error) => {
    console.error(error.message);
    return 2;
  });
}
