// Times what keeps state, beside swtpm: node bench/state.mjs [--seconds 3] [--cpu N] [--where DIR] [--synced DIR]
//
// NV_Write over the socket with every kind of store, each beside the swtpm that is as durable: swtpm 0.7 never syncs a directory, and syncs a
// linear file after every write. Where --synced names a directory of a file system that is mounted with `-o sync`, which syncs for swtpm,
// directories are compared there too. Blocks alternate as in latency.mjs. Then what the syncs alone cost here, the time and size of the
// blobs that a migration carries, and an INIT with a state that is there.
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { TpmClient } from "../dist/client.js";
import { connectEmulator } from "../dist/index.js";
import { operations, prepareOperation } from "./operations.mjs";
import { figure, heading, median, quantile, readOptions, requireBuild, table, wtpmProgram } from "./report.mjs";
import { hasPython, hasSwtpm, hasTaskset, launches, node, RoundTripClient, Server } from "./servers.mjs";

const BLOCK_SECONDS = 0.05;
const QUIET_SHARE = 0.25;
const ROUNDS = 200;
/** A permanent state with a few keys and indices. */
const STATE_SIZE = 4096;

requireBuild();
const options = readOptions({ seconds: 3, cpu: 0, where: tmpdir(), synced: "" });
const cpu = hasTaskset ? options.cpu : undefined;

/** How a server keeps its state: the value of --tpmstate. */
const places = {
  "dir, fsync=false": (folder) => `dir=${folder},fsync=false`,
  dir: (folder) => `dir=${folder}`,
  "dir, backup": (folder) => `dir=${folder},backup`,
  "file://": (folder) => `backend-uri=file://${path.join(folder, "nvram")}`,
  "file://, fsync=false": (folder) => `backend-uri=file://${path.join(folder, "nvram")},fsync=false`,
};
const sockets = (folder) => [
  ...[
    "--server",
    `type=unixio,path=${path.join(folder, "data")}`,
    "--ctrl",
    `type=unixio,path=${path.join(folder, "ctrl")}`,
  ],
  ...["--flags", "not-need-init,startup-clear"],
];
for (const [name, place] of Object.entries(places)) {
  launches[`wtpm ${name}`] = (folder) => [
    ...[...node, wtpmProgram, "socket", "--tpm2", "--tpmstate", place(folder)],
    ...sockets(folder),
  ];
}
for (const name of ["dir", "file://"])
  launches[`swtpm ${name}`] = (folder) => [
    "swtpm",
    "socket",
    "--tpm2",
    "--tpmstate",
    places[name](folder),
    ...sockets(folder),
  ];

/** The round trips of NV_Write on two servers that take turns: p50 and p99 in µs, and the median ratio of neighbouring blocks. */
async function compare(peer, own, where = options.where) {
  const names = [...(peer && hasSwtpm ? [peer] : []), own];
  const servers = names.map((name) => new Server(name, { cpu, where }));
  let client;
  try {
    await Promise.all(servers.map((server) => server.listening()));
    client = new RoundTripClient(servers, cpu);
    const turns = [];
    for (const server of servers.keys()) {
      const tpm = new TpmClient(client.transport(server));
      const { command, counter } = await prepareOperation(operations["NV_Write 32"], tpm);
      turns.push({ server, command: Buffer.from(command).toString("hex"), counter, made: false });
    }
    const { turns: answers } = await client.ask({
      turns,
      seconds: options.seconds,
      block: BLOCK_SECONDS,
      min: 20,
      max: 100_000,
    });
    const results = answers.map((blocks) => {
      const samples = blocks.flat().map((ns) => ns / 1000);
      const medians = blocks.map((block) => median(block) / 1000);
      const quiet = quantile(medians, QUIET_SHARE / 2);
      return { p50: median(samples), p99: quantile(samples, 0.99), quiet, medians };
    });
    const result = results.at(-1);
    if (results.length < 2) return [own, "", "", "", figure(result.p50), figure(result.p99), figure(result.quiet), ""];
    const ratio = median(result.medians.map((time, i) => time / results[0].medians[i]));
    const cells = results.flatMap(({ p50, p99, quiet }) => [figure(p50), figure(p99), figure(quiet)]);
    return [`${own} / ${peer}`, ...cells, ratio.toFixed(2)];
  } finally {
    await client?.stop();
    for (const server of servers) await server.stop();
  }
}

async function writes() {
  const rows = [
    await compare("swtpm dir", "wtpm dir, fsync=false"),
    await compare("swtpm file://", "wtpm file://"),
    await compare(undefined, "wtpm file://, fsync=false"),
    await compare(undefined, "wtpm dir"),
    await compare(undefined, "wtpm dir, backup"),
  ];
  if (options.synced) {
    const [name, ...cells] = await compare("swtpm dir", "wtpm dir, fsync=false", options.synced);
    rows.push([`${name}, on the synced file system`, ...cells]);
  }
  const columns = ["p50", "p99", "quiet"];
  const headers = [
    ...columns.map((column) => `swtpm ${column}`),
    ...columns.map((column) => `wtpm ${column}`),
    "wtpm/swtpm",
  ];
  console.log(table(["NV_Write 32, µs", ...headers], rows));
}

function medianOf(rounds, work) {
  const times = [];
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    work(round);
    times.push(1000 * (performance.now() - began));
  }
  return median(times);
}

/** The calls of a commit without a TPM around them, and with and without syncs. */
function syncs() {
  const folder = fs.mkdtempSync(path.join(options.where, "wtpm-bench-"));
  const [temporary, file, linear] = ["t", "f", "l"].map((name) => path.join(folder, name));
  const bytes = Buffer.alloc(STATE_SIZE, 1);
  const replace = (sync) => {
    const fd = fs.openSync(temporary, "w");
    fs.writeSync(fd, bytes, 0, bytes.length, 0);
    if (sync) fs.fsyncSync(fd);
    fs.closeSync(fd);
    fs.renameSync(temporary, file);
    if (!sync) return;
    const directory = fs.openSync(folder, "r");
    fs.fsyncSync(directory);
    fs.closeSync(directory);
  };
  fs.writeFileSync(linear, Buffer.alloc(5 * STATE_SIZE));
  const fd = fs.openSync(linear, "r+");
  const inPlace = (round, sync) => {
    fs.writeSync(fd, bytes, 0, bytes.length, (1 + 2 * (round % 2)) * STATE_SIZE);
    if (sync) fs.fdatasyncSync(fd);
    fs.writeSync(fd, bytes, 0, 192, 0);
    if (sync) fs.fdatasyncSync(fd);
  };
  const rows = [false, true].map((sync) => [
    sync ? "synced" : "not synced",
    figure(medianOf(ROUNDS, () => replace(sync))),
    figure(medianOf(ROUNDS, (round) => inPlace(round, sync))),
  ]);
  fs.closeSync(fd);
  fs.rmSync(folder, { recursive: true });
  console.log(table([`${STATE_SIZE} bytes, µs`, "a file replaced", "a region and a header written"], rows));
}

async function timed(rounds, work) {
  const times = [];
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    await work();
    times.push(performance.now() - began);
  }
  return median(times);
}

/** What a migration does, over the control channel: milliseconds and bytes. */
async function blobs(name) {
  const server = new Server(name, { cpu, where: options.where });
  let backend;
  try {
    await server.listening();
    backend = await connectEmulator({ control: { path: server.ctrl }, data: { path: server.data }, shutdown: false });
    const rows = {};
    const kept = {};
    for (const type of ["permanent", "volatile"]) {
      kept[type] = await backend.getStateBlob(type);
      rows[`${type} blob out`] = await timed(ROUNDS, () => backend.getStateBlob(type));
      rows[`${type} blob, bytes`] = kept[type].blob.length;
    }
    rows["both in, and INIT"] = await timed(ROUNDS / 10, async () => {
      await backend.powerOff();
      for (const type of ["permanent", "volatile"]) await backend.setStateBlob(type, kept[type].flags, kept[type].blob);
      await backend.powerOn({ deleteVolatile: true });
    });
    rows["INIT with the state that is there"] = await timed(ROUNDS / 10, async () => {
      await backend.powerOff();
      await backend.powerOn();
    });
    return rows;
  } finally {
    await backend?.close().catch(() => {});
    await server.stop();
  }
}

console.log(heading());
console.log(
  `client: ${hasPython ? "python3, blocking" : "Node, with an event loop's cost"}; ` +
    `${cpu === undefined ? "not pinned" : `all on processor ${cpu}`}; state in ${options.where}\n`,
);
await writes();
console.log();
syncs();
console.log();
const servers = [...(hasSwtpm ? ["swtpm dir"] : []), "wtpm dir, fsync=false", "wtpm dir", "wtpm file://"];
const results = [];
for (const name of servers) results.push(await blobs(name));
const rows = Object.keys(results[0]).map((row) => [
  row,
  ...results.map((result) => (row.endsWith("bytes") ? result[row] : figure(result[row]))),
]);
console.log(table(["control channel, ms", ...servers], rows));
