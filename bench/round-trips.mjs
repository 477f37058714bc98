// The client of round-trips.py where there is no Python: the same requests and answers, with an event loop's own cost on top.
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { flushOf } from "./operations.mjs";

/** One connection; a second exchange only after the first. */
class Connection {
  #socket;
  #chunks = [];
  #size = 0;
  #answer;

  constructor(path) {
    this.#socket = connect(path);
    this.#socket.on("data", (chunk) => this.#take(chunk));
    for (const event of ["error", "close"]) {
      this.#socket.on(event, () => this.#answer?.reject(new Error("the server closed the connection")));
    }
  }

  exchange(command) {
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
      this.#socket.write(command);
    });
  }

  #take(chunk) {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    const whole = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    if (this.#size < 10 || this.#size < whole.readUInt32BE(2)) return;
    this.#chunks = [];
    this.#size = 0;
    this.#answer.resolve(whole);
  }
}

async function block(turn, calls) {
  const times = [];
  for (let i = 0; i < calls; i++) {
    if (turn.counter >= 0) turn.command.writeBigUInt64BE(++turn.number, turn.counter);
    const began = process.hrtime.bigint();
    const response = await turn.connection.exchange(turn.command);
    times.push(Number(process.hrtime.bigint() - began));
    const code = response.readUInt32BE(6);
    if (code !== 0) throw new Error(`response code 0x${code.toString(16)}`);
    if (turn.made) await turn.connection.exchange(flushOf(response));
  }
  return times;
}

async function measure(request) {
  const turns = request.turns.map((turn) => ({
    ...turn,
    connection: connections[turn.server],
    command: Buffer.from(turn.command, "hex"),
    number: BigInt(Date.now()) * 1_000_000n,
    blocks: [],
    spent: 0,
    samples: 0,
  }));
  for (const turn of turns)
    turn.calls = Math.max(1, Math.floor((request.block * 1e9) / Math.min(...(await block(turn, 3)))));
  const limit = request.seconds * 1e9;
  const wanting = (turn) => (turn.spent < limit && turn.samples < request.max) || turn.samples < request.min;
  for (let number = 0; turns.some(wanting); number++) {
    for (const turn of number % 2 === 0 ? turns : turns.toReversed()) {
      const times = await block(turn, turn.calls);
      turn.blocks.push(times);
      turn.spent += times.reduce((sum, time) => sum + time, 0);
      turn.samples += times.length;
    }
  }
  return { turns: turns.map((turn) => turn.blocks) };
}

const connections = process.argv.slice(2).map((path) => new Connection(path));
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = request.turns
      ? await measure(request)
      : { response: (await connections[request.server].exchange(Buffer.from(request.command, "hex"))).toString("hex") };
  } catch (error) {
    answer = { error: error.message };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
