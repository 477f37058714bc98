// Measures the symmetric crypto against node:crypto, noble and hash-wasm: node bench/crypto-symmetric.mjs [filter] [seconds]
//
// Every row runs its contenders in interleaved slices, so that all of them see the same machine; printed are the best and the
// median slice. Messages are copied into the module's memory on every call, as a caller outside has to.
import crypto from "node:crypto";
import { readFileSync } from "node:fs";
import { cfb } from "@noble/ciphers/aes.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha1 } from "@noble/hashes/legacy.js";
import { sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { createSHA1, createSHA256, createSHA384, createSHA512 } from "hash-wasm";
import { buildWasm } from "../scripts/build-wasm.mjs";

const filter = process.argv[2] ?? "";
const seconds = Number(process.argv[3] ?? 1);
const SLICE_MS = 2;
const BULK = 65536;

await buildWasm(["crypto-symmetric"]);
const file = new URL("../build/test/crypto-symmetric.wasm", import.meta.url);
const { exports: wasm } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)));
const base = wasm.memory.grow(4) * 65536;
const memory = new Uint8Array(wasm.memory.buffer);
const [DATA, OUT, KEY, IV, SCHEDULE, STATE] = [0, BULK, 2 * BULK, 2 * BULK + 64, 2 * BULK + 128, 2 * BULK + 1024].map(
  (offset) => base + offset,
);

/** Calls `run` until a slice is over; nanoseconds per call. */
function slice(run) {
  let calls = 0;
  const start = performance.now();
  let now = start;
  const burst = run.burst;
  do {
    for (let i = 0; i < burst; i++) run();
    calls += burst;
    now = performance.now();
  } while (now - start < SLICE_MS);
  return ((now - start) * 1e6) / calls;
}

/** One row: contenders by name, each a function; `bytes` per call gives MB/s. */
function row(name, bytes, contenders) {
  if (!name.includes(filter)) return;
  const entries = Object.entries(contenders).filter(([, run]) => run);
  for (const [, run] of entries) {
    run();
    run.burst = bytes >= 4096 ? 1 : 20;
    for (let i = 0; i < 30; i++) slice(run);
  }
  const times = entries.map(() => []);
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) for (const [i, [, run]] of entries.entries()) times[i].push(slice(run));
  const own = Math.min(...times[0]);
  const cells = entries.map(([contender], i) => {
    const sorted = times[i].sort((a, b) => a - b);
    const [best, median] = [sorted[0], sorted[sorted.length >> 1]];
    const show = (ns) => (bytes >= 4096 ? `${((bytes * 1e3) / ns).toFixed(0)} MB/s` : `${ns.toFixed(0)} ns`);
    const ratio = i === 0 ? "" : `, x${(best / own).toFixed(2)}`;
    return `${contender} ${show(best)} (${show(median)}${ratio})`;
  });
  console.log(`${name.padEnd(22)} ${cells.join("  ")}`);
}

/** One wtpm hash of `data`, with the copy in and the digest out. */
function ownHash(id, data, size) {
  return () => {
    memory.set(data, DATA);
    wasm.hashOnce(id, DATA, data.length, OUT);
    return memory.slice(OUT, OUT + size);
  };
}

console.log(
  `node ${process.versions.node}, V8 ${process.versions.v8}; best (median, best relative to wtpm's; above 1: wtpm is faster)`,
);
const hashes = [
  ["sha1", 0, 20, sha1, await createSHA1()],
  ["sha256", 1, 32, sha256, await createSHA256()],
  ["sha384", 2, 48, sha384, await createSHA384()],
  ["sha512", 3, 64, sha512, await createSHA512()],
];
for (const length of [BULK, 1024, 64]) {
  const data = new Uint8Array(crypto.randomBytes(length));
  for (const [name, id, size, noble, hashWasm] of hashes) {
    row(`${name} ${length}`, length, {
      wtpm: ownHash(id, data, size),
      "node:crypto": () => crypto.createHash(name).update(data).digest(),
      "crypto.hash": crypto.hash && (() => crypto.hash(name, data, "buffer")),
      noble: () => noble(data),
      "hash-wasm": () => hashWasm.init().update(data).digest("binary"),
    });
  }
}

const message = new Uint8Array(crypto.randomBytes(64));
const key = new Uint8Array(crypto.randomBytes(32));
memory.set(key, KEY);
row("hmac-sha256 64", 64, {
  wtpm: () => {
    memory.set(message, DATA);
    wasm.hmacOnce(1, KEY, 32, DATA, 64, OUT);
    return memory.slice(OUT, OUT + 32);
  },
  "node:crypto": () => crypto.createHmac("sha256", key).update(message).digest(),
  noble: () => hmac(sha256, key, message),
});

const iv = new Uint8Array(16);
for (const length of [BULK, 1024, 64]) {
  const data = new Uint8Array(crypto.randomBytes(length));
  for (const bits of [128, 256]) {
    const cipherKey = key.subarray(0, bits / 8);
    row(`aes-${bits}-cfb ${length}`, length, {
      wtpm: () => {
        memory.set(data, DATA);
        memory.set(iv, IV);
        wasm.cipherExpandKey(0, KEY, bits, SCHEDULE);
        wasm.cfbEncrypt(0, SCHEDULE, IV, DATA, OUT, length);
        return memory.slice(OUT, OUT + length);
      },
      "node:crypto": () => crypto.createCipheriv(`aes-${bits}-cfb`, cipherKey, iv).update(data),
      noble: () => cfb(cipherKey, iv).encrypt(data),
    });
  }
}

for (const [name, cipher, bits] of [
  ["camellia-128", 1, 128],
  ["des-ede3", 2, 192],
]) {
  const data = new Uint8Array(crypto.randomBytes(BULK));
  row(`${name}-cfb ${BULK}`, BULK, {
    wtpm: () => {
      memory.set(data, DATA);
      wasm.cipherExpandKey(cipher, KEY, bits, SCHEDULE);
      wasm.cfbEncrypt(cipher, SCHEDULE, IV, DATA, OUT, BULK);
    },
    "node:crypto": () =>
      crypto
        .createCipheriv(`${name}-cfb`, key.subarray(0, bits / 8), iv.subarray(0, cipher === 2 ? 8 : 16))
        .update(data),
  });
}

wasm.drbgInstantiate(STATE, KEY, 0, 0);
row("drbg 128", 128, {
  wtpm: () => {
    // A new seed now and then, as the generator itself demands.
    if (wasm.drbgNeedsReseed(STATE)) wasm.drbgReseed(STATE, KEY, 0, 0);
    wasm.drbgGenerate(STATE, OUT, 128);
  },
});

const compiled = new WebAssembly.Module(readFileSync(file));
row("instantiate", 1, { wtpm: () => new WebAssembly.Instance(compiled) });
console.log(`module ${readFileSync(file).length} bytes`);
