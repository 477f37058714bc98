// Unrolled field arithmetic for a prime p that is a short signed sum of powers of two with p = -1 mod 2^width.
//
// An element is `limbs` signed 64-bit limbs of `width` bits; multiplication is Montgomery's with R = 2^(width*limbs), column by
// column. Because p = -1 mod 2^width, the multiple of p that clears a column is q = the column's own low limb: the -1 of p only
// cancels that limb, and adding the rest of q*p is one shift and addition per power of two, no multiplication.
// Results are balanced, every limb but the highest in [-2^(width-1), 2^(width-1)), so that sums and differences of several
// elements can be multiplied without carrying first.

const indent = (lines) => lines.map((line) => `  ${line}`);

/** d = a*b - c, or a*a - c; without `minus`, c is left out. */
function product(name, { limbs, width, terms }, { square, minus }) {
  const rest = terms.filter(([exponent]) => exponent > 0);
  const mask = `0x${(2 ** width - 1).toString(16)}`;
  const half = `0x${(2 ** (width - 1)).toString(16)}`;
  const parameters = ["d: usize", "a: usize", ...(square ? [] : ["b: usize"]), ...(minus ? ["c: usize"] : [])];
  const lines = [];
  for (let i = 0; i < limbs; i++) {
    lines.push(`const a${i} = load<i64>(a, ${8 * i});`);
    if (!square) lines.push(`const b${i} = load<i64>(b, ${8 * i});`);
    else if (i + 1 < limbs) lines.push(`const twice${i} = a${i} << 1;`);
  }
  for (let column = 0; column < 2 * limbs; column++) {
    const added = [];
    for (let i = Math.max(0, column - limbs + 1); i <= Math.min(column, limbs - 1); i++) {
      const j = column - i;
      if (!square) added.push(`a${i} * b${j}`);
      else if (i < j) added.push(`twice${i} * a${j}`);
      else if (i === j) added.push(`a${i} * a${i}`);
    }
    const subtracted = [];
    for (const [exponent, sign] of rest) {
      const i = column - Math.floor(exponent / width);
      if (i < 0 || i >= limbs) continue;
      (sign > 0 ? added : subtracted).push(exponent % width ? `(q${i} << ${exponent % width})` : `q${i}`);
    }
    const out = column - limbs;
    if (out >= 0 && minus) subtracted.push(`load<i64>(c, ${8 * out})`);
    const low = out < 0;
    const last = out === limbs - 1;
    if (!low && !last) added.push(half);
    if (column === 0) lines.push(`let t: i64 = ${added.join(" + ")};`);
    else if (added.length) lines.push(`t += ${[added.join(" + "), ...subtracted].join(" - ")};`);
    else for (const x of subtracted) lines.push(`t -= ${x};`);
    if (low) lines.push(`const q${column} = t & ${mask};`);
    else lines.push(last ? `store<i64>(d, t, ${8 * out});` : `store<i64>(d, (t & ${mask}) - ${half}, ${8 * out});`);
    if (!last) lines.push(`t >>= ${width};`);
  }
  return [`export function ${name}(${parameters.join(", ")}): void {`, ...indent(lines), "}", ""];
}

/** d = the linear expression, vector by vector. */
function linear(name, parameters, expression, vectors, before = []) {
  const lines = [...before];
  for (let i = 0; i < vectors; i++) {
    lines.push(`v128.store(d, ${expression((x) => `v128.load(${x}, ${16 * i})`)}, ${16 * i});`);
  }
  return ["@inline", `export function ${name}(${parameters}): void {`, ...indent(lines), "}", ""];
}

/** Reads one entry of a table of packed points, touching all of them. */
function gather(name, vectors) {
  const each = (f) => Array.from({ length: vectors }, (_, i) => f(i));
  const stores = [];
  for (let i = 0; i < 2 * vectors; i++) {
    const [to, at] = i < vectors ? ["x", i] : ["y", i - vectors];
    stores.push(`v128.store(${to}, i64x2.extend_${i & 1 ? "high" : "low"}_i32x4_s(v${i >> 1}), ${16 * at});`);
  }
  return [
    `export function ${name}(x: usize, y: usize, table: usize, count: u32, index: u32): void {`,
    ...indent([
      "const wanted = i32x4.splat(index);",
      "const one = i32x4.splat(1);",
      "let at = i32x4.splat(0);",
      ...each((i) => `let v${i} = i32x4.splat(0);`),
      "for (let i: u32 = 0; i < count; i++) {",
      ...indent([
        "const mask = i32x4.eq(at, wanted);",
        ...each((i) => `v${i} = v128.or(v${i}, v128.and(mask, v128.load(table, ${16 * i})));`),
        "at = i32x4.add(at, one);",
        `table += ${16 * vectors};`,
      ]),
      "}",
      ...stores,
    ]),
    "}",
    "",
  ];
}

function fieldClass({ name }, vectors) {
  const upper = name.toUpperCase();
  const method = (signature, body) => ["@inline", `${signature} {`, `  ${body}`, "}", ""];
  return [
    `/** The field of ${upper}, see field.ts for what its methods mean. */`,
    "@unmanaged",
    "@final",
    `export class Field${upper} {`,
    ...indent([
      ...method("get vectors(): u32", `return ${vectors};`),
      ...method("get aIsZero(): bool", "return false;"),
      ...method("mul(d: usize, a: usize, b: usize): void", `${name}Mul(d, a, b);`),
      ...method("mulSub(d: usize, a: usize, b: usize, c: usize): void", `${name}MulSub(d, a, b, c);`),
      ...method("sqr(d: usize, a: usize): void", `${name}Sqr(d, a);`),
      ...method("sqrSub(d: usize, a: usize, c: usize): void", `${name}SqrSub(d, a, c);`),
      ...method("add(d: usize, a: usize, b: usize): void", `${name}Add(d, a, b);`),
      ...method("sub(d: usize, a: usize, b: usize): void", `${name}Sub(d, a, b);`),
      ...method("shl(d: usize, a: usize, bits: i32): void", `${name}Shl(d, a, bits);`),
      ...method("addShl(d: usize, a: usize, b: usize, bits: i32): void", `${name}AddShl(d, a, b, bits);`),
      ...method("copy(d: usize, a: usize): void", `${name}Copy(d, a);`),
      ...method("negateMasked(d: usize, mask: i64): void", `${name}NegateMasked(d, mask);`),
      ...method(
        "gather(x: usize, y: usize, table: usize, count: u32, index: u32): void",
        `${name}Gather(x, y, table, count, index);`,
      ),
    ]).slice(0, -1),
    "}",
    "",
  ];
}

export function fieldKernel(curve, prime) {
  const { name } = curve;
  const { limbs, width, terms } = prime;
  if (terms.reduce((sum, [exponent, sign]) => sum + BigInt(sign) * 2n ** BigInt(exponent), 0n) !== curve.p) {
    throw new Error(`${name}: the powers of two are not the prime`);
  }
  if ((curve.p + 1n) % 2n ** BigInt(width)) throw new Error(`${name}: p is not -1 mod 2^${width}`);
  const vectors = Math.ceil(limbs / 2);
  const sum = terms.map(
    ([exponent, sign], i) => `${sign < 0 ? "- " : i ? "+ " : ""}${exponent ? `2^${exponent}` : "1"}`,
  );
  return [
    "// Generated by scripts/generate-curves.mjs; see scripts/curves/kernel.mjs.",
    `// p = ${sum.join(" ")}, ${limbs} limbs of ${width} bits, R = 2^${limbs * width}.`,
    "",
    ...product(`${name}Mul`, prime, {}),
    ...product(`${name}MulSub`, prime, { minus: true }),
    ...product(`${name}Sqr`, prime, { square: true }),
    ...product(`${name}SqrSub`, prime, { square: true, minus: true }),
    ...linear(`${name}Add`, "d: usize, a: usize, b: usize", (v) => `i64x2.add(${v("a")}, ${v("b")})`, vectors),
    ...linear(`${name}Sub`, "d: usize, a: usize, b: usize", (v) => `i64x2.sub(${v("a")}, ${v("b")})`, vectors),
    ...linear(`${name}Shl`, "d: usize, a: usize, bits: i32", (v) => `i64x2.shl(${v("a")}, bits)`, vectors),
    ...linear(
      `${name}AddShl`,
      "d: usize, a: usize, b: usize, bits: i32",
      (v) => `i64x2.add(${v("a")}, i64x2.shl(${v("b")}, bits))`,
      vectors,
    ),
    ...linear(`${name}Copy`, "d: usize, a: usize", (v) => v("a"), vectors),
    ...linear(
      `${name}NegateMasked`,
      "d: usize, mask: i64",
      (v) => `i64x2.sub(v128.xor(${v("d")}, sign), sign)`,
      vectors,
      ["const sign = i64x2.splat(mask);"],
    ),
    ...gather(`${name}Gather`, vectors),
    ...fieldClass(curve, vectors),
  ]
    .join("\n")
    .replace(/\n+$/, "\n");
}
