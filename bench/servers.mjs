// Servers of TPMs as processes, each with a fresh state, and the client that times them.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { wtpmProgram } from "./report.mjs";

const START_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 5000;
const POLL_MS = 0.5;

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const runs = (program, ...words) => spawnSync(program, words, { stdio: "ignore" }).status === 0;

export const hasPython = runs("python3", "-c", "pass");
export const hasTaskset = process.platform === "linux" && runs("taskset", "--version");
export const hasSwtpm = runs("swtpm", "--version");

/**
 * The Node that servers run in. V8 sweeps a part of its heap in another thread; that of Node 20 asks for the end of this in the main thread
 * again and again without ever sleeping. With a real-time priority on one processor the other thread never runs then, and the server hangs.
 */
export const node = [process.execPath, ...(isRealTime() ? ["--single-threaded-gc"] : [])];

/** Whether this process, and so what it starts, goes before all others until it sleeps (`chrt`). */
function isRealTime() {
  if (process.platform !== "linux") return false;
  // proc(5): the 40th field is the real-time priority; the second is the program's name, which may hold blanks.
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ").at(-1).split(" ");
  return Number(fields[40 - 3]) > 0;
}

const tpmOptions = (folder, more = "") => [
  "socket",
  "--tpm2",
  "--tpmstate",
  `dir=${folder}${more}`,
  "--server",
  `type=unixio,path=${path.join(folder, "data")}`,
  "--ctrl",
  `type=unixio,path=${path.join(folder, "ctrl")}`,
  "--flags",
  "not-need-init,startup-clear",
];

/** How each server is started, given its folder. */
export const launches = {
  swtpm: (folder) => ["swtpm", ...tpmOptions(folder)],
  wtpm: (folder) => [...node, wtpmProgram, ...tpmOptions(folder)],
  "wtpm fsync=false": (folder) => [...node, wtpmProgram, ...tpmOptions(folder, ",fsync=false")],
  "node:net": (folder) => [...node, here("answering-server.mjs"), path.join(folder, "data")],
};

/** A command line that runs on one processor, if one is given. */
const pinned = (words, cpu) => (cpu === undefined ? words : ["taskset", "-c", String(cpu), ...words]);

/** A running server. */
export class Server {
  /** @param cpu the processor to run on; any without it. @param where the folder for its state's folder */
  constructor(name, { cpu, where = tmpdir() } = {}) {
    this.name = name;
    this.folder = mkdtempSync(path.join(where, "wtpm-bench-"));
    this.data = path.join(this.folder, "data");
    this.ctrl = path.join(this.folder, "ctrl");
    this.cpu = cpu;
    this.launch();
  }

  /** Starts the process; again, with the state that is there, after `kill`. */
  launch() {
    const [program, ...words] = pinned(launches[this.name](this.folder), this.cpu);
    this.began = performance.now();
    this.process = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
    this.ended = once(this.process, "exit");
    this.messages = "";
    this.process.stderr.on("data", (chunk) => {
      this.messages += chunk;
    });
  }

  /** Connects as soon as the socket listens. */
  async connect(socketPath) {
    const end = this.began + START_LIMIT_MS;
    for (;;) {
      const socket = connect(socketPath);
      try {
        await once(socket, "connect");
        return socket;
      } catch {
        if (this.process.exitCode !== null || performance.now() > end) {
          throw new Error(`${this.name} does not listen: ${this.messages}`);
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }
  }

  async listening() {
    (await this.connect(this.data)).destroy();
  }

  /** Resident memory, and its share of what is mapped by several, in KiB; undefined where the system does not tell. */
  memory() {
    try {
      const text = readFileSync(`/proc/${this.process.pid}/smaps_rollup`, "utf8");
      const of = (field) => Number(new RegExp(`^${field}: *(\\d+)`, "m").exec(text)[1]);
      return { rss: of("Rss"), pss: of("Pss") };
    } catch {
      return undefined;
    }
  }

  /** Ends the process; its state stays. */
  async kill() {
    this.process.kill();
    const timer = setTimeout(() => this.process.kill("SIGKILL"), STOP_LIMIT_MS);
    await this.ended;
    clearTimeout(timer);
  }

  /** Ends the process, if it runs, and removes its folder. */
  async stop() {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The client process: it has a connection to every server, and answers one request after the other. */
export class RoundTripClient {
  #answers;
  constructor(servers, cpu) {
    const client = hasPython ? ["python3", here("round-trips.py")] : [...node, here("round-trips.mjs")];
    const [program, ...words] = pinned([...client, ...servers.map((server) => server.data)], cpu);
    this.process = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
    this.ended = once(this.process, "exit");
    this.#answers = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  /** One request; see round-trips.py. */
  async ask(request) {
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error("the client ended");
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(answer.error);
    return answer;
  }

  /** A transport to the server of this number. */
  transport(server) {
    return async (command) => {
      const { response } = await this.ask({ server, command: Buffer.from(command).toString("hex") });
      return Uint8Array.from(Buffer.from(response, "hex"));
    };
  }

  async stop() {
    this.process.stdin.end();
    await this.ended;
  }
}
