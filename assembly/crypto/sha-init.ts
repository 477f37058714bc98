// The initial hash values of SHA-1 and SHA-2 (FIPS 180-4, 5.3); the compression functions are generated.

/** The initial hash value of SHA-1. */
const INITIAL_1: usize = memory.data<u32>([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]);

/** The initial hash value of SHA-256. */
const INITIAL_256: usize = memory.data<u32>([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);

/** The initial hash value of SHA-384. */
const INITIAL_384: usize = memory.data<u64>([
  0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939, 0x67332667ffc00b31,
  0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
]);

/** The initial hash value of SHA-512. */
const INITIAL_512: usize = memory.data<u64>([
  0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1, 0x510e527fade682d1,
  0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
]);

/** Starts SHA-1: stores 5 u32 at `state`. */
export function sha1Init(state: usize): void {
  v128.store(state, v128.load(INITIAL_1));
  store<u32>(state, load<u32>(INITIAL_1, 16), 16);
}

/** Starts SHA-256: stores 8 u32 at `state`. */
export function sha256Init(state: usize): void {
  v128.store(state, v128.load(INITIAL_256));
  v128.store(state, v128.load(INITIAL_256, 16), 16);
}

/** Starts SHA-384: stores 8 u64 at `state`. */
export function sha384Init(state: usize): void {
  memory.copy(state, INITIAL_384, 64);
}

/** Starts SHA-512: stores 8 u64 at `state`. */
export function sha512Init(state: usize): void {
  memory.copy(state, INITIAL_512, 64);
}
