// Times commands in this process, through Tpm.execute: node bench/in-process.mjs [--seconds 0.5] [--filter TEXT]
//
// A TPM with its state in memory. Each command runs in slices of 2 ms; best and median slice, in microseconds per command. Where a
// command makes something that has to be flushed, the time is that of both commands. Then what a TPM is to its host: compiling and
// instantiating the engine, power-on, saving state, memory.
import { readFileSync } from "node:fs";
import { TpmClient } from "../dist/client.js";
import { MemoryStore, Tpm } from "../dist/index.js";
import { flushOf, operations, prepareOperation } from "./operations.mjs";
import { figure, heading, median, quantile, readOptions, requireBuild, table } from "./report.mjs";

const SLICE_MS = 2;
const WARM_UP_SLICES = 20;
/** What takes longer than this in milliseconds is warm after one call. */
const LONG_MS = 5;
/** How much longer operations are measured whose time is a matter of luck. */
const SLOW = 8;
/** TPMs that are made to see what one takes. */
const CROWD = 50;

requireBuild();
const options = readOptions({ seconds: 0.5, filter: "" });

/** Milliseconds per call in one slice; asynchronous calls are waited for one by one. */
async function slice(call) {
  let calls = 0;
  const start = performance.now();
  let now;
  do {
    const pending = call();
    if (pending instanceof Promise) await pending;
    calls++;
    now = performance.now();
  } while (now - start < SLICE_MS);
  return (now - start) / calls;
}

/** Best and median of the slices, in microseconds. */
async function time(call, seconds = options.seconds) {
  for (let i = 0; i < WARM_UP_SLICES; i++) if ((await slice(call)) > LONG_MS) break;
  const times = [];
  const end = performance.now() + seconds * 1000;
  do times.push((await slice(call)) * 1000);
  while (performance.now() < end);
  return { best: quantile(times, 0), median: median(times) };
}

function checked(response) {
  const code = ((response[6] << 24) | (response[7] << 16) | (response[8] << 8) | response[9]) >>> 0;
  if (code !== 0) throw new Error(`response code 0x${code.toString(16)}`);
  return response;
}

/** A call that runs the prepared command once. */
function callOf(tpm, { command, counter, made }) {
  const view = new DataView(command.buffer, command.byteOffset);
  let number = 0n;
  const finish = (response) => {
    checked(response);
    return made ? tpm.execute(flushOf(response)) : response;
  };
  return () => {
    if (counter >= 0) view.setBigUint64(counter, ++number);
    const response = tpm.execute(command);
    return response instanceof Promise ? response.then(finish) : finish(response);
  };
}

async function commands() {
  const tpm = await Tpm.create();
  const client = new TpmClient((command) => tpm.execute(command));
  const rows = [];
  for (const [name, operation] of Object.entries(operations)) {
    if (!name.includes(options.filter)) continue;
    const prepared = await prepareOperation(operation, client);
    const { best, median } = await time(callOf(tpm, prepared), options.seconds * (operation.slow ? SLOW : 1));
    await prepared.end();
    rows.push([prepared.made ? `${name} + FlushContext` : name, figure(best), figure(median)]);
  }
  await tpm.close();
  console.log(table(["µs per command", "best", "median"], rows));
}

async function engine() {
  const host = { env: { random: () => {}, now: () => 0 } };
  const rows = [];
  const add = async (name, call) => {
    const { best, median } = await time(call);
    rows.push([name, figure(best), figure(median)]);
  };
  for (const file of ["tpm2-fma.wasm", "tpm2.wasm"]) {
    const bytes = readFileSync(new URL(`../dist/wasm/${file}`, import.meta.url));
    const name = `${file} (${bytes.length} bytes)`;
    if (!WebAssembly.validate(bytes)) {
      rows.push([`${name}: not for this runtime`, "", ""]);
      continue;
    }
    await add(`compile ${name}`, () => new WebAssembly.Module(bytes));
    const module = new WebAssembly.Module(bytes);
    await add(`instantiate ${name}`, () => new WebAssembly.Instance(module, host));
  }
  const tpm = await Tpm.create();
  await add("Tpm.create, a new TPM", async () => (await Tpm.create()).close());
  await add("powerCycle, state in memory", () => tpm.powerCycle());
  await tpm.close();
  const running = await Tpm.create({ store: new MemoryStore() });
  await add("the permanent state as bytes", () => running.backend.getState("permanent"));
  await add("the volatile state as bytes", () => running.backend.getState("volatile"));
  await running.close();
  console.log(table(["µs", "best", "median"], rows));
}

/** What `CROWD` TPMs that have answered a command add to the process. */
async function memory() {
  const before = process.memoryUsage();
  const tpms = [];
  for (let i = 0; i < CROWD; i++) tpms.push(await Tpm.create());
  const after = process.memoryUsage();
  const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`;
  console.log(
    `memory: the process ${kib(before.rss)} resident; each of ${CROWD} TPMs adds ${kib((after.rss - before.rss) / CROWD)}, ` +
      `${kib((after.arrayBuffers + after.external - before.arrayBuffers - before.external) / CROWD)} of it external`,
  );
  for (const tpm of tpms) await tpm.close();
}

console.log(`${heading()}\n`);
if (options.filter === "") await memory();
await commands();
if (options.filter === "") {
  console.log();
  await engine();
}
