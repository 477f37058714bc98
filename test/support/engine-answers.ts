// What must agree in the answers of two TPMs with the same seeds and proofs: all but random numbers, clocks, what was made of these, and
// the numbers of versions. Such parts are shown by their size.
import { toHex } from "../../src/codec/bytes.ts";
import { decodeStructure } from "../../src/codec/index.ts";
import { findCommand } from "../../src/spec/registry.ts";
import { type Answer, fieldOf } from "./engine-side.ts";
import { hex } from "./engine-steps.ts";

const GET_CAPABILITY = 0x17a;

/** Properties whose values tell the version or the size of something in memory. */
const VERSION_PROPERTIES = new Set([
  ...[0x102, 0x103, 0x104, 0x10b, 0x10c, 0x121, 0x123, 0x125, 0x126, 0x127, 0x129, 0x12a, 0x12f, 0x130],
  0x209,
]);

type Show = (field: Uint8Array) => string;

const size: Show = (field) => `(${field.length} bytes)`;
const digits: Show = (field) => toHex(field);
/** The first bytes, and the size of the rest. */
const start =
  (length: number): Show =>
  (field) =>
    `${toHex(field.subarray(0, length))} (${field.length} bytes)`;
/** TPMT_TK_*: tag and hierarchy; the digest covers something random. */
const ticket = start(6);

/** TPM2B_PUBLIC of an object that the TPM has made with random numbers. */
const publicArea: Show = (field) => {
  if (field.length <= 2) return toHex(field);
  const { unique, ...rest } = decodeStructure("TPM2B_PUBLIC", field) as unknown as Record<string, unknown>;
  const sizes = JSON.stringify(unique, (_, part) => (part instanceof Uint8Array ? part.length : part));
  return `${JSON.stringify(rest, (_, part) => (part instanceof Uint8Array ? toHex(part) : part))} ${sizes}`;
};

const RSASSA = 0x0014;
const HMAC = 0x0005;
const NULL = 0x0010;
const ECDAA = 0x001a;

const schemeOf = (field: Uint8Array) => new DataView(field.buffer, field.byteOffset).getUint16(0);
/** Scheme and hash, and the size; the numbers of an ECDAA signature have no leading zeros. */
const randomSignature: Show = (field) => (schemeOf(field) === ECDAA ? toHex(field.subarray(0, 4)) : start(4)(field));
/** TPMT_SIGNATURE: schemes without a random number give the same for the same. */
const signature: Show = (field) =>
  [RSASSA, HMAC, NULL].includes(schemeOf(field)) ? toHex(field) : randomSignature(field);
/** TPMT_SIGNATURE over something with a clock in it. */
const timeSignature: Show = (field) => (field.length <= 2 ? toHex(field) : randomSignature(field));

/** TPM2B_ATTEST: clock, firmware version and audit digests vary. */
const attest: Show = (field) => {
  const view = new DataView(field.buffer, field.byteOffset, field.byteLength);
  const [GET_TIME, SESSION_AUDIT, COMMAND_AUDIT] = [0x8019, 0x8016, 0x8015];
  let at = 8;
  for (const _ of ["qualifiedSigner", "extraData"]) at += 2 + view.getUint16(at);
  const type = view.getUint16(6);
  const shown = [toHex(field.subarray(0, at)), toHex(field.subarray(at + 8, at + 17))];
  const rest = field.subarray(at + 25);
  if (type === GET_TIME) shown.push(toHex(rest.subarray(16, 25)));
  else if (type === SESSION_AUDIT) shown.push(start(3)(rest));
  else if (type === COMMAND_AUDIT) {
    const digest = new DataView(rest.buffer, rest.byteOffset).getUint16(10);
    shown.push(toHex(rest.subarray(0, 12)), toHex(rest.subarray(12 + digest)));
  } else shown.push(toHex(rest));
  return shown.join(" ");
};

/** TPMS_CONTEXT: savedHandle, hierarchy, and the size. */
const context: Show = (field) => `${toHex(field.subarray(8, 16))} (${field.length} bytes)`;
/** TPMS_TIME_INFO: time and clock run; resetCount, restartCount and safe do not. */
const time: Show = (field) => toHex(field.subarray(16));

/** Fields that are not shown as they are. */
const fields: Readonly<Record<string, Readonly<Record<string, Show>>>> = {
  StartAuthSession: { nonceTPM: size },
  GetRandom: { randomBytes: size },
  ContextSave: { context },
  Create: { outPrivate: size, outPublic: publicArea, creationTicket: ticket },
  CreateLoaded: { outPrivate: size, outPublic: publicArea, name: size },
  ObjectChangeAuth: { outPrivate: size },
  Duplicate: { encryptionKeyOut: size, duplicate: size, outSymSeed: size },
  Rewrap: { outDuplicate: size, outSymSeed: size },
  Import: { outPrivate: size },
  MakeCredential: { credentialBlob: size, secret: size },
  RSA_Encrypt: { outData: size },
  ECDH_KeyGen: { zPoint: size, pubPoint: size },
  ECC_Encrypt: { C1: size, C2: size, C3: size },
  Sign: { signature },
  Certify: { certifyInfo: attest, signature: timeSignature },
  CertifyCreation: { certifyInfo: attest, signature: timeSignature },
  NV_Certify: { certifyInfo: attest, signature: timeSignature },
  Quote: { quoted: attest, signature: timeSignature },
  GetTime: { timeInfo: attest, signature: timeSignature },
  GetSessionAuditDigest: { auditInfo: attest, signature: timeSignature },
  GetCommandAuditDigest: { auditInfo: attest, signature: timeSignature },
  CertifyX509: { signature: timeSignature, tbsDigest: size, addedToCertificate: size },
  PolicySecret: { timeout: size, policyTicket: ticket },
  PolicySigned: { timeout: size, policyTicket: ticket },
  ReadClock: { currentTime: time },
};

/** TPMU_CAPABILITIES of properties, without those that tell a version. */
function properties(parameters: Uint8Array): string {
  const text = toHex(parameters);
  const pairs = text.slice(18).match(/.{16}/g) ?? [];
  return pairs.filter((pair) => !VERSION_PROPERTIES.has(Number.parseInt(pair.slice(0, 8), 16))).join(" ");
}

/** A text that is the same for answers to a command that agree. */
export function comparable(code: number, answer: Answer): string {
  if (answer.code !== 0) return hex(answer.code, 4);
  const { parameters, handle, sessions, wrong, encrypted } = answer;
  const shown = [handle === undefined ? "" : hex(handle, 4)];
  const isProperties = code === GET_CAPABILITY && toHex(parameters.subarray(1, 5)) === "00000006";
  if (isProperties) shown.push(properties(parameters));
  else {
    const definition = findCommand(code);
    const masks = fields[definition?.name ?? ""] ?? {};
    let left = parameters.length;
    for (const [index, [name]] of (definition?.response ?? []).entries()) {
      const field = fieldOf({ code, parameters }, name);
      left -= field.length;
      shown.push((encrypted && index === 0 ? size : (masks[name] ?? digits))(field));
    }
    if (left !== 0) shown.push(`and ${left} bytes`);
  }
  shown.push(...sessions.map((session) => `[${session.join(" ")}]`));
  if (wrong) shown.push(wrong);
  return shown.join(" ");
}
