// Measures RSA and the prime search: node bench/crypto-rsa.mjs [--seconds 2] [--seeds 200] [--swtpm]
//
// Operations of both builds and of node:crypto run in interleaved rounds, so that all of them see the same machine; printed are
// the best and the median round. Key generation is given as processor time, mean over seeds; --swtpm lets a live swtpm make as
// many primary keys in between and reads its processor time. Run it with each engine of interest.
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { buildWasm } from "../scripts/build-wasm.mjs";

const argument = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const seconds = argument("seconds", 2);
const seeds = argument("seeds", 200);
const COMPAT = 1;
const RANDOM = 2;

await buildWasm(["crypto-rsa", "crypto-rsa-fma"]);

/** One build with its calls; undefined where the engine cannot run it rightly. */
function load(target) {
  const bytes = readFileSync(new URL(`../build/test/${target}.wasm`, import.meta.url));
  if (!WebAssembly.validate(bytes)) setFlagsFromString("--experimental-wasm-relaxed-simd");
  if (!WebAssembly.validate(bytes)) return undefined;
  const compiled = new WebAssembly.Module(bytes);
  const start = performance.now();
  for (let i = 0; i < 100; i++) new WebAssembly.Instance(compiled);
  const instantiation = (performance.now() - start) / 100;
  const { exports: wasm } = new WebAssembly.Instance(compiled);
  if (wasm.rsaKernelSelfTest() === 0) return undefined;
  const pages = wasm.memory.buffer.byteLength / 65536;
  let top = wasm.memory.grow(4) * 65536;
  const reserve = (length) => {
    const at = top;
    top += (length + 15) & ~15;
    return at;
  };
  const place = (bytes) => {
    const at = reserve(bytes.length);
    new Uint8Array(wasm.memory.buffer, at, bytes.length).set(bytes);
    return at;
  };
  const read = (at, length) => new Uint8Array(wasm.memory.buffer, at, length).slice();
  return { target, wasm, bytes: bytes.length, pages, instantiation, reserve, place, read };
}
const builds = ["crypto-rsa-fma", "crypto-rsa"].map(load).filter(Boolean);

console.log(`${process.release.name} ${process.version}, V8 ${process.versions.v8}`);
for (const { target, bytes, pages, instantiation } of builds) {
  console.log(`${target}: ${bytes} bytes, ${pages} pages of memory, instantiation ${instantiation.toFixed(3)} ms`);
}

/** A row of the table: contenders by name run in turn; the first is what ratios refer to. */
function row(name, contenders) {
  const entries = Object.entries(contenders);
  for (const [, run] of entries) {
    const end = performance.now() + 300;
    while (performance.now() < end) run();
  }
  const times = entries.map(() => []);
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    entries.forEach(([, run], i) => {
      const start = performance.now();
      for (let k = 0; k < 4; k++) run();
      times[i].push((performance.now() - start) / 4);
    });
  }
  for (const all of times) all.sort((a, b) => a - b);
  const own = times[0][0];
  const cells = entries.map(([contender], i) => {
    const [best, median] = [times[i][0], times[i][times[i].length >> 1]];
    return `${contender} ${best.toFixed(3)}; ${median.toFixed(3)} ms${i ? ` (x${(best / own).toFixed(2)})` : ""}`;
  });
  console.log(`${name.padEnd(24)} ${cells.join("   ")}`);
}

for (const bits of [1024, 2048, 3072, 4096]) {
  const { privateKey, publicKey } = crypto.generateKeyPairSync("rsa", { modulusLength: bits });
  const jwk = privateKey.export({ format: "jwk" });
  const bytes = (text, length) =>
    Buffer.from(text, "base64url")
      .toString("hex")
      .padStart(2 * length, "0");
  const [n, p] = [Buffer.from(bytes(jwk.n, bits / 8), "hex"), Buffer.from(bytes(jwk.p, bits / 16), "hex")];
  const input = crypto.randomBytes(bits / 8);
  input[0] = 0;
  const padding = crypto.constants.RSA_NO_PADDING;
  const rows = { private: {}, public: {}, load: {} };
  for (const { target, wasm, reserve, place } of builds) {
    const [N, P, IN, OUT, RANDOM_BYTES] = [n, p, input, input, crypto.randomBytes(bits / 8)].map(place);
    const key = reserve(wasm.rsaKeySize(bits));
    rows.load[target] = () => wasm.rsaKeyLoad(N, bits, P, 65537, key);
    rows.load[target]();
    wasm.rsaKeyBlind(key, RANDOM_BYTES);
    const ready = reserve(wasm.rsaKeySize(bits));
    wasm.rsaKeyLoad(N, bits, P, 65537, ready);
    // Includes new blinding factors whenever they are used up.
    rows.private[target] = () => {
      if (wasm.rsaPrivate(ready, IN, OUT) === 4) {
        wasm.rsaKeyBlind(ready, RANDOM_BYTES);
        wasm.rsaPrivate(ready, IN, OUT);
      }
    };
    rows.public[target] = () => wasm.rsaPublic(N, bits, 65537, IN, OUT);
  }
  rows.private["node:crypto"] = () => crypto.privateDecrypt({ key: privateKey, padding }, input);
  rows.public["node:crypto"] = () => crypto.publicEncrypt({ key: publicKey, padding }, input);
  for (const [name, contenders] of Object.entries(rows)) row(`RSA-${bits} ${name}`, contenders);
}

/** Processor time of a process in milliseconds: its own for none. */
function cpuOf(pid) {
  if (pid === undefined) {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  }
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Makes RSA-2048 primary keys with swtpm: a function of the seed's number, and the processor time it took in all. */
async function startSwtpm() {
  const folder = mkdtempSync(path.join(tmpdir(), "wtpm-bench-"));
  const socketPath = path.join(folder, "data");
  const state = ["--tpmstate", `dir=${folder}`, "--flags", "not-need-init,startup-clear"];
  const child = spawn("swtpm", ["socket", "--tpm2", "--server", `type=unixio,path=${socketPath}`, ...state]);
  const isThere = () => statSync(socketPath, { throwIfNoEntry: false }) !== undefined;
  for (let tries = 0; tries < 500 && !isThere(); tries++) await delay(10);
  const socket = connect(socketPath);
  socket.on("error", (error) => {
    throw error;
  });
  const send = (command) =>
    new Promise((resolve) => {
      socket.once("data", resolve);
      socket.write(command);
    });
  const u32 = (value) => value.toString(16).padStart(8, "0");
  const create = async (i) => {
    const template = "0001000b00050072000000100014000b0800000000000000";
    const sensitive = `000c0000000800000000${u32(i)}`;
    const rest = `4000000100000009400000090000000000${sensitive}0018${template}000000000000`;
    const command = Buffer.from(`8002${u32(10 + rest.length / 2)}00000131${rest}`, "hex");
    const response = await send(command);
    if (response.readUInt32BE(6) !== 0) throw new Error(`CreatePrimary: ${response.readUInt32BE(6).toString(16)}`);
    await send(Buffer.from(`80010000000e00000165${response.subarray(10, 14).toString("hex")}`, "hex"));
  };
  const stop = () => {
    socket.destroy();
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  return { pid: child.pid, create, stop };
}

const swtpm = process.argv.includes("--swtpm") ? await startSwtpm() : undefined;
const contenders = builds.flatMap(({ target, wasm, place, reserve }) => {
  const [drbg, prime, modulus] = [reserve(128), reserve(256), reserve(512)];
  const seedAt = place(new Uint8Array(64));
  return [COMPAT, RANDOM].map((mode) => {
    const contender = { name: `${target} ${mode === RANDOM ? "random" : "as libtpms"}`, steps: [], cpu: 0, count: 0 };
    contender.run = (i) => {
      const seed = crypto.createHash("sha512").update(`seed ${i}`).digest();
      new Uint8Array(wasm.memory.buffer, seedAt, 64).set(seed);
      wasm.drbgInstantiateSeeded(drbg, seedAt, 64, 0, 0, 0, 0, 0, 0);
      wasm.rsaKeyGenStart(2048, 65537, drbg, mode);
      for (let answer = 0; answer === 0; ) {
        const start = performance.now();
        answer = wasm.rsaKeyGenStep();
        contender.steps.push(performance.now() - start);
      }
      wasm.rsaKeyGenResult(prime, modulus);
    };
    return contender;
  });
});
contenders.push({
  name: "node:crypto",
  run: () => crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }),
  cpu: 0,
  count: 0,
});
if (swtpm) contenders.push({ name: "swtpm CreatePrimary", run: swtpm.create, pid: swtpm.pid, cpu: 0, count: 0 });
for (const contender of contenders) {
  for (let i = 0; i < 10; i++) await contender.run(100_000 + i);
  if (contender.steps) contender.steps.length = 0;
}
const ROUND = 20;
for (let first = 0; first < seeds; first += ROUND) {
  for (const contender of contenders) {
    const before = cpuOf(contender.pid);
    for (let i = first; i < Math.min(first + ROUND, seeds); i++) {
      await contender.run(i);
      contender.count++;
    }
    contender.cpu += cpuOf(contender.pid) - before;
  }
}
swtpm?.stop();
console.log(`RSA-2048 keys, processor time, mean of ${seeds}:`);
for (const { name, cpu, count, steps } of contenders) {
  let slices = "";
  if (steps) {
    steps.sort((a, b) => a - b);
    const at = (part) => steps[Math.floor(steps.length * part)].toFixed(2);
    slices = `   slices: ${(steps.length / count).toFixed(0)} a key, median ${at(0.5)}, 99 % ${at(0.99)} ms`;
  }
  console.log(`  ${name.padEnd(26)} ${(cpu / count).toFixed(1)} ms${slices}`);
}
