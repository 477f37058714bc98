// Runs recorded commands on the engine and compares with the recorded answers: npm run corpus -- [-v] [COMMANDS.tsv RESPONSES.tsv]
//
// Each command meets a TPM that was just made and started. Without files it is libtpms' fuzz corpus with libtpms' own answers. With
// -v a table of agreement per command is printed too. docs/fuzzing.md has the format of the files.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { buildWasm, root } from "./build-wasm.mjs";

const STARTUP_CLEAR = "80010000000c000001440000";
/** The profile with which answers are recorded, and the one whose response codes are noted beside where they differ. */
const PROFILE = '{"Name":"default-v2"}';
const NULL_PROFILE = "";

const recorded = (file) => path.join(root, "test/data/tpm2", file);
export const RECORDED_CORPUS = {
  commands: recorded("corpus-commands.tsv"),
  responses: recorded("corpus-responses.tsv"),
};

/** The rows of a file, split at the tabs. */
function rows(file) {
  return readFileSync(file, "utf8")
    .split(/\r?\n/)
    .filter((line) => line && !line.startsWith("#"))
    .map((line) => line.split("\t"));
}

/**
 * Powers on a new TPM of `module`. `send` takes and gives hexadecimal digits. Its random numbers are a repeatable sequence, its clock
 * stands still.
 */
function freshTpm(module, profile) {
  let counter = 0;
  const random = (at, size) => {
    const bytes = new Uint8Array(exports.memory.buffer, at, size);
    for (let done = 0; done < size; done += 32) {
      const block = createHash("sha256").update(`corpus ${counter++}`).digest();
      bytes.set(block.subarray(0, Math.min(32, size - done)), done);
    }
  };
  const { exports } = new WebAssembly.Instance(module, { env: { random, now: () => 0 } });
  const at = (address) => Buffer.from(exports.memory.buffer, address);
  exports._initialize();
  if (exports.manufacture(at(exports.state_buffer()).write(profile)) !== 0)
    throw new Error("the engine cannot be manufactured");
  exports.init();
  const send = (command) => {
    const bytes = Buffer.from(command, "hex");
    bytes.copy(at(exports.command_buffer()));
    let size = exports.execute(Math.min(bytes.length, exports.command_buffer_size()), 0);
    while (size < 0) size = exports.resume();
    return at(exports.response_buffer()).subarray(0, size).toString("hex");
  };
  send(STARTUP_CLEAR);
  return { send, inFailureMode: () => exports.in_failure_mode() !== 0 };
}

const responseCode = (response) => response.slice(12, 20);

/** Whether a response is the recorded one in its bytes, as far as these were recorded. */
function matches(got, { rc, size, stable, answer }) {
  if (responseCode(got) !== rc || got.length !== 2 * Number(size)) return false;
  if (stable !== "eq") return true;
  return got === answer || createHash("sha256").update(Buffer.from(got, "hex")).digest("hex").startsWith(answer);
}

/**
 * Every command of a file with the recorded answer and the engine's. It agrees if it is the same bytes, or the same code and size where
 * recorded answers differ from run to run; and the same code with the null profile where that is noted.
 *
 * @throws Error for a command without an answer
 */
export function compareCorpus(module, files = RECORDED_CORPUS) {
  const answers = new Map(rows(files.responses).map((row) => [row[0], row]));
  return rows(files.commands).map(([name, command]) => {
    const row = answers.get(name);
    if (!row) throw new Error(`${files.responses} has no answer to ${name}`);
    const [, , code, rc, size, stable, answer, nullRc] = row;
    const tpm = freshTpm(module, PROFILE);
    const got = tpm.send(command);
    const agreesWithNull = !nullRc || responseCode(freshTpm(module, NULL_PROFILE).send(command)) === nullRc;
    const agrees = matches(got, { rc, size, stable, answer }) && agreesWithNull;
    return { name, code, command, expected: rc, answer, got, agrees, failed: tpm.inFailureMode() };
  });
}

/** One line per command code: how many agree of how many, and how many of these succeeded. */
function printTable(results) {
  const codes = new Map();
  for (const { code, agrees, got } of results) {
    const line = codes.get(code) ?? { all: 0, agree: 0, succeeded: 0 };
    line.all++;
    if (agrees) line.agree++;
    if (agrees && responseCode(got) === "00000000") line.succeeded++;
    codes.set(code, line);
  }
  const names = new Map(
    rows(recorded("commands.csv"))
      .map(([line]) => line.split(","))
      .map(([code, name]) => [code.replace(/^0x/i, "").padStart(8, "0").toLowerCase(), name]),
  );
  console.log("command                          agree   of  success");
  for (const [code, { all, agree, succeeded }] of [...codes].sort(([a], [b]) => a.localeCompare(b))) {
    const name = (names.get(code) ?? code).padEnd(32);
    console.log(`${name} ${String(agree).padStart(5)} ${String(all).padStart(4)} ${String(succeeded).padStart(8)}`);
  }
}

async function main() {
  const words = process.argv.slice(2);
  const [commands, responses, ...more] = words.filter((word) => word !== "-v");
  if (more.length || (commands && !responses) || commands?.startsWith("-")) {
    console.error("usage: npm run corpus -- [-v] [COMMANDS.tsv RESPONSES.tsv]");
    return 2;
  }
  await buildWasm(["tpm2"]);
  const module = new WebAssembly.Module(readFileSync(path.join(root, "dist/wasm/tpm2.wasm")));
  const results = compareCorpus(module, commands ? { commands, responses } : RECORDED_CORPUS);
  const failed = results.filter((result) => !result.agrees);
  if (words.includes("-v")) printTable(results);
  for (const { name, command, expected, answer, got } of failed) {
    console.log(`${name}\n  command  ${command}\n  expected ${expected} ${answer}\n  got      ${got}`);
  }
  console.log(`${results.length - failed.length} passed, ${failed.length} failed`);
  return failed.length ? 1 : 0;
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main().catch((error) => {
    console.error(error.message);
    return 1;
  });
}
