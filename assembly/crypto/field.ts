// What the point arithmetic needs of a field. It is written once, generic over a class of these methods (F, used without an
// instance: changetype<F>(0)), so that curves with fast reduction get their own inlined copy. Elements are addresses of
// limbs, see field-montgomery.ts; d may be any of the operands.
//
//   vectors                    16-byte vectors of an element; a packed point has as many
//   aIsZero                    whether the curve's coefficient a is 0 instead of -3
//   mul, mulSub, sqr, sqrSub   d = a*b, a*b - c, a*a, a*a - c: balanced limbs
//   add, sub, shl, addShl      d = a + b, a - b, a*2^bits, a + b*2^bits, without carrying
//   copy, negateMasked         d = a; d = -d where the mask (0 or -1) is set
//   gather                     x, y = table[index] of `count` packed points; touches them all
import { FIELD, loadedCurve } from "./ec-curve";
import { Modulus, montgomeryMul, montgomeryMulSub } from "./field-montgomery";

/** The loaded curve's field, whichever it is. */
@unmanaged
@final
export class FieldLoaded {
  @inline
  get vectors(): u32 {
    return (changetype<Modulus>(FIELD).limbs + 1) >> 1;
  }

  @inline
  get aIsZero(): bool {
    return loadedCurve().aIsZero != 0;
  }

  @inline
  mul(d: usize, a: usize, b: usize): void {
    montgomeryMul(d, a, b, FIELD);
  }

  @inline
  mulSub(d: usize, a: usize, b: usize, c: usize): void {
    montgomeryMulSub(d, a, b, c, FIELD);
  }

  @inline
  sqr(d: usize, a: usize): void {
    montgomeryMul(d, a, a, FIELD);
  }

  @inline
  sqrSub(d: usize, a: usize, c: usize): void {
    montgomeryMulSub(d, a, a, c, FIELD);
  }

  add(d: usize, a: usize, b: usize): void {
    const end = this.vectors << 4;
    for (let i: usize = 0; i < end; i += 16) v128.store(d + i, i64x2.add(v128.load(a + i), v128.load(b + i)));
  }

  sub(d: usize, a: usize, b: usize): void {
    const end = this.vectors << 4;
    for (let i: usize = 0; i < end; i += 16) v128.store(d + i, i64x2.sub(v128.load(a + i), v128.load(b + i)));
  }

  shl(d: usize, a: usize, bits: i32): void {
    const end = this.vectors << 4;
    for (let i: usize = 0; i < end; i += 16) v128.store(d + i, i64x2.shl(v128.load(a + i), bits));
  }

  addShl(d: usize, a: usize, b: usize, bits: i32): void {
    const end = this.vectors << 4;
    for (let i: usize = 0; i < end; i += 16) {
      v128.store(d + i, i64x2.add(v128.load(a + i), i64x2.shl(v128.load(b + i), bits)));
    }
  }

  @inline
  copy(d: usize, a: usize): void {
    memory.copy(d, a, this.vectors << 4);
  }

  negateMasked(d: usize, mask: i64): void {
    const sign = i64x2.splat(mask);
    const end = this.vectors << 4;
    for (let i: usize = 0; i < end; i += 16) v128.store(d + i, i64x2.sub(v128.xor(v128.load(d + i), sign), sign));
  }

  gather(x: usize, y: usize, table: usize, count: u32, index: u32): void {
    const size = this.vectors << 4;
    const half = size >> 1;
    const wanted = i32x4.splat(index);
    const one = i32x4.splat(1);
    for (let offset: usize = 0; offset < size; offset += 16) {
      let found = i32x4.splat(0);
      let at = i32x4.splat(0);
      let entry = table + offset;
      for (let i: u32 = 0; i < count; i++) {
        found = v128.or(found, v128.and(i32x4.eq(at, wanted), v128.load(entry)));
        at = i32x4.add(at, one);
        entry += size;
      }
      scatter(x, y, half, offset, i64x2.extend_low_i32x4_s(found));
      scatter(x, y, half, offset + 8, i64x2.extend_high_i32x4_s(found));
    }
  }
}

/** Stores two limbs of a packed point: `offset` counts its bytes, the second `half` of them belongs to y. */
@inline
function scatter(x: usize, y: usize, half: usize, offset: usize, limbs: v128): void {
  v128.store(offset < half ? x + (offset << 1) : y + ((offset - half) << 1), limbs);
}
