// Shows that the lazy arithmetic of assembly/crypto/ec-point.ts cannot overflow: the same formulas, run on bounds.
//
// An element is bounded by an interval for its value, in multiples of p, and by how many times 2^(width-1) its limbs may
// reach. Starting from affine points, doublings and additions are applied until the bounds of the running point no longer
// grow; on the way every product is checked: the sum of a column fits 64 bits, and the value stays below R.
import { kernelPrimes } from "./curves.mjs";
import { fieldShape } from "./data.mjs";

const STEPS = 1000;

class Bounds {
  constructor(curve) {
    const { width, limbs } = fieldShape(curve);
    this.curve = curve;
    this.width = width;
    this.limbs = limbs;
    this.ratio = Number((1n << BigInt(width * limbs + 20)) / curve.p) / 2 ** 20;
    // What reduction adds to a column: shifted q, or products of q and a limb of p.
    const terms = kernelPrimes[curve.name]?.terms.filter(([exponent]) => exponent > 0);
    this.reduction = terms
      ? terms.reduce((sum, [exponent]) => sum + 2 ** (width + (exponent % width)), 0)
      : limbs * 2 ** (2 * width);
  }

  element(low, high, loose) {
    const most = Math.max(-low, high);
    // The highest limb holds what is left of the value.
    const highest = (most * Number(this.curve.p >> BigInt(this.width * (this.limbs - 1) - 20))) / 2 ** 20 + 1;
    if (most >= this.ratio) throw new Error(`${this.curve.name}: a value may reach R`);
    return { low, high, loose: Math.max(loose, highest / 2 ** (this.width - 1)) };
  }

  product(a, b, low, high) {
    const column = this.limbs * a.loose * b.loose * 2 ** (2 * this.width - 2) + this.reduction;
    // A carry from the column before and a subtracted limb add less than this.
    if (column * (1 + 2 ** (2 - this.width)) + 2 ** (this.width + 4) >= 2 ** 63) {
      throw new Error(`${this.curve.name}: a column may overflow`);
    }
    return this.element(low / this.ratio, high / this.ratio + 1, 1);
  }

  mul(a, b) {
    const corners = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
    return this.product(a, b, Math.min(...corners), Math.max(...corners));
  }

  sqr(a) {
    const least = a.low <= 0 && a.high >= 0 ? 0 : Math.min(a.low ** 2, a.high ** 2);
    return this.product(a, a, least, Math.max(a.low ** 2, a.high ** 2));
  }

  /** product - c in one pass: the limbs come out balanced. */
  minus(product, c) {
    return this.element(product.low - c.high, product.high - c.low, 1);
  }

  add(a, b) {
    return this.element(a.low + b.low, a.high + b.high, a.loose + b.loose);
  }

  sub(a, b) {
    return this.element(a.low - b.high, a.high - b.low, a.loose + b.loose);
  }

  shl(a, bits) {
    return this.element(a.low * 2 ** bits, a.high * 2 ** bits, a.loose * 2 ** bits);
  }

  /** Either of two, or for y either sign. */
  either(a, b, signed) {
    const low = Math.min(a.low, b.low);
    const high = Math.max(a.high, b.high);
    const most = Math.max(-low, high);
    return this.element(signed ? -most : low, signed ? most : high, Math.max(a.loose, b.loose));
  }

  /** pointDouble */
  double([X, Y, Z]) {
    let t2;
    if (this.curve.a === 0n) t2 = this.sqr(X);
    else {
      const t0 = this.sqr(Z);
      t2 = this.mul(this.sub(X, t0), this.add(X, t0));
    }
    t2 = this.add(t2, this.shl(t2, 1));
    const z = this.mul(Z, this.shl(Y, 1));
    const t1 = this.shl(this.sqr(Y), 1);
    const t3 = this.mul(X, t1);
    const x = this.minus(this.sqr(t2), this.shl(t3, 2));
    const t4 = this.shl(this.sqr(t1), 1);
    return [x, this.minus(this.mul(t2, this.sub(this.shl(t3, 1), x)), t4), z];
  }

  /** pointAdd */
  addAffine([X, Y, Z], [x2, y2]) {
    const t0 = this.sqr(Z);
    const h = this.minus(this.mul(x2, t0), X);
    const r = this.minus(this.mul(y2, this.mul(t0, Z)), Y);
    const hh = this.sqr(h);
    const v = this.mul(hh, X);
    const hhh = this.mul(hh, h);
    const x = this.minus(this.sqr(r), this.add(hhh, this.shl(v, 1)));
    return [x, this.minus(this.mul(r, this.sub(v, x)), this.mul(Y, hhh)), this.mul(Z, h)];
  }
}

/** Throws if the point arithmetic might overflow on this curve. */
export function checkBounds(curve) {
  const bounds = new Bounds(curve);
  const one = bounds.element(0, 1, 1);
  // What is added: a point of a table or, to make such tables, the X and Y of a doubled one. Tables hold products.
  const table = [bounds.element(-0.5, 1.5, 1), bounds.element(-1.5, 1.5, 1)];
  const doubled = bounds.double([...table, one]);
  const added = table.map((b, i) => bounds.either(b, doubled[i], i === 1));
  let point = [...table, one];
  for (let step = 0; step < STEPS; step++) {
    const results = [bounds.double(point), bounds.addAffine(point, added)];
    const next = point.map((old, i) => results.reduce((sum, result) => bounds.either(sum, result[i], i === 1), old));
    const grown = next.some((b, i) => b.low < point[i].low - 1e-9 || b.high > point[i].high + 1e-9);
    point = next;
    if (!grown) return;
  }
  throw new Error(`${curve.name}: the bounds of the point arithmetic do not settle`);
}
