// While a TPM makes RSA keys: how soon it stops when told to, and how its neighbours in the process fare.
//
//     node bench/responsiveness.mjs [--cancels 200] [--seconds 5] [--tpms 8]
//
// Cancelling: TPM2_Create of an RSA-2048 key through `wtpm socket`, CMD_CANCEL_TPM_CMD over the control channel after 1 to 8 ms; the time
// is from sending that request to the response TPM_RC_CANCELED. Keys that were done before are not counted.
//
// Neighbours: a process with several TPMs (many-tpms.mjs). One of them creates RSA-2048 keys without pause, the others are asked for
// TPM2_PCR_Read now and then; the time is from sending a command to its response. Beside it the same while nobody makes keys.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { TpmClient } from "../dist/client.js";
import { encodeCommand } from "../dist/codec.js";
import { operations, prepareOperation } from "./operations.mjs";
import { figure, heading, mean, median, quantile, readOptions, requireBuild, table } from "./report.mjs";
import { Server } from "./servers.mjs";

const CMD_CANCEL_TPM_CMD = Uint8Array.of(0, 0, 0, 9);
const TPM_RC_CANCELED = 0x909;
/** Between two commands to one of the neighbours, at most, in milliseconds. */
const PAUSE_MS = 4;

requireBuild();
const options = readOptions({ cancels: 200, seconds: 5, tpms: 8 });

/** A socket on which every request has one answer, whose end its size field or `size` tells. */
class Line {
  constructor(socket) {
    this.socket = socket;
  }
  static async to(file) {
    const socket = connect(file);
    await once(socket, "connect");
    return new Line(socket);
  }
  async ask(request) {
    this.socket.write(request);
    const [answer] = await once(this.socket, "data");
    return answer;
  }
  close() {
    this.socket.destroy();
  }
}

const codeOf = (response) => response.readUInt32BE(6);

/** The bytes of TPM2_Create of an RSA key, with a storage key that stays loaded. */
async function creation(line) {
  const client = new TpmClient((command) => line.ask(command));
  return (await prepareOperation(operations["Create RSA-2048"], client)).command;
}

async function cancelling() {
  const server = new Server("wtpm");
  await server.listening();
  const data = await Line.to(server.data);
  const control = await Line.to(server.ctrl);
  const command = await creation(data);
  const times = [];
  for (let i = 0; i < options.cancels; i++) {
    const response = data.ask(command);
    await setTimeout(1 + (i % 8));
    const start = performance.now();
    await control.ask(CMD_CANCEL_TPM_CMD);
    if (codeOf(await response) === TPM_RC_CANCELED) times.push(performance.now() - start);
  }
  data.close();
  control.close();
  await server.stop();
  return times;
}

async function neighbours(busy) {
  const folder = mkdtempSync(path.join(tmpdir(), "wtpm-bench-"));
  const host = spawn(
    process.execPath,
    [new URL("many-tpms.mjs", import.meta.url).pathname, folder, String(options.tpms)],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  await once(host.stdout, "data");
  const lines = await Promise.all(
    Array.from({ length: options.tpms }, (_, i) => Line.to(path.join(folder, String(i)))),
  );
  const command = await creation(lines[0]);
  const read = encodeCommand("PCR_Read", { parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [0] }] } });
  const end = performance.now() + options.seconds * 1000;
  const times = [];
  let keys = 0;
  const maker = async () => {
    for (; busy && performance.now() < end; keys++) await lines[0].ask(command);
  };
  const reader = async (line) => {
    while (performance.now() < end) {
      await setTimeout(Math.random() * PAUSE_MS);
      const start = performance.now();
      await line.ask(read);
      times.push(performance.now() - start);
    }
  };
  await Promise.all([maker(), ...lines.slice(1).map(reader)]);
  for (const line of lines) line.close();
  host.kill();
  await once(host, "exit");
  rmSync(folder, { recursive: true });
  return { times, keys };
}

const row = (name, times) => [
  name,
  times.length,
  ...[median(times), mean(times), quantile(times, 0.99), Math.max(...times)].map(figure),
];

console.log(`${heading()}\n`);
const quiet = await neighbours(false);
const busy = await neighbours(true);
const cancelled = await cancelling();
console.log(
  table(
    ["ms", "samples", "p50", "mean", "p99", "worst"],
    [
      row("cancel Create RSA-2048, over the control channel", cancelled),
      row(`PCR_Read of one of ${options.tpms} TPMs, nobody makes keys`, quiet.times),
      row(`PCR_Read while another TPM made ${busy.keys} RSA-2048 keys`, busy.times),
    ],
  ),
);
