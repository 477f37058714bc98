// Writes the Montgomery multiplication kernels of assembly/crypto/generated: node scripts/generate-kernels.mjs [--check]
//
// A kernel multiplies two independent pairs of numbers at once: modulo p in lane 0 and modulo q in lane 1 of 128-bit vectors.
//   mont-fma.ts  limbs of 51 bits as f64, exact products by two fused multiply-adds (relaxed SIMD)
//   mont-ext.ts  limbs of 28 bits as u32, products by i64x2.extmul_low_i32x4_u (plain SIMD)
// Both compute d = a*b / R mod m, R = 2^(width*limbs), by operand scanning: a rolled loop over the limbs of a, each turn an
// unrolled row that adds a[i]*b and q*m to the column sums and moves one column on. A square leaves out most of the products
// below the diagonal: its rows come in blocks, a block's rows start at the block's first column, and what lies beyond the
// block counts twice. Unrolling more makes the code larger than the instruction cache; rolling more costs loop overhead.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../assembly/crypto/generated");

/** Bits of the moduli -> number of limbs. R exceeds the modulus by enough bits that no result needs a final subtraction. */
const FMA_LIMBS = { 512: 11, 1024: 21, 1536: 31, 2048: 41 };
const EXT_LIMBS = { 512: 19, 1024: 37, 1536: 56, 2048: 74 };

/** Into how many blocks the rows of a fused square are split, by measurement. */
const SQUARE_BLOCKS = { 512: 3, 1024: 7, 1536: 4, 2048: 4 };

const add = (a, b) => `i64x2.add(${a}, ${b})`;
const column = (j) => `v128.load(t, ${16 * j})`;
const storeColumn = (j, value) => `v128.store(t, ${value}, ${16 * j});`;
const indent = (lines) => lines.map((line) => `  ${line}`);

/** Splits the rows 0..n-1 of a square into `count` blocks [first, end). */
function blocksOf(n, count) {
  return Array.from({ length: count }, (_, k) => [Math.round((n * k) / count), Math.round((n * (k + 1)) / count)]);
}

const emitFunction = (name, lines) => [
  `export function ${name}(d: usize, a: usize, b: usize, m: usize): void {`,
  ...indent(lines),
  "}",
];

// ---------------------------------------------------------------------------------------------------------------- FMA

const doubleBits = (x) => new BigUint64Array(Float64Array.of(x).buffer)[0];
// Adding 1.5*2^103 rounds a product to a multiple of 2^51 and leaves the quotient in the low bits of the sum's
// representation; the rest of the product, added to 1.5*2^52, is likewise readable as an integer. Column sums are sums of
// these representations, so the two constants' own bits accumulate; each column starts from minus what it will collect.
const HIGH = 1.5 * 2 ** 103;
const LOW = 1.5 * 2 ** 52;

function fmaKernel(bits) {
  const n = FMA_LIMBS[bits];
  const high = (x, y) => `f64x2.relaxed_madd(${x}, ${y}, kHigh)`;
  const low = (x, y, h) => `f64x2.relaxed_madd(${x}, ${y}, f64x2.sub(kBoth, ${h}))`;

  /** Initial column sums for products in the given columns and the reduction; output limbs are balanced, hence 2^50. */
  const initial = (columns) => {
    const lows = new Array(2 * n + 1).fill(0);
    const highs = new Array(2 * n + 1).fill(0);
    const count = (c, countLow) => {
      if (countLow) lows[c]++;
      highs[c + 1]++;
    };
    for (const c of columns) count(c, true);
    // The low half of q*m[0] is corrected in the row itself, which needs the column's true value.
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) count(i + j, j > 0);
    const values = [];
    for (let c = 0; c < 2 * n; c++) {
      const balance = c >= n && c < 2 * n - 1 ? 1n << 50n : 0n;
      const value = BigInt.asIntN(
        64,
        balance - BigInt(lows[c]) * doubleBits(LOW) - BigInt(highs[c]) * doubleBits(HIGH),
      );
      values.push(value, value);
    }
    return values.join(", ");
  };

  /** One row: products a[i]*b[j] for j >= from, twice for j >= twice, and the reduction of column 0, kept in `c`. */
  const row = (from, twice) => {
    const factor = (j) => (j >= twice ? "x2" : "x");
    const lines = ["const x = v128.load(a);", "a += 16;"];
    if (twice < n) lines.push("const x2 = f64x2.add(x, x);");
    if (from === 0) {
      lines.push("y = v128.load(b);", `h = ${high(factor(0), "y")};`, `c = ${add("c", low(factor(0), "y", "h"))};`);
    }
    lines.push(
      "y = f64x2.sub(v128.or(v128.and(c, mask), kMantissa), kMantissa);",
      `g = ${high("y", "inverse")};`,
      `const q = f64x2.sub(${low("y", "inverse", "g")}, kLow);`,
      "y = v128.load(m);",
      `g = ${high("q", "y")};`,
      `c = ${add("c", `i64x2.sub(${low("q", "y", "g")}, kLow)`)};`,
      `s = ${add("i64x2.shr_s(c, 51)", from === 0 ? add("h", "g") : "g")};`,
    );
    for (let j = 1; j < n; j++) {
      if (j >= from) {
        lines.push(`y = v128.load(b, ${16 * j});`, `h = ${high(factor(j), "y")};`);
        lines.push(`s = ${add("s", low(factor(j), "y", "h"))};`);
      }
      lines.push(`y = v128.load(m, ${16 * j});`, `g = ${high("q", "y")};`);
      const sum = add(add("s", low("q", "y", "g")), column(j));
      lines.push(j === 1 ? `c = ${sum};` : storeColumn(j, sum), `s = ${j >= from ? add("h", "g") : "g"};`);
    }
    lines.push(storeColumn(n, add("s", column(n))), "t += 16;");
    return lines;
  };

  const prologue = (table) => [
    "const kHigh = v128.load(CONSTANTS, 0);",
    "const kBoth = v128.load(CONSTANTS, 16);",
    "const kLow = v128.load(CONSTANTS, 32);",
    "const mask = v128.load(CONSTANTS, 48);",
    "const kMantissa = v128.load(CONSTANTS, 64);",
    "const kBalance = v128.load(CONSTANTS, 80);",
    `const inverse = v128.load(m, ${16 * n});`,
    "let s = kHigh;",
    "let y = kHigh;",
    "let h = kHigh;",
    "let g = kHigh;",
    `memory.copy(COLUMNS, ${table}, ${32 * n});`,
    "let t = COLUMNS;",
    "let c = v128.load(t);",
  ];
  const epilogue = [];
  for (let j = 0; j < n - 1; j++) {
    epilogue.push(`v128.store(d, f64x2.sub(v128.or(v128.and(c, mask), kMantissa), kBalance), ${16 * j});`);
    epilogue.push(`c = ${add(column(j + 1), "i64x2.shr_s(c, 51)")};`);
  }
  epilogue.push(`v128.store(d, f64x2.sub(${add("c", "kLow")}, kLow), ${16 * (n - 1)});`);

  const products = [];
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) products.push(i + j);
  const squares = [];
  const square = [];
  for (const [first, end] of blocksOf(n, SQUARE_BLOCKS[bits])) {
    for (let i = first; i < end; i++) for (let j = first; j < n; j++) squares.push(i + j);
    square.push(
      "{",
      `  const end = b + ${16 * end};`,
      "  do {",
      ...indent(indent(row(first, end))),
      "  } while (a < end);",
      "}",
    );
  }
  return [
    `const PRODUCT_${bits}: usize = memory.data<i64>([${initial(products)}], 16);`,
    `const SQUARE_${bits}: usize = memory.data<i64>([${initial(squares)}], 16);`,
    "",
    `/** d = a*b/2^${51 * n} for both lanes, moduli of ${bits} bits, ${n} limbs. */`,
    ...emitFunction(`mul${bits}`, [
      ...prologue(`PRODUCT_${bits}`),
      `const end = a + ${16 * n};`,
      "do {",
      ...indent(row(0, n)),
      "} while (a < end);",
      ...epilogue,
    ]),
    "",
    `/** d = a*a/2^${51 * n} for both lanes; b is not used. */`,
    ...emitFunction(`sqr${bits}`, ["b = a;", ...prologue(`SQUARE_${bits}`), ...square, ...epilogue]),
    "",
  ];
}

function fmaFile() {
  const pairs = [HIGH, HIGH + LOW, LOW].map(doubleBits);
  pairs.push((1n << 51n) - 1n, doubleBits(2 ** 52), doubleBits(2 ** 52 + 2 ** 50));
  const columns = 2 * Math.max(...Object.values(FMA_LIMBS)) + 1;
  return [
    "// Generated by scripts/generate-kernels.mjs, which explains it. Do not edit.",
    "",
    "/** Column sums of the last product: secret when the operands are. */",
    `export const COLUMNS: usize = memory.data(${16 * columns}, 16);`,
    `export const COLUMNS_BYTES: u32 = ${16 * columns};`,
    `const CONSTANTS: usize = memory.data<i64>([${pairs.flatMap((v) => [v, v]).join(", ")}], 16);`,
    "",
    ...Object.keys(FMA_LIMBS).flatMap((bits) => fmaKernel(Number(bits))),
  ];
}

// ------------------------------------------------------------------------------------------------------------- extmul

const WIDTH = 28;

function extKernel(bits) {
  const n = EXT_LIMBS[bits];
  const product = (x, y) => `i64x2.extmul_low_i32x4_u(${x}, ${y})`;
  const limb = (p, j) => `v128.load64_splat(${p}, ${8 * j})`;
  const pack = (v) => `i8x16.shuffle(${v}, ${v}, 0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11)`;
  const quotient = (q, c) => `const ${q} = v128.and(i32x4.mul(${pack(c)}, inverse), mask);`;

  /** One row, as in fmaKernel. */
  const row = (from, twice) => {
    const factor = (j) => (j >= twice ? "x2" : "x");
    const lines = ["const x = v128.load64_splat(a);", "a += 8;"];
    if (twice < n) lines.push("const x2 = i32x4.add(x, x);");
    if (from === 0) lines.push(`c = ${add("c", product(factor(0), limb("b", 0)))};`);
    lines.push(quotient("q", "c"), `s = i64x2.shr_u(${add("c", product("q", limb("m", 0)))}, ${WIDTH});`);
    for (let j = 1; j < n; j++) {
      let sum = product("q", limb("m", j));
      if (j >= from) sum = add(sum, product(factor(j), limb("b", j)));
      sum = add(sum, column(j));
      lines.push(j === 1 ? `c = ${add("s", sum)};` : storeColumn(j, sum));
    }
    lines.push("t += 16;");
    return lines;
  };

  /** Two rows of a product at once: half the loads and stores of column sums. */
  const twoRows = () => {
    const lines = [
      "const x = v128.load64_splat(a);",
      "const w = v128.load64_splat(a, 8);",
      "a += 16;",
      `s = ${column(1)};`,
    ];
    lines.push(
      `y = ${limb("b", 0)};`,
      `c = ${add("c", product("x", "y"))};`,
      `s = ${add("s", product("w", "y"))};`,
      `y = ${limb("b", 1)};`,
      `s = ${add("s", product("x", "y"))};`,
      `u = ${product("w", "y")};`,
      quotient("q", "c"),
      `c = ${add("c", product("q", limb("m", 0)))};`,
      `s = ${add(add("s", product("q", limb("m", 1))), `i64x2.shr_u(c, ${WIDTH})`)};`,
      quotient("r", "s"),
      `s = ${add("s", product("r", limb("m", 0)))};`,
      `u = ${add(add("u", product("r", limb("m", 1))), `i64x2.shr_u(s, ${WIDTH})`)};`,
    );
    for (let j = 2; j < n; j++) {
      const sum = add(add(add("u", column(j)), product("x", "y")), product("q", "z"));
      lines.push(`y = ${limb("b", j)};`, `z = ${limb("m", j)};`, j === 2 ? `c = ${sum};` : storeColumn(j, sum));
      lines.push(`u = ${add(product("w", "y"), product("r", "z"))};`);
    }
    lines.push(storeColumn(n, add("u", column(n))), "t += 32;");
    return lines;
  };

  const prologue = [
    `const inverse = v128.load64_zero(m, ${8 * n});`,
    `const mask = i32x4.splat(${2 ** WIDTH - 1});`,
    "let s = mask;",
    "let y = mask;",
    `memory.fill(COLUMNS, 0, ${32 * n + 32});`,
    "let t = COLUMNS;",
    "let c = i64x2.splat(0);",
  ];
  const epilogue = [`const low = i64x2.splat(${2 ** WIDTH - 1});`];
  for (let j = 0; j < n - 1; j++) {
    epilogue.push("y = v128.and(c, low);", `v128.store64_lane(d, ${pack("y")}, 0, ${8 * j});`);
    epilogue.push(`c = ${add(column(j + 1), `i64x2.shr_u(c, ${WIDTH})`)};`);
  }
  epilogue.push(`v128.store64_lane(d, ${pack("c")}, 0, ${8 * (n - 1)});`);

  const even = n - (n % 2);
  const square = [];
  for (const [first, end] of blocksOf(n, n < 50 ? 4 : 3)) {
    square.push(
      "{",
      `  const end = b + ${8 * end};`,
      "  do {",
      ...indent(indent(row(first, end))),
      "  } while (a < end);",
      "}",
    );
  }
  return [
    `/** d = a*b/2^${WIDTH * n} for both lanes, moduli of ${bits} bits, ${n} limbs. */`,
    ...emitFunction(`mul${bits}`, [
      ...prologue,
      "let u = mask;",
      "let z = mask;",
      `const end = a + ${8 * even};`,
      "do {",
      ...indent(twoRows()),
      "} while (a < end);",
      ...(n % 2 ? ["{", ...indent(row(0, n)), "}"] : []),
      ...epilogue,
    ]),
    "",
    `/** d = a*a/2^${WIDTH * n} for both lanes; b is not used. */`,
    ...emitFunction(`sqr${bits}`, ["b = a;", ...prologue, ...square, ...epilogue]),
    "",
  ];
}

function extFile() {
  const columns = 2 * Math.max(...Object.values(EXT_LIMBS)) + 2;
  return [
    "// Generated by scripts/generate-kernels.mjs, which explains it. Do not edit.",
    "",
    "/** Column sums of the last product: secret when the operands are. */",
    `export const COLUMNS: usize = memory.data(${16 * columns}, 16);`,
    `export const COLUMNS_BYTES: u32 = ${16 * columns};`,
    "",
    ...Object.keys(EXT_LIMBS).flatMap((bits) => extKernel(Number(bits))),
  ];
}

const check = process.argv.includes("--check");
mkdirSync(folder, { recursive: true });
let stale = false;
for (const [name, lines] of [
  ["mont-fma.ts", fmaFile()],
  ["mont-ext.ts", extFile()],
]) {
  const file = path.join(folder, name);
  const text = `${lines.join("\n").trimEnd()}\n`;
  if (!check) writeFileSync(file, text);
  else if (readFileSync(file, "utf8") !== text) {
    console.error(`stale: ${path.relative(process.cwd(), file)} (node scripts/generate-kernels.mjs)`);
    stale = true;
  }
}
process.exit(stale ? 1 : 0);
