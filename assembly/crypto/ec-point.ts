// Points in Jacobian coordinates, (X/Z^2, Y/Z^3): three elements in Montgomery form after one another. Z = 0 is infinity.
//
// Doubling: 4M + 4S for a = -3 ("dbl-2001-b"). Addition of an affine point: 8M + 3S. Neither branches on values. The addition
// is incomplete: of equal points, opposite points or a point at infinity it makes Z = 0, which every later operation keeps. So
// a computation ends in Z = 0 if its result is infinity or an exceptional case occurred; multiplication (ec-multiply.ts)
// knows which cases its scalars can lead to.
import { FIELD } from "./ec-curve";
import { ELEMENT_SIZE, MODULUS_ONE, Modulus, montgomeryFromWords, montgomeryToWords } from "./field-montgomery";
import { invertWords } from "./field-inverse";
import { bnIsZero } from "./bn";

export const POINT_Y: u32 = ELEMENT_SIZE;
export const POINT_Z: u32 = 2 * ELEMENT_SIZE;
export const POINT_SIZE: u32 = 3 * ELEMENT_SIZE;

const TEMPORARY: usize = memory.data(1344, 16);
const T0: usize = TEMPORARY;
const T1: usize = TEMPORARY + ELEMENT_SIZE;
const T2: usize = TEMPORARY + 2 * ELEMENT_SIZE;
const T3: usize = TEMPORARY + 3 * ELEMENT_SIZE;
const T4: usize = TEMPORARY + 4 * ELEMENT_SIZE;
const T5: usize = TEMPORARY + 5 * ELEMENT_SIZE;
const T6: usize = TEMPORARY + 6 * ELEMENT_SIZE;
const DOUBLED: usize = memory.data(576, 16);
const WORDS: usize = memory.data(96, 16);

/** P = 2P */
export function pointDouble<F>(P: usize): void {
  const f = changetype<F>(0);
  const y = P + POINT_Y;
  const z = P + POINT_Z;
  // alpha = 3*X^2 + a*Z^4
  if (f.aIsZero) {
    f.sqr(T2, P);
  } else {
    f.sqr(T0, z);
    f.sub(T2, P, T0);
    f.add(T3, P, T0);
    f.mul(T2, T2, T3);
  }
  f.addShl(T2, T2, T2, 1);
  f.shl(T3, y, 1);
  f.mul(z, z, T3);
  f.sqr(T1, y);
  f.shl(T1, T1, 1);
  // 2*beta = 2*X*Y^2; X' = alpha^2 - 8*beta; Y' = alpha*(4*beta - X') - 8*Y^4
  f.mul(T3, P, T1);
  f.shl(T4, T3, 2);
  f.sqrSub(P, T2, T4);
  f.shl(T3, T3, 1);
  f.sub(T3, T3, P);
  f.sqr(T4, T1);
  f.shl(T4, T4, 1);
  f.mulSub(y, T2, T3, T4);
}

/** P += (x, y); leaves H = x*Z^2 - X in T1 and R = y*Z^3 - Y in T2. */
export function pointAdd<F>(P: usize, x: usize, y: usize): void {
  const f = changetype<F>(0);
  const Y = P + POINT_Y;
  const Z = P + POINT_Z;
  f.sqr(T0, Z);
  f.mulSub(T1, x, T0, P);
  f.mul(T0, T0, Z);
  f.mulSub(T2, y, T0, Y);
  // Z' = Z*H; X' = R^2 - H^3 - 2*X*H^2; Y' = R*(X*H^2 - X') - Y*H^3
  f.mul(Z, Z, T1);
  f.sqr(T3, T1);
  f.mul(T4, T3, P);
  f.mul(T3, T3, T1);
  f.addShl(T5, T3, T4, 1);
  f.mul(T6, Y, T3);
  f.sqrSub(P, T2, T5);
  f.sub(T4, T4, P);
  f.mulSub(Y, T2, T4, T6);
}

/** P += (x, y) where P may also be that point itself; the time does not tell. */
export function pointAddOrDouble<F>(P: usize, x: usize, y: usize): void {
  const f = changetype<F>(0);
  f.copy(DOUBLED, P);
  f.copy(DOUBLED + POINT_Y, P + POINT_Y);
  f.copy(DOUBLED + POINT_Z, P + POINT_Z);
  pointDouble<F>(DOUBLED);
  pointAdd<F>(P, x, y);
  const equal = elementIsZero(T1) & elementIsZero(T2);
  for (let i: usize = 0; i < POINT_SIZE; i += ELEMENT_SIZE) elementCopyMasked<F>(P + i, DOUBLED + i, equal);
}

/** P += (x, y) in every case, for public points: its time tells the case. */
export function pointAddAny<F>(P: usize, x: usize, y: usize): void {
  if (pointIsInfinity(P)) {
    pointSet<F>(P, x, y);
    return;
  }
  pointAddOrDouble<F>(P, x, y);
}

/** P = (x, y) */
export function pointSet<F>(P: usize, x: usize, y: usize): void {
  const f = changetype<F>(0);
  f.copy(P, x);
  f.copy(P + POINT_Y, y);
  f.copy(P + POINT_Z, FIELD + MODULUS_ONE);
}

/** Mask: P is infinity. */
export function pointIsInfinity(P: usize): u32 {
  return elementIsZero(P + POINT_Z);
}

/** Words of the affine coordinates; 0, 0 for infinity. */
export function pointToWords<F>(P: usize, x: usize, y: usize): void {
  const f = changetype<F>(0);
  montgomeryToWords(WORDS, P + POINT_Z, FIELD);
  invertWords(WORDS, FIELD);
  montgomeryFromWords(T0, WORDS, FIELD);
  f.sqr(T1, T0);
  f.mul(T2, P, T1);
  montgomeryToWords(x, T2, FIELD);
  f.mul(T1, T1, T0);
  f.mul(T2, P + POINT_Y, T1);
  montgomeryToWords(y, T2, FIELD);
  memory.fill(WORDS, 0, 96);
}

/**
 * Packs the odd multiples 1Q, 3Q, ... (2*count - 1)Q of an affine point that is not of small order into `table`; `points` has
 * room for count Jacobian points and `products` for count elements.
 *
 * With 2Q = (X, Y, Z), the map (x, y) -> (x*Z^2, y*Z^3) leads to a curve on which (X, Y) is affine; the formulas of addition
 * do not know a and b, so that all multiples come from mixed additions there. One inversion serves all.
 */
export function pointOddMultiples<F>(
  table: usize,
  count: u32,
  x: usize,
  y: usize,
  points: usize,
  products: usize,
): void {
  const f = changetype<F>(0);
  const z = DOUBLED + POINT_Z;
  pointSet<F>(DOUBLED, x, y);
  pointDouble<F>(DOUBLED);
  f.sqr(T0, z);
  f.mul(points, x, T0);
  f.mul(T0, T0, z);
  f.mul(points + POINT_Y, y, T0);
  f.copy(points + POINT_Z, FIELD + MODULUS_ONE);
  for (let i: u32 = 1; i < count; i++) {
    const next = points + i * POINT_SIZE;
    memory.copy(next, next - POINT_SIZE, POINT_SIZE);
    pointAdd<F>(next, DOUBLED, DOUBLED + POINT_Y);
  }
  // products[i] = the product of the real Z of points 0..i
  for (let i: u32 = 0; i < count; i++) {
    const zi = points + i * POINT_SIZE + POINT_Z;
    const product = products + i * ELEMENT_SIZE;
    f.mul(zi, zi, z);
    if (i == 0) f.copy(product, zi);
    else f.mul(product, product - ELEMENT_SIZE, zi);
  }
  montgomeryToWords(WORDS, products + (count - 1) * ELEMENT_SIZE, FIELD);
  invertWords(WORDS, FIELD);
  montgomeryFromWords(T5, WORDS, FIELD);
  for (let i = count; i-- > 0; ) {
    const point = points + i * POINT_SIZE;
    if (i == 0) f.copy(T0, T5);
    else f.mul(T0, T5, products + (i - 1) * ELEMENT_SIZE);
    f.mul(T5, T5, point + POINT_Z);
    f.sqr(T1, T0);
    f.mul(T2, point, T1);
    f.mul(T1, T1, T0);
    f.mul(T3, point + POINT_Y, T1);
    pack(table + ((i * f.vectors) << 4), T2, T3, f.vectors);
  }
}

/** x and y of an entry of a packed table, in limbs; y negated when asked. For public indices. */
export function pointUnpack<F>(x: usize, y: usize, entry: usize, negated: bool): void {
  const f = changetype<F>(0);
  const limbs = f.vectors << 1;
  for (let i: u32 = 0; i < limbs; i++) {
    store<i64>(x + (i << 3), load<i32>(entry + (i << 2)));
    store<i64>(y + (i << 3), load<i32>(entry + ((i + limbs) << 2)));
  }
  f.negateMasked(y, negated ? -1 : 0);
}

function pack(entry: usize, x: usize, y: usize, vectors: u32): void {
  const limbs = vectors << 1;
  for (let i: u32 = 0; i < limbs; i++) {
    store<i32>(entry + (i << 2), <i32>load<i64>(x + (i << 3)));
    store<i32>(entry + ((i + limbs) << 2), <i32>load<i64>(y + (i << 3)));
  }
}

/** Mask: the element is 0 mod p. */
export function elementIsZero(a: usize): u32 {
  montgomeryToWords(WORDS, a, FIELD);
  return bnIsZero(WORDS, changetype<Modulus>(FIELD).words);
}

function elementCopyMasked<F>(d: usize, a: usize, mask: u32): void {
  const end = changetype<F>(0).vectors << 4;
  const taken = i32x4.splat(mask);
  for (let i: usize = 0; i < end; i += 16) {
    v128.store(d + i, v128.bitselect(v128.load(a + i), v128.load(d + i), taken));
  }
}

/** Removes what is left of secret points. */
export function pointWipe(): void {
  memory.fill(TEMPORARY, 0, 7 * ELEMENT_SIZE);
  memory.fill(DOUBLED, 0, POINT_SIZE);
  memory.fill(WORDS, 0, 96);
}
