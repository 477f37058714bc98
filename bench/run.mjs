// The benchmarks: npm run bench [-- SET... --quick --no-build]
//
// Without names it runs every set, each in a process of its own, and prints the command with which the set runs alone. --quick is
// a look of a minute or two; its figures are rough. Use another Node by starting this with it. docs/performance.md says what the
// figures mean.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { root } from "./report.mjs";
import { hasPython, hasSwtpm, hasTaskset } from "./servers.mjs";

const swtpm = hasSwtpm ? ["--swtpm"] : [];

/** The sets: what they tell, their script, its arguments, and those of a quick run. */
const sets = {
  latency: { about: "commands over a UNIX socket, beside swtpm", full: [], quick: ["--seconds", "0.2"] },
  start: { about: "launch, first response and memory of a server, beside swtpm", full: [], quick: ["--starts", "5"] },
  state: {
    about: "NV_Write with every kind of store, what syncs cost, state blobs, beside swtpm",
    full: [],
    quick: ["--seconds", "0.3"],
  },
  "in-process": {
    about: "commands in this process; the engine's size and start",
    full: [],
    quick: ["--seconds", "0.1"],
  },
  responsiveness: {
    about: "cancelling a command, and other TPMs of the process while one makes RSA keys",
    full: [],
    quick: ["--cancels", "40", "--seconds", "2"],
  },
  frontend: { about: "register accesses of the hardware interfaces", full: [], quick: ["--seconds", "0.2"] },
  v86: { about: "a PC in the v86 emulator: to the first TPM command, to Linux", full: [], quick: ["--starts", "3"] },
  "crypto-symmetric": {
    about: "hashes and ciphers, beside node:crypto, noble and hash-wasm",
    full: [],
    quick: ["", "0.1"],
  },
  "crypto-ecc": {
    about: "elliptic curves, beside node:crypto and noble",
    full: swtpm,
    quick: [...swtpm, "--seconds", "0.3"],
  },
  "crypto-rsa": {
    about: "RSA and the prime search, beside node:crypto",
    full: swtpm,
    quick: [...swtpm, "--seconds", "0.3", "--seeds", "10"],
  },
  "crypto-timing": { about: "whether secrets show in the time of operations", full: [], quick: ["", "20000"] },
};

const words = process.argv.slice(2);
const quick = words.includes("--quick");
const names = words.filter((word) => !word.startsWith("--"));
const unknown = words.filter((word) =>
  word.startsWith("--") ? !["--quick", "--no-build"].includes(word) : !sets[word],
);
if (unknown.length > 0) {
  const lines = Object.entries(sets).map(([name, { about }]) => `  ${name.padEnd(17)} ${about}`);
  console.error(`'${unknown[0]}' is not known here; there are --quick, --no-build and\n${lines.join("\n")}`);
  process.exit(1);
}

if (!words.includes("--no-build")) {
  const { status } = spawnSync(process.execPath, [path.join(root, "scripts/build.mjs")], { stdio: "inherit" });
  if (status !== 0) process.exit(1);
}
if (!hasSwtpm) console.log("swtpm is not installed: nothing is compared with it");
if (!hasPython) console.log("python3 is not installed: the client is Node's, which costs more than the TPMs");
if (!hasTaskset) console.log("taskset is not installed: servers and client share processors as the system likes");

const failed = [];
for (const name of names.length > 0 ? names : Object.keys(sets)) {
  const given = sets[name][quick ? "quick" : "full"];
  console.log(`\n## ${name}: ${sets[name].about}\n`);
  console.log(`$ node bench/${name}.mjs ${given.map((word) => word || '""').join(" ")}`);
  const { status } = spawnSync(process.execPath, [`bench/${name}.mjs`, ...given], { cwd: root, stdio: "inherit" });
  if (status !== 0) failed.push(name);
}
if (failed.length > 0) {
  console.error(`\nfailed: ${failed.join(", ")}`);
  process.exit(1);
}
