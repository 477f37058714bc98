// libtpms' volatile state (VOLATILE_STATE; swtpm's "volatilestate"), field for field: what a running TPM has beside its permanent
// state. It fits only the permanent state it was saved with.
import { equalBytes } from "../../codec/bytes.ts";
import { hash } from "../../codec/crypto.ts";
import { StateError } from "../store.ts";
import { banks, orderlyData, stateClear, stateReset } from "./data.ts";
import { anyObject } from "./object.ts";
import { Reader, Writer } from "./cursor.ts";
import {
  algorithm,
  bits,
  bool,
  bytes16,
  fields,
  lengthThen,
  list,
  part2,
  type Shape,
  secret16,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
} from "./shape.ts";
import { block, readHeader, type StructureHeader, skippedBlock, structure, writeHeader } from "./structure.ts";

const MAGIC = 0x45637889;
const CLOCK_NONCE_SIZE = 4;
const SHA1_SIZE = 20;
const MAX_SESSION_NUM = 3;

const SESSION_ATTRIBUTES = [
  "isPolicy",
  "isAudit",
  "isBound",
  "isCpHashDefined",
  "isAuthValueNeeded",
  "isPasswordNeeded",
  "isPPRequired",
  "isTrialPolicy",
  "isDaBound",
  "isLockoutBound",
  "includeAuth",
  "checkNvWritten",
  "nvWrittenState",
  "isTemplateHashDefined",
  "isNameHashDefined",
  "isParametersHashDefined",
] as const;

const session = structure(
  { name: "SESSION", magic: 0x44be9f45, version: 2 },
  fields({
    attributes: bits(SESSION_ATTRIBUTES),
    pcrCounter: u32,
    /** Milliseconds, as timeout. */
    startTime: u64,
    timeout: u64,
    epoch: lengthThen(CLOCK_NONCE_SIZE, u8, u32),
    commandCode: part2("TPM_CC"),
    authHashAlg: algorithm,
    commandLocality: u8,
    symmetric: part2("TPMT_SYM_DEF"),
    sessionKey: secret16,
    nonceTPM: bytes16,
    /** Name of the bound entity, or the cpHash, nameHash, template hash or parameter hash of a policy. */
    u1: bytes16,
    /** The policyDigest or auditDigest. */
    u2: bytes16,
  }),
);
export type LoadedSession = ValueOf<typeof session>;

type SessionSlot = StructureHeader & { session?: LoadedSession };
const slotStructure = structure(
  { name: "SESSION_SLOT", magic: 0x3664aebc, version: 2 },
  fields({ occupied: bool, session }),
);
/** SESSION_SLOT: one that is free ends without the extension of other structures. */
const sessionSlot: Shape<SessionSlot> = {
  read(reader) {
    const start = reader.offset;
    const header = readHeader(reader, { name: "SESSION_SLOT", magic: 0x3664aebc, version: 2 });
    if (!bool.read(reader)) return header;
    reader.offset = start;
    const { occupied, ...slot } = slotStructure.read(reader);
    return slot;
  },
  write(writer, value) {
    if (value.session) slotStructure.write(writer, { ...value, occupied: true, session: value.session });
    else {
      writeHeader(writer, 0x3664aebc, value);
      bool.write(writer, false);
    }
  },
};

const pcr = structure({ name: "PCR", magic: 0xe95f0387, version: 2 }, fields({ banks }));

const commandSession = fields({
  sessionHandle: u32,
  attributes: part2("TPMA_SESSION"),
  associatedHandle: u32,
  nonceCaller: bytes16,
  authValue: secret16,
});

const volatileContent = fields({
  exclusiveAuditSession: u32,
  /** Milliseconds since power on. */
  time: u64,
  phEnable: bool,
  pcrReConfig: bool,
  drtmHandle: u32,
  drtmPreStartup: bool,
  startupLocality3: bool,
  daUsed: block(bool),
  powerWasLost: bool,
  prevOrderlyState: u16,
  nvOk: bool,
  unused: bytes16,
  orderlyData,
  stateClear,
  stateReset,
  manufactured: bool,
  initialized: bool,
  /** What the last command left. */
  command: block(
    fields({
      sessions: lengthThen(MAX_SESSION_NUM, u16, list(commandSession, { exactly: MAX_SESSION_NUM })),
      encryptSession: u32,
      decryptSession: u32,
      auditSession: u32,
      cpHashForCommandAudit: block(bytes16),
      daPendingOnNV: bool,
    }),
  ),
  oldTimers: skippedBlock,
  nv: block(
    fields({
      evictNvEnd: u32,
      /** The memory of the orderly indexes as it is in the writer's machine (orderlyRamEntries). */
      indexOrderlyRam: secret16,
      maxCounter: u64,
    }),
  ),
  /** Slots of transient objects. */
  objects: block(list(anyObject, 2)),
  pcrs: block(list(pcr, 2)),
  sessions: block(fields({ slots: list(sessionSlot, 2), oldestSavedSession: u32, freeSessionSlots: u32 })),
  inFailureMode: bool,
  tpmEstablished: bool,
  failure: block(fields({ functionName: u32, line: u32, code: u32 })),
  timer: block(fields({ realTimePrevious: u64, tpmTime: u64 })),
  timerReset: bool,
  timerStopped: bool,
  adjustRate: u32,
  /** Milliseconds since 1970 when the state was saved. */
  savedAt: u64,
});

const volatileState = structure(
  {
    name: "VOLATILE_STATE",
    magic: MAGIC,
    version: 4,
    extension: {
      additions: [
        { EPSeed: secret16, SPSeed: secret16, PPSeed: secret16 },
        { hostMonotonicTime: u64, suspendedElapsedTime: u64, lastSystemTime: u64, lastReportedTime: u64 },
      ],
    },
  },
  volatileContent,
);
export type VolatileState = ValueOf<typeof volatileState>;

/**
 * The volatile state of a TPM that ran, without swtpm's container.
 *
 * @throws StateError "damaged" or "too-new", with what is wrong and where.
 */
export function decodeVolatile(blob: Uint8Array): VolatileState {
  const body = blob.subarray(0, Math.max(0, blob.length - SHA1_SIZE));
  const reader = new Reader(body, "volatile state");
  const state = volatileState.read(reader);
  const end = reader.number(4);
  if (end !== MAGIC) reader.damaged(`0x${end.toString(16)} where the state's magic number ends it`, reader.offset - 4);
  if (reader.offset !== body.length) reader.damaged(`${body.length - reader.offset} bytes after its end`);
  if (!equalBytes(digestOf(body), blob.subarray(body.length)))
    throw new StateError("damaged", "the volatile state is damaged: its SHA-1 is another");
  return state;
}

/** The bytes of a volatile state: of what `decodeVolatile` gave, exactly those that it was given. */
export function encodeVolatile(state: VolatileState): Uint8Array {
  const writer = new Writer();
  volatileState.write(writer, state);
  u32.write(writer, MAGIC);
  const body = writer.take();
  writer.put(digestOf(body));
  return writer.take();
}

const digestOf = (body: Uint8Array): Uint8Array => hash("TPM_ALG_SHA1", body);
