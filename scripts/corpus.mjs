// Runs libtpms' fuzz corpus on the engine and compares with libtpms' own answers: node scripts/corpus.mjs [-v]
//
// Each command meets a TPM that was just made and started. Prints a table of agreement per command; with -v each difference too.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { buildWasm, root } from "./build-wasm.mjs";

const TPM_RC_COMMAND_CODE = "00000143";
const GET_COMMANDS = "8001000000160000017a0000000200000000ffffffff";
const STARTUP_CLEAR = "80010000000c000001440000";

/** Rows of a table in test/data/tpm2. */
function rows(file) {
  const text = readFileSync(path.join(root, "test/data/tpm2", file), "utf8");
  return text
    .split("\n")
    .filter((line) => line && !line.startsWith("#"))
    .map((line) => line.split("\t"));
}

/**
 * A function that powers on a new TPM of `module` and returns how to send it commands, as hexadecimal digits both ways. Its random
 * numbers are a repeatable sequence, its clock stands still.
 */
export function freshTpms(module) {
  return () => {
    let counter = 0;
    const random = (at, size) => {
      const bytes = new Uint8Array(exports.memory.buffer, at, size);
      for (let done = 0; done < size; done += 32) {
        const block = createHash("sha256").update(`corpus ${counter++}`).digest();
        bytes.set(block.subarray(0, Math.min(32, size - done)), done);
      }
    };
    const { exports } = new WebAssembly.Instance(module, { env: { random, now: () => 0 } });
    exports._initialize();
    if (exports.manufacture(0) !== 0) throw new Error("the engine cannot be manufactured");
    exports.init();
    const send = (command) => {
      const bytes = Buffer.from(command, "hex");
      new Uint8Array(exports.memory.buffer, exports.command_buffer(), bytes.length).set(bytes);
      let size = exports.execute(bytes.length, 0);
      while (size < 0) size = exports.resume();
      return Buffer.from(exports.memory.buffer, exports.response_buffer(), size).toString("hex");
    };
    send(STARTUP_CLEAR);
    return { send, inFailureMode: () => exports.in_failure_mode() !== 0 };
  };
}

/** Codes of the commands that a TPM lists, as 8 hexadecimal digits. */
export function listedCommands(send) {
  const list = send(GET_COMMANDS).slice(2 * 19);
  return new Set(list.match(/.{8}/g).map((attributes) => `0000${attributes.slice(4)}`));
}

/** TPMA_CCs of the commands that libtpms has with profile null, in their order. */
function libtpmsCommands() {
  const text = readFileSync(path.join(root, "test/data/tpm2/engine-capabilities.yaml"), "utf8");
  const section = /^commands:.*\n((?: .*\n)*)/m.exec(text)[1];
  return [...section.matchAll(/: 0x([0-9a-f]{8})/g)].map(([, attributes]) => attributes);
}

/** What profile default-v2, with which the corpus was recorded, has beyond profile null. */
const DEFAULT_V2_COMMANDS = ["02000199", "0200019a", "0200019b", "0200019c"];
const COMMAND_COUNTS = ["00000129", "0000012a"];

const hex32 = (number) => number.toString(16).padStart(8, "0");

/** The answer to TPM2_GetCapability(TPM_CAP_COMMANDS, first, count) of a TPM with these commands. */
function commandsAnswer(commands, first, count) {
  const from = commands.filter((attributes) => Number.parseInt(attributes.slice(4), 16) >= first);
  const shown = from.slice(0, Math.min(count, 254));
  const body = `${from.length > shown.length ? "01" : "00"}00000002${hex32(shown.length)}${shown.join("")}`;
  return `8001${hex32(10 + body.length / 2)}00000000${body}`;
}

/**
 * The engine's answer with profile null as libtpms with profile default-v2 has to give it: that profile has four commands more, and
 * the engine may lack some of them all. A wrong answer stays one.
 */
export function asDefaultV2(command, got, listed) {
  if (!command.startsWith("8001000000160000017a") || !got.includes("00000000")) return got;
  const [capability, first, count] = command.slice(20).match(/.{8}/g);
  if (capability === "00000006") {
    const [own, full] = [listed.size, libtpmsCommands().length + DEFAULT_V2_COMMANDS.length].map(hex32);
    return COMMAND_COUNTS.reduce((text, property) => text.replace(property + own, property + full), got);
  }
  if (capability !== "00000002") return got;
  const range = [Number.parseInt(first, 16), Number.parseInt(count, 16)];
  const present = libtpmsCommands().filter((attributes) => listed.has(`0000${attributes.slice(4)}`));
  if (got !== commandsAnswer(present, ...range)) return got;
  return commandsAnswer([...libtpmsCommands(), ...DEFAULT_V2_COMMANDS], ...range);
}

/** Response codes that a TPM gives before it looks at the command code. */
function refusedByHeader(command, rc) {
  if (rc === "00000142") return true;
  return (rc === "00000084" && !/^800[12]/.test(command)) || (rc === "0000009a" && command.length < 20);
}

/**
 * The response code that the engine owes for a command that libtpms answers with `rc`: that, or TPM_RC_COMMAND_CODE if the engine does
 * not list the command and the header alone is no reason to refuse it.
 */
export function owedCode(command, code, rc, listed) {
  return listed.has(code) || refusedByHeader(command, rc) ? rc : TPM_RC_COMMAND_CODE;
}

/**
 * Every command of the corpus with libtpms' answer and the engine's. It agrees if it is the same bytes, or the same code and size where
 * libtpms' own answers differ from run to run, or TPM_RC_COMMAND_CODE for a command that the engine does not list.
 */
export function compareCorpus(module) {
  const powerOn = freshTpms(module);
  const listed = listedCommands(powerOn().send);
  const answers = new Map(rows("corpus-responses.tsv").map((row) => [row[0], row]));
  return rows("corpus-commands.tsv").map(([name, command]) => {
    const [, , code, defaultRc, size, stable, answer, nullRc] = answers.get(name);
    const tpm = powerOn();
    const got = asDefaultV2(command, tpm.send(command), listed);
    const rc = nullRc || defaultRc;
    const expected = owedCode(command, code, rc, listed);
    const sameCode = got.slice(12, 20) === expected;
    const agrees = sameCode && (expected !== defaultRc ? got.length === 20 : matches(got, { size, stable, answer }));
    const implemented = listed.has(code);
    return { name, code, command, implemented, expected, answer, got, agrees, failed: tpm.inFailureMode() };
  });
}

/** Whether a response is libtpms' in its bytes, as far as these were recorded. */
function matches(got, { size, stable, answer }) {
  if (got.length !== 2 * Number(size)) return false;
  if (stable !== "eq") return true;
  return got === answer || createHash("sha256").update(Buffer.from(got, "hex")).digest("hex").startsWith(answer);
}

/** One line per command code: how many agree of how many, and whether the engine has the command. */
function printTable(results) {
  const codes = new Map();
  for (const result of results) {
    const line = codes.get(result.code) ?? { all: 0, agree: 0, succeeded: 0, implemented: result.implemented };
    line.all++;
    if (result.agrees) line.agree++;
    if (result.agrees && result.got.slice(12, 20) === "00000000") line.succeeded++;
    codes.set(result.code, line);
  }
  const names = new Map(
    rows("commands.csv")
      .map(([line]) => line.split(","))
      .map(([code, name]) => [code.padStart(8, "0").toLowerCase(), name]),
  );
  console.log("command                          agree   of  success");
  for (const [code, line] of [...codes].sort(([a], [b]) => a.localeCompare(b))) {
    const name = (names.get(code.replace(/^0x/, "")) ?? code).padEnd(32);
    const note = line.implemented ? "" : "  not implemented";
    console.log(
      `${name} ${String(line.agree).padStart(5)} ${String(line.all).padStart(4)} ${String(line.succeeded).padStart(8)}${note}`,
    );
  }
  const agree = results.filter((result) => result.agrees).length;
  console.log(`${agree} of ${results.length} agree`);
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await buildWasm(["tpm2"]);
  const module = new WebAssembly.Module(readFileSync(path.join(root, "dist/wasm/tpm2.wasm")));
  const results = compareCorpus(module);
  if (process.argv.includes("-v")) {
    for (const { name, agrees, command, expected, answer, got } of results) {
      if (!agrees) console.log(`${name}\n  command  ${command}\n  expected ${expected} ${answer}\n  got      ${got}`);
    }
  }
  printTable(results);
  process.exitCode = results.every((result) => result.agrees) ? 0 : 1;
}
