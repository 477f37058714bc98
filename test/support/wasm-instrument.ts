// Rewrites a WebAssembly module so that it folds everything an observer of caches, branch predictors and dividers could
// learn into a running hash: the condition of every branch, `select` and indirect call, the address of every load and
// store, the extent of every bulk memory operation, and the operands of every integer division.
//
// The rewriting is linear: each such instruction is preceded by a call of a recording function appended to the module,
// which returns its argument. No index of the module changes. Floating-point division and roots are not recorded.

const SECTION = { type: 1, function: 3, memory: 5, global: 6, export: 7, code: 10, custom: 0 } as const;
const TYPE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
type ValueType = keyof typeof TYPE;

/** Names under which the instrumented module exports its record. */
export const TRACE_EXPORTS = ["traceHash", "traceCount", "traceStop", "traceStopHash", "traceStopSite"] as const;

/** Where a recorded event comes from. */
export interface Site {
  functionIndex: number;
  /** Byte offset of the instruction within the code section of the original module. */
  offset: number;
  what: string;
}

export interface Instrumented {
  module: Uint8Array<ArrayBuffer>;
  sites: Site[];
}

class Reader {
  at = 0;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new Error("the module ends early");
    return value;
  }

  /** A LEB128 number; only its low 32 bits are kept. */
  leb(): number {
    let result = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      if (shift < 32) result |= (byte & 0x7f) << shift;
      if (byte < 0x80) return result >>> 0;
    }
  }

  skip(count: number): void {
    this.at += count;
  }
}

function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

/** As `leb`, for the signed immediate of i32.const. */
function sleb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value | 0;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

/** What is recorded of one instruction: the operands from the top of the stack down, and which of them count. */
interface Recorded {
  what: string;
  operands: ValueType[];
  recorded: boolean[];
}

const top = (what: string): Recorded => ({ what, operands: ["i32"], recorded: [true] });
const stored = (type: ValueType): Recorded => ({ what: "store", operands: [type, "i32"], recorded: [false, true] });
const divided = (type: ValueType): Recorded => ({ what: "division", operands: [type, type], recorded: [true, true] });
const STORES: ValueType[] = ["i32", "i64", "f32", "f64", "i32", "i32", "i64", "i64", "i64"];

/** Reads one instruction's immediates and says what of it is recorded. */
function decode(reader: Reader): Recorded | undefined {
  const opcode = reader.byte();
  if (opcode === 0xfc) return decodeBulk(reader);
  if (opcode === 0xfd) return decodeVector(reader);
  if (opcode >= 0x28 && opcode <= 0x3e) {
    reader.leb();
    reader.leb();
    return opcode <= 0x35 ? top("load") : stored(STORES[opcode - 0x36] as ValueType);
  }
  switch (opcode) {
    case 0x02: // block
    case 0x03: // loop
      reader.leb();
      return undefined;
    case 0x04: // if
      reader.leb();
      return top("if");
    case 0x0c: // br
    case 0x10: // call
    case 0x20: // local.get … global.set
    case 0x21:
    case 0x22:
    case 0x23:
    case 0x24:
    case 0x41: // i32.const
    case 0x42: // i64.const
      reader.leb();
      return undefined;
    case 0x0d:
      reader.leb();
      return top("br_if");
    case 0x0e: {
      for (let targets = reader.leb(); targets >= 0; targets--) reader.leb();
      return top("br_table");
    }
    case 0x11:
      reader.leb();
      reader.leb();
      return top("call_indirect");
    case 0x1b:
      return top("select");
    case 0x1c:
      for (let types = reader.leb(); types > 0; types--) reader.byte();
      return top("select");
    case 0x3f: // memory.size
      reader.byte();
      return undefined;
    case 0x40:
      reader.byte();
      return top("memory.grow");
    case 0x43:
      reader.skip(4);
      return undefined;
    case 0x44:
      reader.skip(8);
      return undefined;
  }
  if (opcode >= 0x6d && opcode <= 0x70) return divided("i32");
  if (opcode >= 0x7f && opcode <= 0x82) return divided("i64");
  const plain = opcode <= 0x01 || opcode === 0x05 || opcode === 0x0b || opcode === 0x0f || opcode === 0x1a;
  if (plain || (opcode >= 0x45 && opcode <= 0xc4)) return undefined;
  throw new Error(`opcode 0x${opcode.toString(16)} is not known to the instrumentation`);
}

function decodeBulk(reader: Reader): Recorded | undefined {
  const opcode = reader.leb();
  if (opcode <= 7) return undefined; // saturating conversions
  if (opcode === 10) {
    reader.skip(2);
    return { what: "memory.copy", operands: ["i32", "i32", "i32"], recorded: [true, true, true] };
  }
  if (opcode === 11) {
    reader.skip(1);
    return { what: "memory.fill", operands: ["i32", "i32", "i32"], recorded: [true, false, true] };
  }
  throw new Error(`opcode 0xfc ${opcode} is not known to the instrumentation`);
}

function decodeVector(reader: Reader): Recorded | undefined {
  const opcode = reader.leb();
  if (opcode <= 11 || opcode === 92 || opcode === 93) {
    reader.leb();
    reader.leb();
    return opcode === 11 ? stored("v128") : top("load");
  }
  if (opcode === 12 || opcode === 13) reader.skip(16);
  else if (opcode >= 21 && opcode <= 34) reader.skip(1);
  else if (opcode >= 84 && opcode <= 91) {
    reader.leb();
    reader.leb();
    reader.skip(1);
    return stored("v128");
  }
  return undefined;
}

interface Section {
  id: number;
  body: Uint8Array;
}

function readSections(module: Uint8Array): Section[] {
  const reader = new Reader(module);
  reader.skip(8);
  const sections: Section[] = [];
  while (reader.at < module.length) {
    const id = reader.byte();
    const size = reader.leb();
    sections.push({ id, body: module.subarray(reader.at, reader.at + size) });
    reader.skip(size);
  }
  return sections;
}

/** A section that is a vector of items, with items appended. */
function appended(section: Section | undefined, items: number[][]): number[] {
  const reader = new Reader(section?.body ?? Uint8Array.of(0));
  const count = reader.leb();
  return [...leb(count + items.length), ...reader.bytes.subarray(reader.at), ...items.flat()];
}

const countOf = (section: Section | undefined): number => (section ? new Reader(section.body).leb() : 0);

/** The parameter counts of all function types. */
function parameterCounts(section: Section): number[] {
  const reader = new Reader(section.body);
  const counts: number[] = [];
  for (let types = reader.leb(); types > 0; types--) {
    reader.byte();
    const parameters = reader.leb();
    reader.skip(parameters);
    reader.skip(reader.leb());
    counts.push(parameters);
  }
  return counts;
}

function functionTypes(section: Section): number[] {
  const reader = new Reader(section.body);
  return Array.from({ length: reader.leb() }, () => reader.leb());
}

/** Where the appended items will be. */
interface Appendix {
  record: number;
  globals: number;
}

/** (value: i64, site: i32): folds both into the hash, counts, and remembers the event number traceStop. */
function recordingFunction({ globals }: Appendix): number[] {
  const [hash, count, stop, stopHash, stopSite] = [0, 1, 2, 3, 4].map((i) => leb(globals + i)) as [
    number[],
    number[],
    number[],
    number[],
    number[],
  ];
  const get = (index: number[]) => [0x23, ...index];
  const set = (index: number[]) => [0x24, ...index];
  const multiplier = [0x42, 0x95, 0xd3, 0xc7, 0xde, 0x05]; // i64.const, an odd number
  const i64 = { rotl: 0x89, xor: 0x85, mul: 0x7e, add: 0x7c, eq: 0x51, extend: 0xad };
  const code = [
    0x00, // no locals
    ...[...get(hash), 0x42, 0x1d, i64.rotl, 0x20, 0x00, i64.xor, ...multiplier, i64.mul],
    ...[0x20, 0x01, i64.extend, i64.add, ...multiplier, i64.mul, ...set(hash)],
    ...[...get(count), 0x42, 0x01, i64.add, ...set(count)],
    ...[...get(count), ...get(stop), i64.eq, 0x04, 0x40],
    ...[...get(hash), ...set(stopHash), 0x20, 0x01, ...set(stopSite), 0x0b],
    0x0b,
  ];
  return [...leb(code.length), ...code];
}

/** Instrumented code is built in one growing buffer: modules have hundreds of thousands of instructions. */
class Writer {
  #bytes = new Uint8Array(1 << 16);
  length = 0;

  push(bytes: ArrayLike<number>): void {
    while (this.length + bytes.length > this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length);
  }
}

/** Spare locals of every function: three of each type an operand can have. */
const SPARE: ValueType[] = ["i32", "i64", "f32", "f64", "v128"];
const SPARE_COUNT = 3;

function spareLocal(base: number, type: ValueType, index: number): number[] {
  return leb(base + SPARE.indexOf(type) * SPARE_COUNT + index);
}

/** Records the operands of one instruction, leaving the stack as it was. */
function recordOperands(recorded: Recorded, base: number, site: number, record: number): number[] {
  const code: number[] = [];
  const locals = recorded.operands.map((type, i) => spareLocal(base, type, i));
  for (const local of locals) code.push(0x21, ...local);
  for (let i = locals.length - 1; i >= 0; i--) {
    const local = locals[i] as number[];
    code.push(0x20, ...local);
    if (!recorded.recorded[i]) continue;
    code.push(0x20, ...local);
    if (recorded.operands[i] === "i32") code.push(0xad); // i64.extend_i32_u
    code.push(0x41, ...sleb(site), 0x10, ...leb(record));
  }
  return code;
}

function rewriteBody(
  body: Uint8Array,
  parameters: number,
  appendix: Appendix,
  site: (offset: number, what: string) => number,
): Uint8Array {
  const reader = new Reader(body);
  const groups = reader.leb();
  const declared = reader.at;
  let locals = parameters;
  for (let group = 0; group < groups; group++) {
    locals += reader.leb();
    reader.byte();
  }
  const out = new Writer();
  out.push(leb(groups + SPARE.length));
  out.push(body.subarray(declared, reader.at));
  for (const type of SPARE) out.push([SPARE_COUNT, TYPE[type]]);
  while (reader.at < body.length) {
    const start = reader.at;
    const recorded = decode(reader);
    if (recorded) out.push(recordOperands(recorded, locals, site(start, recorded.what), appendix.record));
    out.push(body.subarray(start, reader.at));
  }
  return out.take();
}

function rewriteCode(code: Section, imported: number, parameters: number[], appendix: Appendix, sites: Site[]) {
  const reader = new Reader(code.body);
  const count = reader.leb();
  const out = new Writer();
  out.push(leb(count + 1));
  for (let index = 0; index < count; index++) {
    const size = reader.leb();
    const start = reader.at;
    const body = rewriteBody(
      code.body.subarray(start, start + size),
      parameters[index] ?? 0,
      appendix,
      (offset, what) => sites.push({ functionIndex: imported + index, offset: start + offset, what }) - 1,
    );
    reader.skip(size);
    out.push(leb(body.length));
    out.push(body);
  }
  out.push(recordingFunction(appendix));
  return out.take();
}

const exported = (name: string, kind: number, index: number): number[] => [
  name.length,
  ...Buffer.from(name),
  kind,
  ...leb(index),
];

/** The instrumented module and what its sites stand for. It must not import functions or globals. */
export function instrument(module: Uint8Array): Instrumented {
  const sections = readSections(module);
  const section = (id: number) => sections.find((s) => s.id === id);
  if (section(2)) throw new Error("modules with imports are not instrumented");
  const types = section(SECTION.type) as Section;
  const functions = section(SECTION.function) as Section;
  const ofType = functionTypes(functions);
  const counts = parameterCounts(types);
  const parameters = ofType.map((type) => counts[type] ?? 0);
  const appendix: Appendix = { record: ofType.length, globals: countOf(section(SECTION.global)) };
  const sites: Site[] = [];

  const i64Global = [TYPE.i64, 0x01, 0x42, 0x00, 0x0b];
  const i32Global = [TYPE.i32, 0x01, 0x41, 0x00, 0x0b];
  const replaced = new Map<number, ArrayLike<number>>([
    [SECTION.type, appended(types, [[0x60, 2, TYPE.i64, TYPE.i32, 0]])],
    [SECTION.function, appended(functions, [leb(counts.length)])],
    [SECTION.global, appended(section(SECTION.global), [i64Global, i64Global, i64Global, i64Global, i32Global])],
    [
      SECTION.export,
      appended(
        section(SECTION.export),
        TRACE_EXPORTS.map((name, i) => exported(name, 0x03, appendix.globals + i)),
      ),
    ],
    [SECTION.code, rewriteCode(section(SECTION.code) as Section, 0, parameters, appendix, sites)],
  ]);
  const out = new Writer();
  out.push(module.subarray(0, 8));
  let written = 0;
  const write = (id: number, body: ArrayLike<number>) => {
    out.push([id, ...leb(body.length)]);
    out.push(body);
  };
  for (const { id, body } of sections) {
    if (id === SECTION.custom) continue;
    // A module without globals gets its section where it belongs, before the exports.
    if (written < SECTION.global && id > SECTION.global) write(SECTION.global, replaced.get(SECTION.global)!);
    write(id, replaced.get(id) ?? body);
    written = id;
  }
  return { module: out.take(), sites };
}
