// Writes the compression functions of assembly/crypto/generated: node scripts/generate-hashes.mjs [--check]
//
// All rounds are written out, with state and message schedule in locals: engines keep a rotation of names for free that a
// loop pays for with moves, and SHA-1 is twice, SHA-256 a fifth faster so. SHA-512 and Keccak gain nothing by more than 16
// rounds and one, which are loops around that. The sums are ordered so that what is known last is added last.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../assembly/crypto/generated");

const range = (n) => Array.from({ length: n }, (_, i) => i);
const indent = (lines, depth) => lines.map((line) => "  ".repeat(depth) + line);
const literal = (value, bits) => `0x${value.toString(16).padStart(bits / 4, "0")}`;

/** The first `n` primes. */
function primes(n) {
  const found = [];
  for (let candidate = 2; found.length < n; candidate++) if (found.every((p) => candidate % p)) found.push(candidate);
  return found;
}

/** The first `bits` bits of the fractional part of the cube root of p. */
function cubeRootFraction(p, bits) {
  const scaled = BigInt(p) << BigInt(3 * bits);
  let root = 0n;
  for (let bit = 1n << BigInt(bits + 3); bit > 0n; bit >>= 1n) if ((root + bit) ** 3n <= scaled) root += bit;
  return root & ((1n << BigInt(bits)) - 1n);
}

/** `letters` in the roles they play in round t: every round hands each value on to the next role. */
const roles = (letters, t) =>
  letters.map((_, i) => letters[(((i - t) % letters.length) + letters.length) % letters.length]);

// --------------------------------------------------------------------------------------------------------------- SHA-1

function sha1() {
  const letters = ["a", "b", "c", "d", "e"];
  const f = [
    (b, c, d) => `(${d} ^ (${b} & (${c} ^ ${d})))`,
    (b, c, d) => `(${b} ^ ${c} ^ ${d})`,
    (b, c, d) => `(${c} & ${d}) + (${b} & (${c} ^ ${d}))`,
    (b, c, d) => `(${b} ^ ${c} ^ ${d})`,
  ];
  const constants = ["0x5a827999", "0x6ed9eba1", "0x8f1bbcdc", "0xca62c1d6"];
  const rounds = range(80).flatMap((t) => {
    const [a, b, c, d, e] = roles(letters, t);
    const w = (back) => `w${(t + 16 - back) % 16}`;
    const phase = Math.floor(t / 20);
    return [
      ...(t < 16 ? [] : [`${w(0)} = rotl<u32>(${w(3)} ^ ${w(8)} ^ ${w(14)} ^ ${w(0)}, 1);`]),
      `${e} += ${constants[phase]} + ${w(0)} + ${f[phase](b, c, d)} + rotl<u32>(${a}, 5);`,
      `${b} = rotl<u32>(${b}, 30);`,
    ];
  });
  return [
    "// SHA-1 (FIPS 180-4, 6.1.2).",
    "",
    "/** Compresses `blocks` 64-byte blocks at `data` into the hash value (5 u32) at `state`. */",
    ...blocksFunction("sha1Blocks", "u32", 64, letters, rounds),
  ];
}

// --------------------------------------------------------------------------------------------------------------- SHA-2

const SHA256 = { bits: 32, rounds: 64, sum0: [2, 13, 22], sum1: [6, 11, 25], sigma0: [7, 18, 3], sigma1: [17, 19, 10] };
const SHA512 = { bits: 64, rounds: 80, sum0: [28, 34, 39], sum1: [14, 18, 41], sigma0: [1, 8, 7], sigma1: [19, 61, 6] };
const LETTERS = ["a", "b", "c", "d", "e", "f", "g", "h"];

/** FIPS 180-4, 4.1.2 and 4.1.3. */
function sha2Functions({ bits, sum0, sum1, sigma0, sigma1 }) {
  const type = `u${bits}`;
  const rotated = (n) => `rotr<${type}>(x, ${n})`;
  const define = (name, terms) => ["@inline", `function ${name}(x: ${type}): ${type} {`, `  return ${terms};`, "}", ""];
  return [
    ...define("sum0", sum0.map(rotated).join(" ^ ")),
    ...define("sum1", sum1.map(rotated).join(" ^ ")),
    ...define("sigma0", `${rotated(sigma0[0])} ^ ${rotated(sigma0[1])} ^ (x >> ${sigma0[2]})`),
    ...define("sigma1", `${rotated(sigma1[0])} ^ ${rotated(sigma1[1])} ^ (x >> ${sigma1[2]})`),
  ];
}

/** One round; Maj(a, b, c) = b ^ ((a ^ b) & (b ^ c)), and b ^ c is the a ^ b of the round before, kept in x or y. */
function sha2Round(t, constant) {
  const [a, b, , d, e, f, g, h] = roles(LETTERS, t);
  const [fresh, kept] = t % 2 === 0 ? ["x", "y"] : ["y", "x"];
  return [
    `${h} += ${constant} + w${t % 16} + (${g} ^ (${e} & (${f} ^ ${g}))) + sum1(${e});`,
    `${d} += ${h};`,
    `${fresh} = ${a} ^ ${b};`,
    `${h} += (${b} ^ (${fresh} & ${kept})) + sum0(${a});`,
  ];
}

const sha2Schedule = (t) => `w${t % 16} += sigma0(w${(t + 1) % 16}) + w${(t + 9) % 16} + sigma1(w${(t + 14) % 16});`;

function sha256() {
  const constants = primes(64).map((p) => literal(cubeRootFraction(p, 32), 32));
  const rounds = range(64).flatMap((t) => [...(t < 16 ? [] : [sha2Schedule(t)]), ...sha2Round(t, constants[t])]);
  return [
    "// SHA-256 (FIPS 180-4, 6.2.2).",
    "",
    ...sha2Functions(SHA256),
    "/** Compresses `blocks` 64-byte blocks at `data` into the hash value (8 u32) at `state`. */",
    ...blocksFunction("sha256Blocks", "u32", 64, LETTERS, ["let x: u32 = 0;", "let y = b ^ c;", ...rounds]),
  ];
}

function sha512() {
  const constants = primes(80).map((p) => literal(cubeRootFraction(p, 64), 64));
  const rounds = range(16).flatMap((t) => sha2Round(t, `load<u64>(k, ${8 * t})`));
  const loop = [
    "let x: u64 = 0;",
    "let y = b ^ c;",
    "for (let k = K; ; k += 128) {",
    ...indent(rounds, 1),
    "  if (k == K + 512) break;",
    ...indent(range(16).map(sha2Schedule), 1),
    "}",
  ];
  return [
    "// SHA-512 and SHA-384 (FIPS 180-4, 6.4.2).",
    "",
    "const K: usize = memory.data<u64>([",
    ...indent(constants, 1).map((line) => `${line},`),
    "]);",
    "",
    ...sha2Functions(SHA512),
    "/** Compresses `blocks` 128-byte blocks at `data` into the hash value (8 u64) at `state`. */",
    ...blocksFunction("sha512Blocks", "u64", 128, LETTERS, loop),
  ];
}

/** A function that runs `body` on the schedule w0 to w15 and the chaining value for every block. */
function blocksFunction(name, type, blockSize, letters, body) {
  const size = blockSize / 16;
  return [
    `export function ${name}(state: usize, data: usize, blocks: u32): void {`,
    `  for (; blocks > 0; blocks--, data += ${blockSize}) {`,
    ...indent(
      [
        ...range(16).map((i) => `let w${i} = bswap<${type}>(load<${type}>(data, ${size * i}));`),
        ...letters.map((x, i) => `let ${x} = load<${type}>(state, ${size * i});`),
        ...body,
        ...letters.map((x, i) => `store<${type}>(state, load<${type}>(state, ${size * i}) + ${x}, ${size * i});`),
      ],
      2,
    ),
    "  }",
    "}",
  ];
}

// -------------------------------------------------------------------------------------------------------------- Keccak

/** RC of FIPS 202, 3.2.5: bits 2^j - 1 come from a shift register of eight bits. */
function keccakConstants() {
  let register = 1;
  return range(24).map(() => {
    let constant = 0n;
    for (const j of range(7)) {
      if (register & 1) constant |= 1n << BigInt(2 ** j - 1);
      register = (register << 1) ^ (register & 0x80 ? 0x171 : 0);
    }
    return literal(constant, 64);
  });
}

/** The rotations of rho by "xy" (3.2.2). */
function keccakRotations() {
  const rotations = new Map([["00", 0]]);
  for (let [x, y, t] = [1, 0, 0]; t < 24; t++) {
    rotations.set(`${x}${y}`, (((t + 1) * (t + 2)) / 2) % 64);
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }
  return rotations;
}

function keccak() {
  const lanes = range(25).map((i) => ({ x: i % 5, y: Math.floor(i / 5), offset: 8 * i }));
  const rotations = keccakRotations();
  // rho and pi: lane (x, y) of b is the rotated lane (x', y') of a with y' chosen so that pi takes it there.
  const moved = new Map(lanes.map(({ x, y }) => [`${y}${(2 * x + 3 * y) % 5}`, `${x}${y}`]));
  const round = [
    ...range(5).map(
      (x) =>
        `const c${x} = ${range(5)
          .map((y) => `a${x}${y}`)
          .join(" ^ ")};`,
    ),
    ...range(5).map((x) => `const d${x} = c${(x + 4) % 5} ^ rotl<u64>(c${(x + 1) % 5}, 1);`),
    ...lanes.map(({ x, y }) => {
      const from = moved.get(`${x}${y}`);
      return `const b${x}${y} = rotl<u64>(a${from} ^ d${from[0]}, ${rotations.get(from)});`;
    }),
    ...lanes.map(({ x, y }) => {
      const iota = x === 0 && y === 0 ? " ^ load<u64>(round)" : "";
      return `a${x}${y} = b${x}${y} ^ (~b${(x + 1) % 5}${y} & b${(x + 2) % 5}${y})${iota};`;
    }),
  ];
  return [
    "// Keccak-f[1600] (FIPS 202, 3.3).",
    "",
    "const ROUND_CONSTANTS: usize = memory.data<u64>([",
    ...indent(keccakConstants(), 1).map((line) => `${line},`),
    "]);",
    "",
    "/** Permutes the 25 u64 at `state`; lane (x, y) is number x + 5y. */",
    "export function keccakPermute(state: usize): void {",
    ...indent(
      lanes.map(({ x, y, offset }) => `let a${x}${y} = load<u64>(state, ${offset});`),
      1,
    ),
    "  for (let round = ROUND_CONSTANTS; round < ROUND_CONSTANTS + 192; round += 8) {",
    ...indent(round, 2),
    "  }",
    ...indent(
      lanes.map(({ x, y, offset }) => `store<u64>(state, a${x}${y}, ${offset});`),
      1,
    ),
    "}",
  ];
}

const files = { "sha1.ts": sha1, "sha256.ts": sha256, "sha512.ts": sha512, "keccak.ts": keccak };
let stale = 0;
mkdirSync(folder, { recursive: true });
for (const [name, generate] of Object.entries(files)) {
  const file = path.join(folder, name);
  const text = `// Generated by scripts/generate-hashes.mjs, which explains it. Do not edit.\n${generate().join("\n")}\n`;
  let present = "";
  try {
    present = readFileSync(file, "utf8");
  } catch {}
  if (present === text) continue;
  if (process.argv.includes("--check")) {
    console.error(`stale: assembly/crypto/generated/${name}`);
    stale++;
  } else writeFileSync(file, text);
}
process.exitCode = stale ? 1 : 0;
