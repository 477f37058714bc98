// The examples of docs/codec.md, run against swtpm.
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TpmClient } from "../../src/codec/client.ts";
import { decodeCommand, describeCommand, encodeCommand, formatCommand, type inputs } from "../../src/codec/index.ts";
import { startSwtpm } from "../support/swtpm.ts";

const storageKey: inputs.TPMT_PUBLIC = {
  type: "ECC",
  nameAlg: "SHA256",
  objectAttributes: { sensitiveDataOrigin: true, userWithAuth: true, restricted: true, decrypt: true, noDA: true },
  authPolicy: "",
  parameters: {
    symmetric: { algorithm: "AES", keyBits: 128, mode: "CFB" },
    scheme: { scheme: "NULL" },
    curveID: "NIST_P256",
    kdf: { scheme: "NULL" },
  },
  unique: { x: "", y: "" },
};

describe("docs/codec.md", () => {
  it("shows code that this file runs", () => {
    const strip = (text: string): string => text.replace(/^\s+/gm, "");
    const own = strip(readFileSync(new URL(import.meta.url), "utf8"));
    const blocks = [
      ...readFileSync(new URL("../../docs/codec.md", import.meta.url), "utf8").matchAll(/```ts\n(.*?)```/gs),
    ];
    expect(blocks.length).toBe(5);
    for (const [, block] of blocks) expect(own).toContain(strip(block!));
  });

  it("writes and reads a command", () => {
    const extend = encodeCommand("PCR_Extend", {
      handles: { pcrHandle: 16 },
      sessions: [{ password: "" }],
      parameters: { digests: [{ hashAlg: "SHA256", digest: "11".repeat(32) }] },
    });
    const command = extend;
    const lines: string[] = [];
    const console = { log: (line: string) => lines.push(line) };
    const text = describeCommand(command);
    const decoded = decodeCommand(command);
    console.log(formatCommand(decoded));
    expect(text).toContain("pcrHandle=PCR 16");
    expect(lines.join()).toContain(`SHA256 ${"11".repeat(32)}`);
  });

  it("sends commands in sessions", async () => {
    await using swtpm = await startSwtpm();
    const transport = (command: Uint8Array): Promise<Uint8Array> => swtpm.transmit(command);
    const [nvIndex, auth, secret] = [0x01800010, "6175746800", "00112233"];

    const client = new TpmClient(transport);
    await client.startup();
    const { randomBytes } = await client.command("GetRandom", { parameters: { bytesRequested: 16 } });
    expect(randomBytes.length).toBe(16);

    await client.command("NV_DefineSpace", {
      handles: { authHandle: "OWNER" },
      parameters: {
        auth,
        publicInfo: {
          nvIndex,
          nameAlg: "SHA256",
          attributes: { AUTHREAD: true, AUTHWRITE: true, NO_DA: true },
          authPolicy: "",
          dataSize: 4,
        },
      },
    });

    const { objectHandle } = await client.command("CreatePrimary", {
      handles: { primaryHandle: "OWNER" },
      parameters: { inSensitive: { userAuth: "", data: "" }, inPublic: storageKey, outsideInfo: "", creationPCR: [] },
    });
    const session = await client.startAuthSession({ tpmKey: { handle: objectHandle }, symmetric: "AES128" });
    await client.command("NV_Write", {
      handles: { authHandle: { handle: nvIndex, auth }, nvIndex },
      parameters: { data: secret, offset: 0 },
      sessions: [session.use({ decrypt: true })],
    });

    const policySession = await client.startAuthSession({ sessionType: "POLICY" });
    await client.command("PolicyPCR", {
      handles: { policySession },
      parameters: { pcrDigest: "", pcrs: [{ hash: "SHA256", pcrSelect: [0, 7] }] },
    });
    await client.command("PolicyAuthValue", { handles: { policySession } });
    expect(policySession.policyAuth).toBe("authValue");
  });
});

it("the codec needs no runtime of its own: it imports nothing but itself, the tables and noble", () => {
  const folder = new URL("../../src/codec/", import.meta.url);
  const files = readdirSync(folder).filter((file) => file.endsWith(".ts"));
  expect(files.length).toBeGreaterThan(15);
  for (const file of files) {
    const text = readFileSync(new URL(file, folder), "utf8");
    for (const [, module] of text.matchAll(/from "([^"]+)"/g)) {
      expect(module, file).toMatch(/^(\.\/|\.\.\/spec\/|@noble\/(hashes|ciphers)\/)/);
    }
    expect(text, file).not.toMatch(/\b(Buffer|process)\b\./);
  }
});
