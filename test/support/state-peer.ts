// Another decoder of states, written independently of this one. It prints JSON in terms of its own.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { toHex } from "../../src/codec/bytes.ts";
import { encodeStructure, type inputs } from "../../src/codec/index.ts";
import { toJson } from "../../src/state/libtpms/json.ts";
import type { NvEntry } from "../../src/state/libtpms/nv.ts";
import type { AnyObject } from "../../src/state/libtpms/object.ts";
import type { PermanentState } from "../../src/state/libtpms/permanent.ts";
import type { Secret } from "../../src/state/libtpms/secret.ts";
import type { VolatileState } from "../../src/state/libtpms/volatile.ts";

/** What the other decoder says of a state. @throws Error with what it printed when it fails */
export function peerDecodes(command: string, blob: Uint8Array): Record<string, unknown> {
  const folder = mkdtempSync(path.join(tmpdir(), "wtpm-peer-"));
  try {
    const file = path.join(folder, "state");
    writeFileSync(file, blob);
    const [program = "", ...words] = command.split(" ");
    const { status, stdout, stderr } = spawnSync(program, [...words, file], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${command}: ${stderr}`);
    return JSON.parse(stdout) as Record<string, unknown>;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const hex = (value: number) => `0x${value.toString(16)}`;
const alg = (name: string | number) =>
  encodeStructure("TPM_ALG_ID", name as inputs.TPM_ALG_ID).reduce((n, b) => 256 * n + b, 0);
const secret = (value: Secret) => value.revealHex();
const versions = ({ version, minVersion }: { version: number; minVersion: number }) => [version, minVersion];
const number = (value: bigint) => toJson(value);
const word = (type: "TPMA_NV" | "TPMA_OBJECT", value: object) =>
  hex(encodeStructure(type, value as inputs.TPMA_NV & inputs.TPMA_OBJECT).reduce((n, b) => 256 * n + b, 0));
const pcrs = (list: PermanentState["persistentData"]["pcrAllocated"]) =>
  list.map(({ hash, pcrSelect }) => [hex(alg(hash)), toHex(pcrSelect)]);

/** The permanent state in the other decoder's terms. */
export function permanentForPeer(state: PermanentState): Record<string, unknown> {
  const data = state.persistentData;
  const hexOf = (names: readonly (keyof typeof data)[]) =>
    Object.fromEntries(
      names.map((name) => {
        const value = data[name];
        return [name, value instanceof Uint8Array ? toHex(value) : secret(value as Secret)];
      }),
    );
  const { orderlyData: orderly } = state;
  return {
    ver: versions(state),
    ...(state.profile ? { profile: JSON.parse(state.profile) as unknown } : {}),
    consts: state.compileConstants.values,
    persistent: {
      ver: versions(data),
      ownerAlg: alg(data.ownerAlg),
      endorsementAlg: alg(data.endorsementAlg),
      ...hexOf(["ownerPolicy", "endorsementPolicy", "lockoutPolicy", "ownerAuth", "endorsementAuth", "lockoutAuth"]),
      ...hexOf(["EPSeed", "SPSeed", "PPSeed", "phProof", "shProof", "ehProof", "ppList", "auditCommands"]),
      totalResetCount: number(data.totalResetCount),
      resetCount: data.resetCount,
      pcrAllocated: pcrs(data.pcrAllocated),
      ...(data.pcrActive ? { pcrAllocatedActive: pcrs(data.pcrActive) } : {}),
      failedTries: data.failedTries,
      maxTries: data.maxTries,
      recoveryTime: data.recoveryTime,
      lockoutRecovery: data.lockoutRecovery,
      lockOutAuthEnabled: Number(data.lockOutAuthEnabled),
      orderlyState: hex(data.orderlyState),
      auditHashAlg: alg(data.auditHashAlg),
      auditCounter: number(data.auditCounter),
      firmwareV1: hex(data.firmwareV1),
      firmwareV2: hex(data.firmwareV2),
      timeEpoch: data.timeEpoch.toString(16).padStart(8, "0"),
      ...(data.EPSeedCompatLevel === undefined
        ? {}
        : { seedCompat: { EP: data.EPSeedCompatLevel, SP: data.SPSeedCompatLevel, PP: data.PPSeedCompatLevel } }),
    },
    orderly: {
      clock: number(orderly.clock),
      drbg: { seed: secret(orderly.drbgState.seed), last: orderly.drbgState.lastValue },
      lockoutTimer: number(orderly.timers.lockoutTimer),
    },
    orderlyRam: {
      entries: state.indexOrderlyRam.entries.map(({ handle, attributes, data: bytes }) => ({
        handle: hex(handle),
        attr: word("TPMA_NV", attributes),
        data: secret(bytes),
      })),
    },
    user: state.userNvram.entries.map(entryForPeer),
    maxCounter: number(state.userNvram.maxCounter),
  };
}

function entryForPeer({ entrySize, handle, index, data, object }: NvEntry): Record<string, unknown> {
  const head = { entrySize, handle: hex(handle) };
  if (!index) return { ...head, object: objectForPeer(object) };
  const { nvIndex, attributes, authPolicy, dataSize } = index.publicArea;
  return {
    ...head,
    nvIndex: hex(nvIndex),
    attr: word("TPMA_NV", attributes),
    policy: toHex(authPolicy),
    dataSize,
    auth: secret(index.authValue),
    data: secret(data),
  };
}

function objectForPeer({ attributes, object, sequence }: AnyObject): Record<string, unknown> {
  const bits = Object.entries(attributes).flatMap(([name, set]) => (set === true ? [name] : []));
  if (sequence)
    return {
      bits,
      ver: versions(sequence),
      auth: secret(sequence.auth),
      attr: word("TPMA_OBJECT", sequence.objectAttributes),
    };
  if (!object) return { bits };
  const { sensitive, privateExponent } = object;
  return {
    bits,
    ver: versions(object),
    public: { _raw: toHex(encodeStructure("TPMT_PUBLIC", object.publicArea as unknown as inputs.TPMT_PUBLIC)) },
    sensitive: {
      auth: secret(sensitive.authValue),
      seed: secret(sensitive.seedValue),
      ...(sensitive.sensitive ? { sensitive: secret(sensitive.sensitive) } : {}),
    },
    ...(privateExponent
      ? {
          privexp: Object.fromEntries(
            (["Q", "dP", "dQ", "qInv"] as const).map((name) => [
              name,
              `0x${secret(privateExponent[name].value).replace(/^0+(?=.)/, "") || "0"}`,
            ]),
          ),
        }
      : {}),
    qualifiedName: toHex(object.qualifiedName),
    evictHandle: hex(object.evictHandle),
    name: toHex(object.name),
    ...(object.seedCompatLevel === undefined ? {} : { seedCompat: object.seedCompatLevel }),
    ...(object.hierarchy === undefined ? {} : { hierarchy: hex(object.hierarchy) }),
  };
}

/** The volatile state in the other decoder's terms. */
export function volatileForPeer(state: VolatileState): Record<string, unknown> {
  return {
    ver: versions(state),
    time: number(state.time),
    prevOrderlyState: hex(state.prevOrderlyState),
    stateClear: { platformAuth: secret(state.stateClear.platformAuth), shEnable: Number(state.stateClear.shEnable) },
    stateReset: {
      ver: versions(state.stateReset),
      nullSeed: secret(state.stateReset.nullSeed),
      contextArray: state.stateReset.contextArray,
      commitNonce: secret(state.stateReset.commit.commitNonce),
      commitArray: toHex(state.stateReset.commit.commitArray),
    },
    indexOrderlyRam: secret(state.nv.indexOrderlyRam),
    objects: state.objects.map(objectForPeer),
    pcrs: state.pcrs.map(({ banks }) =>
      Object.fromEntries(banks.map(({ hashAlg, digests }) => [hex(alg(hashAlg)), toHex(digests)])),
    ),
    sessions: state.sessions.slots.map(({ session }) =>
      session
        ? {
            nonceTPM: toHex(session.nonceTPM),
            sessionKey: secret(session.sessionKey),
            u1: toHex(session.u1),
            u2: toHex(session.u2),
            startTime: number(session.startTime),
          }
        : null,
    ),
    freeSessionSlots: state.sessions.freeSessionSlots,
    tpmTime: number(state.timer.tpmTime),
    adjustRate: state.adjustRate,
    wallclockMs: number(state.savedAt),
    sha1_ok: true,
    _trailing: 0,
  };
}
