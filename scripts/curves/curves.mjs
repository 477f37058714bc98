// The curves of the TPM 2.0 library (TPM_ECC_CURVE, Part 2, 6.4) and how each is configured. Every one has cofactor 1.
//
// NIST P-192 ... P-521: FIPS 186-4, D.1.2. SM2 P-256: GM/T 0003.5. BN-256 and BN-638: ISO/IEC 15946-5.
//
// comb: [combs, teeth, rows] of the fixed-base table: the scalar's bits are read as combs*teeth strings of `rows` bits.
// odd: how many odd multiples 1G, 3G, 5G... stand in the table for signature verification (0: computed when needed).

const value = (hex) => BigInt(`0x${hex.replaceAll(" ", "")}`);

/** Primes as signed powers of two, for those that have their own reduction: [exponent, sign]. */
export const kernelPrimes = {
  p256: {
    width: 29,
    limbs: 9,
    terms: [
      [256, 1],
      [224, -1],
      [192, 1],
      [96, 1],
      [0, -1],
    ],
  },
  p384: {
    width: 28,
    limbs: 14,
    terms: [
      [384, 1],
      [128, -1],
      [96, -1],
      [32, 1],
      [0, -1],
    ],
  },
  p521: {
    width: 28,
    limbs: 19,
    terms: [
      [521, 1],
      [0, -1],
    ],
  },
};

const minusThree = (curve) => ({ ...curve, a: curve.p - 3n });

export const curves = [
  minusThree({
    name: "p192",
    bits: 192,
    p: 2n ** 192n - 2n ** 64n - 1n,
    b: value("64210519 e59c80e7 0fa7e9ab 72243049 feb8deec c146b9b1"),
    gx: value("188da80e b03090f6 7cbf20eb 43a18800 f4ff0afd 82ff1012"),
    gy: value("07192b95 ffc8da78 631011ed 6b24cdd5 73f977a1 1e794811"),
    n: value("ffffffff ffffffff ffffffff 99def836 146bc9b1 b4d22831"),
    comb: [2, 5, 20],
    odd: 0,
  }),
  minusThree({
    name: "p224",
    bits: 224,
    p: 2n ** 224n - 2n ** 96n + 1n,
    b: value("b4050a85 0c04b3ab f5413256 5044b0b7 d7bfd8ba 270b3943 2355ffb4"),
    gx: value("b70e0cbd 6bb4bf7f 321390b9 4a03c1d3 56c21122 343280d6 115c1d21"),
    gy: value("bd376388 b5f723fb 4c22dfe6 cd4375a0 5a074764 44d58199 85007e34"),
    n: value("ffffffff ffffffff ffffffff ffff16a2 e0b8f03e 13dd2945 5c5c2a3d"),
    comb: [2, 5, 23],
    odd: 0,
  }),
  minusThree({
    name: "p256",
    bits: 256,
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: value("5ac635d8 aa3a93e7 b3ebbd55 769886bc 651d06b0 cc53b0f6 3bce3c3e 27d2604b"),
    gx: value("6b17d1f2 e12c4247 f8bce6e5 63a440f2 77037d81 2deb33a0 f4a13945 d898c296"),
    gy: value("4fe342e2 fe1a7f9b 8ee7eb4a 7c0f9e16 2bce3357 6b315ece cbb64068 37bf51f5"),
    n: value("ffffffff 00000000 ffffffff ffffffff bce6faad a7179e84 f3b9cac2 fc632551"),
    comb: [4, 6, 11],
    odd: 64,
  }),
  minusThree({
    name: "p384",
    bits: 384,
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: value(
      "b3312fa7 e23ee7e4 988e056b e3f82d19 181d9c6e fe814112 0314088f 5013875a c656398d 8a2ed19d 2a85c8ed d3ec2aef",
    ),
    gx: value(
      "aa87ca22 be8b0537 8eb1c71e f320ad74 6e1d3b62 8ba79b98 59f741e0 82542a38 5502f25d bf55296c 3a545e38 72760ab7",
    ),
    gy: value(
      "3617de4a 96262c6f 5d9e98bf 9292dc29 f8f41dbd 289a147c e9da3113 b5f0b8c0 0a60b1ce 1d7e819d 7a431d7c 90ea0e5f",
    ),
    n: value(
      "ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff c7634d81 f4372ddf 581a0db2 48b0a77a ecec196a ccc52973",
    ),
    comb: [4, 6, 16],
    odd: 32,
  }),
  minusThree({
    name: "p521",
    bits: 521,
    p: 2n ** 521n - 1n,
    b: value(
      "0051 953eb961 8e1c9a1f 929a21a0 b68540ee a2da725b 99b315f3 b8b48991 8ef109e1" +
        "56193951 ec7e937b 1652c0bd 3bb1bf07 3573df88 3d2c34f1 ef451fd4 6b503f00",
    ),
    gx: value(
      "00c6 858e06b7 0404e9cd 9e3ecb66 2395b442 9c648139 053fb521 f828af60 6b4d3dba" +
        "a14b5e77 efe75928 fe1dc127 a2ffa8de 3348b3c1 856a429b f97e7e31 c2e5bd66",
    ),
    gy: value(
      "0118 39296a78 9a3bc004 5c8a5fb4 2c7d1bd9 98f54449 579b4468 17afbd17 273e662c" +
        "97ee7299 5ef42640 c550b901 3fad0761 353c7086 a272c240 88be9476 9fd16650",
    ),
    n: value(
      "01ff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff fffffffa" +
        "51868783 bf2f966b 7fcc0148 f709a5d0 3bb5c9b8 899c47ae bb6fb71e 91386409",
    ),
    comb: [2, 5, 53],
    odd: 0,
  }),
  {
    name: "bn256",
    bits: 256,
    p: value("ffffffff fffcf0cd 46e5f25e ee71a49f 0cdc65fb 12980a82 d3292ddb aed33013"),
    a: 0n,
    b: 3n,
    gx: 1n,
    gy: 2n,
    n: value("ffffffff fffcf0cd 46e5f25e ee71a49e 0cdc65fb 1299921a f62d536c d10b500d"),
    comb: [2, 5, 26],
    odd: 0,
  },
  {
    name: "bn638",
    bits: 638,
    p: value(
      "23fffffd c000000d 7fffffb8 000001d3 fffff942 d000165e 3fff9487 0000d52f fffdd0e0 0008de55" +
        "c0008652 0021e55b fffff51f fff4eb80 0000004c 80015acd ffffffff ffffece0 00000000 00000067",
    ),
    a: 0n,
    b: 0x101n,
    gx: -1n,
    gy: 0x10n,
    n: value(
      "23fffffd c000000d 7fffffb8 000001d3 fffff942 d000165e 3fff9487 0000d52f fffdd0e0 0008de55" +
        "60008655 0021e555 fffff54f fff4eac0 00000049 800154d9 ffffffff ffffeda0 00000000 00000061",
    ),
    comb: [2, 5, 64],
    odd: 0,
  },
  minusThree({
    name: "sm2",
    bits: 256,
    p: 2n ** 256n - 2n ** 224n - 2n ** 96n + 2n ** 64n - 1n,
    b: value("28e9fa9e 9d9f5e34 4d5a9e4b cf6509a7 f39789f5 15ab8f92 ddbcbd41 4d940e93"),
    gx: value("32c4ae2c 1f198119 5f990446 6a39c994 8fe30bbf f2660be1 715a4589 334c74c7"),
    gy: value("bc3736a2 f4f6779c 59bdcee3 6b692153 d0a9877c c62a4740 02df32e5 2139f0a0"),
    n: value("fffffffe ffffffff ffffffff ffffffff 7203df6b 21c6052b 53bbf409 39d54123"),
    comb: [2, 5, 26],
    odd: 0,
  }),
].map((curve, id) => ({ ...curve, id, gx: mod(curve.gx, curve.p) }));

export function mod(x, m) {
  const r = x % m;
  return r < 0n ? r + m : r;
}

export function invert(x, m) {
  let [r0, r1, s0, s1] = [m, mod(x, m), 0n, 1n];
  while (r1) {
    const q = r0 / r1;
    [r0, r1, s0, s1] = [r1, r0 - q * r1, s1, s0 - q * s1];
  }
  return mod(s0, m);
}

/** Sum of two affine points ([x, y], or null for infinity). */
export function add(curve, P, Q) {
  if (!P) return Q;
  if (!Q) return P;
  if (P[0] === Q[0] && P[1] !== Q[1]) return null;
  const slope =
    P[0] === Q[0]
      ? mod((3n * P[0] * P[0] + curve.a) * invert(2n * P[1], curve.p), curve.p)
      : mod((Q[1] - P[1]) * invert(Q[0] - P[0], curve.p), curve.p);
  const x = mod(slope * slope - P[0] - Q[0], curve.p);
  return [x, mod(slope * (P[0] - x) - P[1], curve.p)];
}

export const negate = (curve, P) => P && [P[0], mod(-P[1], curve.p)];

/** [k]P */
export function multiply(curve, k, P = [curve.gx, curve.gy]) {
  let result = null;
  for (let rest = mod(k, curve.n), doubled = P; rest; rest >>= 1n, doubled = add(curve, doubled, doubled)) {
    if (rest & 1n) result = add(curve, result, doubled);
  }
  return result;
}
