// SHA-1 (FIPS 180-4, 6.1).

/** The message schedule W[0..79]: four words at a time are computed by SIMD, and the rounds read them back. */
const SCHEDULE: usize = memory.data(320, 16);

/** Starts SHA-1: stores the initial hash value (5 u32) at `state`. */
export function sha1Init(state: usize): void {
  store<u32>(state, 0x67452301, 0);
  store<u32>(state, 0xefcdab89, 4);
  store<u32>(state, 0x98badcfe, 8);
  store<u32>(state, 0x10325476, 12);
  store<u32>(state, 0xc3d2e1f0, 16);
}

/** Wipes what the last block left in static memory. */
export function sha1Wipe(): void {
  memory.fill(SCHEDULE, 0, 320);
}

@inline
function choose(a: u32, b: u32, c: u32, d: u32, e: u32, w: u32): u32 {
  return e + rotl<u32>(a, 5) + (d ^ (b & (c ^ d))) + 0x5a827999 + w;
}

@inline
function parity(a: u32, b: u32, c: u32, d: u32, e: u32, kw: u32): u32 {
  return e + rotl<u32>(a, 5) + (b ^ c ^ d) + kw;
}

@inline
function majority(a: u32, b: u32, c: u32, d: u32, e: u32, w: u32): u32 {
  return e + rotl<u32>(a, 5) + ((b & c) + (d & (b ^ c))) + 0x8f1bbcdc + w;
}

@inline
function loadWords(at: usize): v128 {
  const x = v128.load(at);
  return i8x16.shuffle(x, x, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
}

@inline
function rotateLanes(x: v128, bits: i32): v128 {
  return v128.or(i32x4.shl(x, bits), i32x4.shr_u(x, 32 - bits));
}

/**
 * W[t..t+3] = ROTL1(W[t-3] ^ W[t-8] ^ W[t-14] ^ W[t-16]) from the four vectors before it. The last lane depends on the
 * first one of the same vector, which is added afterwards.
 */
@inline
function expandShort(w16: v128, w12: v128, w8: v128, w4: v128): v128 {
  const w14 = i8x16.shuffle(w16, w12, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23);
  const zero = i32x4.splat(0);
  const w3 = i8x16.shuffle(w4, zero, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19);
  const x = rotateLanes(v128.xor(v128.xor(w3, w8), v128.xor(w14, w16)), 1);
  const carried = i8x16.shuffle(zero, x, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19);
  return v128.xor(x, rotateLanes(carried, 1));
}

/** Fills SCHEDULE from one block. From W[32] on, W[t] = ROTL2(W[t-6] ^ W[t-16] ^ W[t-28] ^ W[t-32]) has no such overlap. */
@inline
function expandBlock(data: usize): void {
  v128.store(SCHEDULE, loadWords(data), 0);
  v128.store(SCHEDULE, loadWords(data + 16), 16);
  v128.store(SCHEDULE, loadWords(data + 32), 32);
  v128.store(SCHEDULE, loadWords(data + 48), 48);
  for (let t = SCHEDULE; t < SCHEDULE + 64; t += 16) {
    v128.store(t, expandShort(v128.load(t, 0), v128.load(t, 16), v128.load(t, 32), v128.load(t, 48)), 64);
  }
  for (let t = SCHEDULE; t < SCHEDULE + 192; t += 16) {
    const near = v128.xor(v128.load(t, 104), v128.load(t, 64));
    const far = v128.xor(v128.load(t, 16), v128.load(t, 0));
    v128.store(t, rotateLanes(v128.xor(near, far), 2), 128);
  }
}

/** Compresses `blocks` 64-byte blocks at `data` into the hash value at `state`. */
export function sha1Blocks(state: usize, data: usize, blocks: u32): void {
  let h0 = load<u32>(state, 0);
  let h1 = load<u32>(state, 4);
  let h2 = load<u32>(state, 8);
  let h3 = load<u32>(state, 12);
  let h4 = load<u32>(state, 16);
  for (; blocks > 0; blocks--, data += 64) {
    expandBlock(data);
    let a = h0;
    let b = h1;
    let c = h2;
    let d = h3;
    let e = h4;
    let w = SCHEDULE;
    for (; w < SCHEDULE + 80; w += 20) {
      e = choose(a, b, c, d, e, load<u32>(w, 0));
      b = rotl<u32>(b, 30);
      d = choose(e, a, b, c, d, load<u32>(w, 4));
      a = rotl<u32>(a, 30);
      c = choose(d, e, a, b, c, load<u32>(w, 8));
      e = rotl<u32>(e, 30);
      b = choose(c, d, e, a, b, load<u32>(w, 12));
      d = rotl<u32>(d, 30);
      a = choose(b, c, d, e, a, load<u32>(w, 16));
      c = rotl<u32>(c, 30);
    }
    for (; w < SCHEDULE + 160; w += 20) {
      e = parity(a, b, c, d, e, 0x6ed9eba1 + load<u32>(w, 0));
      b = rotl<u32>(b, 30);
      d = parity(e, a, b, c, d, 0x6ed9eba1 + load<u32>(w, 4));
      a = rotl<u32>(a, 30);
      c = parity(d, e, a, b, c, 0x6ed9eba1 + load<u32>(w, 8));
      e = rotl<u32>(e, 30);
      b = parity(c, d, e, a, b, 0x6ed9eba1 + load<u32>(w, 12));
      d = rotl<u32>(d, 30);
      a = parity(b, c, d, e, a, 0x6ed9eba1 + load<u32>(w, 16));
      c = rotl<u32>(c, 30);
    }
    for (; w < SCHEDULE + 240; w += 20) {
      e = majority(a, b, c, d, e, load<u32>(w, 0));
      b = rotl<u32>(b, 30);
      d = majority(e, a, b, c, d, load<u32>(w, 4));
      a = rotl<u32>(a, 30);
      c = majority(d, e, a, b, c, load<u32>(w, 8));
      e = rotl<u32>(e, 30);
      b = majority(c, d, e, a, b, load<u32>(w, 12));
      d = rotl<u32>(d, 30);
      a = majority(b, c, d, e, a, load<u32>(w, 16));
      c = rotl<u32>(c, 30);
    }
    for (; w < SCHEDULE + 320; w += 20) {
      e = parity(a, b, c, d, e, 0xca62c1d6 + load<u32>(w, 0));
      b = rotl<u32>(b, 30);
      d = parity(e, a, b, c, d, 0xca62c1d6 + load<u32>(w, 4));
      a = rotl<u32>(a, 30);
      c = parity(d, e, a, b, c, 0xca62c1d6 + load<u32>(w, 8));
      e = rotl<u32>(e, 30);
      b = parity(c, d, e, a, b, 0xca62c1d6 + load<u32>(w, 12));
      d = rotl<u32>(d, 30);
      a = parity(b, c, d, e, a, 0xca62c1d6 + load<u32>(w, 16));
      c = rotl<u32>(c, 30);
    }
    h0 += a;
    h1 += b;
    h2 += c;
    h3 += d;
    h4 += e;
  }
  store<u32>(state, h0, 0);
  store<u32>(state, h1, 4);
  store<u32>(state, h2, 8);
  store<u32>(state, h3, 12);
  store<u32>(state, h4, 16);
}
