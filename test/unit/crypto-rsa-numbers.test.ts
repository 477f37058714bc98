// The number layer against BigInt, with values at all borders: words, limbs of 27, 28, 30 and 51 bits, the modulus itself.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { modInverse, modPow, RsaModule, rsaVariants, toBig, toBytes } from "../support/rsa.ts";

const RUNS = 1000;
const mask = (bits: number) => (1n << BigInt(bits)) - 1n;

/** Numbers below 2^bits: random ones, powers of two give or take a little, runs of ones and zeros, 0 and the largest. */
function numbers(bits: number): fc.Arbitrary<bigint> {
  const limb = fc.constantFrom(27, 28, 30, 32, 51);
  const border = fc
    .tuple(limb, fc.nat(), fc.integer({ min: -2, max: 2 }))
    .map(([width, at, delta]) => (1n << BigInt((width * at) % (bits + 1))) + BigInt(delta));
  const runs = fc
    .array(fc.tuple(fc.integer({ min: 1, max: 120 }), fc.boolean()), { minLength: 1, maxLength: 40 })
    .map((parts) =>
      parts.reduce((value, [length, ones]) => (value << BigInt(length)) | (ones ? mask(length) : 0n), 0n),
    );
  const any = fc.uint8Array({ minLength: bits / 8, maxLength: bits / 8 }).map(toBig);
  return fc.oneof(any, border, runs, fc.constantFrom(0n, 1n, mask(bits))).map((v) => BigInt.asUintN(bits, v));
}

/** Odd numbers with their top bit set. */
const moduli = (bits: number) => numbers(bits).map((v) => v | 1n | (1n << BigInt(bits - 1)));

/** A residue: a number of any kind below m, or m less a little. */
const residues = (bits: number) => fc.tuple(numbers(bits), fc.constantFrom(0n, 0n, 0n, 1n, 2n));
const reduce = ([value, below]: [bigint, bigint], m: bigint) => (below > 0n ? m - below : value % m);

const words = (value: bigint, bits: number) => toBytes(value, bits / 8).reverse();
const unwords = (bytes: Uint8Array<ArrayBuffer>) => toBig(bytes.reverse());
const check = (name: string, property: fc.IRawProperty<unknown>) =>
  it(name, () => {
    fc.assert(property as fc.IProperty<unknown>, { numRuns: RUNS, seed: 20, endOnFailure: true });
  });

describe.each(rsaVariants())("$name", ({ module }) => {
  const rsa = new RsaModule(module);
  const { wasm } = rsa;

  describe.each([32, 512, 1024, 2048])("whole numbers of %i bits", (bits) => {
    const n = bits / 32;
    const two = fc.tuple(numbers(bits), numbers(bits));
    const out = (name: string, ...values: bigint[]) => {
      wasm.reset();
      const d = wasm.reserve(bits / 8);
      const result = wasm.call(name, d, ...values.map((v) => words(v, bits)), n);
      return [unwords(wasm.read(d, bits / 8)), result] as const;
    };

    check(
      "come in from bytes and go out again",
      fc.property(numbers(bits), (a) => {
        wasm.reset();
        const d = wasm.reserve(bits / 8);
        wasm.call("bnFromBytes", d, n, toBytes(a, bits / 8), bits / 8);
        expect(unwords(wasm.read(d, bits / 8))).toBe(a);
        const bytes = wasm.reserve(bits / 8);
        wasm.call("bnToBytes", bytes, bits / 8, d);
        expect(toBig(wasm.read(bytes, bits / 8))).toBe(a);
      }),
    );

    check(
      "add and subtract with carry and borrow",
      fc.property(two, ([a, b]) => {
        expect(out("bnAdd", a, b)).toEqual([BigInt.asUintN(bits, a + b), a + b > mask(bits) ? 1 : 0]);
        expect(out("bnSub", a, b)).toEqual([BigInt.asUintN(bits, a - b), a < b ? 0xffffffff : 0]);
      }),
    );

    check(
      "add and subtract a word",
      fc.property(numbers(bits), numbers(32), (a, b) => {
        for (const [name, expected, borrow] of [
          ["bnAddWord", a + b, 1],
          ["bnSubWord", a - b, 0xffffffff],
        ] as const) {
          wasm.reset();
          const d = wasm.reserve(bits / 8);
          const carry = wasm.call(name, d, words(a, bits), Number(b), n);
          expect(unwords(wasm.read(d, bits / 8))).toBe(BigInt.asUintN(bits, expected));
          expect(carry).toBe(expected < 0n || expected > mask(bits) ? borrow : 0);
        }
      }),
    );

    check(
      "compare as masks",
      fc.property(two, fc.boolean(), ([a, b], same) => {
        const other = same ? a : b;
        wasm.reset();
        const [x, y] = [wasm.place(words(a, bits)), wasm.place(words(other, bits))];
        expect(wasm.call("bnLess", x, y, n)).toBe(a < other ? 0xffffffff : 0);
        expect(wasm.call("bnEqual", x, y, n)).toBe(a === other ? 0xffffffff : 0);
        expect(wasm.call("bnIsZero", x, n)).toBe(a === 0n ? 0xffffffff : 0);
      }),
    );

    check(
      "copy under a mask",
      fc.property(two, fc.boolean(), ([a, b], copies) => {
        wasm.reset();
        const d = wasm.place(words(a, bits));
        wasm.call("bnCopyMasked", d, words(b, bits), copies ? 0xffffffff : 0, n);
        expect(unwords(wasm.read(d, bits / 8))).toBe(copies ? b : a);
      }),
    );

    check(
      "are reduced once",
      fc.property(moduli(bits), residues(bits), fc.boolean(), (m, r, above) => {
        const value = reduce(r, m) + (above ? m : 0n);
        wasm.reset();
        const d = wasm.reserve(bits / 8);
        const high = Number(value >> BigInt(bits));
        wasm.call(
          "bnReduceOnce",
          d,
          words(BigInt.asUintN(bits, value), bits),
          high,
          words(m, bits),
          wasm.reserve(bits / 8),
          n,
        );
        expect(unwords(wasm.read(d, bits / 8))).toBe(value % m);
      }),
    );

    check(
      "multiply, and divide exactly",
      fc.property(two, numbers(bits), ([a, b], other) => {
        wasm.reset();
        const product = wasm.reserve(bits / 4);
        wasm.call("bnMul", product, words(a, bits), n, words(b, bits), n);
        expect(unwords(wasm.read(product, bits / 4))).toBe(a * b);
        const divisor = b | 1n;
        const q = wasm.reserve(bits / 8);
        expect(wasm.call("bnDivideExact", q, words(a * divisor, 2 * bits), words(divisor, bits), n)).toBe(0xffffffff);
        expect(unwords(wasm.read(q, bits / 8))).toBe(a);
        // Any other number does not divide, or its quotient is too large.
        const dividend = a * divisor + other;
        const divides = dividend % divisor === 0n && dividend / divisor <= mask(bits);
        if (dividend <= mask(2 * bits)) {
          const answer = wasm.call("bnDivideExact", q, words(dividend, 2 * bits), words(divisor, bits), n);
          expect(answer).toBe(divides ? 0xffffffff : 0);
        }
      }),
    );

    check(
      "multiply and divide by a word, and leave a remainder",
      fc.property(numbers(bits), numbers(32), (a, w) => {
        const word = w | 1n;
        wasm.reset();
        const product = wasm.reserve(bits / 8 + 4);
        wasm.call("bnMulWord", product, words(a, bits), n, Number(word));
        expect(unwords(wasm.read(product, bits / 8 + 4))).toBe(a * word);
        const q = wasm.reserve(bits / 8 + 4);
        wasm.call("bnDivideExactWord", q, product, n + 1, Number(word));
        expect(unwords(wasm.read(q, bits / 8 + 4))).toBe(a);
        if (word > 2n) expect(BigInt(wasm.call("bnModWord", words(a, bits), n, Number(word)))).toBe(a % word);
      }),
    );

    check(
      "are inverted modulo odd numbers",
      fc.property(moduli(bits), residues(bits), (m, r) => {
        const a = reduce(r, m);
        let [x, y] = [a, m];
        while (y > 0n) [x, y] = [y, x % y];
        if (x !== 1n) return;
        wasm.reset();
        const d = wasm.reserve(bits / 8);
        wasm.call("bnInverse", d, words(a, bits), words(m, bits), n);
        expect(unwords(wasm.read(d, bits / 8))).toBe(modInverse(a, m));
      }),
    );
  });

  describe.each([512, 1024, 1536, 2048])("pairs modulo %i bits", (bits) => {
    const pair = fc.tuple(moduli(bits), residues(bits), residues(bits)).map(([m, a, b]) => ({
      m,
      a: reduce(a, m),
      b: reduce(b, m),
    }));
    type Lane = { m: bigint; a: bigint; b: bigint };
    const ready = (lanes: Lane[]) => {
      wasm.reset();
      wasm.call("montSelect", bits);
      const size = wasm.call("montNumberBytes");
      const [one, r2, d] = [wasm.reserve(size), wasm.reserve(size), wasm.reserve(size)];
      const m = wasm.reserve(wasm.call("montModulusBytes"));
      lanes.forEach((lane, i) => {
        wasm.call("montSetModulus", m, i, words(lane.m, bits));
        wasm.call("montOne", one, i, words(lane.m, bits));
      });
      wasm.call("montR2", r2, one, m);
      const enter = (values: bigint[]) => {
        const x = wasm.reserve(size);
        values.forEach((v, i) => {
          wasm.call("montFromWords", x, i, words(v, bits));
        });
        wasm.call("montMul", x, x, r2, m);
        return x;
      };
      const leave = (x: number) => {
        wasm.call("montLeave", d, x, m);
        return lanes.map((lane, i) => {
          const out = wasm.reserve(bits / 8);
          wasm.call("montToWords", out, d, i, words(lane.m, bits));
          return unwords(wasm.read(out, bits / 8));
        });
      };
      return { size, one, m, d, enter, leave };
    };
    const lanes = fc.tuple(pair, pair);

    check(
      "multiply, square and add",
      fc.property(lanes, (ls) => {
        const { d, m, enter, leave } = ready(ls);
        const [a, b] = [enter(ls.map((l) => l.a)), enter(ls.map((l) => l.b))];
        expect(leave(a)).toEqual(ls.map((l) => l.a));
        wasm.call("montMul", d, a, b, m);
        expect(leave(d)).toEqual(ls.map((l) => (l.a * l.b) % l.m));
        wasm.call("montSqr", d, a, m);
        expect(leave(d)).toEqual(ls.map((l) => (l.a * l.a) % l.m));
        wasm.call("montAdd", d, a, b);
        wasm.call("montSqr", d, d, m);
        expect(leave(d)).toEqual(ls.map((l) => (l.a + l.b) ** 2n % l.m));
        wasm.call("montMul", a, a, a, m);
        expect(leave(a)).toEqual(ls.map((l) => (l.a * l.a) % l.m));
      }),
    );

    check(
      "multiply numbers that were never reduced",
      fc.property(lanes, numbers(bits), (ls, raw) => {
        const { size, d, m, enter } = ready(ls);
        const x = wasm.reserve(size);
        for (const lane of [0, 1]) wasm.call("montFromWords", x, lane, words(raw, bits));
        // x is not in Montgomery form, so the products are plain numbers.
        wasm.call("montMul", d, x, enter(ls.map((l) => l.b)), m);
        const plain = ls.map((l, i) => {
          const out = wasm.reserve(bits / 8);
          wasm.call("montToWords", out, d, i, words(l.m, bits));
          return unwords(wasm.read(out, bits / 8));
        });
        expect(plain).toEqual(ls.map((l) => (raw * l.b) % l.m));
      }),
    );

    check(
      "shift before squarings",
      fc.property(lanes, fc.nat(), fc.nat(), (ls, s0, s1) => {
        const { m, enter, leave } = ready(ls);
        const limit = 2 ** wasm.constant("MONT_SHIFT");
        const shifts = [s0 % limit, s1 % limit] as const;
        const x = enter(ls.map((l) => l.a));
        wasm.call("montShiftLeft", x, ...shifts);
        wasm.call("montSqr", x, x, m);
        wasm.call("montSqr", x, x, m);
        expect(leave(x)).toEqual(ls.map((l, i) => (l.a << BigInt(shifts[i] ?? 0)) ** 4n % l.m));
      }),
    );

    it("are raised to powers", () => {
      const property = fc.property(lanes, numbers(bits), numbers(bits), numbers(32), (ls, p, q, e) => {
        const { d, m, one, enter, leave } = ready(ls);
        const x = enter(ls.map((l) => l.a));
        wasm.call("montPow", d, x, one, words(p, bits), words(q, bits), m);
        expect(leave(d)).toEqual(ls.map((l, i) => modPow(l.a, i === 0 ? p : q, l.m)));
        if (e === 0n) return;
        wasm.call("montPowPublic", d, x, Number(e), m);
        expect(leave(d)).toEqual(ls.map((l) => modPow(l.a, e, l.m)));
      });
      fc.assert(property, { numRuns: Math.floor(32768 / bits), seed: 21, endOnFailure: true });
    });
  });

  it.each([1024, 2048, 3072, 4096])("public powers modulo %i bits", (bits) => {
    const exponents = fc.oneof(
      fc.constantFrom(1, 2, 3, 17, 65537, 0xffffffff),
      fc.integer({ min: 1, max: 0xffffffff }),
    );
    const property = fc.property(moduli(bits), residues(bits), exponents, (n, r, e) => {
      wasm.reset();
      const input = reduce(r, n);
      const key = { bits, e, n: toBytes(n, bits / 8) };
      expect(toBig(rsa.public(key, toBytes(input, bits / 8)) as Uint8Array)).toBe(modPow(input, BigInt(e), n));
    });
    fc.assert(property, { numRuns: Math.floor(163840 / bits), seed: 22, endOnFailure: true });
  });
});
