// Measures the elliptic curves against node:crypto and noble: node bench/crypto-ecc.mjs [--seconds 2] [--swtpm]
//
// Every row runs its contenders in interleaved slices, so that all of them see the same machine; printed are the best and the
// median slice in microseconds, and how many times the others' best is wtpm's (above 1: wtpm is faster). Keys are ready
// KeyObjects for node:crypto and bytes for wtpm and noble. `--swtpm` adds a live swtpm's median for a Sign command. `--leak` asks
// instead whether the time of an operation depends on its secret (Welch's t between a fixed and random secrets, as dudect does;
// beyond +-5 is suspicious). Run it with each engine of interest.
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { p256, p384, p521 } from "@noble/curves/nist.js";
import { buildWasm } from "../scripts/build-wasm.mjs";

const at = process.argv.indexOf("--seconds");
const seconds = at < 0 ? 2 : Number(process.argv[at + 1]);
const SLICE_MS = 3;
const RETRY = 0x922;
const LEAK_SAMPLES = 20000;

await buildWasm(["crypto-ecc"]);
const file = new URL("../build/test/crypto-ecc.wasm", import.meta.url);
const compiled = new WebAssembly.Module(readFileSync(file));
const { exports: wasm } = new WebAssembly.Instance(compiled);
let top = wasm.memory.grow(1) * 65536;

function place(bytes) {
  const address = top;
  new Uint8Array(wasm.memory.buffer, address, bytes.length).set(bytes);
  top += (bytes.length + 15) & ~15;
  return address;
}

const reserve = (length) => place(new Uint8Array(length));
const read = (address, length) => new Uint8Array(wasm.memory.buffer, address, length).slice();

/** Microseconds per call over one slice. */
function slice(run) {
  let calls = 0;
  let now;
  const start = performance.now();
  do {
    run();
    calls++;
    now = performance.now();
  } while (now - start < SLICE_MS);
  return ((now - start) * 1e3) / calls;
}

function row(name, contenders) {
  const entries = Object.entries(contenders).filter(([, run]) => run);
  const times = entries.map(() => []);
  for (const [, run] of entries) for (let i = 0; i < 30; i++) slice(run);
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    for (const [i, [, run]] of entries.entries()) times[i].push(slice(run));
  }
  const sorted = times.map((list) => list.sort((a, b) => a - b));
  const cells = entries.map(([contender], i) => {
    const [best, median] = [sorted[i][0], sorted[i][sorted[i].length >> 1]];
    const ratio = i > 0 ? `, x${(best / sorted[0][0]).toFixed(2)}` : "";
    return `${contender} ${best.toFixed(1)} (${median.toFixed(1)}${ratio})`;
  });
  console.log(`${name.padEnd(14)} ${cells.join("  ")}`);
}

const CURVES = [
  ["P256", "prime256v1", p256, "sha256"],
  ["P384", "secp384r1", p384, "sha384"],
  ["P521", "secp521r1", p521, "sha512"],
  ["P192", "prime192v1", undefined, "sha256"],
  ["P224", "secp224r1", undefined, "sha256"],
  ["SM2", undefined, undefined, "sha256"],
  ["BN256", undefined, undefined, "sha256"],
  ["BN638", undefined, undefined, "sha256"],
];

function measure([name, openssl, noble, hash]) {
  const id = wasm[`CURVE_${name}`].value;
  const bytes = wasm.curveOrderBytes(id);
  const draw = place(crypto.randomBytes(bytes + 8));
  const digestBytes = crypto.createHash(hash).update("message").digest();
  const digest = place(digestBytes);
  const [d, x, y, r, s, outX, outY] = Array.from({ length: 7 }, () => reserve(bytes));
  wasm.ecPrivateFromDraw(id, draw, bytes + 8, d);
  wasm.ecPublic(id, d, x, y);
  wasm.ecdsaSign(id, d, digest, digestBytes.length, draw, r, s);

  const node = openssl && crypto.generateKeyPairSync("ec", { namedCurve: openssl });
  const signature = node && crypto.sign(hash, Buffer.from("message"), node.privateKey);
  const ecdh = openssl && crypto.createECDH(openssl);
  ecdh?.generateKeys();
  const peer = openssl && crypto.createECDH(openssl).generateKeys();
  const [key, raw] = [read(d, bytes), Uint8Array.of(...read(r, bytes), ...read(s, bytes))];
  const point = Uint8Array.of(4, ...read(x, bytes), ...read(y, bytes));

  row(`${name} public`, {
    wtpm: () => wasm.ecPublic(id, d, outX, outY),
    "node:crypto": openssl && (() => ecdh.generateKeys()),
    noble: noble && (() => noble.getPublicKey(key)),
  });
  row(`${name} sign`, {
    wtpm: () => wasm.ecdsaSign(id, d, digest, digestBytes.length, draw, outX, outY),
    "node:crypto": node && (() => crypto.sign(hash, Buffer.from("message"), node.privateKey)),
    noble: noble && (() => noble.sign(digestBytes, key, { prehash: false })),
  });
  row(`${name} verify`, {
    wtpm: () => wasm.ecdsaVerify(id, x, y, digest, digestBytes.length, r, s),
    "node:crypto": node && (() => crypto.verify(hash, Buffer.from("message"), node.publicKey, signature)),
    noble: noble && (() => noble.verify(raw, digestBytes, point, { prehash: false, lowS: false })),
  });
  row(`${name} ECDH`, {
    wtpm: () => wasm.ecMultiply(id, d, x, y, outX, outY),
    "node:crypto": openssl && (() => ecdh.computeSecret(peer)),
    noble: noble && (() => noble.getSharedSecret(key, point)),
  });
}

/** Welch's t of the times of `run` with one secret and with random ones; the slowest 5 % are left out as disturbances. */
function leak(name, id, run) {
  const bytes = wasm.curveOrderBytes(id);
  const secret = reserve(bytes);
  const classes = [[], []];
  const fixed = new Uint8Array(bytes);
  fixed[bytes - 1] = 1;
  const randomSecret = () => {
    const key = crypto.randomBytes(bytes);
    key[0] = 0;
    return key;
  };
  for (let i = 0; i < LEAK_SAMPLES; i++) {
    const which = crypto.randomBytes(1)[0] & 1;
    new Uint8Array(wasm.memory.buffer, secret, bytes).set(which ? randomSecret() : fixed);
    const start = process.hrtime.bigint();
    run(secret);
    classes[which].push(Number(process.hrtime.bigint() - start));
  }
  const limit = classes.flat().sort((a, b) => a - b)[Math.floor(LEAK_SAMPLES * 0.95)];
  const [a, b] = classes.map((times) => {
    const kept = times.filter((t) => t <= limit);
    const mean = kept.reduce((sum, t) => sum + t) / kept.length;
    const variance = kept.reduce((sum, t) => sum + (t - mean) ** 2, 0) / (kept.length - 1);
    return { mean, error: variance / kept.length };
  });
  const t = (a.mean - b.mean) / Math.sqrt(a.error + b.error);
  console.log(`${name.padEnd(14)} t = ${t.toFixed(2)}`);
}

function leaks(name) {
  const id = wasm[`CURVE_${name}`].value;
  const bytes = wasm.curveOrderBytes(id);
  const draw = place(crypto.randomBytes(bytes + 8));
  const [d, x, y, outX, outY] = Array.from({ length: 5 }, () => reserve(bytes));
  wasm.ecPrivateFromDraw(id, draw, bytes + 8, d);
  wasm.ecPublic(id, d, x, y);
  leak(`${name} public`, id, (secret) => wasm.ecPublic(id, secret, outX, outY));
  leak(`${name} sign`, id, (secret) => wasm.ecdsaSign(id, secret, x, Math.min(bytes, 64), draw, outX, outY));
  leak(`${name} ECDH`, id, (secret) => wasm.ecMultiply(id, secret, x, y, outX, outY));
}

/** Median microseconds of a live swtpm's TPM2_Sign (ECDSA) with a key on the curve `tpmCurve`. */
async function swtpmSign(tpmCurve, hashId, digest) {
  const folder = mkdtempSync(path.join(tmpdir(), "wtpm-bench-"));
  const socketPath = path.join(folder, "tpm");
  const options = ["socket", "--tpm2", "--tpmstate", `dir=${folder}`, "--flags", "not-need-init,startup-clear"];
  const daemon = spawn("swtpm", [...options, "--server", `type=unixio,path=${socketPath}`], { stdio: "ignore" });
  try {
    let socket;
    for (let i = 0; i < 200 && !socket; i++) {
      await delay(20);
      socket = await new Promise((resolve) => {
        const attempt = connect(socketPath, () => resolve(attempt)).on("error", () => resolve(undefined));
      });
    }
    const u16 = (v) => Buffer.from([v >> 8, v & 0xff]);
    const u32 = (v) => Buffer.concat([u16(v >>> 16), u16(v & 0xffff)]);
    const sized = (b) => Buffer.concat([u16(b.length), b]);
    const send = (code, handle, parameters) => {
      const session = Buffer.concat([u32(0x40000009), u16(0), Buffer.of(0), u16(0)]);
      const body = Buffer.concat([handle, u32(session.length), session, parameters]);
      socket.write(Buffer.concat([u16(0x8002), u32(10 + body.length), u32(code), body]));
      return new Promise((resolve) => socket.once("data", resolve));
    };
    const template = Buffer.concat([
      Buffer.concat([u16(0x23), u16(0x0b), u32(0x00040072), u16(0)]),
      Buffer.concat([u16(0x10), u16(0x18), u16(hashId), u16(tpmCurve), u16(0x10), u16(0), u16(0)]),
    ]);
    const creation = Buffer.concat([sized(Buffer.concat([u16(0), u16(0)])), sized(template), u16(0), u32(0)]);
    const created = await send(0x131, u32(0x40000007), creation);
    const handle = created.subarray(10, 14);
    const parameters = Buffer.concat([sized(digest), u16(0x10), u16(0x8024), u32(0x40000007), u16(0)]);
    const times = [];
    for (let i = 0; i < 400; i++) {
      const start = performance.now();
      const answer = await send(0x15d, handle, parameters);
      times.push((performance.now() - start) * 1e3);
      const responseCode = answer.readUInt32BE(6);
      if (responseCode !== 0 && responseCode !== RETRY) throw new Error(`Sign answered ${responseCode.toString(16)}`);
    }
    socket.destroy();
    return times.sort((a, b) => a - b)[times.length >> 1];
  } finally {
    daemon.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

console.log(
  `node ${process.versions.node}, V8 ${process.versions.v8}, OpenSSL ${process.versions.openssl}; microseconds`,
);
if (process.argv.includes("--leak")) {
  for (const name of ["P256", "P384", "P521"]) leaks(name);
  process.exit();
}
for (const curve of CURVES) measure(curve);
if (process.argv.includes("--swtpm")) {
  for (const [name, tpmCurve, hashId, length] of [
    ["P-256", 3, 0x0b, 32],
    ["P-384", 4, 0x0c, 48],
  ]) {
    const median = await swtpmSign(tpmCurve, hashId, crypto.randomBytes(length));
    console.log(`swtpm Sign, ECDSA ${name}: median ${median.toFixed(0)}`);
  }
}
const start = performance.now();
for (let i = 0; i < 100; i++) new WebAssembly.Instance(compiled);
console.log(`instantiate ${((performance.now() - start) * 10).toFixed(1)}, module ${readFileSync(file).length} bytes`);
process.exit();
