// Looks for secrets in the time an operation takes, as dudect does: node bench/crypto-timing.mjs [filter] [measurements]
//
// Each operation is timed on a fixed secret and on random ones, in random order; Welch's t of the two samples, with the slow
// tail cut off, says how sure one can be that they differ. Above 10 something leaks; a leak shown on purpose comes first,
// so that a quiet result means something. The traces of test/support/wasm-trace.ts are the sharper tool; this one sees
// what the engine made of the code.
import crypto from "node:crypto";
import { readFileSync } from "node:fs";
import { buildWasm } from "../scripts/build-wasm.mjs";

const filter = process.argv[2] ?? "";
const measurements = Number(process.argv[3] ?? 200_000);
const LIMIT = 10;
const KEPT = 0.9;
const POOL = 64;
const SECRET_SIZE = 64;

await buildWasm(["crypto-symmetric"]);
const file = new URL("../build/test/crypto-symmetric.wasm", import.meta.url);
const { exports: wasm } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)));
const base = wasm.memory.grow(1) * 65536;
const memory = new Uint8Array(wasm.memory.buffer);
const [SECRET, OTHER, OUT, STATE] = [0, 1024, 2048, 4096].map((offset) => base + offset);

const OPERATIONS = {
  "leak on purpose": () => wasm.leakyEqual(SECRET, OTHER, SECRET_SIZE),
  ctEqual: () => wasm.ctEqual(SECRET, OTHER, SECRET_SIZE),
  "sha256 of a secret": () => wasm.hashOnce(1, SECRET, SECRET_SIZE, OUT),
  "hmac-sha256 key": () => wasm.hmacOnce(1, SECRET, 32, OTHER, 64, OUT),
  "aes-128 key": () => {
    wasm.cipherExpandKey(0, SECRET, 128, STATE);
    wasm.cfbEncrypt(0, STATE, OUT, OTHER, OUT + 64, 64);
  },
  "aes-256 decryption": () => {
    wasm.cipherExpandKey(0, SECRET, 256, STATE);
    wasm.ecbDecrypt(0, STATE, OTHER, OUT + 64, 64);
  },
  "camellia-128 key": () => {
    wasm.cipherExpandKey(1, SECRET, 128, STATE);
    wasm.cfbEncrypt(1, STATE, OUT, OTHER, OUT + 64, 32);
  },
  "tdes key": () => {
    wasm.cipherExpandKey(2, SECRET, 192, STATE);
    wasm.cfbEncrypt(2, STATE, OUT, OTHER, OUT + 64, 16);
  },
  "drbg entropy": () => {
    wasm.drbgInstantiate(STATE, SECRET, 0, 0);
    wasm.drbgGenerate(STATE, OUT, 32);
  },
};

/** Welch's t of two samples without their slowest part. */
function welch(samples) {
  const all = samples.flat().sort((a, b) => a - b);
  const cut = all[Math.floor(all.length * KEPT)];
  const [a, b] = samples.map((sample) => {
    const kept = sample.filter((x) => x <= cut);
    const mean = kept.reduce((sum, x) => sum + x, 0) / kept.length;
    const variance = kept.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (kept.length - 1);
    return { mean, error: variance / kept.length };
  });
  return { t: (a.mean - b.mean) / Math.sqrt(a.error + b.error), difference: a.mean - b.mean };
}

let leaks = 0;
for (const [name, operation] of Object.entries(OPERATIONS)) {
  if (!name.includes(filter)) continue;
  const fixed = new Uint8Array(crypto.randomBytes(SECRET_SIZE));
  memory.set(fixed, OTHER);
  // Both classes copy a secret from a pool of equal size, so that the copy itself is the same work.
  const pools = [
    Array.from({ length: POOL }, () => fixed.slice()),
    Array.from({ length: POOL }, () => new Uint8Array(crypto.randomBytes(SECRET_SIZE))),
  ];
  const order = crypto.randomBytes(measurements);
  const samples = [[], []];
  for (let i = 0; i < measurements; i++) {
    const kind = order[i] & 1;
    memory.set(pools[kind][order[i] >> 2], SECRET);
    const start = process.hrtime.bigint();
    operation();
    const time = Number(process.hrtime.bigint() - start);
    if (i >= measurements / 10) samples[kind].push(time);
  }
  const { t, difference } = welch(samples);
  const control = name === "leak on purpose";
  const seen = Math.abs(t) > LIMIT;
  if (seen !== control) leaks++;
  console.log(
    `${name.padEnd(22)} t ${t.toFixed(1).padStart(8)}   ${difference.toFixed(2)} ns   ${seen ? "LEAKS" : "quiet"}`,
  );
}
process.exitCode = leaks ? 1 : 0;
