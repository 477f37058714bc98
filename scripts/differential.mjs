// The engine and Debian's swtpm under the same random commands: npm run differential -- --help
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { buildWasm } from "./build-wasm.mjs";
import { importTypeScript } from "./import-typescript.mjs";

const USAGE = `npm run differential -- [options]
  --seed TEXT     another seed, other sequences; "differential" when nothing is said
  --seconds N     how long, 60 when nothing is said
  --forever       until it is interrupted
  --out FOLDER    where sequences that differ go, "differences" when nothing is said
  --replay FILE   runs such a sequence`;
const REPORT_EVERY_MS = 10_000;

async function replay(file) {
  const { replayDifferential } = await importTypeScript("test/support/differential-run.ts");
  const { Pair, describeDifference } = await importTypeScript("test/support/engine-lock-step.ts");
  const pair = await Pair.start();
  try {
    const difference = await replayDifferential(pair, JSON.parse(readFileSync(file, "utf8")), (step, code) =>
      console.log(`${step.name ?? step.kind}: 0x${code.toString(16)}`),
    );
    console.log(difference ? describeDifference(difference) : "the two agree");
    return difference ? 1 : 0;
  } finally {
    await pair[Symbol.asyncDispose]();
  }
}

function printCounts({ sequences, commands, succeeded, known, unstable }, seconds) {
  const rate = Math.round(commands / seconds);
  console.log(
    `${sequences} sequences, ${commands} commands (${succeeded} succeeded), ${known} known differences, ${unstable} unstable; ${rate} a second`,
  );
}

async function main() {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "differential" },
      seconds: { type: "string", default: "60" },
      forever: { type: "boolean" },
      out: { type: "string", default: "differences" },
      replay: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  await buildWasm(["tpm2", "tpm2-fma"]);
  if (values.replay) return replay(values.replay);
  const { differential } = await importTypeScript("test/support/differential-run.ts");
  const began = Date.now();
  let reported = began;
  let files = 0;
  const { counts, differences } = await differential({
    seed: values.seed,
    end: values.forever ? Number.POSITIVE_INFINITY : began + Number(values.seconds) * 1000,
    enough: Number.POSITIVE_INFINITY,
    found(sequence) {
      mkdirSync(values.out, { recursive: true });
      const file = path.join(values.out, `${++files}.json`);
      writeFileSync(file, `${JSON.stringify(sequence, null, 1)}\n`);
      console.log(`${sequence.difference}\n  ${sequence.steps.length} steps: npm run differential -- --replay ${file}`);
    },
    progress(now) {
      if (Date.now() - reported < REPORT_EVERY_MS) return;
      reported = Date.now();
      printCounts(now, (reported - began) / 1000);
    },
  });
  printCounts(counts, (Date.now() - began) / 1000);
  return differences.length ? 1 : 0;
}

process.exitCode = await main().catch((error) => {
  console.error(error.message);
  return 2;
});
