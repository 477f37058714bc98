import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { add, type CurveModel, mod, multiply, type Point, randomBelow, toBig, toBytes } from "../support/ecc-model.ts";
import { byName, bytesOf, curves, HASHES, wasm } from "../support/ecc-sign.ts";
import { Seeded } from "../support/seeded.ts";

interface Party {
  ds: bigint;
  de: bigint;
  Qs: Point;
  Qe: Point;
}

function newParty(curve: CurveModel, random: Seeded): Party {
  const [ds, de] = [0, 1].map(() => randomBelow(random, curve.n - 1n) + 1n) as [bigint, bigint];
  return { ds, de, Qs: multiply(curve, ds), Qe: multiply(curve, de) };
}

function exchange(curve: CurveModel, name: string, { ds, de }: Pick<Party, "ds" | "de">, Qs: Point, Qe: Point): Point {
  const [x, y] = [wasm.reserve(curve.bytes), wasm.reserve(curve.bytes)];
  const numbers = [ds, de, Qs![0], Qs![1], Qe![0], Qe![1]].map((v) => bytesOf(curve, v));
  if (wasm.call(name, curve.id, ...numbers, x, y) === 0) return null;
  return [toBig(wasm.read(x, curve.bytes)), toBig(wasm.read(y, curve.bytes))];
}

/** The associated value of a point: SP 800-56A, 5.7.2.2, or with SM2's width. */
const associated = (width: number, P: Point) => (1n << BigInt(width)) + (P![0] & ((1n << BigInt(width)) - 1n));

/** Both exchanges by their definitions, seen from party A. */
const definitions = {
  ecmqvExchange(curve: CurveModel, a: Party, b: Party): Point {
    const width = Math.ceil(curve.bits / 2);
    const t = mod(a.de + associated(width, a.Qe) * a.ds, curve.n);
    return multiply(curve, t, add(curve, b.Qe, multiply(curve, associated(width, b.Qe), b.Qs)));
  },
  sm2Exchange(curve: CurveModel, a: Party, b: Party): Point {
    const width = Math.ceil(curve.bits / 2) - 1;
    const t = mod(a.ds + associated(width, a.Qe) * a.de, curve.n);
    return multiply(curve, t, add(curve, b.Qs, multiply(curve, associated(width, b.Qe), b.Qe)));
  },
};

const cases = curves.flatMap((curve) =>
  Object.entries(definitions).map(([exchangeName, define]) => ({ curve, name: curve.name, exchangeName, define })),
);

describe.each(cases)("$exchangeName on $name", ({ curve, exchangeName, define }) => {
  const random = new Seeded(`${exchangeName} on ${curve.name}`);

  it("gives both sides the defined point", () => {
    for (let i = 0; i < 12; i++) {
      wasm.reset();
      const [a, b] = [newParty(curve, random), newParty(curve, random)];
      const Z = define(curve, a, b);
      expect(exchange(curve, exchangeName, a, b.Qs, b.Qe)).toEqual(Z);
      expect(exchange(curve, exchangeName, b, a.Qs, a.Qe)).toEqual(Z);
    }
  });

  it("refuses points off the curve, keys out of range, and a sum at infinity", () => {
    const [a, b] = [newParty(curve, random), newParty(curve, random)];
    const off: Point = [b.Qs![0], mod(b.Qs![1] + 1n, curve.p)];
    expect(exchange(curve, exchangeName, a, off, b.Qe)).toBeNull();
    expect(exchange(curve, exchangeName, a, b.Qs, off)).toBeNull();
    for (const bad of [0n, curve.n]) {
      expect(exchange(curve, exchangeName, { ...a, ds: bad }, b.Qs, b.Qe)).toBeNull();
      expect(exchange(curve, exchangeName, { ...a, de: bad }, b.Qs, b.Qe)).toBeNull();
    }
    // The other side's points cancel: plain = -avf(Qe)*weighted.
    const width = Math.ceil(curve.bits / 2) - (exchangeName === "sm2Exchange" ? 1 : 0);
    const avf = associated(width, b.Qe);
    const minus = (k: bigint) => multiply(curve, mod(-k, curve.n));
    if (exchangeName === "sm2Exchange") {
      expect(exchange(curve, exchangeName, a, minus(avf * b.de), b.Qe)).toBeNull();
      const own = associated(width, a.Qe);
      expect(exchange(curve, exchangeName, { ...a, ds: mod(-own * a.de, curve.n) }, b.Qs, b.Qe)).toBeNull();
    }
  });
});

describe.each(curves)("ECC_Encrypt on $name", (curve) => {
  const hashes = HASHES.map((hash, id) => ({ hash, id, size: createHash(hash).digest().length }));

  /** KDF2 and the check value, written from Part 1, Annex C, as libtpms computes them. */
  function expected(hash: string, P: Point, message: Uint8Array) {
    const [x, y] = P!.map((v) => bytesOf(curve, v)) as [Uint8Array, Uint8Array];
    const mask: Uint8Array[] = [];
    for (let counter = 1, have = 0; have < message.length; counter++) {
      const block = createHash(hash)
        .update(x)
        .update(y)
        .update(toBytes(BigInt(counter), 4))
        .digest();
      mask.push(block);
      have += block.length;
    }
    const stream = Buffer.concat(mask);
    return {
      c2: message.map((byte, i) => byte ^ stream[i]!),
      c3: new Uint8Array(createHash(hash).update(x).update(message).update(y).digest()),
    };
  }

  it("encrypts as defined, decrypts, and notices every change", () => {
    const random = new Seeded(`encrypt on ${curve.name}`);
    for (const [i, { hash, id, size }] of hashes.entries()) {
      wasm.reset();
      const d = randomBelow(random, curve.n - 1n) + 1n;
      const k = randomBelow(random, curve.n - 1n) + 1n;
      const Q = multiply(curve, d)!;
      const message = random.bytes([0, 1, 64, 300][i]!);
      const [c1x, c1y] = [wasm.reserve(curve.bytes), wasm.reserve(curve.bytes)];
      const [c2, c3] = [wasm.reserve(message.length), wasm.reserve(size)];
      const draw = toBytes(k - 1n, curve.bytes + 8);
      const [x, y] = Q.map((v) => bytesOf(curve, v)) as [Uint8Array, Uint8Array];
      expect(wasm.call("eccEncrypt", curve.id, id, x, y, draw, message, message.length, c1x, c1y, c2, c3)).toBe(1);
      expect([toBig(wasm.read(c1x, curve.bytes)), toBig(wasm.read(c1y, curve.bytes))]).toEqual(multiply(curve, k));
      const reference = expected(hash, multiply(curve, k, Q), message);
      expect(wasm.read(c2, message.length)).toEqual(reference.c2);
      expect(wasm.read(c3, size)).toEqual(reference.c3);

      const out = wasm.reserve(message.length);
      const key = wasm.place(bytesOf(curve, d));
      const decrypt = () => wasm.call("eccDecrypt", curve.id, id, key, c1x, c1y, c2, message.length, c3, out) | 0;
      expect(decrypt()).toBe(1);
      expect(wasm.read(out, message.length)).toEqual(message);
      const flip = (at: number) =>
        wasm.write(
          at,
          wasm.read(at, 1).map((byte) => byte ^ 1),
        );
      for (const at of message.length > 0 ? [c2, c3] : [c3]) {
        flip(at);
        expect(decrypt()).toBe(-1);
        expect(wasm.read(out, message.length)).toEqual(new Uint8Array(message.length));
        flip(at);
      }
      flip(c1y);
      expect(decrypt()).toBe(0);
    }
  });

  it("refuses a key off the curve", () => {
    const [x, y] = [bytesOf(curve, curve.g![0]), bytesOf(curve, mod(curve.g![1] + 1n, curve.p))];
    const out = wasm.reserve(200);
    const draw = new Uint8Array(curve.bytes + 8);
    expect(wasm.call("eccEncrypt", curve.id, 1, x, y, draw, out, 0, out, out, out, out)).toBe(0);
  });
});

describe("the SM2 example of GM/T 0003.5, A.2", () => {
  it("is the signature that the standard prints", () => {
    const curve = byName("SM2");
    const e = Buffer.from("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640", "hex");
    const d = Buffer.from("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8", "hex");
    const k = 0x59276e27d506861a16680f3ad9c02dccef3cc1fa3cdbe4ce6d54b80deac1bc21n;
    const [r, s] = [wasm.reserve(32), wasm.reserve(32)];
    const draw = toBytes(k - 1n, 40);
    expect(wasm.call("sm2Sign", curve.id, new Uint8Array(d), new Uint8Array(e), 32, draw, r, s)).toBe(1);
    expect(Buffer.from(wasm.read(r, 32)).toString("hex")).toBe(
      "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3",
    );
    expect(Buffer.from(wasm.read(s, 32)).toString("hex")).toBe(
      "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa",
    );
  });
});
