// The prime search: bit for bit libtpms' for both seed levels, and sound on its own; in slices, cancellable, leaving nothing.
import { checkPrimeSync, createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { KEYGEN, modInverse, RsaModule, rsaVariants, toBig, toBytes } from "../support/rsa.ts";
import { Seeded } from "../support/seeded.ts";

interface Known {
  primaries: { name: string; bits: number; seed: number; templateName: string; sha256: string }[];
  searches: { bits: number; compat: number; e: number; index: number; sha256: string }[];
}
const known = JSON.parse(readFileSync(new URL("crypto-rsa-keygen.json", import.meta.url), "utf8")) as Known;
const PURPOSE = Buffer.from("Primary Object Creation\0");
const sha256 = (...parts: Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest("hex");
const sha512 = (text: string) => createHash("sha512").update(text).digest();

describe.each(rsaVariants())("$name", ({ module }) => {
  it.each(known.primaries)("finds libtpms' primary key $name", ({ bits, seed, templateName, sha256: expected }) => {
    const rsa = new RsaModule(module);
    const drbg = rsa.wasm.reserve(rsa.wasm.constant("DRBG_STATE_SIZE"));
    const name = Buffer.from(templateName, "hex");
    rsa.wasm.call(
      "drbgInstantiateSeeded",
      drbg,
      new Uint8Array(64).fill(seed),
      64,
      PURPOSE,
      PURPOSE.length,
      name,
      name.length,
      0,
      0,
    );
    const { p, n } = rsa.generate(bits, 65537, drbg, KEYGEN.compat1);
    expect(sha256(p, n)).toBe(expected);
  });

  it.each([1024, 2048, 3072, 4096])(
    "finds what a model of libtpms finds, and leaves the DRBG there: RSA-%i",
    (bits) => {
      const rsa = new RsaModule(module);
      const { wasm } = rsa;
      const searches = known.searches.filter((search) => search.bits === bits);
      expect(searches.length).toBeGreaterThan(1);
      for (const { compat, e, index, sha256: expected } of searches) {
        wasm.reset();
        const drbg = rsa.drbg(sha512(`wtpm prime search ${bits} ${compat} ${index}`));
        const { p, n } = rsa.generate(bits, e, drbg, compat);
        const next = wasm.reserve(32);
        wasm.call("drbgGenerate", drbg, next, 32);
        expect(sha256(p, n, wasm.read(next, 32)), `level ${compat}, e ${e}, search ${index}`).toBe(expected);
      }
    },
  );

  it.each([
    [1024, 65537, 40],
    [2048, 65537, 15],
    [2048, 3, 6],
    [3072, 65537, 2],
    [4096, 65537, 1],
  ])("makes sound random keys: RSA-%i, e = %i", (bits, e, count) => {
    const rsa = new RsaModule(module);
    const seen = new Set<string>();
    for (let round = 0; round < count; round++) {
      rsa.wasm.reset();
      const { p, n } = rsa.generate(bits, e, rsa.drbg(sha512(`random ${bits} ${e} ${round}`)), KEYGEN.random);
      const [P, N] = [toBig(p), toBig(n)];
      const Q = N / P;
      expect(P * Q).toBe(N);
      expect(N >> BigInt(bits - 1)).toBe(1n);
      const half = BigInt(bits / 2);
      for (const prime of [P, Q]) {
        expect(checkPrimeSync(prime)).toBe(true);
        // FIPS 186-5, A.1.1: at least sqrt(2) * 2^(nlen/2 - 1), and below 2^(nlen/2).
        expect(prime * prime >= 1n << (2n * half - 1n)).toBe(true);
        expect(prime < 1n << half).toBe(true);
        expect((prime - 1n) % BigInt(e)).not.toBe(0n);
      }
      expect((P > Q ? P - Q : Q - P) > 1n << (half - 100n)).toBe(true);
      expect(modInverse(BigInt(e), (P - 1n) * (Q - 1n)) > 1n << half).toBe(true);
      seen.add(String(N));
    }
    expect(seen.size).toBe(count);
  });

  it("works in slices whose number does not depend on anything but the key", () => {
    const rsa = new RsaModule(module);
    const run = () => {
      rsa.wasm.reset();
      return rsa.generate(2048, 65537, rsa.drbg(sha512("slices")), KEYGEN.compat1);
    };
    const first = run();
    expect(run()).toEqual(first);
    expect(first.steps).toBeGreaterThan(10);
  });

  it("leaves nothing behind, whether it is cancelled in any slice or done", () => {
    // Two searches with different secrets, stopped at the same place, must leave the same memory.
    const stopAfter = (seed: string, steps: number) => {
      const rsa = new RsaModule(module);
      const { wasm } = rsa;
      const drbg = rsa.drbg(sha512(seed));
      // Whether steps do what the same number of steps of another search does is up to chance; the modules' memory is not.
      wasm.call("rsaKeyGenStart", 1024, 65537, drbg, KEYGEN.random);
      let answer = 0;
      for (let i = 0; i < steps && answer === 0; i++) answer = wasm.call("rsaKeyGenStep") | 0;
      if (answer === 1) wasm.call("rsaKeyGenResult", wasm.reserve(64), wasm.reserve(128));
      else wasm.call("rsaKeyGenCancel");
      expect(wasm.call("rsaKeyGenStep") | 0).toBe(-1);
      expect(wasm.call("rsaKeyGenResult", wasm.reserve(64), wasm.reserve(128))).toBe(0);
      // The static memory of the module, without the test's own area behind it.
      return sha256(wasm.read(0, drbg));
    };
    for (const steps of [1, 2, 3, 4, 5, 8, 12, 17, 100_000]) {
      expect(stopAfter("one", steps), `${steps} steps`).toBe(stopAfter("other", steps));
    }
  });

  it("fails, and wipes, when the DRBG fails", () => {
    const rsa = new RsaModule(module);
    const drbg = rsa.drbg(sha512("worn out"));
    // A state that has served its last request refuses.
    rsa.wasm.write(drbg + rsa.wasm.constant("DRBG_RESEED_COUNTER"), Uint8Array.of(0, 0, 0xff, 0xff));
    rsa.wasm.call("rsaKeyGenStart", 1024, 65537, drbg, KEYGEN.random);
    expect(rsa.wasm.call("rsaKeyGenStep") | 0).toBe(-1);
    expect(rsa.wasm.call("rsaKeyGenStep") | 0).toBe(-1);
  });

  it("knows which words are prime", () => {
    const rsa = new RsaModule(module);
    const random = new Seeded("small primes");
    const values = [
      0,
      1,
      2,
      3,
      4,
      9,
      65535,
      65536,
      65537,
      65539,
      262139,
      262147,
      4294967291,
      4294967295,
      4295098369 % 2 ** 32,
    ];
    for (let i = 0; i < 3000; i++) values.push(random.below(2 ** 32), random.below(100_000));
    for (const value of values) {
      expect(rsa.wasm.call("primeIsSmall", value), String(value)).toBe(checkPrimeSync(BigInt(value)) ? 1 : 0);
    }
  });

  it.each([512, 1024, 1536, 2048])("sieves exactly the multiples of small primes out of %i-bit numbers", (bits) => {
    const { wasm } = new RsaModule(module);
    const random = new Seeded(`sieve ${bits}`);
    const [limit, last] = [8167, 20_000];
    const small = Array.from({ length: last }, (_, i) => i).filter((i) => i > 2 && i % 2 && checkPrimeSync(BigInt(i)));
    for (let round = 0; round < 10; round++) {
      // Bases that are multiples of small primes, or one off, are among them.
      const base = (toBig(random.bytes(bits / 8)) | 1n) + BigInt(random.below(3)) * 2n;
      const struck = new Uint8Array(16384);
      for (const p of small) {
        // The first i with base + 2i = 0 mod p.
        const inverse = BigInt((p + 1) / 2);
        let i = Number(((BigInt(p) - (base % BigInt(p))) * inverse) % BigInt(p));
        for (; i < struck.length; i += p) struck[i]! |= p <= limit ? 1 : 2;
      }
      const at = wasm.place(toBytes(BigInt.asUintN(bits, base), bits / 8).reverse());
      wasm.call("sieveStart");
      while (wasm.call("sieveRun", at, bits / 32, limit, last, 160) !== 0);
      let n = wasm.call("sieveList", 1);
      const visible = [...struck.keys()].filter((i) => !((struck[i] as number) & 1));
      expect(n).toBe(visible.length);
      for (const position of visible) {
        expect(wasm.call("sieveTake", 0, n--)).toBe(position);
        // A few primes beyond the last may be struck as well.
        if (struck[position]) expect(wasm.call("sieveIsHidden", position)).toBe(1);
        else if (wasm.call("sieveIsHidden", position))
          expect(hasFactor(base + 2n * BigInt(position), last, last + 400)).toBe(true);
      }
    }
  });
});

/** Whether a number has a factor in a range. */
function hasFactor(value: bigint, from: number, to: number): boolean {
  for (let f = BigInt(from); f < BigInt(to); f++) if (value % f === 0n) return true;
  return false;
}
