// What keys do: signatures, encryption, attestation: makers of commands.
import type { Maker, Parts } from "./engine-makers.ts";
import { type Entity, sizedName, type UserMemory } from "./engine-memory.ts";
import { HASH_SIZES, RH, sized, u8, u16, u32 } from "./engine-steps.ts";

const NULL = "0010";
/** TPMT_TK_HASHCHECK of no ticket. */
const NO_TICKET = "8024400000070000";

/** A scheme for a key: its own, or mostly a fitting one. */
function signScheme(s: UserMemory, key: Entity): string {
  const own = s.objectAt(String(key))?.kind.scheme ?? NULL;
  return s.once(6) ? s.pick([NULL, "0018000b", "0014000b", "00160004", "0005000b", "001c000b", "001a000b0000"]) : own;
}

/** SHA-256 of what TPM2_PolicySigned wants to be signed: an expiration of 0 or -1, nothing else. */
const EXPIRATIONS = [
  [0, "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119"],
  [-1, "ad95131bc0b799c0b1af477fb14fcf26a6a9f76079e48bf090acb7e8367bfd0e"],
] as const;

function sign(s: UserMemory): Parts {
  const key = s.key("sign");
  const digest = s.once(4) ? s.pick(EXPIRATIONS)[1] : s.bytes(s.once(3) ? s.pick(Object.values(HASH_SIZES)) : 32);
  const ticket = s.once(4) ? (s.result("digest ticket") ?? NO_TICKET) : NO_TICKET;
  const signature = `<${s.id}.signature>`;
  s.onSuccess(() => {
    s.signatures = [...s.signatures.slice(-7), { key, digest, signature }];
  });
  return { handles: [key], body: sized(digest) + signScheme(s, key) + ticket };
}

const noSignature = (s: UserMemory) => `0018000b${sized(s.bytes(32))}${sized(s.bytes(32))}`;

function verify(s: UserMemory): Parts {
  const made = s.some(s.signatures);
  s.keepResult("verified ticket", "validation");
  const signature = made && !s.once(10) ? made.signature : noSignature(s);
  return { handles: [made?.key ?? s.key("sign")], body: sized(made?.digest ?? s.bytes(32)) + signature };
}

function policySigned(s: UserMemory): Parts {
  const [expiration, digest] = s.pick(EXPIRATIONS);
  const made = s.some(s.signatures.filter((known) => known.digest === digest));
  const object = s.objectAt(String(made?.key));
  const { id } = s;
  if (object && expiration < 0) {
    s.onSuccess(() => s.tickets.push({ id, policyRef: "", authName: sizedName(object) }));
  }
  const session = s.policySession();
  const body = `000000000000${u32(expiration)}${made?.signature ?? noSignature(s)}`;
  return { handles: [made?.key ?? s.key("sign"), session], body };
}

const qualifying = (s: UserMemory) => sized(s.bytes(s.once(20) ? 80 : s.below(33)));

const attest =
  (before: (s: UserMemory) => readonly Entity[], after: (s: UserMemory) => string = () => "") =>
  (s: UserMemory): Parts => {
    const key = s.once(6) ? RH.NULL : s.key("attest");
    return { handles: [...before(s), key], body: qualifying(s) + signScheme(s, key) + after(s) };
  };

function certifyCreation(s: UserMemory): Parts {
  const object = s.objects.find(({ creation }) => creation !== undefined);
  const key = s.key("attest");
  const { hash = sized(s.bytes(32)), ticket = "8021400000070000" } = object?.creation ?? {};
  return {
    handles: [key, object?.handle ?? s.key("any")],
    body: qualifying(s) + hash + signScheme(s, key) + ticket,
  };
}

function sessionAuditDigest(s: UserMemory): Parts {
  const hmacs = s.sessions.filter(({ start }) => !start.policy);
  const session = hmacs.length ? `<${s.pick(hmacs).id}.handle>` : "02000000";
  const key = s.once(3) ? RH.NULL : s.key("attest");
  return { handles: [RH.ENDORSEMENT, key, session], body: qualifying(s) + signScheme(s, key) };
}

const RSA_SCHEMES = [NULL, NULL, "0015", "0017000b", "00170004"] as const;
const label = (s: UserMemory) => (s.once(3) ? sized(`${s.bytes(3)}00`) : "0000");

function rsaEncrypt(s: UserMemory): Parts {
  const raw = s.once(3);
  s.keepResult("RSA cipher text", "outData");
  const message = raw ? `00${s.bytes(127)}` : s.bytes(s.below(60));
  return { handles: [s.key("rsa")], body: sized(message) + (raw ? NULL : s.pick(RSA_SCHEMES)) + label(s) };
}

function rsaDecrypt(s: UserMemory): Parts {
  const cipherText = s.once(4) ? sized(`00${s.bytes(127)}`) : (s.result("RSA cipher text") ?? sized(s.bytes(128)));
  return { handles: [s.key("rsaDecrypt")], body: cipherText + s.pick(RSA_SCHEMES) + label(s) };
}

/** The base point of P-256: on the curve that most keys here have. */
const BASE = sized(
  sized("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296") +
    sized("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
);
const point = (s: UserMemory) =>
  s.once(8) ? sized(sized(s.bytes(32)) + sized(s.bytes(32))) : s.once(2) ? (s.result("point") ?? BASE) : BASE;

const MODES = ["0010", "0010", "0043", "0042", "0040", "0041", "0044"] as const;

function cipher(second: boolean) {
  return (s: UserMemory): Parts => {
    const data = sized(s.bytes(s.once(3) ? s.below(1025) : 16 * s.below(5)));
    const mode = s.pick(MODES);
    const iv = s.once(10) ? sized(s.bytes(s.below(17))) : mode === "0044" ? "0000" : sized(s.bytes(16));
    const how = u8(s.below(2)) + mode + iv;
    return { handles: [s.key("cipher")], body: second ? data + how : how + data };
  };
}

function commit(s: UserMemory): Parts {
  s.keepResult("point", "K");
  s.keepResult("commit counter", "counter");
  const own = s.once(2) ? BASE : "0000";
  const [s2, y2] = s.once(2) ? [sized(s.bytes(8)), sized(s.bytes(32))] : ["0000", "0000"];
  return { handles: [s.key("commit")], body: own + s2 + y2 };
}

function signCommitted(s: UserMemory): Parts {
  const counter = s.result("commit counter") ?? u16(s.below(5));
  return { handles: [s.key("ecdaa")], body: `${sized(s.bytes(32))}001a000b${counter}${NO_TICKET}` };
}

const KDFS = ["0010", "0020000b", "00210004", "0022000b"] as const;

/** A certificate's fields for TPM2_CertifyX509: issuer, validity, subject, the extension keyUsage; and pieces that are none. */
const CERTIFICATES = [
  "305430123110300e060355040313076361206e616d65301e170d3230303130313030303030305a170d3330303130313030303030305a30123110300e0603550403130773756a6563743130a30a3012",
  "3000",
  "30820200",
] as const;

export const keys: readonly Maker[] = [
  ["Sign", 0x15d, sign],
  ["Sign", 0x15d, sign],
  ["Sign", 0x15d, signCommitted],
  ["VerifySignature", 0x177, verify],
  ["PolicySigned", 0x160, policySigned],
  ["Certify", 0x148, attest((s) => [s.key("any")])],
  ["CertifyCreation", 0x14a, certifyCreation],
  [
    "Quote",
    0x158,
    attest(
      () => [],
      (s) => s.selection(),
    ),
  ],
  ["GetTime", 0x14c, attest(() => [RH.ENDORSEMENT])],
  ["GetCommandAuditDigest", 0x133, attest(() => [RH.ENDORSEMENT])],
  ["GetSessionAuditDigest", 0x14d, sessionAuditDigest],
  [
    "CertifyX509",
    0x197,
    (s) => ({ handles: [s.key("x509"), s.key("sign")], body: `00000010${sized(s.pick(CERTIFICATES))}` }),
  ],
  [
    "MAC",
    0x155,
    (s) => ({ handles: [s.key("mac")], body: sized(s.bytes(s.below(300))) + s.pick([NULL, NULL, "000b", "003f"]) }),
  ],
  ["RSA_Encrypt", 0x174, rsaEncrypt],
  ["RSA_Decrypt", 0x159, rsaDecrypt],
  [
    "ECDH_KeyGen",
    0x163,
    (s) => {
      s.keepResult("point", "pubPoint");
      return { handles: [s.key("dh")] };
    },
  ],
  ["ECDH_ZGen", 0x154, (s) => ({ handles: [s.key("dh")], body: point(s) })],
  [
    "EC_Ephemeral",
    0x18e,
    (s) => {
      s.keepResult("point", "Q");
      s.keepResult("commit counter", "counter");
      return { body: u16(s.once(5) ? s.pick([1, 4, 5, 0x10, 0x20, 0x33]) : 3) };
    },
  ],
  [
    "ZGen_2Phase",
    0x18d,
    (s) => ({
      handles: [s.key("exchange")],
      body: point(s) + point(s) + s.pick(["0019", "001d", "001b"]) + (s.result("commit counter") ?? "0000"),
    }),
  ],
  ["Commit", 0x18b, commit],
  ["EncryptDecrypt", 0x164, cipher(false)],
  ["EncryptDecrypt2", 0x193, cipher(true)],
  [
    "ECC_Encrypt",
    0x199,
    (s) => {
      for (const field of ["C1", "C2", "C3"]) s.keepResult(field, field);
      return { handles: [s.key("eccDecrypt")], body: sized(s.bytes(s.below(100))) + s.pick(KDFS) };
    },
  ],
  [
    "ECC_Decrypt",
    0x19a,
    (s) => {
      const text = ["C1", "C2", "C3"].map((field) => s.result(field) ?? sized(s.bytes(20))).join("");
      return { handles: [s.key("eccDecrypt")], body: text + s.pick(KDFS) };
    },
  ],
];
