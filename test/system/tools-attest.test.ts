// tpm2-tools: what the TPM attests to, checked by the tools and by OpenSSL (Part 2, 10.12).
import { Buffer } from "node:buffer";
import { verify } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { field, hash, useTools } from "../support/tpm2-tools.ts";
import { u32 } from "../support/tpm-client.ts";

const tools = useTools();
const NONCE = "0102030405060708";
const ZERO = new Uint8Array(32);
/** Part 2, 6.5.2 and 6.9. */
const CC = { GetRandom: 0x17b, SetCommandAuditStatus: 0x140 };
const ST = {
  NV: 0x8014,
  COMMAND_AUDIT: 0x8015,
  SESSION_AUDIT: 0x8016,
  CERTIFY: 0x8017,
  QUOTE: 0x8018,
  TIME: 0x8019,
  CREATION: 0x801a,
};

beforeEach(async () => {
  await tools().flushing(
    "createprimary",
    "-Q",
    "-C",
    "e",
    "-G",
    "ecc",
    "-c",
    "primary",
    "-d",
    "digest",
    "-t",
    "ticket",
  );
  const restricted = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
  const made = ["-u", "public", "-r", "private", "-a", restricted];
  await tools().flushing("create", "-Q", "-C", "primary", "-G", "ecc256:ecdsa-sha256:null", ...made);
  await tools().flushing("load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key");
  await tools().flushing("readpublic", "-Q", "-c", "key", "-f", "pem", "-o", "key.pub", "-n", "name");
});

/** Checks the signature over the file "attest" and gives what follows qualifiedSigner, the nonce and clockInfo. */
function attested(type: number, nonce = NONCE): Buffer {
  const attest = tools().read("attest");
  expect(verify("sha256", attest, tools().read("key.pub").toString(), tools().read("signature"))).toBe(true);
  expect(attest.toString("latin1", 0, 4)).toBe("\xffTCG");
  expect(attest.readUInt16BE(4)).toBe(type);
  const extraData = 8 + attest.readUInt16BE(6);
  const clockInfo = extraData + 2 + attest.readUInt16BE(extraData);
  expect(attest.subarray(extraData + 2, clockInfo).toString("hex")).toBe(nonce);
  return attest.subarray(clockInfo + 17 + 8); // TPMS_CLOCK_INFO and firmwareVersion
}

const PLAIN = ["-g", "sha256", "-f", "plain"];

test("quote signs the PCRs, and checkquote accepts it for the right nonce and PCRs only", async () => {
  tools().write("event", "measured");
  await tools()("pcrevent", "16", "event");
  const made = ["-m", "attest", "-s", "signature", "-o", "pcrs"];
  await tools().flushing("quote", "-Q", "-c", "key", "-l", "sha256:0,16+sha1:16", "-q", NONCE, ...PLAIN, ...made);
  const body = attested(ST.QUOTE);
  const values = ["sha256:0,16", "sha1:16"].map(async (selection) => {
    const text = await tools()("pcrread", selection);
    return [...text.matchAll(/: 0x([0-9A-F]+)/g)].map((match) => match[1]).join("");
  });
  const pcrs = Buffer.from((await Promise.all(values)).join(""), "hex");
  expect(body.subarray(-32).toString("hex")).toBe(hash("sha256", pcrs).toString("hex"));

  await tools().flushing("quote", "-Q", "-c", "key", "-l", "sha256:0,16", "-q", NONCE, "-g", "sha256", ...made);
  const check = ["-u", "key.pub", "-m", "attest", "-s", "signature", "-f", "pcrs", "-g", "sha256"];
  await tools()("checkquote", ...check, "-q", NONCE);
  await tools().fails("checkquote", ...check, "-q", "ffff");
});

test("certify names the object", async () => {
  const made = ["-o", "attest", "-s", "signature"];
  await tools().flushing("certify", "-Q", "-c", "primary", "-C", "key", ...PLAIN, ...made);
  const name = Buffer.from(field(await tools().flushing("readpublic", "-c", "primary"), "name"), "hex");
  expect(attested(ST.CERTIFY, "00ff55aa").subarray(2, 36).toString("hex")).toBe(name.toString("hex"));
});

test("certifycreation vouches for the creation with its ticket, and not with another", async () => {
  const made = ["-o", "signature", "--attestation", "attest"];
  const creation = ["-C", "key", "-c", "primary", "-d", "digest", "-s", "ecdsa", "-q", NONCE, ...PLAIN, ...made];
  await tools().flushing("certifycreation", ...creation, "-t", "ticket");
  expect(attested(ST.CREATION).subarray(-32).toString("hex")).toBe(
    tools().read("digest").subarray(-32).toString("hex"),
  );
  const ticket = tools().read("ticket");
  ticket[ticket.length - 1]! ^= 1;
  tools().write("ticket", ticket);
  expect(await tools().fails("certifycreation", ...creation, "-t", "ticket")).toMatch(/0x4E0/);
});

test("gettime signs the clock", async () => {
  const made = ["-o", "signature", "--attestation", "attest"];
  await tools().flushing("gettime", "-Q", "-c", "key", "-q", NONCE, "-s", "ecdsa", ...PLAIN, ...made);
  const time = attested(ST.TIME).readBigUInt64BE();
  expect(Number(time)).toBeLessThanOrEqual(Number(field(await tools()("readclock"), "time")));
});

test("nvcertify signs the content of an index", async () => {
  await tools()("nvdefine", "0x1500001", "-s", "16", "-a", "authread|authwrite");
  tools().write("data", "sixteen bytes it");
  await tools()("nvwrite", "0x1500001", "-i", "data");
  const made = ["-o", "signature", "--attestation", "attest"];
  const range = ["--size", "7", "--offset", "8"];
  await tools().flushing(
    "nvcertify",
    "-C",
    "key",
    "-s",
    "ecdsa",
    ...PLAIN,
    "-q",
    NONCE,
    ...made,
    ...range,
    "0x1500001",
  );
  expect(attested(ST.NV).subarray(-7).toString()).toBe("bytes it".slice(0, 7));
});

test("an audit session accounts for its commands", async () => {
  await tools()("startauthsession", "-S", "session", "--audit-session");
  await tools()("getrandom", "-S", "session", "--cphash", "cp", "--rphash", "rp", "-o", "random", "8");
  const made = ["-m", "attest", "-s", "signature"];
  await tools().flushing("getsessionauditdigest", "-c", "key", "-q", NONCE, ...PLAIN, ...made, "-S", "session");
  const digest = hash("sha256", ZERO, tools().read("cp").subarray(2), tools().read("rp").subarray(2));
  expect(attested(ST.SESSION_AUDIT).subarray(-32).toString("hex")).toBe(digest.toString("hex"));
});

test("the command audit accounts for the commands that it is set to", async () => {
  await tools()("setcommandauditstatus", "-g", "sha256");
  await tools()("setcommandauditstatus", "TPM2_CC_GetRandom");
  await tools()("getrandom", "--hex", "8");
  const made = ["-m", "attest", "-s", "signature"];
  await tools().flushing("getcommandauditdigest", "-c", "key", "-q", NONCE, ...PLAIN, ...made);
  const body = attested(ST.COMMAND_AUDIT);
  // auditCounter, digestAlg, auditDigest and the digest of the audited commands' codes.
  expect(body.readUInt16BE(8)).toBe(0x000b);
  const codes = hash("sha256", u32(CC.SetCommandAuditStatus), u32(CC.GetRandom));
  expect(body.subarray(-32).toString("hex")).toBe(codes.toString("hex"));
});
