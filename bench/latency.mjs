// Times commands over a UNIX socket, beside swtpm: node bench/latency.mjs [--seconds 1] [--filter TEXT] [--cpu N] [--where DIR]
//
// One client with one command in flight; servers and client run on one processor, so that a round trip is what both take. Blocks of
// 30 ms go to the servers in the order A B B A …: what else the machine does hits both. p50, p99 and mean are of all round trips,
// in microseconds; "quiet" is the median of the quietest quarter of the blocks; the ratio is the median of the ratios of neighbouring
// blocks' medians. The first row is the floor: a server in Node that answers without looking.
import { TpmClient } from "../dist/client.js";
import { encodeCommand } from "../dist/codec.js";
import { operations, prepareOperation } from "./operations.mjs";
import { figure, heading, mean, median, quantile, readOptions, requireBuild, table } from "./report.mjs";
import { hasPython, hasSwtpm, hasTaskset, RoundTripClient, Server } from "./servers.mjs";

const BLOCK_SECONDS = 0.03;
const QUIET_SHARE = 0.25;
/** How much longer operations are measured whose time is a matter of luck. */
const SLOW = 4;

requireBuild();
const options = readOptions({ seconds: 1, filter: "", cpu: 0, where: process.env.TMPDIR ?? "/tmp" });
const cpu = hasTaskset ? options.cpu : undefined;

const names = [...(hasSwtpm ? ["swtpm"] : []), "wtpm", "wtpm fsync=false", "node:net"];
const servers = names.map((name) => new Server(name, { cpu, where: options.where }));
await Promise.all(servers.map((server) => server.listening()));
const client = new RoundTripClient(servers, cpu);
const clients = servers.map((_, i) => new TpmClient(client.transport(i)));

console.log(heading());
console.log(
  `client: ${hasPython ? "python3, blocking" : "Node, with an event loop's cost"}; ` +
    `${cpu === undefined ? "not pinned: there is no taskset" : `all on processor ${cpu}`}` +
    `${hasSwtpm ? "" : "; no swtpm here, so nothing to compare with"}\n`,
);

function summary(blocks) {
  const samples = blocks.flat().map((ns) => ns / 1000);
  const medians = blocks.map((block) => median(block) / 1000);
  const quiet = quantile(medians, QUIET_SHARE / 2);
  return { p50: median(samples), p99: quantile(samples, 0.99), mean: mean(samples), quiet, medians };
}

/** One row: an operation on swtpm and on another server. */
async function row(name, operation, contender) {
  const turns = [];
  const ends = [];
  for (const server of hasSwtpm ? ["swtpm", contender] : [contender]) {
    const number = names.indexOf(server);
    // The floor gives any answer to any command.
    const prepared =
      server === "node:net"
        ? { command: encodeCommand("GetRandom", { parameters: { bytesRequested: 32 } }), counter: -1, made: false }
        : await prepareOperation(operation, clients[number]);
    if (prepared.end) ends.push(prepared.end);
    const { command, counter, made } = prepared;
    turns.push({ server: number, command: Buffer.from(command).toString("hex"), counter, made });
  }
  const seconds = options.seconds * (operation.slow ? SLOW : 1);
  const answer = await client.ask({ turns, seconds, block: BLOCK_SECONDS, min: 20, max: 100_000 });
  for (const end of ends) await end();
  const results = answer.turns.map(summary);
  const own = results.at(-1);
  const cells = hasSwtpm ? results : [undefined, own];
  const ratio = hasSwtpm ? median(own.medians.map((time, i) => time / results[0].medians[i])).toFixed(2) : "";
  return [name, ...cells.flatMap((r) => [r?.p50, r?.p99, r?.mean, r?.quiet].map(figure)), ratio];
}

const rows = [];
const failures = [];
const wanted = (name) => name.includes(options.filter);
async function add(name, operation, contender = "wtpm") {
  if (!wanted(name)) return;
  try {
    rows.push(await row(name, operation, contender));
  } catch (error) {
    failures.push(`${name}: ${error.message}`);
  }
}

try {
  await add("floor (node:net against GetRandom)", operations["GetRandom 32"], "node:net");
  for (const [name, operation] of Object.entries(operations)) {
    await add(name, operation);
    if (operation.kind === "store") await add(`${name}, fsync=false`, operation, "wtpm fsync=false");
  }
} finally {
  await client.stop();
  for (const server of servers) await server.stop();
}
const columns = ["p50", "p99", "mean", "quiet"];
const headers = [...columns.map((column) => `swtpm ${column}`), ...columns.map((column) => `wtpm ${column}`)];
console.log(table(["µs", ...headers, "wtpm/swtpm"], rows));
for (const failure of failures) console.log(`failed: ${failure}`);
if (failures.length > 0) process.exitCode = 1;
