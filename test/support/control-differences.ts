// In what the answers of swtpm and of our server may differ, and why.
import { CMD, RESULT, readU32 } from "../../src/server/protocol.ts";
import { decodeMigrationBlob } from "../../src/state/container.ts";
import { differences } from "../../src/state/libtpms/compare.ts";
import { decodePermanent, type PermanentState } from "../../src/state/libtpms/permanent.ts";
import { decodeVolatile } from "../../src/state/libtpms/volatile.ts";
import { BLOB, type ControlRequest } from "./control-requests.ts";
import { TPM } from "./tpm-client.ts";

/** An answer that may differ, and why. */
interface KnownDifference {
  readonly reason: string;
  readonly applies: (request: ControlRequest, ours: string, theirs: string) => boolean;
}

/** The data of a reply to CMD_GET_STATEBLOB. */
export const blobOf = (reply: string): Uint8Array => new Uint8Array(Buffer.from(reply.slice(32), "hex"));
export const resultOf = (reply: string): number => Number.parseInt(reply.slice(0, 8), 16);

/** Where we differ from swtpm 0.7.1 on purpose. */
export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    reason: "CMD_LOCK_STORAGE and its capability bit are of swtpm 0.8",
    applies: ({ name }, ours, theirs) =>
      (name === "GET_CAPABILITY" && ours === "000000000001ffff" && theirs === "000000000000ffff") ||
      (name === "LOCK_STORAGE" && resultOf(ours) === RESULT.SUCCESS && resultOf(theirs) === RESULT.BAD_ORDINAL),
  },
  {
    reason: "the least buffer is that of later versions of libtpms",
    applies: ({ name }, ours, theirs) =>
      name === "SET_BUFFERSIZE" && ours.replaceAll("00000b50", "00000af8") === theirs,
  },
  {
    reason: "a request that stays incomplete is refused; swtpm closes the connection",
    applies: ({ short }, ours, theirs) =>
      short === true &&
      [RESULT.BAD_PARAMETER, RESULT.BAD_ORDINAL].some((result) => result === resultOf(ours)) &&
      theirs === "closed",
  },
  {
    reason: "a container of an unknown version is refused; swtpm takes it for an empty one",
    applies: ({ name, bytes }, ours) =>
      name === "SET_STATEBLOB" && ![1, 2].includes(bytes[16]!) && resultOf(ours) === RESULT.FAIL,
  },
  {
    reason: "of what is wrong with a volatile state another thing is told",
    applies: ({ name, bytes }, ours, theirs) =>
      name === "SET_STATEBLOB" &&
      readU32(bytes, 8) === BLOB.VOLATILE &&
      resultOf(ours) !== RESULT.SUCCESS &&
      resultOf(theirs) !== RESULT.SUCCESS,
  },
  {
    reason: "the volatile state of later versions of libtpms has no 64 bytes of text in it",
    applies: ({ name, bytes }, ours, theirs) => {
      if (name !== "GET_STATEBLOB" || readU32(bytes, 8) !== BLOB.VOLATILE) return false;
      const [a, b] = [ours, theirs].map((reply) => [
        ...[8, 12].map((at) => Number.parseInt(reply.slice(2 * at, 2 * at + 8), 16)),
        reply.length / 2,
      ]);
      return resultOf(ours) === 0 && resultOf(theirs) === 0 && a!.every((size, i) => size + 64 === b![i]);
    },
  },
  {
    reason: "swtpm answers a blob of an unknown type with FAIL from 0.8 on, with RETRY before",
    applies: ({ name }, ours, theirs) =>
      name === "GET_STATEBLOB" && resultOf(ours) === RESULT.FAIL && resultOf(theirs) === RESULT.RETRY,
  },
];

/** What swtpm's process has in its memory from an earlier start is part of the volatile state until the next TPM2_Startup. */
export const LEFTOVER = "a volatile state before TPM2_Startup has nothing of an earlier start in it";

/** Fields of the states that are random, tell the time or the version, or hold what a command left behind. */
const OWN_FIELDS = [
  /^(time|savedAt|hostMonotonicTime|lastSystemTime|lastReportedTime)$|^timer\./,
  /^orderlyData\.(clock$|drbgState\.|timers\.)/,
  /^persistentData\.firmwareV[12]$/,
  /^stateReset\.(nullProof|nullSeed|nullSeedCompatLevel|commit\.commitNonce)$/,
  /^command\.|^exclusiveAuditSession$|^suspendedElapsedTime$|^objects\[\d+\]\.attributes\.(temporary|(event|hash|hmac)Seq)$/,
];

/** Of no account in a TPM that runs: PCRs are kept here from TPM2_Shutdown(STATE) to the next start. */
const SAVED_PCRS = /^stateClear\.pcrSave\./;

/** Paths of the fields in which two blobs of a type mean something else, as far as their TPMs have the same past. */
export function stateDifferences(type: number, ours: Uint8Array, theirs: Uint8Array): string[] {
  const [a, b] = [theirs, ours].map((blob) => decodeMigrationBlob(blob));
  if (type === BLOB.PERMANENT) {
    const [before, after] = [decodePermanent(a!), decodePermanent(b!)];
    return differences(before, after).filter((path) => !isOwn(path) && !isUnwritten(after, path));
  }
  if (!isStarted(ours)) return [];
  const found = differences(decodeVolatile(a!), decodeVolatile(b!));
  return found.filter((path) => !isOwn(path) && !SAVED_PCRS.test(path));
}

/** Whether the TPM of a volatile state was started. */
export const isStarted = (blob: Uint8Array): boolean => decodeVolatile(decodeMigrationBlob(blob)).initialized;

const isOwn = (path: string): boolean => OWN_FIELDS.some((own) => own.test(path));

/** The data of an NV Index that was not written yet. */
function isUnwritten({ userNvram }: PermanentState, path: string): boolean {
  const at = /^userNvram\.entries\[(\d+)\]\.data$/.exec(path)?.[1];
  return at !== undefined && !userNvram.entries[Number(at)]?.index?.publicArea.attributes.WRITTEN;
}

export const CC_READ_CLOCK = 0x181;
/** TPM_PT_HR_PERSISTENT_AVAIL, which depends on the size of the NV memory, with its value. */
const PERSISTENT_AVAILABLE = /00000209.{8}/;

/** What has to agree of a response: of random numbers their size, of TPM2_ReadClock the counts. */
export function comparable(command: Uint8Array, response: Uint8Array): string {
  const hex = Buffer.from(response).toString("hex");
  if (response.length <= 10) return hex;
  switch (readU32(command, 6)) {
    case TPM.CC_GetRandom:
      return `${response.length} bytes`;
    case CC_READ_CLOCK:
      return hex.slice(2 * (10 + 16));
    case TPM.CC_GetCapability:
      return hex.replace(PERSISTENT_AVAILABLE, "");
    default:
      return hex;
  }
}

/**
 * What has to agree of a reply: of a state blob, whose content has the secrets of each TPM, the sizes and the containers' heads; of the
 * information, which tells version and features, that there is some.
 */
export function shown({ bytes }: ControlRequest, reply: string): string {
  const code = readU32(bytes, 0);
  if (code === CMD.GET_INFO && resultOf(reply) === RESULT.SUCCESS) return "information";
  if (code !== CMD.GET_STATEBLOB || reply.length <= 32) return reply;
  const HEADS = 26;
  const head = Math.max(0, HEADS - readU32(bytes, 12));
  return `${reply.slice(0, 32 + 2 * head)} (${reply.length / 2} bytes)`;
}
