// The fixed-base method: a signed comb.
//
// An odd scalar k < n is written with digits +-1 only: k = sum d[i]*2^i, i < combs*teeth*rows. Bit position i = row +
// rows*(tooth + teeth*comb). From the highest row down, the sum is doubled and for every comb the entry of its teeth's digits
// in this row is added, highest comb first: 2^(rows*teeth*comb) * sum(+-2^(rows*tooth)) * G. An entry and its negative are one table place, so
// that the table holds those whose highest tooth is +1.
import { add, multiply, negate } from "./curves.mjs";

/** table[comb][index]: bit t of the index says whether tooth t is +1; the highest tooth is +1. */
export function combTable(curve) {
  const [combs, teeth, rows] = curve.comb;
  return Array.from({ length: combs }, (_, comb) => {
    const powers = Array.from({ length: teeth }, (_, tooth) =>
      multiply(curve, 1n << BigInt(rows * (tooth + teeth * comb))),
    );
    return Array.from({ length: 2 ** (teeth - 1) }, (_, index) =>
      powers.reduce((sum, power, tooth) => {
        const plus = tooth === teeth - 1 || (index >> tooth) & 1;
        return add(curve, sum, plus ? power : negate(curve, power));
      }, null),
    );
  });
}

/** 1G, 3G, 5G, ... */
export function oddMultiples(curve) {
  const twice = multiply(curve, 2n);
  const table = [];
  for (let P = [curve.gx, curve.gy]; table.length < curve.odd; P = add(curve, P, twice)) table.push(P);
  return table;
}

/** What a comb adds in row 0, for every choice of its teeth's digits. */
function entries(curve, comb) {
  const [, teeth, rows] = curve.comb;
  return Array.from({ length: 2 ** teeth }, (_, signs) => {
    let sum = 0n;
    for (let tooth = 0; tooth < teeth; tooth++) {
      const power = 1n << BigInt(rows * (tooth + teeth * comb));
      sum += (signs >> tooth) & 1 ? power : -power;
    }
    return sum;
  });
}

/** What a comb adds in row 0 for the odd scalar k. */
function entryOf(curve, k, comb) {
  const [combs, teeth, rows] = curve.comb;
  const recoded = (k + (1n << BigInt(combs * teeth * rows)) - 1n) >> 1n;
  let sum = 0n;
  for (let tooth = 0; tooth < teeth; tooth++) {
    const at = BigInt(rows * (tooth + teeth * comb));
    sum += (recoded >> at) & 1n ? 1n << at : -(1n << at);
  }
  return sum;
}

/**
 * The odd scalars for which an addition of the comb other than the very last would meet an exceptional case of the incomplete
 * formula: the running sum A is 0, e or -e modulo n when the entry e is added. (In the last addition, A = 0 and A = -e mean
 * that the addition before was exceptional or k = 0; A = e can happen, and that addition allows for it.)
 *
 * As integers, A and A-+e are sums of distinct powers of two with signs, hence not 0; so they would have to be j*n, j != 0.
 * In rows above row 0 they are smaller than n (asserted). In row 0, A = k minus the entries from e on, so k = y + j*n where y
 * follows from these entries and the case: all are tried, from the last addition (comb 0) backwards. The digits of a comb
 * depend only on the bits of k up to its own, which higher combs' entries do not touch: whatever contradicts is dropped early.
 */
export function exceptionalScalars(curve) {
  const [combs] = curve.comb;
  // Row r > 0: k = 2^r*A' + (lower rows) where A' is A with all of row r, so |A'| <= (n + (2^r - 1)*row)/2^r, and
  // A, A - e, A + e are A' minus entries of the row, one of them perhaps twice.
  const most = Array.from({ length: combs }, (_, comb) => entries(curve, comb).at(-1));
  const row = most.reduce((sum, e) => sum + e);
  if ((curve.n + row) / 2n + row + most.at(-1) >= curve.n)
    throw new Error(`${curve.name}: too long a comb for the proof`);
  const found = new Set();
  const visit = (comb, later, multiple) => {
    for (const entry of entries(curve, comb)) {
      for (const y of comb > 0 ? [2n * entry, 0n, entry] : []) {
        const k = y + later + multiple;
        if (k > 0n && k < curve.n && k & 1n && entryOf(curve, k, comb) === entry) found.add(k);
      }
      const next = later + entry;
      if (comb + 1 < combs && entryOf(curve, next + multiple, comb) === entry) visit(comb + 1, next, multiple);
    }
  };
  visit(0, 0n, curve.n);
  visit(0, 0n, -curve.n);
  return [...found];
}

/** Throws if the comb's additions are not free of exceptional cases. */
export function checkComb(curve) {
  const found = exceptionalScalars(curve);
  if (found.length) throw new Error(`${curve.name}: exceptional scalars ${found.map((k) => k.toString(16))}`);
}
