// Random requests to the control channel: well-formed and not, in the right state and not.
import { CMD, words } from "../../src/server/protocol.ts";
import type { Seeded } from "./seeded.ts";

/** What a request is, in the words of the table of known differences. */
export interface ControlRequest {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The body is shorter than the command needs. */
  readonly short?: boolean;
  /** The body is longer than the command needs. */
  readonly long?: boolean;
}

/** State blobs that a TPM gave, by type; what is set is one of them, or one that was spoiled. */
export type Blobs = ReadonlyMap<number, Uint8Array>;

export const BLOB = { PERMANENT: 1, VOLATILE: 2, SAVESTATE: 3 } as const;

const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const request = (name: keyof typeof CMD, body: Uint8Array = new Uint8Array()): ControlRequest => ({
  name,
  bytes: joined(words(CMD[name]), body),
});

/** Header and two field heads before the state itself. */
const CONTAINER_SIZE = 22;
const LOCALITIES = [0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 255];
const INFO_FLAGS = [0, 1, 2, 3, 4, 5, 6, 7];

/** Requests by how often they come. `running`: what the TPM does as far as is known. */
type Maker = readonly [weight: number, make: (random: Seeded, blobs: Blobs, running: boolean) => ControlRequest];

const MAKERS: readonly Maker[] = [
  [2, () => request("GET_CAPABILITY")],
  [12, (random) => request("INIT", words(random.pick([0, 0, 0, 1, 1, 2, 3])))],
  [8, () => request("STOP")],
  [1, () => request("SHUTDOWN")],
  [5, () => request("GET_TPMESTABLISHED")],
  [5, (random) => request("SET_LOCALITY", padded(random, random.pick(LOCALITIES)))],
  [3, (random) => request("RESET_TPMESTABLISHED", padded(random, random.pick(LOCALITIES)))],
  [4, () => request("HASH_START")],
  [4, (random) => request("HASH_DATA", counted(random.bytes(random.pick([0, 1, 20, 64, 500]))))],
  [4, () => request("HASH_END")],
  [2, () => request("CANCEL_TPM_CMD")],
  [5, () => request("STORE_VOLATILE")],
  [10, getStateBlob],
  [10, setStateBlob],
  [1, () => request("GET_CONFIG")],
  [1, () => request("SET_DATAFD")],
  [3, (random) => request("SET_BUFFERSIZE", words(random.pick([0, 0, 1, 1024, 2808, 3000, 4096, 5000, 0xffffffff])))],
  [3, (random) => request("GET_INFO", words(0, random.pick(INFO_FLAGS), random.pick([0, 0, 1, 40, 4000]), 0))],
  [1, (random) => request("LOCK_STORAGE", words(random.below(3)))],
  [1, (random) => ({ name: "unknown", bytes: words(random.pick([0, 0x14, 0x20, 0x100, 0x80010000, 0xffffffff])) })],
];

const EXACT = ["INIT", "SHUTDOWN", "STOP", "GET_TPMESTABLISHED", "HASH_START", "HASH_END", "STORE_VOLATILE"] as const;

export function controlRequest(random: Seeded, blobs: Blobs, running: boolean): ControlRequest {
  // swtpm waits half a second for the rest of a request.
  if (random.below(150) === 0) return tooShort(random);
  switch (random.below(40)) {
    case 0:
      return { ...request(random.pick(EXACT), random.bytes(random.pick([5, 8]))), long: true };
    case 1:
      return tooLong(random);
    default:
      return pick(random, blobs, running);
  }
}

function pick(random: Seeded, blobs: Blobs, running: boolean): ControlRequest {
  let at = random.below(MAKERS.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, make] of MAKERS) {
    if (at < weight) return make(random, blobs, running);
    at -= weight;
  }
  throw new Error("unreachable");
}

/** A locality as tpm2-tss sends it, or as QEMU does. */
function padded(random: Seeded, locality: number): Uint8Array {
  return Uint8Array.of(locality, ...random.bytes(random.pick([0, 3])));
}

/** Sizes of bodies of which something is missing; of those with data the size that they say is 8. */
const SHORT = { INIT: 2, SET_LOCALITY: 0, RESET_TPMESTABLISHED: 0, GET_STATEBLOB: 8, SET_BUFFERSIZE: 3, GET_INFO: 15 };
function tooShort(random: Seeded): ControlRequest {
  const name = random.pick([...Object.keys(SHORT), "HASH_DATA", "SET_STATEBLOB"]) as
    | keyof typeof SHORT
    | "HASH_DATA"
    | "SET_STATEBLOB";
  const body =
    name === "HASH_DATA"
      ? [words(8), random.bytes(7)]
      : name === "SET_STATEBLOB"
        ? [words(0, random.pick([1, 2]), 8), random.bytes(5)]
        : [random.bytes(SHORT[name])];
  return { ...request(name, joined(...body)), short: true };
}

const counted = (data: Uint8Array): Uint8Array => joined(words(data.length), data);

/** More data than the request says. (swtpm 0.7.1 waits for ever after a HASH_DATA of that kind.) */
function tooLong(random: Seeded): ControlRequest {
  return { ...request("SET_STATEBLOB", words(0, random.pick([1, 2, 3]), 2, random.below(100))), long: true };
}

function getStateBlob(random: Seeded): ControlRequest {
  const offset = random.pick([0, 0, 0, 1, 26, 1000, 20_000, 0xffffffff]);
  return request("GET_STATEBLOB", words(random.pick([0, 1]), random.pick([1, 1, 2, 2, 3, 0, 4]), offset));
}

/** A running TPM refuses it before it reads, so that what is sent then must fit in what is read at once. */
function setStateBlob(random: Seeded, blobs: Blobs, running: boolean): ControlRequest {
  const type = random.pick([1, 1, 2, 2, 3, 0, 4]);
  const blob = running ? random.bytes(20) : spoiled(random, blobs.get(type) ?? random.bytes(random.pick([0, 5, 30])));
  return request("SET_STATEBLOB", joined(words(random.pick([0, 0, 0, 2]), type), counted(blob)));
}

/** Mostly whole; at times empty, cut off, or with other numbers in its container. */
function spoiled(random: Seeded, blob: Uint8Array): Uint8Array {
  const copy = blob.slice();
  switch (random.below(12)) {
    case 0:
      return new Uint8Array();
    case 1:
      return copy.subarray(0, random.below(copy.length + 1));
    case 2:
      if (copy.length > 0) copy[random.below(Math.min(CONTAINER_SIZE, copy.length))]! ^= 1 << random.below(8);
      return copy;
    default:
      return copy;
  }
}

/** Puts both TPMs into the same state, whatever they are in. */
export const setBlob = (type: number, blob: Uint8Array): Uint8Array =>
  joined(words(CMD.SET_STATEBLOB, 0, type), counted(blob));
export const getBlob = (type: number): Uint8Array => words(CMD.GET_STATEBLOB, 1, type, 0);
export const init = (flags = 0): Uint8Array => words(CMD.INIT, flags);
export const stop = (): Uint8Array => words(CMD.STOP);
