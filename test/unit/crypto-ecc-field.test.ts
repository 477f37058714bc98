import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { curveModels, invert, mod, randomBelow } from "../support/ecc-model.ts";
import { Seeded } from "../support/seeded.ts";
import { loadHarness } from "../support/wasm-harness.ts";

const wasm = loadHarness("crypto-ecc");
const curves = curveModels(wasm);
const WORDS_SIZE = 96;

interface Shape {
  m: bigint;
  width: number;
  limbs: number;
}

/** Numbers as limbs, and back. */
function placeLimbs(limbs: bigint[]): number {
  const padded = limbs.length & 1 ? [...limbs, 0n] : limbs;
  return wasm.place(new Uint8Array(BigInt64Array.from(padded).buffer));
}

function readLimbs(at: number, count: number): bigint[] {
  return [...new BigInt64Array(wasm.read(at, 8 * count).buffer)];
}

const numberOf = (limbs: bigint[], width: number) =>
  limbs.reduceRight((sum, limb) => (sum << BigInt(width)) + limb, 0n);

function placeWords(value: bigint): number {
  const words = Array.from({ length: WORDS_SIZE / 4 }, (_, i) => Number((value >> BigInt(32 * i)) & 0xffffffffn));
  return wasm.place(new Uint8Array(Uint32Array.from(words).buffer));
}

function readWords(at: number, count: number): bigint {
  return [...new Uint32Array(wasm.read(at, 4 * count).buffer)].reduceRight(
    (sum, word) => (sum << 32n) + BigInt(word),
    0n,
  );
}

/** Limbs as loose as the point arithmetic makes them: the sum of up to three balanced ones, with the extremes favoured. */
function looseLimbs({ m, width, limbs }: Shape): fc.Arbitrary<bigint[]> {
  const extreme = 3n << BigInt(width - 1);
  const highest = (8n * m) >> BigInt(width * (limbs - 1));
  const limb = (most: bigint) =>
    fc.oneof(
      fc.bigInt({ min: -most, max: most }),
      fc.constantFrom(most, -most, most / 3n, -most / 3n, most / 3n - 1n, 0n, 1n, -1n),
    );
  const lower = fc.oneof(
    fc.array(limb(extreme), { minLength: limbs - 1, maxLength: limbs - 1 }),
    fc.constantFrom(extreme, -extreme, 0n).map((x) => Array.from({ length: limbs - 1 }, () => x)),
  );
  return fc.tuple(lower, limb(highest)).map(([low, high]) => [...low, high]);
}

function expectProduct(d: number, shape: Shape, product: bigint, subtracted: bigint): void {
  const { m, width, limbs } = shape;
  const R = 1n << BigInt(width * limbs);
  const result = readLimbs(d, limbs);
  const half = 1n << BigInt(width - 1);
  for (const limb of result.slice(0, -1)) expect(limb >= -half && limb < half).toBe(true);
  const value = numberOf(result, width);
  expect(mod((value + subtracted) * R - product, m)).toBe(0n);
  // a*b/R plus a part of m: never a larger representative.
  expect((value + subtracted) * R >= product && (value + subtracted) * R <= product + m * R).toBe(true);
}

const kernels = curves
  .filter(({ name }) => ["P256", "P384", "P521"].includes(name))
  .map((curve) => {
    const [width, limbs] = curve.name === "P256" ? [29, 9] : curve.name === "P384" ? [28, 14] : [28, 19];
    return { name: curve.name.toLowerCase(), shape: { m: curve.p, width, limbs } as Shape };
  });

describe.each(kernels)("the field of $name", ({ name, shape }) => {
  const loose = looseLimbs(shape);
  const value = (limbs: bigint[]) => numberOf(limbs, shape.width);

  it("multiplies, and subtracts in the same pass", () => {
    fc.assert(
      fc.property(loose, loose, loose, (a, b, c) => {
        wasm.reset();
        const d = wasm.reserve(192);
        wasm.call(`${name}Mul`, d, placeLimbs(a), placeLimbs(b));
        expectProduct(d, shape, value(a) * value(b), 0n);
        wasm.call(`${name}MulSub`, d, placeLimbs(a), placeLimbs(b), placeLimbs(c));
        expectProduct(d, shape, value(a) * value(b), value(c));
      }),
      { numRuns: 1500 },
    );
  });

  it("squares, and subtracts in the same pass", () => {
    fc.assert(
      fc.property(loose, loose, (a, c) => {
        wasm.reset();
        const d = wasm.reserve(192);
        wasm.call(`${name}Sqr`, d, placeLimbs(a));
        expectProduct(d, shape, value(a) ** 2n, 0n);
        wasm.call(`${name}SqrSub`, d, placeLimbs(a), placeLimbs(c));
        expectProduct(d, shape, value(a) ** 2n, value(c));
      }),
      { numRuns: 1500 },
    );
  });

  it("writes over its operands", () => {
    fc.assert(
      fc.property(loose, loose, (a, b) => {
        wasm.reset();
        for (const which of [0, 1, 2]) {
          const at = [placeLimbs(a), placeLimbs(b), placeLimbs(b)];
          wasm.call(`${name}MulSub`, at[which]!, ...at);
          expectProduct(at[which]!, shape, value(a) * value(b), value(b));
        }
      }),
      { numRuns: 100 },
    );
  });

  it("gathers the entry that is asked for", () => {
    const vectors = Math.ceil(shape.limbs / 2);
    const count = 32;
    const table = new Int32Array(new Seeded(`table of ${name}`).bytes(16 * vectors * count).buffer);
    const at = wasm.place(new Uint8Array(table.buffer));
    for (let index = 0; index < count; index++) {
      const [x, y] = [wasm.reserve(192), wasm.reserve(192)];
      wasm.call(`${name}Gather`, x, y, at, count, index);
      const entry = [...table.subarray(4 * vectors * index, 4 * vectors * (index + 1))].map(BigInt);
      expect([...readLimbs(x, 2 * vectors), ...readLimbs(y, 2 * vectors)]).toEqual(entry);
    }
  });
});

describe.each(curves)("arithmetic modulo the order of $name", (curve) => {
  const { n } = curve;
  const words = Math.ceil(curve.bits / 32);
  const shape: Shape = { m: n, width: 28, limbs: Math.ceil((curve.bits + 6) / 28) };
  const order = wasm.constant("ORDER");
  const canonical = fc.oneof(
    fc.bigInt({ min: 0n, max: n - 1n }),
    fc.constantFrom(0n, 1n, 2n, n - 1n, n - 2n, (n - 1n) / 2n, (1n << 32n) - 1n, 1n << BigInt(curve.bits - 1)),
  );
  const load = () => {
    wasm.reset();
    wasm.call("curveLoad", curve.id);
  };

  it("multiplies loose limbs", () => {
    load();
    const loose = looseLimbs(shape);
    fc.assert(
      fc.property(loose, loose, loose, (a, b, c) => {
        wasm.reset();
        const d = wasm.reserve(192);
        wasm.call("montgomeryMulSub", d, placeLimbs(a), placeLimbs(b), placeLimbs(c), order);
        expectProduct(d, shape, numberOf(a, 28) * numberOf(b, 28), numberOf(c, 28));
      }),
      { numRuns: 300 },
    );
  });

  it("comes from words and returns to them", () => {
    load();
    fc.assert(
      fc.property(canonical, (a) => {
        wasm.reset();
        const [limbs, back] = [wasm.reserve(192), wasm.reserve(WORDS_SIZE)];
        wasm.call("montgomeryFromWords", limbs, placeWords(a), order);
        wasm.call("montgomeryToWords", back, limbs, order);
        expect(readWords(back, words)).toBe(a);
        wasm.call("limbsFromWords", limbs, placeWords(a), words, order);
        expect(numberOf(readLimbs(limbs, shape.limbs), 28)).toBe(a);
        for (const extra of [0n, n]) {
          const carried = readLimbs(limbs, shape.limbs).map(
            (limb, i) => limb + ((extra >> BigInt(28 * i)) & 0xfffffffn),
          );
          wasm.call("wordsFromLimbs", back, placeLimbs(carried), order);
          expect(readWords(back, words)).toBe(a);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("adds, negates, multiplies and inverts", () => {
    load();
    fc.assert(
      fc.property(canonical, canonical, canonical, (a, b, c) => {
        wasm.reset();
        const d = wasm.reserve(WORDS_SIZE);
        const run = (name: string, ...args: bigint[]) => {
          wasm.call(name, d, ...args.map(placeWords));
          return readWords(d, words);
        };
        expect(run("scalarAdd", a, b)).toBe((a + b) % n);
        expect(run("scalarNegate", a)).toBe((n - a) % n);
        expect(run("scalarMul", a, b)).toBe((a * b) % n);
        expect(run("scalarMulAdd", a, b, c)).toBe((a * b + c) % n);
        const inverse = placeWords(a);
        wasm.call("invertWords", inverse, order);
        expect(readWords(inverse, words)).toBe(a === 0n ? 0n : invert(a, n));
      }),
      { numRuns: 500 },
    );
  });

  it("reduces byte strings of any length", () => {
    load();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 96 }), fc.constantFrom(-1, 0, 0xff), (bytes, fill) => {
        wasm.reset();
        if (fill >= 0) bytes.fill(fill);
        const d = wasm.reserve(WORDS_SIZE);
        wasm.call("scalarReduce", d, bytes, bytes.length);
        expect(readWords(d, words)).toBe(BigInt(`0x0${Buffer.from(bytes).toString("hex")}`) % n);
      }),
      { numRuns: 300 },
    );
  });

  it("inverts modulo the prime, too", () => {
    load();
    const field = wasm.constant("FIELD");
    const random = new Seeded(`inverses of ${curve.name}`);
    const edges = [0n, 1n, 2n, curve.p - 1n, curve.p - 2n, (curve.p - 1n) / 2n, 1n << BigInt(curve.bits - 2)];
    for (const a of [...edges, ...Array.from({ length: 1000 }, () => randomBelow(random, curve.p))]) {
      wasm.reset();
      const at = placeWords(a);
      wasm.call("invertWords", at, field);
      expect(readWords(at, words)).toBe(a === 0n ? 0n : invert(a, curve.p));
    }
  });
});
