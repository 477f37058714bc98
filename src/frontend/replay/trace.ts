// Recorded device traces: gzip, one JSON object a line; the first is a header, each other one a sequence that began
// with the machine's power-on. docs/frontends.md describes the events.
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/**
 * An event. Values and byte strings are hexadecimal, offsets, addresses and sizes numbers; an input is followed by all
 * it caused.
 */
export type TraceEvent = TraceInput | TraceOutput;

export type TraceInput =
  /** The process starts. */
  | readonly ["b"]
  /** A guest's load and store: offset from the device's base, size, value. */
  | readonly ["r" | "w", offset: number, size: number, value: string]
  /** Guest memory written (m) and read (M). */
  | readonly ["m" | "M", address: number, bytes: string]
  /** The TPM answers. */
  | readonly ["d", response: string]
  /** The machine is reset. */
  | readonly ["R"]
  /** I2C: a write, with an acknowledgement each for the address and the bytes, and a read; START and STOP or not. */
  | readonly ["iw", start: number, bytes: string, acks: string, stop: number]
  | readonly ["ir", start: number, bytes: string, stop: number]
  /** A PAPR hypercall and its result. */
  | readonly ["h", opcode: number, args: readonly string[], result: string]
  | readonly ["quit"]
  | readonly ["migrate-out"]
  | readonly ["migrate-status" | "migrate-in", status: string | null]
  | readonly ["cont"];

export type TraceOutput =
  /** A TPM command reached the emulator; the locality set there last, 255 for none. */
  | readonly ["x", locality: number, command: string]
  /** A control command and its response. */
  | readonly ["c", code: number, request: string, response: string]
  /** The interrupt line changed. */
  | readonly ["i", level: number]
  /** A queue entry became valid. */
  | readonly ["q", slot: number, entry: string]
  | readonly ["e", message: string];

/** What the recording's TPM was made to be. */
export interface TraceConfig {
  /** 1: TPM 1.2, 2: TPM 2.0. */
  readonly tpm: number;
  /** Device properties given on the command line. */
  readonly dev?: Readonly<Record<string, string | number>>;
}

export interface TraceHeader {
  readonly format: string;
  readonly version: number;
  readonly device?: string;
  readonly qemu?: string;
  /** The device's address, hexadecimal. */
  readonly base?: string;
  /** SPAPR: the unit address, hexadecimal. */
  readonly unit?: string;
}

export interface TraceSequence {
  readonly name: string;
  readonly device?: string;
  readonly qemu?: string;
  readonly cfg: TraceConfig;
  /** The events; in a migration those of the source and of the destination instead. */
  readonly ev?: readonly TraceEvent[];
  readonly source?: readonly TraceEvent[];
  readonly destination?: readonly TraceEvent[];
  /** Migration: the device states sent, by vmstate name. */
  readonly sections?: Readonly<Record<string, { readonly version: number; readonly data: string }>>;
  /** The exit status, where the recording ran to the process's end. */
  readonly exit?: number;
}

export interface Trace {
  readonly header: TraceHeader;
  readonly sequences: readonly TraceSequence[];
}

const FORMATS = ["qemu-tpm-device-trace", "qemu-tpm-lifecycle", "qemu-tpm-migration", "qemu-tpm-ppi"];

/** Reads a trace, compressed or not. @throws Error when the file is none. */
export function readTrace(file: string): Trace {
  const bytes = readFileSync(file);
  const text = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString("utf8");
  const [header, ...sequences] = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
  if (!FORMATS.includes(header?.format) || header.version !== 1) throw new Error(`${file}: not a device trace`);
  return { header, sequences };
}

/** Outputs are recorded in order within a channel only. */
export const CHANNELS = { c: "backend", x: "backend", i: "interrupt", q: "queue", e: "messages" } as const;

export function isOutput(event: TraceEvent): event is TraceOutput {
  return event[0] in CHANNELS;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}

export function unhex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}
