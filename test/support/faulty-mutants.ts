// State files that went wrong in every way a file can.
import type { Seeded } from "./seeded.ts";

const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0xff] as const;

type Mutation = (bytes: Buffer, random: Seeded, other: Buffer) => Buffer;

const position = (bytes: Buffer, random: Seeded) => random.below(Math.max(1, bytes.length));

/** A place, mostly near the beginning, where headers and counts are. */
const early = (bytes: Buffer, random: Seeded) =>
  random.below(2) === 0 ? position(bytes, random) : random.below(Math.min(bytes.length, 160) + 1);

const mutations: readonly Mutation[] = [
  // Cut off, or with something behind its end.
  (bytes, random) => bytes.subarray(0, position(bytes, random)),
  (bytes, random) => Buffer.concat([bytes, random.bytes(1 + random.below(300))]),
  // Bits, bytes and words.
  (bytes, random) => flip(bytes, () => early(bytes, random), 1, random),
  (bytes, random) => flip(bytes, () => position(bytes, random), 1 + random.below(20), random),
  (bytes, random) => overwrite(bytes, early(bytes, random), Buffer.of(random.pick(INTERESTING))),
  (bytes, random) => overwrite(bytes, early(bytes, random), Buffer.alloc(4, random.pick(INTERESTING))),
  (bytes, random) => overwrite(bytes, position(bytes, random), random.bytes(1 + random.below(64))),
  (bytes, random) => overwrite(bytes, position(bytes, random), Buffer.alloc(1 + random.below(600))),
  // Pieces moved, doubled, left out, or of another file.
  (bytes, random) => {
    const [from, to] = [position(bytes, random), position(bytes, random)];
    return overwrite(bytes, to, bytes.subarray(from, from + random.below(200)));
  },
  (bytes, random) => {
    const at = position(bytes, random);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(50))]);
  },
  (bytes, random) => {
    const at = position(bytes, random);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + 40), bytes.subarray(at)]);
  },
  (bytes, random, other) => {
    const at = position(bytes, random);
    return Buffer.concat([bytes.subarray(0, at), other.subarray(at)]);
  },
  // Something else altogether.
  (bytes, random) => Buffer.from(random.bytes(random.below(2 * bytes.length))),
  (bytes, random) => Buffer.concat([bytes.subarray(0, early(bytes, random)), random.bytes(random.below(bytes.length))]),
];

function flip(bytes: Buffer, at: () => number, count: number, random: Seeded): Buffer {
  const mutant = Buffer.from(bytes);
  for (let i = 0; i < count && mutant.length > 0; i++) {
    const place = Math.min(at(), mutant.length - 1);
    mutant[place] = mutant[place]! ^ (1 << random.below(8));
  }
  return mutant;
}

function overwrite(bytes: Buffer, at: number, piece: Uint8Array): Buffer {
  const mutant = Buffer.from(bytes);
  mutant.set(piece.subarray(0, Math.max(0, mutant.length - at)), Math.min(at, mutant.length));
  return mutant;
}

/** The file with one to three things wrong; `other` is a file to take pieces from. */
export function mutant(bytes: Buffer, other: Buffer, random: Seeded): Buffer {
  let result = bytes;
  for (let count = 1 + (random.below(3) === 0 ? random.below(3) : 0); count > 0; count--)
    result = random.pick(mutations)(result, random, other);
  return result;
}
