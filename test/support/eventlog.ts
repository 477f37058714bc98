// The crypto-agile event log of the TCG PC Client Platform Firmware Profile Specification (section 10, "Event Logging"),
// and the PCR values that follow from it.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

/** TPM_ALG_ID (Part 2, 6.3) -> the name that node and Linux have for the hash. */
export const HASH_NAMES: ReadonlyMap<number, string> = new Map([
  [0x0004, "sha1"],
  [0x000b, "sha256"],
  [0x000c, "sha384"],
  [0x000d, "sha512"],
]);

/** Event types that matter for reading or replaying a log (Table "Events"). */
export const EV = { NO_ACTION: 0x3, SEPARATOR: 0x4, EFI_ACTION: 0x80000007 } as const;

export interface Event {
  readonly pcr: number;
  readonly type: number;
  /** Hash name -> digest. */
  readonly digests: ReadonlyMap<string, Buffer>;
  readonly data: Buffer;
}

export interface EventLog {
  /** Names of the hashes that the log's header announces, in its order. */
  readonly algorithms: readonly string[];
  /** All events behind the header, those that are not extended included. */
  readonly events: readonly Event[];
  /** The locality of TPM2_Startup or of the H-CRTM sequence (TCG_EfiStartupLocalityEvent), 0 when the log does not say. */
  readonly startupLocality: number;
}

const SPEC_ID = "Spec ID Event03\0";
const STARTUP_LOCALITY = "StartupLocality\0";

/** Reads little-endian fields one after the other. @throws Error at the end of the bytes */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes);
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  bytes(size: number): Buffer {
    if (size > this.#bytes.length - this.#at) {
      throw new Error(`the event log ends within a field of ${size} bytes at offset ${this.#at}`);
    }
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  u8 = () => this.bytes(1).readUInt8();
  u16 = () => this.bytes(2).readUInt16LE();
  u32 = () => this.bytes(4).readUInt32LE();
}

/** TCG_EfiSpecIDEvent: which algorithms the log has, and the sizes of their digests. */
function readSpecId(data: Buffer): Map<number, number> {
  const reader = new Reader(data);
  if (reader.bytes(SPEC_ID.length).toString("latin1") !== SPEC_ID) {
    throw new Error("the event log does not begin with a Spec ID Event03");
  }
  reader.u32(); // platformClass
  const [minor, major] = [reader.u8(), reader.u8()];
  if (major !== 2 || minor !== 0) throw new Error(`the event log is of specification ${major}.${minor}, not 2.0`);
  reader.u8(); // specErrata
  reader.u8(); // uintnSize
  const sizes = new Map<number, number>();
  for (let count = reader.u32(); count > 0; count--) sizes.set(reader.u16(), reader.u16());
  reader.bytes(reader.u8()); // vendorInfo
  return sizes;
}

/** TCG_PCR_EVENT2. */
function readEvent(reader: Reader, sizes: ReadonlyMap<number, number>): Event {
  const pcr = reader.u32();
  const type = reader.u32();
  const digests = new Map<string, Buffer>();
  for (let count = reader.u32(); count > 0; count--) {
    const algorithm = reader.u16();
    const size = sizes.get(algorithm);
    if (size === undefined) throw new Error(`an event has a digest of algorithm ${algorithm}, which the header lacks`);
    digests.set(HASH_NAMES.get(algorithm) ?? `0x${algorithm.toString(16)}`, reader.bytes(size));
  }
  return { pcr, type, digests, data: reader.bytes(reader.u32()) };
}

/** Parses a log as firmware writes it and Linux shows it in binary_bios_measurements. @throws Error when it is malformed */
export function parseEventLog(bytes: Uint8Array): EventLog {
  const reader = new Reader(bytes);
  // The header is a TCG_PCR_EVENT, of the older form with one SHA-1 digest.
  const [pcr, type] = [reader.u32(), reader.u32()];
  reader.bytes(20);
  if (pcr !== 0 || type !== EV.NO_ACTION) throw new Error("the event log has no header event");
  const sizes = readSpecId(reader.bytes(reader.u32()));

  const events: Event[] = [];
  let startupLocality = 0;
  while (!reader.done) {
    const event = readEvent(reader, sizes);
    events.push(event);
    const signature = event.data.subarray(0, STARTUP_LOCALITY.length).toString("latin1");
    if (event.type === EV.NO_ACTION && event.pcr === 0 && signature === STARTUP_LOCALITY) {
      startupLocality = event.data.readUInt8(STARTUP_LOCALITY.length);
    }
  }
  const algorithms = [...sizes.keys()].map((id) => HASH_NAMES.get(id) ?? `0x${id.toString(16)}`);
  return { algorithms, events, startupLocality };
}

/**
 * The values that the PCRs must have when the log is complete: PCR number -> digest in hexadecimal, for the PCRs that the log extends.
 *
 * PCR 0 starts with the startup locality in its last byte (Part 1, "H-CRTM and startup locality"); all start as zero otherwise.
 */
export function replay(log: EventLog, algorithm: string): Map<number, string> {
  const values = new Map<number, Buffer>();
  for (const event of log.events) {
    if (event.type === EV.NO_ACTION) continue;
    const digest = event.digests.get(algorithm);
    if (!digest) throw new Error(`an event of PCR ${event.pcr} has no ${algorithm} digest`);
    const before = values.get(event.pcr) ?? initialValue(event.pcr, digest.length, log.startupLocality);
    values.set(event.pcr, createHash(algorithm).update(before).update(digest).digest());
  }
  return new Map([...values].map(([pcr, value]) => [pcr, value.toString("hex")]));
}

function initialValue(pcr: number, size: number, startupLocality: number): Buffer {
  const value = Buffer.alloc(size);
  if (pcr === 0) value[size - 1] = startupLocality;
  return value;
}
