// Times the start of a server, beside swtpm's: node bench/start.mjs [--starts 20]
//
// Milliseconds from the launch of the process until both sockets listen, and until the first response, with no state and with the
// state that a first start left; median and worst. Then the memory of the process. Starts alternate; `node -e 0`, which is a start of
// Node and nothing more, is the floor.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { encodeCommand } from "../dist/codec.js";
import { figure, heading, median, readOptions, requireBuild, table } from "./report.mjs";
import { hasSwtpm, Server } from "./servers.mjs";

requireBuild();
const options = readOptions({ starts: 20, where: process.env.TMPDIR ?? "/tmp" });
const getRandom = encodeCommand("GetRandom", { parameters: { bytesRequested: 32 } });

/** One start in the folder of `server`, which then is stopped; its folder stays. */
async function measure(server) {
  const sockets = [await server.connect(server.data), await server.connect(server.ctrl)];
  const listen = performance.now() - server.began;
  sockets[0].write(getRandom);
  const [response] = await once(sockets[0], "data");
  const answer = performance.now() - server.began;
  if (response.readUInt32BE(6) !== 0) throw new Error(`${server.name} answered ${response.toString("hex")}`);
  const memory = server.memory();
  await server.kill();
  for (const socket of sockets) socket.destroy();
  return { listen, answer, memory };
}

async function bareNode() {
  const began = performance.now();
  await once(spawn(process.execPath, ["-e", "0"], { stdio: "ignore" }), "exit");
  return performance.now() - began;
}

const names = [...(hasSwtpm ? ["swtpm"] : []), "wtpm"];
const results = Object.fromEntries(names.map((name) => [name, { first: [], again: [] }]));
const floor = [];
for (let i = 0; i < options.starts; i++) {
  for (const name of i % 2 === 0 ? names : names.toReversed()) {
    const server = new Server(name, { where: options.where });
    try {
      results[name].first.push(await measure(server));
      server.launch();
      results[name].again.push(await measure(server));
    } finally {
      await server.stop();
    }
  }
  floor.push(await bareNode());
}

const cell = (times) => `${figure(median(times))} / ${figure(Math.max(...times))}`;
const row = (name, pick) => [name, ...names.map((server) => pick(results[server]))];
const times = (starts, field) => cell(starts.map((start) => start[field]));
const memory = (field) => (result) => {
  const known = result.again.map((start) => start.memory?.[field]).filter((kib) => kib !== undefined);
  return known.length > 0 ? `${(median(known) / 1024).toFixed(1)} MiB` : "";
};
console.log(heading());
console.log(
  `${options.starts} starts each, ms, median / worst; node -e 0: ${cell(floor)}` +
    `${hasSwtpm ? "" : "; no swtpm here, so nothing to compare with"}\n`,
);
console.log(
  table(
    ["start", ...names],
    [
      row("both sockets listen, no state yet", ({ first }) => times(first, "listen")),
      row("first response, no state yet", ({ first }) => times(first, "answer")),
      row("both sockets listen, with a state", ({ again }) => times(again, "listen")),
      row("first response, with a state", ({ again }) => times(again, "answer")),
      row("resident memory (RSS)", memory("rss")),
      row("its own share (PSS)", memory("pss")),
    ],
  ),
);
