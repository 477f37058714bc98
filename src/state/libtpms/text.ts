// A decoded state in words, for people.
import { toHex } from "../../codec/bytes.ts";
import { inlineValue, selectedPcrs } from "../../codec/value-text.ts";
import type { TpmValue } from "../../codec/values.ts";
import { commandNames, hierarchyOf, type NvIndexFacts, nvIndices, orderlyText, profileOf } from "./facts.ts";
import type { ViewOptions } from "./json.ts";
import type { NvEntry } from "./nv.ts";
import { orderlyRamEntries } from "./nv.ts";
import type { AnyObject, KeyObject } from "./object.ts";
import type { PermanentState } from "./permanent.ts";
import { Secret } from "./secret.ts";
import type { LoadedSession, VolatileState } from "./volatile.ts";

type PcrSelection = PermanentState["persistentData"]["pcrAllocated"];

const LABEL_WIDTH = 24;
const line = (label: string, text: string): string => `  ${label.padEnd(LABEL_WIDTH)}${text}`;
const hex8 = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
const plain = (algorithm: string | number): string =>
  typeof algorithm === "string" ? algorithm.replace(/^TPM_ALG_/, "") : hex8(algorithm);
const duration = (milliseconds: bigint): string => {
  const seconds = milliseconds / 1000n;
  return `${seconds / 3600n} h ${(seconds / 60n) % 60n} min ${seconds % 60n} s`;
};

/** The permanent state, a topic after the other. */
export function permanentText(state: PermanentState, options: ViewOptions = {}): string {
  const data = state.persistentData;
  const show = shower(options);
  const profile = profileOf(state);
  const auth = (name: "owner" | "endorsement" | "lockout") =>
    `authorization ${show(data[`${name}Auth`])}, policy ${policyText(data[`${name}Alg`], data[`${name}Policy`])}`;
  const indices = nvIndices(state);
  const objects = state.userNvram.entries.filter(({ object }) => object !== undefined);
  return [
    `Permanent state, version ${state.version}`,
    line("profile", `${profile.name}, StateFormatLevel ${profile.stateFormatLevel}`),
    line("last stop", orderlyText(data.orderlyState)),
    line("resets", `${data.totalResetCount}, of them ${data.resetCount} since the last TPM2_Clear`),
    line("clock", `${duration(state.orderlyData.clock)}${state.orderlyData.clockSafe ? "" : ", may have been higher"}`),
    "",
    "Hierarchies",
    line("endorsement", auth("endorsement")),
    line("  seed and proof", seedText(show, data.EPSeed, data.EPSeedCompatLevel, data.ehProof)),
    line("owner", auth("owner")),
    line("  seed and proof", seedText(show, data.SPSeed, data.SPSeedCompatLevel, data.shProof)),
    line("platform seed", seedText(show, data.PPSeed, data.PPSeedCompatLevel, data.phProof)),
    line("lockout", auth("lockout")),
    line("TPM2_Clear", data.disableClear ? "disabled" : "allowed with lockout authorization"),
    "",
    "Dictionary attack",
    line("failed tries", `${data.failedTries} of ${data.maxTries}, one forgotten every ${data.recoveryTime} s`),
    line(
      "lockout",
      data.lockOutAuthEnabled
        ? `its authorization can be used; after a failure not for ${data.lockoutRecovery} s`
        : `its authorization is blocked for ${data.lockoutRecovery} s`,
    ),
    "",
    "PCR banks",
    line("in force", allocationText(data.pcrActive ?? data.pcrAllocated)),
    ...(data.pcrActive && allocationText(data.pcrActive) !== allocationText(data.pcrAllocated)
      ? [line("after the next reset", allocationText(data.pcrAllocated))]
      : []),
    ...(state.stateClear
      ? state.stateClear.pcrSave.banks.map(({ hashAlg, digests }) =>
          line(`saved, ${plain(hashAlg)}`, digests.length === 0 ? "none" : `${digests.length} bytes of PCR 0-15`),
        )
      : []),
    "",
    "Audit",
    line("hash, counter", `${plain(data.auditHashAlg)}, ${data.auditCounter}`),
    line("commands", commandNames(data.auditCommands, data.version).join(" ") || "none"),
    line("with presence", commandNames(data.ppList, data.version).join(" ") || "none"),
    "",
    `NV indices: ${indices.length || "none"}`,
    ...indices.flatMap((index) => indexLines(index, show)),
    "",
    `Persistent objects: ${objects.length || "none"}`,
    ...objects.flatMap((entry) => persistentLines(entry, show)),
  ].join("\n");
}

/** The volatile state, a topic after the other. */
export function volatileText(state: VolatileState, options: ViewOptions = {}): string {
  const show = shower(options);
  const orderly = orderlyRamEntries(state.nv.indexOrderlyRam.reveal());
  const sessions = state.sessions.slots.flatMap(({ session }, slot) => (session ? [{ session, slot }] : []));
  const objects = state.objects.flatMap((object, slot) => (object.attributes.occupied ? [{ object, slot }] : []));
  return [
    `Volatile state, version ${state.version}`,
    line("saved at", new Date(Number(state.savedAt)).toISOString()),
    line("time since power on", duration(state.time)),
    line("state", runningText(state)),
    line("platform hierarchy", state.phEnable ? "enabled" : "disabled"),
    line("owner hierarchy", state.stateClear.shEnable ? "enabled" : "disabled"),
    line("endorsement", state.stateClear.ehEnable ? "enabled" : "disabled"),
    line(
      "platform",
      `authorization ${show(state.stateClear.platformAuth)}, policy ${policyText(
        state.stateClear.platformAlg,
        state.stateClear.platformPolicy,
      )}`,
    ),
    line("audit digest", bytesText(state.stateReset.commandAuditDigest)),
    "",
    "PCRs that were extended",
    ...extendedPcrs(state),
    "",
    `Orderly NV indices: ${orderly.length || "none"}`,
    ...orderly.map(({ handle, data }) => line(hex8(handle), show(new Secret(data)))),
    "",
    `Transient objects: ${objects.length || "none"}`,
    ...objects.flatMap(({ object, slot }) => objectLines(hex8(0x80000000 + slot), object, show)),
    "",
    `Loaded sessions: ${sessions.length || "none"}`,
    ...sessions.map(({ session, slot }) => line(`slot ${slot}`, sessionText(session))),
    line("saved contexts", String(state.stateReset.contextArray.filter((entry) => entry > 3).length)),
  ].join("\n");
}

function extendedPcrs({ pcrs }: VolatileState): string[] {
  const isInitial = (digest: Uint8Array) =>
    digest.every((byte) => byte === digest[0]) && [0, 0xff].includes(digest[0] ?? 0);
  const lines = pcrs.flatMap(({ banks }, pcr) =>
    banks
      .filter(({ digests }) => !isInitial(digests))
      .map(({ hashAlg, digests }) => line(`${pcr} ${plain(hashAlg)}`, toHex(digests))),
  );
  return lines.length > 0 ? lines : ["  none"];
}

type Show = (secret: Secret) => string;
const shower =
  ({ secrets }: ViewOptions): Show =>
  (secret) =>
    secrets && secret.size > 0 ? secret.revealHex() : secret.toString();

const bytesText = (bytes: Uint8Array): string => (bytes.length === 0 ? "empty" : toHex(bytes));

const policyText = (alg: string | number, policy: Uint8Array): string =>
  policy.length === 0 ? "empty" : `${plain(alg)} ${toHex(policy)}`;

const seedText = (show: Show, seed: Secret, level: number | undefined, proof: Secret): string =>
  `${show(seed)}, compatibility level ${level ?? 0}; ${show(proof)}`;

function allocationText(selection: PcrSelection): string {
  const banks = selection
    .map(({ hash, pcrSelect }) => ({ hash, pcrs: selectedPcrs(pcrSelect) }))
    .filter(({ pcrs }) => pcrs.length > 0);
  return banks.map(({ hash, pcrs }) => `${plain(hash)} ${rangesText(pcrs)}`).join("; ") || "none";
}

/** "0-15,23" */
function rangesText(numbers: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const n of numbers) {
    const last = ranges.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else ranges.push([n, n]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

function indexLines({ handle, publicArea, authValue, data, name, content }: NvIndexFacts, show: Show): string[] {
  const { attributes, nameAlg, authPolicy, dataSize } = publicArea;
  const type = String(attributes.TPM_NT)
    .replace(/^TPM_NT_/, "")
    .toLowerCase();
  const { TPM_NT: _, ...bits } = attributes;
  return [
    line(hex8(handle), `${type}, ${dataSize} bytes: ${content ?? show(data)}`),
    line("  attributes", inlineValue("TPMA_NV", bits as unknown as TpmValue, {})),
    line("  authorization", `${show(authValue)}, policy ${bytesText(authPolicy)}`),
    line("  name", `${toHex(name)} (${plain(nameAlg)})`),
  ];
}

function persistentLines({ handle, object }: NvEntry, show: Show): string[] {
  return object ? objectLines(hex8(handle), object, show) : [];
}

function objectLines(label: string, { attributes, object, sequence }: AnyObject, show: Show): string[] {
  if (sequence) {
    const mac = sequence.hmacState?.cmac ? "CMAC" : "HMAC";
    const kind = attributes.hmacSeq ? mac : attributes.hashSeq ? "hash" : "event";
    return [line(label, `${kind} sequence, authorization ${show(sequence.auth)}`)];
  }
  if (!object) return [line(label, "nothing")];
  return [
    line(label, `${keyText(object)}, ${hierarchyOf(attributes)} hierarchy${attributes.primary ? ", primary" : ""}`),
    line("  attributes", inlineValue("TPMA_OBJECT", object.publicArea.objectAttributes as unknown as TpmValue, {})),
    line("  authorization", `${show(object.sensitive.authValue)}, policy ${bytesText(object.publicArea.authPolicy)}`),
    line("  public area", inlineValue("TPMT_PUBLIC", object.publicArea as unknown as TpmValue, { maxBytes: 16 })),
    line("  private part", object.sensitive.sensitive ? show(object.sensitive.sensitive) : "none"),
    line("  name", toHex(object.name)),
  ];
}

/** "RSA 2048 storage key" */
function keyText({ publicArea }: KeyObject): string {
  const { restricted, decrypt, sign } = publicArea.objectAttributes;
  const use = restricted && decrypt ? "storage key" : sign && decrypt ? "key" : sign ? "signing key" : "decryption key";
  switch (publicArea.type) {
    case "TPM_ALG_RSA":
      return `RSA ${publicArea.parameters.keyBits} ${use}`;
    case "TPM_ALG_ECC":
      return `${String(publicArea.parameters.curveID).replace(/^TPM_ECC_/, "")} ${use}`;
    case "TPM_ALG_SYMCIPHER":
      return `symmetric ${use}`;
    default:
      return sign ? "HMAC key" : decrypt ? "derivation or XOR key" : "sealed data";
  }
}

function sessionText({ attributes, authHashAlg, u2 }: LoadedSession): string {
  const kind = attributes.isTrialPolicy ? "trial policy" : attributes.isPolicy ? "policy" : "HMAC";
  const digest = attributes.isPolicy || attributes.isTrialPolicy ? `, policy digest ${bytesText(u2)}` : "";
  return `${kind} session with ${plain(authHashAlg)}${attributes.isAudit ? ", audit" : ""}${attributes.isBound ? ", bound" : ""}${digest}`;
}

function runningText(state: VolatileState): string {
  if (state.inFailureMode)
    return `in failure mode: function 0x${state.failure.functionName.toString(16)}, line ${state.failure.line}, code 0x${state.failure.code.toString(16)}`;
  return state.initialized ? "started" : "before TPM2_Startup";
}
