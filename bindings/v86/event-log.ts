// The event log as firmware leaves it in memory (TCG PC Client Platform Firmware Profile 1.06, section 10), and the PCR values that
// follow from it.

/** The hashes of PCR banks: TPM_ALG_ID, name, and the digest's size in bytes. */
const HASHES = [
  { id: 0x0004, name: "sha1", size: 20, web: "SHA-1" },
  { id: 0x000b, name: "sha256", size: 32, web: "SHA-256" },
  { id: 0x000c, name: "sha384", size: 48, web: "SHA-384" },
  { id: 0x000d, name: "sha512", size: 64, web: "SHA-512" },
] as const;

/** A PCR bank by its hash. */
export type BankName = (typeof HASHES)[number]["name"];

export interface LoggedEvent {
  readonly pcr: number;
  /** The event type (10.4.1): EV_SEPARATOR is 4. */
  readonly type: number;
  /** Digests by bank; those of hashes that are not known here are left out. */
  readonly digests: ReadonlyMap<BankName, Uint8Array>;
  readonly data: Uint8Array;
}

export interface EventLog {
  /** In the order of the log, its header not among them. */
  readonly events: readonly LoggedEvent[];
  /** The banks all events have digests for. */
  readonly banks: readonly BankName[];
  /** Bytes of the log. */
  readonly size: number;
}

const EV_NO_ACTION = 3;
const SPEC_ID = "Spec ID Event03\0";
const STARTUP_LOCALITY = "StartupLocality\0";

/** Little-endian fields, one after the other; behind the end they are undefined, and so is all that follows. */
class Reader {
  at = 0;
  readonly #view: DataView;
  readonly #memory: Uint8Array;
  constructor(memory: Uint8Array) {
    this.#memory = memory;
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.length);
  }
  bytes(size: number): Uint8Array {
    if (size > this.#memory.length - this.at) throw new RangeError("the log ends in the middle of an event");
    this.at += size;
    return this.#memory.slice(this.at - size, this.at);
  }
  u8 = () => this.bytes(1)[0]!;
  u16 = () => {
    this.bytes(2);
    return this.#view.getUint16(this.at - 2, true);
  };
  u32 = () => {
    this.bytes(4);
    return this.#view.getUint32(this.at - 4, true);
  };
}

const startsWith = (data: Uint8Array, text: string) =>
  text.length <= data.length && Array.from(text).every((letter, i) => data[i] === letter.charCodeAt(0));

/** TCG_PCClientPCREvent: the form of a TPM 1.2's log, and of the header of every other. */
function readShortEvent(reader: Reader): LoggedEvent {
  const [pcr, type] = [reader.u32(), reader.u32()];
  const digests = new Map<BankName, Uint8Array>([["sha1", reader.bytes(20)]]);
  return { pcr, type, digests, data: reader.bytes(reader.u32()) };
}

/** TCG_EfiSpecIDEvent: TPM_ALG_ID -> size of the digests of that hash in this log. */
function readSpecId(data: Uint8Array): Map<number, number> {
  const reader = new Reader(data);
  reader.bytes(SPEC_ID.length + 8);
  const sizes = new Map<number, number>();
  for (let count = reader.u32(); count > 0; count--) sizes.set(reader.u16(), reader.u16());
  return sizes;
}

/** TCG_PCR_EVENT2. */
function readEvent(reader: Reader, sizes: ReadonlyMap<number, number>): LoggedEvent {
  const [pcr, type] = [reader.u32(), reader.u32()];
  const digests = new Map<BankName, Uint8Array>();
  for (let count = reader.u32(); count > 0; count--) {
    const id = reader.u16();
    const size = sizes.get(id);
    if (size === undefined) throw new RangeError(`an event has a digest of algorithm ${id}, which the header lacks`);
    const digest = reader.bytes(size);
    const hash = HASHES.find((known) => known.id === id);
    if (hash) digests.set(hash.name, digest);
  }
  return { pcr, type, digests, data: reader.bytes(reader.u32()) };
}

/**
 * Reads the log in `memory`, behind whose end there are zeros: as the firmware's log area is at any time. Never throws: a guest writes
 * there what it likes, and what is no event ends the log.
 */
export function readEventLog(memory: Uint8Array): EventLog {
  const reader = new Reader(memory);
  const events: LoggedEvent[] = [];
  let banks: BankName[] = ["sha1"];
  let size = 0;
  try {
    let next = () => readShortEvent(reader);
    const header = next();
    if (startsWith(header.data, SPEC_ID)) {
      const sizes = readSpecId(header.data);
      banks = HASHES.filter((hash) => sizes.get(hash.id) === hash.size).map(({ name }) => name);
      next = () => readEvent(reader, sizes);
    } else if (header.type === 0) return { events, banks: [], size };
    else events.push(header);
    for (;;) {
      size = reader.at;
      const event = next();
      // No type is 0: these are the zeros behind the log.
      if (event.type === 0) break;
      events.push(event);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return { events, banks: size === 0 ? [] : banks, size };
}

/** The values the PCRs of a bank have if they were extended with the log's events and nothing else: PCR -> digest. */
export async function replayEventLog(log: EventLog, bank: BankName): Promise<Map<number, Uint8Array>> {
  const { size, web } = HASHES.find(({ name }) => name === bank)!;
  const values = new Map<number, Uint8Array>();
  let locality = 0;
  for (const { pcr, type, digests, data } of log.events) {
    if (type === EV_NO_ACTION) {
      if (startsWith(data, STARTUP_LOCALITY)) locality = data[STARTUP_LOCALITY.length] ?? 0;
      continue;
    }
    const digest = digests.get(bank);
    if (digest?.length !== size) continue;
    const joined = new Uint8Array(2 * size);
    // Part 1, 34.3: the locality of the startup is what PCR 0 begins with.
    joined.set(values.get(pcr) ?? [...new Uint8Array(size - 1), pcr === 0 ? locality : 0]);
    joined.set(digest, size);
    values.set(pcr, new Uint8Array(await crypto.subtle.digest(web, joined)));
  }
  return values;
}
